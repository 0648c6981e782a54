"""Looking inside a network: what passes through its blocks, and how a function's outputs move with its inputs.

Whatever is measured, the network is afterwards what it was before: weights, gradients, BN statistics, modes and
hooks, also when the measurement fails.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as nnF
from torch import Tensor, nn

from ..errors import unknown
from ..training.evaluation import modes_kept


def jacobian(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The matrix of df_i/dx_j at x: row i says how output i moves, per unit of each input.

    x: (inputs,); f(x): (outputs,). Returns (outputs, inputs).
    """
    return torch.func.jacrev(f)(x).detach()


BatchNorm = nn.modules.batchnorm._BatchNorm  # of any dimension, and SyncBatchNorm


@contextmanager
def unchanged(network: nn.Module) -> Iterator[None]:
    """Inside, the network may run, train and go backwards; at the end everything of it is as it was before.

    That is the values of parameters and buffers, gradients, what requires them, and modes. Inside, all gradients begin
    as None.
    """
    tensors = [*network.parameters(), *network.buffers()]
    values = [tensor.detach().clone() for tensor in tensors]
    gradients = [(parameter, parameter.grad, parameter.requires_grad) for parameter in network.parameters()]
    for parameter, _, _ in gradients:
        parameter.grad = None
    try:
        with modes_kept(network):
            yield
    finally:
        for tensor, value in zip(tensors, values, strict=True):
            tensor.data.copy_(value)  # by .data autograd does not see it: a graph that holds the tensor stays good
        for parameter, gradient, required in gradients:
            parameter.grad = gradient
            parameter.requires_grad_(required)


def to_measure(network: nn.Module, batch_statistics: bool = False) -> nn.Module:
    """Put the network into the mode in which it is measured, where nothing is random; return it.

    That is evaluation mode, in which dropout and stochastic depth leave nothing out. batch_statistics: BN alone works
    as in training, with mean and variance of each batch, also where it is frozen.
    """
    for module in network.modules():
        module.training = batch_statistics and isinstance(module, BatchNorm)
    return network


@dataclass(frozen=True)
class Pass:
    """What went through a residual block in one forward pass; the tensors are (N, C, H, W), without gradients.

    x: the block's input. residual: F(x). shortcut: what is added to it (x itself where the shortcut is the identity).
    output: what leaves the block, after whatever follows the addition.
    """

    name: str
    block: nn.Module
    x: Tensor
    residual: Tensor
    shortcut: Tensor
    output: Tensor

    @property
    def is_identity(self) -> bool:
        """Whether x itself is added."""
        return isinstance(self.block.shortcut, nn.Identity)


def residual_blocks(network: nn.Module) -> dict[str, nn.Module]:
    """The blocks of a network that have a `residual` and a `shortcut`, by name, first block first."""
    found = {name: module for name, module in network.named_modules() if hasattr(module, "residual")}
    return {name: module for name, module in found.items() if isinstance(getattr(module, "shortcut", None), nn.Module)}


@torch.no_grad()
def block_passes(network: nn.Module, images: Tensor, *, batch_statistics: bool = False) -> list[Pass]:
    """Run `images` (N, 3, H, W) through the network once; what each residual block saw and made, first block first.

    batch_statistics: BN takes mean and variance from these images, as in training. Otherwise it takes the running
        ones, which mean nothing in a network that was never trained.
    """
    blocks = residual_blocks(network)
    seen: dict[str, dict[str, Tensor]] = {name: {} for name in blocks}
    with unchanged(network), ExitStack() as hooks:
        for name, block in blocks.items():
            for part, module in (("residual", block.residual), ("shortcut", block.shortcut), ("output", block)):

                def keep(module, inputs, output, name=name, part=part):
                    seen[name] |= {"x": inputs[0].clone(), part: output.clone()}

                hooks.enter_context(module.register_forward_hook(keep))
        to_measure(network, batch_statistics)(images)
    return [Pass(name, block, **seen[name]) for name, block in blocks.items()]


@torch.no_grad()
def block_outputs(network: nn.Module, images: Tensor, *, batch_statistics: bool = False) -> list[Tensor]:
    """What leaves each block of a plain or residual network for `images` (N, 3, H, W), first block first: (N, C, h, w).

    batch_statistics: as in `block_passes`.
    """
    outputs: list[Tensor] = []
    with unchanged(network), ExitStack() as hooks:
        for stage in network.stages:
            for block in stage:
                hooks.enter_context(block.register_forward_hook(lambda *call: outputs.append(call[-1].clone())))
        to_measure(network, batch_statistics)(images)
    return outputs


@torch.no_grad()
def _take_statistics(network: nn.Module, images: Tensor) -> None:
    """Set the running statistics of each BN to those of these images (N, 3, H, W).

    So an untrained network can be measured image by image: the running statistics it was made with mean nothing.
    """
    momenta = {module: module.momentum for module in network.modules() if isinstance(module, BatchNorm)}
    try:
        for module in momenta:
            module.momentum = 1.0  # the running statistics become those of the next batch
        to_measure(network, batch_statistics=True)(images)
    finally:
        for module, momentum in momenta.items():
            module.momentum = momentum


def gradient_norms(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """The norm of the loss's gradient for the weights of each convolution and linear layer, by name, first layer first.

    images: (N, 3, H, W); labels: (N,). BN takes mean and variance from the images, as in a step of training.
    Projections of shortcuts are included.
    """
    layers = {name: m for name, m in network.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    with unchanged(network), torch.enable_grad():
        to_measure(network, batch_statistics=True)
        weights = [layer.weight.requires_grad_() for layer in layers.values()]  # those of frozen layers too
        gradients = torch.autograd.grad(nnF.cross_entropy(network(images), labels), weights)
    return {name: gradient.norm().item() for name, gradient in zip(layers, gradients, strict=True)}


def relative_gradients(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """|gradient| / |weights| of each convolution and linear layer, by name, first layer first.

    BN behind a layer makes the loss the same for weights of any length, and the gradient shorter the longer they are;
    so only this ratio says how much a step changes the layer. Times the learning rate it is the share of the layer
    that plain SGD replaces in one step. Arguments as in `gradient_norms`.
    """
    weights = dict(network.named_parameters())
    norms = gradient_norms(network, images, labels)
    return {name: norm / weights[f"{name}.weight"].detach().norm().item() for name, norm in norms.items()}


def kept_promises(
    network: nn.Module, images: Tensor, labels: Tensor, promised: Sequence[float]
) -> tuple[list[float], float]:
    """For each promised decrease of the loss, the share of it that a step against the gradient brings: 1 is all of it.

    By the tangent, a step of -s * g promises a decrease of s * |g|^2; where the slope changes on the way, the loss
    falls by less. Also returned: |g|^2, so that a learning rate can be turned into a promise. The linear layer at the
    end is left out of the step, because in an untrained ResNet it alone keeps most promises.
    images: (N, 3, H, W); labels: (N,). BN takes mean and variance from the images, as in a step of training.
    """
    shares = []
    with unchanged(network), torch.enable_grad():
        to_measure(network, batch_statistics=True)
        weights = [w.requires_grad_() for name, w in network.named_parameters() if not name.startswith("fc.")]
        before = nnF.cross_entropy(network(images), labels)
        gradients = torch.autograd.grad(before, weights)
        square = sum((gradient**2).sum() for gradient in gradients).item()
        for decrease in promised:
            with torch.no_grad(), unchanged(network):
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight.data -= decrease / square * gradient  # as in `unchanged`: unseen by autograd
                shares.append(((before - nnF.cross_entropy(network(images), labels)) / decrease).item())
    return shares, square


def gradient_correlation(
    network: nn.Module,
    images: Tensor,
    distances: Sequence[float],
    *,
    at: str = "",
    trained: bool = True,
    seed: int = 0,
) -> list[float]:
    """How alike the gradients at neighbouring inputs are: for each distance the mean correlation over the images.

    The gradient is that of a random sum of the outputs, for the pixels. An image's neighbour is at `distance` (0 to 1)
    of the way to the previous image of the batch. 1: the same gradient; 0: as different as noise.
    images: (N, 3, H, W), at least two. at: the module whose outputs are meant, by name; by default the network's.
    trained: BN uses its running statistics; for an untrained network give False, and it uses those of `images`.
    Source: Balduzzi et al., *The Shattered Gradients Problem*, https://arxiv.org/abs/1702.08591, section 2; there the
    inputs are numbers on a line, and networks are untrained.
    Raises ValueError for fewer than two images, and for a module that does not exist.
    """
    if len(images) < 2:
        raise ValueError("A neighbour is between two images: give at least two.")
    modules = dict(network.named_modules())
    if at not in modules:
        raise ValueError(unknown("module", at, modules))
    others, seen = images.roll(1, 0), []

    def gradient(inputs: Tensor) -> Tensor:
        inputs = inputs.clone().requires_grad_()
        network(inputs)
        outputs = seen.pop()
        weights = torch.randn(outputs.shape[1:], generator=torch.Generator().manual_seed(seed)).to(outputs)
        (pixels,) = torch.autograd.grad((outputs * weights).sum(), inputs)
        pixels = pixels.flatten(1)
        return nnF.normalize(pixels - pixels.mean(1, keepdim=True))

    with unchanged(network), torch.enable_grad():
        if not trained:
            _take_statistics(network, images)
        to_measure(network)
        with modules[at].register_forward_hook(lambda module, inputs, output: seen.append(output.clone())):
            here = gradient(images)
            return [(here * gradient(images.lerp(others, r))).sum(1).mean().item() for r in distances]


def residual_sizes(network: nn.Module, images: Tensor, *, batch_statistics: bool = False) -> dict[str, float]:
    """How large F(x) is beside the shortcut of each residual block: the mean over the images of |F(x)| / |shortcut|.

    |.| is the norm over channels and pixels. Where the shortcut is the identity, it is |F(x)| / |x|: how far H(x) is
    from x. images: (N, 3, H, W). batch_statistics: as in `block_passes`.
    """
    passes = block_passes(network, images, batch_statistics=batch_statistics)
    norms = [(p.name, p.residual.flatten(1).norm(dim=1), p.shortcut.flatten(1).norm(dim=1)) for p in passes]
    return {name: (f / shortcut).mean().item() for name, f, shortcut in norms}
