"""The exercise `the_dose` of notebook 07: the block whose shortcut has a weight, and what the weight will do."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import nn

from ..models import controls
from ..training.study import recorded_study
from .kit.blocks import count, learning, make_block, planted
from .kit.calls import numbers, part, run
from .kit.exercise import Exercise, Wrong
from .kit.source import code_of, edited


def _errors() -> dict[float, list[float]]:
    """The training errors at the end, by dose, one per seed."""
    study = recorded_study("doses")
    doses = sorted({trial["dose"] for trial in study.trials})
    return {dose: [errors[-1] for errors in study.values("train_errors", dose=dose)] for dose in doses}


def _solution() -> str:
    order = ", ".join(f"{dose:g}" for dose in _errors())
    return f"""{code_of((controls.DosedBlock,))}

# More shortcut, fewer errors. Three seeds cannot tell 0 from 0.25, or 0.9 from 1, so either order is right there.
ex.check(block=DosedBlock, order=[{order}])"""


the_dose = Exercise(
    "the_dose",
    "Write the basic block with a weight on its shortcut, and put six weights in the order of their training errors.",
    solution=_solution,
    hints=(
        "super().__init__(in_channels, width, stride) makes self.residual, self.shortcut and self.relu, as in a "
        "BasicBlock. Only one number is new.",
        "Store it in __init__: self.dose = dose. It stays a plain number, because it is not to be learned.",
        "forward is one line: self.relu(self.residual(x) + self.dose * self.shortcut(x)).",
        "For the order, start from the two ends, which you know: plain-56 at 0 and ResNet-56 at 1. What do you expect "
        "in between?",
    ),
    read="notebook 07, section 3",
    answer=controls.DosedBlock,
)


def _block(answer: Any) -> Any:
    """The student's class; a known answer is itself a class."""
    return part(answer, "block") if isinstance(answer, dict) else answer


def _made(answer: Any, dose: float | None = None, out: int = 16, stride: int = 1) -> nn.Module:
    """The student's block of that dose, 16 channels in, with planted numbers."""
    block = _block(answer)

    def dosed(in_channels, width, stride=1):
        return block(in_channels, width, stride, dose=dose)

    plain = dose is None or isinstance(block, nn.Module) or not callable(block)
    return planted(make_block(block if plain else dosed, 16, out, stride), X)


X = numbers(4, 16, 8, 8)
case, mistake = the_dose.case, the_dose.mistake


@case("α = 0, 0.5 and 1, where the shape stays", "the plain block, ReLU(F(x)); ReLU(F(x) + 0.5 x); the residual block")
def _doses(answer):
    return {f"α = {dose:g}": run(_made(answer, dose), X) for dose in (0.0, 0.5, 1.0)}


@case("α = 0.25, 16 -> 32 channels, stride 2", "ReLU(F(x) + 0.25 shortcut(x))")
def _quarter(answer):
    return run(_made(answer, 0.25, 32, 2), X)


@case("without the argument `dose`", "α is 1, which makes it the basic block")
def _default(answer):
    return run(_made(answer), X)


@case("a block with α = 0.5, after another one was made with 0.75", "still 0.5, because each block has its own α")
def _two_blocks(answer):
    block = _made(answer, 0.5)
    _made(answer, 0.75)
    return run(block, X)


@case("the learned parameters, α = 0.5", "those of a basic block: α is not one of them")
def _parameters(answer):
    block = _made(answer, 0.5)
    return {"parameters": count(block), "of them with a gradient": learning(block, X)}


@case("the gradient of x, α = 0.5", "through both paths, weighted by 0.5 on the shortcut")
def _gradient(answer):
    asked, block = X.clone().requires_grad_(), _made(answer, 0.5)
    (block(asked * 1) * numbers(4, 16, 8, 8, seed=3)).sum().backward()
    return asked.grad


@case("x after the forward pass", "unchanged, because other code may still need it")
def _leaves_x_alone(answer):
    given = X.clone()
    _made(answer, 0.5)(given)
    if not torch.equal(given, X):
        raise Wrong(
            "x is changed in place", "different values in x", "`x *= ...` writes into x. Write `... * x` instead."
        )


@case(
    "the order of the doses, most training errors first", "each dose once; where seeds overlap, either order is right"
)
def _order(answer):
    if getattr(answer, "__module__", None) == controls.__name__:  # the course's block, right or with a known mistake
        return
    order, errors = part(answer, "order"), _errors()
    numbers_only = isinstance(order, Sequence) and all(isinstance(one, Real) for one in order)
    if not numbers_only or sorted(order) != list(errors):
        doses = ", ".join(f"{dose:g}" for dose in errors)
        raise Wrong("not the six doses", order, f"Write a list with each of {doses} once.")
    early = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :] if max(errors[a]) < min(errors[b])]
    if len(early) > 6:
        raise Wrong("fewest errors first", order, "Turn it round: the dose with the most training errors comes first.")
    for a, b in early:
        why = f"In the recorded study, every training at {b:g} ended with more errors than any training at {a:g}."
        raise Wrong("two doses the wrong way round", f"{a:g} before {b:g}", why)


the_dose.right({"super().__init__(*shape, **options)": 'super().__init__(*shape, **{"shortcut": "A", **options})'})
SUM, KEPT = "self.residual(x) + self.dose * self.shortcut(x)", "self.dose = dose"
# fmt: off
mistake("the dose weighs F", {SUM: "self.dose * self.residual(x) + self.shortcut(x)"},
        "α is the weight of the shortcut. F is added in full.")
for whole, wrong in ((SUM, "self.dose * (self.residual(x) + self.shortcut(x))"),
                     (f"self.relu({SUM})", "self.dose * self.relu(self.residual(x) + self.shortcut(x))")):
    mistake("the dose weighs both", {whole: wrong},
            "Only the shortcut has the weight α: at α = 0 the block is plain, not zero.")
mistake("F gets what the shortcut does not", {SUM: "(1 - self.dose) * self.residual(x) + self.dose * self.shortcut(x)"},
        "Then two things change at once. F is added in full, at every dose.")
mistake("the dose is not used", {SUM: "self.residual(x) + self.shortcut(x)"}, "This is always the block with α = 1.")
mistake("x itself is added where the shape changes", {SUM: "self.residual(x) + self.dose * x"},
        "Where the shape changes, x does not fit F(x): self.shortcut(x) brings it to the new shape.")
mistake("ReLU before the addition instead of after it",
        {f"self.relu({SUM})": "self.relu(self.residual(x)) + self.dose * self.shortcut(x)"},
        "The ReLU comes after the addition, as in the basic block.")
mistake("missing ReLU after the addition", {f"self.relu({SUM})": SUM}, "Like the basic block, this one ends in a ReLU.")
mistake("the gradient of the shortcut is cut", {SUM: "self.residual(x) + self.dose * self.shortcut(x).detach()"},
        "The values of x arrive, but their gradient does not: leave out detach() and .data.")
# This would be right with option A, but not with B, so it is made from B alone.
inside = edited(controls.DosedBlock, {SUM: "self.residual(x) + self.shortcut(self.dose * x)"})
assert inside
mistake("the projection undoes the dose", inside,
        "The projection ends in BN, which normalises any factor away. Multiply the output of the shortcut, not x.")
mistake("the dose has no default", {"dose=1.0": "dose"}, "Without the argument, it is the basic block: dose=1.0.")
mistake("the default is not 1", {"dose=1.0": "dose=0.5"}, "Without the argument, it is the basic block: dose=1.0.")
mistake("the dose is learned", {KEPT: "self.dose = nn.Parameter(torch.tensor(float(dose)))"},
        "As a parameter, α would change during training, and you could not say which dose the block had.")
mistake("one dose for all blocks", {KEPT: "type(self).dose = dose"},
        "The block that is made last sets the dose of all. Store it in self.")
