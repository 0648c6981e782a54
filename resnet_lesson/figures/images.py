"""Images in rows and grids, and the confusion matrix."""

from collections.abc import Sequence
from itertools import zip_longest

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from ..datasets.dataset import Dataset
from .style import styled


def image_grid(dataset: Dataset, rows: int = 4) -> Figure:
    """The first images of each class, one column per class."""
    columns = [dataset.images[dataset.labels == k][:rows] for k in range(len(dataset.classes))]
    images = [image for row in zip_longest(*columns) for image in row]
    return image_row(images, dataset.classes, len(columns))


@styled
def image_row(images: Sequence, titles: Sequence[str] = (), columns: int = 10) -> Figure:
    """Images (H, W, 3), or (H, W, 1) as ink on white, uint8 or 0 to 1, in rows under titles; None leaves a gap."""
    rows, columns = -(-len(images) // columns), min(columns, len(images))
    lines = [title.count("\n") + 1 for title in titles]
    height = 0.22 + rows + 0.18 * sum(max(lines[i * columns :][:columns], default=0) for i in range(rows))
    figure, axes = plt.subplots(rows, columns, figsize=(columns, height), squeeze=False, layout="constrained")
    for ax, image, title in zip_longest(axes.flat, images, titles[: rows * columns]):
        ax.axis("off")
        if image is not None:
            image = np.asarray(image)
            ax.imshow(image, cmap="gray_r", vmin=0, vmax=255 if image.dtype == np.uint8 else 1)
        ax.set_title(title or "", fontsize=9)
    return figure


@styled
def confusion(matrix: Tensor, classes: Sequence[str], title: str = "") -> Figure:
    """A confusion matrix (classes, classes): one row per true class, one column per answer. Mistakes are coloured."""
    counts = np.asarray(matrix)
    mistakes = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    figure, ax = plt.subplots(figsize=(6.6, 5.6), layout="constrained")
    ax.imshow(mistakes, cmap="Blues", vmin=0, vmax=max(1, mistakes.max()))
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if mistakes[row, column] > 0.6 * mistakes.max() else "black"
        ax.text(column, row, count or "", ha="center", va="center", fontsize=9, color=color)
    ax.set(xlabel="answer", ylabel="truth", title=title)
    ax.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    ax.set_yticks(range(len(classes)), classes)
    ax.grid(False)
    return figure
