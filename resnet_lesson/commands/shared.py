"""What several commands take: the data sets by name, and checked options."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from .. import machine
from ..datasets.cifar10 import cifar10
from ..datasets.dataset import Dataset
from ..datasets.doodles10 import doodles10
from ..datasets.shapes10 import shapes10
from ..errors import LessonError
from ..training.pretrained import as_photographs
from ..training.recipes import RECIPES
from ..training.runs import Run

DATASETS: dict[str, Callable[[Path], tuple[Dataset, Dataset]]] = {
    "cifar10": cifar10,
    "shapes10": lambda root: (shapes10(4096, seed=0), shapes10(1024, seed=1)),
    "doodles10": lambda root: (as_photographs(doodles10(4096, seed=0)), as_photographs(doodles10(1024, seed=1))),
}


def data_of(run: Run, root: Path) -> tuple[Dataset, Dataset]:
    """The training and test images that a run was made with. Raises LessonError where no command makes them."""
    name = run.data["name"]
    if name not in DATASETS:
        raise LessonError(
            f"{run.name} was trained on {name}, and a command can only make {', '.join(DATASETS)}: in Python, "
            "resnet_lesson.inside.record.measure takes any data set."
        )
    return DATASETS[name](root)


def number(kind: type, least: float, most: float = math.inf) -> Callable[[str], float]:
    """Reads an int or a float for argparse, from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            what = "whole number" if kind is int else "number"
            limits = f"from {least}" if math.isinf(most) else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"this is a {what} {limits}, not {text}")
        return value

    return read


def add_recipe(p: argparse.ArgumentParser, default: str) -> None:
    p.add_argument("--recipe", choices=RECIPES, default=default, help=f"(default: {default})")


def add_dataset(p: argparse.ArgumentParser) -> None:
    p.add_argument("--dataset", choices=DATASETS, default="cifar10", help="(default: cifar10)")


def add_device(p: argparse.ArgumentParser) -> None:
    help = "cpu, cuda or mps (default: a CUDA GPU, if one works here)"
    p.add_argument("--device", type=lambda name: str(machine.pick_device(name)), help=help)


def add_root(p: argparse.ArgumentParser) -> None:
    help = "folder of the data sets (default: the course's data)"
    p.add_argument("--root", type=Path, default=machine.DATA, help=help)
