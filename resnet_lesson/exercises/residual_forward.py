"""The exercise `residual_forward` of notebook 02: the forward pass of a residual block."""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..models import blocks
from .kit.block_mistakes import SUM
from .kit.calls import run
from .kit.exercise import Exercise, Wrong

residual_forward = Exercise(
    "residual_forward",
    "Write the forward pass of a residual block, y = ReLU(F(x) + shortcut(x)).",
    solution=(blocks.BasicBlock.forward,),
    hints=(
        "Read y = ReLU(F(x) + shortcut(x)) from the inside out: two things are computed from x, then added, and the "
        "sum goes through a ReLU.",
        "F is self.residual, and you call it like a function: self.residual(x). The same goes for self.shortcut.",
        "Both start from the same x. Do not write into x: `x = a + b` makes a new tensor, but `x += b` changes the old "
        "one.",
        "One line is enough: return self.relu(... + ...)",
    ),
    read="notebook 02, sections 1 and 2; paper, section 3.2, equation 1",
)


class Part(nn.Module):
    """A part of a block that computes `function` and records the numbers that it was called with."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function, self.inputs = function, []

    def forward(self, x: Tensor) -> Tensor:
        self.inputs += x.detach().flatten().tolist()
        return self.function(x)


class Parts(nn.Module):
    """A block with the given residual function and shortcut, for the student's forward to work on."""

    def __init__(self, residual: Callable[[Tensor], Tensor], shortcut: Callable[[Tensor], Tensor] = lambda x: 1 * x):
        super().__init__()
        self.residual, self.shortcut, self.relu = Part(residual), Part(shortcut), nn.ReLU()


def y(forward: Callable, block: nn.Module, x: float) -> Tensor | float:
    """The result of the student's forward for x, as a number if it is a single one."""
    if inspect.isclass(forward):
        why = "Give check() the function alone, ex.check(forward), not the class that it belongs to."
        raise Wrong("a class instead of the function", f"the class {forward.__name__}", why)
    if isinstance(forward, nn.Module):
        why = "Give check() the function itself, ex.check(forward), without calling it."
        raise Wrong("not a function", f"an object of type {type(forward).__name__}", why)
    made = run(forward, block, torch.tensor([[x]]))
    return made.item() if made.numel() == 1 else made


def always(f: float) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.full_like(x, f)


@residual_forward.case("x = 3 with an F that always returns 4, -2 or -5; x = -2 with F = 5",
                       "ReLU(F + x): 7, 1 and 0; 3")  # fmt: skip
def adds_and_rectifies(answer):
    asked = ((3.0, 4), (3.0, -2), (3.0, -5), (-2.0, 5))
    return {f"x = {x:g}, F = {f:g}": y(answer, Parts(always(f)), x) for x, f in asked}


@residual_forward.case("x = 3, F = 4, and a shortcut that multiplies by 10", "4 + 30 = 34")
def uses_the_shortcut(answer):
    return y(answer, Parts(always(4), lambda x: 10 * x), 3.0)


@residual_forward.case("what self.residual and self.shortcut are called with, x = 3", "each is called once, with x")
def both_start_at_x(answer):
    block = Parts(lambda x: x - 1, lambda x: 10 * x)
    y(answer, block, 3.0)
    return {"self.residual": block.residual.inputs, "self.shortcut": block.shortcut.inputs}


@residual_forward.case("x = 3 after x = 5, in the same block with F(x) = x + 1", "4 + 3 = 7")
def keeps_nothing(answer):
    block = Parts(lambda x: x + 1)
    y(answer, block, 5.0)
    return y(answer, block, 3.0)


@residual_forward.case("x after the forward pass", "unchanged, because a hook or another layer may still need it")
def leaves_x_alone(answer):
    x = torch.tensor([[3.0, -3.0]])
    block = Parts(lambda x: x - 1, lambda x: x)  # a shortcut that returns x itself, as nn.Identity does
    answer(block, x)
    if x.tolist() != [[3.0, -3.0]]:
        why = (
            "`x += ...` writes into x itself. So does `out += ...` if out is the x that an identity shortcut returned. "
        )
        why += "Write `x + ...`, which makes a new tensor."
        raise Wrong("the input is changed in place", "x = {:g} and {:g}".format(*x[0].tolist()), why)


@residual_forward.case("the gradient dy/dx at x = 3, with F(x) = 2x", "1 + 2 = 3")
def gradient(answer):
    x = torch.tensor([[3.0]], requires_grad=True)
    made = run(answer, Parts(lambda x: 2 * x), x)
    return torch.autograd.grad(made.sum(), x)[0].item() if made.requires_grad else "no gradient"


# --- The mistakes, each as a different last line.
# fmt: off
F, S = "self.residual(x)", "self.shortcut(x)"


def mistake(name: str, why: str, *lines: str) -> None:
    for line in lines:
        residual_forward.mistake(name, {"return " + SUM: line if "return" in line else f"return {line}"}, why)


mistake("the shortcut is not used", "Where a block changes the shape, self.shortcut brings x to the new shape: add "
        "self.shortcut(x) instead of x.", f"self.relu({F} + x)")
mistake("forgotten shortcut", "That is F alone, as in a plain block. Add self.shortcut(x), and then apply the ReLU.",
        f"self.relu({F})", F)
mistake("forgotten F", "That is x alone. What does self.residual(x) return, and where do you add it?",
        f"self.relu({S})", "self.relu(x)")
mistake("nothing is computed yet", "x comes out as it went in. Write F(x) first, and add the shortcut to it.", "x")
mistake("a ReLU on F before the addition", "This way F cannot subtract. Add first, then apply the ReLU once.",
        f"self.relu({F}) + {S}")
mistake("a ReLU on x before the addition", "A ReLU set the negative values of x to zero before the addition. Add x as "
        "it is, and apply the ReLU to the sum.", f"self.relu({F} + self.relu({S}))", f"{F} + self.relu({S})")
mistake("a ReLU on each term instead of on the sum", "This way neither F nor x can subtract. Add first, then apply the "
        "ReLU once.", f"self.relu({F}) + self.relu({S})")
mistake("missing ReLU after the addition", "The sum goes through self.relu before it leaves the block.", f"{F} + {S}")
mistake("the shortcut does not start at x", "It got the output of F instead. Keep x as it is: give the output of F "
        "another name, out = self.residual(x), and add self.shortcut(x).",
        *(f"x = {F}\n    return self.relu(x + {other})" for other in ("x", S)))
mistake("F does not start at x", "It got the output of the shortcut instead. Both paths start at the block's input x.",
        f"x = {S}\n    return self.relu({F} + x)")
mistake("F runs more than once", "Call it once and keep the result: a second call costs time, and updates BN's "
        "statistics once more.", f"{F}\n    return {SUM}")
mistake("the gradient is cut", "The value is right, but part of its gradient is lost. Is there a detach(), .data, "
        ".item() or no_grad()?", *(SUM.replace(part, f"{part}.detach()") for part in (F, S)))
# fmt: on
