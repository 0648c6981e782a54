"""One file from one of several mirrors, none of which is trusted or waited for too long."""

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
SLOW = 200_000  # bytes/s, mean since the transfer began: a mirror below is left for the next one, ...
PATIENCE = 20  # ... but only after this time, s
TIMEOUT = 5, 20  # s to be connected, and with nothing arriving at all


class Unusable(LessonError):
    """Why a mirror or a file cannot be used, in a few words."""


FAILURES = (  # the first kind that fits says it in words
    ((requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError), "stalled, nothing more arrived"),
    (requests.exceptions.SSLError, "its certificate was not accepted (a login page, or a wrong clock?)"),
    (requests.ConnectionError, "no connection"),
    (urllib3.exceptions.HTTPError, "broke off before the end of the file"),
)


def fetch(mirrors: Sequence[str], checksum: str, path: Path, *, otherwise: str) -> None:
    """Put the file with that checksum ("md5:..." or "sha256:...") at `path`, from the first mirror that delivers it.

    A mirror that is dead, slow, stalled, or sends anything else is given up, and a line says why; only the last one
    may be slow. `path` only ever changes from what it was to the whole file.

    Raises LessonError when no mirror delivers; its message ends in `otherwise`, what to do in that case.
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
    """The host as people name it, without a password that the address may hold."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2] or url


def _fetch_from(url: str, checksum: str, path: Path, slowest: float) -> None:
    """pooch writes to a temporary file, checks it, moves it to `path`, and removes it whatever happens."""

    def download(url: str, file: str, _: object) -> None:
        start, done = time.monotonic(), 0
        with answer(url) as response, open(file, "wb") as out:
            size = int(response.headers.get("Content-Length", 0)) or None
            with tqdm(total=size, desc=host_of(url), unit="B", unit_scale=True) as bar:
                # read1 hands over what has arrived; read would wait for all of a chunk, however slowly it drips.
                while chunk := response.raw.read1(CHUNK):
                    out.write(chunk)
                    bar.update(len(chunk))
                    done += len(chunk)
                    seconds = time.monotonic() - start
                    if seconds > PATIENCE and done < slowest * seconds:
                        raise Unusable(f"slow, {done / seconds / 1000:.0f} kB/s: the next one is tried")

    try:
        pooch.retrieve(url, checksum, path.name, path.parent, downloader=download)
    except ValueError as error:  # pooch's word for a wrong checksum
        raise Unusable("sent something else than the published file (a login page?)") from error


@contextmanager
def answer(url: str, **headers: str) -> Iterator[requests.Response]:
    """What a server sends, to be read from `.raw`. Raises Unusable for whatever goes wrong, also while it is read."""
    # The file as it is: compressed once more in transit, its length and checksum would not fit.
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
    """Unpack from a tar the files that have a place in `homes`, by their names there; return these names.

    No path is made of what the archive says, so nothing in it (`../`, links, devices) leads out of these places, and
    each file is there whole or not at all. Raises tarfile.TarError or EOFError for what is no tar or was cut off.
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
