"""Right and wrong answers to the exercise `schedule` of notebook 06: see tests/exercises/test_exercises.py."""

import operator
from bisect import bisect_right

from resnet_lesson.training import recipes

PAPER = (32_000, 48_000)


def divides_in_a_loop(iteration, lr=0.1, milestones=PAPER, warmup=0):
    if iteration < warmup:
        return 0.1 * lr
    for milestone in milestones:
        if iteration >= milestone:
            lr /= 10
    return lr


def counts(it, base=0.1, steps=PAPER, warm=0):
    """Other names, a count by bisection, a negative power."""
    return base / 10 if it < warm else base * 10.0 ** -bisect_right(steps, it)


def copies_the_list(iteration, lr=0.1, milestones=PAPER, warmup=0):
    left = list(milestones)
    if iteration in range(warmup):
        return lr / 10
    while left and left.pop(0) <= iteration:
        lr = lr * 0.1
    return lr


def slip(*kinds):
    """The schedule with these mistakes in it."""

    def step_schedule(iteration, lr=0.1, milestones=PAPER, warmup=0):
        def has(kind):
            return kind in kinds

        if iteration < warmup:
            return lr / 20 if has("half the warm-up") else lr / 10
        if has("no end") and warmup:
            lr = lr / 10
        if has("in epochs"):
            iteration = iteration // 391 * 391
        if has("thousands"):
            iteration = iteration // 7000 * 7000
        compare = operator.gt if has(">") else operator.ge
        reached = sum(compare(iteration, milestone) for milestone in milestones) + has("one too many")
        return lr * 0.1 ** (min(reached, 1) if has("lost") and warmup else reached)

    return step_schedule


def band(iteration, lr=0.1, milestones=PAPER, warmup=0):
    first, second = milestones
    if iteration < warmup:
        return lr / 10
    return lr / 10 if first <= iteration < second else lr


def two_milestones(iteration, lr=0.1, milestones=PAPER, warmup=0):
    if iteration < warmup:
        return lr / 10
    if iteration < milestones[0]:
        return lr
    return lr / 10 if iteration < milestones[1] else lr / 100


def elif_order(iteration, lr=0.1, milestones=PAPER, warmup=0):
    if iteration < warmup:
        return lr / 10
    elif iteration >= milestones[0]:
        return lr / 10
    elif iteration >= milestones[1]:
        return lr / 100
    else:
        return lr


def returns_in_the_loop(iteration, lr=0.1, milestones=PAPER, warmup=0):
    if iteration < warmup:
        return lr / 10
    for milestone in milestones:
        if iteration >= milestone:
            return lr / 10
    return lr


def forgotten_return(iteration, lr=0.1, milestones=PAPER, warmup=0):
    if iteration < warmup:
        return lr / 10
    for milestone in milestones:
        if iteration >= milestone:
            return recipes.step_schedule(iteration, lr, milestones)


def warm_until(iteration, lr=0.1, milestones=PAPER, warmup=0):
    return lr / 10 if warmup and iteration <= warmup else recipes.step_schedule(iteration, lr, milestones)


def falls_once(iteration, lr=0.1, milestones=PAPER, warmup=0, state=[9.0]):  # noqa: B006
    """The rate never rises again."""
    state[0] = min(state[0], recipes.step_schedule(iteration, lr, milestones, warmup))
    return state[0]


RIGHT = {
    "schedule": {
        "the course's": recipes.step_schedule,
        "divides in a loop": divides_in_a_loop,
        "bisection": counts,
        "a copy of the list": copies_the_list,
    },
}

WRONG = {
    "schedule": {
        "> instead of >=": (slip(">"), "one iteration too late"),
        "epochs": (slip("in epochs"), "counted in epochs"),
        "if, elif": (elif_order, "the second milestone is ignored"),
        "a return in the loop": (returns_in_the_loop, "the second milestone is ignored"),
        "between the milestones": (band, ""),
        "milestones[0] and [1]": (two_milestones, "exactly two milestones"),
        "<= warmup, where there is one": (warm_until, "the warm-up is one iteration too long"),
        "never rises": (falls_once, "it remembers earlier calls"),
        "no return": (forgotten_return, "nothing is returned"),
    },
}
