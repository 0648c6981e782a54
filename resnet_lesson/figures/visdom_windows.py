"""Loss and error in visdom's windows while a network trains, as in Lab 10-6.

`python -m resnet_lesson visdom` starts the server. This module sends what visdom's own client would send. It does not
use that client, which has no time limit and prints 70 lines if no server is running; so visdom need not be installed
where training runs.
Source: `_send` in visdom's README, and https://plotly.com/javascript/reference for what is sent.
"""

import json
import math
import time

import requests
from tqdm.auto import tqdm

from ..models.networks import label
from ..training.runs import Run
from .style import PLAIN, RESIDUAL

PORT = 8097  # visdom's own
ENVIRONMENT = "resnet_lesson"
PATIENCE = 2.0  # for how many seconds a server may be silent before training goes on without it
PAUSE = 10.0  # after how many seconds a server that did not answer is tried again
AXES = {"loss": {"title": "cross-entropy"}, "error": {"title": "wrong answers", "tickformat": ".0%"}}


class VisdomWindows:
    """An observer for `train` that draws a run's loss and error in two windows of the visdom server on this computer.

    The windows are named "NAME loss" and "NAME error" after the run, so that several runs appear side by side. Each
    window is always redrawn completely, so nothing is missing if the server was started late or the training was
    resumed. Drawing takes at most a fiftieth of the time. If the server is missing, stopped or stuck, one line says so;
    training goes on, and tries again now and then.
    """

    def __init__(self, port: int = PORT):
        self.address = f"http://localhost:{port}"
        self._start = "python -m resnet_lesson visdom" + (f" --port {port}" if port != PORT else "")
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy for the internet knows nothing of this computer
        self._missed = False
        self._next = 0.0  # no drawing before this time

    def __call__(self, run: Run) -> None:
        """Draw the run's history, unless it was drawn or tried a moment ago; the last row is always drawn."""
        begin = time.monotonic()
        if begin < self._next and run.history[-1]["iteration"] < run.recipe["iterations"]:
            return
        try:
            for name, window in windows(run).items():
                self._send(name, window)
            self._missed = False
        except requests.RequestException:
            if not self._missed:
                tqdm.write(f"No visdom at {self.address}: training goes on. To see the curves, run `{self._start}`.")
            self._missed = True
        end = time.monotonic()
        self._next = end + (PAUSE if self._missed else 50 * (end - begin))

    def _send(self, name: str, window: dict) -> None:
        body = json.dumps({"win": name, "eid": ENVIRONMENT, **window})
        answer = self._session.post(f"{self.address}/events", data=body, timeout=PATIENCE)
        if answer.text != name:  # visdom answers with the window's name
            raise requests.RequestException("another program answers")


def windows(run: Run) -> dict[str, dict]:
    """What visdom is to draw for a run: by window name, plotly's traces ("data") and "layout", and visdom's "opts"."""
    plain = run.network["name"].startswith("plain")
    found = {}
    for quantity, axis in AXES.items():
        title = f"{label(run.network['name'])} {quantity} · {run.recipe['name']} · {'live' if run.live else 'recorded'}"
        traces = [
            {
                "type": "scatter",
                "name": name,
                "x": run.column("iteration"),
                # JSON has no infinity: if a value is not finite, the line has a gap.
                "y": [y if math.isfinite(y) else None for y in run.column(f"{column}_{quantity}")],
                "mode": "lines+markers",  # a single point makes no line
                "line": {"color": color, "width": 2, "dash": "dash" if plain else "solid"},
                "marker": {"size": 5},
            }
            for name, column, color in zip(
                ("training", "test"), ("train", "test"), PLAIN if plain else RESIDUAL, strict=True
            )
        ]
        layout = {
            "title": title,
            "xaxis": {"title": "iteration", "rangemode": "tozero"},
            "yaxis": {"rangemode": "tozero", **axis},
            "margin": {"l": 60, "r": 20, "t": 60, "b": 60},
            "legend": {"x": 1, "y": 1, "xanchor": "right"},  # inside: beside the axes it takes a third of the width
        }
        found[f"{run.name} {quantity}"] = {"data": traces, "layout": layout, "opts": {"title": title}}
    return found
