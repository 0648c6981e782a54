"""The course's own trained networks by name, and drawings in the shape that these networks take.

They were trained on CIFAR-10 and are part of the course, so nothing is downloaded. For networks trained on ImageNet,
use torchvision's: `torchvision.models.resnet18(weights="DEFAULT")`.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as nnF
from torch import nn

from ..datasets.batches import Normalisation
from ..datasets.cifar10 import CIFAR10_CLASSES
from ..datasets.dataset import Dataset
from ..errors import unknown
from ..models.networks import build
from .runs import recorded

# What Normalisation.of measures on the 50,000 training images, on a scale from 0 to 255.
CIFAR10 = Normalisation(torch.tensor([125.307, 122.950, 113.865]), torch.tensor([62.993, 62.089, 66.705]))
NETWORKS = ("resnet8", "resnet20", "resnet56")  # the recorded runs short-NAME-seed0


@dataclass(frozen=True)
class Pretrained:
    """A trained network in evaluation mode, and what it expects of its images.

    classes: what it was trained to tell apart. normalisation: for images from 0 to 255, as `Batches` takes it. source:
    the recorded run that it comes from, and its error.
    """

    network: nn.Module
    classes: tuple[str, ...]
    normalisation: Normalisation
    source: str


def pretrained(name: str) -> Pretrained:
    """The course's "resnet8", "resnet20" or "resnet56", a new copy at each call. Raises ValueError for another name."""
    if name not in NETWORKS:
        raise ValueError(unknown("trained network of the course", name, NETWORKS))
    run = recorded(f"short-{name}-seed0")
    network = run.load_weights(build(name)).eval()
    source = f"{run.name}: trained on CIFAR-10 by the course, test error {run.final():.1%}"
    return Pretrained(network, CIFAR10_CLASSES, CIFAR10, source)


def as_photographs(drawings: Dataset, size: int = 32) -> Dataset:
    """Grey images (N, H, W, 1) in the shape that networks for photographs take: (N, size, size, 3).

    The three channels are equal. A slightly larger size adds an empty border, a much larger one is interpolated
    (bilinear). Raises ValueError for images that already have three channels or are not square, and for a smaller size.
    """
    n, height, width, channels = drawings.images.shape
    if channels != 1 or height != width or size < height:
        raise ValueError(
            f"as_photographs takes square images with 1 channel and can only make them larger: these are "
            f"{height}x{width} with {channels}, and you asked for {size}x{size}."
        )
    images = drawings.images
    if size < 2 * height:
        before, after = (size - height) // 2, (size - height + 1) // 2
        images = nnF.pad(images, (0, 0, before, after, before, after))
    else:
        images = nnF.interpolate(images.permute(0, 3, 1, 2), (size, size), mode="bilinear").permute(0, 2, 3, 1)
    return replace(drawings, images=images.expand(-1, -1, -1, 3).contiguous())
