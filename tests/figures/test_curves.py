"""The figures: what they draw, in which style, and that they say where their numbers come from."""

from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
import torch

from resnet_lesson import build, recipe, shapes10, train
from resnet_lesson.figures.curves import comparison, depth_curves, error_by_examples, error_curves, layer_lines
from resnet_lesson.figures.images import confusion, image_grid, image_row
from resnet_lesson.training.transfer_study import Trial


@pytest.fixture(scope="module")
def runs():
    sets = shapes10(64, seed=0), shapes10(64, seed=1)
    return [train(build(name), *sets, recipe("demo").scaled(2), progress=False) for name in ("plain8", "resnet56")]


def called(run, name):
    return replace(run, network={**run.network, "name": name})


def lines(figure, panel=0):
    return {line.get_label(): line for line in figure.axes[panel].get_lines()}


def dots(ax):
    return sorted(
        xy for line in ax.get_lines() if line.get_linestyle() == "None" for xy in map(tuple, line.get_xydata())
    )


def in_legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_error_curves_draw_the_history_and_say_live_or_recorded_on_what(runs):
    figure = error_curves(runs)
    for panel, column in enumerate(("train_error", "test_error")):
        drawn = lines(figure, panel)
        assert list(drawn) == ["plain-8", "ResNet-56"]
        assert [list(line.get_ydata()) for line in drawn.values()] == [run.column(column) for run in runs]
    assert figure._supxlabel.get_text().startswith("Live · shapes10 · recipe demo · seed 0")
    said = error_curves([replace(run, live=False) for run in runs])._supxlabel.get_text()
    assert said.startswith("Recorded") and runs[0].machine["hardware"] in said
    assert plt.get_fignums() == []
    with pytest.raises(ValueError, match="at least one run"):
        error_curves([])


def test_error_curves_count_epochs_also_for_rows_within_them_and_other_sets(runs):
    sets = shapes10(96, seed=0), shapes10(64, seed=1)  # 2 iterations an epoch, and 1 in `runs`
    within = train(build("resnet8"), *sets, recipe("demo").scaled(3), progress=False, record_every=1)
    figure = error_curves([*runs, within])
    assert [list(line.get_xdata()) for line in lines(figure).values()] == [[1, 2], [1, 2], [0.5, 1, 1.5]]
    assert {ax.get_xlim() for ax in error_curves([*runs, within], planned=True).axes} == {(0, 1.02 * 2)}


def test_few_rows_are_marked_and_many_are_not(runs):
    long = replace(runs[0], history=runs[0].history * 13)  # 26 rows
    begun = replace(runs[0], status="running", recipe={**runs[0].recipe, "iterations": 26})  # a row an iteration
    found = [next(iter(lines(error_curves([run])).values())).get_marker() for run in (runs[0], long, begun)]
    assert found == ["o", "", ""]


@pytest.mark.parametrize("rows", [2, 26])
def test_relatives_of_one_depth_have_markers_of_their_own_however_long_they_train(runs, rows):
    names = ["resnet20", "preresnet20", "seresnet20", "sdresnet20"]
    several = [called(replace(runs[1], history=runs[1].history * (rows // 2)), name) for name in names]
    drawn = lines(error_curves(several)).values()
    assert len({line.get_marker() for line in drawn}) == len({line.get_color() for line in drawn}) == len(names)


def test_the_seeds_of_a_network_share_an_entry_of_the_legend(runs):
    figure = error_curves([*runs, replace(runs[0], seed=1)])
    assert len(figure.axes[0].get_lines()) == 3 and in_legend(figure) == ["plain-8", "ResNet-56"]


def test_layer_lines_place_layers_by_relative_depth():
    figure = layer_lines({"now": {"plain20": [1, 2, 4], "plain56": [1, 10, 100, 1000]}}, "norm")
    assert list(lines(figure)["plain-20"].get_xdata()) == [0, 0.5, 1]
    assert figure.axes[0].get_yscale() == "log"


def test_comparison_gives_a_name_the_same_colour_in_every_panel():
    figure = comparison({"training": {"right": [0.5, 0.1]}, "test": {"right": [0.6, 0.2], "wrong": [0.9, 0.8]}})
    training, test = lines(figure, 0), lines(figure, 1)
    assert training["right"].get_color() == test["right"].get_color() != test["wrong"].get_color()
    assert list(test["wrong"].get_xdata()) == [1, 2] and list(test["wrong"].get_ydata()) == [0.9, 0.8]
    assert in_legend(figure) == ["right", "wrong"]
    with pytest.raises(ValueError, match="four lines"):
        comparison({"test": dict.fromkeys("abcde", [0.5])})


def test_depth_curves_draw_every_run_and_lines_through_the_means(runs):
    deep, other = called(runs[1], "resnet20"), called(runs[1], "lab10_6")
    begun = replace(runs[1], status="interrupted")
    figure = depth_curves([*runs, runs[1], deep, other, begun])
    for panel, column in enumerate(("train_error", "test_error")):
        drawn = lines(figure, panel)
        assert list(drawn["ResNet"].get_xdata()) == [20, 56] and list(drawn["plain"].get_xdata()) == [8]
        assert list(drawn["ResNet"].get_ydata()) == [run.final(column) for run in (deep, runs[1])]
        assert len(dots(figure.axes[panel])) == 4
    with pytest.raises(ValueError, match="at least one run"):
        depth_curves([other, begun])


def test_error_by_examples_draws_every_trial_and_lines_through_the_means():
    trials = [Trial("all layers", n, seed, 0.0, 1 / n + seed, 1.0) for n in (50, 10) for seed in (0, 1)]
    figure = error_by_examples({"first": trials, "second": [Trial("new head", 10, 0, 0.0, 3.0, 1.0)]})
    first, second = figure.axes
    assert (first.get_title(), first.get_xscale()) == ("first", "log")
    assert dots(first) == [(10, 0.1), (10, 1.1), (50, 0.02), (50, 1.02)]
    assert lines(figure)["all layers"].get_xydata().ravel() == pytest.approx([10, 0.6, 50, 0.52])
    assert in_legend(figure) == ["all layers", "new head"]
    low, high = first.get_ylim()
    assert (low, high) == second.get_ylim() and low == 0 and high >= 3
    for nothing in ({}, {"one": trials, "empty": []}):
        with pytest.raises(ValueError, match="at least one trial in each panel"):
            error_by_examples(nothing)


def test_images_are_in_rows_under_their_titles_and_places_may_stay_free():
    data = shapes10(25)
    figure = image_grid(data, rows=3)
    assert tuple(ax.get_title() for ax in figure.axes if ax.get_title()) == data.classes
    assert [len(ax.images) for ax in figure.axes] == [1] * 25 + [0] * 5  # a class has fewer
    figure = image_row([data.images[0], None, data.images[1]], ["a", "b", "c"], columns=2)
    assert [ax.get_title() for ax in figure.axes] == ["a", "b", "c", ""]
    assert (figure.axes[2].images[0].get_array() == data.images[1].numpy()).all()
    assert not any(ax.axison for ax in figure.axes)


def test_confusion_has_truth_downwards_and_colours_only_mistakes():
    matrix = torch.tensor([[90, 3, 0], [0, 80, 7], [1, 0, 70]])
    (ax,) = confusion(matrix, ("cat", "dog", "frog"), "title").axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["cat", "dog", "frog"]
    assert (ax.get_ylabel(), ax.get_xlabel(), ax.get_title()) == ("truth", "answer", "title")
    assert [text.get_text() for text in ax.texts] == ["90", "3", "", "", "80", "7", "1", "", "70"]
    assert ax.images[0].get_array().tolist() == [[0, 3, 0], [0, 0, 7], [1, 0, 0]]
