"""QuickDraw: drawings people made in 20 seconds. Of each class only the first are fetched, not the 100 MB of all."""

import io
import os
from collections.abc import Sequence
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
    """The first `per_class` drawings of each class: uint8 (N, 28, 28, 1), 255 ink on 0, class by class as asked.

    Each class is read from `root`/quickdraw/CLASS.npy, also from a whole published file. Of a class that is not there,
    is damaged, or has fewer drawings, the first `per_class` are fetched (392 kB for 500) and kept. The environment
    variable RESNET_LESSON_QUICKDRAW_URL, the address of a folder with such files, takes the place of Google's.

    Raises ValueError for a class that QuickDraw does not have, no class, or less than 1 drawing; LessonError when
    drawings are neither there nor to be had, or cannot be written.
    Source: Google, The Quick, Draw! Dataset, CC BY 4.0; https://github.com/googlecreativelab/quickdraw-dataset
    """
    classes, folder = tuple(classes), Path(root) / "quickdraw"
    if not classes or per_class < 1:
        raise ValueError(f"quickdraw gives 1 drawing or more of 1 class or more, not {per_class} of {len(classes)}.")
    if strange := [name for name in classes if name not in names()]:
        every = "`from resnet_lesson.datasets.quickdraw import names; names()` lists them."
        raise ValueError(f"{unknown('QuickDraw class', strange[0], names())} {every}")
    drawings: dict[str, np.ndarray] = {}
    lacking: dict[str, str] = {}  # class name: why
    for name in classes:
        try:
            drawings[name] = kept(folder / f"{name}.npy", per_class)
        except Unusable as why:
            lacking[name] = str(why)
    try:
        for name in tqdm(lacking, desc="QuickDraw", unit="class", disable=not lacking):
            drawings[name] = _fetch(folder / f"{name}.npy", per_class, lacking[name])
    except OSError as error:
        raise LessonError(
            f"QuickDraw's drawings cannot be written to {folder} ({error.strerror or error}): free "
            f"{len(lacking) * per_class * PIXELS / 1e6:.1f} MB there or name another folder, quickdraw(root=...)."
        ) from error
    images = torch.from_numpy(np.concatenate([drawings[name] for name in classes])).view(-1, SIDE, SIDE, 1)
    return Dataset("quickdraw", images, torch.arange(len(classes)).repeat_interleave(per_class), classes)


@cache
def names() -> tuple[str, ...]:
    """The 345 published classes."""
    return tuple((files(__package__) / "quickdraw_classes.txt").read_text("utf-8").splitlines())


def kept(path: Path, n: int) -> np.ndarray:
    """The first `n` drawings of a .npy file here, uint8 (n, 784). Raises Unusable where it does not hold them."""
    try:
        with open(path, "rb") as file:
            return _first(file.read(HEADER + n * PIXELS), n)
    except FileNotFoundError as error:
        raise Unusable("is missing") from error
    except OSError as error:
        raise Unusable(f"cannot be read ({error.strerror or error})") from error


def _first(content: bytes, n: int) -> np.ndarray:
    """The first `n` drawings from the beginning of a .npy file, uint8 (n, 784). Raises Unusable; unpickles nothing."""
    file = io.BytesIO(content)
    try:
        np.lib.format.read_magic(file)
        shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # numpy's reader evaluates the header; a damaged one can raise nearly anything
        raise Unusable("is no .npy file of drawings") from error
    if shape[1:] != (PIXELS,) or dtype != np.uint8 or by_column:
        raise Unusable(f"holds {dtype} {shape}, not uint8 (drawings, {PIXELS}) row by row")
    if shape[0] < n:
        raise Unusable(f"holds {shape[0]:,} drawings, not {n:,}")
    pixels = file.read(n * PIXELS)
    if len(pixels) < n * PIXELS:
        raise Unusable("breaks off before the last drawing asked for")
    return np.frombuffer(pixels, np.uint8).reshape(n, PIXELS)


def _fetch(path: Path, n: int, why_not_here: str) -> np.ndarray:
    """The first `n` drawings of a class, from the server and then kept at `path`. Raises LessonError."""
    address = os.environ.get("RESNET_LESSON_QUICKDRAW_URL") or URL
    size = HEADER + n * PIXELS
    try:
        with answer(f"{address.rstrip('/')}/{path.name}", Range=f"bytes=0-{size - 1}") as response:
            # A server that knows no ranges begins to send the whole file; the connection is cut when this is read.
            drawings = _first(response.raw.read(size), n)
    except Unusable as why:
        raise LessonError(
            f"QuickDraw's {path.name} could not be fetched: {host_of(address)}: {why}. In {path.parent} it "
            f"{why_not_here}. Copy such files there from somebody who has them (a USB stick will do), run this again "
            f"when online, or use doodles10(), generated drawings that need no download."
        ) from why
    with private_folder(path) as temporary:
        np.save(temporary / path.name, drawings)
        os.replace(temporary / path.name, path)
    return drawings
