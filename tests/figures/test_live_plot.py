"""LivePlot: drawn now and then and at the end, in place, as a picture that stays; never in the way of a training."""

import base64
import importlib.util
import io
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.image import imread
from support.paths import REPO

from resnet_lesson import Run, build, recipe, shapes10, train
from resnet_lesson.figures import live_plot
from resnet_lesson.figures.live_plot import WIDGET, WORDS, Canvas, LivePlot

needs_widgets = pytest.mark.skipif(live_plot.ipywidgets is None, reason="ipywidgets is not installed")
needs_ipython = pytest.mark.skipif(importlib.util.find_spec("IPython") is None, reason="IPython is not installed")


def a_run(name="plain20", rows=0, total=1000, seed=0, status="running"):
    """A run of `total` iterations with a row for each of the first `rows`; an epoch is 10 iterations."""
    run = Run(
        network={"name": name, "seed": seed, "options": {}},
        recipe={"name": "demo", "iterations": total, "batch_size": 64},
        data={"name": "shapes10", "train": {"images": 640}},
        seed=seed,
        precision="float32",
        captured=False,
        threads=1,
        machine={"hardware": "none"},
        status=status,
        live=True,
    )
    while len(run.history) < rows:
        grow(run)
    return run


def grow(run):
    done = len(run.history) + 1
    run.history.append({"epoch": -(-done // 10), "iteration": done, "train_error": 0.9 / done, "test_error": 0.5})


def picture(png):
    return (imread(io.BytesIO(png), format="png")[..., :3] * 255).round().astype(int)


@pytest.fixture
def notebook(monkeypatch):
    """What a notebook does for LivePlot: `displayed` outputs as they are now, and `end_cell()`."""
    callbacks, displayed = [], []

    def display(data, raw, display_id=None):
        assert raw
        displayed.append(data)
        index = len(displayed) - 1
        return SimpleNamespace(update=lambda data, raw: displayed.__setitem__(index, data)) if display_id else None

    def end_cell():
        for callback in list(callbacks):
            callback()

    events = SimpleNamespace(
        register=lambda event, call: callbacks.append(call) if call not in callbacks else None,
        unregister=lambda event, call: callbacks.remove(call),
    )
    monkeypatch.setattr(live_plot, "notebook", lambda: SimpleNamespace(events=events))
    monkeypatch.setattr("IPython.display.display", display)
    return SimpleNamespace(displayed=displayed, end_cell=end_cell, callbacks=callbacks)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when told to: by `cost` seconds for a drawing. `drawn`: the rows in each drawing."""
    clock = SimpleNamespace(now=100.0, cost=0.0, drawn=[])

    def draw(canvas):
        clock.now += clock.cost
        clock.drawn.append([len(run.history) for run in canvas.runs])
        return f"picture {len(clock.drawn)}".encode()

    monkeypatch.setattr(live_plot, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(Canvas, "draw", draw)
    return clock


@needs_ipython
@needs_widgets
@pytest.mark.parametrize(("cost", "least", "most"), [(0.001, 90, 101), (0.03, 27, 36), (2.0, 2, 2)])
def test_a_thousand_rows_are_drawn_now_and_then_and_the_last_always(notebook, clock, cost, least, most):
    clock.cost, begin = cost, clock.now
    plot, run = LivePlot(), a_run()
    for _ in range(1000):
        clock.now += 0.01  # a step of the training
        grow(run)
        plot(run)
    assert least <= len(clock.drawn) <= most
    assert clock.drawn[0] == [1] and clock.drawn[-1] == [1000]
    if len(clock.drawn) > 2:  # the first and the last are drawn whatever they cost
        assert len(clock.drawn) * cost < 0.1 * (clock.now - begin)


@needs_ipython
@needs_widgets
def test_it_is_displayed_once_and_updated_in_place(notebook, clock):
    plot, run = LivePlot(), a_run()
    for i in range(3):
        clock.now += 1
        grow(run)
        plot(run)
        assert len(notebook.displayed) == 1
        assert plot._widget.value == f"picture {i + 1}".encode()
    assert set(notebook.displayed[0]) == {WIDGET, "text/plain"}
    assert notebook.displayed[0][WIDGET]["model_id"] == plot._widget.model_id
    assert (plot._widget.width, plot._widget.height) == ("1100", "400")  # the page keeps its place free


@needs_ipython
@needs_widgets
def test_a_still_picture_of_every_row_takes_its_place_when_the_cell_is_over(notebook, clock):
    plot, run = LivePlot(), a_run(rows=1)
    plot(run)
    words, widget = notebook.displayed[0]["text/plain"], plot._widget
    grow(run)
    plot(run)  # too soon to be drawn, and the training is interrupted here
    assert clock.drawn == [[1]]
    notebook.end_cell()
    assert clock.drawn == [[1], [2]]
    still = {"image/png": base64.b64encode(b"picture 2").decode(), "text/plain": WORDS}
    assert notebook.displayed == [still] and words == WORDS  # nbval compares the words
    assert widget.comm is None, "closed"
    assert notebook.callbacks == []
    clock.now += 1
    grow(run)
    plot(run)  # in the next cell
    assert notebook.displayed[0] == still and WIDGET in notebook.displayed[1]


@needs_ipython
@pytest.mark.parametrize("blocked", ["the name", "the import"])
def test_without_ipywidgets_only_the_still_picture_is_shown(notebook, monkeypatch, blocked):
    module = live_plot
    if blocked == "the import":
        monkeypatch.setitem(sys.modules, "ipywidgets", None)
        spec = importlib.util.spec_from_file_location("resnet_lesson.figures.without_widgets", live_plot.__file__)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(module, "notebook", live_plot.notebook)
    else:
        monkeypatch.setattr(live_plot, "ipywidgets", None)
    plot, run = module.LivePlot(), a_run(rows=5, total=5)
    plot(run)
    assert notebook.displayed == []
    notebook.end_cell()
    (still,) = notebook.displayed
    assert set(still) == {"image/png", "text/plain"}
    assert picture(base64.b64decode(still["image/png"])).shape == (400, 1100, 3)


def test_outside_a_notebook_nothing_is_drawn_but_the_figure_can_be(monkeypatch):
    monkeypatch.setattr(live_plot, "Canvas", lambda runs: pytest.fail("it drew"))
    sets = shapes10(16, seed=0), shapes10(16, seed=1)
    plot = LivePlot()
    run = train(build("plain8"), *sets, recipe("demo").scaled(2), progress=False, observers=[plot])
    assert len(plot.runs) == 1 and plot.runs[0] is run
    drawn = [list(line.get_ydata()) for ax in plot.figure.axes for line in ax.get_lines()]
    assert drawn == [run.column("train_error"), run.column("test_error")]
    with pytest.raises(ValueError, match="at least one run"):
        LivePlot().figure  # noqa: B018


def test_only_a_kernel_is_a_notebook(monkeypatch):
    def shell(**attributes):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(**attributes)))
        return live_plot.notebook()

    assert shell(kernel="a kernel") is not None
    assert shell() is None, "IPython in a terminal"
    monkeypatch.delitem(sys.modules, "IPython")
    assert live_plot.notebook() is None


def test_several_runs_share_the_axes_and_the_same_one_again_replaces_its_lines():
    plot = LivePlot()
    first, second, again = a_run("plain20", rows=40), a_run("plain56", rows=30), a_run("plain20", rows=1)
    for run in (first, second, first, second, again):
        plot(run)
    assert [id(run) for run in plot.runs] == [id(again), id(second)]
    plot(a_run("plain20", seed=1, rows=1))
    assert len(plot.runs) == 3
    assert [text.get_text() for text in plot.figure.legends[0].get_texts()] == ["plain-20", "plain-56"]


def test_the_axes_do_not_move_while_the_lines_grow():
    runs = [a_run(rows=40, total=400), a_run("plain56", rows=30, total=1000)]
    canvas = Canvas(runs)
    before, after = picture(canvas.draw()), None
    assert {ax.get_xlim() for ax in canvas.agg.figure.axes} == {(0, 102.0)}  # of 100 epochs
    while len(runs[1].history) < 1000:
        grow(runs[1])
    after = picture(canvas.draw())
    assert (before != after).any()
    width = before.shape[1]
    left = slice(None), slice(0, int(0.07 * width))  # the labels of the y axis; the curves begin right of them
    assert (before[left] == after[left]).all() and (before[-60:] == after[-60:]).all()
    blank = Canvas([a_run(rows=40, total=400), a_run("plain56", rows=1000)])
    assert np.abs(after - picture(blank.draw())).max() == 0, "something of the earlier lines is left"


def test_a_drawing_is_the_figure():
    runs = [a_run(rows=300, total=400), a_run("resnet56", rows=20, total=20)]
    file = io.BytesIO()
    plot = LivePlot()
    for run in runs:
        plot(run)
    plot.figure.savefig(file, format="png")
    difference = np.abs(picture(file.getvalue()) - picture(Canvas(runs).draw())).max(axis=-1)
    assert (difference > 8).mean() < 1e-3  # only where lines cross the axes, which here lie below them
    assert difference[:, 950:].max() == 0, "the legend"


@needs_ipython
@needs_widgets
def test_a_drawing_that_fails_is_said_once_and_the_training_goes_on(notebook, monkeypatch, capsys):
    def fails(canvas):
        raise OSError("no room")

    monkeypatch.setattr(Canvas, "draw", fails)
    sets = shapes10(16, seed=0), shapes10(16, seed=1)
    run = train(build("plain8"), *sets, recipe("demo").scaled(3), progress=False, observers=[LivePlot()])
    notebook.end_cell()
    assert run.status == "finished" and len(run.history) == 3
    said = capsys.readouterr().out
    assert said.count("LivePlot draws no more (OSError: no room). The training goes on") == 1 == said.count("\n")
    assert notebook.displayed == []


CELL = """from resnet_lesson import build, recipe, shapes10, train
from resnet_lesson.figures.live_plot import LivePlot
sets, plot = (shapes10(16, seed=0), shapes10(16, seed=1)), LivePlot()
for name in ("plain8", "resnet8"):
    train(build(name), *sets, recipe("demo").scaled(2), progress=False, observers=[plot])
"after the picture"
"""


@needs_widgets
def test_nbval_finds_it_stable(tmp_path):
    """Against what a committed notebook keeps: the picture and its words, where it grew, before the cell's value."""
    pytest.importorskip("nbval", reason="nbval is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    kept = [
        nbformat.v4.new_output("display_data", {"image/png": "", "text/plain": WORDS}),
        nbformat.v4.new_output("execute_result", {"text/plain": "'after the picture'"}, execution_count=1),
    ]
    cell = nbformat.v4.new_code_cell(CELL, outputs=kept, execution_count=1)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel}), tmp_path / "live.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    command += ["--nbval-sanitize-with", str(REPO / "tests" / "nbval_sanitize.cfg"), "live.ipynb"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0 and "1 passed" in ran.stdout, ran.stdout
