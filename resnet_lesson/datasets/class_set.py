"""A class set: the data that the course would download, in one file, to copy from a USB stick or to serve locally."""

import hashlib
import os
import tarfile
from pathlib import Path

from ..errors import LessonError
from ..files import private_folder
from . import cifar10, quickdraw
from .download import fetch, unpack


def bundle(file: Path, root: Path) -> tuple[str, list[str]]:
    """Pack whatever `root` has of the course's data into one tar file; return its SHA-256 and its members.

    `file` is replaced only by a complete one. Raises LessonError if there is nothing to pack, or no space for it.
    """
    members = [name for name, path in _homes(root).items() if path.is_file()]
    if not members:
        raise LessonError(
            f"There is nothing to pack in {root}: `python -m resnet_lesson data` fetches CIFAR-10, and "
            f"`python -m resnet_lesson data --quickdraw` fetches drawings."
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

    Only names that belong to the course are unpacked; the files' contents are checked whenever they are read. Raises
    LessonError for a set that is missing, damaged or empty, and if there is no space for it.
    """
    address, _, digest = source.partition("#sha256=")
    online = "://" in source
    if not online and not Path(source).is_file():
        raise LessonError(f"There is no file {source}: name the class set, as in data --from class.tar.")
    try:
        with private_folder(root / "class-set") as temporary:
            file = temporary / "class.tar" if online else Path(source)
            if online:
                otherwise = "Does the address end in #sha256=..., as --bundle printed it? A USB stick works as well."
                fetch([address], f"sha256:{digest}", file, otherwise=otherwise)
            placed = unpack(file, _homes(root))
    except (tarfile.TarError, EOFError) as error:
        raise LessonError(f"{address} is not a class set, or is incomplete: copy it again.") from error
    if not placed:
        raise LessonError(f"{address} is not a class set: it contains none of the course's files.")
    return placed


def _homes(root: Path) -> dict[str, Path]:
    """Where each file that a class set may contain belongs on this machine, by its name in the set."""
    names = [f"{cifar10.CIFAR10_FOLDER}/{name}" for name in cifar10.CIFAR10_MD5]
    names += [f"quickdraw/{name}.npy" for name in quickdraw.names()]
    return {name: root / name for name in names}


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Remove the owner's name and the time, so that the same files make the same bytes."""
    return member.replace(uid=0, gid=0, uname="", gname="", mtime=0, mode=0o644, deep=False)
