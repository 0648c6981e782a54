"""What several commands share: the data sets by name, some options, and how a name is spelled."""

import argparse
import os
import unicodedata
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


def nfc(name: object) -> str:
    """A name as it is typed, and as a class list spells it: macOS and its zip files may take é and 김 apart (NFD).

    What is no UTF-8, such as a name from an old zip of Windows, gets marks, since it could not be written.
    """
    return unicodedata.normalize("NFC", os.fsencode(str(name)).decode("utf-8", "replace"))
