"""The figures of what is inside: they draw what was measured, on one scale."""

import matplotlib.pyplot as plt
import pytest
import torch
from support.drawn import legend

from resnet_lesson.figures import inside
from resnet_lesson.inside.landscape import Surface

A = torch.linspace(-1, 1, 5)
B = torch.linspace(-0.5, 0.5, 3)


def surface(loss):
    return Surface(A, A, loss)


BOWL = surface(1 + A[:, None] ** 2 + A**2)
STEEP = surface(1 + 30 * (A[:, None] ** 2 + A**2))
FLAT = surface(2.1 + 0.1 * (A[:, None] ** 2 + A**2))  # from 2.1 to 2.3
LINE = Surface(A, torch.zeros(1), 1 + A[None] ** 2)
SLOPE = Surface(A, B, 3 + A + 3 * B[:, None])  # wider than high, and rising to the upper right


def view(one, scale=None, **where):
    where = dict(azimuth=-60, height=30, cut=0) | where
    return inside.surface_view(one, "slope", **where, scale=scale or inside.scale_of([one]))


def test_surfaces_side_by_side_share_their_scale():
    *panels, _ = inside.contours({"bowl": BOWL, "steep": STEEP}).axes
    assert [ax.get_title() for ax in panels] == ["bowl", "steep"]
    assert {ax.collections[0].get_clim() for ax in panels} == {(1, 61)}
    levels = [ax.collections[1].levels for ax in panels]
    assert (levels[0] == levels[1]).all() and levels[0][4] == pytest.approx(2 * levels[0][0])
    assert plt.get_fignums() == []
    mesh = inside.contours({"slope": SLOPE}).axes[0].collections[0]  # a to the right, b upwards
    assert mesh.get_array().tolist() == SLOPE.loss.tolist()
    assert mesh.get_coordinates()[0, :, 0].tolist() == A.tolist()
    assert mesh.get_coordinates()[:, 0, 1].tolist() == B.tolist()


def test_losses_close_together_have_ticks_too():
    for ax in (inside.contours({"flat": FLAT}).axes[-1], view(FLAT).axes[2]):
        low, high = ax.get_ylim()
        assert sum(low <= tick <= high for tick in ax.get_yticks()) >= 2


def test_slices_are_the_rows_where_b_is_zero_and_the_legend_names_each_network_once():
    figure = inside.slices({"one": {"plain20": LINE}, "two": {"plain20": SLOPE, "resnet20": STEEP}})
    plain, residual = figure.axes[1].get_lines()
    assert plain.get_xydata().tolist() == [[a, 3 + a] for a in A.tolist()] and plain.get_linestyle() == "--"
    assert list(residual.get_ydata()) == STEEP.loss[2].tolist() and figure.axes[0].get_yscale() == "log"
    assert legend(figure) == ["plain-20", "ResNet-20"]


def test_the_view_is_from_where_the_eye_is_and_its_cut_at_the_nearest_row_is_a_red_line():
    figure = view(SLOPE, inside.scale_of([SLOPE, STEEP]), azimuth=20, height=70, cut=0.4)
    space, above, along = figure.axes
    assert (space.azim, space.elev) == (20, 70) and "slope" in figure.get_label()
    (red,) = [line for line in above.get_lines() if line.get_color() == "red"]
    assert list(red.get_ydata()) == [0.5, 0.5] and along.get_title() == "along b = 0.50"
    assert list(along.get_lines()[0].get_ydata()) == SLOPE.loss[2].tolist() and along.get_ylim() == (0.5, 61)


def test_bars_are_the_errors_by_number_of_the_block_and_circles_what_fixed_statistics_show():
    drops = {"resnet20": {"stages.0.0": 0.5, "stages.0.1": 0.25, "stages.1.0": 0.3}, "plain20": {"stages.0.1": 0.9}}
    fixed = {"resnet20": {"stages.0.0": 0.6, "stages.0.1": 0.7, "stages.1.0": 0.8}, "plain20": {"stages.0.1": 0.8}}
    first, second = inside.dropped_blocks(drops, {"resnet20": 0.1, "plain20": 0.2}, fixed).axes
    assert [bar.get_height() for bar in first.patches] == [0.5, 0.25, 0.3]
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["0", "1", "0"]
    assert [text.get_text() for text in first.texts] == ["stage 1", "stage 2"]
    circles, *lines = second.get_lines()
    assert circles.get_xydata().tolist() == [[1, 0.8]] and circles.get_marker() == "o"
    assert [list(line.get_ydata()) for line in lines] == [[0.2, 0.2], [0.9, 0.9]]


def test_growth_is_from_the_shallowest_to_the_deepest_and_the_theory_starts_with_the_first():
    found = {"plain": {20: [2.0, 8.0], 22: [16.0, 16.0]}, "residual": {20: [1.0], 22: [1.0]}}
    figure = inside.growth_by_depth(found, 1.5, "size")
    plain, residual, theory = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == "-"]
    assert plain.get_label() == "plain: × 2.00 per layer" and residual.get_label() == "residual: × 1.00 per layer"
    assert plain.get_xydata().tolist() == [[20, pytest.approx(4)], [22, pytest.approx(16)]]  # geometric means
    assert theory.get_ydata() == pytest.approx([4, 4 * 1.5**2])


def test_sizes_by_block_are_medians_in_a_band_over_the_seeds():
    (ax,) = inside.size_lines({"α = 1": [[1.0, 2.0], [2.0, 4.0], [9.0, 8.0]]}).axes
    assert ax.get_lines()[0].get_xydata().tolist() == [[1, 2], [2, 4]]
    assert ax.collections[0].get_paths()[0].get_extents().intervaly.tolist() == [1, 9]


def test_size_and_damage_have_a_dot_per_block_on_one_scale():
    figure = inside.size_and_damage({"resnet20": ([0.5, 2.0], [0.01, 0.3]), "resnet56": ([0.1], [0.0])})
    first, second = figure.axes
    assert first.get_lines()[0].get_xydata().tolist() == [[0.5, 0.01], [2.0, 0.3]]
    assert first.get_ylim() == second.get_ylim() and second.get_title() == "ResNet-56"
