"""Figures of notebook 08, in the style of plots.py."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .plots import PLAIN, RESIDUAL, STYLE
from .transfer_study import Trial

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
