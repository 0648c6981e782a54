"""The figures: what they draw, in which style, and that they say where their numbers come from."""

import pytest
from matplotlib.colors import to_hex

from resnet_lesson import build, plots, recipe, shapes10, train


@pytest.fixture(scope="module")
def runs():
    sets = shapes10(64, seed=0), shapes10(64, seed=1)
    return [train(build(name), *sets, recipe("demo").scaled(2), progress=False) for name in ("plain8", "resnet56")]


def lines(figure, panel=0):
    return {line.get_label(): line for line in figure.axes[panel].get_lines()}


def test_error_curves_draw_the_history(runs):
    figure = plots.error_curves(runs)
    for panel, column in enumerate(("train_error", "test_error")):
        drawn = lines(figure, panel)
        assert list(drawn) == ["plain-8", "ResNet-56"]
        assert [list(line.get_ydata()) for line in drawn.values()] == [run.column(column) for run in runs]


def test_plain_is_dashed_and_warm_residual_solid_and_cool_deep_thick(runs):
    plain, residual = lines(plots.error_curves(runs)).values()
    assert plain.get_linestyle() == "--" and residual.get_linestyle() == "-"
    assert residual.get_linewidth() > plain.get_linewidth()
    red, _, blue = (int(to_hex(plain.get_color())[i : i + 2], 16) for i in (1, 3, 5))
    assert red > blue
    red, _, blue = (int(to_hex(residual.get_color())[i : i + 2], 16) for i in (1, 3, 5))
    assert blue > red


def test_a_figure_says_live_or_recorded_on_what(runs):
    said = plots.error_curves(runs)._supxlabel.get_text()
    assert said.startswith("Live · shapes10 · recipe demo · seed 0")
    for run in runs:
        run.live = False
    try:
        said = plots.error_curves(runs)._supxlabel.get_text()
    finally:
        for run in runs:
            run.live = True
    assert said.startswith("Recorded") and runs[0].machine["hardware"] in said


def test_error_curves_of_nothing_says_so():
    with pytest.raises(ValueError, match="at least one run"):
        plots.error_curves([])


def test_image_grid_has_a_column_a_class():
    data = shapes10(40)
    figure = plots.image_grid(data, rows=2)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert tuple(titles) == data.classes
    assert sum(len(ax.images) for ax in figure.axes) == 20


def test_layer_lines_place_layers_by_relative_depth():
    figure = plots.layer_lines({"now": {"plain20": [1, 2, 4], "plain56": [1, 10, 100, 1000]}}, "norm")
    assert list(lines(figure)["plain-20"].get_xdata()) == [0, 0.5, 1]
    assert figure.axes[0].get_yscale() == "log"
