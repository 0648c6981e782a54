"""The exercise `residual_forward` of notebook 02: the forward pass of a residual block."""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..models import blocks
from .kit.exercise import Exercise, Wrong
from .kit.probing import run, same, shape

residual_forward = Exercise(
    "residual_forward",
    "Write the forward pass of a residual block, y = ReLU(F(x) + shortcut(x)).",
    solution=(blocks.BasicBlock.forward,),
    hints=(
        "Read y = ReLU(F(x) + shortcut(x)) from the inside out: two things are made from x, added, then rectified.",
        "F is self.residual, and it is called like a function: self.residual(x). So is self.shortcut.",
        "Both start at the same x. Do not write into x: `x = a + b` makes a new tensor, `x += b` changes the old one.",
        "One line is enough: return self.relu(... + ...)",
    ),
    read="notebook 02, sections 1 and 2; paper, section 3.2, equation 1",
)


class Part(nn.Module):
    """A part of a block that computes `function` and keeps what it was called with."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function, self.inputs = function, []

    def forward(self, x: Tensor) -> Tensor:
        self.inputs.append(x.detach().clone())
        return self.function(x)


class Parts(nn.Module):
    """A block with the given residual function and shortcut, for the student's forward to work on."""

    def __init__(self, residual: Callable[[Tensor], Tensor], shortcut: Callable[[Tensor], Tensor] = lambda x: 1 * x):
        super().__init__()
        self.residual, self.shortcut, self.relu = Part(residual), Part(shortcut), nn.ReLU()


def function_of(forward: object) -> Callable:
    """What was handed in, which must be the function itself."""
    if inspect.isclass(forward):
        why = "Give check() the function alone, ex.check(forward), not the class that it belongs to."
        raise Wrong("a class instead of the function", f"the class {forward.__name__}", why)
    if isinstance(forward, nn.Module) or not callable(forward):
        why = "Give check() the function itself, ex.check(forward), without calling it."
        raise Wrong("not a function", f"an object of type {type(forward).__name__}", why)
    return forward


def call(forward: Callable, block: nn.Module, x: Tensor) -> Tensor:
    return run(function_of(forward), block, x)


def number(forward: Callable, x: float, f: float, shortcut: Callable[[Tensor], Tensor] = lambda x: 1 * x) -> float:
    """y for a single number x and a residual function that always answers f."""
    y = call(forward, Parts(lambda x: torch.full_like(x, f), shortcut), torch.tensor([[x]]))
    if y.numel() != 1:
        raise Wrong("joined instead of added", f"{y.numel()} numbers", "`+` adds; torch.cat puts side by side.")
    return y.item()


@residual_forward.probe("x = 3, with an F that always answers 4 or -2", "3 + 4 = 7 and 3 - 2 = 1")
def adds_x(forward):
    up, down = number(forward, 3.0, 4.0), number(forward, 3.0, -2.0)
    known = {
        (4.0, 0.0): ("forgotten shortcut", "That is ReLU(F(x)): what a plain block computes. Add the shortcut's x."),
        (3.0, 3.0): ("forgotten F", "That is x alone. What does self.residual(x) answer, and where is it added?"),
        (7.0, 3.0): ("a ReLU on F before the addition", "So F cannot subtract. Add first, then take the ReLU once."),
        (10.0, 4.0): ("the input is added twice", "The shortcut comes once."),
        (11.0, 0.0): ("F is added twice", "F(x) comes once."),
        (12.0, 0.0): ("multiplied instead of added", "F(x) is added to x."),
        (3.5, 0.5): ("averaged instead of added", "Nothing is divided: y = ReLU(F(x) + x)."),
        (8.0, 0.0): (
            "the shortcut does not start at x",
            "That is 2 F(x): the shortcut got F's answer. Give it x itself.",
        ),
        (0.0, 5.0): ("subtracted instead of added", "That is x - F(x). F can be negative itself: add it."),
        (1.0, 0.0): ("subtracted instead of added", "That is F(x) - x. The equation has a plus."),
    }
    if (up, down) in known:
        raise Wrong(known[up, down][0], f"{up:g} and {down:g}", known[up, down][1])
    if (up, down) != (7.0, 1.0):
        why = "Only two things may happen: F(x) and the shortcut are added, then the ReLU. What else does your code do?"
        raise Wrong("not the sum of F(x) and x", f"{up:g} and {down:g}", why)


@residual_forward.probe("x = 3, with an F that always answers -5", "ReLU(3 - 5) = 0")
def ends_in_relu(forward):
    y = number(forward, 3.0, -5.0)
    if (number(forward, 3.0, 4.0), number(forward, 3.0, -2.0)) != (7.0, 1.0) or y == 0.0:
        return  # right, or wrong in another way that the probe above tells
    if y == -2.0:
        why = "The sum goes through self.relu before it leaves the block."
        raise Wrong("missing ReLU after the addition", "-2", why)
    if y == 2.0:
        why = "The sum is -2. ReLU makes 0 of a negative number; it does not drop the sign."
        raise Wrong("the absolute value instead of ReLU", "2", why)
    why = "The sum is -2, and ReLU makes exactly 0 of every negative number. Is it another function?"
    raise Wrong("another function instead of ReLU", f"{y:g}", why)


@residual_forward.probe("x = -2, with an F that always answers 5", "ReLU(-2 + 5) = 3")
def x_is_added_as_it_is(forward):
    if number(forward, -2.0, 5.0) == 5.0 and number(forward, 3.0, 4.0) == 7.0:
        why = "A ReLU made x zero before the addition. Add x as it is; the ReLU comes after."
        raise Wrong("a ReLU on x before the addition", "5", why)


@residual_forward.probe("x = 3, F = 4, and a shortcut that multiplies by 10", "4 + 30 = 34")
def uses_the_shortcut(forward):
    y = number(forward, 3.0, 4.0, lambda x: 10 * x)
    if y == 7.0:
        why = "x itself is added. Where a block changes the shape, self.shortcut brings x there: add self.shortcut(x)."
        raise Wrong("the shortcut is not used", f"{y:g}", why)


@residual_forward.probe("what self.residual and self.shortcut are called with, x = 3", "each once, and with x")
def both_start_at_x(forward):
    x, block = torch.tensor([[3.0]]), Parts(lambda x: x - 1, lambda x: 10 * x)
    call(forward, block, x)
    for name, what in (("residual", "F"), ("shortcut", "the shortcut")):
        calls = [one.item() for one in getattr(block, name).inputs if one.numel() == 1]
        if len(calls) > 1:
            why = (
                f"Call self.{name} once and keep the result: a second call costs time and moves BN's statistics again."
            )
            raise Wrong(f"{what} runs more than once", f"{len(calls)} calls of self.{name}", why)
        if calls and calls[0] != 3.0:
            why = "It got something that another part had made. Both ways start at the block's input x."
            raise Wrong(f"{what} does not start at x", f"self.{name} was called with {calls[0]:g}", why)


@residual_forward.probe("x after the forward pass", "unchanged: a hook, or another layer, may still need it")
def input_untouched(forward):
    x = torch.tensor([[3.0]])
    block = Parts(lambda x: x - 1, lambda x: x)  # a shortcut that hands on x itself, as nn.Identity does
    run(lambda: function_of(forward)(block, x))  # x itself too: `run` hands on copies
    if x.item() != 3.0:
        why = (
            "`x += ...` writes into x itself, and so does `out += ...` when out is the identity shortcut's x. Use `+`."
        )
        raise Wrong("the input is changed in place", f"x = {x.item():g}", why)


@residual_forward.probe("the gradient dy/dx at x = 3, with F(x) = 2x", "1 + 2 = 3")
def gradient(forward):
    x = torch.tensor([[3.0]], requires_grad=True)
    y = call(forward, Parts(lambda x: 2 * x), x)
    if y.numel() != 1 or y.item() != 9.0:
        return  # other probes say what is wrong with the value
    got = torch.autograd.grad(y, x)[0].item() if y.requires_grad else 0.0
    if got != 3.0:
        why = "The value is right, but a part of it lost its gradient: detach(), .data, .item() or no_grad()."
        raise Wrong("the gradient is cut", f"{got:g}", why)


@residual_forward.probe(
    "a BasicBlock, 16 -> 32 channels, stride 2, with your forward", "the course's output, 2 x 32 x 4 x 4"
)
def real_block(forward):
    small = [number(forward, x, f) for x, f in ((3.0, 4.0), (3.0, -2.0), (3.0, -5.0), (-2.0, 5.0))]
    if small != [7.0, 1.0, 0.0, 3.0] or number(forward, 3.0, 4.0, lambda x: 10 * x) != 34.0:
        return  # other probes say what is wrong, with single numbers
    block, x = blocks.BasicBlock(16, 32, 2).eval(), torch.randn(2, 16, 8, 8)
    expected, y = block(x), call(forward, block, x)
    if not same(y, expected):
        why = "Single numbers come out right, images do not. Does your code depend on the shape of x?"
        raise Wrong("a real block computes something else", shape(y), why)
