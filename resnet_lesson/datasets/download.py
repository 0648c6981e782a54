"""One big file from one of several mirrors, none of which is trusted or waited for too long."""

import hashlib
import os
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

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

    The rate is the mean since the transfer began: a mirror that brought much quickly and falters later is kept, as
    starting again elsewhere would take longer.
    """

    rate: float = 200_000  # bytes/s; a mirror below is left for the next one, ...
    after: float = 20  # ... but only after this time, s
    connect: float = 5  # to be connected to one address of the host, s
    stall: float = 20  # with nothing coming at all, s


PATIENCE = Patience()


class MirrorFailed(Exception):
    """Why a mirror did not deliver, in a few words."""

    def __init__(self, why: str, *, reached: bool = True, rate: float | None = None):
        super().__init__(why)
        self.reached = reached
        self.rate = rate  # bytes/s, of a mirror that is only slow


def fetch(mirrors: Iterable[str], md5: str, path: Path, *, otherwise: str, patience: Patience = PATIENCE) -> None:
    """Put the file with the checksum `md5` at `path`, from the first of the `mirrors` that delivers it.

    Another kind of checksum has its name before it: "sha256:...".

    A file that is already there is kept if it has that checksum and replaced if not. A mirror that is dead, slow,
    stalled, or sends anything else is left with a line that says why. If some were merely slow, the fastest of them
    gets a second try without the limit on the rate. `path` only ever changes from what it was to the whole file.

    Raises LessonError when no mirror delivers; its message ends in `otherwise`, what to do in that case.
    """
    path = Path(path)
    pooch.get_logger().setLevel("WARNING")  # its notes would put this machine's folders into the notebook
    candidates, reached = list(mirrors), False
    for limits in (patience, replace(patience, rate=0)):
        rates = {}
        for url in candidates:
            try:
                return _fetch_from(url, md5, path, limits)
            except MirrorFailed as failure:
                print(f"{host_of(url)}: {failure}.")
                reached = reached or failure.reached
                if failure.rate is not None:
                    rates[url] = failure.rate
        candidates = sorted(rates, key=rates.__getitem__, reverse=True)
        if candidates:
            print(f"No mirror is fast from here; {host_of(candidates[0])} is the fastest and may take its time.")
    why = "no mirror delivered it, for the reasons above" if reached else "no mirror can be reached"
    raise LessonError(f"{path.name} could not be downloaded: {why}. {otherwise}")


def host_of(url: str) -> str:
    """The host as people name it, without a password that the address may hold."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2] or url


def _fetch_from(url: str, md5: str, path: Path, patience: Patience) -> None:
    """pooch writes to a temporary file, checks it, moves it to `path`, and removes it whatever happens."""

    def download(url: str, file: str, _: object) -> None:
        _download(url, Path(file), patience)

    try:
        with failures(patience):
            known = md5 if ":" in md5 else f"md5:{md5}"
            pooch.retrieve(url, known, path.name, path.parent, downloader=download)
    except ValueError as error:  # pooch's word for a wrong checksum
        raise MirrorFailed("sent something else than the published file (wrong checksum)") from error


def refuse_failure(response: requests.Response) -> None:
    """Raise what `failures` understands for an answer that is no file."""
    response.raise_for_status()
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise MirrorFailed("sent a web page instead of the file (a login page?)")


@contextmanager
def failures(patience: Patience) -> Iterator[None]:
    """What goes wrong while a server is asked, as MirrorFailed."""
    try:
        yield
    except requests.HTTPError as error:
        raise MirrorFailed(f"answered {error.response.status_code} {error.response.reason}") from error
    except (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as error:
        raise MirrorFailed(f"stalled, nothing came for {patience.stall:g} s") from error
    except requests.exceptions.SSLError as error:
        raise MirrorFailed("its certificate was not accepted (a login page, or a wrong clock?)") from error
    except requests.ConnectionError as error:
        raise MirrorFailed("no connection", reached=False) from error
    except urllib3.exceptions.HTTPError as error:
        raise MirrorFailed("broke off before the end of the file") from error
    except requests.RequestException as error:
        raise MirrorFailed(str(error)) from error


def _download(url: str, file: Path, patience: Patience) -> None:
    """Write what `url` sends to `file`, showing a progress bar with the host's name."""
    # Asks for the archive as it is: compressed once more in transit, its length and checksum would not fit.
    headers = {"Accept-Encoding": "identity"}
    with requests.get(url, stream=True, timeout=(patience.connect, patience.stall), headers=headers) as response:
        refuse_failure(response)
        size = int(response.headers.get("Content-Length", 0)) or None
        start, done = time.monotonic(), 0
        bar = tqdm(total=size, desc=host_of(url), unit="B", unit_scale=True)
        with bar, open(file, "wb") as out:
            # read1 hands over what has come; read would wait for all of a chunk, however slowly it drips.
            while chunk := response.raw.read1(CHUNK):
                out.write(chunk)
                bar.update(len(chunk))
                done += len(chunk)
                seconds = time.monotonic() - start
                if seconds > patience.after and done < patience.rate * seconds:
                    rate = done / seconds
                    message = f"slow, {rate / 1000:.0f} kB/s over {seconds:.0f} s (under {patience.rate / 1000:.0f})"
                    raise MirrorFailed(message, rate=rate)


def has_md5(content: bytes, md5: str) -> bool:
    """Whether these are the bytes with that checksum (hexadecimal)."""
    return hashlib.md5(content).hexdigest() == md5


def unpack(archive: Path, folder: Path, md5: Mapping[str, str]) -> None:
    """Put those files of a tar `archive` into `folder` that `md5` names: file name to checksum.

    Each is moved into place when it is whole, and only if it has its checksum. Paths come from `md5`, none from the
    archive, so that nothing in it (`../`, links, devices) can lead out of `folder`. What is right there already is not
    touched: another process may be reading it. In the archive the files lie in a folder of the same name as `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {f"{folder.name}/{name}": name for name in md5}
    with private_folder(folder) as temporary, tarfile.open(archive) as tar:
        for member in tar:
            if member.name not in wanted or not member.isfile():
                continue
            name = wanted[member.name]
            content = tar.extractfile(member).read()
            path = folder / name
            there = path.is_file() and has_md5(path.read_bytes(), md5[name])
            if has_md5(content, md5[name]) and not there:
                (temporary / name).write_bytes(content)
                os.replace(temporary / name, path)
