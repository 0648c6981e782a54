"""`python -m resnet_lesson reproduce TABLE`: all the trainings behind a table of the paper, with one command.

Each training is a `train` command in a process of its own, and resumes where it was stopped.
"""

import argparse
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch

from .. import machine
from ..errors import LessonError, unknown
from ..training.recipes import RECIPES
from ..training.runs import Run, load, name_of, own, shipped
from ..training.table6 import NETWORKS, counts, recipe_of, table6
from .children import ended_by_ctrl_c, start, stop
from .shared import DATASETS

TELLING = ("plain20", "resnet20", "plain56", "resnet56")
TRAIN = (sys.executable, "-m", "resnet_lesson", "train")


def options(p: argparse.ArgumentParser) -> None:
    """Add the command's options, and the function that runs it."""
    some = "names, separated by commas (default: plain20, 32, 44, 56; resnet20, 32, 44, 56, 110)"
    p.add_argument("table", choices=["table6"], help="the paper's table to reproduce")
    p.add_argument("--recipe", choices=RECIPES, default="paper", help="how to train (default: paper)")
    p.add_argument(
        "--seeds", type=int, default=5, help="how many for each network (default: 5); you can add more later"
    )
    p.add_argument("--networks", type=lambda names: names.replace(" ", "").split(","), default=NETWORKS, help=some)
    p.add_argument("--jobs", type=int, default=1, help="how many trainings run at the same time (default: 1)")
    p.add_argument("--minutes", type=float, default=float("inf"), help="save and stop before this time is up")
    p.add_argument(
        "--list", action="store_true", help="train nothing; list what is left to do, and the commands for it"
    )
    p.set_defaults(run=command)


@dataclass(frozen=True)
class Job:
    """One training of the table. recipe: that of the table; with 110 layers a variant of it is used."""

    network: str
    recipe: str
    seed: int

    @property
    def words(self) -> list[str]:
        """The arguments of `python -m resnet_lesson train`."""
        its = recipe_of(self.network, self.recipe).name
        return ["--network", self.network, "--recipe", its, "--seed", str(self.seed)]

    @property
    def name(self) -> str:
        return name_of(self.network, recipe_of(self.network, self.recipe).name, self.seed)

    def run(self) -> Run | None:
        """The finished training, the course's or else the reader's; None if there is none yet."""
        for folder in (shipped(), own()):
            with suppress(LessonError):  # not started, or damaged, as `train` will say
                run = load(folder / self.name)
                if counts(run, self.network, self.recipe) and run.seed == self.seed:
                    return run
        return None


def plan(networks: Sequence[str], recipe: str, seeds: int) -> list[Job]:
    """The trainings, the most informative first: 20 and 56 layers with three seeds, then 110 layers, then the rest."""

    def late(job: Job) -> int:
        return 0 if job.network in TELLING and job.seed < 3 else 1 if job.network == "resnet110" else 2

    jobs = [Job(network, recipe, seed) for seed, network in product(range(seeds), networks)]
    return sorted(jobs, key=late)  # stable: seed by seed within each part


def command(args: argparse.Namespace) -> int:
    """Train what is missing and print the table. Exit status: 0, 1 if a training failed, 130 if it was stopped."""
    for network in args.networks:
        if network not in NETWORKS:
            raise LessonError(unknown("network of table 6", network, NETWORKS))
    jobs = plan(args.networks, args.recipe, args.seeds)
    missing, whole = [job for job in jobs if job.run() is None], True
    if args.list:
        for job in jobs:
            begun = "go on" if (own() / job.name / "run.json").exists() else "to do"
            state = f"{begun:6} {shlex.join(['python', *TRAIN[1:], *job.words])}"
            print(state if job in missing else f"done   {job.name}: test error {job.run().final():.2%}")
    elif missing:
        end = time.monotonic() + 60 * args.minutes
        DATASETS["cifar10"](machine.DATA)  # fetched once, before several processes want it
        with ended_by_ctrl_c():
            whole = train_all(missing, max(args.jobs, 1), end)
    runs = list(filter(None, (job.run() for job in jobs)))
    print(table6(runs, args.recipe, args.networks))
    if not whole:
        print(f"Stopped with {len(runs)} of {len(jobs)} trainings done. To go on, repeat the command.")
        return 130
    return int(not args.list and len(runs) < len(jobs))


def train_all(jobs: Sequence[Job], at_once: int, end: float) -> bool:
    """Run the jobs in order, `at_once` at a time, and print how each one ended. Return whether none is left.

    At Ctrl-C, and shortly before `end` of the monotonic clock, the trainings are asked to save, and no others start.
    """
    waiting, running = list(jobs), {}
    threads = str(max(1, torch.get_num_threads() // at_once))
    stopping = end - min(30, 0.2 * (end - time.monotonic()))  # a step, its evaluation and the record take a while
    with tempfile.TemporaryDirectory() as logs:
        try:
            while (waiting or running) and time.monotonic() < stopping:
                while waiting and len(running) < at_once:
                    job = waiting.pop(0)
                    log = Path(logs) / job.name
                    running[start([*TRAIN, *job.words], log, OMP_NUM_THREADS=threads)] = job, log
                    print(f"{job.name}: started", flush=True)
                time.sleep(0.1)
                for process, (job, log) in list(running.items()):
                    if process.poll() is not None:
                        del running[process]
                        run = job.run()
                        how = f"test error {run.final():.2%}" if run else f"failed: {reason(process.returncode, log)}"
                        print(f"{job.name}: {how}", flush=True)
        except KeyboardInterrupt:
            pass
        finally:
            if running:
                print("Stopping: each training finishes its step and saves. Ctrl-C kills them at once.", flush=True)
            stop(list(running), end)
    return not (waiting or running)


def reason(status: int, log: Path) -> str:
    """Why a training ended before it was done: the last line that it printed."""
    if status == -9:
        return "killed by the system, most often for lack of memory: use fewer --jobs"
    return re.split(r"[\r\n]+", log.read_text(errors="replace").strip())[-1] or f"status {status}"
