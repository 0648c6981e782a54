"""Blocks and networks drawn from the modules themselves, in the manner of the paper's figures 2, 3 and 5.

A shortcut is solid where the shape stays and dotted where it changes, as in the paper. Inside F a layer may fork:
into paths that are added up, or into a side branch whose factors multiply the line itself. The figure's label
says the same in words.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from matplotlib.path import Path
from torch import nn

from .anatomy import BlockAnatomy, NetworkAnatomy, Shape, chain_anatomy, network_anatomy, size
from .style import RESIDUAL, styled

BLUE, GREY, YELLOW = "#b9d9ef", "#f1f3f5", "#f7dca4"
FILL = {"BN": GREY, "LN": GREY, "ReLU": YELLOW, "GELU": YELLOW, "sigmoid": YELLOW}  # flat boxes, under what they follow
EDGE, QUIET, SHORTCUT = "#333333", "#555555", RESIDUAL[1]
GAP, RADIUS, HALF = 0.46, 0.14, 1.05  # inches: between boxes; of the circle with the plus; half a box's width
THIN, APART = 0.8, 1.75  # inches: half the width of a box in a branch; from one path to the next
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


def _layer(ax: Axes, x: float, y: float, text: str, half: float = HALF) -> float:
    """A layer's box around `x`, below `y`; returns its lower end."""
    height = 0.4 + 0.17 * text.count("\n") if "→" in text else 0.26
    fill = FILL.get(text, BLUE if "→" in text else "white")
    ax.add_patch(Rectangle((x - half, y), 2 * half, height, facecolor=fill, edgecolor=EDGE))
    ax.text(x, y + height / 2, text, va="center", ha="center", fontsize=10 if half == HALF else 9)
    return y + height


def _node(ax: Axes, x: float, y: float, sign: str) -> float:
    """A circle with a plus or a times sign below `y`; returns its middle."""
    y, (a, b) = y + RADIUS, {"+": (0.07, 0), "x": (0.05, 0.05)}[sign]
    ax.add_patch(Circle((x, y), RADIUS, facecolor="white", edgecolor=EDGE, linewidth=1.2, gid=sign))
    for dx, dy in ((a, b), (b, -a)):
        ax.plot([x - dx, x + dx], [y - dy, y + dy], color=EDGE, linewidth=1.2)
    return y


def _branch(ax: Axes, x: float, fork: float, at: float, layers: Sequence[str]) -> float:
    """Layers around `at`, on a line that leaves the one at `x` where it forks; returns their lower end."""
    y = fork + 0.3
    _line(ax, [(x, fork), (at, fork), (at, y)])
    for k, text in enumerate(layers):
        y = _layer(ax, at, _down(ax, at, y, 0.2) if k and text not in FILL else y, text, THIN)
    return y


def _back(ax: Axes, at: float, low: float, x: float, end: float) -> None:
    """The line from a branch's lower end to the circle where the branches meet again."""
    corner = [(at, end), (x + (RADIUS if at > x else -RADIUS), end)]
    _line(ax, [(at, low), (x, end - RADIUS)] if at == x else [(at, low), *corner])


def _side_branch(ax: Axes, x: float, y: float, layers: Sequence[str]) -> tuple[float, float]:
    """Draw what makes factors for the line itself; returns the right and the lower end."""
    at = x + HALF + 0.1
    low = _branch(ax, x, y + 0.14, at, layers)
    end = _node(ax, x, low + 0.05, "x")
    _back(ax, at, low, x, end)
    _line(ax, [(x, y), (x, end - RADIUS)])
    return at + THIN, end + RADIUS


def _paths(ax: Axes, x: float, y: float, paths: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Draw paths side by side that are added up, most of many as dots; returns the right and the lower end."""
    shown = paths if len(paths) < 4 else [*paths[:2], paths[-1]]
    places = [x + APART * (k - (len(shown) - 1) / 2) for k in range(len(shown))]
    if len(shown) < len(paths):
        places[-1] += APART / 2
        between = (places[-2] + places[-1]) / 2
        ax.text(between, y + 0.8, f"...\n\n{len(paths)} paths\n\n...", va="top", ha="center", fontsize=10, color=QUIET)
    ax.plot([x, x], [y, y + 0.14], color=EDGE, linewidth=1.2)
    lows = [_branch(ax, x, y + 0.14, at, layers) for at, layers in zip(places, shown, strict=True)]
    end = _node(ax, x, max(lows) + 0.25, "+")
    for at, low in zip(places, lows, strict=True):
        _back(ax, at, low, x, end)
    return places[-1] + THIN, end + RADIUS


def _half(blocks: Sequence[BlockAnatomy]) -> float:
    """How far the boxes reach to the left of the line."""
    most = min(3, max(len(step.branches) for block in blocks for step in block.path))
    return HALF if most < 2 else THIN + APART * (most - 1) / 2


def _draw_path(ax: Axes, x: float, y: float, block: BlockAnatomy) -> tuple[float, float]:
    """Draw F(x), or H(x), below `y`; returns the right and the lower end."""
    shape, right, far = block.input, x + HALF, x
    for k, step in enumerate(block.path):
        if len(step.branches) == 1:
            far, y = _side_branch(ax, x, y, step.branches[0])
        elif step.branches:
            far, y = _paths(ax, x, y, step.branches)
        else:
            flat = step.words in FILL and step.output == shape  # BN and ReLU sit right under what they follow
            y = _layer(ax, x, y if flat or k == 0 else _down(ax, x, y, GAP, shape), step.words)
        shape, right = step.output, max(right, far)
    return right, y


def _draw_sum(ax: Axes, x: float, y: float, half: float, block: BlockAnatomy, name: str) -> tuple[float, float]:
    """Draw F(x), or H(x), the shortcut around it and what follows their sum; returns the right and the lower end."""
    fork, top = y, _down(ax, x, y + 0.04, GAP, block.input)
    right, y = _draw_path(ax, x, top, block)
    shape, side = block.output, x - half - 0.14
    ax.plot([side + 0.06, side, side, side + 0.06], [top, top, y, y], color=QUIET, linewidth=1)
    ax.text(side - 0.06, (top + y) / 2, name, va="center", ha="right", style="italic")
    if block.shortcut is None:  # as long as with the addition, so that blocks side by side compare
        y = _down(ax, x, y, 2 * (GAP + RADIUS), shape)
    else:
        y = _node(ax, x, _down(ax, x, y, GAP, shape), "+")
        changes, corner = shape != block.input, right + 0.25
        points = [(x, fork), (corner, fork), (corner, y), (x + RADIUS, y)]
        dots = ":" if changes else "-"
        _line(ax, points, linestyle=dots, linewidth=2, color=SHORTCUT, head=11, gid="shortcut")
        said = block.shortcut + f"\n\n{size(shape)}" * changes
        ax.text(corner + 0.1, (fork + y) / 2, said, va="center", fontsize=10, color=SHORTCUT, linespacing=1.3)
        right = corner + 0.15 + 0.078 * max(map(len, said.split("\n")))
        y += RADIUS
        y = _down(ax, x, y, GAP) if block.relu else y
    return right, _layer(ax, x, y, "ReLU") if block.relu else y


def _letters(blocks: Sequence[BlockAnatomy]) -> tuple[list[str], list[str]]:
    """The names of F and the formulas of blocks in a row: the second one computes y = F₂(u) + u."""
    if len(blocks) == 1:
        return ["H(x)" if blocks[0].shortcut is None else "F(x)"], [blocks[0].formula]
    names, formulas = [], []
    for k, block in enumerate(blocks):
        x, y, index = "xuvw"[k], "y" if k == len(blocks) - 1 else "uvw"[k], "₁₂₃₄"[k]
        names.append(f"F{index}({x})")
        inner = block.formula.removeprefix("y = ").replace("F(x)", "F").replace("x", x)
        formulas.append(f"{y} = {inner.replace('F', names[-1])}")
    return names, formulas


def _draw_block(ax: Axes, left: float, title: str, blocks: Sequence[BlockAnatomy]) -> tuple[float, float]:
    """Draw a block, or several in a row, from `left` on; returns the right and the lower end."""
    half, (names, formulas) = _half(blocks), _letters(blocks)
    formula = ",   ".join(formulas)
    wide = 0.055 * max(len(title), 0.7 * len(formula))
    x, y = left + max(0.6 + half, wide), 0.95
    ax.text(x, 0.12, title, va="top", ha="center", weight="bold", fontsize=12)
    ax.text(x, 0.37, formula, va="top", ha="center", fontsize=10, style="italic", color=QUIET)
    ax.text(x, y - 0.06, "x", va="baseline", ha="center", weight="bold")
    right = x + wide
    for k, (block, name) in enumerate(zip(blocks, names, strict=True)):
        if k:
            ax.text(x - 0.1, y + 0.16, "uvw"[k - 1], va="center", ha="right", weight="bold")
        ax.plot([x, x], [y, y + 0.16], color=EDGE, linewidth=1.2)
        far, y = _draw_sum(ax, x, y + 0.12, half, block, name)
        right = max(right, far)
    y = _down(ax, x, y, GAP, blocks[-1].output)
    ax.text(x, y + 0.04, "y", va="top", ha="center", weight="bold")
    return right, y + 0.32


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
    """A block, or an nn.Sequential of blocks, drawn as in the paper's figures 2 and 5, with shapes on its arrows.

    block_diagram(BasicBlock(64, 64), (64, 32, 32)), or several side by side, each with its own input:
    block_diagram({"the same shape": (block, (64, 32, 32)), "half the size": (other, (64, 32, 32))}).
    Raises ValueError for what is not a block.
    """
    panels = block if isinstance(block, Mapping) else {title or type(block).__name__: (block, input_shape)}
    blocks = {name: chain_anatomy(*panel) for name, panel in panels.items()}
    right = bottom = 0.0
    figure, ax = plt.subplots()
    for name, parts in blocks.items():
        right, low = _draw_block(ax, right + 0.1, name, parts)
        bottom = max(bottom, low)
    said = ((name, "\n".join(map(str, parts))) for name, parts in blocks.items())
    figure.set_label("\n\n".join(f"{name}: {text}" for name, text in said))  # for screen readers
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
    """Networks side by side as in the paper's figure 3: layers with the same output size are at the same height.

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
