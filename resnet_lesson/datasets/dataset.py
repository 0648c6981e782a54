"""Labelled images, in the form in which every data set of the course holds them."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..errors import LessonError


@dataclass(frozen=True)
class Dataset:
    """Labelled images, as stored: no scaling, no augmentation.

    images: uint8 (N, H, W, 3), which is the layout of `plt.imshow`; (N, H, W, 1) if they are grey.
    labels: int64 (N,), indices into `classes`.

    Raises LessonError for anything else and for an empty set, so that no training starts with one.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        images, labels, classes = self.images, self.labels, len(self.classes)
        shaped = _is_on_cpu(images, torch.uint8) and images.dim() == 4 and images.shape[-1] in (1, 3)
        if not shaped or images.numel() == 0:
            raise LessonError(
                f"The images of {self.name} must be a uint8 tensor (N, H, W, 3) on the CPU, or (N, H, W, 1) if they "
                f"are grey, but this is {_describe(images)}. images.permute(0, 2, 3, 1) puts the channels last, and "
                f"(255 * images).to(torch.uint8) turns numbers from 0 to 1 into bytes."
            )
        shaped = _is_on_cpu(labels, torch.int64) and labels.shape == images.shape[:1]
        if not shaped or labels.min() < 0 or labels.max() >= classes:
            raise LessonError(
                f"The labels of {self.name} must be an int64 tensor ({len(images)},) on the CPU, one label from 0 to "
                f"{classes - 1} for each image, but this is {_describe(labels)}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, n: int) -> "Dataset":
        """The first `n` images, or all if there are fewer."""
        return replace(self, images=self.images[:n], labels=self.labels[:n])

    def split(self, per_class: int) -> tuple["Dataset", "Dataset"]:
        """The first `per_class` images of each class, and all the others; both in their present order.

        Raises LessonError if a class has no more than that, because nothing of it would be left for the second part.
        """
        first = torch.zeros(len(self), dtype=torch.bool)
        for label, name in enumerate(self.classes):
            places = (self.labels == label).nonzero()[:, 0]
            if len(places) <= per_class:
                raise LessonError(
                    f"{self.name} has {len(places):,} of {name}, so split({per_class}) leaves none of them for the "
                    f"second part: split off fewer, or use a larger set."
                )
            first[places[:per_class]] = True
        one, other = (replace(self, images=self.images[part], labels=self.labels[part]) for part in (first, ~first))
        return one, other

    @cached_property
    def sha256(self) -> str:
        """Checksum of the pixels and labels: two sets with the same checksum are the same data."""
        digest = hashlib.sha256(self.images.contiguous().numpy())
        digest.update(self.labels.contiguous().numpy())
        return digest.hexdigest()

    @property
    def identity(self) -> dict:
        """What a record keeps of these data: the number of images, and the checksum."""
        return {"images": len(self), "sha256": self.sha256}


def _is_on_cpu(value: object, dtype: torch.dtype) -> bool:
    return isinstance(value, Tensor) and value.dtype == dtype and value.device.type == "cpu"


def _describe(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    numbers = value.dim() == 1 and value.numel() and value.device.type == "cpu"
    span = f" from {value.min()} to {value.max()}" if numbers else ""
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)} on {value.device}{span}"
