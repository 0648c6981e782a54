"""A class set: the data that the course would download, in one file, to copy by USB or to serve in the room."""

import hashlib
import os
import tarfile
from pathlib import Path

from ..errors import LessonError
from ..files import private_folder
from . import cifar10, quickdraw
from .download import fetch, unpack


def bundle(file: Path, root: Path) -> tuple[str, list[str]]:
    """Pack whatever is in `root` of the course's data into one tar; return its SHA-256 and its members.

    `file` is replaced only by a whole one. Raises LessonError where there is nothing to pack, or no room for it.
    """
    members = [name for name, path in _homes(root).items() if path.is_file()]
    if not members:
        raise LessonError(
            f"There is nothing to pack in {root}: `python -m resnet_lesson data` fetches CIFAR-10, "
            f"`data --quickdraw` drawings."
        )
    with private_folder(file) as temporary:
        packed = temporary / file.name
        with tarfile.open(packed, "w", dereference=True) as tar:
            for name in members:
                tar.add(root / name, name, filter=_anonymous)
        with open(packed, "rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        os.replace(packed, file)
    return digest, members


def unbundle(source: str, root: Path) -> list[str]:
    """Put the files of a class set in place, from a file or an address with #sha256=..., and return their names.

    Only names that belong to the course are looked at; what the files hold is checked whenever they are read. Raises
    LessonError for a set that is missing, damaged or empty, and where there is no room.
    """
    address, _, digest = source.partition("#sha256=")
    online = "://" in source
    if not online and not Path(source).is_file():
        raise LessonError(f"{source} is no file: name the class set, as in data --from class.tar.")
    try:
        with private_folder(root / "class-set") as temporary:
            file = temporary / "class.tar" if online else Path(source)
            if online:
                otherwise = "Does the address end in #sha256=..., as --bundle printed it? A USB stick will do, too."
                fetch([address], f"sha256:{digest}", file, otherwise=otherwise)
            placed = unpack(file, _homes(root))
    except (tarfile.TarError, EOFError) as error:
        raise LessonError(f"{address} is no class set, or was cut off ({error}): copy it again.") from error
    if not placed:
        raise LessonError(f"{address} holds nothing for the course: it is no class set.")
    return placed


def _homes(root: Path) -> dict[str, Path]:
    """Where each file that a class set may hold belongs on this machine, by its name in the set."""
    names = [f"{cifar10.CIFAR10_FOLDER}/{name}" for name in cifar10.CIFAR10_MD5]
    names += [f"quickdraw/{name}.npy" for name in quickdraw.names()]
    return {name: root / name for name in names}


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the owner's name and the time: the same files make the same bytes."""
    return member.replace(uid=0, gid=0, uname="", gname="", mtime=0, mode=0o644, deep=False)
