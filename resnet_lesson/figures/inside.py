"""Figures of what is inside a trained network: loss surfaces and lesions."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ..inside.landscape import Surface
from ..inside.record import Inside
from ..models.networks import label
from .style import dots_and_means, finish, line_style, noted, panels, styled

__all__ = ["contours", "dropped_blocks", "lesion_curves", "noted", "provenance", "scale_of", "slices", "surface_view"]

COLOURS = "viridis"  # even steps for colour-blind eyes and in grey


def provenance(found: Sequence[Inside]) -> str:
    """Which recorded networks, data and machines measurements come from: the line under their figure."""
    data = {one.about["data"]["name"] for one in found}
    machines = {one.about["machine"]["hardware"] for one in found}
    runs = ", ".join(one.about["run"] for one in found)
    return f"Recorded · {', '.join(sorted(data))} · {runs} · {', '.join(sorted(machines))}"


def scale_of(surfaces: Sequence[Surface]) -> LogNorm:
    """One logarithmic colour scale, from the lowest to the highest loss of all these surfaces.

    Raises ValueError for a loss that has no logarithm.
    """
    losses = np.concatenate([np.empty(0), *(one.loss.numpy().ravel() for one in surfaces)])
    if not losses.size or not np.isfinite(losses).all() or losses.min() <= 0:
        raise ValueError("A logarithmic scale needs finite losses above 0: compute the surface with a smaller span.")
    return LogNorm(losses.min(), losses.max())


@styled
def contours(surfaces: Mapping[str, Surface]) -> Figure:
    """Loss surfaces side by side as contour lines, on the same logarithmic colour scale; a cross marks the network.

    From each line to the next the loss changes by the same factor: 1.19 (four of them make 2), 1.41 or 2.
    """
    scale = scale_of(list(surfaces.values()))
    columns = min(4, len(surfaces))
    rows = math.ceil(len(surfaces) / columns)
    size = (3 * columns + 0.6, 3.1 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for ax, (title, one) in zip(axes.flat, surfaces.items(), strict=False):
        _contour(ax, one, scale)
        ax.set_title(title, fontsize=11)
    for ax in axes.flat[len(surfaces) :]:
        ax.axis("off")
    bar = figure.colorbar(plt.cm.ScalarMappable(scale, COLOURS), ax=axes, shrink=0.9, label="loss")
    _loss_ticks(bar.ax.yaxis, scale.vmin, scale.vmax)
    return figure


def _contour(ax: Axes, one: Surface, scale: LogNorm) -> None:
    x, y, loss = one.a.numpy(), one.b.numpy(), one.loss.numpy()
    low, high = math.log2(scale.vmin), math.log2(scale.vmax)
    lines = 4 if high - low < 8 else 2 if high - low < 16 else 1  # for each doubling of the loss
    steps = np.arange(math.floor(lines * low), math.ceil(lines * high) + 1)
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


@styled
def slices(found: Mapping[str, Mapping[str, Surface]]) -> Figure:
    """The loss along lines (the rows b = 0 of surfaces), on a log scale: {panel title: {network name: surface}}."""
    figure, axes = panels(list(found), 4.2, 3.6, beside=1)
    for ax, surfaces in zip(axes, found.values(), strict=True):
        for name, one in surfaces.items():
            ax.plot(one.a, one.loss[len(one.b) // 2], label=label(name), **line_style(name))
        ax.set(xlabel="a: step, in filter lengths", yscale="log")
        _loss_ticks(ax.yaxis, *ax.get_ylim())
    return finish(figure, "loss", percent=False)


@styled
def surface_view(one: Surface, title: str, azimuth: float, height: float, cut: float, scale: LogNorm) -> Figure:
    """A surface three times: in space, from above, and along the line b = `cut`, all with the loss on a log scale.

    azimuth, height: where the eye is, in degrees. cut: -1 to 1; the nearest computed row is taken.
    scale: as `scale_of` makes it.
    """
    a, b, loss = one.a.numpy(), one.b.numpy(), one.loss.numpy()
    row = int(np.abs(b - cut).argmin())
    figure = plt.figure(figsize=(11, 3.8), layout="constrained")
    space = figure.add_subplot(1, 3, 1, projection="3d")
    colours = plt.get_cmap(COLOURS)(scale(loss))
    space.plot_surface(*np.meshgrid(a, b), np.log10(loss), facecolors=colours, rcount=99, ccount=99, shade=False)
    space.plot(a, a * 0 + b[row], np.log10(loss[row]), color="red", lw=2, zorder=10)
    space.view_init(height, azimuth)
    space.set(xlabel="a", ylabel="b", zlim=np.log10([scale.vmin, scale.vmax]), title=f"loss of {title}")
    ticks = _between(scale.vmin, scale.vmax)
    space.set_zticks(np.log10(ticks), [f"{tick:g}" for tick in ticks])

    above = figure.add_subplot(1, 3, 2, title="from above")
    _contour(above, one, scale)
    above.axhline(b[row], color="red", lw=1.5)
    along = figure.add_subplot(1, 3, 3, title=f"along b = {b[row]:.2f}", xlabel="a", ylabel="loss")
    along.plot(a, loss[row], color="red")
    along.set(yscale="log", ylim=(scale.vmin, scale.vmax))
    _loss_ticks(along.yaxis, scale.vmin, scale.vmax)
    figure.set_label(f"{title}: its loss surface in space, from above, and along b = {b[row]:.2f}")
    return figure


@styled
def dropped_blocks(found: Mapping[str, Mapping[str, float]], whole: Mapping[str, float]) -> Figure:
    """The error without each block: a panel per network name, a bar per block, first block left.

    found: error (0 to 1) by block; whole: error of the whole network. The first block of each stage is hatched.
    """
    figure, axes = panels([label(name) for name in found], 4.6, 3.4)
    for ax, (name, errors) in zip(axes, found.items(), strict=True):
        bars = ax.bar(range(len(errors)), errors.values(), color=line_style(name)["color"], width=0.7)
        for bar, block in zip(bars, errors, strict=True):
            if block.endswith(".0"):
                bar.set(hatch="///", edgecolor="white")
        ax.axhline(whole[name], color="black", lw=1.5, label="the whole network")
        ax.axhline(0.9, color="black", lw=1, ls=":", label="guessing")
        ax.set(xlabel="block taken out, first one left", ylim=(0, 1), xticks=[])
        ax.set_axisbelow(True)
    return finish(figure, "wrong answers")


@styled
def lesion_curves(lesions: Mapping[str, Mapping[str, tuple[float, Mapping]]]) -> Figure:
    """Error against how many blocks are taken out or exchanged, a dot per draw and a line through the means.

    lesions: {title: {network name: (error of the whole network, {"counts": ..., "errors": draws for each count})}}.
    """
    figure, axes = panels(list(lesions), 4.6, 3.4, beside=1)
    for ax, networks in zip(axes, lesions.values(), strict=True):
        for name, (whole, random) in networks.items():
            draws = zip(random["counts"], random["errors"], strict=True)
            points = [(0, whole), *((count, error) for count, errors in draws for error in errors)]
            dots_and_means(ax, points, ms=2.5, alpha=0.6, label=label(name), **line_style(name))
        ax.set(xlabel="how many", ylim=(0, 1))
    return finish(figure, "wrong answers")
