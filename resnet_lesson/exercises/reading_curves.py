"""Reading error curves: which of the course's networks is which, in notebook 01."""

import re

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..figures.curves import provenance
from ..figures.style import noted, panels, styled
from ..models.networks import label
from ..training.runs import Run, recorded
from .kit.exercise import Exercise, Wrong, is_unattempted

CURVES = {"A": "plain20", "B": "resnet56", "C": "plain56", "D": "resnet20"}
LOOK = {"A": ("#333333", "o"), "B": ("#333333", "s"), "C": ("#333333", "v"), "D": ("#999999", "^")}
NEVER = ("no", "neither", "0")  # how "none of them", "Nobody." and "not one" begin


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
        "# Of the two between, D ends lower and falls faster: ResNet-20. A is its plain twin.",
        "# The distance between the two errors is about the same for all, and smallest for B. So what puts C last is",
        "# not that it overfits more: it is as far behind on the training images as it is on the test images.",
    )
    names = ", ".join(f'{letter}="{name}"' for letter, name in CURVES.items())
    return "\n".join([*ends, *why, f'ex.check({names}, overfits="none")'])


reading_curves = Exercise(
    "reading_curves",
    "Say which of the four networks made which curve, and whether one of them overfits more than the others.",
    solution=_explanation,
    hints=(
        "Begin with the two extremes. Which network would you expect to be the worst of the four, after section 5?",
        "With shortcuts the deeper network is the better one: that gives you the lowest curve.",
        "Two are left, with 20 layers each. The one with shortcuts learns faster and ends lower.",
        "For the last part subtract the training error from the test error, for each letter: both are beside its ends.",
    ),
    read="notebook 01, sections 5, 6 and 10; paper, figures 1 and 6",
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


def _spelled(value: object) -> str:
    """A name as the package writes it: "Plain-56", "plain 56" and "plain_56" are plain56."""
    return re.sub(r"[\s_-]", "", str(value).lower())


def _names(parts: dict) -> dict[str, str]:
    """The names given to the curves."""
    return {key: _spelled(value) for key, value in parts.items() if key in CURVES and not is_unattempted(value)}


def _overfitting(given: object) -> set[str]:
    """The curves that overfit as the answer says: none for None, False, [] and "None of them."."""
    several = given if isinstance(given, (list, tuple, set)) else [given]
    said = {_spelled(one) for one in several if one is not None and one is not False}
    letters = {name: letter.lower() for letter, name in CURVES.items()}
    return {letters.get(one, one.removeprefix("curve")) for one in said if not one.startswith(NEVER)}


def _open_parts(parts: dict) -> list[str]:
    """The parts without an answer. overfits=None is one, "none of them", as soon as the curves have theirs."""
    open_ = [key for key in CURVES if is_unattempted(parts.get(key))]
    given = parts.get("overfits", ...)
    return open_ + (["overfits"] if is_unattempted(given) and (open_ or given is not None) else [])


@reading_curves.probe("whether every curve has one of the four names", "A, B, C and D, and overfits")
def complete(parts):
    if unknown := sorted(set(parts) - {*CURVES, "overfits"}):
        raise Wrong("a part that is not asked for", ", ".join(unknown), "The parts are A, B, C, D and overfits.")
    if open_ := _open_parts(parts):
        raise Wrong("not answered yet", f"nothing for {', '.join(open_)}", "Give each part your best guess.")
    names = _names(parts)
    if strange := [f"{key}={parts[key]}" for key in names if names[key] not in CURVES.values()]:
        raise Wrong("not one of the four names", ", ".join(strange), f"They are {', '.join(sorted(CURVES.values()))}.")
    if len(set(names.values())) < 4:
        raise Wrong("one name for two curves", ", ".join(names.values()), "Each network made one curve.")


def _swapped(parts: dict, one: str, other: str) -> bool:
    names = _names(parts)
    letters = {name: letter for letter, name in CURVES.items()}
    return names.get(letters[one]) == other and names.get(letters[other]) == one


@reading_curves.probe("the two plain networks", "the deeper one is the worse one")
def plain_pair(parts):
    if _swapped(parts, "plain20", "plain56"):
        why = "You saw it in section 5: without shortcuts, 56 layers end with the higher training error."
        raise Wrong("plain-20 and plain-56 are swapped", "plain-20 above plain-56", why)


@reading_curves.probe("the two networks with shortcuts", "the deeper one is the better one")
def residual_pair(parts):
    if _swapped(parts, "resnet20", "resnet56"):
        why = "With shortcuts the deeper network is the better one: it is the lowest curve of the four."
        raise Wrong("ResNet-20 and ResNet-56 are swapped", "ResNet-56 above ResNet-20", why)


@reading_curves.probe("plain against residual", "the two lowest curves have shortcuts")
def kinds(parts):
    names = _names(parts)
    mixed = [key for key, name in names.items() if name in CURVES.values() and name[0] != CURVES[key][0]]
    if mixed and len(set(names.values())) == 4:
        why = "At the same depth the network with shortcuts ends lower. So the two lowest curves are the ResNets."
        raise Wrong("plain and residual networks are confused", f"another kind at {', '.join(mixed)}", why)


@reading_curves.probe("overfitting", "no network's test error is further above its training error than the others' are")
def overfitting(parts):
    if "overfits" in _open_parts(parts) or not (letters := _overfitting(parts["overfits"])):
        return
    got = parts["overfits"]
    if letters == {"c"}:
        why = "C has the highest test error, and the highest training error too: the distance is no larger than for A."
        raise Wrong("degradation taken for overfitting", got, why)
    why = "Subtract: test error minus training error. Is this distance larger than those of the other three?"
    raise Wrong("overfitting where there is none", got, why)
