"""QuickDraw: drawings that people made in 20 seconds. Only the first of each class are fetched, not all 100 MB."""

import io
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from ..errors import LessonError, unknown
from ..files import private_folder
from .dataset import Dataset
from .download import Unusable, answer, host_of

STUDY = (
    "apple", "wine bottle", "spoon", "rainbow", "panda", "hospital", "scissors", "toothpaste", "baseball", "hourglass",
)  # fmt: skip
URL = "https://storage.googleapis.com/quickdraw_dataset/full/numpy_bitmap"
SIDE = 28  # pixels
PIXELS = SIDE * SIDE  # bytes of a drawing
HEADER = 128  # bytes before the drawings; numpy has written 80 or 128 at different times


def quickdraw(classes: Sequence[str] = STUDY, per_class: int = 500, root: Path | str = "data") -> Dataset:
    """The first `per_class` drawings of each class: uint8 (N, 28, 28, 1), ink 255 on 0, in the order of `classes`.

    Each class is read from `root`/quickdraw/CLASS.npy, which may be the complete published file. If that file is
    missing, damaged, or has fewer drawings, the first `per_class` are fetched (392 kB for 500) and kept.

    Raises ValueError for a class that QuickDraw does not have or if nothing is asked for, and LessonError if drawings
    are missing and cannot be fetched, or cannot be written to the disk.
    Source: Google, The Quick, Draw! Dataset, CC BY 4.0; https://github.com/googlecreativelab/quickdraw-dataset
    """
    classes, folder = tuple(classes), Path(root) / "quickdraw"
    if not classes or per_class < 1:
        raise ValueError(f"quickdraw needs at least 1 class and 1 drawing of each, not {len(classes)} and {per_class}.")
    if strange := [name for name in classes if name not in names()]:
        every = "`from resnet_lesson.datasets.quickdraw import names; names()` lists them."
        raise ValueError(f"{unknown('QuickDraw class', strange[0], names())} {every}")
    paths = [folder / f"{name}.npy" for name in classes]
    drawings = [_kept_or_fetched(path, per_class) for path in tqdm(paths, "QuickDraw", unit="class", delay=1)]
    images = torch.from_numpy(np.concatenate(drawings)).view(-1, SIDE, SIDE, 1)
    return Dataset("quickdraw", images, torch.arange(len(classes)).repeat_interleave(per_class), classes)


@cache
def names() -> tuple[str, ...]:
    """The 345 published classes."""
    return tuple((files(__package__) / "quickdraw_classes.txt").read_text("utf-8").splitlines())


def kept(path: Path, n: int) -> np.ndarray:
    """The first `n` drawings of a .npy file, uint8 (n, 784). Raises Unusable if it does not contain that many."""
    if not path.is_file():
        raise Unusable("is missing")
    with open(path, "rb") as file:
        return _first(file.read(HEADER + n * PIXELS), n)


def _first(content: bytes, n: int) -> np.ndarray:
    """The first `n` drawings, uint8 (n, 784), from the start of a .npy file. Raises Unusable; unpickles nothing."""
    file = io.BytesIO(content)
    try:
        np.lib.format.read_magic(file)
        shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
        if (shape[1:], by_column, dtype) == ((PIXELS,), False, np.uint8):
            return np.frombuffer(file.read(n * PIXELS), np.uint8).reshape(n, PIXELS)
    except Exception:  # numpy's reader evaluates the header; a damaged one can raise nearly anything
        pass
    raise Unusable(f"does not contain {n:,} drawings")


def _kept_or_fetched(path: Path, n: int) -> np.ndarray:
    """The first `n` drawings of a class, from `path` or else from the server; fetched ones are kept at `path`."""
    with suppress(Unusable):
        return kept(path, n)
    size = HEADER + n * PIXELS
    try:
        with answer(f"{URL}/{path.name}", Range=f"bytes=0-{size - 1}") as response:
            # If a server ignores the range and sends the whole file, the connection is closed after this part.
            drawings = _first(response.raw.read(size), n)
    except Unusable as why:
        raise LessonError(
            f"QuickDraw's {path.name} could not be fetched ({host_of(URL)}: {why}). Try again when you are online, "
            f"copy such files to {path.parent} from somebody who has them, or use doodles10(), generated drawings that "
            f"need no download."
        ) from why
    with private_folder(path) as temporary:
        np.save(temporary / path.name, drawings)
        os.replace(temporary / path.name, path)
    return drawings
