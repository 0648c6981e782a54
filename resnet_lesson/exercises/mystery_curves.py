"""The exercise `mystery_curves` of notebook 06: six trainings, each with a mistake that its curves give away."""

import textwrap
from math import log

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..figures.studies import provenance
from ..figures.style import noted, styled
from ..training.study import recorded_study
from .kit.calls import choice
from .kit.exercise import Exercise, Wrong
from .kit.report import Text

LETTERS = {"A": "softmax", "B": "labels", "C": "rate", "D": "order", "E": "decay", "F": "pixels"}
ROWS = {"train_losses": "training loss", "train_errors": "training error", "test_errors": "test error"}


def _ends(mistake: str, column: str, epoch: int = -1) -> str:
    """Smallest and largest of the three seeds, as "51 to 57%"; losses as they are."""
    found = sorted(values[epoch] for values in recorded_study("mistakes").values(column, mistake=mistake))
    if column == "train_losses":
        return f"{found[0]:.2f} to {found[-1]:.2f}"
    low, high = (f"{100 * value:.0f}" for value in (found[0], found[-1]))
    return f"{low}%" if low == high else f"{low} to {high}%"


def _sign(mistake: str) -> str:
    """What gives it away, with the numbers of the record."""
    loss, error, test = (_ends(mistake, column) for column in ROWS)
    first, early = _ends(mistake, "train_losses", 0), _ends(mistake, "train_errors", 1)
    return {
        "softmax": f"The loss ends at {loss}, hardly below its start, while the error falls to {error}. Through a "
        "second softmax a perfect answer still has a loss of 1.461, and an undecided one gets a tenth of the gradient.",
        "labels": f"Training is as it should be, and the test error climbs to {test}. Guessing is wrong 90% of the "
        "time, so this network does know the classes, and somebody has numbered them in another order.",
        "rate": f"The loss of the first epoch, {first}, is above that of guessing, ln 10 = 2.30: the steps do more "
        f"harm than good. Yet it learns, loss and error together, and ends at {error}.",
        "order": f"In epoch 2, {early} of the training answers are wrong, more than by guessing: probably because each "
        "step pushes towards the classes of its own batch, and the next batch has others.",
        "decay": f"The loss stays at ln 10 = 2.30, the error ends at {error}: the weights are pulled to 0 faster than "
        "they can learn, and all ten classes are left with the same probability.",
        "pixels": f"Training is as it should be, and the test error ends at {test}: the network is tested on numbers "
        "that it has never met. It is not worse than guessing, so the classes are in order.",
    }[mistake]


def _answers() -> list[str]:
    return [f"{letter}: {mistake}. {_sign(mistake)}" for letter, mistake in LETTERS.items()]


def _solution() -> str:
    why = [textwrap.fill(line, 116, initial_indent="# ", subsequent_indent="# ") for line in _answers()]
    names = ", ".join(f'{letter}="{mistake}"' for letter, mistake in LETTERS.items())
    return "\n".join([*why, f"ex.check({names})"])


def mystery_answers() -> Text:
    """What each of the six mistakes was, and why its curves look as they do."""
    return Text("\n".join(_answers()))


mystery_curves = Exercise(
    "mystery_curves",
    "Say for each of the six trainings which mistake was made.",
    solution=_solution,
    hints=(
        "Sort them first: in which of the six do the training curves cover the grey ones, as they should?",
        "Guessing is wrong in 90% of the cases. A network that is wrong more often than that is not guessing: it has "
        "learned something, and something turns that into wrong answers.",
        "ln 10 = 2.30 is the loss of a network that gives each class the same probability. Which loss stays there, "
        "which starts above it, and which hardly falls below it even though the error falls?",
    ),
    read="notebook 06, section 7",
    answer=LETTERS,
)


@styled
def mystery_figure() -> Figure:
    """Losses and errors of the six trainings, a column per letter and a line per seed; grey is without a mistake."""
    study = recorded_study("mistakes")
    size = dict(figsize=(11, 5.6), sharex=True, sharey="row", layout="constrained")
    figure, axes = plt.subplots(len(ROWS), len(LETTERS), **size)
    for row, (column, title) in zip(axes, ROWS.items(), strict=True):
        guessing = log(10) if column == "train_losses" else 0.9
        for ax, mistake in zip(row, LETTERS.values(), strict=True):
            for name, look in (("none", dict(color="#999999", lw=1)), (mistake, dict(color="black", lw=1.4))):
                for values in study.values(column, mistake=name):
                    ax.plot(range(1, 9), values, **look)
            ax.axhline(guessing, color="#888888", lw=1, ls=":")
            ax.set(ylim=(0, 3) if column == "train_losses" else (0, 1.03), xticks=(1, 4, 8))
            if column != "train_losses":
                ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        row[0].set_ylabel(title)
    for letter, ax in zip(LETTERS, axes[0], strict=True):
        ax.set_title(letter)
    return noted(figure, "epoch · grey: without a mistake · dotted: guessing\n" + provenance(study))


def _add(letter: str, true: str) -> None:
    @mystery_curves.case(f"the curves of {letter}", "the mistake that causes such curves")
    def named(parts):
        name = choice(parts, letter, LETTERS.values())
        if name != true:
            raise Wrong(
                f"`{name}` makes other curves", f"{letter} is {name}", f"{_sign(name)} Does {letter} show that?"
            )


for _letter, _mistake in LETTERS.items():
    _add(_letter, _mistake)
