"""QuickDraw: drawings people made in 20 seconds. Of each class only the first are fetched, not the 100 MB of all."""

import os
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache
from importlib.resources import files
from pathlib import Path
from tokenize import TokenError
from typing import Protocol
from urllib.parse import quote

import numpy as np
import requests
import torch
from tqdm.auto import tqdm

from ..errors import LessonError, unknown
from ..files import private_folder
from .dataset import Dataset
from .download import CHUNK, PATIENCE, MirrorFailed, failures, host_of, refuse_failure

STUDY = (
    "apple", "wine bottle", "spoon", "rainbow", "panda", "hospital", "scissors", "toothpaste", "baseball", "hourglass",
)  # fmt: skip
URL = "https://storage.googleapis.com/quickdraw_dataset/full/numpy_bitmap"
SIDE = 28  # pixels
PIXELS = SIDE * SIDE  # bytes of a drawing
HEADER = 128  # bytes before the drawings, if the file is as usual; in the end it says so itself
LONGEST_HEADER = 10_000  # bytes; numpy reads no longer one either
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def quickdraw(classes: Sequence[str] = STUDY, per_class: int = 500, root: Path | str = "data") -> Dataset:
    """The first `per_class` drawings of each class: uint8 (N, 28, 28, 1), 255 ink on 0, class by class as asked.

    Each class is read from `root`/quickdraw/CLASS.npy: what an earlier call has kept, or a whole published file that
    somebody put there. Of a class that is not there, is damaged, or has fewer drawings, the first `per_class` are
    fetched (392 kB for 500) and kept. The environment variable RESNET_LESSON_QUICKDRAW_URL, the address of a folder
    with such files, takes the place of Google's.

    Raises ValueError for a class that QuickDraw does not have, one asked for twice, no class, or less than 1 drawing;
    LessonError when drawings are neither there nor to be had, or cannot be written.
    Source: Google, The Quick, Draw! Dataset, CC BY 4.0; https://github.com/googlecreativelab/quickdraw-dataset
    """
    classes = _checked(classes, per_class)
    folder = Path(root) / "quickdraw"
    drawings: dict[str, np.ndarray] = {}
    lacking: dict[str, str] = {}  # class name: why
    for name in classes:
        try:
            drawings[name] = kept(folder / f"{name}.npy", per_class)
        except MirrorFailed as why:
            lacking[name] = str(why)
    if lacking:
        try:
            _fetch(lacking, drawings, per_class, folder)
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


def _checked(classes: Sequence[str], per_class: int) -> tuple[str, ...]:
    if isinstance(classes, str):
        raise ValueError(f"quickdraw takes a list of classes: quickdraw([{classes!r}]).")
    classes = tuple(classes)
    if not classes or per_class < 1:
        raise ValueError(f"quickdraw gives 1 drawing or more of 1 class or more, not {per_class} of {len(classes)}.")
    for i, name in enumerate(classes):
        if name not in names():
            every = "`from resnet_lesson.drawings import names; names()` lists them."
            raise ValueError(f"{unknown('QuickDraw class', name, names())} {every}")
        if name in classes[:i]:
            raise ValueError(f"quickdraw takes each class once; {name!r} is there twice.")
    return classes


# ---------------------------------------------------------------------------------------------------- one file


class _File(Protocol):
    def read(self, size: int) -> bytes: ...


class _TooFew(MirrorFailed):
    """The file is as it should be, but holds fewer drawings than asked for."""


def _read(file: _File, n: int, progress: Callable[[int], object] = lambda size: None) -> np.ndarray:
    """The first `n` drawings of a .npy, uint8 (n, 784), or MirrorFailed. Reads no further, and unpickles nothing.

    progress: called with the number of bytes of each part that has come.
    """
    try:
        shape, by_column, dtype = HEADERS[np.lib.format.read_magic(file)](file)
    except (ValueError, KeyError, TypeError, SyntaxError, TokenError) as error:  # KeyError: a version later than 2.0
        raise MirrorFailed("is no .npy file of drawings") from error
    if shape[1:] != (PIXELS,) or dtype != np.uint8 or by_column:
        order = " by columns" if by_column else ""
        raise MirrorFailed(f"holds {dtype} {shape}{order}, not uint8 (drawings, {PIXELS}) by rows")
    if shape[0] < n:
        raise _TooFew(f"holds {shape[0]:,} drawings, not {n:,}")
    content = bytearray()
    while rest := n * PIXELS - len(content):
        chunk = file.read(min(rest, CHUNK))
        if not chunk:
            raise MirrorFailed("breaks off before the last drawing asked for")
        content += chunk
        progress(len(chunk))
    return np.frombuffer(content, np.uint8).reshape(n, PIXELS)


def kept(path: Path, n: int) -> np.ndarray:
    """The first `n` drawings of a file here, or MirrorFailed."""
    try:
        with open(path, "rb") as file:
            return _read(file, n)
    except FileNotFoundError as error:
        raise MirrorFailed("is missing") from error
    except OSError as error:
        raise MirrorFailed(f"cannot be read ({error.strerror or error})") from error


def _keep(path: Path, drawings: np.ndarray) -> None:
    with private_folder(path) as temporary:
        np.save(temporary / path.name, drawings)
        try:
            kept(path, len(drawings))  # another process was faster, and may have fetched more
        except MirrorFailed:
            os.replace(temporary / path.name, path)


# ---------------------------------------------------------------------------------------------------- the server


def _fetch(lacking: dict[str, str], drawings: dict[str, np.ndarray], n: int, folder: Path) -> None:
    """Move classes from `lacking` to `drawings`, and into the folder, one after the other. Raises LessonError."""
    address = os.environ.get("RESNET_LESSON_QUICKDRAW_URL") or URL
    bar = tqdm(total=len(lacking) * n * PIXELS, unit="B", unit_scale=True)
    with requests.Session() as session, bar:
        for name in list(lacking):
            bar.set_description(name)
            url = f"{address.rstrip('/')}/{quote(name)}.npy"
            try:
                with closing(_Remote(session, url, HEADER + n * PIXELS)) as remote:
                    drawings[name] = _read(remote, n, bar.update)
            except _TooFew as why:
                raise LessonError(f"QuickDraw's {name}.npy at {host_of(url)} {why}: ask for fewer of each.") from why
            except MirrorFailed as why:
                here = ", ".join(f"{other}.npy {there}" for other, there in list(lacking.items())[:10])
                more = f" (and {len(lacking) - 10} more)" if len(lacking) > 10 else ""
                raise LessonError(
                    f"QuickDraw's {name}.npy could not be fetched: {host_of(url)}: {why}. In {folder}, {here}{more}. "
                    f"Copy such files there from somebody who has them (a USB stick will do), run this again when "
                    f"online, or use doodles10(), generated drawings that need no download."
                ) from why
            _keep(folder / f"{name}.npy", drawings[name])
            del lacking[name]


class _Remote:
    """The beginning of a file on a server, to be read like a file here.

    Asks for `ahead` bytes, and for more only if more is read. A server that knows no ranges begins to send the whole
    file; the connection is cut when no more is wanted.
    """

    def __init__(self, session: requests.Session, url: str, ahead: int):
        self.session, self.url, self.ahead = session, url, ahead
        self.at = self.end = 0  # of the file: the next byte to read, and where the answer ends
        self.response: requests.Response | None = None

    def read(self, size: int) -> bytes:
        """The next bytes, `size` or fewer; none at the end of the file. Raises MirrorFailed."""
        with failures(PATIENCE):
            if self.at == self.end:
                self._ask(max(size, self.ahead - self.at))
            chunk = self.response.raw.read1(min(size, self.end - self.at)) if self.at < self.end else b""
        self.at += len(chunk)
        return chunk

    def _ask(self, count: int) -> None:
        self.close()
        stop = min(self.at + count, self.ahead + LONGEST_HEADER)  # whatever length a damaged header claims
        if self.at >= stop:
            return
        # As it is, not compressed on the way: positions and lengths are those of the file.
        headers = {"Range": f"bytes={self.at}-{stop - 1}", "Accept-Encoding": "identity"}
        timeout = PATIENCE.connect, PATIENCE.stall
        self.response = response = self.session.get(self.url, stream=True, timeout=timeout, headers=headers)
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # the file ends here
        refuse_failure(response)
        if response.status_code == requests.codes.partial_content:
            part = response.headers.get("Content-Range", "")
            match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", part)
            if not match or int(match[1]) != self.at or not self.at <= int(match[2]) < stop:
                raise MirrorFailed(f"sent another part than bytes {self.at}-{stop - 1} ({part or 'no Content-Range'})")
            self.end = int(match[2]) + 1
        else:
            self.end, skip = stop, self.at
            while skip and (chunk := response.raw.read1(min(skip, CHUNK))):
                skip -= len(chunk)

    def close(self) -> None:
        if self.response is not None:
            self.response.close()
