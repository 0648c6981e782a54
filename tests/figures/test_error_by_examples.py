"""Notebook 08's figure: the error of each way over the number of examples."""

from statistics import mean

import matplotlib.pyplot as plt
import pytest

from resnet_lesson.figures.curves import WAY_STYLE, error_by_examples
from resnet_lesson.figures.style import PLAIN, RESIDUAL
from resnet_lesson.training.transfer_study import WAYS, Trial

TRIALS = [
    Trial(way, n, seed, 0.0, (0.2 + 0.1 * i + 0.01 * seed) / n**0.5, 1.0)
    for i, way in enumerate(("all layers", "new head", "from scratch"))
    for n in (50, 10)
    for seed in (0, 1, 2)
]


def lines(ax, way):
    """The line of a way, and its dots, (examples, error) each."""
    ours = [line for line in ax.get_lines() if line.get_color() == WAY_STYLE[way]["color"]]
    (curve,) = [line for line in ours if line.get_label() == way]
    dots = [line for line in ours if line is not curve and line.get_linestyle() == "None"]
    assert len(dots) == len(ours) - 1 and all(line.get_marker() not in ("", "None", None) for line in dots)
    assert all(line.get_markersize() > 0 for line in dots) and curve.get_linestyle() != "None"
    return curve.get_xydata().tolist(), sorted(xy for line in dots for xy in line.get_xydata().tolist())


def test_every_trial_is_a_dot_and_lines_go_through_the_means():
    figure = error_by_examples({"doodles10": TRIALS})
    (ax,) = figure.axes
    assert (ax.get_title(), ax.get_xlabel(), ax.get_xscale()) == ("doodles10", "examples per class", "log")
    assert ax.get_ylabel() == "wrong answers, new images"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["10", "50"] and list(ax.get_xticks()) == [10, 50]
    assert len(ax.xaxis.get_minorticklocs()) == 0 and not ax.spines["top"].get_visible()  # the course's style
    for way in WAYS:
        curve, dots = lines(ax, way)
        mine = [trial for trial in TRIALS if trial.way == way]
        assert dots == sorted([t.per_class, t.test_error] for t in mine)
        for (n, height), size in zip(curve, (10, 50), strict=True):
            assert n == size and height == pytest.approx(mean(t.test_error for t in mine if t.per_class == size))
    assert ax.yaxis.get_major_formatter()(0.25) in ("25%", "25.0%") and plt.get_fignums() == []


def test_a_panel_each_and_a_legend_that_names_each_way_once():
    one = [trial for trial in TRIALS if trial.way == "new head" and trial.per_class == 10]
    two = [trial for trial in TRIALS if trial.way != "from scratch"]
    figure = error_by_examples({"first": one, "second": two})
    assert [ax.get_title() for ax in figure.axes] == ["first", "second"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["new head", "all layers"]
    curve, dots = lines(figure.axes[0], "new head")
    assert len(curve) == 1 and len(dots) == 3 and len(figure.axes[0].get_lines()) == 2
    assert figure.axes[0].get_ylabel() and not figure.axes[1].get_ylabel()
    assert figure.get_size_inches()[0] > error_by_examples({"first": one}).get_size_inches()[0] + 3


@pytest.mark.parametrize("errors", [(0.05, 0.9), (0.9, 0.05), (0.0, 0.3)])
def test_panels_share_a_scale_from_zero_on_which_every_dot_is_seen(errors):
    figure = error_by_examples({str(e): [Trial("new head", n, 0, 0.0, e, 1.0) for n in (10, 50)] for e in errors})
    limits = {ax.get_ylim() for ax in figure.axes}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == 0 and max(errors) <= high <= 1.2 * max(errors)


def test_ways_look_like_the_courses_networks_and_differ_without_colour():
    assert set(WAY_STYLE) == set(WAYS)
    assert WAY_STYLE["from scratch"]["color"] in PLAIN and WAY_STYLE["from scratch"]["linestyle"] == "--"
    assert all(WAY_STYLE[way]["color"] in RESIDUAL and WAY_STYLE[way]["linestyle"] == "-" for way in list(WAYS)[1:])
    assert len({style["color"] for style in WAY_STYLE.values()}) == 3 == len({s["marker"] for s in WAY_STYLE.values()})


@pytest.mark.parametrize("panels", [{}, {"empty": []}, {"one": TRIALS, "empty": ()}])
def test_nothing_to_draw_is_refused(panels):
    with pytest.raises(ValueError, match="at least one trial in each panel"):
        error_by_examples(panels)
    assert plt.get_fignums() == []
