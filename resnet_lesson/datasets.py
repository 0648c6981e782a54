"""Images with labels: CIFAR-10, and the generated shapes10 that needs no network."""

import hashlib
import pickle
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Dataset:
    """Labelled images, as stored: no scaling, no augmentation.

    images: uint8 (N, H, W, 3), the layout in which `plt.imshow` takes one.
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

    @cached_property
    def sha256(self) -> str:
        """Checksum of the pixels and labels: two sets with the same one are the same data."""
        digest = hashlib.sha256(self.images.contiguous().numpy())
        digest.update(self.labels.to(torch.int64).numpy())
        return digest.hexdigest()


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar10(root: Path | str = "data") -> tuple[Dataset, Dataset]:
    """CIFAR-10: 50,000 training and 10,000 test images, 32x32."""
    folder = Path(root) / "cifar-10-batches-py"
    train = _read_cifar("cifar10", [folder / f"data_batch_{i}" for i in range(1, 6)])
    test = _read_cifar("cifar10", [folder / "test_batch"])
    return train, test


def _read_cifar(name: str, files: list[Path]) -> Dataset:
    parts = []
    for path in files:
        with open(path, "rb") as file:
            parts.append(pickle.load(file, encoding="bytes"))
    pixels = np.concatenate([part[b"data"] for part in parts]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([part[b"labels"] for part in parts])
    images = torch.from_numpy(pixels.transpose(0, 2, 3, 1).copy())
    return Dataset(name, images, torch.from_numpy(labels).long(), CIFAR10_CLASSES)
