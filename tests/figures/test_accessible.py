"""Figures that are read in light and dark, in grey and by colour-blind eyes; stored pictures on a white ground."""

import base64
import io
from itertools import combinations

import matplotlib.colors
import matplotlib.image
import nbformat
import numpy as np
import pytest
from support.paths import REPO

from resnet_lesson.figures.style import PLAIN, RESIDUAL, STYLE, depth, styles

NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))

# What eyes without red or green cones see: Machado, Oliveira, Fernandes, A Physiologically-based Model for Simulation
# of Color Vision Deficiency, 2009, table for severity 1 (on linear RGB).
CONES = {
    "all": np.eye(3),
    "no red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def linear(colour, cones="all"):
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    rgb = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return (CONES[cones] @ rgb).clip(0, 1)


def luminance(colour, cones="all"):
    """Relative luminance, 0 to 1, as WCAG 2 defines it."""
    return linear(colour, cones) @ [0.2126, 0.7152, 0.0722]


def contrast(one, other, cones="all"):
    low, high = sorted([luminance(one, cones), luminance(other, cones)])
    return (high + 0.05) / (low + 0.05)


def test_the_measure_is_wcags():
    assert contrast("black", "white") == pytest.approx(21)
    assert contrast("#777777", "white") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("cones", CONES)
def test_shallow_and_deep_differ_in_grey(cones):
    for pair in (PLAIN, RESIDUAL):
        assert contrast(*pair, cones) > 2


@pytest.mark.parametrize(
    "names",
    [
        ["plain20", "plain56", "resnet20", "resnet56"],
        ["plain20", "plain32", "plain44", "plain56", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110"],
        ["resnet20", "preresnet20", "seresnet20", "sdresnet20", "resnet20d", "wrn10_2", "resnext29_8x64d", "lab10_6"],
        ["wrn28_2", "wrn28_10", "wide_resnet50_2", "resnet50", "resnext50_32x4d", "MyNetwork", "YourNetwork"],
    ],
    ids=["the four", "depths", "the family", "widths and the reader's own"],
)
def test_networks_in_one_figure_are_told_apart_also_without_their_colour(names):
    found = styles(names)
    for (first, one), (second, other) in combinations(found.items(), 2):
        by_form = (
            one["linestyle"] != other["linestyle"]
            or one["marker"] != other["marker"]
            or abs(one["linewidth"] - other["linewidth"]) >= 1
        )
        assert by_form, f"only a colour tells {first} and {second} apart"


def test_plain_is_dashed_and_warm_residual_solid_and_cool_and_deeper_is_thicker_and_darker():
    names = ["plain20", "plain56", "plain110", "resnet20", "resnet56", "resnet110"]
    found = styles(names)
    for name, style in found.items():
        red, _, blue = matplotlib.colors.to_rgb(style["color"])
        assert (style["linestyle"], red > blue) == (("--", True) if name.startswith("plain") else ("-", False))
    for kind in (names[:3], names[3:]):
        shallow_to_deep = [found[name] for name in kind]
        assert shallow_to_deep == sorted(shallow_to_deep, key=lambda style: style["linewidth"])
        lightness = [luminance(style["color"]) for style in shallow_to_deep]
        assert lightness == sorted(lightness, reverse=True) and len(set(lightness)) == 3
    assert {"#e69f00", "#b03a00"} <= {style["color"] for style in found.values()}


def test_depth_is_read_from_the_name():
    names = {"plain20": 20, "resnet110": 110, "preresnet164": 164, "wrn28_10": 28, "resnext29_8x64d": 29, "lab10_6": 50}
    assert {name: depth(name) for name in names} == names


def test_words_are_dark_on_white():
    for part in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color"):
        assert contrast(STYLE[part], STYLE["figure.facecolor"]) > 7


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_pictures_have_a_ground_of_their_own(path):
    """Opaque, and light at the edge: on a dark page black words would vanish otherwise."""
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                picture = matplotlib.image.imread(io.BytesIO(base64.b64decode(output.data["image/png"])))
                assert picture.shape[2] == 3 or (picture[..., 3] == 1).all(), cell.source[:100]
                edge = np.concatenate([picture[0, :, :3], picture[-1, :, :3], picture[:, 0, :3], picture[:, -1, :3]])
                assert np.median(edge) > 0.95, cell.source[:100]
