"""The course's figures, in one style: plain networks dashed and warm, residual ones solid and cool,
deeper ones thicker, in every notebook alike. The colours are safe for colour-blind eyes and differ in
grey, and the ground is white, so that figures read the same in a light and a dark notebook."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from .datasets import Dataset
from .runs import Run

PLAIN = ("#e69f00", "#b03a00")  # shallow, deep
RESIDUAL = ("#56b4e9", "#00467f")
ERRORS = {"train_error": "training error", "test_error": "test error"}  # the panels of `error_curves`
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


def depth(name: str) -> int:
    """The number of layers in a network's name; 50 where it has none, as lab10_6 has.

    >>> depth("plain56")
    56
    """
    return int((re.match(r"(?:plain|resnet)(\d+)", name) or [0, 50])[1])


def line_style(name: str) -> dict:
    """How to draw a network of that name: colour, dashes, width."""
    plain = name.startswith("plain")
    deep = depth(name) > 32
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
        parts.append("; ".join(sorted({f"{run.hardware}, {run.precision}" for run in runs})))
    return " · ".join(parts)


def epochs(run: Run, iterations: Sequence[int]) -> list[float]:
    """After how many passes over its training set a run has done that many iterations: whole at an epoch's end."""
    each = math.ceil(run.data["train"]["images"] / run.recipe["batch_size"])
    return [iteration / each for iteration in iterations]


def marker(run: Run) -> str:
    """What marks each row of a run's line: a dot, or nothing where the dots would run together in the end."""
    rows = len(run.history)
    if run.status == "running" and rows:  # as many as there will be
        rows = round(rows * run.recipe["iterations"] / run.history[-1]["iteration"])
    return "o" if rows <= 25 else ""


def error_curves(runs: Sequence[Run], planned: bool = False, top: float = 1.0) -> Figure:
    """Training and test error by epoch, side by side on the same scale, one line per run.

    planned: the x axis reaches to the end of the longest recipe, for runs that still go on, and not to the last row.
    top: the highest error shown, 0 to 1; a lower one shows the end of long runs larger.
    Raises ValueError without runs.
    """
    if not runs:
        raise ValueError("error_curves needs at least one run.")
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
        for ax, (column, title) in zip(axes, ERRORS.items(), strict=True):
            for run in runs:
                name, x = run.network["name"], epochs(run, run.column("iteration"))
                ax.plot(x, run.column(column), marker=marker(run), ms=4, label=label(name), **line_style(name))
            ax.set(title=title, xlabel="epoch", ylim=(0, top))
            if planned:
                ax.set_xlim(0, 1.02 * max(epochs(run, [run.recipe["iterations"]])[0] for run in runs))
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.yaxis.set_major_formatter(PercentFormatter(1))
        axes[0].set_ylabel("wrong answers")
        named = {line.get_label(): line for line in axes[0].get_lines()}  # the seeds of a network share an entry
        figure.legend(named.values(), named.keys(), loc="outside right center")
        figure.supxlabel(provenance(runs), fontsize=9, color="#444444")
    plt.close(figure)  # returned, not also shown: a notebook cell that ends in it displays it once
    return figure


def image_grid(dataset: Dataset, rows: int = 4) -> Figure:
    """The first images of each class, a column a class."""
    columns = [dataset.images[dataset.labels == k][:rows] for k in range(len(dataset.classes))]
    images = [image for row in zip_longest(*columns) for image in row]
    return image_row(images, dataset.classes, len(columns))


def image_row(images: Sequence, titles: Sequence[str] = (), columns: int = 10) -> Figure:
    """Images (H, W, 3), or (H, W, 1) ink on white, uint8 or 0 to 1, in rows under titles; None leaves a place free."""
    rows, columns = -(-len(images) // columns), min(columns, len(images))
    lines = sum(
        max([title.count("\n") + 1 for title in titles[i * columns :][:columns]], default=0) for i in range(rows)
    )
    size = (columns, rows + 0.22 + 0.18 * lines)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
        for ax in axes.flat:
            ax.axis("off")
        for ax, image in zip(axes.flat, images, strict=False):
            if image is not None:
                ax.imshow(np.asarray(image), cmap="gray_r", vmin=0, vmax=255 if np.asarray(image).dtype == "u1" else 1)
        for ax, title in zip(axes.flat, titles, strict=False):
            ax.set_title(title, fontsize=9)
    plt.close(figure)
    return figure


def confusion(matrix: Tensor, classes: Sequence[str], title: str = "") -> Figure:
    """A confusion matrix (classes, classes): a row each true class, a column each answer. Only mistakes have colour."""
    counts = np.asarray(matrix)
    mistakes = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure, ax = plt.subplots(figsize=(6.6, 5.6), layout="constrained")
        ax.imshow(mistakes, cmap="Blues", vmin=0, vmax=max(1, mistakes.max()))
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if mistakes[row, column] > 0.6 * mistakes.max() else "black"
            ax.text(column, row, count or "", ha="center", va="center", fontsize=9, color=color)
        ax.set(xlabel="answer", ylabel="truth", title=title)
        ax.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
        ax.set_yticks(range(len(classes)), classes)
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
                place = np.linspace(0, 1, len(values))
                ax.plot(place, values, marker="o", ms=3, label=label(name), **line_style(name))
            ax.set(title=title, xlabel="depth of the layer (0: first, 1: last)")
            if log:
                ax.set_yscale("log")
        axes[0, 0].set_ylabel(ylabel)
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
    plt.close(figure)
    return figure


def comparison(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """A controlled experiment: a panel each title, in it a line of errors (0 to 1) by epoch for each name.

    The first name is the right way, drawn dark and broad. Raises ValueError for more than four names.
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    styles = dict(
        zip(names, ((RESIDUAL[1], "o"), ("#cc79a7", "s"), ("#777777", "^"), (RESIDUAL[0], "D")), strict=False)
    )
    if len(names) > len(styles):
        raise ValueError(f"comparison tells four lines apart, not {len(names)}: {', '.join(names)}.")
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(panels), figsize=(2.6 + 3.4 * len(panels), 3), sharey=True, squeeze=False, layout="constrained"
        )
        for ax, (title, lines) in zip(axes[0], panels.items(), strict=True):
            for name, errors in lines.items():
                color, shape = styles[name]
                size = dict(lw=4, ms=8) if name == names[0] else dict(lw=1.5, ms=4)  # seen under a line that lies on it
                ax.plot(range(1, len(errors) + 1), errors, color=color, marker=shape, label=name, **size)
            ax.set(title=title, xlabel="epoch", ylim=(0, 1.02))
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.yaxis.set_major_formatter(PercentFormatter(1))
        axes[0, 0].set_ylabel("wrong answers")
        named = {line.get_label(): line for ax in axes[0] for line in ax.get_lines()}
        figure.legend([named[name] for name in names], names, loc="outside right center")
    plt.close(figure)
    return figure


def depth_curves(runs: Sequence[Run]) -> Figure:
    """Final training and test error against depth: a point a run, lines through the means of plain and residual.

    Other networks, and runs that did not finish, are left out. Raises ValueError where none is left.
    """
    runs = [run for run in runs if run.status == "finished" and re.fullmatch(r"(plain|resnet)\d+", run.network["name"])]
    if not runs:
        raise ValueError("depth_curves needs at least one run of a plain or residual network, such as resnet20.")
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
        for ax, (column, title) in zip(axes, ERRORS.items(), strict=True):
            for kind, name in (("plain", "plain"), ("resnet", "ResNet")):
                errors: dict[int, list[float]] = {}
                for run in runs:
                    if run.network["name"].startswith(kind):
                        errors.setdefault(depth(run.network["name"]), []).append(run.final(column))
                style = line_style(f"{kind}56")
                for layers, seeds in errors.items():
                    ax.plot([layers] * len(seeds), seeds, "o", ms=5, color=style["color"])
                ax.plot(sorted(errors), [np.mean(errors[layers]) for layers in sorted(errors)], label=name, **style)
            ax.set(title=title, xlabel="layers", ylim=(0, None))
            ax.set_xticks(sorted({depth(run.network["name"]) for run in runs}))
            ax.yaxis.set_major_formatter(PercentFormatter(1))
        axes[0].set_ylabel("wrong answers at the end")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
        figure.supxlabel(provenance(runs), fontsize=9, color="#444444")
    plt.close(figure)
    return figure
