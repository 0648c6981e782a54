"""The explorers: they follow their controls, say what is wrong, and leave a picture for readers without a kernel."""

import re
import sys
import threading

import matplotlib.pyplot as plt
import pytest

from resnet_lesson import BasicBlock, Bottleneck, cost_of
from resnet_lesson.figures.explorers import cost_explorer, explorer, shape_explorer

ipywidgets = pytest.importorskip("ipywidgets", reason="ipywidgets is not installed")
VIEW = "application/vnd.jupyter.widget-view+json"


def line(slope=1, grid=False):
    if slope == 3:
        raise ValueError("a slope of 3 is <too much>: choose 2")
    if slope == 5:
        raise KeyError("a mistake in draw")
    figure, ax = plt.subplots(figsize=(2, 1.5))
    ax.plot([0, slope])
    ax.grid(grid)
    figure.set_label(f'a line of slope "{slope}"')
    return figure


def words(**values):
    return f"<b>{values}</b>"


def test_the_picture_follows_the_controls():
    made = explorer(line, slope=(0, 9, 1), grid=True)
    first = made.output.value
    assert 'alt="a line of slope &quot;1&quot;" width="200" height="150"' in first
    made.controls["slope"].value = 2
    assert "slope &quot;2&quot;" in made.output.value
    made.controls["slope"].value, made.controls["grid"].value = 1, True
    assert made.output.value != first
    made.controls["grid"].value = False
    assert made.output.value == first and plt.get_fignums() == []


def test_the_last_picture_belongs_to_the_last_value_also_when_a_slow_drawing_overlaps():
    """JupyterLab may hand the messages of one control to two threads of the kernel."""
    begun, newer = threading.Event(), threading.Event()

    def draw(option="A"):
        if option == "B":
            begun.set()
            newer.wait(0.3)  # as long as C is not drawn before
        return option

    made = explorer(draw, option=["A", "B", "C"])
    slow = threading.Thread(target=lambda: setattr(made.controls["option"], "value", "B"))
    slow.start()
    begun.wait(10)
    made.controls["option"].value = "C"
    newer.set()
    slow.join()
    assert made.output.value == made.controls["option"].value == "C"


def test_an_error_is_a_message_in_the_explorer_and_goes_again():
    made = explorer(line, slope=(0, 9, 1))
    fine = made.output.value
    made.controls["slope"].value = 3
    message = "a slope of 3 is &lt;too much&gt;: choose 2"
    assert made.output.value == f'<p role="alert"><b>Not possible.</b> {message}</p>'
    made.controls["slope"].value = 5  # not for people, but seen all the same: a callback's traceback would be lost
    assert "KeyError(&#x27;a mistake in draw" in made.output.value
    made.controls["slope"].value = 1
    assert made.output.value == fine


def test_each_kind_of_control_begins_with_the_default_of_draw_or_the_first_value():
    def draw(whole=4, part=0.5, few="b", numbers=64, **others):
        return words(whole=whole, part=part, few=few, numbers=numbers, **others)

    offered = dict(whole=(0, 8, 2), part=(0.0, 1.0, 0.1), few=["a", "b"], numbers=[2**k for k in range(9)], tick=True)
    made = explorer(draw, **offered, many=list("abcdefg"), a_long_name={"one": 1, "two": 2})
    kinds = "IntSlider FloatSlider ToggleButtons SelectionSlider Checkbox Dropdown ToggleButtons".split()
    assert [type(control).__name__ for control in made.controls.values()] == kinds
    assert made.output.value == words(whole=4, part=0.5, few="b", numbers=64, tick=True, many="a", a_long_name=1)
    assert made.controls["whole"].max == 8 and made.controls["a_long_name"].description == "a long name"


@pytest.mark.parametrize(("draw", "kind"), [(line, "image/png"), (words, "text/html")])
def test_it_leaves_a_still_view_of_what_it_begins_with_and_the_live_one_is_a_widget(draw, kind):
    made, again = (explorer(draw, slope=(0, 9, 1)) for _ in range(2))
    bundle = made._repr_mimebundle_()
    assert set(bundle) == {VIEW, kind, "text/plain"} and bundle[VIEW]["model_id"] == made.view.model_id
    assert all(bundle[key] == again._repr_mimebundle_()[key] for key in (kind, "text/plain"))  # as nbval compares
    made.controls["slope"].value = 7
    assert made._repr_mimebundle_() == bundle


def test_controls_work_with_ipywidgets_7_which_makes_no_bundle_itself(monkeypatch):
    monkeypatch.delattr(ipywidgets.Widget, "_repr_mimebundle_")
    made = shape_explorer()
    assert {VIEW, "image/png"} < set(made._repr_mimebundle_())


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_without_working_widgets_it_is_the_still_view_and_one_line(fault, monkeypatch, capsys):
    with_widgets = shape_explorer()._repr_mimebundle_()
    if fault == "missing":
        monkeypatch.setitem(sys.modules, "ipywidgets", None)
    else:
        monkeypatch.delattr(ipywidgets, "HTML")
    made = shape_explorer()
    assert made._repr_mimebundle_() == {key: value for key, value in with_widgets.items() if key != VIEW}
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "pip install --upgrade ipywidgets" in said


def test_the_shape_explorer_draws_the_block_that_is_chosen():
    made = shape_explorer()
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
    made = cost_explorer()
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
    assert "choose an inner width of 64 or less" in made.output.value
