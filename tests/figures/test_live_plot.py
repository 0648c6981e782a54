"""LivePlot: drawn now and then and at the end, in place, as a picture that stays; never in the way of a training."""

import base64
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from resnet_lesson import build, recipe, recorded, shapes10, train
from resnet_lesson.figures import live_plot
from resnet_lesson.figures.live_plot import WORDS, LivePlot

SETS = shapes10(16, seed=0), shapes10(16, seed=1)


def a_run(name="plain20", **changes):
    """A recorded run, as if it had got no further than its first row."""
    run = recorded(f"short-{name}-seed0")
    return replace(run, status="running", history=run.history[:1], **changes)


@pytest.fixture
def notebook(monkeypatch, tmp_path):
    """A function that runs a cell in a notebook's IPython, with the names given, and returns all outputs so far."""
    interactiveshell = pytest.importorskip("IPython.core.interactiveshell", reason="IPython is not installed")
    from IPython.core.displaypub import CapturingDisplayPublisher

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # IPython puts its own there
    interactiveshell.InteractiveShell.clear_instance()
    shell = interactiveshell.InteractiveShell.instance()
    shell.kernel, shell.display_pub = "what a terminal has not", CapturingDisplayPublisher()

    def run_cell(source, **names):
        shell.user_ns.update(names)
        shell.run_cell(source).raise_error()
        shown = {}
        for output in shell.display_pub.outputs:
            place = output["transient"]["display_id"]
            assert (place in shown) == bool(output.get("update"))
            shown[place] = output["data"]
        return list(shown.values())

    yield run_cell
    interactiveshell.InteractiveShell.clear_instance()


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


CELL = """for _ in range(100):
    plot(run)
    clock.now += 0.125  # a step of the training"""


@pytest.mark.parametrize(("cost", "expected"), [(0.0, 26), (0.5, 8), (20.0, 2)])
def test_it_draws_twice_a_second_or_for_a_fifth_of_the_time_in_place_and_when_the_cell_is_over(
    notebook, clock, cost, expected
):
    clock.cost = cost
    names = dict(plot=LivePlot(), run=a_run(), clock=clock)
    shown = notebook(CELL, **names)
    assert clock.drawings == expected
    still = {"image/png": base64.b64encode(f"picture {expected}".encode()).decode(), "text/plain": WORDS}
    assert shown == [still]  # nbval compares the words
    assert len(notebook(CELL)) == 2 and len(notebook("1 + 1")) == 2  # each cell has a figure of its own


def test_outside_a_notebook_nothing_is_drawn_but_the_figure_can_be(monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: pytest.fail("it drew"))
    plot = LivePlot()
    run = train(build("plain8"), *SETS, recipe("demo").scaled(2), progress=False, observers=[plot])
    drawn = [list(line.get_ydata()) for ax in plot.figure.axes for line in ax.get_lines()]
    assert drawn == [run.column("train_error"), run.column("test_error")]


def test_several_runs_share_axes_that_do_not_move_and_the_same_one_again_replaces_its_lines():
    plot = LivePlot()
    for run in (a_run("plain20"), a_run("plain56"), a_run("plain20"), a_run("plain20", seed=1)):
        plot(run)
    before = plot.figure.axes[0]
    assert len(before.get_lines()) == 3
    plot(recorded("short-plain56-seed0"))  # with all its rows
    after = plot.figure.axes[0]
    assert len(after.get_lines()) == 3 and after.get_xlim() == before.get_xlim()


def test_a_drawing_that_fails_is_said_once_and_the_training_goes_on(notebook, monkeypatch, capsys):
    def fails(*_, **__):
        raise OSError("no room")

    monkeypatch.setattr(Figure, "savefig", fails)
    plot = LivePlot()
    assert notebook("plot(run)\nplot(run)", plot=plot, run=a_run()) == notebook("plot(run)") == []
    said = capsys.readouterr().out
    assert said.startswith("LivePlot could not draw (OSError: no room)") and said.count("\n") == 1
