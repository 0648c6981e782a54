"""Figures of recorded studies: a dot per trial, lines through means or medians, and what diverged is not hidden."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.drawn import dots, legend, lines

from resnet_lesson.figures import studies
from resnet_lesson.training.study import Study

SHARED = {"data": {"name": "shapes10"}, "recipe": {"name": "demo"}, "promised": [0.01, 0.1]}
SESSIONS = [{"machine": {"hardware": "a CPU"}}]


def study(*trials):
    return Study("made", "?", SHARED, SESSIONS, list(trials), Path("made"))


def trial(error, seed=0, diverged=None, **settings):
    errors = {"train_errors": [0.95, error], "test_errors": [0.95, error]}
    return {"seed": seed, **errors, "diverged": diverged, **settings}


DOSES = study(
    *(trial(0.8 - 0.7 * dose + 0.1 * seed, seed, lr=0.03, dose=dose) for seed in (0, 1) for dose in (0.0, 0.5, 1.0))
)
REFERENCES = study(
    *(trial(error, lr=0.03, network=name) for name, error in (("plain56", 0.7), ("resnet56", 0.02))),
    trial(0.6, lr=0.3, network="resnet56"),  # at a rate of its own
)
RATES = study(
    trial(0.2, lr=0.01, network="plain20"),
    trial(0.4, 1, lr=0.01, network="plain20"),
    trial(0.1, diverged=7, lr=0.1, network="plain20"),
    trial(0.8, lr=0.01, network="plain56"),
)


def test_a_line_goes_through_the_means_and_a_training_that_diverged_counts_as_guessing():
    figure = studies.rate_curves(RATES)
    line = lines(figure)["plain-20"]
    assert list(line.get_xdata()) == [0.01, 0.1] and list(line.get_ydata()) == pytest.approx([0.3, studies.GUESSING])
    assert legend(figure) == ["plain-20", "plain-56"]
    assert figure._supxlabel.get_text() == "Recorded · shapes10 · recipe demo · seeds 0, 1 · a CPU"


def test_networks_can_be_chosen_and_live_runs_are_marked_at_their_rate_in_each_panel():
    errors = {"train_error": 0.75, "test_error": 0.65}
    run = SimpleNamespace(recipe={"lr": 0.03}, final=lambda column: errors[column])
    figure = studies.rate_curves(RATES, ["plain56"], live={"plain56": run})
    for panel, column in enumerate(errors):
        drawn = lines(figure, panel)
        assert "plain-20" not in drawn and "plain-56" in drawn
        assert drawn["live"].get_xydata().tolist() == [[0.03, errors[column]]]


def test_the_dose_view_has_a_dot_each_trial_marks_the_dose_and_shows_its_trainings():
    figure = studies.dose_view(DOSES, 0.5)
    ends, course = figure.axes
    assert dots(ends) == [(0, 0.8), (0, 0.9), (0.5, 0.45), (0.5, 0.55), (1, 0.1), (1, 0.2)]
    (mean,) = [line for line in ends.get_lines() if len(line.get_xydata()) == 3]
    assert mean.get_ydata() == pytest.approx([0.85, 0.5, 0.15])
    assert [list(line.get_ydata()) for line in course.get_lines()] == [[0.95, pytest.approx(e)] for e in (0.45, 0.55)]
    assert "dose of 0.5" in figure.get_label() and "0.5" in course.get_title()


def test_the_columns_of_the_starts_lie_between_the_two_networks_as_they_are():
    starts = study(*(trial(share / 2, lr=0.03, share=share) for share in (0.1, 1.0)))
    (ax,) = studies.start_curves(starts, REFERENCES).axes
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["plain-56", "1", "0.1", "ResNet-56"]
    assert dots(ax) == [(0, 0.7), (1, 0.5), (2, 0.05), (3, 0.02)]
    assert ax.get_title() == "learning rate 0.03"


def test_what_diverged_is_a_cross_on_the_edge_and_is_named():
    skipinit = study(trial(0.8, lr=0.03, skipinit=True), trial(0.8, lr=0.03, skipinit=False, diverged=2))
    figure = studies.skipinit_curves(skipinit, REFERENCES)
    (ax,) = figure.axes
    (crosses,) = [line for line in ax.get_lines() if line.get_marker() == "x"]
    assert crosses.get_xydata().tolist() == [[0.03, 1]]
    assert legend(figure) == ["with BN", "SkipInit, no BN", "no BN: diverged"]
    assert (0.3, 0.6) not in dots(ax) and (0.03, 0.02) in dots(ax)  # the reference, at the study's rates only


def moments(layers, kept=(1.0, 0.5), sgd=(0.5, 0.25)):
    return {"0": {"relative": [*layers, 99.0], "kept": list(kept), "sgd": list(sgd)}}


STEPS = study(
    *({"network": "plain20", "seed": seed, "moments": moments([seed + 1.0, 10.0])} for seed in range(3)),
    *({"network": "plain56", "seed": seed, "moments": moments([5.0] * 4)} for seed in range(3)),
)


def test_step_bands_go_through_the_medians_over_all_seeds_without_the_linear_layer():
    figure = studies.step_bands(STEPS, ["0"], [["plain20"], ["plain56"]])
    upper, lower = figure.axes
    (median,) = upper.get_lines()
    assert median.get_xydata().tolist() == [[0, 2], [1, 10]] and upper.get_yscale() == "log"
    low, high = upper.collections[0].get_paths()[0].get_extents().intervaly
    assert (low, high) == (1, 10)
    assert lower.get_lines()[0].get_xdata() == pytest.approx(np.linspace(0, 1, 4))
    assert upper.get_title() == "before training" and legend(figure) == ["plain-20", "plain-56"]


def test_promises_have_a_star_at_what_sgd_promises_and_nothing_falls_off_the_panel():
    lost = {"network": "plain20", "seed": 0, "moments": moments([1.0], kept=(0.9, -7.0), sgd=(8000.0, float("nan")))}
    (ax,) = studies.promises(study(lost), ["0"], ["plain20"]).axes
    (star,) = [line for line in ax.get_lines() if line.get_marker() == "*"]
    assert star.get_xydata().tolist() == [[8000, -0.5]]
    assert {(0.01, 0.9), (0.1, -0.5)} <= set(dots(ax))
    low, high = ax.get_xlim()
    assert low < 0.01 and high > 8000 and ax.get_ylim()[0] == -0.5
