"""Figures of recorded studies: a dot per trial, so that the spread over seeds is seen, and a line through the means."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ..models.networks import label
from ..training.runs import Run
from ..training.study import Study
from .style import dots_and_means, finish, noted, panels, styled, styles

COLUMNS = {"train_errors": "training error", "test_errors": "test error"}
GUESSING = 0.9  # wrong answers of ten classes; also shown where a training diverged


def provenance(study: Study) -> str:
    """Which data, recipe, seeds and machine: the line under a figure of a study."""
    seeds = sorted({trial["seed"] for trial in study.trials})
    what = [study.shared["data"]["name"], f"recipe {study.shared['recipe']['name']}"]
    what.append(f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}")
    return " · ".join(["Recorded", *what, study.hardware])


def final(trial: Mapping, column: str = "train_errors") -> float:
    """The error after the last epoch of a trial; that of guessing where it diverged."""
    return GUESSING if trial["diverged"] is not None else trial[column][-1]


@styled
def rate_curves(
    study: Study,
    networks: Sequence[str] = (),
    columns: Sequence[str] = ("train_errors", "test_errors"),
    live: Mapping[str, Run] | None = None,
) -> Figure:
    """Errors after the last epoch against the learning rate, a line for each network: a panel for each column.

    networks: their names; by default all of the study. live: runs of the reader's own, by network, marked with crosses.
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
def dose_curve(study: Study, chosen: float | None = None) -> Figure:
    """Training error after the last epoch against the dose of the shortcuts; `chosen` marks one dose."""
    figure, (ax,) = panels([""], 6, 3.8)
    points = [(trial["dose"], final(trial)) for trial in study.trials]
    style = styles(["resnet56"])["resnet56"]
    dots_and_means(ax, points, label="56 layers", **style)
    if chosen is not None:
        ax.axvline(chosen, color="#888888", linewidth=8, alpha=0.3)
    ax.set(xlabel="dose of the shortcut: 0 is plain-56, 1 is ResNet-56", ylim=(0, 1))
    return noted(finish(figure, "wrong answers at the end"), provenance(study))


@styled
def step_bands(study: Study, moments: Sequence[str], networks: Sequence[str]) -> Figure:
    """|gradient| / |weights| by layer at each moment of training: the median of the seeds, and a band over all."""
    titles = ["before training", *(f"after {moment} step{'s' * (moment != '1')}" for moment in moments[1:])]
    figure, axes = panels(titles, 3.2, 3.6, beside=1.4)
    for ax, moment in zip(axes, moments, strict=True):
        for name, style in styles(networks).items():
            found = np.array([trial["moments"][moment]["relative"] for trial in study.where(network=name)])[:, :-1]
            depth = np.linspace(0, 1, found.shape[1])
            style = {**style, "marker": ""}
            ax.plot(depth, np.median(found, 0), label=label(name), **style)
            ax.fill_between(depth, found.min(0), found.max(0), color=style["color"], alpha=0.2, linewidth=0)
        ax.set(xlabel="depth of the layer", yscale="log")
    return noted(finish(figure, "|gradient| / |weights|", percent=False), provenance(study))
