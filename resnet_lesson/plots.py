"""The course's figures, in one style: plain networks dashed and warm, residual ones solid and cool,
deeper ones thicker, in every notebook alike. The colours are safe for colour-blind eyes and differ in
grey, and the ground is white, so that figures read the same in a light and a dark notebook."""

import re
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .datasets import Dataset
from .runs import Run

PLAIN = ("#e69f00", "#b03a00")  # shallow, deep
RESIDUAL = ("#56b4e9", "#00467f")
STYLE = {
    "figure.facecolor": "white",
    "figure.dpi": 100,
    "axes.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "font.size": 11,
    "legend.frameon": False,
    "text.color": "black",
    "axes.labelcolor": "black",
    "axes.edgecolor": "black",
    "xtick.color": "black",
    "ytick.color": "black",
}


def label(name: str) -> str:
    """A network's name as people write it.

    >>> label("plain56"), label("resnet20")
    ('plain-56', 'ResNet-20')
    """
    return re.sub(r"^(plain|resnet)(\d+)$", lambda m: f"{'ResNet' if m[1] == 'resnet' else 'plain'}-{m[2]}", name)


def line_style(name: str) -> dict:
    """How to draw a network of that name: colour, dashes, width."""
    plain = name.startswith("plain")
    depth = int((re.search(r"\d+", name) or ["50"])[0])
    deep = depth > 32
    return {
        "color": (PLAIN if plain else RESIDUAL)[deep],
        "linestyle": "--" if plain else "-",
        "linewidth": 2.8 if deep else 1.6,
    }


def provenance(runs: Sequence[Run]) -> str:
    """Live or recorded, on what data and hardware: the line under a figure of training runs."""
    kind = {"live" if run.live else "recorded" for run in runs}
    data = {run.data["name"] for run in runs}
    recipe = {run.recipe["name"] for run in runs}
    seeds = sorted({run.seed for run in runs})
    parts = [
        " and ".join(sorted(kind)).capitalize(),
        ", ".join(sorted(data)),
        f"recipe {', '.join(sorted(recipe))}",
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}",
    ]
    if kind == {"recorded"}:  # a live figure was made on the reader's own machine
        parts.append(", ".join(sorted({f"{run.machine['hardware']}, {run.precision}" for run in runs})))
    return " · ".join(parts)


def error_curves(runs: Sequence[Run]) -> Figure:
    """Training and test error after each epoch, side by side on the same scale, a line a run."""
    if not runs:
        raise ValueError("error_curves needs at least one run.")
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
        for ax, column, title in zip(
            axes, ("train_error", "test_error"), ("training error", "test error"), strict=True
        ):
            for run in runs:
                name = run.network["name"]
                ax.plot(
                    run.column("epoch"), run.column(column), marker="o", ms=4, label=label(name), **line_style(name)
                )
            ax.set(title=title, xlabel="epoch", ylim=(0, 1))
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.yaxis.set_major_formatter(PercentFormatter(1))
        axes[0].set_ylabel("wrong answers")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
        figure.supxlabel(provenance(runs), fontsize=9, color="#444444")
    plt.close(figure)  # returned, not also shown: a notebook cell that ends in it displays it once
    return figure


def image_grid(dataset: Dataset, rows: int = 4) -> Figure:
    """The first images of each class, a column a class."""
    columns = len(dataset.classes)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=(columns, rows + 0.4), squeeze=False, layout="constrained")
        for k, name in enumerate(dataset.classes):
            chosen = (dataset.labels == k).nonzero()[:rows, 0].tolist()
            for ax in axes[:, k]:
                ax.axis("off")
            for ax, index in zip(axes[:, k], chosen, strict=False):
                ax.imshow(dataset.images[index].numpy())
            axes[0, k].set_title(name, fontsize=10)
    plt.close(figure)
    return figure


def layer_lines(panels: Mapping[str, Mapping[str, Sequence[float]]], ylabel: str, log: bool = True) -> Figure:
    """A number for each layer, first layer left: a panel each title, in it a line each network name.

    Layers are placed by their relative depth, 0 to 1, so that networks of different depth compare.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(panels), figsize=(5 * len(panels), 3.8), sharey=True, squeeze=False, layout="constrained"
        )
        for ax, (title, lines) in zip(axes[0], panels.items(), strict=True):
            for name, values in lines.items():
                depth = np.linspace(0, 1, len(values))
                ax.plot(depth, values, marker="o", ms=3, label=label(name), **line_style(name))
            ax.set(title=title, xlabel="depth of the layer (0: first, 1: last)")
            if log:
                ax.set_yscale("log")
        axes[0, 0].set_ylabel(ylabel)
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
    plt.close(figure)
    return figure
