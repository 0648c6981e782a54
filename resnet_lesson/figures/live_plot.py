"""Error curves that grow in the notebook while a network trains, without any server.

The figure is shown once and then replaced, so that a saved notebook keeps the last one. Outside a notebook nothing is
shown.
"""

import math
import sys
import time

from matplotlib.figure import Figure

from ..training.checkpoints import SAME
from ..training.runs import Run
from .curves import error_curves
from .style import png

WORDS = "LivePlot: training and test error by epoch"  # the same each time, so that nbval finds no difference
SECONDS = 0.5  # at least, from one drawing to the next


def _notebook():
    """The IPython shell of the notebook that this runs in, or None outside of one."""
    ipython = sys.modules.get("IPython")  # a notebook's kernel has imported it
    shell = ipython and ipython.get_ipython()
    return shell if getattr(shell, "kernel", None) else None


class LivePlot:
    """An observer of `train`, which draws the error curves of its runs while they grow.

    plot = LivePlot()
    for name in ("plain20", "plain56"):  # both in the same axes
        train(build(name), *sets, record_every=8, observers=[plot])

    The same run again, for instance when its cell is executed again, replaces its earlier lines. It draws at most twice
    a second and for at most a fifth of the time, and once more when the cell is over. Should drawing fail, the training
    goes on without.
    """

    def __init__(self):
        self._runs: dict[str, Run] = {}
        self._shown = None  # what can replace the figure that this cell has shown
        self._next = 0.0  # no drawing before this time

    @property
    def figure(self) -> Figure:
        """The curves so far, as a figure to show or save. Raises ValueError before the first row."""
        return error_curves(list(self._runs.values()), planned=True)

    def __call__(self, run: Run) -> None:
        """Take up the run's newest row, and draw it if it is time to."""
        self._runs[str([getattr(run, name) for name in SAME])] = run
        shell = _notebook()
        if shell is not None:
            shell.events.register("post_execute", self._cell_is_over)  # once, however often it is called
            if time.monotonic() >= self._next:
                self._draw()

    def _draw(self) -> None:
        from IPython.display import display

        begin = time.monotonic()
        try:
            picture = {"image/png": png(self.figure), "text/plain": WORDS}
            if self._shown is None:
                self._shown = display(picture, raw=True, display_id=True)
            else:
                self._shown.update(picture, raw=True)
        except Exception as error:  # hours of training are worth more than their picture
            print(f"LivePlot could not draw ({type(error).__name__}: {error}). error_curves([run]) can do it later.")
            self._next = math.inf
        else:
            end = time.monotonic()
            self._next = end + max(SECONDS, 4 * (end - begin))

    def _cell_is_over(self) -> None:
        """Draw every row there is; the next cell shows a figure of its own."""
        _notebook().events.unregister("post_execute", self._cell_is_over)
        if self._next < math.inf:
            self._draw()
            self._shown, self._next = None, 0.0
