"""Figures of recorded studies: one dot per trial, to show the spread over seeds, and a line through the means."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ..models.networks import label
from ..training.runs import Run
from ..training.study import Study
from .style import RESIDUAL, dots_and_means, finish, line_style, noted, panels, styled, styles

COLUMNS = {"train_errors": "training error", "test_errors": "test error"}
GUESSING = 0.9  # wrong answers of ten classes; also shown where a training diverged


def provenance(study: Study) -> str:
    """The line under a figure of a study: which data, recipe, seeds and machine it comes from."""
    seeds = sorted({trial["seed"] for trial in study.trials})
    what = [study.shared["data"]["name"], f"recipe {study.shared['recipe']['name']}"]
    rates = {trial.get("lr", study.shared["recipe"].get("lr")) for trial in study.trials} - {None}
    if len(rates) == 1:  # with several, the figure says which
        what[-1] += f" at {rates.pop():g}"
    what.append(f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}")
    return " · ".join(["Recorded", *what, study.hardware])


def final(trial: Mapping, column: str = "train_errors") -> float:
    """The error after the last epoch of a trial; that of guessing if the training diverged."""
    return GUESSING if trial["diverged"] is not None else trial[column][-1]


@styled
def rate_curves(
    study: Study,
    networks: Sequence[str] = (),
    columns: Sequence[str] = ("train_errors", "test_errors"),
    live: Mapping[str, Run] | None = None,
) -> Figure:
    """Errors after the last epoch against the learning rate: one line per network, one panel per column.

    networks: their names, by default all in the study. live: the reader's own runs, by network, marked with crosses.
    """
    figure, axes = panels([COLUMNS[column] for column in columns], 5, 3.8, beside=1.4)
    look = styles(networks or [trial["network"] for trial in study.trials])
    rates = sorted({trial["lr"] for trial in study.trials})
    for ax, column in zip(axes, columns, strict=True):
        for name, style in look.items():
            points = [(trial["lr"], final(trial, column)) for trial in study.where(network=name)]
            dots_and_means(ax, points, label=label(name), **style)
        for run in (live or {}).values():
            ax.plot(run.recipe["lr"], run.final(column.removesuffix("s")), "kx", ms=10, mew=2, label="live", zorder=3)
        ax.axhline(GUESSING, color="#888888", linewidth=1, linestyle=":")
        ax.text(rates[0], GUESSING + 0.01, "guessing", fontsize=9, color="#666666", va="bottom")
        ax.set(xscale="log", xlabel="learning rate", ylim=(0, 1))
        ax.set_xticks(rates, [f"{rate:g}" for rate in rates])
        ax.minorticks_off()
    return noted(finish(figure, "wrong answers at the end"), provenance(study))


@styled
def dose_view(study: Study, dose: float) -> Figure:
    """Left: the training error after the last epoch against the dose of the shortcuts, with one dose marked. Right: the
    training error epoch by epoch at that dose, one line per seed."""
    figure, (ends, course) = panels(["at the end", f"at a dose of {dose:g}, epoch by epoch"], 5, 3.8)
    style = styles(["resnet56"])["resnet56"]
    dots_and_means(ends, [(trial["dose"], final(trial)) for trial in study.trials], **style)
    ends.axvline(dose, color="#888888", linewidth=10, alpha=0.3)
    ends.set(xlabel="dose of the shortcut (0: plain-56, 1: ResNet-56)", ylim=(0, 1))
    for trial in study.where(dose=dose):
        errors = trial["train_errors"]
        course.plot(range(1, len(errors) + 1), errors, color=style["color"], marker="o", linewidth=1.5)
    course.set(xlabel="epoch", xticks=range(1, len(errors) + 1))
    figure.set_label(f"training error against the dose of the shortcut, and by epoch at a dose of {dose:g}")
    return noted(finish(figure, "wrong answers, training images"), provenance(study))


@styled
def start_curves(study: Study, references: Study) -> Figure:
    """Training error of plain-56 by the share of He's weights that it starts with: one panel per learning rate.

    references: a study of the usual plain-56 and ResNet-56 at the same rates; these make the two outer columns.
    """
    rates = sorted({trial["lr"] for trial in study.trials}, reverse=True)
    shares = sorted({trial["share"] for trial in study.trials}, reverse=True)
    names = ["plain-56", *(f"{share:g}" for share in shares), "ResNet-56"]
    figure, axes = panels([f"learning rate {rate:g}" for rate in rates], 5.2, 3.8)
    for ax, rate in zip(axes, rates, strict=True):
        points = [(1 + shares.index(trial["share"]), final(trial)) for trial in study.where(lr=rate)]
        dots_and_means(ax, points, **styles(["plain56"])["plain56"])
        for place, name in ((0, "plain56"), (len(names) - 1, "resnet56")):
            known = [(place, final(trial)) for trial in references.where(network=name, lr=rate)]
            dots_and_means(ax, known, **styles([name])[name])
        ax.set_xticks(range(len(names)), names)
        ax.set(xlabel="share of He's random weights beside the copy of x", ylim=(0, 1))
    return noted(finish(figure, "wrong answers at the end"), provenance(study))


WITH_BN, WITH_SCALAR, WITHOUT = "with BN", "SkipInit, no BN", "no BN"


@styled
def skipinit_curves(study: Study, references: Study) -> Figure:
    """Training error of ResNet-56 without BN against the learning rate, with and without SkipInit. A cross at the upper
    edge is a training that diverged. references: a study of ResNet-56 with BN that includes the same rates."""
    figure, (ax,) = panels([""], 6, 3.8, beside=2.4)
    rates = sorted({trial["lr"] for trial in study.trials})
    known = [trial for trial in references.where(network="resnet56") if trial["lr"] in rates]
    lines = {WITH_BN: known, WITH_SCALAR: study.where(skipinit=True), WITHOUT: study.where(skipinit=False)}
    look = {WITH_BN: (RESIDUAL[1], "o", "-"), WITH_SCALAR: ("#cc79a7", "s", "-"), WITHOUT: ("#555555", "x", "none")}
    for name, trials in lines.items():
        color, marker, dashes = look[name]
        points = [(trial["lr"], final(trial)) for trial in trials if trial["diverged"] is None]
        dots_and_means(ax, points, color=color, marker=marker, linestyle=dashes, label=name if points else None)
        aside = 1.0 if name == WITHOUT else 0.9  # or crosses at the same rate would cover each other
        lost = [aside * trial["lr"] for trial in trials if trial["diverged"] is not None]
        if lost:
            cross: dict = dict(color=color, ms=9, mew=2, clip_on=False, zorder=3, label=f"{name}: diverged")
            ax.plot(lost, [1] * len(lost), "x", **cross)
    ax.set(xscale="log", xlabel="learning rate", ylim=(0, 1))
    ax.set_xticks(rates, [f"{rate:g}" for rate in rates])
    ax.minorticks_off()
    return noted(finish(figure, "wrong answers at the end"), provenance(study))


def _moment(steps: str) -> str:
    return "before training" if steps == "0" else f"after {steps} step{'s' * (steps != '1')}"


@styled
def step_bands(study: Study, moments: Sequence[str], rows: Sequence[Sequence[str]]) -> Figure:
    """|gradient| / |weights| by layer: one column per moment, one row per group of networks.

    Lines show the medians over the seeds, and bands their whole range. The linear layer at the end is left out.
    """
    size = (2.3 * len(moments) + 1.6, 2.3 * len(rows) + 0.6)
    shared = dict(sharex=True, sharey=True, squeeze=False, layout="constrained")
    figure, axes = plt.subplots(len(rows), len(moments), figsize=size, **shared)
    for row, names in zip(axes, rows, strict=True):
        for ax, moment in zip(row, moments, strict=True):
            for name in names:
                layers = [trial["moments"][moment]["relative"][:-1] for trial in study.where(network=name)]
                found, depth = np.array(layers), np.linspace(0, 1, len(layers[0]))
                style = line_style(name)
                ax.plot(depth, np.median(found, 0), label=label(name), **style)
                ax.fill_between(depth, found.min(0), found.max(0), color=style["color"], alpha=0.25, linewidth=0)
            ax.set(yscale="log", xticks=(0, 0.5, 1))
        row[0].set_ylabel("‖g‖ / ‖W‖")
    for ax, moment in zip(axes[0], moments, strict=True):
        ax.set_title(_moment(moment))
    finish(figure, "‖g‖ / ‖W‖", percent=False)
    return noted(figure, "depth of the layer, 0: first, 1: last convolution\n" + provenance(study))


LOWEST = -0.5  # the lower end of the panels of `promises`


@styled
def promises(study: Study, moments: Sequence[str], networks: Sequence[str]) -> Figure:
    """The fraction of a promised decrease of the loss that a step achieves, against the promise: one panel per moment.

    Lines show the medians over the seeds, and each dot is one seed. Stars show the step that plain SGD takes at the
    study's learning rate, one per seed. Shares below LOWEST, and losses that are not finite, are drawn there.
    """
    figure, axes = panels([_moment(moment) for moment in moments], 2.4, 3.4, beside=2.2)
    promised = study.shared["promised"]
    trials = [trial["moments"] for name in networks for trial in study.where(network=name)]
    reach = [*promised, *(found[moment]["sgd"][0] for found in trials for moment in moments)]
    for ax, moment in zip(axes, moments, strict=True):
        for name in networks:
            style, found = line_style(name), [trial["moments"][moment] for trial in study.where(network=name)]
            shares = np.array([one["kept"] for one in found])
            ax.plot(promised, np.median(shares, 0), label=label(name), **style)
            for seed in shares:
                ax.plot(promised, np.maximum(seed, LOWEST), "o", ms=3, alpha=0.5, color=style["color"])
            by_sgd = np.nan_to_num(np.array([one["sgd"] for one in found]), nan=LOWEST)
            stars = dict(ms=9, color=style["color"], alpha=0.7, clip_on=False, label=f"{label(name)}: SGD's own step")
            ax.plot(by_sgd[:, 0], np.maximum(by_sgd[:, 1], LOWEST), "*", **stars)
        ax.axhline(1, color="black", lw=0.8)
        ax.set(xscale="log", xlim=(min(reach) / 2, max(reach) * 2), ylim=(LOWEST, 1.3))
    finish(figure, "share kept")
    return noted(figure, "decrease of the loss that the step promises\n" + provenance(study))
