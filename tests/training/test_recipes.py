"""The recipes: the learning rate at every step, and the numbers of the paper's section 4.2."""

from dataclasses import replace

import pytest

from resnet_lesson.training.recipes import PAPER, RECIPES, Recipe, recipe, step_schedule

PAPER_RATES = {0: 0.1, 31_999: 0.1, 32_000: 0.01, 47_999: 0.01, 48_000: 0.001, 63_999: 0.001}


def test_paper_recipe_is_section_4_2():
    paper = recipe("paper")
    assert (paper.iterations, paper.batch_size, paper.lr, paper.milestones) == (64_000, 128, 0.1, (32_000, 48_000))
    assert (paper.momentum, paper.nesterov, paper.weight_decay) == (0.9, False, 1e-4)
    assert (paper.normalisation, paper.padding, paper.flip) == ("pixel", 4, True)
    assert (paper.schedule, paper.warmup) == ("step", 0)


def test_paper_learning_rate_is_divided_by_10_at_32k_and_48k():
    for iteration, lr in PAPER_RATES.items():
        assert recipe("paper").lr_at(iteration) == step_schedule(iteration) == pytest.approx(lr, rel=1e-12)


def test_paper110_is_the_paper_recipe_with_a_tenth_of_the_rate_for_400_iterations():
    for iteration, lr in {**PAPER_RATES, 0: 0.01, 399: 0.01, 400: 0.1}.items():
        assert recipe("paper110").lr_at(iteration) == pytest.approx(lr, rel=1e-12)
    assert replace(recipe("paper110"), name="paper", warmup=0) == recipe("paper")


def test_step_schedule_takes_any_number_of_milestones():
    assert step_schedule(25, 1.0, [10, 20]) == pytest.approx(0.01)
    assert step_schedule(1_000_000, 0.3, ()) == 0.3


def test_one_cycle_by_hand():
    rates = [Recipe("x", 6, lr=0.6, schedule="one-cycle", warmup=2).lr_at(i) for i in range(6)]
    assert rates == pytest.approx([0.3, 0.6, 0.6, 0.45, 0.3, 0.15])


@pytest.mark.parametrize("one", RECIPES.values(), ids=lambda one: one.name)
def test_every_recipe_has_a_positive_rate_at_every_step_and_milestones_within_it(one):
    assert all(
        0 < one.lr_at(i) <= one.lr * (1 + 1e-12) for i in range(0, one.iterations, max(1, one.iterations // 500))
    )
    assert list(one.milestones) == sorted(set(one.milestones)) and 0 <= one.warmup < one.iterations
    assert all(0 < milestone < one.iterations for milestone in one.milestones)


@pytest.mark.parametrize("iterations", [1, 64, 6_400, 128_000])
def test_scaled_moves_milestones_and_warm_up_along(iterations):
    paper, scaled = recipe("paper110"), recipe("paper110").scaled(iterations)
    assert scaled.iterations == iterations
    assert scaled.milestones == (iterations // 2, round(iterations * 0.75))
    assert scaled.warmup == round(iterations / 160)
    assert replace(paper, iterations=iterations, milestones=scaled.milestones, warmup=scaled.warmup) == scaled


@pytest.mark.parametrize(
    "change, says",
    [
        ({"schedule": "one-cycel"}, "Did you mean 'one-cycle'"),
        ({"iterations": 0}, "iterations .* at least 1, not 0"),
        ({"iterations": 2.5}, "iterations .* a whole number of at least 1, not 2.5"),
        ({"lr": float("nan")}, "lr .* above 0"),
        ({"momentum": 1.0}, "below 1"),
        ({"weight_decay": -1.0}, "weight_decay .* 0 or more"),
    ],
)
def test_a_recipe_that_makes_no_training_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        replace(PAPER, **change)
