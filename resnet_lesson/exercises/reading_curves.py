"""Reading error curves: which of the course's networks is which, in notebook 01."""

import re
from itertools import permutations

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..figures.curves import provenance
from ..figures.style import noted, panels, styled
from ..models.networks import label
from ..training.runs import Run, recorded
from .kit.calls import choice, no_other_parts, part
from .kit.exercise import Exercise, Wrong

CURVES = {"A": "plain20", "B": "resnet56", "C": "plain56", "D": "resnet20"}
LOOK = {"A": ("#333333", "o"), "B": ("#333333", "s"), "C": ("#333333", "v"), "D": ("#999999", "^")}
PARTS = {**CURVES, "overfits": "none"}  # the right answer


def _runs() -> dict[str, Run]:
    return {letter: recorded(f"paper-{name}-seed0") for letter, name in CURVES.items()}


def _explanation() -> str:
    runs = _runs()
    ends = [
        f"# {letter} is {label(CURVES[letter])}: training error {run.final('train_error'):.1%}, "
        f"test error {run.final():.1%}, so {run.final() - run.final('train_error'):.1%} between them."
        for letter, run in runs.items()
    ]
    why = (
        "# C is the highest of the four in both panels: plain-56, which you saw fall behind in section 5.",
        "# B is the lowest in both: with shortcuts the deeper network is the better one, so it is ResNet-56.",
        "# Of the two in between, D falls faster and ends lower: ResNet-20. A is its plain twin.",
        "# The distance between the two errors is about the same for all, and smallest for B. So C is not last because",
        "# it overfits more: it is as far behind on the training images as it is on the test images.",
    )
    names = ", ".join(f'{letter}="{name}"' for letter, name in CURVES.items())
    return "\n".join([*ends, *why, f'ex.check({names}, overfits="none")'])


reading_curves = Exercise(
    "reading_curves",
    "Say which of the four networks made which curve, and whether one of them overfits more than the others.",
    solution=_explanation,
    hints=(
        "Begin with the extremes. After section 5, which network would you expect to be the worst of the four?",
        "With shortcuts the deeper network is the better one: that gives you the lowest curve.",
        "Two are left, with 20 layers each. The one with shortcuts learns faster and ends lower.",
        "For the last part, subtract the training error from the test error of each letter. Both numbers are at the "
        "ends of its curves.",
    ),
    read="notebook 01, sections 5, 6 and 10; paper, figures 1 and 6",
    answer=PARTS,
)


@styled
def curves_figure() -> Figure:
    """The four full-length CIFAR-10 runs of the exercise `reading_curves`, with letters instead of names.

    The letters are beside the ends of their curves, lowest first, each with the error at the end.
    """
    runs = _runs()
    figure, axes = panels(["training error", "test error"], 5.4, 4.6)
    for ax, column in zip(axes, ("train_error", "test_error"), strict=True):
        height = -0.012  # of the letter below
        for letter, run in sorted(runs.items(), key=lambda item: item[1].final(column)):
            grey, marker = LOOK[letter]
            epochs, errors = run.column("epoch"), run.column(column)
            ax.plot(epochs, errors, color=grey, marker=marker, markevery=(9, 20), ms=6, lw=1.2)
            height = max(errors[-1], height + 0.022)  # each on a line of its own
            ax.annotate(
                f"{letter}  {errors[-1]:.1%}",
                (epochs[-1], errors[-1]),
                (epochs[-1] + 14, height),
                va="center",
                weight="bold",
                arrowprops=dict(arrowstyle="-", color=grey, lw=0.8, shrinkA=2, shrinkB=0, relpos=(0, 0.5)),
            )
        ax.set(xlabel="epoch", ylim=(0, 0.4), xlim=(0, 210))
        ax.set_xticks([0, 40, 80, 120, 160])
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes[0].set_ylabel("wrong answers")
    return noted(figure, provenance(list(runs.values())))


def spelled(value: object) -> str:
    """A name as the package writes it: "Plain-56", "plain 56" and "plain_56" are plain56."""
    return re.sub(r"[\s_-]", "", str(value).lower())


def named(parts: dict) -> dict[str, str]:
    """The networks that were named, each with the letter given to it."""
    return {spelled(parts[letter]): letter for letter in CURVES if letter in parts}


@reading_curves.case("the four letters", "one of the four names for each")
def complete(parts):
    no_other_parts(parts, PARTS)
    for letter in CURVES:
        part(parts, letter)
    if strange := [f"{key}={parts[key]}" for key in CURVES if spelled(parts[key]) not in CURVES.values()]:
        raise Wrong(
            "not one of the four names", ", ".join(strange), f"Choose from {', '.join(sorted(CURVES.values()))}."
        )
    if len(named(parts)) < 4:
        raise Wrong("one name for two curves", ", ".join(named(parts)), "Each network made exactly one curve.")


@reading_curves.case("the two plain networks", "the deeper one is the worse one")
def plain_pair(parts):
    return {name: named(parts).get(name, "no curve") for name in ("plain20", "plain56")}


@reading_curves.case("the two networks with shortcuts", "the deeper one is the better one")
def residual_pair(parts):
    return {name: named(parts).get(name, "no curve") for name in ("resnet20", "resnet56")}


@reading_curves.case(
    "overfitting", "in no network is the test error further above the training error than in the others"
)
def overfitting(parts):
    return choice(parts, "overfits", [*map(str.lower, CURVES), "none"])


# --- The mistakes, by the parts that are wrong.
# fmt: off
mistake = reading_curves.mistake
mistake("plain-20 and plain-56 are swapped", {"A": "plain56", "C": "plain20"},
        "You saw it in section 5: without shortcuts, the network with 56 layers ends with the higher training error.")
mistake("ResNet-20 and ResNet-56 are swapped", {"B": "resnet20", "D": "resnet56"},
        "With shortcuts the deeper network is the better one, and its curve is the lowest of the four.")
for names in permutations(CURVES.values()):
    if any(name[0] != right[0] for name, right in zip(names, CURVES.values(), strict=True)):
        mistake("plain and residual networks are confused", dict(zip(CURVES, names, strict=True)),
                "At the same depth, the network with shortcuts ends lower. So the two lowest curves are the ResNets.")
mistake("degradation taken for overfitting", {"overfits": "C"},
        "C has the highest test error, but the highest training error too: the distance is no larger than for A.")
for letter in "ABD":
    mistake("overfitting where there is none", {"overfits": letter},
            "Subtract the training error from the test error. Is that distance larger than for the other curves?")
# fmt: on
