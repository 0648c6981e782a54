"""The paper's table 6 with our own trainings beside it."""

import statistics
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from ... import machine
from ...datasets.batches import Batches, Normalisation
from ...datasets.dataset import Dataset
from ...errors import LessonError
from ...models.networks import build, label
from ..evaluation import ensemble, predict, score
from ..recipes import PAPER as PAPER_RECIPE
from ..recipes import Recipe
from ..recipes import recipe as recipe_by_name
from ..runs import Run, list_runs
from .job import belongs

NETWORKS = ("plain20", "plain32", "plain44", "plain56", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
PAPER = {  # test error, 0 to 1: mean and, where it is of several runs, standard deviation; table 6 of the paper
    "resnet20": (0.0875, None),
    "resnet32": (0.0751, None),
    "resnet44": (0.0717, None),
    "resnet56": (0.0697, None),
    "resnet110": (0.0661, 0.0016),
    "resnet1202": (0.0793, None),
}


def recipe_of(network: str, recipe: Recipe) -> Recipe:
    """The recipe for one network of the table: with the paper's, 110 layers get its warm-up (section 4.2)."""
    if (network, recipe.name) != ("resnet110", "paper"):
        return recipe
    return recipe_by_name("paper110").scaled(recipe.iterations)


@dataclass(frozen=True)
class Row:
    """One network. Errors are shares, 0 to 1; those of ours are a value a seed, after the last epoch.

    paper: mean and standard deviation (None for one run), or None where the paper prints no number.
    ensemble: the error of the mean of `ensemble_of` seeds' softmax probabilities, or None below two.
    """

    network: str
    parameters: int
    paper: tuple[float, float | None] | None
    test_errors: tuple[float, ...]
    train_errors: tuple[float, ...]
    ensemble: float | None
    ensemble_of: int

    @property
    def mean(self) -> float | None:
        return statistics.mean(self.test_errors) if self.test_errors else None

    @property
    def std(self) -> float | None:
        """Standard deviation over the seeds, with n - 1; None below two seeds."""
        return statistics.stdev(self.test_errors) if len(self.test_errors) > 1 else None

    def cells(self) -> tuple[str, ...]:
        train = statistics.mean(self.train_errors) if self.train_errors else None
        together = _percent(self.ensemble)
        if self.ensemble is not None and self.ensemble_of != len(self.test_errors):
            together += f" (of {self.ensemble_of})"
        paper = _percent(*self.paper) if self.paper else "—"
        seeds = str(len(self.test_errors))
        return (label(self.network), f"{self.parameters:,}", paper, _percent(self.mean, self.std), seeds,
                _percent(train), together)  # fmt: skip


def _percent(mean: float | None, std: float | None = None) -> str:
    if mean is None:
        return "—"
    return f"{100 * mean:.2f}" + ("" if std is None else f" ± {100 * std:.2f}")


@dataclass(frozen=True, repr=False)
class Table6:
    """Rows, and the note that belongs under them. A Markdown table, as text and in a notebook."""

    rows: tuple[Row, ...]
    note: str

    def __str__(self) -> str:
        head = ("network", "parameters", "paper, %", "ours, %", "seeds", "training, %", "ensemble, %")
        cells = [head, *(row.cells() for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [[f"{name:{widths[0]}}", *map(str.rjust, rest, widths[1:])] for name, *rest in cells]
        lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{textwrap.fill(self.note, 110)}"

    __repr__ = _repr_markdown_ = __str__


def table6(
    runs: Iterable[Run] | None = None,
    recipe: Recipe | str = "paper",
    networks: Sequence[str] = NETWORKS,
    dataset: str = "cifar10",
) -> Table6:
    """The paper's table 6 beside the finished `runs` by that recipe (default: those that come with the course).

    Counted are runs of the recipe's whole length, with shortcut A, on that data set; each seed once. A network without
    any keeps its row. Raises ValueError for a recipe or network that does not exist.
    """
    recipe = recipe_by_name(recipe) if isinstance(recipe, str) else recipe
    runs = list_runs() if runs is None else list(runs)
    rows, used = [], []
    for network in networks:
        wanted = recipe_of(network, recipe)
        mine = {run.seed: run for run in runs if belongs(run, network, wanted, dataset)}.values()
        used += mine
        predictions = [run.predictions() for run in mine if _has_predictions(run)]
        together = None
        if len(predictions) > 1:
            mean = ensemble([logits for logits, _ in predictions])
            together = float((mean.argmax(1) != predictions[0][1]).double().mean())
        rows.append(
            Row(
                network,
                sum(weight.numel() for weight in build(network).parameters()),
                PAPER.get(network),
                tuple(run.final() for run in mine),
                tuple(run.final("train_error") for run in mine),
                together,
                len(predictions),
            )
        )
    return Table6(tuple(rows), _note(used, recipe))


def _has_predictions(run: Run) -> bool:
    return run.folder is not None and (run.folder / "predictions.safetensors").exists()


def _note(runs: Sequence[Run], recipe: Recipe) -> str:
    """What the numbers are, and where ours come from."""
    paper = (
        "Paper: He et al. 2015, table 6; for 110 layers five runs, the best 6.43%. It prints no number for plain nets."
    )
    if not runs:
        return f"{paper} Ours: no finished run by the recipe {recipe.name} yet."

    def all_of(values: Iterable) -> str:
        return ", ".join(sorted({str(value) for value in values}))

    epochs = all_of(run.history[-1]["epoch"] for run in runs)
    names = all_of(run.recipe["name"] for run in runs)
    hardware = "; ".join(sorted({f"{run.hardware}, {run.precision}" for run in runs}))
    ours = (
        f"Ours: recipe {names}, {epochs} epochs of {all_of(run.data['name'] for run in runs)}, {hardware}; error after "
        "the last epoch, mean ± standard deviation (n - 1) over the seeds. Training error: on the augmented images, "
        "while training. Ensemble: of the mean of the seeds' softmax probabilities."
    )
    if (recipe.name, recipe.iterations) != (PAPER_RECIPE.name, PAPER_RECIPE.iterations):
        ours += " This is not the paper's recipe (164 epochs): compare ours with each other, not with the paper's."
    return f"{paper} {ours}"


def add_predictions(run: Run, train_set: Dataset, test_set: Dataset, device: str | None = None) -> float:
    """Compute a recorded run's answers to the test images from its weights, and record them; return their error.

    For runs recorded before predictions were. Raises LessonError where the images are not those of the run, where it
    has no weights, or where they do not give the recorded error (to 0.2%: another machine rounds differently).
    """
    run.check_data(train_set, test_set)
    device = torch.device(device) if device else machine.pick_device()
    network = run.load_weights(build(run.network["name"], **run.network["options"]))
    network.to(device, memory_format=torch.channels_last)
    normalisation = Normalisation.of(train_set, run.recipe["normalisation"])
    batches = Batches(test_set, batch_size=run.recipe["batch_size"], normalisation=normalisation, device=device)
    logits, labels = predict(network, batches, run.precision)
    _, error = score(logits, labels)
    if abs(error - run.final()) > 0.002:
        raise LessonError(
            f"The weights of {run.name} give a test error of {error:.2%} and its record says {run.final():.2%}: "
            "delete its folder and train again."
        )
    run.save_predictions(logits, labels)
    return error
