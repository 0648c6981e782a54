"""Figures that are read in light and dark, in grey and by colour-blind eyes; stored pictures on a white ground."""

import base64
import io
from itertools import combinations

import matplotlib.colors
import matplotlib.image
import nbformat
import numpy as np
import pytest
from support.paths import NOTEBOOKS

from resnet_lesson.figures.style import styles


def luminance(colour):
    """Relative luminance, 0 to 1, as WCAG 2 defines it."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize(
    "names",
    [
        ["plain20", "plain32", "plain44", "plain56", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110"],
        ["resnet20", "preresnet20", "seresnet20", "sdresnet20", "resnet20d", "wrn10_2", "resnext29_8x64d", "lab10_6"],
        ["wrn28_2", "wrn28_10", "wide_resnet50_2", "resnet50", "resnext50_32x4d", "MyNetwork", "YourNetwork"],
    ],
    ids=["depths", "the family", "widths and the reader's own"],
)
def test_networks_in_one_figure_are_told_apart_also_without_their_colour(names):
    for (first, one), (second, other) in combinations(styles(names).items(), 2):
        by_form = one["linestyle"] != other["linestyle"] or one["marker"] != other["marker"]
        assert by_form or abs(one["linewidth"] - other["linewidth"]) >= 1, f"only a colour tells {first} from {second}"


@pytest.mark.parametrize(("kind", "dashes"), [("plain", "--"), ("resnet", "-")])
def test_plain_is_dashed_and_residual_solid_and_deeper_is_thicker_and_darker(kind, dashes):
    shallow_to_deep = list(styles(f"{kind}{depth}" for depth in (20, 56, 110)).values())
    assert {style["linestyle"] for style in shallow_to_deep} == {dashes}
    assert shallow_to_deep == sorted(shallow_to_deep, key=lambda style: style["linewidth"])
    lightness = [luminance(style["color"]) for style in shallow_to_deep]
    assert lightness == sorted(lightness, reverse=True) and (lightness[0] + 0.05) / (lightness[-1] + 0.05) > 2


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
