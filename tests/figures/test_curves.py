"""The figures: what they draw, in which style, and that they say where their numbers come from."""

from dataclasses import replace

import pytest
import torch
from matplotlib.colors import to_hex

from resnet_lesson import build, recipe, shapes10, train
from resnet_lesson.figures.curves import comparison, depth_curves, error_curves, layer_lines, marker
from resnet_lesson.figures.images import confusion, image_grid, image_row
from resnet_lesson.figures.style import depth


@pytest.fixture(scope="module")
def runs():
    sets = shapes10(64, seed=0), shapes10(64, seed=1)
    return [train(build(name), *sets, recipe("demo").scaled(2), progress=False) for name in ("plain8", "resnet56")]


def lines(figure, panel=0):
    return {line.get_label(): line for line in figure.axes[panel].get_lines()}


def test_error_curves_draw_the_history(runs):
    figure = error_curves(runs)
    for panel, column in enumerate(("train_error", "test_error")):
        drawn = lines(figure, panel)
        assert list(drawn) == ["plain-8", "ResNet-56"]
        assert [list(line.get_ydata()) for line in drawn.values()] == [run.column(column) for run in runs]


def test_error_curves_stand_over_epochs_also_for_rows_within_them_and_other_sets(runs):
    sets = shapes10(96, seed=0), shapes10(64, seed=1)  # 2 iterations an epoch, and 1 in `runs`
    within = train(build("resnet8"), *sets, recipe("demo").scaled(3), progress=False, record_every=1)
    figure = error_curves([*runs, within])
    assert [list(line.get_xdata()) for line in lines(figure).values()] == [[1, 2], [1, 2], [0.5, 1, 1.5]]
    assert {ax.get_xlim() for ax in error_curves([*runs, within], planned=True).axes} == {(0, 1.02 * 2)}


def test_few_rows_are_marked_and_many_are_not(runs):
    run = replace(runs[0], history=runs[0].history * 13)  # 26 rows
    (few,), (many,) = (lines(error_curves([one])).values() for one in (runs[0], run))
    assert few.get_marker() == "o" and many.get_marker() == ""
    begun = replace(runs[0], status="running", recipe={**run.recipe, "iterations": 25})
    assert marker(begun) == "o"
    begun.recipe["iterations"] = 26  # a row an iteration
    assert marker(begun) == ""


def test_the_seeds_of_a_network_share_an_entry_of_the_legend(runs):
    figure = error_curves([*runs, replace(runs[0], seed=1)])
    assert len(figure.axes[0].get_lines()) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["plain-8", "ResNet-56"]


def test_plain_is_dashed_and_warm_residual_solid_and_cool_deep_thick(runs):
    plain, residual = lines(error_curves(runs)).values()
    assert plain.get_linestyle() == "--" and residual.get_linestyle() == "-"
    assert residual.get_linewidth() > plain.get_linewidth()
    red, _, blue = (int(to_hex(plain.get_color())[i : i + 2], 16) for i in (1, 3, 5))
    assert red > blue
    red, _, blue = (int(to_hex(residual.get_color())[i : i + 2], 16) for i in (1, 3, 5))
    assert blue > red


def test_a_figure_says_live_or_recorded_on_what(runs):
    said = error_curves(runs)._supxlabel.get_text()
    assert said.startswith("Live · shapes10 · recipe demo · seed 0")
    for run in runs:
        run.live = False
    try:
        said = error_curves(runs)._supxlabel.get_text()
    finally:
        for run in runs:
            run.live = True
    assert said.startswith("Recorded") and runs[0].machine["hardware"] in said


def test_error_curves_of_nothing_says_so():
    with pytest.raises(ValueError, match="at least one run"):
        error_curves([])


def test_image_grid_has_a_column_a_class():
    data = shapes10(40)
    figure = image_grid(data, rows=2)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert tuple(titles) == data.classes
    assert sum(len(ax.images) for ax in figure.axes) == 20


def test_layer_lines_place_layers_by_relative_depth():
    figure = layer_lines({"now": {"plain20": [1, 2, 4], "plain56": [1, 10, 100, 1000]}}, "norm")
    assert list(lines(figure)["plain-20"].get_xdata()) == [0, 0.5, 1]
    assert figure.axes[0].get_yscale() == "log"


def test_image_grid_leaves_a_place_free_where_a_class_has_fewer():
    figure = image_grid(shapes10(25), rows=3)
    assert [len(ax.images) for ax in figure.axes] == [1] * 25 + [0] * 5


def test_image_row_puts_each_image_under_its_title():
    images = list(shapes10(5, size=8).images)
    figure = image_row(images, ["a", "b", "c", "d", "e"], columns=3)
    assert [ax.get_title() for ax in figure.axes] == ["a", "b", "c", "d", "e", ""]
    drawn = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(drawn) == 5 and all((a == b.numpy()).all() for a, b in zip(drawn, images, strict=True))
    assert not figure.axes[5].axison


def test_confusion_has_truth_downwards_and_colours_only_mistakes():
    matrix = torch.tensor([[90, 3, 0], [0, 80, 7], [1, 0, 70]])
    (ax,) = confusion(matrix, ("cat", "dog", "frog"), "title").axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["cat", "dog", "frog"]
    assert (ax.get_ylabel(), ax.get_xlabel(), ax.get_title()) == ("truth", "answer", "title")
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written[1, 0] == "3" and written[0, 0] == "90" and written[2, 0] == ""  # (column, row)
    colours = ax.images[0].get_array()
    assert colours[0, 1] == 3 and colours.diagonal().sum() == 0


def test_comparison_gives_a_name_the_same_colour_in_every_panel():
    figure = comparison({"training": {"right": [0.5, 0.1]}, "test": {"right": [0.6, 0.2], "wrong": [0.9, 0.8]}})
    training, test = lines(figure, 0), lines(figure, 1)
    assert training["right"].get_color() == test["right"].get_color() != test["wrong"].get_color()
    assert list(test["wrong"].get_xdata()) == [1, 2] and list(test["wrong"].get_ydata()) == [0.9, 0.8]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["right", "wrong"]
    with pytest.raises(ValueError, match="four lines"):
        comparison({"test": dict.fromkeys("abcde", [0.5])})


def test_depth_curves_draw_every_run_and_lines_through_the_means(runs):
    deep = replace(runs[1], network={**runs[1].network, "name": "resnet20"})
    other = replace(runs[1], network={**runs[1].network, "name": "lab10_6"})
    begun = replace(runs[1], status="interrupted")
    figure = depth_curves([*runs, runs[1], deep, other, begun])
    for panel, column in enumerate(("train_error", "test_error")):
        drawn = lines(figure, panel)
        assert list(drawn["ResNet"].get_xdata()) == [20, 56] and list(drawn["plain"].get_xdata()) == [8]
        assert list(drawn["ResNet"].get_ydata()) == [run.final(column) for run in (deep, runs[1])]
        points = sum(len(line.get_xdata()) for line in figure.axes[panel].get_lines() if line.get_linestyle() == "None")
        assert points == 4
    with pytest.raises(ValueError, match="at least one run"):
        depth_curves([other, begun])


def test_depth_is_read_from_the_name():
    assert [depth(name) for name in ("plain20", "resnet110", "lab10_6")] == [20, 110, 50]
