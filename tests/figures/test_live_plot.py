"""LivePlot: drawn now and then and at the end, in place, as a picture that stays; never in the way of a training."""

import base64
import subprocess
import sys
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure
from support.paths import REPO

from resnet_lesson import Run, build, recipe, shapes10, train
from resnet_lesson.figures import live_plot
from resnet_lesson.figures.live_plot import WORDS, LivePlot

pytest.importorskip("IPython", reason="IPython is not installed")


def a_run(name="plain20", rows=0, total=1000, seed=0):
    """A run of `total` iterations with a row for each of the first `rows`; an epoch is 10 iterations."""
    run = Run(
        network={"name": name, "seed": seed, "options": {}},
        recipe={"name": "demo", "iterations": total, "batch_size": 64},
        data={"name": "shapes10", "train": {"images": 640}},
        seed=seed,
        precision="float32",
        threads=1,
        machine={"hardware": "none"},
        live=True,
    )
    while len(run.history) < rows:
        grow(run)
    return run


def grow(run):
    done = len(run.history) + 1
    run.history.append({"epoch": -(-done // 10), "iteration": done, "train_error": 0.9 / done, "test_error": 0.5})


@pytest.fixture
def notebook(monkeypatch):
    """What a notebook does for LivePlot: `displayed` outputs as they are now, and `end_cell()`."""
    callbacks, displayed = [], []

    def display(data, raw, display_id):
        assert raw and display_id
        displayed.append(data)
        index = len(displayed) - 1
        return SimpleNamespace(update=lambda data, raw: displayed.__setitem__(index, data))

    def end_cell():
        for callback in list(callbacks):
            callback()

    events = SimpleNamespace(
        register=lambda event, call: callbacks.append(call) if call not in callbacks else None,
        unregister=lambda event, call: callbacks.remove(call),
    )
    monkeypatch.setattr(live_plot, "notebook", lambda: SimpleNamespace(events=events))
    monkeypatch.setattr("IPython.display.display", display)
    return SimpleNamespace(displayed=displayed, end_cell=end_cell)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when told to: by `cost` seconds for a drawing. `drawings`: how many there were."""
    clock = SimpleNamespace(now=100.0, cost=0.0, drawings=0)

    def savefig(figure, file, **options):
        clock.now += clock.cost
        clock.drawings += 1
        file.write(f"picture {clock.drawings}".encode())

    monkeypatch.setattr(live_plot, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(Figure, "savefig", savefig)
    return clock


def seen(output):
    assert set(output) == {"image/png", "text/plain"} and output["text/plain"] == WORDS  # nbval compares the words
    return base64.b64decode(output["image/png"]).decode()


@pytest.mark.parametrize(("cost", "expected"), [(0.0, 20), (0.5, 5), (20.0, 2)])
def test_rows_are_drawn_twice_a_second_or_for_a_fifth_of_the_time_in_place_and_all_at_the_end(
    notebook, clock, cost, expected
):
    clock.cost = cost
    plot, run = LivePlot(), a_run()
    for _ in range(100):
        grow(run)
        plot(run)
        clock.now += 0.1  # a step of the training
    notebook.end_cell()
    assert expected <= clock.drawings <= expected + 1
    assert [seen(output) for output in notebook.displayed] == [f"picture {clock.drawings}"]
    plot(run)  # in the next cell, a figure of its own
    assert len(notebook.displayed) == 2


def test_outside_a_notebook_nothing_is_drawn_but_the_figure_can_be(monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: pytest.fail("it drew"))
    sets = shapes10(16, seed=0), shapes10(16, seed=1)
    plot = LivePlot()
    run = train(build("plain8"), *sets, recipe("demo").scaled(2), progress=False, observers=[plot])
    drawn = [list(line.get_ydata()) for ax in plot.figure.axes for line in ax.get_lines()]
    assert drawn == [run.column("train_error"), run.column("test_error")]
    with pytest.raises(ValueError, match="at least one run"):
        LivePlot().figure  # noqa: B018


def test_several_runs_share_axes_that_do_not_move_and_the_same_one_again_replaces_its_lines():
    plot = LivePlot()
    first, second, again = a_run("plain20", rows=40), a_run("plain56", rows=30), a_run("plain20", rows=1)
    for run in (first, second, first, second, again):
        plot(run)
    assert [id(run) for run in plot.runs] == [id(again), id(second)]
    plot(a_run("plain20", seed=1, rows=1))
    assert len(plot.runs) == 3
    assert [text.get_text() for text in plot.figure.legends[0].get_texts()] == ["plain-20", "plain-56"]
    assert {ax.get_xlim() for ax in plot.figure.axes} == {(0, 102.0)}  # of 100 epochs


def test_a_drawing_that_fails_is_said_once_and_the_training_goes_on(notebook, monkeypatch, capsys):
    def fails(*_, **__):
        raise OSError("no room")

    monkeypatch.setattr(Figure, "savefig", fails)
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


def test_in_a_real_notebook_one_picture_stays_and_nbval_finds_it_stable(tmp_path):
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
