"""What the probes of a learning-rate schedule share: asking the student's function, and what is right about it."""

import copy
from collections.abc import Callable
from functools import lru_cache
from math import isclose, isfinite
from numbers import Real

from .exercise import Wrong

LR, FIRST, SECOND = 0.1, 32_000, 48_000
PAPER = (FIRST, SECOND)
EPOCH = 391  # iterations in an epoch of CIFAR-10 with batches of 128


@lru_cache(maxsize=1)
def remembers(answer: Callable) -> bool:
    """Whether the same iterations get other rates when they are asked for again.

    A state shows at the first calls only, so the result is kept for all probes of one check.
    """
    asked = (0, FIRST - 1, FIRST, FIRST + 1, SECOND - 1, SECOND, SECOND + 1)
    first, again = ([repr(answer(iteration)) for iteration in asked] for _ in range(2))  # repr: nan is not equal to nan
    return first != again


def rate(answer: Callable, iteration: int, *options: object) -> float:
    """The answer's learning rate, which must be a number and must not depend on earlier calls."""
    if not callable(answer):
        why = "Give check() the function itself, without calling it."
        raise Wrong("not a function", type(answer).__name__, why)
    if remembers(answer):
        why = "The rate must follow from the arguments alone, so that a training can go on in the middle: change no "
        why += "variable outside of the function, and no default that is a list."
        raise Wrong("it remembers earlier calls", "another rate at the same iteration, asked for again", why)
    given = answer(iteration, *options)
    if given is None:
        why = "Does every way through your code end in `return`? print() alone returns nothing."
        raise Wrong("nothing is returned", f"None at iteration {iteration:,}", why)
    if not isinstance(given, Real) or isinstance(given, bool):
        why = "Return one number, such as 0.01."
        raise Wrong("not a number", f"{type(given).__name__} at iteration {iteration:,}", why)
    if not isfinite(given):
        why = "Did you divide by zero, or raise to a power that is too large?"
        raise Wrong("not a finite number", f"{given} at iteration {iteration:,}", why)
    return float(given)


def near(a: float, b: float) -> bool:
    return isclose(a, b, rel_tol=1e-6)


def at(answer: Callable, *iterations: int, options: tuple = ()) -> tuple[list[float], str]:
    """The rates at these iterations, and the same in words."""
    rates = [rate(answer, iteration, *copy.deepcopy(options)) for iteration in iterations]
    return rates, ", ".join(f"{r:g} at iteration {i:,}" for r, i in zip(rates, iterations, strict=True))


def starts_right(answer: Callable) -> bool:
    """Whether the rate before the milestones, away from them, is right."""
    return all(near(r, LR) for r in at(answer, 0, 1, FIRST - 1000)[0])


def divides_once(answer: Callable) -> bool:
    """Whether, moreover, the rate between the milestones is."""
    return starts_right(answer) and all(near(r, LR / 10) for r in at(answer, 40_000, 47_000)[0])


def divides_twice(answer: Callable) -> bool:
    """Whether, moreover, the rate after both is."""
    return divides_once(answer) and all(near(r, LR / 100) for r in at(answer, SECOND + 1000, 63_999)[0])


def counts_iterations(answer: Callable) -> bool:
    """Whether, moreover, the rate changes at the milestones, or one iteration beside them."""
    rates, _ = at(answer, FIRST - 2, FIRST + 1, SECOND - 2, SECOND + 1)
    return divides_twice(answer) and all(map(near, rates, (LR, LR / 10, LR / 10, LR / 100)))


def warms_up(answer: Callable) -> bool:
    """Whether the 400 iterations of ResNet-110's warm-up, and those after them, are right."""
    rates, _ = at(answer, 0, 200, 399, 400, 1000, options=(LR, PAPER, 400))
    return starts_right(answer) and all(map(near, rates, [LR / 10] * 3 + [LR] * 2))


def check_place(answer: Callable, milestone: int) -> None:
    """Raise `Wrong` unless the rate changes at the milestone. Away from it, on both sides, it must be right."""
    (before, here, after), got = at(answer, milestone - 1, milestone, milestone + 1)
    low, high = milestone - 1000, milestone + 1000
    start = rate(answer, low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if near(rate(answer, middle), start) else (low, middle)
    if high == milestone + 1:
        why = f"At iteration {milestone:,} the milestone is reached: >= instead of >."
        raise Wrong("one iteration too late", got, why)
    if high == milestone - 1:
        why = f"The first iteration is 0, so compare `iteration` itself with {milestone:,}, without adding 1."
        raise Wrong("one iteration too early", got, why)
    if high != milestone and (high % EPOCH == 0 or high % (EPOCH - 1) == 0):
        why = f"An epoch has {EPOCH} iterations, and {milestone:,} is inside one. The paper counts iterations."
        raise Wrong("counted in epochs", f"the change at iteration {high:,}", why)
    if high != milestone or not near(here, after) or near(before, here):
        why = f"The rate changes from iteration {milestone - 1:,} to iteration {milestone:,}, and only there."
        raise Wrong("the rate changes at another iteration", f"{got}; a change at {high:,}", why)
