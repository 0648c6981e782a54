"""resnet_lesson: the small module behind the course on residual networks.

The names for everyday use are here; the docstring of each submodule says what else there is.

>>> from resnet_lesson import build, cost_of
>>> cost_of(build("resnet20")).parameters
269722
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (a clear message, before something else fails with a less clear one)
    raise ImportError(
        f"This course needs Python 3.11, 3.12 or 3.13, and this is Python {sys.version_info[0]}.{sys.version_info[1]}. "
        "If this machine has one of these, name it: PYTHON=python3.12 make lab"
    )

from .datasets.batches import Batches, Normalisation
from .datasets.cifar10 import cifar10, full_scale_cifar10
from .datasets.dataset import Dataset
from .datasets.doodles10 import doodles10
from .datasets.quickdraw import quickdraw
from .datasets.shapes10 import shapes10
from .errors import LessonError
from .machine import DATA, full_scale, here
from .models.blocks import BasicBlock, Bottleneck, PlainBlock
from .models.cost import cost_of
from .models.networks import build
from .models.resnet import ResNet
from .training.evaluation import evaluate
from .training.recipes import Recipe, recipe
from .training.runs import Run, list_runs, recorded
from .training.train import train

__version__ = "0.2.0"

__all__ = [
    "DATA",
    "BasicBlock",
    "Batches",
    "Bottleneck",
    "Dataset",
    "LessonError",
    "Normalisation",
    "PlainBlock",
    "Recipe",
    "ResNet",
    "Run",
    "build",
    "cifar10",
    "cost_of",
    "doodles10",
    "evaluate",
    "full_scale",
    "full_scale_cifar10",
    "here",
    "list_runs",
    "quickdraw",
    "recipe",
    "recorded",
    "shapes10",
    "train",
]
