"""LivePlot: drawn now and then and at the end, in place, as a picture that stays."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from resnet_lesson import build, recipe, recorded, shapes10, train
from resnet_lesson.figures import live_plot
from resnet_lesson.figures.live_plot import LivePlot


@pytest.fixture
def shown(monkeypatch):
    """What the notebook shows, one picture after another; each is the list of the runs that it was drawn from."""
    display = pytest.importorskip("IPython.display", reason="IPython is not installed")
    pictures = []

    def first(picture, raw, display_id):
        pictures.append(picture["image/png"])
        return SimpleNamespace(update=lambda picture, raw: pictures.append(picture["image/png"]))

    monkeypatch.setattr(live_plot, "in_notebook", lambda: True)
    monkeypatch.setattr(display, "display", first)
    monkeypatch.setattr(live_plot, "error_curves", lambda runs, planned: [len(run.history) for run in runs])
    monkeypatch.setattr(live_plot, "png", lambda figure: figure)
    return pictures


@pytest.mark.parametrize(("cost", "expected"), [(0.0, 25), (0.5, 7), (20.0, 1)])
def test_it_draws_twice_a_second_or_for_a_fifth_of_the_time_and_the_last_row(shown, monkeypatch, cost, expected):
    clock = SimpleNamespace(now=100.0)

    def drawing(figure):
        clock.now += cost
        return figure

    monkeypatch.setattr(live_plot, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(live_plot, "png", drawing)
    plot, whole = LivePlot(), recorded("short-plain20-seed0")
    begun = replace(whole, history=whole.history[:1])
    for _ in range(100):
        plot(begun)
        clock.now += 0.125  # a step of the training
    assert shown == [[1]] * expected
    plot(whole)
    assert shown[-1] == [1, len(whole.history)]  # all rows, beside the other run


def test_a_training_is_drawn_in_a_notebook_and_only_there(shown, monkeypatch):
    sets, plot = (shapes10(16, seed=0), shapes10(16, seed=1)), LivePlot()
    for _ in range(2):
        train(build("plain8"), *sets, recipe("demo").scaled(2), progress=False, observers=[plot])
    assert shown[-1] == [2, 2]
    monkeypatch.setattr(live_plot, "in_notebook", lambda: False)
    train(build("plain8"), *sets, recipe("demo").scaled(2), progress=False, observers=[plot])
    assert shown[-1] == [2, 2]
