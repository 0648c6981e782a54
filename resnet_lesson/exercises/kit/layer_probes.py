"""What the layers of every block must be and do, plain or residual: probes that the exercises share.

They follow those of `block_probes`; `expansion` is the block's: output channels = expansion * width.
"""

from itertools import combinations
from math import prod

import torch
from torch import Tensor, nn

from .block_probes import Shared, changing, keeping, shared
from .exercise import Wrong
from .probing import (
    Operation,
    convolutions,
    count,
    hidden_layers,
    loud,
    operations,
    reliable,
    remembers,
    run,
    same,
    shake,
)

LAYERS: Shared = []
OTHER = "another function than ReLU"


def norm_of(everything: list[Operation], convolution: Operation) -> Tensor | None:
    """What BN makes of a convolution's result, or None where no BN follows it."""
    found = (o.result for o in everything if o.name == "batch_norm" and same(o.inputs[0], convolution.result, 0))
    return next(found, None)


def without_border(x: Tensor, like: Tensor) -> Tensor:
    """x without the border that F.pad has put around it, if that makes it as large as `like`."""
    inner = x[:, :, 1:-1, 1:-1]
    return inner if inner.shape == like.shape else x


@shared(LAYERS, "which values each convolution reads, 16 -> 16 channels", "all channels, of neighbouring pixels")
def whole_convolutions(answer, expansion):
    for c in convolutions(keeping(answer, expansion), torch.randn(2, 16, 8, 8)):
        channels = c.inputs[0].shape[1]
        if c.kernel[1] != channels:
            got = f"{c.kernel[1]} of {channels} channels for each output channel"
            why = "With groups=... each output channel sees only some of the inputs. Leave groups out."
            raise Wrong("a convolution with groups", got, why)
        if max(c.inputs[5]) > 1:
            why = "With dilation the kernel skips the next pixels. Leave dilation out; padding is 1 then."
            raise Wrong("a convolution with dilation", f"dilation={max(c.inputs[5])}", why)


@shared(LAYERS, "the block's own parameters, 16 -> 16 channels", "the weights of each convolution; two numbers for "
        "each channel of each BN")  # fmt: skip
def own_parameters(answer, expansion):
    block, x, width = keeping(answer, expansion), torch.randn(2, 16, 8, 8), 16 // expansion
    raise_if_hidden(block)
    everything = operations(block, x)
    kernels = [o.kernel for o in everything if o.name == "convolution"]
    norms = [o for o in everything if o.name == "batch_norm"]
    basic = [(16, 16, 3, 3)] * 2
    if kernels != (basic if expansion == 1 else [(width, 16, 1, 1), (width, width, 3, 3), (16, width, 1, 1)]):
        return  # another probe says which convolutions are wrong
    if count(block) == 0 and not same(run(block.eval(), x), run(block, x)):
        why = "Layers that are made in forward have new random weights in each call. Make them in __init__."
        raise Wrong("the layers are made inside forward", "0 parameters", why)
    expected = sum(map(prod, kernels)) + 2 * sum(kernel[0] for kernel in kernels)
    missing, got = expected - count(block), f"{count(block)} parameters instead of {expected}"
    if missing <= 0 or len(norms) != len(kernels):
        return
    if any(o.inputs[1] is None for o in norms):
        why = "BN has a scale and a shift for each channel, which are learned. Leave affine=False out."
        raise Wrong("BN without scale and shift", got, why)
    if missing == 2 * width:
        why = "Two convolutions have equally many channels, but each needs its own statistics: make two BN layers."
        raise Wrong("one BN for two convolutions", got, why)
    weights = [o.inputs[1] for o in everything if o.name == "convolution"]
    if any(torch.equal(one, other) for one, other in combinations(weights, 2)):
        why = "Does one layer run twice? Each of the convolutions has weights of its own: make one layer for each."
        raise Wrong("one convolution for two", got, why)
    why = "A weight that is a plain tensor is never trained. Use nn.Conv2d and nn.BatchNorm2d, or nn.Parameter."
    raise Wrong("some weights are not parameters", got, why)


def raise_if_hidden(block: nn.Module) -> None:
    """Raise `Wrong` if layers are in a plain list."""
    if hidden_layers(block):
        why = "PyTorch does not look into a list, so nothing in it is trained. Use nn.Sequential or nn.ModuleList."
        raise Wrong("the layers are in a Python list", f"{count(block)} parameters", why)


@shared(LAYERS, "large values between the convolutions", "BN, then ReLU: max(0, v) of each value, however large")
def relu_itself(answer, expansion):
    block, x = loud(keeping(answer, expansion)), torch.randn(2, 16, 8, 8)
    if not same(run(block, x), run(block, x)):
        return  # another probe says that it is random
    everything = operations(block, x)
    found = [o for o in everything if o.name == "convolution"]
    for before, after in zip(found, found[1:], strict=False):
        normed = norm_of(everything, before)
        if normed is None or same(after.inputs[0], x):
            continue
        entered = without_border(after.inputs[0], normed)
        if entered.shape == normed.shape and not same(entered, normed.relu()) and not same(entered, normed):
            got = f"values from {entered.min():.1f} to {entered.max():.1f} where BN gives {normed.min():.1f} to "
            why = "Between two convolutions come BN and ReLU, and nothing else: nn.ReLU() or F.relu."
            raise Wrong(OTHER, got + f"{normed.max():.1f}", why)


@shared(LAYERS, "one image alone and beside others, in eval()", "the same output: BN uses its stored statistics")
def others_do_not_matter(answer, expansion):
    block, x = shake(changing(answer, expansion)).eval(), torch.randn(4, 16, 8, 8)
    x[1:] *= 5
    if reliable(block, x) and not same(run(block, x[:1]), run(block, x)[:1], 1e-3):
        why = "In eval() BN takes its running mean and variance. Is there track_running_stats=False, training=True, "
        raise Wrong("BN uses the batch in eval()", "different outputs", why + "or a .train() in forward?")


@shared(LAYERS, "one image alone and beside others, in train()", "another output: BN uses the batch")
def others_matter_in_training(answer, expansion):
    block, x = shake(changing(answer, expansion)), torch.randn(4, 16, 8, 8)
    x[1:] *= 5
    normed = any(o.name == "batch_norm" for o in operations(block, x))
    if normed and reliable(block, x) and same(run(block.train(), x[:1]), run(block, x)[:1], 1e-4):
        why = "In train() BN takes the mean and variance of the batch. F.batch_norm needs training=self.training."
        raise Wrong("BN never uses the batch", "the same output", why)


@shared(LAYERS, "a call with another x after a first one", "the output that a fresh block gives for it")
def forgets(answer, expansion):
    if remembers(keeping(answer, expansion), torch.randn(2, 16, 8, 8)):
        why = "Is a tensor kept from an earlier call, as in self.identity? Compute it anew in each forward."
        raise Wrong("something is kept from an earlier call", "another output", why)
