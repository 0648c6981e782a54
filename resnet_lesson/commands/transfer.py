"""`python -m resnet_lesson transfer`: record the comparison of notebook 08."""

import argparse
from pathlib import Path

from ..datasets.doodles10 import doodles10
from ..datasets.quickdraw import STUDY, quickdraw
from ..errors import LessonError
from ..training.pretrained import as_photographs, pretrained
from ..training.runs import own, refuse_shipped
from ..training.study import record
from ..training.transfer import FINE_TUNING
from ..training.transfer_study import plan, table
from .shared import add_root, number

STEPS = 300


def options(p: argparse.ArgumentParser) -> None:
    """What the command takes, and what it does."""
    p.add_argument("--network", default="resnet20", help="a trained network of the course (default: resnet20)")
    p.add_argument("--data", choices=("doodles10", "quickdraw"), default="doodles10", help="(default: doodles10)")
    p.add_argument("--classes", metavar="CLASS,CLASS", help="of QuickDraw (default: the study post's ten)")
    p.add_argument("--out", type=Path, help="folder of the record (default: data/my-runs/transfer-NETWORK-DATA)")
    p.add_argument("--iterations", type=number(int, 1), default=STEPS, help=f"of each training (default: {STEPS})")
    add_root(p)
    p.set_defaults(run=command)


def command(args: argparse.Namespace) -> int:
    """Train what is missing, and print the table."""
    refuse_shipped(args.out)
    pretrained(args.network)  # refuses another name before anything is downloaded
    data = args.data
    if data == "doodles10":
        if args.classes:
            raise LessonError("--classes are QuickDraw's: add --data quickdraw, or leave them out.")
        pool, test_set = doodles10(10_000, seed=0), doodles10(2_000, seed=1)
    else:
        classes = [name.strip() for name in args.classes.split(",")] if args.classes else STUDY
        data += str(len(classes))
        pool, test_set = quickdraw(classes, 1500, args.root).split(1000)
    sets = as_photographs(pool), as_photographs(test_set)
    name = f"transfer-{args.network}-{data}" + f"-{args.iterations}steps" * (args.iterations != STEPS)
    study = record(plan(args.network, *sets, FINE_TUNING.scaled(args.iterations)), args.out or own() / name)
    print(f"{name}:\n{table(study.trials)}")
    return 0
