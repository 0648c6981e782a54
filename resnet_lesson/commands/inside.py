"""`python -m resnet_lesson inside`: what notebook 07 shows of a trained network."""

import argparse
from pathlib import Path

from ..errors import LessonError, unknown
from ..inside.record import measure
from ..training.runs import Run, list_runs, load, own, shipped
from .shared import DATASETS, add_device, add_root


def options(p: argparse.ArgumentParser) -> None:
    """Add the command's options, and the function that runs it."""
    p.add_argument("names", nargs="+", metavar="NAME", help="a run with weights, as `runs` lists it, or its folder")
    add_device(p)
    add_root(p)
    p.set_defaults(run=command)


def command(args: argparse.Namespace) -> int:
    """Measure each run and print the results, after making sure that all of the runs exist."""
    for run in [find(name) for name in args.names]:
        found = measure(run, *DATASETS[run.data["name"]](args.root), device=args.device)
        worst = max(found.drop_each, key=found.drop_each.get)
        print(
            f"{found.folder}: error {found.error:.1%} on {found.about['lesion_images']}; without {worst} "
            f"{found.drop_each[worst]:.1%}; loss in the middle of its surfaces {found.surface().centre:.3f}."
        )
    return 0


def find(name: str) -> Run:
    """The run in the folder of that name, or the recorded run, the course's or else the reader's.

    Raises LessonError if there is none, or if this command cannot measure it.
    """
    there = [folder for folder in (Path(name), shipped() / name, own() / name) if (folder / "run.json").exists()]
    if not there:
        known = [run.name for root in (shipped(), own()) for run in list_runs(root)]
        raise LessonError(unknown("recorded run", name, known))
    run = load(there[0])
    if run.status != "finished" or run.data["name"] not in DATASETS:
        raise LessonError(
            f"{name} is {run.status}, trained on {run.data['name']}: this command measures finished runs on "
            f"{' or '.join(DATASETS)}."
        )
    return run
