"""One file from one of several mirrors. None of them is trusted, and none is waited for too long."""

import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pooch
import requests
import urllib3
from tqdm.auto import tqdm

from ..errors import LessonError
from ..files import private_folder

CHUNK = 1 << 20  # bytes asked for at a time
SLOW = 200_000  # bytes/s, mean since the transfer began: a slower mirror is given up for the next one, ...
PATIENCE = 20  # ... but only after this time, in s
TIMEOUT = 5, 20  # s to connect, and s without any data arriving


class Unusable(LessonError):
    """Why a mirror or a file cannot be used, in a few words."""


FAILURES = (  # kinds of errors, in words; the first that fits counts
    ((requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError), "stalled, nothing more arrived"),
    (requests.exceptions.SSLError, "its certificate was not accepted (a login page, or a wrong clock?)"),
    (requests.ConnectionError, "no connection"),
    (urllib3.exceptions.HTTPError, "broke off before the end of the file"),
)


def fetch(mirrors: Sequence[str], checksum: str, path: Path, *, otherwise: str) -> None:
    """Put the file with that checksum ("md5:..." or "sha256:...") at `path`, from the first mirror that delivers it.

    A mirror that is dead, slow or stalled, or sends anything else, is given up, and a line says why; only the last one
    may be slow. `path` only ever changes from what it was to the complete file.

    Raises LessonError if no mirror delivers; its message ends in `otherwise`, which says what to do in that case.
    """
    pooch.get_logger().setLevel("WARNING")  # its notes would put this machine's folders into the notebook
    for url in mirrors:
        slowest = 0 if url == mirrors[-1] else SLOW
        try:
            return _fetch_from(url, checksum, path, slowest)
        except Unusable as why:
            print(f"{host_of(url)}: {why}.")
    raise LessonError(f"{path.name} could not be downloaded, for the reasons above. {otherwise}")


def host_of(url: str) -> str:
    """The host's name, without the password that an address may contain."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2] or url


def _fetch_from(url: str, checksum: str, path: Path, slowest: float) -> None:
    """pooch writes to a temporary file, checks it, moves it to `path`, and removes it whatever happens."""

    def download(url: str, file: str, _: object) -> None:
        start, done = time.monotonic(), 0
        with answer(url) as response, open(file, "wb") as out:
            size = int(response.headers.get("Content-Length", 0)) or None
            with tqdm(total=size, desc=host_of(url), unit="B", unit_scale=True) as bar:
                # read1 returns what has arrived; read would wait for a whole chunk, however slowly it comes in.
                while chunk := response.raw.read1(CHUNK):
                    out.write(chunk)
                    bar.update(len(chunk))
                    done += len(chunk)
                    seconds = time.monotonic() - start
                    if seconds > PATIENCE and done < slowest * seconds:
                        raise Unusable(f"slow, {done / seconds / 1000:.0f} kB/s: trying the next one")

    try:
        pooch.retrieve(url, checksum, path.name, path.parent, downloader=download)
    except ValueError as error:  # pooch's error for a wrong checksum
        raise Unusable("sent something other than the published file (a login page?)") from error


@contextmanager
def answer(url: str, **headers: str) -> Iterator[requests.Response]:
    """What a server sends, to be read from `.raw`. Raises Unusable for whatever goes wrong, even during the reading."""
    # Ask for the file as it is: if it were compressed in transit, its length and checksum would not match.
    headers = {"Accept-Encoding": "identity", **headers}
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT, headers=headers) as response:
            if not response.ok:
                raise Unusable(f"answered {response.status_code} {response.reason}")
            yield response
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise Unusable(next((words for kind, words in FAILURES if isinstance(error, kind)), str(error))) from error


def fault(check: Callable[[Path], object], path: Path) -> str:
    """What `check` finds wrong with a file, or ""."""
    try:
        check(path)
    except Unusable as why:
        return str(why)
    return ""


def unpack(archive: Path, homes: dict[str, Path]) -> list[str]:
    """Unpack from a tar file the members whose names are in `homes`, each to its place there; return these names.

    No path is taken from the archive, so nothing in it (`../`, links, devices) can lead anywhere else, and each file is
    either complete or not there at all. Raises tarfile.TarError or EOFError if it is not a tar file or is cut off.
    """
    placed = []
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and (path := homes.get(member.name)):
                with private_folder(path) as temporary:
                    with open(temporary / path.name, "wb") as out:
                        shutil.copyfileobj(tar.extractfile(member), out)
                    os.replace(temporary / path.name, path)
                placed.append(member.name)
    return placed
