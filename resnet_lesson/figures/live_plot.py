"""Error curves that grow in the notebook while a network trains, without any server.

The picture is an ipywidgets image (the `lab` extra), whose content is replaced in one message. When the cell is over,
an ordinary picture takes its place, which a saved notebook keeps. Without ipywidgets only that one is shown; outside
a notebook, nothing is.
"""

import base64
import io
import sys
from itertools import chain
from time import perf_counter

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave

from ..training.checkpoints import SAME
from ..training.runs import Run
from .curves import ERRORS, epochs, error_curves, marker

try:
    import ipywidgets
except ModuleNotFoundError:
    ipywidgets = None

WORDS = "LivePlot: training and test error by epoch"  # the same each time, so that nbval finds no difference
WIDGET = "application/vnd.jupyter.widget-view+json"


def notebook():
    """The IPython shell of the notebook that this runs in, or None outside of one."""
    ipython = sys.modules.get("IPython")  # a notebook's kernel has imported it
    shell = ipython and ipython.get_ipython()
    return shell if getattr(shell, "kernel", None) else None


def fixed(runs: list[Run]) -> list:
    """What a `Canvas` cannot change: its runs, and whether their rows are marked, in the legend too."""
    return [(id(run), marker(run)) for run in runs]


class Canvas:
    """`error_curves` of runs that still go on. All but the lines is drawn only once, for that is most of the work."""

    def __init__(self, runs: list[Run]):
        figure = error_curves(runs, planned=True)
        self.runs, self.drawn, self.agg = list(runs), fixed(runs), FigureCanvasAgg(figure)
        self.lines = [ax.get_lines() for ax in figure.axes]  # a list a panel, in it a line a run
        for line in chain(*self.lines):
            line.set_animated(True)  # left out of the ground
        self.agg.draw()
        self.ground = self.agg.copy_from_bbox(figure.bbox)

    def draw(self) -> bytes:
        """The picture with every row that there is now, as PNG."""
        self.agg.restore_region(self.ground)
        for column, lines in zip(ERRORS, self.lines, strict=True):
            for run, line in zip(self.runs, lines, strict=True):
                line.set_data(epochs(run, run.column("iteration")), run.column(column))
                line.axes.draw_artist(line)
        file = io.BytesIO()
        imsave(file, self.agg.buffer_rgba(), format="png", pil_kwargs={"compress_level": 1})
        return file.getvalue()


class LivePlot:
    """An observer of `train`, which draws the error curves of its runs while they grow. `runs`: those it has seen.

    plot = LivePlot()
    for name in ("plain20", "plain56"):  # both in the same axes
        train(build(name), *sets, record_every=8, observers=[plot])

    The same run again, for instance when its cell is executed again, replaces its earlier lines; `plot(run)` adds one
    that is over. Drawing takes at most about a tenth of the time: after a drawing it waits ten times as long as that
    took, and 0.1 s at least. The last row is always drawn. Should drawing fail, the training goes on without.
    """

    def __init__(self):
        self.runs: list[Run] = []
        self._canvas = self._widget = self._handle = None
        self._next = 0.0  # no drawing before this time
        self._failed = False

    @property
    def figure(self) -> Figure:
        """The curves so far, as a figure to show or save. Raises ValueError before the first row."""
        return error_curves(self.runs, planned=True)

    def __call__(self, run: Run) -> None:
        """Take up the run's newest row; draw it if it is time to, or the last one."""
        same = [i for i, old in enumerate(self.runs) if all(getattr(old, key) == getattr(run, key) for key in SAME)]
        if same:
            self.runs[same[0]] = run
        else:
            self.runs.append(run)
        shell = notebook()
        if shell is None or self._failed:
            return
        shell.events.register("post_execute", self._cell_is_over)  # once, however often it is called
        if perf_counter() >= self._next or run.history[-1]["iteration"] >= run.recipe["iterations"]:
            self._safely(self._show)

    def _lay_out(self) -> Canvas:
        if self._canvas is None or self._canvas.drawn != fixed(self.runs):
            self._canvas = Canvas(self.runs)
        return self._canvas

    def _show(self) -> None:
        if ipywidgets is None:
            return
        from IPython.display import display

        canvas, begin = self._lay_out(), perf_counter()  # laying out is not counted: it comes once a run
        picture = canvas.draw()
        if self._widget:
            self._widget.value = picture
        else:
            width, height = (str(side) for side in canvas.agg.get_width_height())  # so the page knows its size at once
            self._widget = ipywidgets.Image(value=picture, width=width, height=height, layout={"margin": "0"})
            view = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
            self._handle = display({WIDGET: view, "text/plain": WORDS}, raw=True, display_id=True)
        self._next = perf_counter() + max(0.1, 10 * (perf_counter() - begin))

    def _still(self) -> None:
        from IPython.display import display

        still = {"image/png": base64.b64encode(self._lay_out().draw()).decode(), "text/plain": WORDS}
        if self._widget:
            self._handle.update(still, raw=True)
            self._widget.close()
        else:
            display(still, raw=True)

    def _cell_is_over(self) -> None:
        notebook().events.unregister("post_execute", self._cell_is_over)
        self._safely(self._still)
        self._widget = None

    def _safely(self, draw) -> None:
        try:
            if not self._failed:
                draw()
        except Exception as error:  # hours of training are worth more than their picture
            self._failed = True
            why = f"{type(error).__name__}: {error}"
            print(f"LivePlot draws no more ({why}). The training goes on; error_curves([run]) can draw its rows later.")
