"""A class set: all that the course would download, in one file, to copy by USB or to serve on the local network."""

import hashlib
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import torch

from ..errors import LessonError
from ..files import private_folder
from . import cifar10, quickdraw
from .download import Unusable, fault, fetch, unpack


def bundle(file: Path, root: Path) -> tuple[str, list[str]]:
    """Pack whatever is here of the course's data and weights into one tar; return its SHA-256 and its members.

    `file` is replaced only by a whole one. Raises LessonError where there is nothing to pack, or no room for it.
    """
    members = dict(_found(root))
    if not members:
        raise LessonError(
            f"There is nothing to pack in {root}: `python -m resnet_lesson data` fetches CIFAR-10, "
            f"`data --quickdraw` drawings."
        )
    try:
        with private_folder(file) as temporary:
            packed = temporary / file.name
            with tarfile.open(packed, "w", dereference=True) as tar:
                for name, path in members.items():
                    tar.add(path, name, filter=_anonymous)
            digest = _sha256(packed)
            os.replace(packed, file)
    except OSError as error:
        raise LessonError(f"{file} cannot be written ({error.strerror or error}): choose another place.") from error
    return digest, list(members)


def unbundle(source: str, root: Path) -> list[str]:
    """Put the files of a class set in place, from a file or an address with #sha256=..., and return their names.

    Each file is checked (CIFAR-10 and the weights by their published checksums), and only names that belong to the
    course are looked at. What is right here already stays. Raises LessonError for a set that is missing, damaged or
    empty, and where there is no room.
    """
    address, _, digest = source.partition("#sha256=")
    online = "://" in source
    if online and not digest:
        raise LessonError("The address needs the set's checksum at its end, #sha256=..., as --bundle printed it.")
    if not online and not Path(source).is_file():
        raise LessonError(f"{source} is no file: name the class set, as in data --from class.tar.")
    try:
        with private_folder(root / "class-set") as temporary:
            file = temporary / "class.tar" if online else Path(source)
            if online:
                fetch([address], f"sha256:{digest}", file, otherwise="Ask for it on a USB stick: data --from FILE.")
            placed, broken = unpack(file, lambda name: _home(name, root), _check)
    except (tarfile.TarError, EOFError) as error:
        raise LessonError(f"{address} is no class set, or was cut off ({error}): copy it again.") from error
    except OSError as error:
        raise LessonError(
            f"{address} cannot be unpacked to {root} ({error.strerror or error}): free some room."
        ) from error
    if broken or not placed:
        what = "; ".join(broken) or "it holds nothing for the course"
        raise LessonError(f"{address} is damaged: {what}. Copy it again.")
    return placed


def _folders(root: Path) -> dict[str, Path]:
    """Where each folder of a class set belongs on this machine."""
    return {
        cifar10.CIFAR10_FOLDER: root / cifar10.CIFAR10_FOLDER,
        "quickdraw": root / "quickdraw",
        "checkpoints": Path(torch.hub.get_dir()) / "checkpoints",  # torchvision's weights
    }


def _home(member: str, root: Path) -> Path | None:
    """Where a member of that name belongs; None for a name that is not the course's."""
    kind, _, name = member.partition("/")
    ours = (
        (kind == cifar10.CIFAR10_FOLDER and name in cifar10.CIFAR10_MD5)
        or (kind == "quickdraw" and name.endswith(".npy") and name.removesuffix(".npy") in quickdraw.names())
        or (kind == "checkpoints" and re.fullmatch(r"(wide_)?resne(x)?t\w+-[0-9a-f]{8}\.pth", name))
    )
    return _folders(root)[kind] / name if ours else None


def _check(path: Path) -> None:
    """Raise Unusable for a file that does not hold what its name says."""
    if path.suffix == ".npy":
        quickdraw.kept(path, 1)
    elif path.suffix == ".pth":
        # torchvision writes the beginning of the checksum into the name.
        if not path.is_file() or not _sha256(path).startswith(path.stem.rpartition("-")[2]):
            raise Unusable("is not the published file")
    else:
        cifar10.checked(path)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _found(root: Path) -> Iterator[tuple[str, Path]]:
    """Name in the set and path here of each file that is whole."""
    for kind, folder in _folders(root).items():
        for path in sorted(folder.glob("*")):
            if _home(f"{kind}/{path.name}", root) and not fault(_check, path):
                yield f"{kind}/{path.name}", path


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the owner's name and the time: the same files make the same bytes."""
    return member.replace(uid=0, gid=0, uname="", gname="", mtime=0, mode=0o644, deep=False)
