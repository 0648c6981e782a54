"""Blocks and networks drawn from the modules themselves, in the manner of the paper's figures 2, 3 and 5.

A shortcut is solid where the shape stays and dotted where it changes, as in the paper. `block_text` says in words
what `block_diagram` draws.
"""

from collections import Counter
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from matplotlib.path import Path
from torch import nn

from .anatomy import BlockAnatomy, NetworkAnatomy, Shape, block_anatomy, network_anatomy, size
from .anatomy import block_text as block_text
from .style import RESIDUAL, styled

FILL = {"conv": "#b9d9ef", "BN": "#f1f3f5", "ReLU": "#f7dca4"}
EDGE, QUIET, SHORTCUT = "#333333", "#555555", RESIDUAL[1]
GAP, RADIUS, HALF = 0.46, 0.14, 1.05  # inches: between boxes; of the circle with the plus; half a box's width
PITCH = 0.26  # inches: from one layer of a network to the next


def _line(ax: Axes, points: list[tuple[float, float]], codes=None, head=9, color=EDGE, linewidth=1.2, **style) -> None:
    """A line, solid or dotted, with an arrow head at its end."""
    path = Path(points, codes)
    ax.add_patch(FancyArrowPatch(path=path, arrowstyle="-", color=color, linewidth=linewidth, **style))
    (x0, y0), (x1, y1) = points[-2:]
    near = 0.02 / max(abs(x1 - x0), abs(y1 - y0))
    tail = x1 + (x0 - x1) * near, y1 + (y0 - y1) * near
    ax.add_patch(
        FancyArrowPatch(tail, (x1, y1), arrowstyle="-|>", shrinkA=0, shrinkB=0, mutation_scale=head, color=color)
    )


def _down(ax: Axes, x: float, y: float, length: float, shape: Shape | None = None) -> float:
    """An arrow downwards, with the shape of what it carries; returns where it ends."""
    _line(ax, [(x, y), (x, y + length)])
    if shape:
        ax.text(x + 0.1, y + GAP / 2 - 0.02, size(shape), va="center", fontsize=9.5, color=QUIET)
    return y + length


def _layer(ax: Axes, x: float, y: float, text: str) -> float:
    """A layer's box around `x`, below `y`; returns its lower end."""
    kind = "conv" if "conv" in text else text
    height = 0.4 + 0.17 * text.count("\n") if kind == "conv" else 0.26
    ax.add_patch(Rectangle((x - HALF, y), 2 * HALF, height, facecolor=FILL.get(kind, "white"), edgecolor=EDGE))
    ax.text(x, y + height / 2, text, va="center", ha="center", fontsize=10)
    return y + height


def _draw_block(ax: Axes, left: float, title: str, block: BlockAnatomy) -> tuple[float, float]:
    """Draw a block from `left` on; returns its right and its lower end."""
    x, top = left + max(0.6 + HALF, 0.055 * len(title)), 0.95
    ax.text(x, 0.12, title, va="top", ha="center", weight="bold", fontsize=12)
    ax.text(x, 0.37, block.formula, va="top", ha="center", fontsize=10, style="italic", color=QUIET)
    ax.text(x, top - 0.06, "x", va="baseline", ha="center", weight="bold")
    fork = top + 0.12
    ax.plot([x, x], [top, top + 0.16], color=EDGE, linewidth=1.2)
    y = top = _down(ax, x, top + 0.16, GAP, block.input)

    shape = block.input
    for k, (_, text, output) in enumerate(block.path):
        if k > 0 and ("conv" in text or output != shape):  # BN and ReLU sit right under their convolution
            y = _down(ax, x, y, GAP, shape)
        y = _layer(ax, x, y, text)
        shape = output
    side = x - HALF - 0.14
    ax.plot([side + 0.06, side, side, side + 0.06], [top, top, y, y], color=QUIET, linewidth=1)
    name = "H(x)" if block.shortcut is None else "F(x)"
    ax.text(side - 0.06, (top + y) / 2, name, va="center", ha="right", style="italic")

    right = x + HALF
    if block.shortcut is None:  # as long as with the addition, so that blocks side by side compare
        y = _down(ax, x, y, 2 * (GAP + RADIUS), shape)
    else:
        y = _down(ax, x, y, GAP, shape) + RADIUS
        ax.add_patch(Circle((x, y), RADIUS, facecolor="white", edgecolor=EDGE, linewidth=1.2))
        ax.plot([x - 0.07, x + 0.07], [y, y], [x, x], [y - 0.07, y + 0.07], color=EDGE, linewidth=1.2)
        changes, corner = shape != block.input, right + 0.25
        points = [(x, fork), (corner, fork), (corner, y), (x + RADIUS, y)]
        dots = ":" if changes else "-"
        _line(ax, points, linestyle=dots, linewidth=2, color=SHORTCUT, head=11, gid="shortcut")
        said = block.shortcut + f"\n\n{size(shape)}" * changes
        ax.text(corner + 0.1, (fork + y) / 2, said, va="center", fontsize=10, color=SHORTCUT, linespacing=1.3)
        right = corner + 0.15 + 0.078 * max(map(len, said.split("\n")))
        y += RADIUS
        y = _down(ax, x, y, GAP) if block.relu else y
    y = _layer(ax, x, y, "ReLU") if block.relu else y
    y = _down(ax, x, y, GAP, shape)
    ax.text(x, y + 0.04, "y", va="top", ha="center", weight="bold")
    return max(right, x + 0.055 * len(title)), y + 0.32


def _fill(figure: Figure, width: float, height: float) -> Figure:
    """Make the only axes fill the figure and measure in inches from its upper left corner."""
    figure.set_size_inches(width, height)
    figure.axes[0].set(position=(0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    figure.axes[0].axis("off")
    return figure


@styled
def block_diagram(
    block: nn.Module | Mapping[str, tuple[nn.Module, Shape]], input_shape: Shape = (), title: str | None = None
) -> Figure:
    """A block as in the paper's figures 2 and 5, with the shape C x H x W of what each arrow carries.

    block_diagram(BasicBlock(64, 64), (64, 32, 32)), or several side by side, each with its own input:
    block_diagram({"the same shape": (block, (64, 32, 32)), "half the size": (other, (64, 32, 32))}).
    Raises ValueError for what is not a block.
    """
    panels = block if isinstance(block, Mapping) else {title or type(block).__name__: (block, input_shape)}
    blocks = {name: block_anatomy(*panel) for name, panel in panels.items()}
    right = bottom = 0.0
    figure, ax = plt.subplots()
    for name, parts in blocks.items():
        right, low = _draw_block(ax, right + 0.1, name, parts)
        bottom = max(bottom, low)
    figure.set_label("\n\n".join(f"{name}: {parts}" for name, parts in blocks.items()))  # for screen readers
    return _fill(figure, right + 0.15, bottom)


def _draw_column(ax: Axes, left: float, title: str, network: NetworkAnatomy, bands: dict) -> None:
    """Draw a network from `left` on. bands: for each output size, where it begins and its colour."""
    width, height, gap = 2.0, 0.58 * PITCH, 0.42 * PITCH
    x, right = left + width / 2, left + width
    ax.text(x, 0.12, title, va="top", ha="center", weight="bold", fontsize=12)
    ax.text(x, 0.38, network.words, va="top", ha="center", fontsize=9, color=QUIET)
    ax.text(x, 0.78, f"image {size(network.image)}", va="center", ha="center", fontsize=9)
    sizes = [own for _, own in network.boxes]
    ends = [0.9]  # of the image and of each box
    for k, (text, own) in enumerate(network.boxes):
        top, shade = bands[own]
        top += (k - sizes.index(own)) * PITCH
        ax.plot([x, x], [ends[-1], top], color=EDGE, linewidth=1, solid_capstyle="butt", zorder=0.5)
        fill = "white" if "pool" in text else shade
        ax.add_patch(Rectangle((left, top), width, height, facecolor=fill, edgecolor=EDGE, linewidth=4 * PITCH))
        middle = 0.42 if "pool" in text else 0.48  # a p reaches down to the line that leaves the box
        ax.text(x, top + middle * height, text, va="center_baseline", ha="center", fontsize=8.5)
        ends.append(top + height)
    radius = 0.17 * PITCH
    for start, end, changes in network.shortcuts:
        # It leaves the line right above the block, below the plus of the block before.
        above, below, out = ends[start + 1] + 0.82 * gap, ends[end + 1] + 0.42 * gap, right + 0.6
        points = [(x, above), (right, above), (out, above), (out, below), (right, below), (x + radius, below)]
        codes = [Path.MOVETO, Path.LINETO, Path.CURVE4, Path.CURVE4, Path.CURVE4, Path.LINETO]
        _line(ax, points, codes, head=20 * PITCH, color=SHORTCUT, linestyle=":" if changes else "-", gid="shortcut")
        plus = Circle((x, below), radius, facecolor="white", edgecolor=EDGE, linewidth=3.5 * PITCH, zorder=2)
        ax.add_patch(plus)
        for dx, dy in ((0.6 * radius, 0), (0, 0.6 * radius)):
            ax.plot([x - dx, x + dx], [below - dy, below + dy], color=EDGE, linewidth=3.5 * PITCH, zorder=3)


@styled
def network_diagram(networks: Mapping[str, nn.Module] | nn.Module, input_shape: Shape = (3, 224, 224)) -> Figure:
    """Networks side by side as in the paper's figure 3: layers with the same output size stand at the same height.

    network_diagram({"plain-34": build("plain34"), "ResNet-34": build("resnet34")}). Every convolution, linear
    layer and pooling is a box; what a block of the course has on its shortcut is not.
    """
    if isinstance(networks, nn.Module):
        networks = {type(networks).__name__: networks}
    columns = {title: network_anatomy(network, input_shape) for title, network in networks.items()}
    counts = [Counter(own for _, own in network.boxes) for network in columns.values()]
    rows = {own: max(count[own] for count in counts) for own in sorted(set().union(*counts), reverse=True)}
    shades = plt.get_cmap("YlGnBu")(np.linspace(0.08, 0.5, len(rows)))
    column, left, y = max(2.9, *(0.11 * len(title) for title in columns)), 1.1, 1.0
    bands = {}
    figure, ax = plt.subplots()
    ax.text(0.1, y - 0.06, "output size", fontsize=9.5, color=QUIET)
    for k, (own, count) in enumerate(rows.items()):
        bands[own] = (y + 0.1, shades[k])
        height = count * PITCH + 0.2
        ax.axhspan(y, y + height, color=("#f3f3f3", "white")[k % 2], zorder=0)
        ax.text(0.1, y + height / 2, size(own), va="center", weight="bold", fontsize=10)
        y += height
    for k, (title, network) in enumerate(columns.items()):
        _draw_column(ax, left + column * k, title, network, bands)
    return _fill(figure, left + column * len(columns), y)
