"""`python -m resnet_lesson reproduce TABLE`: all the trainings behind a table of the paper, by one command.

Each training is a `train` command in a process of its own, which goes on where it was stopped.
"""

import argparse
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import torch
from tqdm import tqdm

from .. import machine
from ..errors import LessonError
from ..models.networks import IMAGENET_NAMES, build
from ..training.recipes import Recipe, recipe
from ..training.runs import Run, load, name_of, own, refuse_shipped, shipped
from ..training.table6 import NETWORKS, counts, recipe_of, table6
from .children import ended_by_ctrl_c, start, stop
from .shared import DATASETS, add_dataset, add_device, add_recipe, add_root, number

TELLING = ("plain20", "resnet20", "plain56", "resnet56")
TRAIN = (sys.executable, "-m", "resnet_lesson", "train")


def options(p: argparse.ArgumentParser) -> None:
    """What the command takes, and what it does."""
    some = "names with commas between (default: plain20, 32, 44, 56; resnet20, 32, 44, 56, 110)"
    p.add_argument("table", choices=["table6"], help="the paper's table to reproduce")
    add_recipe(p, "paper")
    p.add_argument("--seeds", type=number(int, 1), default=5, help="for each network (default: 5); more can follow")
    p.add_argument("--networks", type=lambda names: names.split(","), default=NETWORKS, help=some)
    p.add_argument("--jobs", type=number(int, 1), default=1, help="trainings at a time (default: 1)")
    p.add_argument("--minutes", type=number(float, 0.01), help="save and stop before this time is over")
    p.add_argument("--list", action="store_true", help="train nothing: list what there is to do, by which commands")
    add_dataset(p)
    p.add_argument("--iterations", type=number(int, 1), help="scale the recipe to this many steps, to try it out")
    add_device(p)
    p.add_argument("--out", type=Path, help="folder of the records (default: data/my-runs)")
    add_root(p)
    p.set_defaults(run=command)


@dataclass
class Job:
    """One training: the words after `python -m resnet_lesson train`, and its record as last read."""

    network: str
    recipe: Recipe
    dataset: str
    seed: int
    words: list[str]
    folder: Path
    run: Run | None = None

    def look(self) -> "Job":
        """Read the record, as far as it is there."""
        with suppress(LessonError, OSError):  # not begun, or damaged, which `train` will say; or just being replaced
            self.run = load(self.folder)
        return self

    @property
    def done(self) -> bool:
        run = self.run
        return run is not None and run.seed == self.seed and counts(run, self.network, self.recipe, self.dataset)

    @property
    def iteration(self) -> int:
        return self.run.history[-1]["iteration"] if self.run and self.run.history else 0

    @property
    def command(self) -> str:
        return shlex.join(["python", "-m", "resnet_lesson", "train", *self.words])


def plan(args: argparse.Namespace, chosen: Recipe) -> list[Job]:
    """The trainings, most telling first: 20 and 56 layers with three seeds, then 110 layers, then the rest."""
    options = []
    for name, usual in {"dataset": "cifar10", "iterations": None, "device": None, "root": machine.DATA}.items():
        if getattr(args, name) != usual:
            options += [f"--{name}", str(getattr(args, name))]
    jobs = []
    for seed, network in product(range(args.seeds), args.networks):
        its = recipe_of(network, chosen)
        name = name_of(network, its.name, seed, dataset=args.dataset, iterations=args.iterations)
        words = ["--network", network, "--recipe", its.name, "--seed", str(seed), *options]
        words += ["--out", str(args.out / name)] if args.out else []
        job = Job(network, its, args.dataset, seed, words, shipped() / name).look()
        if args.out or not job.done:  # what comes with the course need not be trained again
            job = replace(job, folder=(args.out or own()) / name, run=None).look()
        jobs.append(job)

    def late(job: Job) -> int:
        return 0 if job.network in TELLING and job.seed < 3 else 1 if job.network == "resnet110" else 2

    return sorted(jobs, key=late)  # stable: seed by seed within each part


def command(args: argparse.Namespace) -> int:
    """Train what is missing and print the table. Exit status: 0, 1 if a training failed, 130 if it was stopped."""
    refuse_shipped(args.out)
    for network in args.networks:
        build(network)  # raises ValueError for one that does not exist
        if not re.fullmatch(r"(plain|resnet)\d+", network) or network in IMAGENET_NAMES:
            raise LessonError(f"Table 6 has plain and residual networks for CIFAR-10, such as resnet20, not {network}.")
    args.networks = list(dict.fromkeys(args.networks))
    chosen = recipe(args.recipe)
    if args.iterations is not None:
        chosen = chosen.scaled(args.iterations)
    jobs = plan(args, chosen)
    whole = True
    if args.list:
        for job in jobs:
            state = f"{job.folder.name}: test error {job.run.final():.2%}" if job.done else job.command
            print(f"{'done' if job.done else 'go on' if job.iteration else 'to do':6} {state}")
    elif todo := [job for job in jobs if not job.done]:
        end = time.monotonic() + 60 * (args.minutes or float("inf"))
        DATASETS[args.dataset](args.root)  # fetched once, before several processes want it
        with ended_by_ctrl_c():
            whole = train_all(todo, args.jobs, end)
    print(table6([job.run for job in jobs if job.run], chosen, args.networks, args.dataset))
    done = sum(job.done for job in jobs)
    if not whole:
        print(f"Stopped with {done} of {len(jobs)} trainings done: the same command goes on.")
        return 130
    return int(not args.list and done < len(jobs))


def train_all(jobs: Sequence[Job], at_once: int, end: float) -> bool:
    """Run the jobs in order, `at_once` at a time, and say of each how it ended. Return whether none is left.

    At Ctrl-C, and shortly before `end` of the monotonic clock, the trainings are asked to save and no other one starts.
    """
    waiting, running = list(jobs), {}
    threads = str(max(1, torch.get_num_threads() // at_once))
    stopping = end - min(30, 0.2 * (end - time.monotonic()))  # a step, its evaluation and the record take a while
    bar = tqdm(total=sum(job.recipe.iterations for job in jobs), unit="step", disable=None)
    with bar, tempfile.TemporaryDirectory() as logs:
        try:
            while (waiting or running) and time.monotonic() < stopping:
                while waiting and len(running) < at_once:
                    job = waiting.pop(0)
                    log = Path(logs) / job.folder.name
                    running[start([*TRAIN, *job.words], log, OMP_NUM_THREADS=threads, TQDM_MININTERVAL="30")] = job, log
                    bar.write(f"{job.folder.name}: started")
                time.sleep(0.1)
                for process, (job, log) in list(running.items()):
                    status = process.poll()
                    job.look()
                    if status is not None:
                        del running[process]
                        how = f"test error {job.run.final():.2%}" if job.done else f"failed: {reason(status, log)}"
                        bar.write(f"{job.folder.name}: {how}")
                bar.update(sum(job.iteration for job in jobs) - bar.n)
        except KeyboardInterrupt:
            pass
        finally:
            if running:
                bar.write("Stopping: each training finishes its step and saves. Ctrl-C ends them at once.")
            stop(list(running), end)
    for job, _ in running.values():
        job.look()
    return not (waiting or running)


def reason(status: int, log: Path) -> str:
    """Why a training ended before it was done: the last line that it printed."""
    if status == -9:
        return "killed by the system, most often for want of memory: use fewer --jobs"
    return re.split(r"[\r\n]+", log.read_text(errors="replace").strip())[-1] or f"status {status}"
