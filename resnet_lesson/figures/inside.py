"""Figures about the inside of a trained network: loss surfaces and lesions."""

import math
from collections.abc import Mapping, Sequence

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
from .style import PLAIN, RESIDUAL, finish, line_style, panels, styled
from .style import noted as noted

COLOURS = "viridis"  # even steps for colour-blind eyes and in grey


def provenance(found: Sequence[Inside]) -> str:
    """The line under a figure of measurements: from which recorded networks, data and machines they come."""
    data = {one.about["data"]["name"] for one in found}
    machines = {one.about["machine"]["hardware"] for one in found}
    runs = ", ".join(one.about["run"] for one in found)
    return f"Recorded · {', '.join(sorted(data))} · {runs} · {', '.join(sorted(machines))}"


def scale_of(surfaces: Sequence[Surface]) -> LogNorm:
    """One logarithmic colour scale, from the lowest to the highest loss of all these surfaces."""
    losses = np.concatenate([one.loss.numpy().ravel() for one in surfaces])
    return LogNorm(losses.min(), losses.max())


@styled
def contours(surfaces: Mapping[str, Surface]) -> Figure:
    """Loss surfaces side by side as contour lines, on the same logarithmic colour scale; a cross marks the network.

    From each line to the next, the loss changes by the same factor: 1.19 (four such steps make 2), 1.41 or 2.
    """
    scale = scale_of(list(surfaces.values()))
    size = (3 * len(surfaces) + 0.6, 3.1)
    figure, axes = plt.subplots(1, len(surfaces), figsize=size, squeeze=False, layout="constrained")
    for ax, (title, one) in zip(axes[0], surfaces.items(), strict=True):
        _contour(ax, one, scale)
        ax.set_title(title, fontsize=11)
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
    """Round numbers from low to high, about evenly spaced on a log scale; the two ends if there are none."""
    steps = (1,) if high / low > 1e4 else (1, 2, 5) if high / low > 5 else (1, 1.5, 2, 3, 5, 7)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [tick for power in powers for step in steps if low <= (tick := step * 10.0**power) <= high]
    return ticks if len(ticks) > 1 else [low, high]


def _loss_ticks(axis: Axis, low: float, high: float) -> None:
    ticks = _between(low, high)
    axis.set_ticks(ticks, [f"{tick:.3g}" if tick < 1000 else f"{tick:,.0f}" for tick in ticks])
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

    azimuth, height: the viewpoint, in degrees. cut: -1 to 1; the nearest computed row is used.
    scale: from `scale_of`.
    """
    a, b, loss = one.a.numpy(), one.b.numpy(), one.loss.numpy()
    row = int(np.abs(b - cut).argmin())
    figure = plt.figure(figsize=(12, 4.6))  # laid out by hand: up to 3.10, matplotlib's own layout fails in space
    places = figure.add_gridspec(1, 3, width_ratios=(1.5, 1, 1), left=0, right=0.98, top=0.92, wspace=0.3)
    space = figure.add_subplot(places[0], projection="3d")
    colours = plt.get_cmap(COLOURS)(scale(loss))
    space.plot_surface(*np.meshgrid(a, b), np.log10(loss), facecolors=colours, rcount=99, ccount=99, shade=False)
    space.plot(a, a * 0 + b[row], np.log10(loss[row]), color="red", lw=2, zorder=10)
    space.view_init(height, azimuth)
    space.set(xlabel="a", ylabel="b", zlim=np.log10([scale.vmin, scale.vmax]), title=f"loss of {title}")
    space.set(xticks=(a[0], 0, a[-1]), yticks=(b[0], 0, b[-1]))
    ticks = _between(scale.vmin, scale.vmax)
    space.set_zticks(np.log10(ticks), [f"{tick:g}" for tick in ticks])

    above = figure.add_subplot(places[1], title="from above")
    _contour(above, one, scale)
    above.axhline(b[row], color="red", lw=1.5)
    along = figure.add_subplot(places[2], title=f"along b = {b[row]:.2f}", xlabel="a", ylabel="loss")
    along.plot(a, loss[row], color="red")
    along.set(yscale="log", ylim=(scale.vmin, scale.vmax))
    _loss_ticks(along.yaxis, scale.vmin, scale.vmax)
    figure.set_label(f"{title}: its loss surface in space, from above, and along b = {b[row]:.2f}")
    return figure


@styled
def dropped_blocks(
    found: Mapping[str, Mapping[str, float]], whole: Mapping[str, float], fixed: Mapping[str, Mapping[str, float]]
) -> Figure:
    """The error without each block: one panel per network, two in a row, and one bar per block, from left to right.

    found: error (0 to 1) by block; whole: error of the whole network. fixed: the same errors with BN's statistics
    fixed, drawn as open circles. The numbers below the bars are those of the block and of its stage.
    """
    rows, columns = math.ceil(len(found) / 2), min(2, len(found))
    size = (4.6 * columns + 2.2, 2.8 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, sharey=True, squeeze=False, layout="constrained")
    for ax, (name, errors) in zip(axes.flat, found.items(), strict=False):
        places = {block: number for number, block in enumerate(errors, 1)}
        ax.bar(places.values(), errors.values(), color=line_style(name)["color"], width=0.7)
        seen = [fixed[name][block] for block in places]
        ax.plot(places.values(), seen, "o", ms=4, mfc="none", color="#555555", label="with BN's statistics fixed")
        ax.axhline(whole[name], color="black", lw=1.2, label="the whole network")
        ax.axhline(0.9, color="black", lw=1, ls=":", label="guessing")
        _stages(ax, places)
        ax.set(title=label(name), ylim=(0, 1))
        ax.set_axisbelow(True)
    for ax in axes[:, 0]:
        ax.set_ylabel("wrong answers")
    return finish(figure, "wrong answers")


def _stages(ax: Axes, places: Mapping[str, int]) -> None:
    """Number the bars within each stage, name the stages below, and separate them."""
    stages: dict[str, list[int]] = {}
    for block, place in places.items():
        stages.setdefault(block.split(".")[1], []).append(place)
    every = 1 if len(places) <= 12 else 2
    shown = {place: block.split(".")[2] for block, place in places.items() if int(block.split(".")[2]) % every == 0}
    ax.set_xticks(list(shown), list(shown.values()), fontsize=9)
    ax.grid(axis="x", visible=False)
    for stage, ours in stages.items():
        middle = (ours[0] + ours[-1]) / 2
        ax.annotate(f"stage {int(stage) + 1}", (middle, 0), (0, -20), "data", "offset points", ha="center", va="top")
        if ours[0] > 1:
            ax.axvline(ours[0] - 0.5, color="#999999", lw=1)
    ax.set_xlabel(" ")  # makes room for the names of the stages


@styled
def size_and_damage(networks: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """How much the error rises without a block, against the size of its F: {network name: (sizes, rises)}, as dots."""
    figure, axes = panels([label(name) for name in networks], 3.8, 3.4)
    for ax, (name, (sizes, rises)) in zip(axes, networks.items(), strict=True):
        ax.plot(sizes, rises, "o", color=line_style(name)["color"], alpha=0.8)
        ax.set(xlabel="‖F(x)‖ / ‖shortcut‖", xlim=(0, None))
    axes[0].yaxis.set_major_formatter(PercentFormatter(1))
    axes[0].set_ylabel("rise of the error without the block")
    return figure


@styled
def growth_by_depth(found: Mapping[str, Mapping[int, Sequence[float]]], theory: float, ylabel: str) -> Figure:
    """A number against the depth of the network, on a log scale: {name: {depth: one number per seed}}, for three names.

    The legend gives the growth per layer. A grey line grows by `theory` per layer, from where the first name starts.
    """
    figure, (ax,) = panels([""], 5.5, 3.8, beside=3.4)
    look = (PLAIN[0], "s"), (PLAIN[1], "o"), (RESIDUAL[1], "o")
    for (name, by_depth), (color, marker) in zip(found.items(), look, strict=False):
        depths = list(by_depth)
        points = [(depth, number) for depth, numbers in by_depth.items() for number in numbers]
        ax.plot(*zip(*points, strict=True), marker, color=color, ms=5, alpha=0.8)
        means = [np.exp(np.log(numbers).mean()) for numbers in by_depth.values()]
        growth = (means[-1] / means[0]) ** (1 / (depths[-1] - depths[0]))
        ax.plot(depths, means, color=color, label=f"{name}: × {growth:.2f} per layer")
    start = np.exp(np.log(next(iter(found.values()))[depths[0]]).mean())
    line = [start * theory ** (depth - depths[0]) for depth in depths]
    ax.plot(depths, line, color="#888888", linewidth=6, alpha=0.35, label=f"theory: × {theory:.2f} per layer")
    ax.set(yscale="log", xlabel="layers", xticks=depths)
    ax.minorticks_off()
    return finish(figure, ylabel, percent=False)


@styled
def size_lines(found: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """‖F(x)‖ / ‖what the shortcut brings‖ by block: {name: for each seed, one number per block}, on a log scale.

    There is a line through the medians of the seeds and a band over their range. On the black line, both are equal.
    """
    figure, (ax,) = panels([""], 6.5, 3.8, beside=1.8)
    for (name, seeds), shade in zip(found.items(), np.linspace(0.05, 0.85, len(found)), strict=True):
        sizes, color = np.array(seeds), plt.get_cmap("viridis")(shade)
        blocks = range(1, sizes.shape[1] + 1)
        ax.plot(blocks, np.median(sizes, 0), color=color, linewidth=2, label=name)
        ax.fill_between(blocks, sizes.min(0), sizes.max(0), color=color, alpha=0.25, linewidth=0)
    ax.axhline(1, color="black", lw=0.8)
    ax.set(xlabel="block", yscale="log")
    _loss_ticks(ax.yaxis, *ax.get_ylim())
    return finish(figure, "‖F(x)‖ / ‖what the shortcut brings‖", percent=False)
