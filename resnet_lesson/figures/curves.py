"""Curves: errors over epochs, depth and examples, and a number for each layer."""

import math
import re
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..models.networks import label
from ..training.runs import Run
from ..training.transfer_study import Trial
from .style import PLAIN, RESIDUAL, STYLE, depth, line_style

ERRORS = {"train_error": "training error", "test_error": "test error"}  # the panels of `error_curves`


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


WAY_STYLE = {
    "from scratch": dict(color=PLAIN[1], linestyle="--", marker="s"),
    "new head": dict(color=RESIDUAL[0], linestyle="-", marker="^"),
    "all layers": dict(color=RESIDUAL[1], linestyle="-", marker="o", linewidth=2.8),
}


def error_by_examples(panels: Mapping[str, Sequence[Trial]]) -> Figure:
    """Test error against the number of examples a class: a panel each title, a line each way through the seeds' means.

    Every trial is a dot, so that the spread over seeds is seen. Raises ValueError without trials.
    """
    if not panels or not all(panels.values()):
        raise ValueError("error_by_examples needs at least one trial in each panel.")
    with plt.rc_context(STYLE):
        size = (2.2 + 4 * len(panels), 3.6)
        figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False, layout="constrained")
        for ax, (title, trials) in zip(axes[0], panels.items(), strict=True):
            sizes = sorted({trial.per_class for trial in trials})
            for way, style in WAY_STYLE.items():
                errors = {n: [t.test_error for t in trials if (t.way, t.per_class) == (way, n)] for n in sizes}
                there = [n for n in sizes if errors[n]]
                if there:
                    ax.plot(there, [np.mean(errors[n]) for n in there], label=way, **style, ms=0)
                for n in there:
                    dots = {**style, "linestyle": ""}
                    ax.plot([n] * len(errors[n]), errors[n], ms=5, alpha=0.8, **dots)
            ax.set(title=title, xscale="log", xlabel="examples a class")
            ax.set_xticks(sizes, [str(n) for n in sizes])
            ax.minorticks_off()
            ax.yaxis.set_major_formatter(PercentFormatter(1))
        axes[0, 0].set_ylim(bottom=0)  # of all panels, and only now: it ends the search for the highest error
        axes[0, 0].set_ylabel("wrong answers, new images")
        named = {line.get_label(): line for ax in axes[0] for line in ax.get_lines() if line.get_label()[0] != "_"}
        figure.legend(named.values(), named.keys(), loc="outside right center")
    plt.close(figure)
    return figure
