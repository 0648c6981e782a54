"""Labelled images, the way every data set of the course holds them."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..errors import LessonError


@dataclass(frozen=True)
class Dataset:
    """Labelled images, as stored: no scaling, no augmentation.

    images: uint8 (N, H, W, 3), the layout in which `plt.imshow` takes one; (N, H, W, 1) if they are grey.
    labels: int64 (N,), indices into `classes`.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, n: int) -> "Dataset":
        """The first `n` images."""
        return replace(self, images=self.images[:n], labels=self.labels[:n])

    def split(self, per_class: int) -> tuple["Dataset", "Dataset"]:
        """The first `per_class` images of each class, and all the others; both in the order that they have here.

        Raises ValueError for less than 1 a class, and LessonError where a class has no more than that: nothing of it
        would be left for the other part.
        """
        if per_class < 1:
            raise ValueError(f"split takes 1 image of each class or more, not {per_class}.")
        first = torch.zeros(len(self), dtype=torch.bool)
        for label, name in enumerate(self.classes):
            places = (self.labels == label).nonzero()[:, 0]
            if len(places) <= per_class:
                raise LessonError(
                    f"{self.name} has {len(places):,} of {name}, so split({per_class}) leaves none of them for the "
                    f"second part: split off fewer, or make or load a larger set."
                )
            first[places[:per_class]] = True
        one, other = (replace(self, images=self.images[part], labels=self.labels[part]) for part in (first, ~first))
        return one, other

    @cached_property
    def sha256(self) -> str:
        """Checksum of the pixels and labels: two sets with the same one are the same data."""
        digest = hashlib.sha256(self.images.contiguous().numpy())
        digest.update(self.labels.to(torch.int64).numpy())
        return digest.hexdigest()
