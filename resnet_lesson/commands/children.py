"""Child processes that can be stopped like a command in a terminal: they save what they have, and exit."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def start(command: Sequence[str], log: Path, **environment: str) -> subprocess.Popen:
    """A child process that appends its output to `log`. Ctrl-C in the terminal does not reach it, but `stop` does."""
    with open(log, "ab") as file:
        return subprocess.Popen(
            command,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            process_group=0 if os.name == "posix" else None,
        )


def stop(processes: Sequence[subprocess.Popen], end: float = float("inf")) -> None:
    """Interrupt the processes and wait for them; at `end` of the monotonic clock, or at another Ctrl-C, kill them."""
    try:
        for process in processes:
            if os.name == "posix":  # elsewhere the console has told them already
                process.send_signal(signal.SIGINT)
        while any(process.poll() is None for process in processes) and time.monotonic() < end:
            time.sleep(0.1)
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """Treat a request to terminate like Ctrl-C, even in the background of a script, so that no child is left behind."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
