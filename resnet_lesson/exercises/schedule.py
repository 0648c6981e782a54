"""The exercise `schedule` of notebook 06: the paper's learning rate as a function of the iteration."""

from ..training import recipes
from .kit.exercise import Exercise, Wrong
from .kit.schedule_rates import (
    FIRST,
    LR,
    PAPER,
    SECOND,
    at,
    check_place,
    counts_iterations,
    divides_once,
    divides_twice,
    near,
    rate,
    remembers,
    starts_right,
    warms_up,
)

schedule = Exercise(
    "schedule",
    "Write the paper's learning rate as a function of the iteration.",
    solution=(recipes.step_schedule,),
    hints=(
        "How many milestones has this iteration reached? Each of them divides the rate by 10 once.",
        "At iteration 32,000 itself the rate is the lower one already. So compare with >=.",
        "The warm-up comes first: iterations 0 to warmup - 1 use lr / 10, whatever the milestones are.",
        "Go through the milestones in a loop: `for milestone in milestones:`, and if iteration >= milestone, lr = lr / "
        "10. After the loop, return lr.",
    ),
    read="notebook 06, section 6; paper, section 4.2",
)

TOO_LONG, ROUNDED = "the warm-up is one iteration too long", "the rate is rounded"
ANY_NUMBER = "There may be any number of milestones: go through them in a loop, or count those that are reached."


@schedule.probe("the same iterations twice", "the same rates both times")
def no_memory(answer):
    remembers.cache_clear()
    rate(answer, 0)


@schedule.probe("iterations 0, 1 and 31,000", "0.1 each time")
def start(answer):
    rates, got = at(answer, 0, 1, FIRST - 1000)
    if all(near(r, 1) for r in rates):
        why = "This is what the rate is multiplied by. The rate itself is lr times that."
        raise Wrong("a factor instead of the rate", got, why)
    if near(rates[0], LR / 10) and near(rates[1], LR):
        raise Wrong(TOO_LONG, got, "Without a warm-up iteration 0 has the full rate already: < instead of <=.")
    if near(rates[0], LR / 10) and near(rates[2], LR):
        why = "Only the first `warmup` iterations are warm-up, and `warmup` is 0 unless somebody gives another number."
        raise Wrong("the warm-up is always on", got, why)
    if near(rates[0], LR / 10):
        why = "Before the first milestone nothing is divided: the exponent is the number of milestones reached, 0."
        raise Wrong("one division too many", got, why)
    if not starts_right(answer):
        raise Wrong("another rate at the start", got, "Before the first milestone it is lr itself.")


@schedule.probe("iterations 31,999 and 32,000, and between the milestones", "0.1, then 0.01")
def first_milestone(answer):
    if not starts_right(answer):
        return  # the probe of the start says so
    (here, later, end), got = at(answer, FIRST, 40_000, 47_000)
    if near(later, LR) and near(here, LR / 10):
        why = "The rate stays divided from the milestone on: compare with >= instead of ==."
        raise Wrong("divided at the milestone only", got, why)
    if near(later, LR):
        raise Wrong(
            "the rate is not divided", got, "From iteration 32,000 on it is lr / 10. What is compared with what?"
        )
    if near(later, LR * 10):
        raise Wrong("multiplied instead of divided", got, "The rate falls: lr / 10, or lr * 0.1.")
    if near(later, LR / 100):
        why = "Each milestone divides once, when it is reached itself: 48,000 is not reached yet."
        raise Wrong("all milestones at once", got, why)
    if not divides_once(answer):
        why = (
            f"{LR:g} / {later:g} is {LR / later:.3g}; it should be 10."
            if later
            else "0.1 // 10 is 0; 0.1 / 10 is 0.01."
        )
        raise Wrong("another factor than 10", got, why if near(later, end) else "It is 0.01 up to iteration 47,999.")
    check_place(answer, FIRST)


@schedule.probe("iterations 47,999 and 48,000, and the end", "0.01, then 0.001")
def second_milestone(answer):
    if not divides_once(answer):
        return  # the probe of the first milestone says so
    (later, _), got = at(answer, SECOND + 1000, 63_999)
    if near(later, LR / 10):
        why = "If the condition for 32,000 comes first, it is true at 48,000 as well, and what follows it is never "
        why += "reached. Count the milestones instead."
        raise Wrong("the second milestone is ignored", got, why)
    if near(later, LR):
        raise Wrong("back at the first rate", got, "At 48,000 both milestones are reached: the first one still counts.")
    if near(later, LR / 20):
        why = "Two divisions by 10 divide by 10 * 10 = 100: the number of milestones is the exponent."
        raise Wrong("divided by 20 instead of 100", got, why)
    if near(later, LR / 1000):
        why = "The second milestone divides by 10 what the first has divided already: 0.1, 0.01, 0.001."
        raise Wrong("divided once too often", got, why)
    if later == 0:
        raise Wrong(ROUNDED, got, "Return the number as it is computed: a rate of 0.001 has three decimals.")
    if not divides_twice(answer):
        raise Wrong("another rate at the end", got, "0.1 / 10 / 10 is 0.001, from iteration 48,000 to the end.")
    check_place(answer, SECOND)


@schedule.probe("another learning rate, lr=0.25", "0.25, 0.025 and 0.0025")
def another_lr(answer):
    if not divides_twice(answer):
        return  # the probes of the milestones say so
    rates, got = at(answer, 0, 40_000, 60_000, options=(0.25,))
    right = (0.25, 0.025, 0.0025)
    if all(map(near, rates, right)):
        return
    if any(rates == [round(r, digits) for r in right] for digits in range(5)):
        raise Wrong(ROUNDED, got, "Return the number as it is computed: a rate of 0.0025 has four decimals.")
    why = "Each of the rates is a fraction of lr: lr, lr / 10, lr / 100."
    used = not any(map(near, rates, (LR, LR / 10, LR / 100)))
    raise Wrong("right for lr=0.1 only" if used else "the argument lr is not used", got, why)


@schedule.probe(
    "other milestones: 10, 20 and 30, one, and none", "each divides by 10; without any the rate is constant"
)
def other_milestones(answer):
    if not counts_iterations(answer):
        return  # other probes say so
    try:
        rates, got = at(answer, 5, 15, 25, 35, options=(LR, (10, 20, 30)))
        few, got_few = at(answer, 5, 15, options=(LR, (10,)))
        none, got_none = at(answer, 5, 60_000, options=(LR, ()))
    except (IndexError, ValueError) as error:
        raise Wrong("exactly two milestones", f"{type(error).__name__}: {error}", ANY_NUMBER) from error
    if near(rates[0], rates[3]):
        raise Wrong("the milestones are hard-coded", got, "Compare with `milestones`, not with 32,000 and 48,000.")
    if near(rates[2], rates[3]):
        raise Wrong("exactly two milestones", got, ANY_NUMBER)
    if rates[3] == 0:
        raise Wrong(ROUNDED, got, "Return the number as it is computed: a rate of 0.0001 has four decimals.")
    if not all(near(r, LR / 10**i) for i, r in enumerate(rates)):
        raise Wrong("other milestones go wrong", got, "The exponent is the number of milestones that are reached.")
    if not all(map(near, few + none, (LR, LR / 10, LR, LR))):
        why = "With one milestone the rate is divided once, and without any it is constant."
        raise Wrong("wrong with few milestones", f"{got_few}; without any, {got_none}", why)


@schedule.probe("a warm-up of 400 iterations, as for ResNet-110", "0.01 in iterations 0 to 399, then 0.1")
def warm_up(answer):
    if not starts_right(answer) or warms_up(answer):
        return
    (first, middle, last, after, later), got = at(answer, 0, 200, 399, 400, 1000, options=(LR, PAPER, 400))
    if near(first, LR) and near(middle, LR):
        raise Wrong("the warm-up is ignored", got, "The first `warmup` iterations use lr / 10.")
    if near(first, LR / 10) and near(after, LR / 10) and near(later, LR):
        why = "The 400 iterations are 0 to 399, so iteration 400 is the first one after them: < instead of <=."
        raise Wrong(TOO_LONG, got, why)
    if not near(first, middle) and middle < LR and near(later, LR):
        why = "Newer recipes rise like that. The paper's stays at 0.01 and then jumps to 0.1."
        raise Wrong("the warm-up is a ramp", got, why)
    if near(first, LR / 10) and near(later, LR / 10):
        raise Wrong("the warm-up does not end", got, "From iteration 400 on it is lr again.")
    if near(first, LR / 10) and near(last, LR):
        raise Wrong("the warm-up is too short", got, "The last one of 400 iterations is number 399.")
    raise Wrong("another warm-up", got, "The first 400 iterations use lr / 10, and nothing else changes.")


@schedule.probe("a warm-up of 5 iterations to lr=0.4", "0.04 in iterations 0 to 4, then 0.4")
def another_warm_up(answer):
    if not warms_up(answer) or not near(rate(answer, 0, 0.25), 0.25) or not near(rate(answer, 40_000, 0.25), 0.025):
        return  # other probes say so
    (first, last, after), got = at(answer, 0, 4, 5, options=(0.4, PAPER, 5))
    if near(first, 0.04) and near(after, 0.04):
        raise Wrong(
            "the length of the warm-up is hard-coded", got, "Compare the iteration with `warmup`, not with 400."
        )
    if not (near(first, 0.04) and near(last, 0.04) and near(after, 0.4)):
        raise Wrong("the warm-up's rate is hard-coded", got, "It is lr / 10, which is 0.01 for lr = 0.1 only.")


@schedule.probe("the milestones after a warm-up of 400 iterations", "still 32,000 and 48,000")
def milestones_after_warm_up(answer):
    if not warms_up(answer) or not counts_iterations(answer):
        return  # other probes say so
    rates, got = at(answer, FIRST + 1, SECOND - 2, SECOND + 1, options=(LR, PAPER, 400))
    if near(rates[0], LR) and near(rates[2], LR / 10):
        why = "They are counted from the start of training, like `iteration`: subtract nothing."
        raise Wrong("the milestones wait for the warm-up", got, why)
    if not all(map(near, rates, (LR / 10, LR / 10, LR / 100))):
        raise Wrong("warm-up and milestones disturb each other", got, "After the warm-up all is as without it.")


@schedule.probe("a list of milestones, afterwards", "as it was")
def list_untouched(answer):
    milestones = [10, 20]
    try:
        for iteration in (5, 15, 25):
            rate(answer, iteration, LR, milestones)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise  # what is under functools.cache takes no lists, and changes none
    if milestones != [10, 20]:
        why = "The list belongs to the caller, and at the next call it is still needed: no pop(), remove() or append()."
        raise Wrong("the caller's list is changed", milestones, why)
