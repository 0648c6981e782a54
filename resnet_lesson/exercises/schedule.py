"""The exercise `schedule` of notebook 06: the paper's learning rate as a function of the iteration."""

import copy
from collections.abc import Callable
from numbers import Real

from ..training import recipes
from .kit.exercise import Exercise, Wrong

schedule = Exercise(
    "schedule",
    "Write the paper's learning rate as a function of the iteration.",
    solution=(recipes.step_schedule,),
    hints=(
        "How many milestones has this iteration reached? Each of them divides the rate by 10 once.",
        "At iteration 32,000 itself the rate is already the lower one, so compare with >=.",
        "The warm-up comes first: iterations 0 to warmup - 1 use lr / 10, whatever the milestones are.",
        "Go through the milestones in a loop: `for milestone in milestones:`, and if iteration >= milestone, lr = lr / "
        "10. After the loop, return lr.",
    ),
    read="notebook 06, section 5; paper, section 4.2",
)

PAPER = (32_000, 48_000)


def rates(answer: Callable, iterations: tuple[int, ...], *options: object) -> dict[str, float]:
    """The learning rate at each iteration, which must be a number."""
    found = {f"iteration {i:,}": answer(i, *copy.deepcopy(options)) for i in iterations}
    for where, rate in found.items():
        if rate is None:
            why = "Does every path through your code end in `return`? print() alone returns nothing."
            raise Wrong("nothing is returned", f"None at {where}", why)
        if not isinstance(rate, Real) or isinstance(rate, bool):
            raise Wrong("not a number", f"{type(rate).__name__} at {where}", "Return one number, such as 0.01.")
    return {where: float(rate) for where, rate in found.items()}


@schedule.case("the same iterations twice", "the same rates both times")
def no_memory(answer):
    asked = (0, 31_999, 32_000, 32_001, 47_999, 48_000, 48_001)
    first, again = (repr(rates(answer, asked)) for _ in range(2))
    if first != again:
        why = "The rate must depend on the arguments alone, so that an interrupted training can be resumed. Does your "
        why += "code change a variable outside the function, or a list that is a default?"
        raise Wrong("it remembers earlier calls", "a different rate when the same iteration is asked for again", why)


@schedule.case("the paper's 64,000 iterations, at both milestones and between them", "0.1, then 0.01 and 0.001")
def both_milestones(answer):
    first, second = (31_670, 31_999, 32_000, 32_001, 32_063), (47_999, 48_000, 48_001, 48_100)
    return rates(answer, (0, 1, *first, 40_000, *second, 63_999))


@schedule.case("another learning rate, lr=0.25", "0.25, 0.025 and 0.0025")
def another_lr(answer):
    return rates(answer, (0, 40_000, 60_000), 0.25)


@schedule.case(
    "three milestones, 10, 20 and 30; one, and none", "each one divides by 10; with none, the rate is constant"
)
def any_number(answer):
    asked = {"three": (10, 20, 30), "one": (10,), "none": ()}
    return {name: rates(answer, (5, 15, 25, 35), 0.1, milestones) for name, milestones in asked.items()}


@schedule.case("a warm-up of 400 iterations, as for ResNet-110, and one of 5 to lr=0.4",
               "0.01 in iterations 0 to 399, then 0.1; 0.04 in iterations 0 to 4, then 0.4")  # fmt: skip
def warm_up(answer):
    return {
        "of 400": rates(answer, (0, 200, 399, 400, 1000), 0.1, PAPER, 400),
        "of 5": rates(answer, (0, 4, 5), 0.4, PAPER, 5),
    }


@schedule.case("the milestones after a warm-up of 400 iterations", "still 32,000 and 48,000")
def milestones_after_warm_up(answer):
    return rates(answer, (31_999, 32_001, 47_998, 48_001), 0.1, PAPER, 400)


@schedule.case(
    "a milestone of 20 inside a warm-up of 50 iterations", "0.01 up to iteration 49, and after that 0.1 / 10 = 0.01"
)
def milestone_in_the_warm_up(answer):
    return rates(answer, (10, 30, 60), 0.1, (20,), 50)


@schedule.case("a list of milestones, afterwards", "as it was")
def leaves_the_list_alone(answer):
    milestones = [10, 20]
    for iteration in (5, 15, 25):
        answer(iteration, 0.1, milestones)
    return milestones


# --- The mistakes: {what is right: what is written instead}, or a function that makes it.


def pops(iteration, lr=0.1, milestones=PAPER, warmup=0):
    if not isinstance(milestones, list):
        milestones = list(milestones)
    if iteration < warmup:
        return lr / 10
    while milestones and iteration >= milestones[0]:
        milestones.pop(0)
        lr /= 10
    return lr


def first_condition_only(iteration, lr=0.1, milestones=PAPER, warmup=0):
    if iteration < warmup:
        return lr / 10
    return lr / 10 if iteration >= milestones[0] else lr


def two_by_number(iteration, lr=0.1, milestones=PAPER, warmup=0):
    if iteration < warmup:
        return lr / 10
    return lr * 0.1 ** ((iteration >= milestones[0]) + (iteration >= milestones[1]))


mistake = schedule.mistake
REACHED, WARM = "iteration >= milestone", "iteration < warmup"
COUNT = "sum(iteration >= milestone for milestone in milestones)"
# fmt: off
mistake("one iteration too late", {REACHED: "iteration > milestone"},
        "The milestone is reached at iteration 32,000 itself, and the first iteration is number 0: compare "
        "`iteration`, with >=.")
for whole in ("iteration // 391 * 391 >= milestone", "iteration // 391 >= milestone // 391"):
    mistake("counted in epochs", {REACHED: whole},
            "An epoch has 391 iterations, and iteration 32,000 is in the middle of one. The paper counts iterations.")
mistake("divided at the milestone only", {REACHED: "iteration == milestone"},
        "From the milestone on, the rate stays divided: compare with >= instead of ==.")
mistake("the rate is not divided", {COUNT: "0"}, "From iteration 32,000 on it is lr / 10. What is compared with what?")
mistake("all milestones at once", {COUNT: "(2 * any(iteration >= milestone for milestone in milestones))"},
        "Each milestone divides once, when that milestone is reached. At 32,000, the one at 48,000 is not.")
for one in (first_condition_only, {COUNT: "any(iteration >= milestone for milestone in milestones)"}):
    mistake("the second milestone is ignored", one,
            "The test for 32,000 is still true at 48,000, so a branch after it, or a loop that returns there, never "
            "gets to 48,000. Count the milestones instead.")
for wrong in ({"lr * 0.1": "0.1 * 0.1"}, {"lr * 0.1": "0.1 * 0.1", "return lr / 10": "return 0.01"}):
    mistake("the argument lr is not used", wrong, "Every rate is a fraction of lr: lr, lr / 10, lr / 100.")
mistake("the milestones are hard-coded", {"in milestones": "in (32_000, 48_000)"},
        "Compare with `milestones`, not with 32,000 and 48,000.")
for two in (two_by_number, {"in milestones": "in milestones[:2]"}):
    mistake("exactly two milestones", two,
            "There may be any number of milestones: go through them in a loop, or count how many are reached.")
mistake("the warm-up is ignored", {WARM: "False"}, "The first `warmup` iterations use lr / 10.")
for condition in ("iteration <= warmup", "warmup and iteration <= warmup"):
    mistake("the warm-up is one iteration too long", {WARM: condition},
            "The 400 iterations are 0 to 399, so iteration 400 is the first one after them: < instead of <=.")
for ramp in ("lr * (iteration + 1) / warmup", "lr * iteration / warmup"):
    mistake("the warm-up is a ramp", {"return lr / 10": "return " + ramp},
            "Newer recipes have such a ramp. In the paper the rate stays at 0.01 and then jumps to 0.1.")
mistake("the milestones already count during the warm-up", {"return lr / 10": "lr = lr / 10"},
        "In the first `warmup` iterations the rate is lr / 10, whatever the milestones are: return it right away.")
mistake("the warm-up's rate is hard-coded", {"return lr / 10": "return 0.01"},
        "It is lr / 10, which is 0.01 only if lr is 0.1.")
mistake("the caller's list is changed", pops,
        "The list belongs to the caller, who still needs it for the next call: no pop(), remove() or append().")
# fmt: on
