"""Files that are either complete or not there at all, whatever happens to the process that writes them."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import LessonError


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file, so that at any moment either the old or the new one is there, complete."""
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
    """An empty folder beside `path`, on the same disk, in which to prepare what then moves there; removed afterwards.

    Its name is unique, so that two processes never share it. Raises LessonError if the disk is full or cannot be
    written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f"{path.name}."
        with tempfile.TemporaryDirectory(".partial", prefix, path.parent, ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        raise LessonError(
            f"Cannot write to {path.parent} ({error}): free some space, or choose another folder."
        ) from error
