"""What every block must do, plain or residual: probes that the exercises share.

`expansion` is the block's: output channels = expansion * width.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from .exercise import Exercise, Wrong
from .probing import (
    convolutions,
    count,
    hidden_layers,
    make_block,
    operations,
    remembers,
    run,
    same,
    shake,
    shape,
    survives_copies,
)

Shared = list[tuple[str, str, Callable]]
EVERY: Shared = []


def probe_with(exercise: Exercise, probes: Shared, expansion: int = 1) -> None:
    """Give an exercise a list of shared probes."""
    for tried, expected, run_probe in probes:
        exercise.probe(tried, expected)(partial(run_probe, expansion=expansion))


def shared(probes: Shared, tried: str, expected: str) -> Callable:
    """Decorate a probe (answer, expansion) that goes into a list."""

    def add(run_probe: Callable) -> Callable:
        probes.append((tried, expected, run_probe))
        return run_probe

    return add


def keeping(answer: Callable, expansion: int, channels: int = 16) -> nn.Module:
    """A block that keeps the shape."""
    return make_block(answer, channels, channels // expansion, 1, expansion)


def changing(answer: Callable, expansion: int) -> nn.Module:
    """A block from 16 channels to 32 with stride 2."""
    return make_block(answer, 16, 32 // expansion, 2, expansion)


def is_projection(convolution, in_channels: int, out_channels: int) -> bool:
    return convolution.kernel == (out_channels, in_channels, 1, 1)


@shared(EVERY, "the shapes: stride 1 and 2, 16 channels to 16 and to 32, 8x8 and odd 7x9 pixels",
        "the channels asked for; height and width divided by the stride, rounded up")  # fmt: skip
def shapes(answer, expansion):
    for out, stride, size in ((16, 1, (8, 8)), (32, 2, (8, 8)), (32, 1, (8, 8)), (32, 2, (7, 9))):
        y = run(make_block(answer, 16, out // expansion, stride, expansion), torch.randn(2, 16, *size))
        expected = torch.Size((2, out, -(-size[0] // stride), -(-size[1] // stride)))
        if y.shape != expected:
            got = f"{shape(y)} instead of {' x '.join(map(str, expected))} (stride {stride})"
            raise Wrong(*_wrong_shape(y.shape, expected, stride, expansion, got))


def _wrong_shape(found: torch.Size, expected: torch.Size, stride: int, expansion: int, got: str) -> tuple:
    if expansion > 1 and found[1] * expansion == expected[1]:
        return "expansion forgotten", got, f"The block puts out {expansion} * width channels; yours puts out width."
    if found[1] != expected[1]:
        return "the wrong number of channels", got, "Which layer changes the channels, and to how many?"
    if stride == 1 and found[2] < expected[2]:
        return "padding forgotten", got, "A 3x3 convolution eats one pixel at each side unless it has padding=1."
    if found[2] > expected[2]:
        return "the stride is ignored", got, "With stride 2, one convolution of the block has stride 2."
    if found[2] == -(-expected[2] // stride):
        return "the stride is taken twice", got, "On the way through the block, only one convolution takes it."
    return "the wrong size", got, "Look at the padding and the stride of each convolution."


@shared(EVERY, "biases of the convolutions", "none: BN follows, and would subtract them again")
def no_bias(answer, expansion):
    found = convolutions(changing(answer, expansion), torch.randn(2, 16, 8, 8))
    biased = [f"{c.kernel[2]}x{c.kernel[3]}" for c in found if c.has_bias]
    if biased:
        why = "BN subtracts each channel's mean, so a bias before it does nothing: pass bias=False."
        raise Wrong("a bias before BN", f"a bias in {len(biased)} of {len(found)} convolutions", why)


@shared(EVERY, "what follows each convolution, 16 -> 32 channels, stride 2", "BN, once after each")
def normalised(answer, expansion):
    found = operations(changing(answer, expansion).train(), torch.randn(2, 16, 8, 8))
    norms = [o.inputs[0] for o in found if o.name == "batch_norm"]
    for c in (o for o in found if o.name == "convolution"):
        if any(same(n, c.result, 0) or same(n, c.result.relu(), 0) for n in norms):
            continue  # BN after the ReLU is the next probe's matter
        if is_projection(c, 16, 32):
            why = "The projection is a 1x1 convolution *and* BN, so that both terms of the sum have the same scale."
            raise Wrong("missing BN on the projection", "a projection without BN", why)
        got = f"{c.kernel[2]}x{c.kernel[3]}, {c.kernel[1]} -> {c.kernel[0]} channels, without BN"
        raise Wrong("a convolution without BN", got, "Each convolution is followed by BN, and then by ReLU.")


@shared(EVERY, "what enters the convolutions after the first", "the result of a ReLU: nothing negative")
def relu_between(answer, expansion):
    x = torch.randn(2, 16, 8, 8)
    everything = operations(keeping(answer, expansion).train(), x)
    found = [o for o in everything if o.name == "convolution" and not is_projection(o, 16, 16)]
    norms = [o.inputs[0] for o in everything if o.name == "batch_norm"]
    linear = [o.result for o in everything if o.name in ("convolution", "batch_norm")]
    for i, c in enumerate(found[1:], start=2):
        if any(same(n, found[i - 2].result.relu(), 0) for n in norms):
            why = "The order is conv - BN - ReLU: BN centres the values, then ReLU cuts the negative ones."
            raise Wrong("BN after the ReLU instead of before it", "conv - ReLU - BN", why)
        if any(same(c.inputs[0], r, 0) or same(c.inputs[0][:, :, 1:-1, 1:-1], r, 0) for r in linear):
            why = "Two convolutions without a ReLU between them are one linear map."
            raise Wrong(f"missing ReLU before convolution {i}", f"values down to {c.inputs[0].min():.1f}", why)


@shared(EVERY, "x after the forward pass", "unchanged: others may still need it")
def input_untouched(answer, expansion):
    for block in (shake(keeping(answer, expansion)), shake(changing(answer, expansion))):
        x = torch.randn(2, 16, 8, 8)
        before = x.clone()
        block(x)
        if not torch.equal(x, before):
            why = "An operation writes into x itself: `x += ...` or an in-place ReLU on x. Write `x = x + ...`."
            raise Wrong("x is changed in place", "other values in x", why)


@shared(EVERY, "train(), and eval() after many passes over the same batch", "the same output: only BN differs")
def modes_differ_by_bn_only(answer, expansion):
    x = torch.randn(16, 16, 8, 8)
    block = shake(keeping(answer, expansion)).train()
    quick = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in quick:
        module.momentum = 1.0  # take over this batch's statistics at once
    norms = sum(o.name == "batch_norm" for o in operations(block, x))
    if hidden_layers(block) or count(block) == 0 or 0 < len(quick) < norms or remembers(keeping(answer, expansion), x):
        return  # other probes say so: layers in a list or in forward, one BN for two convolutions, a kept tensor
    with torch.no_grad():
        for _ in range(2 if quick else 150):  # functional BN comes as near to them as 0.9^150
            trained = run(block, x)
        again, evaluated = run(block, x), run(block.eval(), x)
    if not same(trained, again):
        why = "The same input gives two outputs in training mode. Is there a dropout, or a layer "
        why += "that is made inside forward? The block has no such thing."
        raise Wrong("the output is random", "two different outputs", why)
    if not same(trained, evaluated, 1e-2):
        why = "Something besides BN depends on the mode, or BN does not use its stored statistics in eval()."
        raise Wrong("train and eval differ by more than BN", "different outputs", why)


@shared(EVERY, "copies: deepcopy, pickle, the meta device", "they work, and compute the same")
def copies(answer, expansion):
    block, x = changing(answer, expansion), torch.randn(2, 16, 8, 8)
    if hidden_layers(block) or count(block) == 0 or remembers(keeping(answer, expansion), x):
        return  # other probes say so: layers in a list or in forward, a kept tensor
    survives_copies(block, x)


@shared(EVERY, "a small step of x", "y changes as the gradient says (finite differences)")
def finite_differences(answer, expansion):
    block = shake(keeping(answer, expansion, 8).double().eval())
    x = torch.randn(2, 8, 5, 5, dtype=torch.double, requires_grad=True)
    if hidden_layers(block) or count(block) == 0 or remembers(keeping(answer, expansion), torch.randn(2, 16, 8, 8)):
        return  # other probes say so: layers in a list or in forward, a kept tensor
    step, y = 1e-6 * torch.randn_like(x), run(block, x)
    gradient = torch.autograd.grad(y.sum(), x, allow_unused=True)[0] if y.requires_grad else None
    predicted = torch.zeros(()) if gradient is None else (gradient * step).sum()
    with torch.no_grad():
        change = (run(block, x + step).sum() - run(block, x - step).sum()) / 2
    if (predicted - change).abs() > 1e-3 * step.abs().sum():
        got = f"{change:.2g} instead of {predicted:.2g}"
        why = "A part of the computation passes on values without their gradient: detach(), .data or no_grad()."
        raise Wrong("the gradient does not fit the output", got, why)


TWO_3X3: Shared = []


@shared(TWO_3X3, "which convolutions run beside the shortcut, 16 -> 32 channels, stride 2",
        "3x3, 16 -> 32 channels, stride 2; then 3x3, 32 -> 32, stride 1")  # fmt: skip
def two_convolutions(answer, expansion):
    found = [c for c in convolutions(changing(answer, expansion), torch.randn(2, 16, 8, 8)) if c.kernel[2:] != (1, 1)]
    got = "; ".join(f"{c.kernel[2]}x{c.kernel[3]}, {c.kernel[1]} -> {c.kernel[0]}, stride {c.stride}" for c in found)
    x = torch.randn(2, 16, 8, 8)
    if not found and same(run(changing(answer, expansion), x), x):
        raise Wrong("nothing is computed yet", "x", "x comes out as it went in. First write the two convolutions.")
    if [c.kernel[2:] for c in found] != [(3, 3), (3, 3)]:
        raise Wrong("not two 3x3 convolutions", got or "none", "There are two of them, both with padding=1.")
    why = "The first convolution takes the stride, so that the second has less to do."
    if found[1].stride != 1 and found[0].stride == 1:
        raise Wrong("the stride is on the second convolution", got, why)
    if found[1].stride != 1:
        raise Wrong("the stride is on both convolutions", got, "Together they divide the size by 4. " + why)
    if found[0].kernel[0] != 32:
        why = "The first convolution already has the new number of channels."
        raise Wrong("the channels change in the second convolution", got, why)
