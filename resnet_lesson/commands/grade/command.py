"""`python -m resnet_lesson grade`: run and judge notebooks, print a report on each, write a table of the class."""

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

from ... import exercises
from ...errors import LessonError
from ...files import replace_file


def options(parser: argparse.ArgumentParser) -> None:
    """What `python -m resnet_lesson grade` takes, and what it does."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="NOTEBOOK_OR_FOLDER", help="what students handed in")
    parser.add_argument("--csv", type=Path, default=None, metavar="FILE", help="write a table, a row a notebook")
    parser.add_argument("--seconds", type=float, default=600, help="limit for one notebook (default: 600)")
    parser.add_argument("--memory", type=float, default=6, metavar="GB", help="limit for one notebook (default: 6)")
    parser.add_argument("--jobs", type=int, default=1, help="notebooks at a time (default: 1)")
    parser.set_defaults(run=command)


def command(args: argparse.Namespace) -> int:
    """Grade the notebooks, print a report on each as soon as it is there, and keep the table up to date.

    Raises LessonError where a path does not exist or no notebook is found, and where Jupyter is not installed;
    ValueError where a limit is not above 0.
    """
    try:
        from . import notebook, process, result
    except ModuleNotFoundError as error:  # the package trains without them
        raise LessonError(f"Grading needs {error.name}, which comes with Jupyter: pip install jupyterlab") from error
    for option in ("seconds", "memory", "jobs"):
        if not getattr(args, option) > 0:
            raise ValueError(f"--{option} is a number above 0, not {getattr(args, option):g}.")
    submissions = [notebook.read(path) for path in notebook.find(args.paths)]
    asked = {name for one in submissions for name in one.exercises}
    names = [name for name in exercises.names() if name in asked]
    threads = int(os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) // args.jobs))
    results, stopping = [], Event()
    limits = process.Limits(args.seconds, args.memory, threads)
    grade = partial(result.grade, limits=limits, stopping=stopping)
    with ThreadPoolExecutor(args.jobs) as pool:
        try:
            for graded in pool.map(grade, submissions):
                results.append(graded)
                print(graded, flush=True)
                if args.csv:
                    replace_file(args.csv, lambda file: file.write(result.table(results, names)))
        except KeyboardInterrupt:
            print(f"Stopped after {len(results)} of {len(submissions)} notebooks; those are in the table.")
            return 130
        finally:
            stopping.set()  # no notebook runs on
    return 0
