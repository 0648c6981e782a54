"""What goes around F in every residual block: whether the two terms fit, and what the shortcut computes.

`expansion` is the block's: output channels = expansion * width.
"""

from collections.abc import Callable
from math import prod

import torch

from .block_probes import Shared, changing, is_projection, keeping, shared
from .exercise import Wrong
from .layer_probes import OTHER, norm_of
from .probing import (
    Operation,
    brings_its_own_shortcut,
    convolutions,
    count,
    loud,
    make_block,
    operations,
    reached,
    run,
    same,
    zero_convolutions,
)

FITS: Shared = []
SHORTCUT: Shared = []
WITHOUT_PROJECTION = {  # what fails when only these cases lack a projection
    "only the channels change": "projection only where there is a stride",
    "only the size changes": "projection only where the channels change",
    "in_channels equals width": "in_channels is compared with width, not with 4 * width",
}


def cases(expansion: int) -> list[tuple[int, int, str]]:
    """From 16 channels: the width, the stride, and what changes."""
    found = [
        (16, 1, "nothing changes"),
        (32, 2, "the channels and the size change"),
        (32, 1, "only the channels change"),
        (16, 2, "only the size changes"),
    ]
    found = [(out // expansion, stride, case) for out, stride, case in found]
    return found + ([(16, 1, "in_channels equals width")] if expansion > 1 else [])


@shared(FITS, "whether it runs: the shape stays; channels, size or both change",
        "the two terms of the sum have the same shape")  # fmt: skip
def it_runs(answer, expansion):
    x, failed = torch.randn(2, 16, 8, 8), {}
    for width, stride, case in cases(expansion):
        block = make_block(answer, 16, width, stride, expansion)
        try:
            run(block, x)
        except RuntimeError as error:
            found = [o for o in reached(block, x) if o.name == "convolution"]
            _padding(found)
            done = len(found) == (2 if expansion == 1 else 3)
            if not brings_its_own_shortcut(answer) and done and "to have 16 channels, but got" in str(error):
                why = "downsample gets x, the block's input, not the output of F: self.downsample(x)."
                raise Wrong("the shortcut does not start at x", str(error).splitlines()[0], why) from error
            if "must match the size" not in str(error) and "match the broadcast shape" not in str(error):
                raise
            got = str(error).splitlines()[0]
            _strides(found, x, width * expansion, stride, got)
            if case == "nothing changes" or any(_projects(c, x, width * expansion) for c in found):
                raise
            if not brings_its_own_shortcut(answer):
                raise Wrong(*_downsample(found, width * expansion, got)) from error
            failed[case] = got
    for case, got in failed.items():
        mistake = WITHOUT_PROJECTION.get(case, "x itself is added where the shape changes")
        out = "width" if expansion == 1 else f"{expansion} * width"
        why = f"Where {case}, x does not fit F(x). It needs a projection if stride != 1 or in_channels != {out}."
        raise Wrong(mistake, got, why)


def explained(run_probe: Callable) -> Callable:
    """The probe, which tells what `it_runs` finds where the block stops with a RuntimeError."""

    def probe(answer, expansion):
        try:
            run_probe(answer, expansion)
        except RuntimeError:
            it_runs(answer, expansion)
            raise

    return probe


def _projects(c: Operation, x: torch.Tensor, out_channels: int) -> bool:
    """Whether it is a projection of x, or of every second pixel of x."""
    from_x = same(c.inputs[0], x, 0) or same(c.inputs[0], x[:, :, ::2, ::2], 0)
    return is_projection(c, 16, out_channels) and from_x


def _padding(found: list[Operation]) -> None:
    for c in found:
        if c.kernel[2] == 3 and c.padding == 0 and c.result.shape[2] < c.inputs[0].shape[2] // c.stride:
            why = "Without padding=1 a 3x3 loses one pixel at each side, and then F(x) does not fit x."
            raise Wrong("the 3x3 has no padding", "an output two pixels smaller", why)
        if c.kernel[2] == 1 and c.padding > 0:
            why = "A 1x1 sees no neighbours, so it needs no border. With one, its output grows."
            raise Wrong("a 1x1 has padding", "an output two pixels larger", why)


def _strides(found: list[Operation], x: torch.Tensor, out_channels: int, stride: int, got: str) -> None:
    """Raise `Wrong` if F or the projection has another stride than the block."""
    projections = [c for c in found if _projects(c, x, out_channels)]
    of_f = [c for c in found if not any(c is p for p in projections)]
    taken = prod(c.stride for c in of_f)
    if stride > 1 and of_f and taken == 1:
        why = "Then F(x) keeps its size, and the shortcut does not. Give the block's stride to one convolution of F."
        raise Wrong("no convolution of F takes the stride", got, why)
    if len(of_f) == 2 and taken == 4:
        why = "Together they divide the size by 4. The first one takes the stride."
        raise Wrong("the stride is on both convolutions", got, why)
    if stride > 1 and projections and all(c.stride == 1 and same(c.inputs[0], x, 0) for c in projections):
        why = "The 1x1 convolution takes the block's stride, too: then both terms have half the height and width."
        raise Wrong("the projection does not take the stride", got, why)


def _downsample(found: list[Operation], out_channels: int, got: str) -> tuple[str, str, str]:
    if any(is_projection(c, 16, out_channels) for c in found):
        return "the shortcut does not start at x", got, "downsample gets x, the block's input: self.downsample(x)."
    return "downsample is not used", got, "Where downsample is not None, the shortcut is self.downsample(x), not x."


@shared(
    SHORTCUT,
    "the shortcut where the shape stays, 16 -> 16 channels, stride 1",
    "x itself: no convolution, no parameters",
)
def identity_where_it_fits(answer, expansion):
    x, block = torch.randn(2, 16, 8, 8), keeping(answer, expansion)
    if not any(is_projection(c, 16, 16) for c in convolutions(block, x)):
        return
    if run(zero_convolutions(keeping(answer, expansion)).eval(), x).any():
        return  # x arrives without it: this 1x1 convolution belongs to F
    got = f"a 1x1 convolution; {count(block)} parameters"
    wider = [o for o in reached(make_block(answer, 16, 16, 1, expansion), x) if o.name == "convolution"]
    if not any(is_projection(c, 16, 16 * expansion) and torch.equal(c.inputs[0], x) for c in wider):
        why = f"The block puts out {expansion} * width channels: the shape stays where in_channels is as many."
        raise Wrong(f"in_channels is compared with width, not with {expansion} * width", got, why)
    why = "Where the shape stays, add x itself: nn.Identity() has no parameters and keeps x as it is."
    raise Wrong("a projection where identity would do", got, why)


@shared(SHORTCUT, "the shortcut where the shape changes, 16 -> 32 channels, stride 2",
        "a 1x1 convolution of x with stride 2; or zero-padding (option A)")  # fmt: skip
def shortcut_where_the_shape_changes(answer, expansion):
    if not brings_its_own_shortcut(answer):
        return
    x = torch.randn(2, 16, 8, 8)
    block = zero_convolutions(changing(answer, expansion)).eval()
    projections = [c for c in convolutions(block, x) if is_projection(c, 16, 32)]
    y = run(block, x)
    if y.shape[1] != 32:
        return  # the probe of the shapes says what is wrong
    if not projections and not y.any():
        why = "Here x has another shape than F(x): something must bring it there, such as a 1x1 convolution and BN."
        raise Wrong("no shortcut where the shape changes", "x has no way around F", why)
    learned = count(block) - sum(prod(c.kernel) + 2 * c.kernel[0] for c in convolutions(block, x))
    if not projections and learned < 16 * 32 and not _zero_padded(x, y):
        why = "A shortcut without a convolution is option A: every second pixel of x, and channels of zeros."
        raise Wrong("the shortcut is neither a projection nor zero-padding", "other values", why)
    if projections and not any(_projects(c, x, 32) for c in projections):
        why = "The shortcut starts at x, the block's input, not at something that F or a ReLU has computed."
        raise Wrong("the shortcut does not start at x", "another tensor", why)


def _zero_padded(x: torch.Tensor, y: torch.Tensor) -> bool:
    """Whether the ReLU of every second pixel of x is what y has in its channels that are not zero."""
    return same(y[:, y.abs().amax((0, 2, 3)) > 0], x[:, :, ::2, ::2].relu())


@shared(SHORTCUT, "the output, large values, against F(x) and the shortcut's output", "ReLU(F(x) + shortcut(x))")
def relu_of_the_sum(answer, expansion):
    for make, out in ((keeping, 16), (changing, 32)):
        block, x = loud(make(answer, expansion)), torch.randn(2, 16, 8, 8)
        y, everything = run(block, x), operations(block, x)
        found = [o for o in everything if o.name == "convolution"]
        projected = next((norm_of(everything, c) for c in found if out == 32 and _projects(c, x, out)), None)
        of_f = [norm_of(everything, c) for c in found if not (out == 32 and _projects(c, x, out))]
        shortcut = x if out == 16 else projected
        if not of_f or of_f[-1] is None or shortcut is None or not same(y, run(block, x)):
            continue  # other probes say so: BN is missing, or something is random
        total = of_f[-1] + shortcut
        if total.shape != y.shape or same(y, total.relu()):
            continue
        if projected is not None and same(y, (of_f[-1] + shortcut.relu()).relu()):
            why = "The projection is a 1x1 convolution and BN. The only ReLU comes after the addition."
            raise Wrong("a ReLU on the projection", "no negative value on the shortcut", why)
        if not same(y, total) and y.flatten()[total.flatten().argsort()].diff().min() >= 0:
            got = f"{y.min():.1f} to {y.max():.1f} where the sum has {total.min():.1f} to {total.max():.1f}"
            raise Wrong(OTHER, got, "The sum goes through nn.ReLU() or F.relu: max(0, v), however large v is.")
