"""The explorers: they follow their controls, say what is wrong, and leave a picture for readers without a kernel."""

import base64
import importlib.util
import re
import subprocess
import sys
import time

import matplotlib.pyplot as plt
import pytest

from resnet_lesson import BasicBlock, Bottleneck, LessonError, cost_of
from resnet_lesson.figures import explorers
from resnet_lesson.figures.explorers import cost_explorer, explorer, shape_explorer

VIEW = "application/vnd.jupyter.widget-view+json"
needs_widgets = pytest.mark.skipif(explorers.ipywidgets is None, reason="ipywidgets is not installed")


def line(slope=1, grid=False):
    if slope == 3:
        raise ValueError("a slope of 3 is <too much>: choose 2")
    if slope == 4:
        raise LessonError("4 is no better")
    if slope == 5:
        raise KeyError("a mistake in draw")
    figure, ax = plt.subplots(figsize=(2, 1.5))
    ax.plot([0, slope])
    ax.grid(grid)
    figure.set_label(f'a line of slope "{slope}"')
    return figure


def words(**values):
    return f"<b>{values}</b>"


def picture(value):
    return base64.b64decode(re.search('data:image/png;base64,([^"]+)', value)[1])


@needs_widgets
def test_the_picture_follows_the_controls():
    made = explorer(line, slope=(0, 9, 1), grid=True)
    first = made.output.value
    assert picture(first).startswith(b"\x89PNG")
    assert 'alt="a line of slope &quot;1&quot;" width="200" height="150"' in first
    made.controls["slope"].value = 2
    second = made.output.value
    assert picture(second) != picture(first) and "slope &quot;2&quot;" in second
    made.controls["grid"].value = False
    assert picture(made.output.value) != picture(second)
    made.controls["slope"].value, made.controls["grid"].value = 1, True
    assert made.output.value == first
    assert plt.get_fignums() == []


@needs_widgets
def test_an_error_is_a_message_in_the_explorer_and_goes_again():
    made = explorer(line, slope=(0, 9, 1))
    fine = made.output.value
    for slope, message in {3: "a slope of 3 is &lt;too much&gt;: choose 2", 4: "4 is no better"}.items():
        made.controls["slope"].value = slope
        assert made.output.value == f'<p role="alert"><b>Not possible.</b> {message}</p>'
    made.controls["slope"].value = 5  # not for people, but seen all the same: a callback's traceback would be lost
    assert "KeyError: &#x27;a mistake in draw&#x27;" in made.output.value
    made.controls["slope"].value = 1
    assert made.output.value == fine


def test_an_error_at_the_start_is_shown_if_it_is_for_people_and_raised_if_not():
    assert "choose 2" in explorer(lambda slope: line(slope), slope=[3, 2])._repr_mimebundle_()["text/html"]
    with pytest.raises(KeyError):
        explorer(lambda slope: line(slope), slope=[5, 2])
    for offered in ([5, 2], (2, 5, 1)):
        with pytest.raises(ValueError, match="slope begins with 1, which"):
            explorer(line, slope=offered)


@needs_widgets
def test_the_short_forms_make_the_widgets_and_defaults_come_from_draw():
    from ipywidgets import Checkbox, Dropdown, FloatSlider, IntSlider, IntText, SelectionSlider, ToggleButtons

    def draw(whole=4, part=0.5, few="b", numbers=64, many="f", tick=False, own=None, named=2):
        return words(whole=whole, part=part, few=few, numbers=numbers, many=many, tick=tick, own=own, named=named)

    own = IntText(7, description="a description that is rather long")
    made = explorer(
        draw,
        whole=(0, 8, 2),
        part=(0.0, 1.0, 0.1),
        few=["a", "b"],
        numbers=[16, 32, 64, 128, 256, 512],
        many=list("abcdefg"),
        tick=True,
        own=own,
        named={"one": 1, "two": 2},
    )
    kinds = [IntSlider, FloatSlider, ToggleButtons, SelectionSlider, Dropdown, Checkbox, IntText, ToggleButtons]
    assert [type(control) for control in made.controls.values()] == kinds
    assert made.values == dict(whole=4, part=0.5, few="b", numbers=64, many="f", tick=True, own=7, named=2)
    assert made.output.value == words(**made.values)
    assert made.controls["own"] is own
    assert (made.controls["whole"].min, made.controls["whole"].max, made.controls["whole"].step) == (0, 8, 2)
    widths = {control.style.description_width for control in made.controls.values()}
    assert widths == {f"{len(own.description) + 1}ch"}  # all alike, and none cut off


def test_without_a_default_a_control_begins_with_its_first_value():
    made = explorer(words, a=[3, 1, 2], b=(5, 9, 2), c={"x": "one"})
    assert repr(made) == "words: a=3, b=5, c='one'"
    assert made._repr_mimebundle_()["text/html"] == words(a=3, b=5, c="one")


@pytest.mark.parametrize("control", [3, None, (1,), []])
def test_what_is_no_control_is_said(control):
    with pytest.raises(ValueError, match="slope=.* is no control: give .low, high, step."):
        explorer(line, slope=control)


@needs_widgets
def test_names_are_read_with_spaces():
    made = explorer(words, a_long_name=[1])
    assert all(control.description == "a long name" for control in made.controls.values())


@pytest.mark.parametrize(("draw", "kind"), [(line, "image/png"), (words, "text/html")])
def test_it_leaves_a_still_view_that_is_the_same_each_time(draw, kind):
    made, again = (explorer(draw, slope=(0, 9, 1)) for _ in range(2))
    bundle = made._repr_mimebundle_()
    assert set(bundle) - {VIEW} == {kind, "text/plain"}
    assert bundle == made._repr_mimebundle_()
    assert bundle[kind] == again._repr_mimebundle_()[kind]
    assert bundle["text/plain"] == again._repr_mimebundle_()["text/plain"] == repr(made)
    assert not re.search("0x|model|object", bundle["text/plain"])
    if kind == "image/png":
        assert base64.b64decode(bundle[kind]).startswith(b"\x89PNG")


@needs_widgets
def test_the_still_view_stays_with_the_defaults_and_the_live_one_is_a_widget():
    made = explorer(line, slope=(0, 9, 1))
    before = made._repr_mimebundle_()
    made.controls["slope"].value = 7
    assert made._repr_mimebundle_() == before
    assert before[VIEW]["model_id"] == made.view.model_id
    assert made.view.children == (*made.controls.values(), made.output)
    assert not any(type(child).__name__ == "Output" for child in made.view.children)


def test_without_ipywidgets_it_is_the_still_view(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    spec = importlib.util.spec_from_file_location("resnet_lesson.figures.without_widgets", explorers.__file__)
    without = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(without)
    for mine, theirs in ((without.shape_explorer(), shape_explorer()), (without.cost_explorer(), cost_explorer())):
        still = mine._repr_mimebundle_()
        assert mine.controls == {} and VIEW not in still
        assert still == {kind: value for kind, value in theirs._repr_mimebundle_().items() if kind != VIEW}


def test_the_package_does_not_import_it():
    code = "import sys, resnet_lesson; sys.exit('resnet_lesson.figures' in sys.modules or 'ipywidgets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@needs_widgets
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


def rows(page):
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall("<tr>(.*?)</tr>", page)]
    return [[re.sub("<[^>]*>", "", cell).strip() for cell in row] for row in cells]


@needs_widgets
def test_the_cost_explorer_counts_what_the_blocks_cost():
    made = cost_explorer()
    made.controls["size"].value = 28
    head, *body = rows(made.output.value)
    assert head == ["block", "shortcut", "parameters", "multiply-adds (million)", "of the most expensive"]
    assert made.output.value.count('scope="col"') == 5 and made.output.value.count('scope="row"') == 6
    blocks = [
        kind(outer, inner, shortcut=option)
        for kind, outer, inner in ((BasicBlock, 256, 256), (Bottleneck, 256, 64), (BasicBlock, 64, 64))
        for option in "BC"
    ]
    outer = (256, 256, 256, 256, 64, 64)
    expected = [cost_of(block, (channels, 28, 28)) for block, channels in zip(blocks, outer, strict=True)]
    assert [row[2] for row in body] == [f"{cost.parameters:,}" for cost in expected]
    assert [row[3] for row in body] == [f"{cost.macs / 1e6:,.1f}" for cost in expected]
    assert [row[1] for row in body] == ["identity", "projection"] * 3
    assert body[1][4] == "100.0%" and body[2][0] == "bottleneck, 256 → 64 → 256"
    made.controls["channels"].value, made.controls["inner_width"].value = 64, 128
    assert "choose an inner width of 64 or less" in made.output.value


@needs_widgets
@pytest.mark.parametrize(("make", "name"), [(shape_explorer, "width"), (cost_explorer, "inner_width")])
def test_a_redraw_is_fast(make, name):
    made = make()
    made.controls["size"].value = 28  # warm
    times = []  # of this process: the machine may have others
    for value in (16, 32, 64):
        begin = time.process_time()
        made.controls[name].value = value
        times.append(time.process_time() - begin)
    assert min(times) < 0.5
