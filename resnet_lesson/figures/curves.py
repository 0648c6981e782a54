"""Curves: errors over epochs, depth and examples, and a number for each layer."""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..models.networks import label
from ..training.runs import Run
from ..training.transfer_study import Trial
from .style import PLAIN, RESIDUAL, depth, in_percent, legend, line_style, noted, panels, styled, styles

ERRORS = {"train_error": "training error", "test_error": "test error"}  # the panels of `error_curves`
MANY = 25  # rows of a run: more dots than these run together


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
    """After how many epochs, passes over its training set, a run has done that many iterations."""
    each = math.ceil(run.data["train"]["images"] / run.recipe["batch_size"])
    return [iteration / each for iteration in iterations]


def _rows(run: Run) -> int:
    """How many rows a run's history has, or will have where it still goes on."""
    rows = len(run.history)
    if run.status == "running" and rows:
        rows = round(rows * run.recipe["iterations"] / run.history[-1]["iteration"])
    return rows


@styled
def error_curves(runs: Sequence[Run], planned: bool = False, top: float = 1.0) -> Figure:
    """Training and test error by epoch, side by side on the same scale, one line per run.

    planned: the x axis reaches to the end of the longest recipe, for runs that still go on, and not to the last row.
    top: the highest error shown, 0 to 1; a lower one shows the end of long runs larger.
    Raises ValueError without runs.
    """
    if not runs:
        raise ValueError("error_curves needs at least one run.")
    figure, axes = panels(list(ERRORS.values()), 5.5, 4)
    look = styles(run.network["name"] for run in runs)
    for ax, column in zip(axes, ERRORS, strict=True):
        for run in runs:
            name, x, rows = run.network["name"], epochs(run, run.column("iteration")), _rows(run)
            style = {**look[name], "ms": 4 if rows <= MANY else 6, "markevery": 1 if rows <= MANY else rows // 8}
            if rows > MANY and style["marker"] == "o":  # needed by no one: width and dashes tell these lines apart
                style["marker"] = ""
            ax.plot(x, run.column(column), label=label(name), **style)
        ax.set(xlabel="epoch", ylim=(0, top))
        if planned:
            ax.set_xlim(0, 1.02 * max(epochs(run, [run.recipe["iterations"]])[0] for run in runs))
        ax.xaxis.get_major_locator().set_params(integer=True)
    in_percent(axes, "wrong answers")
    legend(figure)
    return noted(figure, provenance(runs))


@styled
def layer_lines(networks: Mapping[str, Mapping[str, Sequence[float]]], ylabel: str, log: bool = True) -> Figure:
    """A number for each layer, first layer left: a panel each title, in it a line each network name.

    Layers are placed by their relative depth, 0 to 1, so that networks of different depth compare.
    """
    figure, axes = panels(list(networks), 5, 3.8)
    for ax, lines in zip(axes, networks.values(), strict=True):
        for name, style in styles(lines).items():
            ax.plot(np.linspace(0, 1, len(lines[name])), lines[name], ms=3, label=label(name), **style)
        ax.set(xlabel="depth of the layer (0: first, 1: last)", yscale="log" if log else "linear")
    axes[0].set_ylabel(ylabel)
    legend(figure)
    return figure


CONTROLLED = ((RESIDUAL[1], "o"), ("#cc79a7", "s"), ("#777777", "^"), (RESIDUAL[0], "D"))


@styled
def comparison(experiment: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """A controlled experiment: a panel each title, in it a line of errors (0 to 1) by epoch for each name.

    The first name is the right way, drawn dark and broad. Raises ValueError for more than four names.
    """
    names = list(dict.fromkeys(name for lines in experiment.values() for name in lines))
    if len(names) > len(CONTROLLED):
        raise ValueError(f"comparison tells four lines apart, not {len(names)}: {', '.join(names)}.")
    look = dict(zip(names, CONTROLLED, strict=False))
    figure, axes = panels(list(experiment), 3.4, 3, beside=2.6)
    for ax, lines in zip(axes, experiment.values(), strict=True):
        for name, errors in lines.items():
            color, marker = look[name]
            size = dict(lw=4, ms=8) if name == names[0] else dict(lw=1.5, ms=4)  # seen under a line that covers it
            ax.plot(range(1, len(errors) + 1), errors, color=color, marker=marker, label=name, **size)
        ax.set(xlabel="epoch", ylim=(0, 1.02))
        ax.xaxis.get_major_locator().set_params(integer=True)
    in_percent(axes, "wrong answers")
    legend(figure)
    return figure


@styled
def depth_curves(runs: Sequence[Run]) -> Figure:
    """Final training and test error against depth: a point a run, lines through the means of plain and residual.

    Other networks, and runs that did not finish, are left out. Raises ValueError where none is left.
    """
    runs = [run for run in runs if run.status == "finished" and re.fullmatch(r"(plain|resnet)\d+", run.network["name"])]
    if not runs:
        raise ValueError("depth_curves needs at least one run of a plain or residual network, such as resnet20.")
    figure, axes = panels(list(ERRORS.values()), 4.5, 3.6)
    for ax, column in zip(axes, ERRORS, strict=True):
        for kind, name in (("plain", "plain"), ("resnet", "ResNet")):
            points = [
                (depth(run.network["name"]), run.final(column)) for run in runs if run.network["name"].startswith(kind)
            ]
            _dots_and_means(ax, points, label=name, marker="o", **line_style(f"{kind}56"))
        ax.set(xlabel="layers", ylim=(0, None))
        ax.set_xticks(sorted({depth(run.network["name"]) for run in runs}))
    in_percent(axes, "wrong answers at the end")
    legend(figure)
    return noted(figure, provenance(runs))


def _dots_and_means(ax: Axes, points: Sequence[tuple[float, float]], marker: str, **line) -> None:
    """A dot for each point (x, y), so that the spread over seeds is seen, and a line through the means at each x."""
    if points:
        x = sorted({place for place, _ in points})
        means = [np.mean([y for place, y in points if place == one]) for one in x]
        ax.plot(*zip(*points, strict=True), marker, ms=5, color=line["color"], alpha=0.8)
        ax.plot(x, means, **line)


WAY_STYLE = {
    "from scratch": dict(color=PLAIN[1], linestyle="--", marker="s"),
    "new head": dict(color=RESIDUAL[0], linestyle="-", marker="^"),
    "all layers": dict(color=RESIDUAL[1], linestyle="-", marker="o", linewidth=2.8),
}


@styled
def error_by_examples(studies: Mapping[str, Sequence[Trial]]) -> Figure:
    """Test error against the number of examples a class: a panel each title, a line each way through the seeds' means.

    Every trial is a dot, so that the spread over seeds is seen. Raises ValueError without trials.
    """
    if not studies or not all(studies.values()):
        raise ValueError("error_by_examples needs at least one trial in each panel.")
    figure, axes = panels(list(studies), 4, 3.6, beside=2.2)
    for ax, trials in zip(axes, studies.values(), strict=True):
        for way, style in WAY_STYLE.items():
            points = [(trial.per_class, trial.test_error) for trial in trials if trial.way == way]
            _dots_and_means(ax, points, label=way, **style)
        sizes = sorted({trial.per_class for trial in trials})
        ax.set(xscale="log", xlabel="examples per class")
        ax.set_xticks(sizes, [str(n) for n in sizes])
        ax.minorticks_off()
    axes[0].set_ylim(bottom=0)  # of all panels, and only now: it ends the search for the highest error
    in_percent(axes, "wrong answers, new images")
    legend(figure)
    return figure
