"""Error curves that grow in the notebook while a network trains, without a server.

The figure is shown once and then replaced, so a saved notebook keeps the last one. Outside a notebook, nothing is
shown.
"""

import sys
import time
from typing import Any

from ..training.runs import Run
from .curves import error_curves
from .style import png

WORDS = "LivePlot: training and test error by epoch"  # always the same, so that nbval finds no difference
SECONDS = 0.5  # the shortest time from one drawing to the next


def in_notebook() -> bool:
    """Whether this runs in a notebook's kernel, which has then imported IPython."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython and ipython.get_ipython(), "kernel")


class LivePlot:
    """An observer for `train` that draws the error curves of its runs while they grow, below the cell that trains.

    plot = LivePlot()
    for name in ("plain20", "plain56"):  # both in the same axes
        train(build(name), *sets, record_every=8, observers=[plot])

    It draws at most twice a second and for at most a fifth of the time, but always the last row of a run.
    """

    def __init__(self):
        self._runs: dict[int, Run] = {}
        self._shown: Any = None  # what can replace the figure
        self._next = 0.0  # no drawing before this time

    def __call__(self, run: Run) -> None:
        """Take in the run's newest row, and draw if it is time to."""
        self._runs[id(run)] = run  # which grows while it is trained
        last, begin = run.history[-1]["iteration"] == run.recipe["iterations"], time.monotonic()
        if not in_notebook() or (begin < self._next and not last):
            return
        from IPython.display import display

        picture = {"image/png": png(error_curves(list(self._runs.values()), planned=True)), "text/plain": WORDS}
        if self._shown is None:
            self._shown = display(picture, raw=True, display_id=True)
        else:
            self._shown.update(picture, raw=True)
        end = time.monotonic()
        self._next = end + max(SECONDS, 4 * (end - begin))
