"""`python -m resnet_lesson inside`: what notebook 07 shows of a trained network."""

import argparse
from pathlib import Path

from ..errors import LessonError
from ..inside.record import measure
from ..training.runs import Run, load, own, shipped
from .shared import DATASETS, add_device, add_root


def options(p: argparse.ArgumentParser) -> None:
    """What the command takes, and what it does."""
    p.add_argument("names", nargs="+", metavar="NAME", help="runs with weights, as `runs` lists them, or folders")
    add_device(p)
    add_root(p)
    p.set_defaults(run=command)


def command(args: argparse.Namespace) -> int:
    """Measure each run and say what was found. Nothing is measured before all of the runs have been found."""
    for run in [find(name) for name in args.names]:
        found = measure(run, *DATASETS[run.data["name"]](args.root), device=args.device)
        worst = max(found.drop_each, key=found.drop_each.get)
        print(
            f"{found.folder}: error {found.error:.1%} on {found.about['lesion_images']}; without {worst} "
            f"{found.drop_each[worst]:.1%}; loss in the middle of its surfaces {found.surface().centre:.3f}."
        )
    return 0


def find(name: str) -> Run:
    """The run in the folder of that name, or the recorded one, the course's or else the reader's.

    Raises LessonError where there is none, and for one that cannot be measured here.
    """
    places = (Path(name), shipped() / name, own() / name)
    run = load(next((folder for folder in places if (folder / "run.json").exists()), places[1]))
    if run.status != "finished" or run.data["name"] not in DATASETS:
        raise LessonError(
            f"{name} is {run.status}, trained on {run.data['name']}: this command measures finished runs on "
            f"{' or '.join(DATASETS)}."
        )
    return run
