"""The explorers: they follow their controls, say what is wrong, and leave a picture for readers without a kernel."""

import re
import sys

import matplotlib.pyplot as plt
import pytest
import torch

from resnet_lesson import BasicBlock, Bottleneck, build, cost_of
from resnet_lesson.figures import explorers
from resnet_lesson.figures.explorers import WIDGET, explorer
from resnet_lesson.inside.landscape import Surface
from resnet_lesson.inside.lesions import error_of, lesion

ipywidgets = pytest.importorskip("ipywidgets", reason="ipywidgets is not installed")


def line(slope=1, grid=False):
    if slope == 3:
        raise ValueError("a slope of 3 is <too much>: choose 2")
    figure, ax = plt.subplots(figsize=(2, 1.5))
    ax.plot([0, slope])
    ax.grid(grid)
    figure.set_label(f'a line of slope "{slope}"')
    return figure


def words(**values):
    return f"<b>{values}</b>"


def test_the_picture_follows_the_controls_and_an_error_is_a_message_in_its_place():
    made = explorer(line, slope=(0, 9, 1), grid=True)
    first = made.output.value
    assert 'alt="a line of slope &quot;1&quot;" width="200" height="150"' in first
    made.controls["slope"].value = 2
    assert "slope &quot;2&quot;" in made.output.value
    made.controls["slope"].value = 3
    message = "a slope of 3 is &lt;too much&gt;: choose 2"
    assert made.output.value == f'<p role="alert"><b>Not possible.</b> {message}</p>'
    made.controls["slope"].value, made.controls["grid"].value = 1, True
    assert made.output.value != first
    made.controls["grid"].value = False
    assert made.output.value == first and plt.get_fignums() == []


def test_each_kind_of_control_begins_with_the_default_of_draw_or_the_first_value():
    def draw(whole=4, part=0.5, few="b", numbers=64, **others):
        return words(whole=whole, part=part, few=few, numbers=numbers, **others)

    offered = dict(whole=(0, 8, 2), part=(0.0, 1.0, 0.1), few=["a", "b"], numbers=[2**k for k in range(9)], tick=True)
    made = explorer(draw, **offered, a_long_name=list("abcdefg"))
    kinds = "IntSlider FloatSlider ToggleButtons SelectionSlider Checkbox Dropdown".split()
    assert [type(control).__name__ for control in made.controls.values()] == kinds
    assert made.output.value == words(whole=4, part=0.5, few="b", numbers=64, tick=True, a_long_name="a")
    assert made.controls["whole"].max == 8 and made.controls["a_long_name"].description == "a long name"


@pytest.mark.parametrize(("draw", "kind"), [(line, "image/png"), (words, "text/html")])
def test_it_leaves_a_still_view_of_what_it_begins_with_and_the_live_one_is_a_widget(draw, kind, monkeypatch, capsys):
    monkeypatch.delattr(ipywidgets.Widget, "_repr_mimebundle_")  # ipywidgets 7 makes no bundle itself
    made, again = (explorer(draw, slope=(0, 9, 1)) for _ in range(2))
    bundle = made._repr_mimebundle_()
    assert set(bundle) == {WIDGET, kind, "text/plain"} and bundle[WIDGET]["model_id"] == made.view.model_id
    assert all(bundle[key] == again._repr_mimebundle_()[key] for key in (kind, "text/plain"))  # as nbval compares
    made.controls["slope"].value = 7
    assert made._repr_mimebundle_() == bundle
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    alone = explorer(draw, slope=(0, 9, 1))._repr_mimebundle_()
    assert alone == {key: value for key, value in bundle.items() if key != WIDGET}
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "pip install --upgrade ipywidgets" in said


def test_the_shape_explorer_draws_the_block_that_is_chosen():
    made = explorers.shape_explorer()
    for name, value in dict(block="bottleneck", in_channels=256, width=128, stride=2, shortcut="A", size=56).items():
        made.controls[name].value = value
    alt = made.output.value
    assert "Bottleneck(256, 128, stride=2, shortcut=&#x27;A&#x27;)" in alt
    assert "zero padding: 128 + 128 channels, every 2nd pixel  512 x 28 x 28" in alt
    made.controls["block"].value = "basic"
    assert "Not possible." in made.output.value and "use shortcut=&#x27;B&#x27;" in made.output.value
    made.controls["block"].value = "plain"
    assert "H(x)" in made.output.value and "shortcut" not in made.output.value


def test_the_cost_explorer_counts_what_the_blocks_cost():
    made = explorers.cost_explorer()
    made.controls["size"].value = 28
    rows = [re.sub("<[^>]*>", " ", row).split() for row in re.findall("<tr>(.*?)</tr>", made.output.value)]
    costs = [
        cost_of(kind(outer, inner, shortcut=option), (outer, 28, 28))
        for kind, outer, inner in ((BasicBlock, 256, 256), (Bottleneck, 256, 64), (BasicBlock, 64, 64))
        for option in "BC"
    ]
    expected = [[f"{cost.parameters:,}", f"{cost.macs / 1e6:,.1f}"] for cost in costs]
    assert [row[-3:-1] for row in rows[1:]] == expected
    assert [row[-4] for row in rows[1:]] == ["identity", "projection"] * 3 and rows[2][-1] == "100.0%"
    made.controls["channels"].value, made.controls["inner_width"].value = 64, 128
    assert "choose an inner width that divides 64" in made.output.value


def test_the_surface_follows_its_controls_on_one_scale():
    a = torch.linspace(-1, 1, 5)
    bowl, steep = (Surface(a, a, 1 + k * (a[:, None] ** 2 + a**2)) for k in (1, 30))
    both = {"pair 0": bowl, "pair 1": steep}
    made = explorers.surface_explorer({"ResNet-20": both, "plain-20": both})
    pictures = {made.output.value}
    for control, value in (("azimuth", 30), ("height", 75), ("cut", 0.5), ("directions", "pair 1")):
        made.controls[control].value = value
        pictures.add(made.output.value)
    assert len(pictures) == 5 and "ResNet-20: its loss surface in space" in made.output.value
    alone = explorers.surface_explorer({"ResNet-20": {"pair 0": bowl}})
    assert alone.output.value not in pictures  # on a scale of its own


def test_blocks_are_taken_out_by_ticking():
    images = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    networks = {name: build(name, seed=0) for name in ("resnet20", "plain20")}
    batches = [(images, torch.arange(40) % 10)]
    made = explorers.lesion_explorer(networks, batches)

    def is_shown(drop, **how):
        """Whether there is, for each network, its error when whole and with the lesion."""
        expected = []
        for network in networks.values():
            expected.append(f"{error_of(network, batches, **how):.1%}")
            with lesion(network, drop):
                expected.append(f"{error_of(network, batches, **how):.1%}")
        return re.findall(r"[\d.]+%", made.output.value) == expected

    assert is_shown([]) and not is_shown(["stages.2.1"])
    made.controls["stages.2.1"].value = True
    assert is_shown(["stages.2.1"])
    made.controls["bn_of_these_images"].value = True
    assert is_shown(["stages.2.1"], batch_statistics=True) and not is_shown(["stages.2.1"])
    made.controls["stages.1.0"].value = True
    assert "stages.1.0 changes the shape" in made.output.value  # in the plain one
