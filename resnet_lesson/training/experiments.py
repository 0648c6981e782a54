"""The controlled experiments that the notebooks rest on, each as the plan of a recorded study.

Each of them trains networks that differ in one thing, with one recipe, on one data set.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

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
from .runs import Run
from .study import Plan, grid
from .train import train

NETWORKS = ("plain20", "plain56", "resnet20", "resnet56")
SEEDS = (0, 1, 2)
LIVE_RATE = 0.03  # at which all four networks learn in the 256 steps of `demo`


def outcome(
    network: nn.Module, train_set: Dataset, test_set: Dataset, recipe: Recipe, seed: int, precision: str
) -> dict:
    """Train; return the training and test errors (0 to 1) after each epoch, and where training diverged, or None.

    Raises KeyboardInterrupt after a Ctrl-C: half a training is no result.
    """
    runs: list[Run] = []  # the run, whose history grows row by row, once for each row
    diverged = None
    try:
        how: dict = dict(seed=seed, precision=precision, progress=False, observers=[runs.append])
        if train(network, train_set, test_set, recipe, **how).status == "interrupted":
            raise KeyboardInterrupt
    except Diverged as error:
        diverged = error.iteration
    rows = runs[0].history if runs else []
    return {
        "train_errors": [round(row["train_error"], 5) for row in rows],
        "test_errors": [round(row["test_error"], 5) for row in rows],
        "diverged": diverged,
    }


class Experiment(NamedTuple):
    """A study in which each trial trains a network with the trial's `lr` and `seed`.

    make: builds the network; called with the seed and the other settings of a trial, by name. chosen: the recipe.
    """

    question: str
    settings: Sequence[dict]
    make: Callable[..., nn.Module]
    chosen: Recipe = recipe("demo")

    def plan(self, name: str, sets: tuple[Dataset, Dataset], precision: str) -> Plan:
        def trial(lr: float, seed: int, **others) -> dict:
            return outcome(self.make(seed=seed, **others), *sets, replace(self.chosen, lr=lr), seed, precision)

        shared = {
            "data": {"name": sets[0].name, "train": sets[0].identity, "test": sets[1].identity},
            "recipe": {key: value for key, value in asdict(self.chosen).items() if key != "lr"},
            "precision": precision,
        }
        return Plan(name, self.question, shared, self.settings, trial)


def by_name(network: str, seed: int, **options) -> nn.Module:
    return build(network, seed=seed, **options)


def mixed_with_copies(share: float, seed: int) -> nn.Module:
    return start_near_identity(build("plain56", seed=seed), share)


def with_a_broken_line(seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return broken.ResNet(9)


WARM = replace(recipe("demo"), name="demo with warm-up", schedule="one-cycle", warmup=128, milestones=())

ON_SHAPES = {  # with the images and the precision of the live experiments
    "rates-shapes10": Experiment(
        "Is it the learning rate? Four networks at five rates.",
        grid(seed=SEEDS, lr=(0.03, 0.01, 0.1, 0.003, 0.3), network=NETWORKS),
        by_name,
    ),
    "warmup-shapes10": Experiment(
        "Is it the violent first step? Plain networks whose rate climbs from nearly 0 to its peak in two epochs.",
        grid(lr=(LIVE_RATE, 0.1), seed=SEEDS, network=("plain20", "plain56")),
        by_name,
        WARM,
    ),
    "doses": Experiment(
        "How much shortcut does it take? y = ReLU(F(x) + dose * shortcut(x)) in 56 layers.",
        grid(seed=SEEDS, lr=(LIVE_RATE,), dose=(0.0, 0.25, 0.5, 0.75, 0.9, 1.0)),
        partial(dosed, "resnet56"),
    ),
    "starts": Experiment(
        "Is a start near the identity enough? Plain-56, its first weights mixed with copies of the input.",
        grid(seed=SEEDS, lr=(LIVE_RATE, 0.01), share=(0.1, 1.0, 0.3, 0.03)),
        mixed_with_copies,
    ),
    "skipinit": Experiment(
        "What does BN do for the residual function? ResNet-56 without BN, with and without SkipInit.",
        grid(seed=SEEDS, lr=(LIVE_RATE, 0.01, 0.1, 0.003), skipinit=(True, False)),
        partial(unnormalised, "resnet56"),
    ),
    "zero-start": Experiment(
        "Is the identity itself the best start? ResNet-56 whose every F begins at zero, by its last BN.",
        grid(seed=SEEDS, lr=(LIVE_RATE, 0.01)),
        partial(build, "resnet56", zero_init_residual=True),
    ),
    "broken-line": Experiment(
        "What does one wrong line cost? ResNet-56 with BN after the addition.",
        grid(seed=SEEDS, lr=(LIVE_RATE,)),
        with_a_broken_line,
    ),
}


def on_shapes(name: str, root: Path) -> Plan:
    """One of `ON_SHAPES`. Its images are generated, so nothing is read from `root`."""
    return ON_SHAPES[name].plan(name, (shapes10(4096, seed=0), shapes10(1024, seed=1)), "float32")


RELATIVES = (
    {"network": "resnet20", "shortcut": "A"},  # the fair partner of pre-activation and squeeze-and-excitation
    {"network": "resnet20", "shortcut": "B"},  # the fair partner of those with projections, ResNet-D and wide ones
    {"network": "resnet20d"},
    {"network": "preresnet20"},
    {"network": "seresnet20"},
    {"network": "wrn10_2"},
)
ON_CIFAR10 = {  # in the precision that is fastest on the machine
    "rates-cifar10": Experiment(
        "Is it the learning rate, on photographs? Four networks at several peak rates.",
        grid(seed=SEEDS, lr=(0.1, 0.2, 0.05, 0.4, 0.025, 0.8, 0.0125), network=NETWORKS),
        by_name,
        recipe("short"),
    ),
    "family-cifar10": Experiment(
        "What do the relatives of ResNet-20 bring, on photographs, beside partners with the same kind of shortcut?",
        [{"lr": lr, "seed": seed, **relative} for lr in (0.2, 0.4, 0.1) for seed in SEEDS for relative in RELATIVES],
        by_name,
        recipe("short"),
    ),
}


def on_cifar10(name: str, root: Path) -> Plan:
    """One of `ON_CIFAR10`, with the photographs under `root`."""
    return ON_CIFAR10[name].plan(name, cifar10(root), machine.pick_precision(machine.pick_device()))


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
    shared = {
        "data": {"name": "shapes10", "train": shapes10(1024, seed=0).identity, "test": shapes10(512, seed=1).identity},
        "recipe": asdict(recipe("demo").scaled(128)),
        "precision": "float32",
    }
    question = "What do common mistakes look like? ResNet-8, trained right and with one mistake at a time."
    return Plan("mistakes", question, shared, grid(seed=SEEDS, mistake=tuple(MISTAKES)), mistaken)


EXPERIMENTS: dict[str, Callable[[Path], Plan]] = {
    **{name: partial(on_shapes, name) for name in ON_SHAPES},
    **{name: partial(on_cifar10, name) for name in ON_CIFAR10},
    "mistakes": mistakes,
}
