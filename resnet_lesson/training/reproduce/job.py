"""One training in a process of its own, watched through its record."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ...errors import LessonError
from ..recipes import Recipe
from ..runs import Run, load

PROGRAM = (sys.executable, "-m", "resnet_lesson", "train")


def belongs(run: Run, network: str, recipe: Recipe, dataset: str) -> bool:
    """Whether a run is a finished one of that network with shortcut A, by the whole recipe, on that data set."""
    return (
        run.status == "finished"
        and (run.network["name"], run.data["name"]) == (network, dataset)
        and (run.recipe["name"], run.recipe["iterations"]) == (recipe.name, recipe.iterations)
        and run.network["options"] in ({}, {"shortcut": "A"})
    )


@dataclass
class Job:
    """One training: the words after `python -m resnet_lesson train`, and what has become of it.

    run: its record as last read. failure: why it ended early, if it did in this session.
    """

    network: str
    recipe: Recipe
    dataset: str
    seed: int
    folder: Path
    words: tuple[str, ...]
    run: Run | None = None
    failure: str | None = None
    process: subprocess.Popen | None = field(default=None, repr=False)
    log: IO[bytes] | None = field(default=None, repr=False)

    @property
    def command(self) -> str:
        return shlex.join(["python", "-m", "resnet_lesson", "train", *self.words])

    @property
    def done(self) -> bool:
        """Whether the record is this run's, and finished. `train` itself refuses a folder that holds another run."""
        run = self.run
        return run is not None and run.seed == self.seed and belongs(run, self.network, self.recipe, self.dataset)

    @property
    def iteration(self) -> int:
        return self.run.history[-1]["iteration"] if self.run and self.run.history else 0

    @property
    def depth(self) -> int:
        return int(re.search(r"\d+", self.network)[0])

    def look(self) -> "Job":
        """Read the record, as far as it is there."""
        if (self.folder / "run.json").exists():
            try:
                self.run = load(self.folder)
            except LessonError:  # `train` says what is wrong with it
                self.run = None
            except OSError:  # Windows, while the training replaces it: the next look will see more
                pass
        return self

    def start(self, threads: int) -> None:
        """Train in a child process with that many threads on the CPU."""
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "TQDM_MININTERVAL": "30",  # seconds from one line of the log to the next
        }
        self.log = tempfile.TemporaryFile()
        # A group of its own: Ctrl-C in the terminal would reach it there, and forwarded once more, and twice kills.
        group = {"process_group": 0} if os.name == "posix" else {}
        self.process = subprocess.Popen(
            [*PROGRAM, *self.words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            **group,
        )

    def ask_to_stop(self) -> None:
        if os.name == "posix":  # elsewhere the console has told it already
            self.process.send_signal(signal.SIGINT)

    def over(self, stopping: bool = False) -> bool:
        """Whether the process has ended; then `failure` says why, unless it finished or was asked to stop."""
        status = self.process.poll()
        self.look()
        if status is None:
            return False
        if not self.done and not stopping:
            self.failure = self._reason(status)
        self.log.close()
        return True

    def _reason(self, status: int) -> str:
        if status == -9:
            return "killed by the system, most often for want of memory: use fewer --jobs"
        size = self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, size - 4096))
        lines = [line.strip() for line in self.log.read().decode(errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), f"it ended with status {status} and no word")
        return f"{last} (use fewer --jobs)" if "out of memory" in last else last
