"""Features made visible: maps of single channels in a grid, and how alike two images' features are, block by block."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from .style import finish, panels, styled


@styled
def feature_maps(rows: Mapping[str, Sequence[Tensor | None]], titles: Sequence[str] = ()) -> Figure:
    """Pictures (H, W) in a grid, each scaled from its own darkest to its own brightest value; (H, W, 3) are in colour.

    rows: the pictures of each row, by the row's name; None leaves a gap. titles: those of the columns.
    """
    columns = max(len(row) for row in rows.values())
    longest = max(len(line) for name in rows for line in name.split("\n"))
    size = (1.0 * columns + 0.085 * longest, 1.05 * len(rows) + 0.3)
    figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.set_box_aspect(1)
        ax.grid(False)
        ax.spines[:].set_visible(False)
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
        for ax, picture in zip(line, row, strict=False):
            if picture is not None:
                ax.imshow(np.asarray(picture), cmap="gray")
    for ax, title in zip(axes[0], titles, strict=False):
        ax.set_title(title, fontsize=10)
    return figure


PAIRS = (("#00467f", "-", 2.8), ("#777777", "--", 1.8))  # how the lines of a panel are drawn, at most two


@styled
def similarity_bands(found: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> Figure:
    """The cosine of two images' features, by block: {network as a title: {pair: [cosines by block] of each seed}}.

    There is one panel per network. In it, each of at most two pairs has a line through the means of the seeds and a
    band over their range.
    """
    figure, axes = panels(list(found), 3.2, 3.4, beside=2.2)
    for ax, pairs in zip(axes, found.values(), strict=True):
        for (name, seeds), (color, dashes, width) in zip(pairs.items(), PAIRS, strict=False):
            cosines = np.asarray(seeds)
            block = np.arange(1, cosines.shape[1] + 1)
            ax.plot(block, cosines.mean(0), color=color, linestyle=dashes, linewidth=width, label=name)
            ax.fill_between(block, cosines.min(0), cosines.max(0), color=color, alpha=0.2, linewidth=0)
        ax.set(xlabel="after block", ylim=(0, 1.02))
        ax.set_xticks([1, *block[len(block) // 3 - 1 :: len(block) // 3]])  # the ends of the stages
    return finish(figure, "cosine of their features", percent=False)
