"""`python -m resnet_lesson reproduce TABLE`: all the trainings behind a table of the paper, by one command."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from .. import machine
from ..datasets.dataset import Dataset
from ..errors import LessonError, unknown
from ..models.networks import IMAGENET_NAMES, build
from ..training.recipes import RECIPES, Recipe, recipe
from ..training.reproduce.job import Job
from ..training.reproduce.many import Progress, train_all
from ..training.reproduce.table import NETWORKS, add_predictions, recipe_of, table6
from ..training.runs import name_of

TABLES = ("table6",)
TELLING = ("plain20", "resnet20", "plain56", "resnet56")
DataSets = Mapping[str, Callable[[Path], tuple[Dataset, Dataset]]]


def options(p: argparse.ArgumentParser, data_sets: DataSets) -> None:
    """The command's options. `data_sets`: as in `train --dataset`."""
    p.add_argument("table", help=f"one of {', '.join(TABLES)}")
    p.add_argument("--recipe", default="paper", help=f"one of {', '.join(RECIPES)} (default: paper)")
    p.add_argument("--seeds", type=int, default=5, help="how many for each network (default: 5); more can follow later")
    p.add_argument(
        "--networks",
        default=",".join(NETWORKS),
        help="names with commas between: plain20,resnet20 (default: plain20, 32, 44, 56; resnet20, 32, 44, 56, 110)",
    )
    p.add_argument(
        "--jobs", type=int, default=1, help="trainings at a time (default: 1); they share the CPU's cores, or the GPU"
    )
    p.add_argument(
        "--dry-run", "--list", action="store_true", help="train nothing: say what there is to do, by which commands"
    )
    p.add_argument("--dataset", default="cifar10", help=f"one of {', '.join(data_sets)} (default: cifar10)")
    p.add_argument("--iterations", type=int, default=None, help="scale the recipe to this many steps, to try it out")
    p.add_argument("--device", default=None, help="cpu or cuda (default: a GPU if there is one)")
    p.add_argument("--out", type=Path, default=None, help="folder of the records (default: the course's data/runs)")
    p.add_argument(
        "--root", type=Path, default=machine.DATA, help="folder of the data sets (default: the course's data)"
    )
    p.set_defaults(run=lambda args: command(args, data_sets))


def plan(args: argparse.Namespace, chosen: Recipe, networks: Sequence[str]) -> list[Job]:
    """The trainings, most telling first: 20 and 56 layers with three seeds, then 110 layers, then the rest."""
    jobs = []
    for seed in range(args.seeds):
        for network in networks:
            its = recipe_of(network, chosen)
            words = ["--network", network, "--recipe", its.name, "--seed", str(seed)]
            if args.dataset != "cifar10":
                words += ["--dataset", args.dataset]
            if args.iterations is not None:
                words += ["--iterations", str(args.iterations)]
            if args.device is not None:
                words += ["--device", args.device]
            if args.root != machine.DATA:
                words += ["--root", str(args.root)]
            name = name_of(network, its.name, seed, dataset=args.dataset, iterations=args.iterations)
            folder = (args.out or machine.DATA / "runs") / name
            if args.out:
                words += ["--out", str(folder)]
            jobs.append(Job(network, its, args.dataset, seed, folder, tuple(words)).look())

    def late(job: Job) -> int:
        return 0 if job.network in TELLING and job.seed < 3 else 1 if job.network == "resnet110" else 2

    return sorted(jobs, key=late)  # stable: seed by seed within each part


def command(args: argparse.Namespace, data_sets: DataSets) -> int:
    """Train what is missing and print the table. Exit status: 0, or 1 where a training failed.

    Ctrl-C raises KeyboardInterrupt when every training has stopped, with all that is needed to go on.
    """
    if args.table not in TABLES:
        raise ValueError(unknown("reproducible table", args.table, TABLES))
    if args.dataset not in data_sets:
        raise ValueError(unknown("data set", args.dataset, data_sets))
    for name in ("seeds", "jobs"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} is a number, at least 1, not {getattr(args, name)}.")
    networks = list(dict.fromkeys(args.networks.split(",")))
    for network in networks:
        build(network)  # raises ValueError for one that does not exist
        if not re.fullmatch(r"(plain|resnet)\d+", network) or network in IMAGENET_NAMES:
            raise ValueError(
                f"Table 6 is of plain and residual networks for CIFAR-10, such as resnet20, not {network}."
            )
    chosen = recipe(args.recipe)
    if args.iterations is not None:
        chosen = chosen.scaled(args.iterations)
    jobs = plan(args, chosen, networks)
    if args.dry_run:
        for job in jobs:
            state = f"{job.folder.name}: test error {job.run.final():.2%}" if job.done else job.command
            print(f"{'done' if job.done else 'go on' if job.iteration else 'to do':6} {state}")
    elif not all(job.done for job in jobs):
        data_sets[args.dataset](args.root)  # fetched once, before several processes want it
        progress = Progress(jobs, args.jobs)
        try:
            train_all(jobs, args.jobs, max(1, torch.get_num_threads() // args.jobs), progress)
        finally:
            progress.close()
    if not args.dry_run:
        _complete(jobs, args, data_sets)
    print(table6([job.run for job in jobs if job.run], chosen, networks, args.dataset))
    failed = [job for job in jobs if job.failure]
    for job in failed:
        print(f"Failed: {job.folder.name}: {job.failure}\n  Alone, with all it says: {job.command}")
    return 1 if failed else 0


def _complete(jobs: Sequence[Job], args: argparse.Namespace, data_sets: DataSets) -> None:
    """Give finished runs that were recorded without predictions theirs; the table needs them for its ensembles only."""
    lacking = [job for job in jobs if job.done and not (job.folder / "predictions.safetensors").exists()]
    lacking = [job for job in lacking if (job.folder / "weights.safetensors").exists()]
    sets = None
    for job in lacking:
        try:
            sets = sets or data_sets[args.dataset](args.root)
            error = add_predictions(job.run, *sets, device=args.device)
            print(f"{job.folder.name}: predictions computed from its weights, test error {error:.2%}")
        except LessonError as problem:
            print(f"{job.folder.name}: no predictions: {problem}")
            if sets is None:  # no data: that holds for all of them
                return
