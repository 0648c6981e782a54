"""The comparison of notebook 08: from scratch, a new head alone, or everything, on few and on many examples."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import BinaryIO

import torch
from tqdm.auto import tqdm

from .. import machine
from ..datasets.dataset import Dataset
from ..errors import LessonError, unknown
from ..files import replace_file
from ..models.networks import build
from .pretrained import pretrained
from .recipes import Recipe
from .runs import shipped
from .transfer import FINE_TUNING, fine_tune, freeze, replace_head

WAYS = {  # each with the rate of 0.03, 0.1, 0.3 and 1 that did best on other drawings (doodles10, seeds 7 and 8)
    "from scratch": 0.3,
    "new head": 1.0,
    "all layers": 0.1,
}
SIZES, SEEDS = (10, 50, 500), (0, 1, 2)  # examples per class; trials of each kind


@dataclass(frozen=True)
class Trial:
    """One training: errors from 0 to 1, seconds of wall time."""

    way: str
    per_class: int
    seed: int
    train_error: float
    test_error: float
    seconds: float


def sample(pool: Dataset, per_class: int, seed: int) -> Dataset:
    """`per_class` examples of each class, chosen by the seed."""
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
    return replace(pool, images=pool.images[order], labels=pool.labels[order]).split(per_class)[0]


def one_trial(
    network: str, pool: Dataset, test_set: Dataset, per_class: int, way: str, seed: int, recipe: Recipe = FINE_TUNING
) -> Trial:
    """Train once; arguments as in `compare`."""
    start = pretrained(network)
    trained = start.network if way != "from scratch" else build(network, seed=seed)
    replace_head(trained, len(pool.classes), seed=seed)
    if way == "new head":
        freeze(trained)
    examples, began = sample(pool, per_class, seed), time.monotonic()
    recipe = replace(recipe, lr=WAYS[way])
    errors = fine_tune(trained, examples, test_set, start.normalisation, recipe, seed=seed)
    return Trial(way, per_class, seed, *errors, round(time.monotonic() - began, 1))


def compare(
    network: str,
    pool: Dataset,
    test_set: Dataset,
    sizes: Sequence[int] = SIZES,
    seeds: Sequence[int] = SEEDS,
    recipe: Recipe = FINE_TUNING,
) -> Iterator[Trial]:
    """Train in each of the `WAYS` with each number of examples per class and each seed; yield each trial when done.

    network: a pretrained network's name, and what is trained from scratch. pool: (N, H, W, 3) images, from which each
    seed draws its own examples; a seed also fixes the new weights and the order. All trials have as many steps. Raises
    LessonError where the pool has too few images of a class.
    """
    for combination in product(sizes, WAYS, seeds):
        yield one_trial(network, pool, test_set, *combination, recipe)


def table(trials: Sequence[Trial]) -> str:
    """Test error, mean ± standard deviation over the seeds: a row per way, a column per number of examples."""
    sizes = sorted({trial.per_class for trial in trials})
    lines = [f"{'test error':13}" + "".join(f"{f'{size} a class':>18}" for size in sizes)]
    for way in dict.fromkeys(trial.way for trial in trials):
        cells = []
        for size in sizes:
            errors = [trial.test_error for trial in trials if (trial.way, trial.per_class) == (way, size)]
            spread = f" ± {stdev(errors):5.1%}" if len(errors) > 1 else ""
            cells.append(f"{mean(errors):.1%}{spread}" if errors else "-")
        lines.append(f"{way:13}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines)


@dataclass(frozen=True)
class Study:
    """A recorded comparison. about: network, data, recipe, machine, command, commit."""

    name: str
    about: dict
    trials: tuple[Trial, ...]


def record(folder: Path, network: str, pool: Dataset, test_set: Dataset, recipe: Recipe = FINE_TUNING) -> Study:
    """Run all of `compare` and write it to transfer.json in `folder` after each trial; one that is there goes on.

    Raises LessonError where the folder holds a comparison on other images, with another network or recipe, or begun on
    another machine.
    """
    path = folder / "transfer.json"
    key = {
        "network": pretrained(network).source,
        "data": {"name": pool.name, "classes": list(pool.classes)},
        "pool": {"images": len(pool), "sha256": pool.sha256},
        "test": {"images": len(test_set), "sha256": test_set.sha256},
        "recipe": json.loads(json.dumps(asdict(recipe))),
        "learning_rates": WAYS,
        "precision": machine.pick_precision(device := machine.pick_device()),
        "threads": torch.get_num_threads(),
        "machine": machine.describe(device),
    }
    about = key | {"command": machine.command(), "commit": machine.commit()}
    trials: list[Trial] = []
    if path.exists():
        old = load(folder)
        if any(old.about.get(part) != value for part, value in key.items()):
            raise LessonError(f"{folder} holds another comparison, or one of another machine: choose another --out.")
        trials = list(old.trials)
        commits = [*str(old.about.get("commit")).split(" and "), str(about["commit"])]
        about["commit"] = " and ".join(dict.fromkeys(commits))
    done = {(trial.per_class, trial.way, trial.seed) for trial in trials}

    def save(file: BinaryIO) -> None:
        text = json.dumps({"about": about, "trials": [asdict(trial) for trial in trials]}, indent=1) + "\n"
        file.write(text.encode())

    todo = [one for one in product(SIZES, WAYS, SEEDS) if one not in done]
    for per_class, way, seed in tqdm(todo, desc=folder.name):
        trials.append(one_trial(network, pool, test_set, per_class, way, seed, recipe))
        replace_file(path, save)
    return load(folder)


def load(folder: Path) -> Study:
    """The comparison recorded in `folder`. Raises LessonError where there is none, or where it cannot be read."""
    path = folder / "transfer.json"
    try:
        found = json.loads(path.read_text())
        return Study(folder.name, found["about"], tuple(Trial(**trial) for trial in found["trials"]))
    except FileNotFoundError as error:
        there = sorted(path.parent.name for path in folder.parent.glob("*/transfer.json"))
        raise LessonError(unknown("recorded comparison", folder.name, there)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LessonError(f"{path} cannot be read ({error}): delete it and record it again.") from error


def recorded_study(name: str) -> Study:
    """The comparison of that name that comes with the course."""
    return load(shipped() / name)
