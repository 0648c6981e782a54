"""The weights of blocks, drawn as squares, so that you can compare blocks by counting."""

from collections.abc import Mapping
from itertools import product

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import nn

from .style import RESIDUAL, styled

UNIT = 64  # a square stands for UNIT x UNIT weights
COLOURS = {"3x3": RESIDUAL[0], "1x1": "#c4c4c4", "1x1 on the shortcut": RESIDUAL[1]}


def _layers(block: nn.Module) -> list[tuple[str, int, int]]:
    """For each convolution: its kind, and its number of squares from top to bottom and from left to right."""
    found = []
    for name, layer in block.named_modules():
        if isinstance(layer, nn.Conv2d):
            kernel = layer.kernel_size[0]
            kind = f"{kernel}x{kernel}" + " on the shortcut" * name.startswith("shortcut")
            found.append((kind, kernel * layer.out_channels // UNIT, kernel * layer.in_channels // UNIT))
    return found


@styled
def weight_squares(blocks: Mapping[str, nn.Module]) -> Figure:
    """The convolutions of each block, one below the other, with one square per 64 x 64 weights.

    A row stands for 64 outputs and a column for 64 inputs, so a 1x1 convolution from 64 to 64 channels is one
    square, and a 3x3 convolution is nine. The blocks' channels must be multiples of 64.
    """
    figure, ax = plt.subplots()
    left = bottom = 0.0
    words, kinds = [], set()
    for title, block in blocks.items():
        layers, top = _layers(block), 0.0
        for kind, rows, columns in layers:
            for row, column in product(range(rows), range(columns)):
                ax.add_patch(Rectangle((left + column, top + row), 0.9, 0.9, facecolor=COLOURS[kind]))
            top += rows + 0.6
        count = sum(rows * columns for _, rows, columns in layers)
        ax.text(left, -0.5, f"{title}\n{count} squares", va="bottom")
        left += 2.5 + max(9, *(columns for *_, columns in layers))  # nine squares leave room for the title
        bottom, kinds = max(bottom, top), kinds | {kind for kind, *_ in layers}
        words.append(f"{title}: {count} squares")
    legend = [Patch(facecolor=colour, label=kind) for kind, colour in COLOURS.items() if kind in kinds]
    ax.legend(handles=legend, loc="upper left", bbox_to_anchor=(1, 1))
    figure.set_size_inches(0.22 * left + 2.1, 0.22 * (bottom + 3.2))
    ax.set(position=(0, 0, 0.22 * left / (0.22 * left + 2.1), 1), xlim=(-0.5, left - 0.5), ylim=(bottom, -3.2))
    ax.axis("off")
    figure.set_label("\n".join(words))  # for screen readers
    return figure
