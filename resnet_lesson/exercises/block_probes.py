"""What every block must do, plain or residual: probes that the exercises share.

`expansion` is the block's: output channels = expansion * width.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from .core import Exercise, Wrong
from .probing import (
    convolutions,
    make_block,
    operations,
    run,
    same,
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
    for i, c in enumerate(found[1:], start=2):
        if any(same(n, found[i - 2].result.relu(), 0) for n in norms):
            why = "The order is conv - BN - ReLU: BN centres the values, then ReLU cuts the negative ones."
            raise Wrong("BN after the ReLU instead of before it", "conv - ReLU - BN", why)
        if c.inputs[0].min() < 0 and not torch.equal(c.inputs[0], x):
            why = "Two convolutions without a ReLU between them are one linear map."
            raise Wrong(f"missing ReLU before convolution {i}", f"values down to {c.inputs[0].min():.1f}", why)


@shared(EVERY, "x after the forward pass", "unchanged: others may still need it")
def input_untouched(answer, expansion):
    for block in (keeping(answer, expansion), changing(answer, expansion)):
        x = torch.randn(2, 16, 8, 8)
        before = x.clone()
        block(x)
        if not torch.equal(x, before):
            why = "An operation writes into x itself: `x += ...` or an in-place ReLU on x. Write `x = x + ...`."
            raise Wrong("x is changed in place", "other values in x", why)


@shared(EVERY, "train(), and eval() after many passes over the same batch", "the same output: only BN differs")
def modes_differ_by_bn_only(answer, expansion):
    x = torch.randn(16, 16, 8, 8)
    block = keeping(answer, expansion).train()
    quick = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in quick:
        module.momentum = 1.0  # take over this batch's statistics at once
    with torch.no_grad():
        for _ in range(2 if quick else 150):  # functional BN comes as near to them as 0.9^150
            trained = run(block, x)
        again, evaluated = run(block, x), run(block.eval(), x)
    if not same(trained, again):
        why = "The same input gives two outputs in training mode. Is there a dropout? The block has none."
        raise Wrong("the output is random", "two different outputs", why)
    if not same(trained, evaluated, 1e-2):
        why = "Something besides BN depends on the mode, or BN does not use its stored statistics in eval()."
        raise Wrong("train and eval differ by more than BN", "different outputs", why)


@shared(EVERY, "copies: deepcopy, pickle, the meta device", "they work, and compute the same")
def copies(answer, expansion):
    survives_copies(changing(answer, expansion), torch.randn(2, 16, 8, 8))


def probe_two_3x3(exercise: Exercise) -> None:
    """Give an exercise the probe that the plain and the basic block share: which convolutions, with which stride."""

    @exercise.probe(
        "which convolutions run beside the shortcut, 16 -> 32 channels, stride 2",
        "3x3, 16 -> 32 channels, stride 2; then 3x3, 32 -> 32, stride 1",
    )
    def two_convolutions(answer):
        found = [c for c in convolutions(changing(answer, 1), torch.randn(2, 16, 8, 8)) if c.kernel[2:] != (1, 1)]
        got = "; then ".join(
            f"{c.kernel[2]}x{c.kernel[3]}, {c.kernel[1]} -> {c.kernel[0]}, stride {c.stride}" for c in found
        )
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
