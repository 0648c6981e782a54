"""Many trainings: started in order, so many at a time, watched, stopped together."""

import shutil
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

from ..checkpoints import stop_requests
from .job import Job


def train_all(jobs: Sequence[Job], at_once: int, threads: int, progress: "Progress") -> None:
    """Run the jobs that are not done, in order, `at_once` at a time; those that fail say so in `failure`.

    After the first Ctrl-C each child finishes its step and saves; a second one ends them at once. Either way
    KeyboardInterrupt is raised when none is left.
    """
    waiting, running = [job for job in jobs if not job.done], []
    try:
        with _also_when_ended(), stop_requests() as stop:
            asked = False
            while running or (waiting and not stop.requested):
                while waiting and len(running) < at_once and not stop.requested:
                    job = waiting.pop(0)
                    job.start(threads)
                    running.append(job)
                    progress.event(f"{job.folder.name}: started")
                if stop.requested and not asked:
                    asked = True
                    progress.say("Stopping: each training finishes its step and saves. Ctrl-C again ends them at once.")
                    for job in running:
                        job.ask_to_stop()
                time.sleep(0.2)
                for job in list(running):
                    if job.over(stopping=stop.requested):
                        running.remove(job)
                    progress.look(job)
                progress.draw()
    finally:
        for job in running:
            job.process.kill()
            job.process.wait()
    if stop.requested:
        raise KeyboardInterrupt


@contextmanager
def _also_when_ended() -> Iterator[None]:
    """Take a request to end, or the closing of the terminal, as Ctrl-C: no training is left behind on its own."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # What is ignored stays so: `nohup` asks for it.
    numbers = [getattr(signal, name) for name in names if signal.getsignal(getattr(signal, name)) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Progress:
    """Says how far the jobs are: on a terminal in a table that is redrawn in place, elsewhere in a line for each change
    (no more than ten a training)."""

    def __init__(self, jobs: Sequence[Job], at_once: int, stream: TextIO | None = None):
        self.jobs, self.at_once = jobs, at_once
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self.drawn: list[str] = []
        self.tenths = {id(job): 10 * job.iteration // job.recipe.iterations for job in jobs}

    def say(self, line: str) -> None:
        """A line that stays, above the table."""
        drawn = self.drawn
        self._replace([])
        print(line, file=self.stream, flush=True)
        self._replace(drawn)

    def event(self, line: str) -> None:
        """A line that the table makes unnecessary."""
        if not self.live:
            self.say(line)

    def look(self, job: Job) -> None:
        """Say what is new about a job."""
        if job.failure:
            self.say(f"{job.folder.name}: failed: {job.failure}")
        elif job.run and (tenth := 10 * job.iteration // job.recipe.iterations) > self.tenths[id(job)]:
            self.tenths[id(job)] = tenth
            finished = f"finished, test error {job.run.final():.2%}"
            self.event(f"{job.folder.name}: {finished if job.done else how_far(job)}")

    def draw(self) -> None:
        if self.live and (lines := self.table()) != self.drawn:
            self._replace(lines)

    def close(self) -> None:
        self._replace([])

    def table(self) -> list[str]:
        """A line a network: seeds done, their mean test error, and what is running."""
        rows = [("network", "done", "test error", "now")]
        for network in dict.fromkeys(job.network for job in self.jobs):
            mine = [job for job in self.jobs if job.network == network]
            errors = [job.run.final() for job in mine if job.done]
            now = [f"seed {job.seed} failed" for job in mine if job.failure]
            now += [f"seed {job.seed}: {how_far(job)}" for job in mine if job.process and job.process.poll() is None]
            mean = f"{statistics.mean(errors):.2%}" if errors else ""
            rows.append((network, f"{len(errors)} of {len(mine)}", mean, "; ".join(now)))
        widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:3]]
        lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]) for row in rows]
        left = seconds_left(self.jobs, self.at_once)
        about = f", about {tqdm.format_interval(left)} left" if left else ""
        return [*lines, f"{sum(job.done for job in self.jobs)} of {len(self.jobs)} trainings done{about}"]

    def _replace(self, lines: list[str]) -> None:
        if not self.live:
            return
        size = shutil.get_terminal_size()
        lines = [line[: size.columns - 1] for line in lines[-(size.lines - 1) :]]  # a wrapped line would count twice
        back = f"\x1b[{len(self.drawn)}F\x1b[J" if self.drawn else ""
        self.stream.write(back + "".join(f"{line}\n" for line in lines))
        self.stream.flush()
        self.drawn = lines


def how_far(job: Job) -> str:
    """A running job's last record in words."""
    if not job.iteration:
        return "in its first epoch"
    seconds = job.run.seconds * (job.recipe.iterations / job.iteration - 1)
    epoch = f"{job.iteration / job.recipe.iterations:.0%} (epoch {job.run.history[-1]['epoch']})"
    return f"{epoch}, test error {job.run.final():.2%}, {tqdm.format_interval(seconds)} left"


def seconds_left(jobs: Sequence[Job], at_once: int) -> float | None:
    """An estimate for all jobs from those of this session; a step's time is taken as linear in the depth."""
    seen = [job for job in jobs if job.process and job.iteration]
    todo = [job for job in jobs if not job.done and not job.failure]
    if not seen or not todo:
        return None
    rate = sum(job.run.seconds for job in seen) / sum(job.depth * job.iteration for job in seen)
    return rate * sum(job.depth * (job.recipe.iterations - job.iteration) for job in todo) / min(at_once, len(todo))
