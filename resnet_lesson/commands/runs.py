"""`python -m resnet_lesson runs`: the recorded runs and studies in a table, or the runs' curves in a file."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..errors import unknown
from ..figures.curves import error_curves
from ..training.runs import Run, list_runs, own, shipped
from ..training.study import list_studies
from .shared import nfc

HEAD = ("run", "network", "recipe", "data", "epochs", "train", "test", "minutes", "status")


def options(p: argparse.ArgumentParser) -> None:
    """Add the command's options, and the function that runs it."""
    p.add_argument("names", nargs="*", metavar="NAME", help="only these runs (default: all)")
    p.add_argument("--figure", type=Path, help="write the error curves to this file (.png, .svg or .pdf)")
    p.add_argument("--root", type=Path, help="folder with the records (default: data/runs and data/my-runs)")
    p.set_defaults(run=command)


def command(args: argparse.Namespace) -> int:
    """Print the runs and studies of each folder of records; if asked to, draw the runs' curves into one figure."""
    places = {args.root: "Runs"} if args.root else {shipped(): "Runs that come with the course", own(): "Your runs"}
    there = {folder: list_runs(folder) for folder in places}
    names, known = [nfc(name) for name in args.names], [nfc(run.name) for runs in there.values() for run in runs]
    for name in names:
        if name not in known:
            raise ValueError(unknown("recorded run", name, known))
    chosen = []
    for folder, what in places.items():
        runs = [run for run in there[folder] if nfc(run.name) in names or not names]
        if runs:
            print(f"{what}, in {folder}:\n{table(runs)}\n")
        studies = [] if args.names else list_studies(folder)
        if studies:
            width = max(len(study.folder.name) for study in studies)
            print(f"Studies in {folder} (trials, question):")
            for study in studies:
                print(f"{study.folder.name:{width}}  {len(study.trials):3}  {study.question}")
        chosen += runs
    if not chosen:
        print(
            f"No recorded runs in {' or '.join(map(str, places))}. "
            "`python -m resnet_lesson train --help` shows how to make one."
        )
    elif args.figure:
        error_curves(chosen).savefig(args.figure, dpi=150)
    return 0


def table(runs: Sequence[Run]) -> str:
    """One row per run, with the errors after its last epoch."""
    rows = [HEAD]
    for run in runs:
        errors = [f"{run.final(column):.2%}" if run.history else "-" for column in ("train_error", "test_error")]
        epochs = str(run.final("epoch") if run.history else 0)
        how = (f"{run.seconds / 60:.1f}", f"{run.status}, {run.hardware}, {run.precision}")
        rows.append((run.name, run.network["name"], run.recipe["name"], run.data["name"], epochs, *errors, *how))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    line = "  ".join(f"{{:{'<' if k < 4 else '>'}{width}}}" for k, width in enumerate(widths[:-1])) + "  {}"
    return "\n".join(line.format(*row) for row in rows)
