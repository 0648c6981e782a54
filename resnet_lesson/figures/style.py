"""One style for all of the course's figures: plain networks are dashed and warm, residual ones solid and cool, deeper
ones thicker. The relatives of notebook 09 are solid too, each with a colour and a marker of its own. The colours are
safe for colour-blind eyes and differ in grey, and the background is white, so that figures look the same in a light and
in a dark notebook."""

import base64
import functools
import io
import re
from collections.abc import Callable, Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from .fonts import legible

PLAIN = ("#e69f00", "#b03a00")  # shallow, deep
RESIDUAL = ("#56b4e9", "#00467f")
KINDS = {  # what a network's name matches: its colours, shallow and deep, and its marker
    r"plain\d+": (PLAIN, "o"),
    r"resnet\d+": (RESIDUAL, "o"),
    r"preresnet\d+": (("#3fc1a0", "#00604a"), "s"),
    r"seresnet\d+": (("#c39bd9", "#5b2a86"), "^"),
    r"sdresnet\d+": (("#a8a8a8", "#444444"), "D"),
    r"resnet\d+d": (("#e58fc0", "#8e1f5f"), "v"),
    r".*resnext.*": (("#7fcf6a", "#1f6b1a"), "P"),
    r"wrn.*|wide_resnet.*": (("#d8a48f", "#7a3b2e"), "X"),
    r"lab10_6": (("#8f9be0", "#2f3b8f"), "*"),
}
OTHERS = ("#b0b0b0", "#000000"), "h"  # for the reader's own networks
SPARE = "p<>d8H"  # markers that belong to no kind
STYLE = {
    "figure.facecolor": "white",
    "figure.dpi": 100,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "font.size": 11,
    "legend.frameon": False,
}


def depth(name: str) -> int:
    """The number of layers in a network's name; 50 if it contains none, because lab10_6 has 50.

    >>> depth("plain56"), depth("wrn28_10"), depth("lab10_6")
    (56, 28, 50)
    """
    found = re.search(r"(?:plain|resnet|resnext|wrn)(\d+)", name)
    return int(found[1]) if found else 50


def _kind(name: str) -> tuple[tuple[str, str], str]:
    return next((kind for pattern, kind in KINDS.items() if re.fullmatch(pattern, name)), OTHERS)


def line_style(name: str) -> dict:
    """How to draw a network of that name: its kind decides colour and dashes; deeper ones are darker and thicker."""
    shallow, deep = (np.array(to_rgb(colour)) for colour in _kind(name)[0])
    layers = np.log(depth(name))
    between = zip(shallow, deep, 0.3 * deep, strict=True)
    return {
        "color": to_hex([np.interp(layers, np.log([20, 56, 1001]), channel) for channel in between]),
        "linestyle": "--" if name.startswith("plain") else "-",
        "linewidth": round(float(np.interp(layers, np.log([8, 20, 56, 1001]), [1.0, 1.6, 2.8, 6.0])), 2),
    }


def styles(names: Iterable[str]) -> dict[str, dict]:
    """`line_style` and a marker for each name in a figure, so that no two lines differ in their colour alone."""
    found: dict[str, dict] = {}
    for name in dict.fromkeys(names):
        style = {**line_style(name), "marker": _kind(name)[1]}
        same_dashes = [other for other in found.values() if other["linestyle"] == style["linestyle"]]
        taken = [other["marker"] for other in same_dashes if abs(other["linewidth"] - style["linewidth"]) < 1]
        if style["marker"] in taken:
            style["marker"] = next((marker for marker in SPARE if marker not in taken), style["marker"])
        found[name] = style
    return found


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """`draw` in the course's style. Its figure is returned, not shown, so that a cell that ends in it shows it once."""

    @functools.wraps(draw)
    def drawn(*args, **kwargs) -> Figure:
        with plt.rc_context(STYLE):
            figure = legible(draw(*args, **kwargs))
        plt.close(figure)
        return figure

    return drawn


def panels(titles: Sequence[str], width: float, height: float, beside: float = 0.0) -> tuple[Figure, list[Axes]]:
    """Begin a figure: one panel of that size (in inches) per title, side by side on the same scale.

    beside: the space for the legend, in inches.
    """
    size = (width * len(titles) + beside, height)
    figure, axes = plt.subplots(1, len(titles), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    return figure, list(axes[0])


def finish(figure: Figure, ylabel: str, percent: bool = True) -> Figure:
    """Finish the figure that `panels` began: name the y axis and, on the right, each line that has a label once.

    percent: write errors from 0 to 1 in percent.
    """
    figure.axes[0].set_ylabel(ylabel)
    named: dict = {}
    for ax in figure.axes:
        if percent:
            ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
        for line, name in zip(*ax.get_legend_handles_labels(), strict=True):
            named.setdefault(name, line)
    if named:
        figure.legend(named.values(), named.keys(), loc="outside right center")
    return figure


def dots_and_means(ax: Axes, points: Sequence[tuple[float, float]], marker="o", ms=5.0, alpha=0.8, **line) -> None:
    """A dot for each point (x, y), to show the spread over seeds, and a line through the means at each x."""
    if points:
        xs = sorted({x for x, _ in points})
        ax.plot(*zip(*points, strict=True), marker, ms=ms, color=line["color"], alpha=alpha)
        ax.plot(xs, [np.mean([y for x, y in points if x == one]) for one in xs], **line)


def noted(figure: Figure, note: str) -> Figure:
    """The figure with a line of small print below it that says where its numbers come from."""
    figure.supxlabel(note, fontsize=9, color="#444444")
    return figure


def png(figure: Figure) -> str:
    """The figure as a PNG in base64, which Jupyter and HTML accept."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return base64.b64encode(file.getvalue()).decode()
