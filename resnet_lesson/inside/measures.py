"""Looking inside a network: what passes through its blocks, and how a function's outputs change with its inputs.

The measurements are made on a copy, so the network itself stays as it is, even if a measurement fails.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as nnF
from torch import Tensor, nn


def jacobian(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The matrix of df_i/dx_j at x: row i says how much output i changes per unit of each input.

    x: (inputs,); f(x): (outputs,). Returns (outputs, inputs).
    """
    return torch.func.jacrev(f)(x).detach()


BatchNorm = nn.modules.batchnorm._BatchNorm  # of any dimension, and SyncBatchNorm


def copy_to_measure(network: nn.Module, batch_statistics: bool = False) -> nn.Module:
    """A copy of the network in the mode for measurements, in which nothing is random.

    That is evaluation mode, in which dropout and stochastic depth leave nothing out. batch_statistics: BN alone works
    as in training, with the mean and variance of each batch, even if it is frozen.
    """
    ghost = copy.deepcopy(network)
    for module in ghost.modules():
        module.training = batch_statistics and isinstance(module, BatchNorm)
    return ghost


@dataclass(frozen=True)
class Pass:
    """What went through a residual block in one forward pass; the tensors are (N, C, H, W), without gradients.

    residual: F(x). shortcut: what is added to it (x itself where the shortcut is the identity).
    output: what leaves the block, after whatever follows the addition.
    """

    name: str
    residual: Tensor
    shortcut: Tensor
    output: Tensor


@torch.no_grad()
def block_passes(network: nn.Module, images: Tensor, *, batch_statistics: bool = False) -> list[Pass]:
    """Run `images` (N, 3, H, W) through the network once; return what each residual block computed, first block first.

    batch_statistics: BN takes mean and variance from these images, as in training. Otherwise it uses its running
        statistics, which mean nothing in a network that was never trained.
    """
    ghost = copy_to_measure(network, batch_statistics)
    seen: dict[str, dict[str, Tensor]] = {}
    for name, block in ghost.named_modules():
        if hasattr(block, "residual") and hasattr(block, "shortcut"):
            seen[name] = {}
            for part, module in (("residual", block.residual), ("shortcut", block.shortcut), ("output", block)):

                def keep(module, inputs, output, name=name, part=part):
                    seen[name][part] = output.clone()

                module.register_forward_hook(keep)
    ghost(images)
    return [Pass(name, **parts) for name, parts in seen.items()]


@torch.no_grad()
def block_outputs(network: nn.Module, images: Tensor, *, batch_statistics: bool = False) -> list[Tensor]:
    """What leaves each block of a plain or residual network for `images` (N, 3, H, W), first block first: (N, C, h, w).

    batch_statistics: as in `block_passes`.
    """
    ghost, outputs = copy_to_measure(network, batch_statistics), []
    for stage in ghost.stages:
        for block in stage:
            block.register_forward_hook(lambda *call: outputs.append(call[-1].clone()))
    ghost(images)
    return outputs


@torch.enable_grad()
def relative_gradients(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """|gradient| / |weights| of each convolution and linear layer, by name, first layer first.

    With BN behind a layer, the length of the weights makes no difference to the loss, and the longer they are, the
    shorter the gradient. So only this ratio says how much a step changes the layer. Multiplied by the learning rate, it
    is the share of the layer that plain SGD replaces in one step. Projections of shortcuts are included.
    images: (N, 3, H, W); labels: (N,). BN takes mean and variance from the images, as in a step of training.
    """
    ghost = copy_to_measure(network, batch_statistics=True)
    layers = {name: m for name, m in ghost.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    weights = [layer.weight.requires_grad_() for layer in layers.values()]  # even those of frozen layers
    gradients = torch.autograd.grad(nnF.cross_entropy(ghost(images), labels), weights)
    pairs = zip(layers, gradients, weights, strict=True)
    return {name: gradient.norm().item() / weight.norm().item() for name, gradient, weight in pairs}


@torch.enable_grad()
def kept_promises(
    network: nn.Module, images: Tensor, labels: Tensor, promised: Sequence[float]
) -> tuple[list[float], float]:
    """For each promised decrease of the loss, the fraction that a step against the gradient achieves: 1 is all of it.

    According to the tangent, a step of -s * g decreases the loss by s * |g|^2; if the slope changes on the way, the
    decrease is smaller. Also returned: |g|^2, which turns a learning rate into a promise. The linear layer at the end
    is left out of the step, because in an untrained ResNet it would keep most of the promise by itself.
    images: (N, 3, H, W); labels: (N,). BN takes mean and variance from the images, as in a step of training.
    """
    ghost = copy_to_measure(network, batch_statistics=True)
    weights = {name: w.requires_grad_() for name, w in ghost.named_parameters() if not name.startswith("fc.")}
    before = nnF.cross_entropy(ghost(images), labels)
    gradients = torch.autograd.grad(before, list(weights.values()))
    square = sum((gradient**2).sum() for gradient in gradients).item()
    shares = []
    with torch.no_grad():
        for decrease in promised:
            pairs = zip(weights.items(), gradients, strict=True)
            moved = {name: weight - decrease / square * gradient for (name, weight), gradient in pairs}
            after = nnF.cross_entropy(torch.func.functional_call(ghost, moved, images), labels)
            shares.append(((before - after) / decrease).item())
    return shares, square


@torch.enable_grad()
def gradient_correlation(
    network: nn.Module, images: Tensor, distances: Sequence[float], *, trained: bool = True
) -> list[float]:
    """How alike the gradients at neighbouring inputs are: for each distance the mean correlation over the images.

    The gradient is that of a random sum of the outputs with respect to the pixels. The neighbour of an image is a
    point at `distance` (0 to 1) on the way to the previous image of the batch. 1: the same gradient; 0: as different as
    noise.
    images: (N, 3, H, W), at least two. trained: BN uses its running statistics; for an untrained network, in which
    these mean nothing, pass False, and it uses those of `images`.
    Source: Balduzzi et al., *The Shattered Gradients Problem*, https://arxiv.org/abs/1702.08591, section 2; there the
    inputs are numbers on a line, and the networks are untrained.
    """
    ghost, others = copy_to_measure(network, batch_statistics=not trained), images.roll(1, 0)
    if not trained:
        for module in ghost.modules():
            if isinstance(module, BatchNorm):
                module.momentum = 1.0  # the running statistics become those of the next batch
        with torch.no_grad():
            ghost(images)
        ghost = copy_to_measure(ghost)

    def gradient(inputs: Tensor) -> Tensor:
        inputs = inputs.clone().requires_grad_()
        outputs = ghost(inputs)
        weights = torch.randn(outputs.shape[1:], generator=torch.Generator().manual_seed(0)).to(outputs)
        (pixels,) = torch.autograd.grad((outputs * weights).sum(), inputs)
        pixels = pixels.flatten(1)
        return nnF.normalize(pixels - pixels.mean(1, keepdim=True))

    here = gradient(images)
    return [(here * gradient(images.lerp(others, r))).sum(1).mean().item() for r in distances]


def residual_sizes(network: nn.Module, images: Tensor, *, batch_statistics: bool = False) -> dict[str, float]:
    """How large F(x) is compared with the shortcut, for each residual block: the mean of |F(x)| / |shortcut|.

    The mean is over the images, and |.| is the norm over channels and pixels. If the shortcut is the identity, this is
    |F(x)| / |x|: how far H(x) is from x. images: (N, 3, H, W). batch_statistics: as in `block_passes`.
    """
    passes = block_passes(network, images, batch_statistics=batch_statistics)
    norms = [(p.name, p.residual.flatten(1).norm(dim=1), p.shortcut.flatten(1).norm(dim=1)) for p in passes]
    return {name: (f / shortcut).mean().item() for name, f, shortcut in norms}
