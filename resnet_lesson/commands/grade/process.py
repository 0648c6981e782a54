"""A notebook's cells in a process of their own, with limits: time, memory, processes, and what it is told of here."""

import json
import os
import secrets
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from ast import literal_eval
from contextlib import suppress
from dataclasses import dataclass, field
from hmac import compare_digest
from pathlib import Path
from threading import Event, Thread
from typing import BinaryIO

import matplotlib
import psutil

from .child import signature

CHILD = ("-m", f"{__package__}.child")
COURSE = Path(__file__).parents[2]  # the folder that holds the package
PROCESSES = 50  # at a time; a DataLoader has a few
STARTING = 120  # seconds until the first cell: to import torch takes some
PASSED_ON = (
    *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERNAME"),  # Windows cannot do without
)


@dataclass(frozen=True)
class Limits:
    """For one notebook. seconds: of wall time, from its first cell on; memory: of all its processes together, in GB of
    10^9 bytes; threads: of torch."""

    seconds: float = 600
    memory: float = 6
    threads: int = 1


@dataclass
class Outcome:
    """What came of a notebook. messages: the judge's own, in order, each (kind, ...); stopped: why it did not reach its
    end, in words, or ""; seconds: of wall time."""

    messages: list[tuple] = field(default_factory=list)
    stopped: str = ""
    seconds: float = 0.0

    @property
    def last(self) -> str:
        return self.messages[-1][0] if self.messages else ""


def environment(home: Path, threads: int) -> dict[str, str]:
    """What the child knows of its surroundings: a few variables by name, so that no token is among them."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    folders = ("HOME", "USERPROFILE", "APPDATA", "TMPDIR", "TEMP", "TMP", "MPLCONFIGDIR", "IPYTHONDIR")
    return passed | dict.fromkeys(folders, str(home)) | {
        "PYTHONPATH": str(COURSE),
        "PYTHONUSERBASE": site.getuserbase(),  # packages may be there, and HOME is another
        "PYTHONHASHSEED": "0",
        "MPLBACKEND": "Agg",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": str(threads),
    }  # fmt: skip


def run(cells: list[str], limits: Limits, stopping: Event) -> Outcome:
    """Run and judge the cells; return when they are through, at a limit, or when `stopping` is set.

    None of the processes that they started is left then, nor a file in the folder that was theirs.
    """
    outcome, key, began = Outcome(), secrets.token_bytes(32), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True) as folder:
        for fonts in Path(matplotlib.get_cachedir()).glob("fontlist-*.json"):  # to find them takes seconds
            shutil.copy(fonts, folder)
        process = subprocess.Popen(
            [sys.executable, "-P", *CHILD],
            cwd=folder,
            env=environment(Path(folder), limits.threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        reader = Thread(target=_read, args=(process.stdout, key, outcome.messages), daemon=True)
        reader.start()
        family: set[psutil.Process] = set()
        try:
            with suppress(OSError), process.stdin as pipe:
                pipe.write(json.dumps({"key": key.hex(), "cells": cells}).encode())
            outcome.stopped = _watch(process, outcome, limits, stopping, family)
        finally:
            _end(process, folder, family)
        reader.join(timeout=10)  # to the pipe's end: nobody is left who could write
        if not reader.is_alive():
            process.stdout.close()
    if outcome.last == "done":
        outcome.stopped = ""
    elif not outcome.stopped:
        outcome.stopped = _ended(process.returncode, bool(outcome.messages))
    outcome.seconds = time.monotonic() - began
    return outcome


def _read(pipe: BinaryIO, key: bytes, messages: list[tuple]) -> None:
    """Take the judge's messages from the pipe. What else a student's code wrote there is left out, however much."""
    rest, number = b"", -1
    while chunk := pipe.read1(1 << 16):
        *lines, rest = (rest[-(1 << 16) :] + chunk).split(b"\n")
        for line in lines:
            sign, _, body = line.partition(b" ")
            if compare_digest(sign, signature(key, body)):
                this, *message = literal_eval(body.decode())
                if this > number:  # not a message once more
                    number = this
                    messages.append(tuple(message))


def _watch(process: subprocess.Popen, outcome: Outcome, limits: Limits, stopping: Event, family: set) -> str:
    """Wait until it is done, or ends itself; return why it is to be ended before, or "". `family`: processes seen."""
    with suppress(psutil.Error):
        family.add(psutil.Process(process.pid))
    deadline, started = time.monotonic() + STARTING, False
    while process.poll() is None and outcome.last != "done":
        if outcome.messages and not started:
            deadline, started = time.monotonic() + limits.seconds, True
        now = _living(family)
        if stopping.is_set():
            return "the grading was stopped"
        if time.monotonic() > deadline:
            return f"it took longer than {limits.seconds if started else STARTING:g} s"
        if sum(map(_memory, now)) > limits.memory * 1e9:
            return f"it took more than {limits.memory:g} GB of memory"
        if len(now) > PROCESSES:
            return f"it started more than {PROCESSES} processes"
        time.sleep(0.2)
    return ""


def _ended(status: int, started: bool) -> str:
    """What a process's exit status says, which ended before it was done."""
    if not started:
        return f"its process could not start (status {status}): try python -m {__package__}.child < /dev/null"
    if status == -9:
        return "its process was killed by the system, most often for want of memory"
    if status == 0:
        return "its process ended itself"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"status {status}"
    return f"its process ended itself ({name})"


def _living(family: set[psutil.Process]) -> list[psutil.Process]:
    """The processes that are left of the family, with those that they have started since."""
    for process in list(family):
        with suppress(psutil.Error):
            family.update(process.children(recursive=True))
    return [process for process in family if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _memory(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def _end(process: subprocess.Popen, folder: str, family: set[psutil.Process]) -> None:
    """Kill the process and all that came of it, those too that cut their ties: their HOME is its folder."""
    for _ in range(20):  # in case they start others meanwhile
        for other in psutil.process_iter():
            with suppress(psutil.Error):
                if other.environ().get("HOME") == folder:
                    family.add(other)
        if not (left := _living(family)):
            break
        for one in left:
            with suppress(psutil.Error):
                one.kill()
        process.poll()
        psutil.wait_procs(left, timeout=0.2)
    process.wait()
