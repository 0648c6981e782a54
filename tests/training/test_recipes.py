"""The recipes: the learning rate at every step, and the numbers of the paper's section 4.2."""

import dataclasses
from dataclasses import replace

import pytest

from resnet_lesson.training.recipes import PAPER, RECIPES, Recipe, recipe

CIFAR10_TRAIN = 50_000
ONE_CYCLE = [one for one in RECIPES.values() if one.schedule == "one-cycle"]
PAPER_RATES = {0: 0.1, 31_999: 0.1, 32_000: 0.01, 47_999: 0.01, 48_000: 0.001, 63_999: 0.001}


def test_paper_recipe_is_section_4_2():
    paper = recipe("paper")
    assert (paper.iterations, paper.batch_size, paper.lr, paper.milestones) == (64_000, 128, 0.1, (32_000, 48_000))
    assert (paper.momentum, paper.nesterov, paper.weight_decay) == (0.9, False, 1e-4)
    assert (paper.normalisation, paper.padding, paper.flip) == ("pixel", 4, True)
    assert (paper.schedule, paper.warmup) == ("step", 0)


def test_64k_iterations_are_164_epochs_of_391_batches():
    paper = recipe("paper")
    batches = -(-CIFAR10_TRAIN // paper.batch_size)
    assert batches == 391
    assert round(paper.iterations / batches) == 164


@pytest.mark.parametrize("iteration, lr", PAPER_RATES.items())
def test_paper_learning_rate_is_divided_by_10_at_32k_and_48k(iteration, lr):
    assert recipe("paper").lr_at(iteration) == pytest.approx(lr, rel=1e-12)


@pytest.mark.parametrize("iteration, lr", {**PAPER_RATES, 0: 0.01, 1: 0.01, 399: 0.01, 400: 0.1, 401: 0.1}.items())
def test_paper110_warms_up_at_a_tenth_for_400_iterations(iteration, lr):
    assert recipe("paper110").lr_at(iteration) == pytest.approx(lr, rel=1e-12)


def test_paper110_is_the_paper_recipe_but_for_its_warm_up():
    assert dataclasses.replace(recipe("paper110"), name="paper", warmup=0) == recipe("paper")


def test_there_is_a_one_cycle_recipe():
    assert recipe("short") in ONE_CYCLE


@pytest.mark.parametrize("one", ONE_CYCLE, ids=lambda one: one.name)
def test_one_cycle_rises_to_its_peak_and_falls_to_about_zero(one):
    rates = [one.lr_at(i) for i in range(one.iterations)]
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(one.lr)
    assert peak in (one.warmup - 1, one.warmup)
    assert all(a < b for a, b in zip(rates[:peak], rates[1 : peak + 1], strict=True)), "it rises up to the peak"
    assert all(a > b for a, b in zip(rates[peak + 1 :], rates[peak + 2 :], strict=False)), "it falls after the peak"
    assert all(rate > 0 for rate in rates)
    assert rates[0] <= 0.01 * one.lr and rates[-1] <= 0.01 * one.lr


@pytest.mark.parametrize("one", ONE_CYCLE, ids=lambda one: one.name)
def test_one_cycle_makes_no_jumps(one):
    rates = [one.lr_at(i) for i in range(one.iterations)]
    largest = one.lr / min(one.warmup, one.iterations - one.warmup)
    assert all(abs(b - a) <= largest * 1.0001 for a, b in zip(rates, rates[1:], strict=False))


def test_one_cycle_by_hand():
    rates = [Recipe("x", 6, lr=0.6, schedule="one-cycle", warmup=2).lr_at(i) for i in range(6)]
    assert rates == pytest.approx([0.3, 0.6, 0.6, 0.45, 0.3, 0.15])


@pytest.mark.parametrize("one", RECIPES.values(), ids=lambda one: one.name)
def test_every_recipe_has_a_positive_rate_at_every_step_and_milestones_within_it(one):
    assert all(
        0 < one.lr_at(i) <= one.lr * (1 + 1e-12) for i in range(0, one.iterations, max(1, one.iterations // 500))
    )
    assert list(one.milestones) == sorted(set(one.milestones))
    assert all(0 < milestone < one.iterations for milestone in one.milestones)
    assert 0 <= one.warmup < one.iterations
    assert one.schedule in ("step", "one-cycle") and one.normalisation in ("channel", "pixel")


def test_recipes_are_found_by_their_names():
    assert {"paper", "paper110", "short", "demo", "lab10_6"} <= set(RECIPES)
    assert all(recipe(name).name == name for name in RECIPES)
    assert recipe("paper") is PAPER


def test_lab10_6_is_twenty_epochs_of_batches_of_256_without_flips():
    lab = recipe("lab10_6")
    assert (lab.batch_size, lab.padding, lab.flip, lab.normalisation) == (256, 4, False, "channel")
    assert lab.iterations == 20 * -(-CIFAR10_TRAIN // 256)


@pytest.mark.parametrize("iterations", [1, 64, 6_400, 128_000])
def test_scaled_moves_milestones_and_warm_up_along(iterations):
    paper, scaled = recipe("paper110"), recipe("paper110").scaled(iterations)
    assert scaled.iterations == iterations
    assert scaled.milestones == (iterations // 2, round(iterations * 0.75))
    assert scaled.warmup == round(iterations / 160)
    unchanged = dict(iterations=paper.iterations, milestones=paper.milestones, warmup=paper.warmup)
    assert dataclasses.replace(scaled, **unchanged) == paper


def test_scaled_to_a_tenth_has_the_same_rates_ten_times_sooner():
    paper, tenth = recipe("paper110"), recipe("paper110").scaled(6_400)
    assert [tenth.lr_at(i) for i in range(6_400)] == [paper.lr_at(10 * i) for i in range(6_400)]


def test_scaled_to_its_own_length_is_the_same_recipe():
    assert all(one.scaled(one.iterations) == one for one in RECIPES.values())


@pytest.mark.parametrize("one", RECIPES.values(), ids=lambda one: one.name)
@pytest.mark.parametrize("iterations", [1, 2, 3, 7])
def test_recipe_scaled_to_a_few_steps_still_has_a_rate_at_each(one, iterations):
    few = one.scaled(iterations)
    assert all(0 < few.lr_at(i) <= one.lr * (1 + 1e-12) for i in range(iterations))


@pytest.mark.parametrize("iterations", [0, -5])
def test_scaled_refuses_less_than_one_iteration(iterations):
    with pytest.raises(ValueError, match=f"at least 1 iteration, not {iterations}"):
        recipe("paper").scaled(iterations)


@pytest.mark.parametrize("wrong, near", [("papr", "paper"), ("Short", "short"), ("lab10-6", "lab10_6")])
def test_unknown_recipe_suggests_the_nearest_and_lists_all(wrong, near):
    with pytest.raises(ValueError, match=f"Did you mean '{near}'") as error:
        recipe(wrong)
    assert all(name in str(error.value) for name in RECIPES)


def test_recipes_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe("paper").lr = 0.2
    assert recipe("paper").lr == 0.1
    assert hash(recipe("paper")) == hash(dataclasses.replace(recipe("paper")))


@pytest.mark.parametrize(
    "change, says",
    [
        ({"schedule": "cosine"}, "no schedule 'cosine'"),
        ({"schedule": "one-cycel"}, "Did you mean 'one-cycle'"),
        ({"normalisation": "pixels"}, "Did you mean 'pixel'"),
        ({"iterations": 0}, "iterations .* at least 1, not 0"),
        ({"batch_size": -4}, "batch_size .* at least 1"),
        ({"lr": 0.0}, "learning rate .* above 0"),
        ({"lr": float("nan")}, "learning rate .* above 0"),
        ({"momentum": 1.0}, "below 1"),
    ],
)
def test_a_recipe_that_makes_no_training_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        replace(PAPER, **change)
