"""Reading error curves: which of the course's networks is which, in notebook 01."""

import re

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..figures.curves import provenance
from ..figures.style import STYLE
from ..models.networks import label
from ..training.runs import recorded
from .kit.exercise import Exercise, Wrong, is_unattempted

CURVES = {"A": "plain20", "B": "resnet56", "C": "plain56", "D": "resnet20"}
NEVER = ("no", "neither", "0")  # how "none of them", "Nobody." and "not one" begin


def _explanation() -> str:
    runs = {letter: recorded(f"short-{name}-seed0") for letter, name in CURVES.items()}
    ends = [
        f"# {letter} is {label(CURVES[letter])}: training error {run.final('train_error'):.0%}, "
        f"test error {run.final('test_error'):.0%} in the last epoch."
        for letter, run in runs.items()
    ]
    why = (
        "# C is far above the others in training error: the deep plain network, degraded. A is the shallow one.",
        "# With shortcuts depth helps: B, the lowest, is ResNet-56, and D is ResNet-20.",
        "# None overfits: no curve has a low training error beside a much higher test error.",
    )
    names = ", ".join(f'{letter}="{name}"' for letter, name in CURVES.items())
    return "\n".join([*ends, *why, f'ex.check({names}, overfits="none")'])


reading_curves = Exercise(
    "reading_curves",
    "Say which of the four networks made which curve, and which of them overfits.",
    solution=_explanation,
    hints=(
        "Look at the training error first. One curve stands apart: which network did so in section 5?",
        "The paper's claim: without shortcuts the deeper network is worse, with shortcuts it is better.",
        "A network overfits when its training error is low and its test error much higher. Compare the two panels.",
    ),
    read="notebook 01, sections 5, 6 and 9; paper, figures 1 and 6",
)


def curves_figure() -> Figure:
    """The four recorded CIFAR-10 runs of the exercise `reading_curves`, with letters instead of names."""
    runs = {letter: recorded(f"short-{name}-seed0") for letter, name in CURVES.items()}
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
        for ax, column in zip(axes, ("train_error", "test_error"), strict=True):
            height = -1.0
            for letter, one in sorted(runs.items(), key=lambda item: item[1].final(column)):
                epochs, values = one.column("epoch"), one.column(column)
                ax.plot(epochs, values, color="#444444", marker="osv^"["ABCD".index(letter)], ms=4)
                height = max(values[-1], height + 0.06)  # two letters side by side, not on each other
                ax.text(epochs[-1] + 0.12, height, letter, va="center", weight="bold")
            ax.set(
                title=f"{column.removesuffix('_error').replace('train', 'training')} error", xlabel="epoch", ylim=(0, 1)
            )
            ax.xaxis.get_major_locator().set_params(integer=True)
        axes[0].yaxis.set_major_formatter(PercentFormatter(1))
        axes[0].set_ylabel("wrong answers")
        figure.supxlabel(provenance(list(runs.values())), fontsize=9, color="#444444")
    plt.close(figure)
    return figure


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
        why = "With shortcuts depth pays: look for the lowest curve. The two are close, so compare their ends."
        raise Wrong("ResNet-20 and ResNet-56 are swapped", "ResNet-56 above ResNet-20", why)


@reading_curves.probe("plain against residual", "the two lowest curves have shortcuts")
def kinds(parts):
    names = _names(parts)
    mixed = [key for key, name in names.items() if name in CURVES.values() and name[0] != CURVES[key][0]]
    if mixed and len(set(names.values())) == 4:
        why = "At the same depth the network with shortcuts ends lower. So the two lowest curves are the ResNets."
        raise Wrong("plain and residual networks are confused", f"another kind at {', '.join(mixed)}", why)


@reading_curves.probe("overfitting", "a low training error beside a much higher test error: none of the four")
def overfitting(parts):
    if "overfits" in _open_parts(parts) or not (letters := _overfitting(parts["overfits"])):
        return
    got = parts["overfits"]
    if letters == {"c"}:
        why = "C has a high test error, but its training error is as high. It fits too little, not too well."
        raise Wrong("degradation taken for overfitting", got, why)
    why = "Compare its end in the left panel with its end in the right one: are they far apart?"
    raise Wrong("overfitting where there is none", got, why)
