"""The experiments with controls that notebooks 01, 02 and 05 to 07 rest on, each as the plan of a recorded study.

All of them train: networks that differ in one thing, by one recipe, on one data set.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from .. import machine
from ..datasets.batches import Batches, Normalisation
from ..datasets.cifar10 import cifar10
from ..datasets.dataset import Dataset
from ..datasets.shapes10 import shapes10
from ..models import broken
from ..models.controls import dosed, start_near_identity, unnormalised
from ..models.networks import build
from .evaluation import evaluate
from .loop import Diverged, fit
from .recipes import Recipe, recipe
from .study import Plan, grid
from .train import train

NETWORKS = ("plain20", "plain56", "resnet20", "resnet56")
SEEDS = (0, 1, 2)
LIVE_RATE = 0.03  # at which all four networks learn in the 256 steps of `demo`


def outcome(
    network: nn.Module, train_set: Dataset, test_set: Dataset, recipe: Recipe, seed: int, precision: str
) -> dict:
    """Train, and return the training and test errors (0 to 1) after each epoch, and where it diverged, or None."""
    rows: list[dict] = []

    def keep(run) -> None:
        rows[:] = run.history

    diverged = None
    try:
        train(network, train_set, test_set, recipe, seed=seed, precision=precision, progress=False, observers=[keep])
    except Diverged as error:
        diverged = error.iteration
    return {
        "train_errors": [round(row["train_error"], 5) for row in rows],
        "test_errors": [round(row["test_error"], 5) for row in rows],
        "diverged": diverged,
    }


def trained_plan(
    name: str,
    question: str,
    sets: tuple[Dataset, Dataset],
    recipe: Recipe,
    precision: str,
    settings: Sequence[dict],
    make: Callable[..., nn.Module],
) -> Plan:
    """A study whose trials each train a network by the recipe at the trial's `lr` and `seed`.

    make: called with the seed and with the other settings of a trial, by name.
    """

    def trial(lr: float, seed: int, **others) -> dict:
        return outcome(make(seed=seed, **others), *sets, replace(recipe, lr=lr), seed, precision)

    images = [{"images": len(part), "sha256": part.sha256} for part in sets]
    shared = {
        "data": {"name": sets[0].name, "train": images[0], "test": images[1]},
        "recipe": {key: value for key, value in asdict(recipe).items() if key != "lr"},
        "precision": precision,
    }
    return Plan(name, question, shared, settings, trial)


def on_shapes(
    name: str,
    question: str,
    settings: Sequence[dict],
    make: Callable[..., nn.Module],
    chosen: Recipe = recipe("demo"),  # noqa: B008 (a recipe never changes)
) -> Plan:
    """A study on the images and in the precision of the live experiments, and by their recipe unless given another."""
    sets = shapes10(4096, seed=0), shapes10(1024, seed=1)
    return trained_plan(name, question, sets, chosen, "float32", settings, make)


def rates_shapes10(root: Path) -> Plan:
    settings = grid(seed=SEEDS, lr=(0.03, 0.01, 0.1, 0.003, 0.3), network=NETWORKS)
    question = "Is it the learning rate? Four networks at five rates."
    return on_shapes("rates-shapes10", question, settings, lambda network, seed: build(network, seed=seed))


WARM = replace(recipe("demo"), name="demo with warm-up", schedule="one-cycle", warmup=128, milestones=())


def warmup_shapes10(root: Path) -> Plan:
    settings = grid(lr=(LIVE_RATE, 0.1), seed=SEEDS, network=("plain20", "plain56"))
    question = "Is it the violent first step? Plain networks whose rate climbs from nearly 0 to its peak in two epochs."
    return on_shapes("warmup-shapes10", question, settings, lambda network, seed: build(network, seed=seed), WARM)


def rates_cifar10(root: Path) -> Plan:
    settings = grid(seed=(0,), lr=(0.1, 0.2, 0.05, 0.4), network=NETWORKS)
    question = "Is it the learning rate, on photographs? Four networks at four peak rates."
    precision = machine.pick_precision(machine.pick_device())
    make = lambda network, seed: build(network, seed=seed)  # noqa: E731
    return trained_plan("rates-cifar10", question, cifar10(root), recipe("short"), precision, settings, make)


def doses(root: Path) -> Plan:
    settings = grid(seed=SEEDS, lr=(LIVE_RATE,), dose=(0.0, 0.25, 0.5, 0.75, 0.9, 1.0))
    question = "How much shortcut does it take? y = ReLU(F(x) + dose * shortcut(x)) in 56 layers."
    return on_shapes("doses", question, settings, partial(dosed, "resnet56"))


def starts(root: Path) -> Plan:
    settings = grid(seed=SEEDS, lr=(LIVE_RATE, 0.01), share=(0.1, 1.0, 0.3, 0.03))
    question = "Is a start near the identity enough? Plain-56, its first weights mixed with copies of the input."
    make = lambda share, seed: start_near_identity(build("plain56", seed=seed), share)  # noqa: E731
    return on_shapes("starts", question, settings, make)


def skipinit(root: Path) -> Plan:
    settings = grid(seed=SEEDS, lr=(LIVE_RATE, 0.01, 0.1, 0.003), skipinit=(True, False))
    question = "What does BN do for the residual function? ResNet-56 without BN, with and without SkipInit."
    return on_shapes("skipinit", question, settings, partial(unnormalised, "resnet56"))


def zero_start(root: Path) -> Plan:
    settings = grid(seed=SEEDS, lr=(LIVE_RATE, 0.01))
    question = "Is the identity itself the best start? ResNet-56 whose every F begins at zero, by its last BN."
    make = partial(build, "resnet56", zero_init_residual=True)
    return on_shapes("zero-start", question, settings, make)


def broken_line(root: Path) -> Plan:
    def make(seed):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return broken.ResNet(9)

    question = "What does one wrong line cost? ResNet-56 with BN after the addition."
    return on_shapes("broken-line", question, grid(seed=SEEDS, lr=(LIVE_RATE,)), make)


MISTAKES = {  # of training code that raises no error
    "none": "the right way",
    "rate": "the learning rate is ten times too high",
    "softmax": "the network ends with a softmax, and cross-entropy applies another one",
    "decay": "the weight decay is 1, ten thousand times too strong",
    "order": "the images come class by class, and are not shuffled",
    "pixels": "the test images are only divided by 255, the training images are normalised",
    "labels": "the test labels are numbered in another order",
}


def mistaken(mistake: str, seed: int) -> dict:
    """Train ResNet-8 for 8 epochs with one of the MISTAKES; return its losses and errors epoch by epoch."""
    train_set, test_set = shapes10(1024, seed=0), shapes10(512, seed=1)
    pixels = test_pixels = Normalisation.of(train_set)
    network = build("resnet8", seed=seed)
    right = recipe("demo").scaled(128)
    lr, decay = right.lr * (10 if mistake == "rate" else 1), right.weight_decay * (10_000 if mistake == "decay" else 1)
    if mistake == "softmax":
        network = nn.Sequential(network, nn.Softmax(1))
    if mistake == "order":
        order = train_set.labels.argsort(stable=True)
        train_set = replace(train_set, images=train_set.images[order], labels=train_set.labels[order])
    if mistake == "pixels":
        test_pixels = Normalisation(torch.zeros(3), torch.full((3,), 255.0))
    if mistake == "labels":
        test_set = replace(test_set, labels=(test_set.labels + 1) % 10)
    batches = Batches(train_set, 64, pixels, shuffle=mistake != "order", seed=seed)
    optimiser = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9, weight_decay=decay)
    chosen = replace(right, lr=lr)
    found: dict = {"train_losses": [], "train_errors": [], "test_errors": []}
    for epoch in range(8):
        first = epoch * len(batches)
        rates = [chosen.lr_at(first + i) for i in range(len(batches))]
        [(loss, error)] = fit(network, list(batches.epoch(epoch)), optimiser, rates.__getitem__)
        found["train_losses"].append(round(loss, 5))
        found["train_errors"].append(round(error, 5))
        found["test_errors"].append(round(evaluate(network, Batches(test_set, 256, test_pixels))[1], 5))
    return found


def mistakes(root: Path) -> Plan:
    parts = {name: shapes10(size, seed=seed) for name, size, seed in (("train", 1024, 0), ("test", 512, 1))}
    data = {name: {"images": len(part), "sha256": part.sha256} for name, part in parts.items()}
    shared = {
        "data": {"name": "shapes10", **data},
        "recipe": asdict(recipe("demo").scaled(128)),
        "precision": "float32",
    }
    question = "What do common mistakes look like? ResNet-8, trained right and with one mistake at a time."
    return Plan("mistakes", question, shared, grid(seed=SEEDS, mistake=tuple(MISTAKES)), mistaken)


EXPERIMENTS: dict[str, Callable[[Path], Plan]] = {
    "rates-shapes10": rates_shapes10,
    "warmup-shapes10": warmup_shapes10,
    "rates-cifar10": rates_cifar10,
    "doses": doses,
    "starts": starts,
    "skipinit": skipinit,
    "zero-start": zero_start,
    "broken-line": broken_line,
    "mistakes": mistakes,
}
