"""The figure of a learning-rate sweep."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from resnet_lesson.figures.studies import GUESSING, rate_curves
from resnet_lesson.training.study import Study


def trial(network, lr, seed, train, test, diverged=None):
    errors = {"train_errors": [0.9, train], "test_errors": [0.9, test], "diverged": diverged}
    return {"network": network, "lr": lr, "seed": seed, **errors, "session": 0}


SESSION = {"machine": {"hardware": "a laptop"}}
SHARED = {"data": {"name": "shapes10"}, "recipe": {"name": "demo"}}
TRIALS = [
    trial("plain20", 0.01, 0, 0.2, 0.3),
    trial("plain20", 0.01, 1, 0.4, 0.5),
    trial("plain20", 0.1, 0, 0.1, 0.1, diverged=7),
    trial("plain56", 0.01, 0, 0.8, 0.8),
]
STUDY = Study("rates", "?", SHARED, [SESSION], TRIALS, Path("rates"))


def named(ax, name):
    return [line for line in ax.get_lines() if line.get_label() == name]


def test_a_line_goes_through_the_means_and_a_training_that_diverged_counts_as_guessing():
    figure = rate_curves(STUDY)
    (line,) = named(figure.axes[0], "plain-20")
    assert list(line.get_xdata()) == [0.01, 0.1] and list(line.get_ydata()) == pytest.approx([0.3, GUESSING])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["plain-20", "plain-56"]
    assert figure._supxlabel.get_text() == "Recorded · shapes10 · recipe demo · seeds 0, 1 · a laptop"


def test_networks_can_be_chosen_and_live_runs_are_marked_at_their_rate_in_each_panel():
    errors = {"train_error": 0.75, "test_error": 0.65}
    run = SimpleNamespace(recipe={"lr": 0.03}, final=lambda column: errors[column])
    figure = rate_curves(STUDY, ["plain56"], live={"plain56": run})
    for ax, column in zip(figure.axes, errors, strict=True):
        assert named(ax, "plain-20") == [] and named(ax, "plain-56")
        (cross,) = named(ax, "live")
        assert (list(cross.get_xdata()), list(cross.get_ydata())) == ([0.03], [errors[column]])
