"""Files that are there whole or not at all, whatever happens to the process that writes them."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import LessonError


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file so that at any moment the old or the new one is there, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        _put(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _put(partial: Path, path: Path) -> None:
    for attempt in reversed(range(20)):
        try:
            return os.replace(partial, path)
        except PermissionError:  # Windows, while another program reads the old file
            if os.name != "nt" or attempt == 0:
                raise
            time.sleep(0.05)


@contextmanager
def private_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, on the same disk, to prepare in what is then moved there; gone afterwards.

    It has a name of its own, so that two processes do not meet in it. Raises LessonError where the disk is full or
    may not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f"{path.name}."
        with tempfile.TemporaryDirectory(".partial", prefix, path.parent, ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        raise LessonError(
            f"{path.parent} cannot be written ({error.strerror or error}): free some room, or name another folder."
        ) from error
