"""The comparison of notebook 08: training from scratch, only a new head, or all layers, on few and many examples."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean, stdev

import torch

from .. import machine
from ..datasets.dataset import Dataset
from ..datasets.quickdraw import quickdraw
from ..models.networks import build
from .pretrained import as_photographs, pretrained
from .recipes import Recipe
from .study import Plan, grid
from .transfer import FINE_TUNING, fine_tune, freeze, replace_head

WAYS = {  # each with the best of the rates 0.03, 0.1, 0.3 and 1 on other drawings (doodles10, seeds 7 and 8)
    "from scratch": 0.3,
    "new head": 1.0,
    "all layers": 0.1,
}
DRAWN = ("apple", "bicycle", "cat", "diamond", "eye", "fish")
SIZES, SEEDS = (10, 50, 500), (0, 1, 2)  # examples per class; trials of each kind


def sample(pool: Dataset, per_class: int, seed: int) -> Dataset:
    """`per_class` examples of each class, chosen by the seed."""
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
    return replace(pool, images=pool.images[order], labels=pool.labels[order]).split(per_class)[0]


def one_trial(
    network: str, pool: Dataset, test_set: Dataset, per_class: int, way: str, seed: int, recipe: Recipe = FINE_TUNING
) -> dict:
    """Train once in one of the `WAYS`, and return the training and test error (0 to 1).

    network: the name of a pretrained network; the same kind is also trained from scratch. pool: (N, H, W, 3) images,
    from which the seed draws `per_class` examples; it also fixes the new weights and the order. Raises LessonError if
    the pool has too few images of a class.
    """
    start = pretrained(network)
    trained = start.network if way != "from scratch" else build(network, seed=seed)
    replace_head(trained, len(pool.classes), seed=seed)
    if way == "new head":
        freeze(trained)
    recipe = replace(recipe, lr=WAYS[way])
    errors = fine_tune(trained, sample(pool, per_class, seed), test_set, start.normalisation, recipe, seed=seed)
    return dict(zip(("train_error", "test_error"), errors, strict=True))


def on_quickdraw(root: Path) -> Plan:
    """Each way, with each number of examples and each seed: ResNet-20, on people's drawings of six things."""
    pool, test_set = map(as_photographs, quickdraw(DRAWN, 1500, root).split(1000))
    recipe = FINE_TUNING.scaled(300)
    shared = {
        "network": pretrained("resnet20").source,
        "data": {"name": pool.name, "classes": list(pool.classes)},
        "pool": pool.identity,
        "test": test_set.identity,
        "recipe": {key: value for key, value in asdict(recipe).items() if key != "lr"},
        "learning_rates": WAYS,
        "precision": machine.pick_precision(machine.pick_device()),
    }
    question = "From scratch, a new head, or all layers: what does a trained network give a new task?"
    settings = grid(per_class=SIZES, way=WAYS, seed=SEEDS)
    return Plan(
        "transfer", question, shared, settings, lambda **of: one_trial("resnet20", pool, test_set, recipe=recipe, **of)
    )


def table(trials: Sequence[Mapping]) -> str:
    """Test error, mean ± standard deviation over the seeds: one row per way, one column per number of examples."""
    sizes = sorted({trial["per_class"] for trial in trials})
    lines = [f"{'test error':13}" + "".join(f"{f'{size} per class':>18}" for size in sizes)]
    for way in dict.fromkeys(trial["way"] for trial in trials):
        cells = []
        for size in sizes:
            errors = [trial["test_error"] for trial in trials if (trial["way"], trial["per_class"]) == (way, size)]
            spread = f" ± {stdev(errors):5.1%}" if len(errors) > 1 else ""
            cells.append(f"{mean(errors):.1%}{spread}" if errors else "-")
        lines.append(f"{way:13}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines)
