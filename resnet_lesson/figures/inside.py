"""Figures of what is inside a trained network: loss surfaces and lesions, in the style of `plots`."""

import math
from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from ..inside.landscape import Surface
from ..inside.record import Inside
from ..models.networks import label
from .style import STYLE, line_style

COLOURS = "viridis"  # even steps for colour-blind eyes and in grey


def noted(figure: Figure, note: str) -> Figure:
    """The figure with a line of small print below: where its numbers come from."""
    figure.supxlabel(note, fontsize=9, color="#444444")
    return figure


def provenance(found: Sequence[Inside]) -> str:
    """Of which recorded networks and images measurements are: the line under their figure."""
    data = {one.about["data"]["name"] for one in found}
    machines = {one.about["machine"]["hardware"] for one in found}
    runs = ", ".join(one.about["run"] for one in found)
    return f"Recorded · {', '.join(sorted(data))} · {runs} · {', '.join(sorted(machines))}"


def scale_of(surfaces: Sequence[Surface]) -> LogNorm:
    """One logarithmic colour scale, from the lowest to the highest loss of all these surfaces."""
    losses = np.concatenate([np.empty(0), *(one.loss.numpy().ravel() for one in surfaces)])
    if not losses.size or not np.isfinite(losses).all() or losses.min() <= 0:
        raise ValueError("A logarithmic scale needs finite losses above 0: compute the surface with a smaller span.")
    return LogNorm(losses.min(), losses.max())


def contours(surfaces: Mapping[str, Surface], columns: int = 4) -> Figure:
    """Loss surfaces side by side as contour lines, on the same logarithmic colour scale; a cross marks the network.

    Neighbouring lines are everywhere the same factor in the loss apart: 1.19 (four of them make 2), 1.41 or 2.
    Raises ValueError for a line, which has no surface.
    """
    scale = scale_of(list(surfaces.values()))
    _check_planes(surfaces.values())
    columns = min(columns, len(surfaces))
    rows = math.ceil(len(surfaces) / columns)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(3 * columns + 0.6, 3.1 * rows), squeeze=False, layout="constrained"
        )
        for ax, (title, one) in zip(axes.flat, surfaces.items(), strict=False):
            _contour(ax, one, scale)
            ax.set_title(title, fontsize=11)
        for ax in axes.flat[len(surfaces) :]:
            ax.axis("off")
        bar = figure.colorbar(plt.cm.ScalarMappable(scale, COLOURS), ax=axes, shrink=0.9, label="loss")
        _loss_ticks(bar.ax.yaxis, scale.vmin, scale.vmax)
    plt.close(figure)
    return figure


def _check_planes(surfaces: Iterable[Surface]) -> None:
    if any(len(one.b) < 2 for one in surfaces):
        raise ValueError("This surface is a line: draw it with `slices`.")


def _contour(ax: Axes, one: Surface, scale: LogNorm) -> None:
    doublings = math.log2(scale.vmax / scale.vmin)
    lines = 4 if doublings < 8 else 2 if doublings < 16 else 1  # for each doubling of the loss
    steps = np.arange(math.floor(lines * math.log2(scale.vmin)), math.ceil(lines * math.log2(scale.vmax)) + 1)
    x, y, loss = one.a.numpy(), one.b.numpy(), one.loss.numpy()
    ax.pcolormesh(x, y, loss, norm=scale, cmap=COLOURS, shading="gouraud", rasterized=True)
    ax.contour(x, y, loss, levels=2.0 ** (steps / lines), colors="white", linewidths=0.6)
    ax.plot(0, 0, marker="+", ms=10, mew=2, color="white")
    ax.set(aspect="equal", xlabel="a", ylabel="b", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    ax.set(xticks=(x[0], 0, x[-1]), yticks=(y[0], 0, y[-1]))
    ax.grid(False)


def _between(low: float, high: float) -> list[float]:
    """Round numbers from low to high, about equally far apart on a log scale; the two ends where there are none."""
    steps = (1, 2, 5) if high / low > 5 else (1, 1.5, 2, 3, 5, 7)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [tick for power in powers for step in steps if low <= (tick := step * 10.0**power) <= high]
    return ticks if len(ticks) > 1 else [low, high]


def _loss_ticks(axis: Axis, low: float, high: float) -> None:
    ticks = _between(low, high)
    axis.set_ticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axis.set_minor_locator(NullLocator())


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One entry for each name of any panel."""
    named = {name: line for ax in axes for line, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside right center")


def slices(panels: Mapping[str, Mapping[str, Surface]]) -> Figure:
    """The loss along lines (the rows b = 0 of surfaces), on a log scale.

    panels: {title: {network name: surface or line}}, a panel each title, in it a line each name.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(panels), figsize=(4.2 * len(panels) + 1, 3.6), sharey=True, squeeze=False, layout="constrained"
        )
        for ax, (title, lines) in zip(axes[0], panels.items(), strict=True):
            for name, one in lines.items():
                ax.plot(one.a, one.loss[len(one.b) // 2], label=label(name), **line_style(name))
            ax.set(title=title, xlabel="a: step, in filter lengths", yscale="log")
            _loss_ticks(ax.yaxis, *ax.get_ylim())
        axes[0, 0].set_ylabel("loss")
        _legend(figure, axes[0])
    plt.close(figure)
    return figure


def surface_view(
    one: Surface, title: str = "", azimuth: float = -60, height: float = 35, cut: float = 0.0, scale: LogNorm = None
) -> Figure:
    """A surface three times: in space, from above, and along the line b = `cut`, all with the loss on a log scale.

    azimuth, height: where the eye is, in degrees. cut: -1 to 1; the nearest computed row is taken.
    scale: as `scale_of` makes it, for several surfaces; by default this one's own.
    """
    scale = scale or scale_of([one])
    _check_planes([one])
    row = int((one.b - cut).abs().argmin())
    a, b, loss = one.a.numpy(), one.b.numpy(), one.loss.numpy()
    low, high = math.log10(scale.vmin), math.log10(scale.vmax)
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(11, 3.8), layout="constrained")
        space = figure.add_subplot(1, 3, 1, projection="3d")
        x, y = np.meshgrid(a, b)
        space.plot_surface(
            x, y, np.log10(loss), facecolors=plt.get_cmap(COLOURS)(scale(loss)), rcount=99, ccount=99, shade=False
        )
        space.plot(a, a * 0 + b[row], np.log10(loss[row]), color="red", lw=2, zorder=10)
        space.view_init(height, azimuth)
        ticks = _between(scale.vmin, scale.vmax)
        space.set(xlabel="a", ylabel="b", zlim=(low, high), title=f"loss of {title}")
        space.set_zticks([math.log10(tick) for tick in ticks], [f"{tick:g}" for tick in ticks])
        above = figure.add_subplot(1, 3, 2)
        _contour(above, one, scale)
        above.axhline(b[row], color="red", lw=1.5)
        above.set_title("from above")
        line = figure.add_subplot(1, 3, 3)
        line.plot(a, loss[row], color="red")
        line.set(
            title=f"along b = {b[row]:.2f}", xlabel="a", ylabel="loss", yscale="log", ylim=(scale.vmin, scale.vmax)
        )
        _loss_ticks(line.yaxis, scale.vmin, scale.vmax)
    figure.set_label(f"{title}: its loss surface in space, from above, and along b = {b[row]:.2f}")
    plt.close(figure)
    return figure


def dropped_blocks(found: Mapping[str, Mapping[str, float]], whole: Mapping[str, float], chance: float = 0.9) -> Figure:
    """The error without each block: a panel each network name, a bar each block, first block left.

    found: error (0 to 1) by block; whole: error of the whole network. The first block of each stage is hatched.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(found), figsize=(4.6 * len(found), 3.4), sharey=True, squeeze=False, layout="constrained"
        )
        for ax, (name, errors) in zip(axes[0], found.items(), strict=True):
            style = line_style(name)
            bars = ax.bar(range(len(errors)), errors.values(), color=style["color"], width=0.7)
            for bar, block in zip(bars, errors, strict=True):
                if block.endswith(".0"):
                    bar.set(hatch="///", edgecolor="white")
            ax.axhline(whole[name], color="black", lw=1.5, label="the whole network")
            ax.axhline(chance, color="black", lw=1, ls=":", label="guessing")
            ax.set(title=label(name), xlabel="block taken out, first one left", ylim=(0, 1), xticks=[])
            ax.set_axisbelow(True)
            ax.yaxis.set_major_formatter(PercentFormatter(1))
        axes[0, 0].set_ylabel("wrong answers")
        _legend(figure, axes[0])
    plt.close(figure)
    return figure


def lesion_curves(panels: Mapping[str, Mapping[str, tuple[float, Mapping]]]) -> Figure:
    """Error against how many blocks are taken out or exchanged: a panel each title, in it a line each network name.

    panels: {title: {network name: (error of the whole network, {"counts": ..., "errors": draws for each count})}}.
    A dot each draw, a line through the means, from the whole network on.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(panels), figsize=(4.6 * len(panels) + 1, 3.4), sharey=True, squeeze=False, layout="constrained"
        )
        for ax, (title, networks) in zip(axes[0], panels.items(), strict=True):
            for name, (whole, random) in networks.items():
                counts, errors = [0, *random["counts"]], [[whole], *random["errors"]]
                style = line_style(name)
                for count, draws in zip(counts, errors, strict=True):
                    ax.plot([count] * len(draws), draws, "o", ms=2.5, color=style["color"], alpha=0.6)
                ax.plot(counts, [np.mean(draws) for draws in errors], label=label(name), **style)
            ax.set(title=title, xlabel="how many", ylim=(0, 1))
            ax.yaxis.set_major_formatter(PercentFormatter(1))
        axes[0, 0].set_ylabel("wrong answers")
        _legend(figure, axes[0])
    plt.close(figure)
    return figure
