"""`python -m resnet_lesson study`: record one of the course's experiments, trial by trial."""

import argparse
from pathlib import Path

from .. import machine
from ..inside.steps import steps
from ..training.experiments import EXPERIMENTS
from ..training.runs import own
from ..training.study import record
from ..training.transfer_study import on_quickdraw
from .shared import add_root

PLANS = {**EXPERIMENTS, "steps": steps, "transfer-resnet20-quickdraw6": on_quickdraw}


def options(p: argparse.ArgumentParser) -> None:
    """Add the command's options, and the function that runs it."""
    p.add_argument("name", choices=PLANS, metavar="NAME", help=f"one of {', '.join(PLANS)}")
    p.add_argument("--out", type=Path, help="folder for the record (default: data/my-runs/NAME)")
    add_root(p)
    p.set_defaults(run=command)


def command(args: argparse.Namespace) -> int:
    """Run the trials that are missing."""
    if machine.pick_device().type == "cpu":
        machine.keep_freed_memory()  # this process does nothing else
    plan = PLANS[args.name](args.root)
    study = record(plan, args.out or own() / args.name)
    print(f"{study.name}: {len(study.trials)} of {len(plan.settings)} trials. {study.question}")
    return 0
