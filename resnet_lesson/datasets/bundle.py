"""A class set: all that the course would download, in one file, to copy by USB or to serve on the local network.

python -m resnet_lesson data --bundle class.tar
python -m resnet_lesson data --from class.tar
python -m resnet_lesson data --from "http://192.168.0.5:8000/class.tar#sha256=..."
"""

import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import torch

from ..datasets.cifar10 import CIFAR10_MD5
from ..errors import LessonError
from ..files import private_folder
from .download import MirrorFailed, fetch, has_md5
from .quickdraw import kept, names

CIFAR10 = "cifar-10-batches-py"


def bundle(file: Path, root: Path) -> tuple[str, list[str]]:
    """Write what of CIFAR-10, QuickDraw and torchvision's weights is here into one tar; its SHA-256 and members.

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
            with tarfile.open(temporary / "set.tar", "w") as tar:
                for name, path in members.items():
                    tar.add(path, name, recursive=False, filter=_anonymous)
            with open(temporary / "set.tar", "rb") as packed:
                digest = hashlib.file_digest(packed, "sha256").hexdigest()
            os.replace(temporary / "set.tar", file)
    except OSError as error:
        raise LessonError(f"{file} cannot be written ({error.strerror or error}): choose another place.") from error
    return digest, list(members)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the owner's name and the time: the same files make the same bytes."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def _weights_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _found(root: Path) -> Iterator[tuple[str, Path]]:
    """Name in the set and path here of each file that is whole."""
    for kind, folder in (
        (CIFAR10, root / CIFAR10),
        ("quickdraw", root / "quickdraw"),
        ("checkpoints", _weights_folder()),
    ):
        for path in sorted(folder.glob("*")):
            if path.is_file() and _is_ours(f"{kind}/{path.name}") and not _wrong(f"{kind}/{path.name}", path):
                yield f"{kind}/{path.name}", path


def _is_ours(member: str) -> bool:
    """Whether a file of that name belongs into a class set. Whatever else an archive holds is not looked at."""
    kind, _, name = member.partition("/")
    return (
        (kind == CIFAR10 and name in CIFAR10_MD5)
        or (kind == "quickdraw" and name.removesuffix(".npy") in names() and name.endswith(".npy"))
        or (kind == "checkpoints" and bool(re.fullmatch(r"(wide_)?resne(x)?t\w+-[0-9a-f]{8}\.pth", name)))
    )


def _wrong(member: str, path: Path) -> str:
    """What is wrong with the content of a member, or ""."""
    kind, name = PurePosixPath(member).parts
    if kind == CIFAR10:
        return "" if has_md5(path.read_bytes(), CIFAR10_MD5[name]) else "is not the published file"
    if kind == "checkpoints":  # torchvision writes the beginning of the checksum into the name
        with open(path, "rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest().startswith(path.stem.rpartition("-")[2])
        return "" if whole else "is not the published file"
    try:
        kept(path, 1)
    except MirrorFailed as error:
        return str(error)
    return ""


def unbundle(source: str, root: Path) -> list[str]:
    """Put the files of a class set in place, from a file or an address, and return their names.

    An address ends in #sha256=..., which `bundle` prints: what came is checked before it is opened. Each file is
    checked by itself too (CIFAR-10 and the weights by their published checksums), and only names that belong to the
    course are looked at, so nothing in the archive leads out of its folders. What is right here already stays.
    Raises LessonError for a set that is missing, damaged or empty, and where there is no room.
    """
    address, _, digest = source.partition("#sha256=")
    if "://" in source:
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise LessonError("The address needs the set's checksum at its end, #sha256=..., as --bundle printed it.")
        with private_folder(root / "class-set") as temporary:
            file = temporary / "class.tar"
            fetch([address], f"sha256:{digest}", file, otherwise="Ask for the file on a USB stick: data --from FILE.")
            return _place(file, root)
    file = Path(address)
    if not file.is_file():
        raise LessonError(f"{file} is no file: name the class set, as in data --from class.tar.")
    return _place(file, root)


def _place(file: Path, root: Path) -> list[str]:
    homes = {CIFAR10: root / CIFAR10, "quickdraw": root / "quickdraw", "checkpoints": _weights_folder()}
    placed, broken = [], []
    try:
        with tarfile.open(file) as tar, private_folder(root / "class-set") as temporary:
            for member in tar:
                if not member.isfile() or not _is_ours(member.name):
                    continue
                kind, name = member.name.split("/")
                unpacked, home = temporary / name, homes[kind] / name
                with open(unpacked, "wb") as out:
                    shutil.copyfileobj(tar.extractfile(member), out)
                if why := _wrong(member.name, unpacked):
                    broken.append(f"{member.name} {why}")
                    continue
                placed.append(member.name)
                larger = home.is_file() and home.stat().st_size >= unpacked.stat().st_size  # of more drawings
                if not larger or _wrong(member.name, home):
                    home.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(unpacked, home)
    except (tarfile.TarError, EOFError) as error:
        raise LessonError(f"{file} is no class set, or was cut off ({error}): copy it again.") from error
    except OSError as error:
        raise LessonError(
            f"{file} cannot be unpacked to {root} ({error.strerror or error}): free some room."
        ) from error
    if broken or not placed:
        raise LessonError(
            f"{file} is damaged: {'; '.join(broken) or 'it holds nothing for the course'}. Copy it again."
        )
    return placed
