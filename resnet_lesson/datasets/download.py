"""One file from one of several mirrors, none of which is trusted or waited for too long."""

import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pooch
import requests
import urllib3
from tqdm.auto import tqdm

from ..errors import LessonError
from ..files import private_folder

CHUNK = 1 << 20  # bytes asked for at a time


@dataclass(frozen=True)
class Patience:
    """How long a mirror may keep us waiting.

    The rate is the mean since the transfer began: a mirror that sent much quickly and falters later is kept, because
    starting again elsewhere would take longer.
    """

    rate: float = 200_000  # bytes/s; a mirror below is left for the next one, ...
    after: float = 20  # ... but only after this time, s
    connect: float = 5  # to be connected to one address of the host, s
    stall: float = 20  # with nothing arriving at all, s


PATIENCE = Patience()


class Unusable(Exception):
    """Why a mirror or a file cannot be used, in a few words."""

    rate: float | None = None  # bytes/s, of a mirror that is only slow


def fetch(mirrors: Iterable[str], checksum: str, path: Path, *, otherwise: str) -> None:
    """Put the file with that checksum ("md5:..." or "sha256:...") at `path`, from the first mirror that delivers it.

    A file that is already there is kept if it has that checksum and replaced if not. A mirror that is dead, slow,
    stalled, or sends anything else is left with a line that says why. Where some were merely slow, they get a second
    try without the limit on the rate, the fastest first. `path` only ever changes from what it was to the whole file.

    Raises LessonError when no mirror delivers; its message ends in `otherwise`, what to do in that case.
    """
    pooch.get_logger().setLevel("WARNING")  # its notes would put this machine's folders into the notebook
    candidates = list(mirrors)
    for slowest in (PATIENCE.rate, 0):
        slow: dict[str, float] = {}
        for url in candidates:
            try:
                return _fetch_from(url, checksum, path, slowest)
            except Unusable as why:
                print(f"{host_of(url)}: {why}.")
                if why.rate is not None:
                    slow[url] = why.rate
        candidates = sorted(slow, key=slow.__getitem__, reverse=True)
        if candidates:
            print(f"No mirror is fast from here; {host_of(candidates[0])} is the fastest and may take its time.")
    raise LessonError(f"{path.name} could not be downloaded, for the reasons above. {otherwise}")


def host_of(url: str) -> str:
    """The host as people name it, without a password that the address may hold."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2] or url


def _fetch_from(url: str, checksum: str, path: Path, slowest: float) -> None:
    """pooch writes to a temporary file, checks it, moves it to `path`, and removes it whatever happens."""

    def download(url: str, file: str, _: object) -> None:
        with answer(url) as response, open(file, "wb") as out:
            _save(response, out, host_of(url), slowest)

    try:
        pooch.retrieve(url, checksum, path.name, path.parent, downloader=download)
    except ValueError as error:  # pooch's word for a wrong checksum
        raise Unusable("sent something else than the published file (wrong checksum)") from error


def _save(response: requests.Response, out: BinaryIO, host: str, slowest: float) -> None:
    """Write what arrives to the file, under a progress bar with the host's name. Raises Unusable below that rate."""
    size = int(response.headers.get("Content-Length", 0)) or None
    start, done = time.monotonic(), 0
    with tqdm(total=size, desc=host, unit="B", unit_scale=True) as bar:
        # read1 hands over what has arrived; read would wait for all of a chunk, however slowly it drips.
        while chunk := response.raw.read1(CHUNK):
            out.write(chunk)
            bar.update(len(chunk))
            done += len(chunk)
            seconds = time.monotonic() - start
            if seconds > PATIENCE.after and done < slowest * seconds:
                rate = done / seconds
                why = Unusable(f"slow, {rate / 1000:.0f} kB/s over {seconds:.0f} s (under {slowest / 1000:.0f})")
                why.rate = rate
                raise why


@contextmanager
def answer(url: str, **headers: str) -> Iterator[requests.Response]:
    """What a server sends, to be read from `.raw`. Raises Unusable for whatever goes wrong, also while it is read."""
    # The file as it is: compressed once more in transit, its length and checksum would not fit.
    headers = {"Accept-Encoding": "identity", **headers}
    try:
        with requests.get(url, stream=True, timeout=(PATIENCE.connect, PATIENCE.stall), headers=headers) as response:
            response.raise_for_status()
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise Unusable("sent a web page instead of the file (a login page?)")
            yield response
    except requests.HTTPError as error:
        raise Unusable(f"answered {error.response.status_code} {error.response.reason}") from error
    except (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as error:
        raise Unusable(f"stalled, nothing arrived for {PATIENCE.stall:g} s") from error
    except requests.exceptions.SSLError as error:
        raise Unusable("its certificate was not accepted (a login page, or a wrong clock?)") from error
    except requests.ConnectionError as error:
        raise Unusable("no connection") from error
    except urllib3.exceptions.HTTPError as error:
        raise Unusable("broke off before the end of the file") from error
    except requests.RequestException as error:
        raise Unusable(str(error)) from error


def fault(check: Callable[[Path], object], path: Path) -> str:
    """What `check` finds wrong with a file, or ""."""
    try:
        check(path)
    except Unusable as why:
        return str(why)
    return ""


def unpack(
    archive: Path, home: Callable[[str], Path | None], check: Callable[[Path], object]
) -> tuple[list[str], list[str]]:
    """Put files of a tar in place, each when it is whole and right; their names, and what is wrong with others.

    home: where a member of that name belongs, or None for one that is not wanted. So no path is made of what the
        archive says, and nothing in it (`../`, links, devices) leads out of these places.
    check: raises Unusable for a file that may not be put in place.

    What is right in its place already, and not smaller, is not touched: another process may be reading it.
    Raises tarfile.TarError or EOFError for what is no tar or was cut off, OSError where it cannot be written.
    """
    placed, broken = [], []
    with tarfile.open(archive) as tar:
        for member in tar:
            path = home(member.name)
            if path is None or not member.isfile():
                continue
            with private_folder(path) as temporary:
                unpacked = temporary / path.name
                with open(unpacked, "wb") as out:
                    shutil.copyfileobj(tar.extractfile(member), out)
                if why := fault(check, unpacked):
                    broken.append(f"{member.name} {why}")
                    continue
                placed.append(member.name)
                if fault(check, path) or path.stat().st_size < unpacked.stat().st_size:
                    os.replace(unpacked, path)
    return placed, broken
