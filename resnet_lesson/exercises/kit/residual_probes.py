"""What every residual block must do, basic or bottleneck: probes that both exercises share.

`expansion` is the block's: output channels = expansion * width.
"""

from collections.abc import Sequence

import torch

from .block_probes import EVERY, Shared, is_projection, keeping, probe_with, shared
from .exercise import Exercise, Wrong
from .layer_probes import LAYERS
from .probing import convolutions, hidden_layers, operations, run, same, shake, zero_convolutions
from .shortcut_probes import FITS, SHORTCUT, explained

RESIDUAL: Shared = []


def probe_residual_block(exercise: Exercise, expansion: int = 1, more: Sequence = ()) -> None:
    """Give an exercise the probes of every block, those of this module, and `more`.

    The first one says whether the block runs; where it does not, all others repeat what that one tells.
    """
    after = [*EVERY, *LAYERS, *RESIDUAL, *SHORTCUT, *more]
    probe_with(exercise, FITS, expansion)
    probe_with(exercise, [(tried, expected, explained(probe)) for tried, expected, probe in after], expansion)


@shared(RESIDUAL, "the weights of all convolutions set to zero", "ReLU(x): F(x) is zero, and x comes by the shortcut")
def zero_weights(answer, expansion):
    x = torch.randn(4, 16, 8, 8)
    block = zero_convolutions(keeping(answer, expansion)).eval()
    if any(is_projection(c, 16, 16) for c in convolutions(block, x)):
        return  # the shortcut itself is at zero now; another probe says that it should be the identity
    if hidden_layers(block):
        return  # another probe says so: layers in a list were not set to zero
    y = run(block, x)
    if y.shape != x.shape:
        return  # the probe of the shapes says what is wrong
    if y.abs().max() < 1e-6:
        why = "Without F nothing is left, so nothing of x is added. Where is the shortcut around the convolutions?"
        raise Wrong("forgotten shortcut", "zeros", why)
    if same(y, x):
        if all(o.name != "convolution" for o in operations(block, x)):
            raise Wrong("nothing is computed yet", "x", "x comes out as it went in. Write F(x) first, and add x to it.")
        difference = run(shake(keeping(answer, expansion)), x + 100) - (x + 100)
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
    difference = run(shake(keeping(answer, expansion)), x + 100) - (x + 100)
    if difference.min() >= -1e-4:
        why = "F ends in BN. With a ReLU at its end it can only add, never subtract."
        raise Wrong("a ReLU at the end of F", "no negative value", why)


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
