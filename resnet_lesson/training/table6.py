"""The paper's table 6 with our own trainings beside it.

>>> table6(recipe="short")  # in a notebook it shows as a table; print() gives the same as text
"""

import textwrap
from collections.abc import Iterable, Sequence
from contextlib import suppress
from statistics import mean, stdev

from ..errors import LessonError
from ..models.networks import build, label
from .evaluation import ensemble
from .recipes import Recipe
from .recipes import recipe as recipe_by_name
from .runs import Run, list_runs

NETWORKS = ("plain20", "plain32", "plain44", "plain56", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
PUBLISHED = {  # test error in %, from table 6; ResNet-110's is the mean and the standard deviation of five runs
    "resnet20": "8.75",
    "resnet32": "7.51",
    "resnet44": "7.17",
    "resnet56": "6.97",
    "resnet110": "6.61 ± 0.16",
    "resnet1202": "7.93",
}
HEAD = ("network", "parameters", "paper, %", "ours, %", "seeds", "training, %", "ensemble, %")
NONE = "—"


class Table(str):
    """A Markdown table and the note under it, as text and in a notebook."""

    __repr__ = _repr_markdown_ = str.__str__


def recipe_of(network: str, recipe: str) -> Recipe:
    """The recipe for one network of the table: with the paper's, 110 layers get its warm-up (section 4.2)."""
    return recipe_by_name("paper110" if (network, recipe) == ("resnet110", "paper") else recipe)


def counts(run: Run, network: str, recipe: str) -> bool:
    """Whether a run counts for that network: finished, with shortcut A, by the whole recipe, on CIFAR-10."""
    wanted = recipe_of(network, recipe)
    return (
        run.status == "finished"
        and (run.network["name"], run.data["name"]) == (network, "cifar10")
        and (run.recipe["name"], run.recipe["iterations"]) == (wanted.name, wanted.iterations)
        and run.network["options"] in ({}, {"shortcut": "A"})
    )


def table6(runs: Iterable[Run] | None = None, recipe: str = "paper", networks: Sequence[str] = NETWORKS) -> Table:
    """The paper's table 6 beside the finished `runs` by that recipe (default: those that come with the course).

    Only runs with shortcut A that followed the whole recipe count, and each seed counts once. A network without any run
    keeps its row. Raises ValueError for a recipe that does not exist.
    """
    runs = list_runs() if runs is None else list(runs)
    rows, used = [], []
    for network in networks:
        mine = list({run.seed: run for run in runs if counts(run, network, recipe)}.values())
        rows.append(_row(network, mine))
        used += mine
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    lines = [[f"{name:{widths[0]}}", *map(str.rjust, rest, widths[1:])] for name, *rest in (HEAD, *rows)]
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return Table(f"{text}\n\n{textwrap.fill(_note(used, recipe), 110)}")


def _row(network: str, runs: Sequence[Run]) -> tuple[str, ...]:
    """The cells of one network; its runs differ only in the seed."""
    ours = together = training = NONE
    if runs:
        errors = [100 * run.final() for run in runs]
        ours = f"{mean(errors):.2f}" + (f" ± {stdev(errors):.2f}" if len(errors) > 1 else "")
        training = f"{100 * mean(run.final('train_error') for run in runs):.2f}"
    answers = []
    for run in runs:
        with suppress(LessonError):  # recorded without predictions, or damaged: the others still make an ensemble
            answers.append(run.predictions())
    if len(answers) > 1:
        wrong = ensemble([logits for logits, _ in answers]).argmax(1) != answers[0][1]
        some = f" (of {len(answers)})" if len(answers) < len(runs) else ""
        together = f"{100 * wrong.double().mean():.2f}{some}"
    parameters = f"{sum(weight.numel() for weight in build(network).parameters()):,}"
    return label(network), parameters, PUBLISHED.get(network, NONE), ours, str(len(runs)), training, together


def _note(runs: Sequence[Run], recipe: str) -> str:
    """What the numbers are, and where ours come from."""
    paper = "Paper: He et al. 2015, table 6; it prints no number for plain nets."
    if not runs:
        return f"{paper} Ours: no finished run by the recipe {recipe} yet."
    epochs = ", ".join(sorted({str(run.history[-1]["epoch"]) for run in runs}))
    hardware = "; ".join(sorted({f"{run.hardware}, {run.precision}" for run in runs}))
    ours = (
        f"Ours: recipe {recipe}, {epochs} epochs of cifar10, {hardware}; error after the last "
        "epoch, mean ± standard deviation (n - 1) over the seeds. Training error: on the augmented images, while "
        "training. Ensemble: of the mean of the seeds' softmax probabilities."
    )
    if recipe != "paper":
        ours += " This is not the paper's recipe (164 epochs): compare ours with each other, not with the paper's."
    return f"{paper} {ours}"
