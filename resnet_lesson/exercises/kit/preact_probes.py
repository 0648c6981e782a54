"""What the probes of the pre-activation block look at: whether it runs, and what one forward pass computes."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from .exercise import Wrong
from .layer_probes import without_border
from .probing import Operation, loud, make_block, operations, reached, reliable, run, same
from .shortcut_probes import WITHOUT_PROJECTION, cases


def it_runs(answer: Callable) -> None:
    """Raise `Wrong` if the block stops with a RuntimeError of a known cause, and any other error as it is."""
    x, failed = torch.randn(2, 16, 8, 8), {}
    for width, stride, case in cases(1):
        block = make_block(answer, 16, width, stride)
        try:
            run(block, x)
        except RuntimeError as error:
            got = str(error).splitlines()[0]
            found = [o for o in reached(block, x) if o.name == "convolution"]
            if got.startswith("running_mean should contain"):
                raise Wrong(*_bn_width(answer, found, got)) from error
            if "must match the size" not in got and "match the broadcast shape" not in got:
                raise
            projected = [c.stride for c in found if c.kernel[2] == 1]
            _sizes([c for c in found if c.kernel[2] == 3], projected, stride, got)
            if case == "nothing changes" or projected:
                raise
            failed[case] = got
    for case, got in failed.items():
        mistake = WITHOUT_PROJECTION.get(case, "x itself is added where the shape changes")
        why = f"Where {case}, x does not fit F(x). It needs a projection if stride != 1 or in_channels != width."
        raise Wrong(mistake, got, why)


def _bn_width(answer: Callable, found: list[Operation], got: str) -> tuple[str, str, str]:
    norms = [
        o for o in operations(loud(make_block(answer, 16, 16)), torch.randn(2, 16, 8, 8)) if o.name == "batch_norm"
    ]
    scales = [o.inputs[1] for o in norms]  # random ones now: only one and the same BN has equal ones
    if len(scales) == 2 and None not in scales and torch.equal(*scales):
        why = "One BN cannot serve twice: the second has other channels, and needs its own statistics. Make two."
        return "one BN for two convolutions", got, why
    if not any(c.kernel[2] == 3 for c in found):
        why = "It comes before the first convolution now, so it normalises x: nn.BatchNorm2d(in_channels)."
        return "the first BN has not in_channels channels", got, why
    why = "It normalises what the first convolution puts out: nn.BatchNorm2d(width)."
    return "the second BN has not width channels", got, why


def _sizes(of_f: list[Operation], projected: list[int], stride: int, got: str) -> None:
    """Raise `Wrong` if F or the projection makes another size than the block's stride does."""
    if any(c.result.shape[2] < -(-c.inputs[0].shape[2] // c.stride) and c.padding == 0 for c in of_f):
        why = "Without padding=1 a 3x3 loses one pixel at each side, and then F(x) does not fit x."
        raise Wrong("the 3x3 has no padding", got, why)
    taken = prod(c.stride for c in of_f)
    if stride > 1 and taken == 1:
        why = "Then F(x) keeps its size, and the shortcut does not. Give the block's stride to the first 3x3."
        raise Wrong("no convolution of F takes the stride", got, why)
    if taken > stride:
        why = "Together they divide the size by 4. The first one takes the stride."
        raise Wrong("the stride is on both convolutions", got, why)
    if stride > 1 and projected == [1]:
        why = "The 1x1 convolution takes the block's stride, too: then both terms have half the height and width."
        raise Wrong("the projection does not take the stride", got, why)


@dataclass(frozen=True)
class Pass:
    """One forward pass of a block with large random parameters: x, y, its two 3x3 convolutions, and all that ran."""

    x: Tensor
    y: Tensor
    first: Operation
    second: Operation
    everything: list[Operation]

    @property
    def read(self) -> Tensor:
        """What the first convolution reads."""
        return without_border(self.first.inputs[0], self.x)

    @property
    def second_read(self) -> Tensor:
        return without_border(self.second.inputs[0], self.first.result)

    @property
    def projections(self) -> list[Operation]:
        return [o for o in self.everything if o.name == "convolution" and o.kernel[2] == 1]

    def normed(self, source: Tensor) -> list[Tensor]:
        """What each BN that reads `source` makes of it."""
        return [o.result for o in self.everything if o.name == "batch_norm" and same(o.inputs[0], source)]

    @property
    def is_old(self) -> bool:
        """Whether both convolutions have their BN behind them, as in notebook 03."""
        return same(self.read, self.x) and bool(self.normed(self.first.result) and self.normed(self.second.result))


def passed(answer: Callable, width: int = 16, stride: int = 1) -> Pass | None:
    """The forward pass of x (8, 16, 8, 8) in training; None where other probes say what is wrong."""
    block, x = loud(make_block(answer, 16, width, stride)), 10 * torch.randn(8, 16, 8, 8)
    with torch.no_grad():
        for parameter in block.parameters():
            if parameter.ndim > 1:  # F's last convolution may begin at zero
                parameter.normal_(std=parameter[0].numel() ** -0.5)
            elif parameter.ndim == 0:  # a factor may begin at one
                parameter.fill_(2)
    seen: list[tuple[Tensor, Tensor]] = []

    def forward(x: Tensor) -> Tensor:
        seen.append((x, block(x)))
        return seen[-1][1]

    everything = operations(forward, x)
    found = [o for o in everything if o.name == "convolution" and o.kernel[2] == 3]
    (x_after, y), shape = seen[0], (8, width, 8 // stride, 8 // stride)
    fits = len(found) == 2 and y.shape == found[1].result.shape == shape
    return Pass(x, y, found[0], found[1], everything) if fits and same(x_after, x, 0) and reliable(block, x) else None


def linear_map(source: Tensor, target: Tensor) -> Tensor | None:
    """The weights (in + 1, out), biases last, that make each pixel of `target` from that of `source`; or None."""
    rows, wanted = (t.movedim(1, -1).flatten(0, 2) for t in (source, target))
    rows = torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
    weights = torch.linalg.lstsq(rows, wanted).solution
    return weights if same(rows @ weights, wanted, 1e-4) else None


def factors(y: Tensor, f: Tensor, x: Tensor) -> Tensor | None:
    """(C, 2): for each channel the two factors of y = factor * f + factor * x; None where y is no such sum."""
    f, x, y = (t.transpose(0, 1).flatten(1) for t in (f, x, y))
    rows, wanted = torch.stack([f, x], 2), y[..., None]
    found = torch.linalg.lstsq(rows, wanted).solution
    return found[..., 0] if same(rows @ found, wanted, 1e-4) else None
