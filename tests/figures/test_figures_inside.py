"""The figures and explorers of what is inside: they draw what was measured, on one scale, and follow their controls."""

import re

import matplotlib.pyplot as plt
import pytest
import torch

from resnet_lesson import build, evaluate
from resnet_lesson.figures import explorers, inside
from resnet_lesson.inside import lesions
from resnet_lesson.inside.landscape import Surface
from resnet_lesson.inside.lesions import lesion
from resnet_lesson.inside.record import Inside

A = torch.linspace(-1, 1, 5)
BOWL = Surface(A, A, 1 + A[:, None] ** 2 + A**2, torch.zeros(5, 5))
STEEP = Surface(A, A, 1 + 30 * (A[:, None] ** 2 + A**2), torch.zeros(5, 5))
LINE = Surface(A, torch.zeros(1), 1 + A[None] ** 2, torch.zeros(1, 5))
B = torch.linspace(-0.5, 0.5, 3)
SLOPE = Surface(A, B, 3 + A + 3 * B[:, None], torch.zeros(3, 5))  # wider than high, and rising to the upper right
FLAT = Surface(A, A, 2.1 + 0.1 * (A[:, None] ** 2 + A**2), torch.zeros(5, 5))  # from 2.1 to 2.3
needs_widgets = pytest.mark.skipif(explorers.ipywidgets is None, reason="ipywidgets is not installed")


def found(**changes):
    about = {
        "data": {"name": "cifar10"},
        "run": "short-resnet20-seed0",
        "images": "the first 8",
        "machine": {"hardware": "a CPU"},
    }
    return Inside(0.1, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, about)


def test_surfaces_side_by_side_share_their_scale():
    figure = inside.contours({"bowl": BOWL, "steep": STEEP})
    panels = figure.axes[:2]
    assert [ax.get_title() for ax in panels] == ["bowl", "steep"]
    meshes = [ax.collections[0] for ax in panels]
    assert [mesh.get_clim() for mesh in meshes] == [(1, 61), (1, 61)]
    assert meshes[0].get_array().ravel().tolist() == pytest.approx(BOWL.loss.ravel().tolist())
    levels = [ax.collections[1].levels for ax in panels]
    assert (levels[0] == levels[1]).all() and levels[0][4] == pytest.approx(2 * levels[0][0])
    huge = inside.contours({"huge": Surface(A, A, 10 ** (3 * STEEP.loss / 60), torch.zeros(5, 5))}).axes[0]
    assert huge.collections[1].levels[2] == pytest.approx(2 * huge.collections[1].levels[0])
    assert plt.get_fignums() == []


def test_many_surfaces_come_in_rows_and_places_left_over_stay_empty():
    figure = inside.contours({str(i): BOWL for i in range(3)}, columns=2)
    shown = [ax for ax in figure.axes if ax.get_title()]
    assert len(shown) == 3 and len({round(ax.get_position().y0, 2) for ax in shown}) == 2


def test_a_line_is_not_drawn_as_a_surface():
    with pytest.raises(ValueError, match="draw it with `slices`"):
        inside.contours({"line": LINE})
    assert plt.get_fignums() == []


@pytest.mark.parametrize("bad", [0.0, float("nan")])
def test_losses_that_have_no_logarithm_are_refused(bad):
    loss = BOWL.loss.clone()
    loss[0, 1] = bad
    with pytest.raises(ValueError, match="finite losses above 0"):
        inside.contours({"bowl": BOWL, "bad": Surface(A, A, loss, torch.zeros(5, 5))})
    assert plt.get_fignums() == []


def test_a_goes_to_the_right_b_upwards_and_a_cross_marks_the_network():
    ax = inside.contours({"slope": SLOPE}).axes[0]
    mesh = ax.collections[0]
    assert mesh.get_array().shape == (3, 5) and mesh.get_array().ravel().tolist() == SLOPE.loss.ravel().tolist()
    assert mesh.get_coordinates()[0, :, 0].tolist() == A.tolist()
    assert mesh.get_coordinates()[:, 0, 1].tolist() == B.tolist()
    assert ax.get_xlim() == (-1, 1) and ax.get_ylim() == (-0.5, 0.5) and ax.get_xlabel() == "a"
    lines = dict(zip(ax.collections[1].levels, ax.collections[1].get_paths(), strict=True))
    x, y = torch.tensor(lines[2.0].vertices).T
    assert torch.allclose(x, -1 - 3 * y) and len(x) >= 3  # there the loss is 2
    (cross,) = ax.get_lines()
    assert (cross.get_marker(), *cross.get_xydata().tolist()) == ("+", [0, 0])


def test_losses_close_together_have_ticks_too():
    axes = {
        "contours": inside.contours({"flat": FLAT}).axes[-1],
        "slices": inside.slices({"flat": {"resnet20": FLAT}}).axes[0],
        "view": inside.surface_view(FLAT).axes[2],
    }
    for name, ax in axes.items():
        low, high = ax.get_ylim()
        shown = [t for t, text in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True) if text.get_text()]
        assert sum(low <= tick <= high for tick in shown) >= 2, name


def test_slices_are_the_rows_where_b_is_zero():
    figure = inside.slices({"one": {"plain20": LINE, "resnet20": STEEP}})
    drawn = {line.get_label(): line for line in figure.axes[0].get_lines()}
    assert list(drawn["plain-20"].get_ydata()) == LINE.loss[0].tolist()
    assert list(drawn["ResNet-20"].get_ydata()) == STEEP.loss[2].tolist()
    assert drawn["plain-20"].get_linestyle() == "--" and figure.axes[0].get_yscale() == "log"
    (slope,) = inside.slices({"one": {"plain20": SLOPE}}).axes[0].get_lines()
    assert slope.get_xydata().tolist() == [[a, 3 + a] for a in A.tolist()]


def test_the_legend_of_slices_names_each_network_of_any_panel_once():
    figure = inside.slices({"one": {"plain20": LINE}, "two": {"plain20": LINE, "resnet20": LINE}})
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["plain-20", "ResNet-20"]


def test_the_view_cuts_at_the_nearest_row():
    figure = inside.surface_view(STEEP, "steep", cut=0.4)
    space, above, along = figure.axes
    assert along.get_title() == "along b = 0.50"
    assert list(along.get_lines()[0].get_ydata()) == STEEP.loss[3].tolist()
    assert "steep" in figure.get_label() and along.get_ylim() == (1, 61)
    assert inside.surface_view(BOWL, scale=inside.scale_of([BOWL, STEEP])).axes[2].get_ylim() == (1, 61)


def test_the_view_is_from_where_the_eye_is_and_its_cut_is_a_red_line():
    figure = inside.surface_view(SLOPE, azimuth=20, height=70, cut=0.5)
    space, above, along = figure.axes
    assert (space.azim, space.elev) == (20, 70)
    (red,) = [line for line in space.get_lines() if line.get_color() == "red"]
    x, y, z = (torch.tensor(values).float() for values in red.get_data_3d())
    assert torch.equal(x, A) and torch.equal(y, B[2].expand(5)) and torch.allclose(z, SLOPE.loss[2].log10())
    (red,) = [line for line in above.get_lines() if line.get_color() == "red"]
    assert list(red.get_ydata()) == [0.5, 0.5]
    assert along.get_lines()[0].get_color() == "red" and along.get_yscale() == "log"


def test_bars_are_the_errors_and_first_blocks_are_hatched():
    drops = {"resnet20": {"stages.0.0": 0.5, "stages.0.1": 0.25}, "plain20": {"stages.0.1": 0.9}}
    figure = inside.dropped_blocks(drops, {"resnet20": 0.1, "plain20": 0.2})
    first, second = figure.axes
    assert [bar.get_height() for bar in first.patches] == [0.5, 0.25]
    assert [bar.get_hatch() for bar in first.patches] == ["///", None]
    assert [list(line.get_ydata()) for line in second.get_lines()] == [[0.2, 0.2], [0.9, 0.9]]


def test_lesion_curves_begin_with_the_whole_network():
    curve = 0.1, {"counts": [1, 2], "errors": [[0.2, 0.3], [0.5, 0.7]]}
    figure = inside.lesion_curves({"taken out": {"resnet20": curve}, "exchanged": {"resnet20": curve}})
    assert [ax.get_title() for ax in figure.axes] == ["taken out", "exchanged"]
    for ax in figure.axes:
        line = ax.get_lines()[-1]
        assert list(line.get_xdata()) == [0, 1, 2] and list(line.get_ydata()) == pytest.approx([0.1, 0.25, 0.6])
        dots = [dot for line in ax.get_lines() if line.get_marker() == "o" for dot in line.get_xydata().tolist()]
        assert dots == [[0, 0.1], [1, 0.2], [1, 0.3], [2, 0.5], [2, 0.7]]  # a dot each draw
    note = inside.noted(figure, inside.provenance([found()]))._supxlabel.get_text()
    assert note == "Recorded · cifar10 · short-resnet20-seed0 · a CPU"


# --- explorers


@needs_widgets
def test_the_surface_follows_its_controls():
    both = {"pair 0": BOWL, "pair 1": STEEP}
    made = explorers.surface_explorer({"ResNet-20": both, "plain-20": both})
    assert list(made.controls) == ["network", "directions", "azimuth", "height", "cut"]
    pictures = {made.output.value}
    for control, value in (("azimuth", 30), ("height", 75), ("cut", 0.5), ("directions", "pair 1")):
        made.controls[control].value = value
        pictures.add(made.output.value)
    assert len(pictures) == 5 and "ResNet-20: its loss surface in space" in made.output.value


def test_surfaces_to_compare_are_seen_on_one_scale():
    alone = explorers.surface_explorer({"resnet20": {"pair 0": BOWL}})
    both = explorers.surface_explorer({"resnet20": {"pair 0": BOWL}, "plain20": {"pair 0": STEEP}})
    one, other = (made._repr_mimebundle_()["image/png"] for made in (alone, both))  # both show BOWL
    assert one != other
    with pytest.raises(ValueError, match="the same names"):
        explorers.surface_explorer({"resnet20": {"pair 0": BOWL}, "plain20": {"pair 1": STEEP}})


@needs_widgets
def test_blocks_are_taken_out_and_exchanged_by_ticking():
    images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    batches = [(images, torch.arange(16) % 10)]
    networks = {name: build(name, seed=0).eval() for name in ("resnet14", "plain14")}
    with lesion(networks["resnet14"], ["stages.0.1"]), torch.no_grad():
        answers = networks["resnet14"](images).argmax(1)
    expected = f"{(answers != batches[0][1]).float().mean().item():.1%}"
    made = explorers.lesion_explorer(networks, batches)
    whole = re.findall(r"[\d.]+%", made.output.value)
    assert whole[0] == whole[1] and whole[2] == whole[3]  # nothing is taken out
    made.controls["stages.0.1"].value = True
    assert re.findall(r"[\d.]+%", made.output.value)[1] == expected
    made.controls["bn_of_these_images"].value = True
    shown = re.findall(r"[\d.]+%", made.output.value)
    assert shown[0] == f"{lesions.error_of(networks['resnet14'], batches, batch_statistics=True):.1%}"
    assert shown[1] == f"{lesions.drop_each(networks['resnet14'], batches, batch_statistics=True)['stages.0.1']:.1%}"
    made.controls["bn_of_these_images"].value = False
    made.controls["stages.1.0"].value = True
    assert "stages.1.0 changes the shape" in made.output.value  # in the plain one
    assert [name for name, control in made.controls.items() if control.value is True] == ["stages.0.1", "stages.1.0"]


@needs_widgets
def test_an_exchange_is_made_together_with_what_is_taken_out():
    images = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    networks = {name: build(name, seed=0).eval() for name in ("resnet20", "plain20")}
    with torch.no_grad():
        batches = [(images, networks["resnet20"](images).argmax(1))]  # so the whole one makes no mistake
    made = explorers.lesion_explorer(networks, batches)

    def shown():
        return re.findall(r"[\d.]+%", made.output.value)[1::2]

    def expected(**how):
        found = []
        for network in networks.values():
            with lesion(network, **how):
                found.append(f"{evaluate(network, batches)[1]:.1%}")
        return found

    pair, seen = ("stages.0.0", "stages.0.1"), [shown()]
    made.controls["exchange"].value = [pair]
    assert shown() == expected(swap=[pair])
    seen.append(shown())
    made.controls["stages.2.1"].value = True
    assert shown() == expected(drop=["stages.2.1"], swap=[pair]) != expected(drop=["stages.2.1"])
    assert seen[0] == expected() != seen[1]


def test_only_neighbours_of_a_stage_that_keep_the_shape_are_exchanged():
    networks = {name: build(name, seed=0).eval() for name in ("resnet20", "plain20")}
    made = explorers.lesion_explorer(networks, [(torch.randn(4, 3, 8, 8), torch.arange(4))])
    if explorers.ipywidgets:
        assert list(made.controls["exchange"].options) == [
            "nothing",
            "stages.0.0 and stages.0.1",
            "stages.0.1 and stages.0.2",
            "stages.1.1 and stages.1.2",
            "stages.2.1 and stages.2.2",
        ]
    assert "<table" in made._repr_mimebundle_()["text/html"]
