"""Curves: errors against epochs, depth, and the number of examples."""

import math
import re
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from ..models.networks import label
from ..training.runs import Run
from ..training.study import Study
from .style import PLAIN, RESIDUAL, depth, dots_and_means, finish, line_style, noted, panels, styled, styles

ERRORS = {"train_error": "training error", "test_error": "test error"}  # the panels of `error_curves`
MANY = 12  # rows of a run: with more dots than this, dashes look like a solid line


def provenance(runs: Sequence[Run]) -> str:
    """The line under a figure of training runs: live or recorded, on what data and hardware."""
    kinds = sorted({"live" if run.live else "recorded" for run in runs})
    seeds = sorted({run.seed for run in runs})
    parts = [
        " and ".join(kinds).capitalize(),
        ", ".join(sorted({run.data["name"] for run in runs})),
        f"recipe {', '.join(sorted({run.recipe['name'] for run in runs}))}",
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}",
    ]
    if kinds == ["recorded"]:  # a live figure was made on the reader's own machine
        parts.append("; ".join(sorted({f"{run.hardware}, {run.precision}" for run in runs})))
    return " · ".join(parts)


def _epochs(run: Run, iterations: Sequence[int]) -> list[float]:
    """How many epochs that many iterations of a run are."""
    each = math.ceil(run.data["train"]["images"] / run.recipe["batch_size"])
    return [iteration / each for iteration in iterations]


@styled
def error_curves(runs: Sequence[Run], planned: bool = False, top: float = 1.0) -> Figure:
    """Training and test error by epoch, side by side on the same scale, one line per run.

    planned: for runs that are still going on, extend the x axis to the end of the longest recipe.
    top: the highest error shown, 0 to 1; a lower value enlarges the end of long runs.
    Raises ValueError without runs.
    """
    if not runs:
        raise ValueError("error_curves needs at least one run.")
    figure, axes = panels(list(ERRORS.values()), 5.5, 4)
    look = styles(run.network["name"] for run in runs)
    for ax, column in zip(axes, ERRORS, strict=True):
        for run in runs:
            name, rows = run.network["name"], len(run.history)
            style = {**look[name], "ms": 4}
            if rows > MANY:  # fewer and larger markers; and none where width and dashes tell the lines apart
                style |= {"ms": 6, "markevery": rows // 8, "marker": style["marker"].replace("o", "")}
            ax.plot(_epochs(run, run.column("iteration")), run.column(column), label=label(name), **style)
        ax.set(xlabel="epoch", ylim=(0, top))
        if planned:
            ax.set_xlim(0, 1.02 * max(_epochs(run, [run.recipe["iterations"]])[0] for run in runs))
        ax.locator_params(axis="x", integer=True)
    return noted(finish(figure, "wrong answers"), provenance(runs))


@styled
def live_beside(run: Run, study: Study, networks: Sequence[str], **settings) -> Figure:
    """Training error of a run by epoch, together with the trials of a study, one thin line per seed.

    networks: which of the study's networks to draw, by name; settings: which of their trials, such as lr=0.03.
    """
    figure, (ax,) = panels([""], 6, 3.8, beside=2.2)
    look = styles(networks)
    for name in networks:
        for errors in study.values("train_errors", network=name, **settings):
            thin = {**look[name], "linewidth": 1.2, "ms": 3}
            ax.plot(range(1, len(errors) + 1), errors, label=f"{label(name)}, recorded", **thin)
    at, errors = _epochs(run, run.column("iteration")), run.column("train_error")
    ax.plot(at, errors, label="live", color="black", linewidth=2.2, marker="D", ms=6, fillstyle="none")
    ax.set(xlabel="epoch", ylim=(0, 1))
    ax.locator_params(axis="x", integer=True)
    seeds = sorted({trial["seed"] for name in networks for trial in study.where(network=name, **settings)})
    beside = f"recorded: seeds {', '.join(map(str, seeds))}, {study.hardware}"
    return noted(finish(figure, "wrong answers, training images"), f"{provenance([run])} · {beside}")


CONTROLLED = ((RESIDUAL[1], "o"), ("#cc79a7", "s"), ("#777777", "^"), (RESIDUAL[0], "D"))


@styled
def comparison(experiment: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """A controlled experiment: {panel title: {name: errors (0 to 1) by epoch}}, at most four names.

    The first name is the right way, drawn as a dark, thick line.
    """
    names = list(dict.fromkeys(name for lines in experiment.values() for name in lines))
    look = dict(zip(names, CONTROLLED[: len(names)], strict=True))
    figure, axes = panels(list(experiment), 3.4, 3, beside=2.6)
    for ax, lines in zip(axes, experiment.values(), strict=True):
        for name, errors in lines.items():
            color, marker = look[name]
            size = dict(lw=4, ms=8) if name == names[0] else dict(lw=1.5, ms=4)  # visible under the others
            ax.plot(range(1, len(errors) + 1), errors, color=color, marker=marker, label=name, **size)
        ax.set(xlabel="epoch", ylim=(0, 1.02))
        ax.locator_params(axis="x", integer=True)
    return finish(figure, "wrong answers")


@styled
def depth_curves(runs: Sequence[Run]) -> Figure:
    """Final training and test error against depth: one dot per run, and lines through the means of plain and residual.

    Other networks, and runs that did not finish, are left out. Raises ValueError if no run is left.
    """
    runs = [run for run in runs if run.status == "finished" and re.fullmatch(r"(plain|resnet)\d+", run.network["name"])]
    if not runs:
        raise ValueError("depth_curves needs at least one run of a plain or residual network, such as resnet20.")
    figure, axes = panels(list(ERRORS.values()), 4.5, 3.6)
    for ax, column in zip(axes, ERRORS, strict=True):
        for kind, name in (("plain", "plain"), ("resnet", "ResNet")):
            ours = [run for run in runs if run.network["name"].startswith(kind)]
            points = [(depth(run.network["name"]), run.final(column)) for run in ours]
            dots_and_means(ax, points, label=name, **line_style(f"{kind}56"))
        ax.set(xlabel="layers", ylim=(0, None))
        ax.set_xticks(sorted({depth(run.network["name"]) for run in runs}))
    return noted(finish(figure, "wrong answers at the end"), provenance(runs))


WAY_STYLE: dict[str, dict] = {
    "from scratch": dict(color=PLAIN[1], linestyle="--", marker="s"),
    "new head": dict(color=RESIDUAL[0], linestyle="-", marker="^"),
    "all layers": dict(color=RESIDUAL[1], linestyle="-", marker="o", linewidth=2.8),
}


@styled
def error_by_examples(studies: Mapping[str, Sequence[Mapping]]) -> Figure:
    """Test error against the number of examples per class: one panel per title, one line per way through the means.

    Every trial is a dot, to show the spread over seeds.
    """
    figure, axes = panels(list(studies), 4, 3.6, beside=2.2)
    for ax, trials in zip(axes, studies.values(), strict=True):
        for way, style in WAY_STYLE.items():
            points = [(trial["per_class"], trial["test_error"]) for trial in trials if trial["way"] == way]
            dots_and_means(ax, points, label=way, **style)
        sizes = sorted({trial["per_class"] for trial in trials})
        ax.set(xscale="log", xlabel="examples per class")
        ax.set_xticks(sizes, [str(n) for n in sizes])
        ax.minorticks_off()
    axes[0].set_ylim(bottom=0)  # for all panels, and only now, because it fixes the upper end too
    return finish(figure, "wrong answers, new images")
