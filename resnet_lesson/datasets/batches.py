"""Batches of images, cropped, mirrored and normalised a whole batch at a time, on the device.

The usual pipeline decodes, crops and flips one image at a time in worker processes. Here the whole padded set is on the
device as bytes, and a single indexing operation cuts a batch out of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from ..errors import unknown
from ..machine import checked_seed
from .dataset import Dataset


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted from an image, and what the result is divided by, on the scale from 0 to 255.

    mean: (C,), one value per colour (3, or 1 for grey images), or (H, W, C), one value per pixel. std: (C,).
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, dataset: Dataset, kind: str = "channel") -> "Normalisation":
        """Measure it on a training set.

        "channel": mean and standard deviation of each colour over all pixels. A colour that is the same everywhere has
        a standard deviation of 0; it is divided by 1 instead, which makes it 0 everywhere.
        "pixel": the mean image; no division (paper, section 4.2), only scaling by 255. The scale makes no difference to
        a network with BN right after its first convolution.
        """
        # Bytes are counted, not summed as floats: that is exact, and needs no float copy of the whole set.
        if kind == "channel":
            values = torch.arange(256, dtype=torch.float64)
            channels = dataset.images.unbind(-1)
            counts = torch.stack([channel.flatten().bincount(minlength=256) for channel in channels])
            mean = (counts * values).sum(1) / counts.sum(1)
            variance = (counts * (values - mean[:, None]) ** 2).sum(1) / counts.sum(1)
            std = torch.where(variance > 0, variance.sqrt(), 1.0)
            return cls(mean.float(), std.float())
        if kind == "pixel":
            total = sum(chunk.sum(0, dtype=torch.int64) for chunk in dataset.images.split(5000))
            return cls((total.double() / len(dataset)).float(), torch.full(dataset.images.shape[-1:], 255.0))
        raise ValueError(unknown("normalisation", kind, ("channel", "pixel")))


def check_channels(network: nn.Module, dataset: Dataset) -> None:
    """Raise ValueError unless the images have as many channels as the network's first convolution takes."""
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    channels = dataset.images.shape[-1]
    if first is not None and first.in_channels != channels:
        grey = ": as_photographs, in resnet_lesson.training.pretrained, makes three of one" if channels == 1 else ""
        raise ValueError(f"{dataset.name} has {channels} channel(s), but the network takes {first.in_channels}{grey}.")


class Batches:
    """A data set as batches: float images (B, C, H, W), channels-last, and int64 labels (B,).

    padding, flip: zeros added on each side before a random crop to the old size; random mirroring.
        With both off, the images are left as they are.
    seed: fixes the order, crops and flips of every epoch, on every device.
    share: (k, n) keeps only every n-th image of each batch, from the k-th on: the part that process k of n computes.

    Per-channel normalisation comes after the padding, as in torchvision's usual list of transforms (so the border is
    black). The per-pixel mean is subtracted before the padding (so the border is zero).
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        normalisation: Normalisation,
        *,
        padding: int = 0,
        flip: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        share: tuple[int, int] = (0, 1),
        device: torch.device | str = "cpu",
    ):
        self.dataset, self.batch_size, self.device = dataset, batch_size, torch.device(device)
        self.padding, self.flip, self.shuffle, self.share = padding, flip, shuffle, share
        self.seed = checked_seed(seed)
        self.size = dataset.images.shape[1:3]
        border = (0, 0, padding, padding, padding, padding)
        self.images = nn.functional.pad(dataset.images, border).to(device)
        self.labels = dataset.labels.to(device)
        self.mean, self.scale = normalisation.mean.to(device), (1 / normalisation.std).to(device)
        self.per_pixel = self.mean.dim() == 3
        if self.per_pixel:
            self.mean = nn.functional.pad(self.mean, border)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of each image."""
        return self.dataset.images.shape[-1], *self.size

    def __len__(self) -> int:
        """The number of batches in an epoch; the last one may be smaller."""
        return -(-len(self.dataset) // self.batch_size)

    def choices(self, epoch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """For each place in an epoch: image index, crop row, crop column, whether mirrored; each (N,)."""
        # Seeding by (seed, epoch) makes every epoch directly accessible, as resuming requires.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        n = len(self.dataset)
        index = torch.randperm(n, generator=generator) if self.shuffle else torch.arange(n)
        top, left = torch.randint(2 * self.padding + 1, (2, n), generator=generator)
        mirrored = torch.rand(n, generator=generator) < (0.5 if self.flip else 0.0)
        return index, top, left, mirrored

    def cut(self, index: Tensor, top: Tensor, left: Tensor, mirrored: Tensor) -> Tensor:
        """The images `index`, cropped at (top, left) of the padded image, and mirrored if asked.

        All arguments (B,); returns normalised float images (B, C, H, W), channels-last.
        """
        height, width = self.size
        rows = top[:, None] + torch.arange(height, device=self.device)
        columns = torch.arange(width, device=self.device).expand(len(index), width)
        columns = left[:, None] + torch.where(mirrored[:, None], width - 1 - columns, columns)
        rows, columns = rows[:, :, None], columns[:, None, :]
        images = self.images[index[:, None, None], rows, columns].float()
        mean = self.mean[rows, columns] if self.per_pixel else self.mean
        return images.sub_(mean).mul_(self.scale).permute(0, 3, 1, 2)

    def take(self, choice: Tensor) -> tuple[Tensor, Tensor]:
        """The images and labels of one batch from its four rows of `choices`, int64 (4, B)."""
        index, top, left, mirrored = choice
        return self.cut(index, top, left, mirrored.bool()), self.labels[index]

    def order(self, epoch: int = 0, first: int = 0) -> Iterator[Tensor]:
        """The random choices for each batch of an epoch, from batch `first` on: int64 (4, B) on the device."""
        choices, (k, n) = torch.stack([choice.long() for choice in self.choices(epoch)]).to(self.device), self.share
        for start in range(first * self.batch_size, len(self.dataset), self.batch_size):
            yield choices[:, start : start + self.batch_size][:, k::n]

    def epoch(self, epoch: int = 0, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch in order, from batch `first` on."""
        return map(self.take, self.order(epoch, first))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.epoch(0)

    def choices_of_steps(self, first: int, last: int) -> Iterator[tuple[int, Tensor]]:
        """Iterations `first` to `last` - 1, epoch after epoch, each with the choices from which to `take` its batch."""
        iteration = first
        while iteration < last:
            epoch, batch = divmod(iteration, len(self))
            for choice in islice(self.order(epoch, batch), last - iteration):
                yield iteration, choice
                iteration += 1

    def steps(self, first: int, last: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Iterations `first` to `last` - 1 with their images and labels, epoch after epoch."""
        for iteration, choice in self.choices_of_steps(first, last):
            yield iteration, *self.take(choice)
