"""What several commands share: the data sets by name, and some options."""

import argparse
from collections.abc import Callable
from pathlib import Path

from .. import machine
from ..datasets.cifar10 import cifar10
from ..datasets.dataset import Dataset
from ..datasets.shapes10 import shapes10

DATASETS: dict[str, Callable[[Path], tuple[Dataset, Dataset]]] = {
    "cifar10": cifar10,
    "shapes10": lambda root: (shapes10(4096, seed=0), shapes10(1024, seed=1)),
}


def add_device(p: argparse.ArgumentParser) -> None:
    p.add_argument("--device", help="cpu, cuda or mps (default: a CUDA GPU if one works here, else the CPU)")


def add_root(p: argparse.ArgumentParser) -> None:
    help = "folder with the data sets (default: the course's data)"
    p.add_argument("--root", type=Path, default=machine.DATA, help=help)
