"""The exercise `preact_block` of notebook 09: BN and ReLU before each convolution, nothing after the addition."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as nnF
from torch import Tensor

from ..models import family
from .filter_direction import sound
from .kit.block_probes import EVERY, TWO_3X3, input_untouched, no_bias, normalised, relu_between, two_convolutions
from .kit.exercise import Exercise, Wrong
from .kit.layer_probes import LAYERS, relu_itself
from .kit.preact_probes import Pass, factors, it_runs, linear_map, passed
from .kit.probing import brings_its_own_shortcut, convolutions, make_block, run, same, shake, zero_convolutions
from .kit.shortcut_probes import cases

preact_block = Exercise(
    "preact_block",
    "Write the class PreActBlock(in_channels, width, stride=1): BN and ReLU before each of two 3x3 convolutions, and "
    "nothing after the addition. Where the shape changes, the first BN and ReLU come before both paths, and the "
    "shortcut is a 1x1 convolution without BN. No convolution has a bias. Use modules, no lambdas.",
    solution=(family.PreActBlock,),
    hints=(
        "The sum comes last: y = F(x) + x. The two BN and the two ReLUs of the basic block are all in F now. In which "
        "order?",
        "F is BN - ReLU - conv - BN - ReLU - conv. A BN has as many channels as what it reads: the first one "
        "in_channels, the second one width.",
        "The first convolution takes the stride and changes the channels; the second keeps both.",
        "Where the shape stays, x itself is added, as it came. Where it changes, a = ReLU(BN(x)) is computed once, and "
        "two read it: the first 3x3 convolution, and the 1x1 convolution, which takes the stride, too.",
        "In forward: a = self.relu(self.bn1(x)), then f = self.conv2(self.relu(self.bn2(self.conv1(a)))). Return "
        "f + x where the shape stays, and f + self.shortcut(a) where it changes.",
    ),
    read="notebook 09, section 2",
)
A_BIAS = (
    "a bias in a convolution",
    "What reads their output, here or in the next block, begins with BN, and BN subtracts a bias again: bias=False.",
)


def probe(tried: str, expected: str) -> Callable:
    """As `preact_block.probe`; where the block stops with a RuntimeError, the probe tells the known causes."""

    def add(run_probe: Callable) -> Callable:
        def explained(answer):
            try:
                run_probe(answer)
            except RuntimeError:
                it_runs(answer)
                input_untouched(answer, 1)  # autograd stops where x is overwritten
                raise

        preact_block.probe(tried, expected)(explained)
        return run_probe

    return add


@preact_block.probe("whether it runs: the shape stays; channels, size or both change",
                    "the two terms of the sum have the same shape")  # fmt: skip
def runs(answer):
    it_runs(answer)
    if not brings_its_own_shortcut(answer):
        why = "The arguments are in_channels, width and stride: the block makes its 1x1 convolution itself."
        raise Wrong("the projection is left to the caller", "an argument `downsample`", why)


@probe("what the two 3x3 convolutions read, large values", "ReLU(BN(x)), and ReLU(BN(the first one's output))")
def pre_activated(answer):
    for width, stride, case in cases(1):
        if p := passed(answer, width, stride):
            for i, source, read in ((1, p.x, p.read), (2, p.first.result, p.second_read)):
                if not any(same(read, n.relu()) for n in p.normed(source)):
                    got, mistake, why = misread(p, i, source, read)
                    raise Wrong(mistake, f"{got}, in convolution {i} where {case}", why)


def misread(p: Pass, i: int, source: Tensor, read: Tensor) -> tuple[str, str, str]:
    """What convolution i reads instead of ReLU(BN(source)), the mistake, and how to see it."""
    order, normed = "The order is BN - ReLU - conv, and this twice.", p.normed(source)
    if p.is_old and p.y.min() >= 0:
        why = "Now BN and ReLU come before each convolution, and nothing comes after the addition."
        return "x itself", "this is the block of notebook 03", why
    if p.is_old:
        return "x itself", "BN comes after the convolutions", order
    if same(read, source):
        return "neither BN nor ReLU", f"no BN and ReLU before convolution {i}", order
    if same(read, source.relu()):
        return "ReLU without BN", f"missing BN before convolution {i}", order
    if any(same(read, n) for n in normed):
        return "BN without ReLU", f"missing ReLU before convolution {i}", order
    if any(same(read, n) or same(read, n.relu()) for n in p.normed(source.relu())):
        why = "BN first centres the values, then ReLU cuts the negative ones. " + order
        return "BN of ReLU(x)", "ReLU before BN", why
    if any(same(read, n.relu()) for once in normed for n in p.normed(once.relu())):
        why = "Where they come before the two paths part, F begins with its convolution."
        return "BN - ReLU - BN - ReLU", "BN and ReLU twice in a row", why
    if normed:
        why = "After BN comes max(0, v) of each value, however large, nn.ReLU() or nnF.relu, and then the convolution."
        got = f"values from {read.min():.1f} to {read.max():.1f}"
        return got, "another function than ReLU before a convolution", why
    why = "What comes before each ReLU is nn.BatchNorm2d, of x or of the first convolution's output."
    return "no result of nn.BatchNorm2d", "another normalisation than BN before a convolution", why


SUMS: tuple[tuple[str, Callable, str, str], ...] = (  # what y may be, of F(x), x, and the activated x that F reads
    ("ReLU(F(x) + x)", lambda f, x, a: (f + x).relu(), "a ReLU after the addition",
     "Nothing comes after the addition: then x keeps its negative values, from block to block."),
    ("ReLU(F(x)) + x", lambda f, x, a: f.relu() + x, "a ReLU at the end of F",
     "F ends in its second convolution. With a ReLU there it could only add, never subtract."),
    ("F(x) + ReLU(BN(x))", lambda f, x, a: f + a, "the activated x is added where the shape stays",
     "Where the shape stays, x is added as it came: keep it under a name of its own before BN and ReLU."),
)  # fmt: skip


@probe("y where the shape stays, against F(x), which the second convolution puts out", "y = F(x) + x")
def sum_of_both(answer):
    p = passed(answer)
    if p is None or p.is_old or p.projections:
        return  # other probes say what is wrong
    f, x = p.second.result, p.x
    if same(p.y, f + x):
        return
    for got, compute, mistake, why in SUMS:
        if same(p.y, compute(f, x, p.read)):
            raise Wrong(mistake, got, why)
    if any(same(p.y, n) or same(p.y, n.relu()) for n in p.normed(f + x)):
        why = "Nothing comes after the addition. The BN that you look for is the first one of the next block."
        raise Wrong("BN after the addition", "BN(F(x) + x)", why)
    if any(same(p.y, n + x) or same(p.y, n.relu() + x) for n in p.normed(f)):
        why = "F ends in its second convolution: it has two BN, and both come before a convolution."
        raise Wrong("a BN at the end of F", "BN(F(x)) + x", why)
    found = factors(p.y, f, x)
    if found is None:
        why = "What F ends in, its second convolution's output, is added to x: nothing else, and nothing after it."
        raise Wrong("another sum", "something else", why)
    if same(found, torch.tensor([1.0, 0.0]).expand_as(found), 1e-3):
        why = "Without x a block cannot pass on what it gets. Return F(x) + x."
        raise Wrong("forgotten shortcut", "F(x) alone", why)
    got = "{:g} F(x) + {:g} x".format(*(round(factor, 2) + 0.0 for factor in found[0].tolist()))
    if same(found, torch.tensor([1.0, 2.0]).expand_as(found), 1e-3):
        raise Wrong("the shortcut is added twice", got, "Add x to F(x) once.")
    raise Wrong("a factor in the sum", got, "Both are added as they are, without a minus, a factor or a mean.")


@probe("the convolutions of F at zero, and the gradient there", "y = x, with its negative values; dy/dx = 1")
def identity_path(answer):
    x = torch.randn(2, 16, 8, 8, requires_grad=True)
    y = run(shake(zero_convolutions(make_block(answer, 16, 16))).eval(), x)
    if not same(y, x, 0):
        return sum_of_both(answer)
    direction = torch.randn_like(y)
    gradient = torch.autograd.grad(y, x, direction)[0] if y.requires_grad else None
    if gradient is None or not same(gradient, direction, 0):
        why = "dy/dx = 1 + dF/dx: the 1 is missing. Is there a detach(), .data or no_grad() on the way of x?"
        raise Wrong("the gradient of the shortcut is cut", "none" if gradient is None else "another one", why)


@probe("the shortcut where the shape stays", "x itself, without a convolution")
def identity_where_it_fits(answer):
    p = passed(answer)
    if p and p.projections:
        why = "Where the shape stays, add x itself: only that lets it pass through all blocks unchanged."
        raise Wrong("a projection where identity would do", "a 1x1 convolution from 16 to 16 channels", why)


@probe("y - F(x) where the shape changes", "one 1x1 convolution, with the stride, of what F's first convolution reads")
def projected(answer):
    for width, stride, case in cases(1)[1:]:
        p = passed(answer, width, stride) if brings_its_own_shortcut(answer) else None
        if p and any(same(p.read, n.relu()) for n in p.normed(p.x)):  # if not, another probe says so
            if found := misprojected(answer, p, stride):
                raise Wrong(found[1], f"{found[0]}, where {case}", found[2])


def misprojected(answer: Callable, p: Pass, stride: int) -> tuple[str, str, str] | None:
    """What the shortcut computes instead, the mistake, and how to see it; or None."""
    rest, both = p.y - p.second.result, "The paths part behind the first BN and ReLU, and both read the same."
    if not rest.any():
        why = "F(x) is left alone here. The 1x1 convolution brings the activated x to its shape."
        return ("F(x) alone", "no shortcut where the shape changes", why) if sound(answer, sum_of_both) else None
    if p.y.min() >= 0:
        return SUMS[0][0], *SUMS[0][2:]
    normed = p.normed(p.x)
    found = []
    for got, mistake, source in (
        ("", "", p.read),
        ("a projection of x", "the projection reads x itself", p.x),
        *(("a projection of BN(x)", "missing ReLU before the projection", n) for n in normed),
        *(("a projection of another ReLU(BN(x))", "the shortcut has a BN of its own", n.relu()) for n in normed),
    ):
        weights = linear_map(source[:, :, ::stride, ::stride], rest)
        if weights is not None:
            biased = bool(weights[-1].abs().max() > 1e-2 * weights.abs().max())
            found.append((biased, got, mistake, weights))
    if not found:
        return not_linear(answer, p, rest, stride)
    biased, got, mistake, weights = min(found, key=lambda one: one[0])  # BN(x) would fit x, with a bias
    if mistake:
        return got, mistake, both
    if biased and sum(o.name == "batch_norm" for o in p.everything) > 2:
        why = "The 1x1 convolution alone: its output is added as it is, as that of F's second convolution."
        return "BN of the projection", "BN after the projection", why
    if biased:
        return "a bias", *A_BIAS
    if same(weights, weights.round(), 1e-3):
        why = "Here a 1x1 convolution with weights of its own is asked for: nn.Conv2d(..., kernel_size=1, ...)."
        return "channels of x, and zeros or copies", "a shortcut without weights where the shape changes", why
    return None


def not_linear(answer: Callable, p: Pass, rest: Tensor, stride: int) -> tuple[str, str, str] | None:
    """As `misprojected`, for a shortcut that is no projection of a pixel."""
    pools = (nnF.avg_pool2d, nnF.max_pool2d)
    if any(linear_map(pool(p.read, stride), rest) is not None for pool in pools):
        why = "The 1x1 convolution takes the stride itself, and reads every second pixel as it is."
        return "a projection of a pool", "pooling before the projection", why
    if any(same(rest, c.result.relu()) for c in p.projections):
        why = "The 1x1 convolution comes last on this path, and its output is added as it is."
        return "ReLU(projection)", "a ReLU after the projection", why
    if not sound(answer, sum_of_both):
        return None  # the sum is wrong, not its second term
    why = "Where the shape changes, y = F(x) + shortcut(a), with the same a = ReLU(BN(x)) that F begins with."
    return "something else", "another shortcut where the shape changes", why


@probe("biases of the convolutions", "none")
def without_bias(answer):
    found = convolutions(make_block(answer, 16, 32, 2), torch.randn(2, 16, 8, 8))
    if biased := sum(c.has_bias for c in found):
        raise Wrong(A_BIAS[0], f"a bias in {biased} of {len(found)} convolutions", A_BIAS[1])


@probe(*TWO_3X3[0][:2])
def two_beside_the_shortcut(answer):
    found = [c for c in convolutions(make_block(answer, 16, 32, 2), torch.randn(2, 16, 8, 8)) if c.kernel[2] > 1]
    if len(found) == 3 and [c.kernel[1] for c in found].count(16) == 2:  # two of them read what F begins with
        why = "The shortcut only fits the shape: kernel_size=1, without padding. It looks at no neighbours."
        raise Wrong("the projection is larger than 1x1", "a third convolution larger than 1x1", why)
    two_convolutions(answer, 1)


for tried, expected, shared_probe in (*EVERY, *LAYERS):
    if shared_probe not in (no_bias, normalised, relu_between, relu_itself):  # these say what follows a convolution
        probe(tried, expected)(partial(shared_probe, expansion=1))
