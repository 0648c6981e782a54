"""`python -m resnet_lesson runs`: the recorded runs and studies in a table, or the runs' curves in a file."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..errors import LessonError, unknown
from ..figures.curves import error_curves
from ..files import replace_file
from ..training.runs import Run, list_runs, own, shipped
from ..training.study import Study, list_studies

FORMATS = ("png", "svg", "pdf")
HEAD = ("run", "network", "recipe", "data", "epochs", "train", "test", "minutes", "status")


def options(p: argparse.ArgumentParser) -> None:
    """What the command takes, and what it does."""
    p.add_argument("names", nargs="*", metavar="NAME", help="only these runs (default: all)")
    p.add_argument("--figure", type=Path, help=f"write the error curves to this file (.{', .'.join(FORMATS)})")
    p.add_argument("--root", type=Path, help="folder of the records (default: data/runs and data/my-runs)")
    p.set_defaults(run=command)


def command(args: argparse.Namespace) -> int:
    """Print a table for each folder of records, its studies, and draw the curves of all runs into one figure."""
    kind = args.figure.suffix[1:].lower() if args.figure else None
    if kind is not None and kind not in FORMATS:
        raise LessonError(f"{args.figure}: the figure's file ends in .{', .'.join(FORMATS)}.")
    places = {args.root: "Runs"} if args.root else {shipped(): "Runs that come with the course", own(): "Your runs"}
    there = {folder: list_runs(folder) for folder in places}
    known = [run.name for runs in there.values() for run in runs]
    for name in args.names:
        if name not in known:
            raise ValueError(unknown("recorded run", name, known))
    chosen = []
    for folder, what in places.items():
        runs = [run for run in there[folder] if run.name in args.names or not args.names]
        if runs:
            print(f"{what}, in {folder}:\n{table(runs)}\n")
        studies = [] if args.names else list_studies(folder)
        if studies:
            print(f"Studies there (trials, question):\n{lines_of(studies)}\n")
        chosen += runs
    if not chosen:
        print(
            f"No recorded runs in {' or '.join(map(str, places))}. "
            "`python -m resnet_lesson train --help` says how to make one."
        )
    elif args.figure:
        figure = error_curves(chosen)
        replace_file(args.figure, lambda file: figure.savefig(file, format=kind, dpi=150))
    return 0


def lines_of(studies: Sequence[Study]) -> str:
    """A line for each study."""
    width = max(len(study.folder.name) for study in studies)
    return "\n".join(f"{study.folder.name:{width}}  {len(study.trials):3}  {study.question}" for study in studies)


def table(runs: Sequence[Run]) -> str:
    """A row for each run, with the errors after its last epoch."""
    rows = [HEAD]
    for run in runs:
        errors = [f"{run.final(column):.2%}" if run.history else "-" for column in ("train_error", "test_error")]
        epochs = str(run.final("epoch") if run.history else 0)
        how = (f"{run.seconds / 60:.1f}", f"{run.status}, {run.hardware}, {run.precision}")
        rows.append((run.name, run.network["name"], run.recipe["name"], run.data["name"], epochs, *errors, *how))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    line = "  ".join(f"{{:{'<' if k < 4 else '>'}{width}}}" for k, width in enumerate(widths[:-1])) + "  {}"
    return "\n".join(line.format(*row) for row in rows)
