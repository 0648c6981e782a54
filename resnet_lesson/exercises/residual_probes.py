"""What every residual block must do, basic or bottleneck: probes that both exercises share.

`expansion` is the block's: output channels = expansion * width.
"""

import torch

from .block_probes import EVERY, Shared, changing, is_projection, keeping, probe_with, shared
from .core import Exercise, Wrong
from .probing import (
    brings_its_own_shortcut,
    convolutions,
    count,
    make_block,
    reached,
    run,
    same,
    shake,
    zero_convolutions,
)

RESIDUAL: Shared = []


def probe_residual_block(exercise: Exercise, expansion: int = 1) -> None:
    """Give an exercise the probes of every block and those of this module."""
    probe_with(exercise, EVERY + RESIDUAL, expansion)


@shared(RESIDUAL, "the weights of all convolutions set to zero", "ReLU(x): F(x) is zero, and x comes by the shortcut")
def zero_weights(answer, expansion):
    x = torch.randn(4, 16, 8, 8)
    block = zero_convolutions(keeping(answer, expansion)).eval()
    if any(is_projection(c, 16, 16) for c in convolutions(block, x)):
        return  # the shortcut itself is at zero now; another probe says that it should be the identity
    y = run(block, x)
    if y.shape != x.shape:
        return  # the probe of the shapes says what is wrong
    if y.abs().max() < 1e-6:
        why = "Without F nothing is left, so nothing of x is added. Where is the shortcut around the convolutions?"
        raise Wrong("forgotten shortcut", "zeros", why)
    if same(y, x):
        difference = run(keeping(answer, expansion), x + 100) - (x + 100)
        if difference.min() >= 0:
            why = "The last ReLU comes after the addition: y = ReLU(F(x) + x). Before it, F could never subtract."
            raise Wrong("ReLU before the addition instead of after it", "x, with its negative values", why)
        why = "A block ends in a ReLU, after the addition: y = ReLU(F(x) + x)."
        raise Wrong("missing ReLU after the addition", "x, with its negative values", why)
    if same(y, 2 * x.relu()) or same(y, 2 * x):
        raise Wrong("the shortcut is added twice", "two times the expected", "Add x to F(x) once.")
    if not same(y, x.relu()):
        why = "Only the shortcut should be left. Something else changes x on its way, or is added to it."
        raise Wrong("more than the shortcut is left", "something else", why)


@shared(RESIDUAL, "a large positive input, so that the last ReLU changes nothing", "F(x) = y - x has both signs")
def residual_has_both_signs(answer, expansion):
    x = torch.randn(4, 16, 8, 8)
    if not same(run(zero_convolutions(keeping(answer, expansion)).eval(), x), x.relu()):
        return  # the probe with zero weights says what is wrong
    difference = run(keeping(answer, expansion), x + 100) - (x + 100)
    if difference.min() >= -1e-4:
        why = "F ends in BN. With a ReLU at its end it can only add, never subtract."
        raise Wrong("a ReLU at the end of F", "no negative value", why)


@shared(
    RESIDUAL,
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


@shared(RESIDUAL, "the shortcut where the shape changes, 16 -> 32 channels, stride 2",
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
    padded = y.abs().max() > 0  # with all convolutions at zero, only padding lets x through
    if not projections and not padded:
        why = "Here x has another shape than F(x): something must bring it there, such as a 1x1 convolution and BN."
        raise Wrong("no shortcut where the shape changes", "x has no way around F", why)
    starts = [c for c in projections if torch.equal(c.inputs[0], x)]
    if projections and not starts:
        why = "The shortcut starts at x, the block's input, not at something that F or a ReLU has computed."
        raise Wrong("the shortcut does not start at x", "another tensor", why)
    if projections and all(c.stride != 2 for c in starts):
        why = "The 1x1 convolution takes the block's stride; nothing else on the shortcut changes the size."
        raise Wrong("the projection does not take the stride", f"stride {starts[0].stride}", why)


@shared(
    RESIDUAL,
    "the gradient with F's weights at zero",
    "1 where x is positive, 0 elsewhere: it comes by the shortcut alone",
)
def gradient_by_the_shortcut(answer, expansion):
    x = torch.randn(2, 16, 8, 8, requires_grad=True)
    y = run(zero_convolutions(keeping(answer, expansion)).eval(), x)
    if not same(y.detach(), x.detach().relu()):
        return  # the probe with zero weights says what is wrong
    gradient = torch.autograd.grad(y.sum(), x, allow_unused=True)[0] if y.requires_grad else None
    if gradient is None or not same(gradient, (x > 0).float()):
        why = "The values of x arrive, their gradient does not. Is there a detach(), .data or no_grad() on the way?"
        raise Wrong("the gradient of the shortcut is cut", "no gradient" if gradient is None else "another one", why)


@shared(RESIDUAL, "a small step of x", "y changes as the gradient says (finite differences)")
def finite_differences(answer, expansion):
    block = shake(keeping(answer, expansion, 8).double().eval())
    x = torch.randn(2, 8, 5, 5, dtype=torch.double, requires_grad=True)
    step = 1e-6 * torch.randn_like(x)
    predicted = (torch.autograd.grad(run(block, x).sum(), x)[0] * step).sum()
    with torch.no_grad():
        change = (run(block, x + step).sum() - run(block, x - step).sum()) / 2
    if (predicted - change).abs() > 1e-3 * step.abs().sum():
        got = f"{change:.2g} instead of {predicted:.2g}"
        why = "A part of the computation passes on values without their gradient: detach(), .data or no_grad()."
        raise Wrong("the gradient does not fit the output", got, why)
