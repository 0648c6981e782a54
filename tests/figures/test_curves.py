"""The curves: what they draw, in which style, and that they say where their numbers come from."""

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from support.drawn import dots, legend, lines

from resnet_lesson import recorded
from resnet_lesson.figures.curves import comparison, depth_curves, error_by_examples, error_curves, live_beside
from resnet_lesson.training.study import Study

PLAIN, RESIDUAL = (recorded(f"short-{name}-seed0") for name in ("plain20", "resnet56"))
COLUMNS = ("train_error", "test_error")


def called(run, name):
    return replace(run, network={**run.network, "name": name})


def test_error_curves_draw_the_history_and_say_live_or_recorded_on_what():
    figure = error_curves([PLAIN, RESIDUAL, replace(PLAIN, seed=1)])
    for panel, column in enumerate(COLUMNS):
        drawn = lines(figure, panel)
        assert list(drawn) == legend(figure) == ["plain-20", "ResNet-56"]  # two seeds share an entry
        assert [list(line.get_ydata()) for line in drawn.values()] == [run.column(column) for run in (PLAIN, RESIDUAL)]
    assert figure._supxlabel.get_text().startswith("Recorded · cifar10 · recipe short · seeds 0, 1 · ")
    assert PLAIN.hardware in figure._supxlabel.get_text() and plt.get_fignums() == []
    assert error_curves([replace(PLAIN, live=True)])._supxlabel.get_text() == "Live · cifar10 · recipe short · seed 0"
    with pytest.raises(ValueError, match="at least one run"):
        error_curves([])


def test_a_live_run_is_drawn_beside_the_recorded_trials_of_the_same_setting():
    grid = [(network, lr, seed) for network in ("plain56", "resnet56") for lr in (0.03, 0.1) for seed in (0, 4)]
    trials = [dict(network=name, lr=lr, seed=seed, train_errors=[0.9, lr + seed]) for name, lr, seed in grid]
    study = Study("rates", "?", {}, [{"machine": {"hardware": "a loom"}}], trials, Path("rates"))
    figure = live_beside(replace(RESIDUAL, live=True), study, ["plain56", "resnet56"], lr=0.03)
    *recorded_lines, live = figure.axes[0].get_lines()
    assert [line.get_linestyle() for line in recorded_lines] == ["--", "--", "-", "-"]
    assert [list(line.get_ydata()) for line in recorded_lines] == [[0.9, 0.03], [0.9, 4.03]] * 2
    assert list(live.get_ydata()) == RESIDUAL.column("train_error")
    assert legend(figure) == ["plain-56, recorded", "ResNet-56, recorded", "live"]
    note = figure._supxlabel.get_text()
    assert note.startswith("Live · cifar10 · ") and note.endswith(" · recorded: seeds 0, 4, a loom")


def test_error_curves_count_epochs_also_for_rows_within_them():
    begun = replace(PLAIN, history=[{**PLAIN.history[0], "iteration": 100}], recipe={**PLAIN.recipe, "iterations": 782})
    figure = error_curves([begun], planned=True)
    assert list(lines(figure)["plain-20"].get_xdata()) == [100 / 391]
    assert {ax.get_xlim() for ax in figure.axes} == {(0, 1.02 * 2)}


@pytest.mark.parametrize("rows", [2, 26])
def test_relatives_of_one_depth_have_markers_of_their_own_however_long_they_train(rows):
    names = ["resnet20", "preresnet20", "seresnet20", "sdresnet20"]
    several = [called(replace(RESIDUAL, history=RESIDUAL.history[:1] * rows), name) for name in names]
    drawn = lines(error_curves(several)).values()
    assert len({line.get_marker() for line in drawn}) == len({line.get_color() for line in drawn}) == len(names)


def test_comparison_gives_a_name_the_same_colour_in_every_panel():
    figure = comparison({"training": {"right": [0.5, 0.1]}, "test": {"right": [0.6, 0.2], "wrong": [0.9, 0.8]}})
    training, test = lines(figure, 0), lines(figure, 1)
    assert training["right"].get_color() == test["right"].get_color() != test["wrong"].get_color()
    assert list(test["wrong"].get_xdata()) == [1, 2] and list(test["wrong"].get_ydata()) == [0.9, 0.8]
    assert legend(figure) == ["right", "wrong"]


def test_depth_curves_draw_every_finished_run_and_lines_through_the_means():
    shallow, other = called(RESIDUAL, "resnet20"), called(RESIDUAL, "lab10_6")
    begun = replace(RESIDUAL, status="interrupted")
    figure = depth_curves([PLAIN, RESIDUAL, RESIDUAL, shallow, other, begun])
    for panel, column in enumerate(COLUMNS):
        drawn = lines(figure, panel)
        assert list(drawn["ResNet"].get_xdata()) == [20, 56] and list(drawn["plain"].get_xdata()) == [20]
        assert list(drawn["ResNet"].get_ydata()) == [RESIDUAL.final(column)] * 2
        assert len(dots(figure.axes[panel])) == 4
    with pytest.raises(ValueError, match="at least one run"):
        depth_curves([other, begun])


def test_error_by_examples_draws_every_trial_and_lines_through_the_means():
    def trial(way, n, error):
        return {"way": way, "per_class": n, "test_error": error}

    trials = [trial("all layers", n, 1 / n + seed) for n in (50, 10) for seed in (0, 1)]
    figure = error_by_examples({"first": trials, "second": [trial("new head", 10, 3.0)]})
    first, second = figure.axes
    assert (first.get_title(), first.get_xscale()) == ("first", "log")
    assert dots(first) == [(10, 0.1), (10, 1.1), (50, 0.02), (50, 1.02)]
    assert lines(figure)["all layers"].get_xydata().ravel() == pytest.approx([10, 0.6, 50, 0.52])
    assert legend(figure) == ["all layers", "new head"]
    low, high = first.get_ylim()
    assert (low, high) == second.get_ylim() and low == 0 and high >= 3
