"""`python -m resnet_lesson grade`: run students' notebooks, and count the exercises that their code solves.

The code cells of a notebook run in a process and a folder of their own (`grade_cells`), within limits of time and
memory. Each `check()` in them appends its report to a file, and only these reports count, never the stored outputs.
This protects against accidents, not against malice: grade notebooks from people you do not know inside a container, as
docs/teaching.md shows.
"""

import argparse
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .. import exercises
from ..errors import LessonError
from ..exercises.kit.report import HANDED_IN
from ..files import replace_file
from .shared import nfc

try:
    import psutil
except ModuleNotFoundError:  # it comes with Jupyter; the other commands work without
    psutil = None

MOST = 8  # remarks on one notebook: one name that is missing early makes every later cell fail


@dataclass
class Graded:
    """The result for one notebook: the exercises that count, the best report on each, as `check` hands it in, what else
    the teacher should know, how long the cells ran, and why not all of them ran ("" if they did)."""

    path: Path
    exercises: list[str] = field(default_factory=list)
    reports: dict[str, dict] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = ""

    def passed(self, name: str) -> bool:
        report = self.reports.get(name)
        return report is not None and report["passed"] == report["checks"]

    @property
    def score(self) -> int:
        return sum(map(self.passed, self.exercises))

    def verdict(self, name: str) -> str:
        """ "8 of 9: the stride is missing"; not 8/9, which a spreadsheet would take for a date."""
        report = self.reports.get(name)
        if report is None:
            return "not reached" if self.stopped else "not attempted"
        if not report["attempted"]:
            return "not attempted"
        share = f"{report['passed']} of {report['checks']}"
        return f"passed, {share}" if self.passed(name) else ": ".join(filter(None, [share, *report["mistakes"]]))

    def __str__(self) -> str:
        head = f"{self.path}: {self.score} of {len(self.exercises)} exercises passed, {self.seconds:.0f} s"
        width = max(map(len, self.exercises), default=0)
        return "\n  ".join([head, *(f"{name:{width}}  {self.verdict(name)}" for name in self.exercises), *self.remarks])


def options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options, and the function that runs it."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="NOTEBOOK_OR_FOLDER", help="what students handed in")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table with one row per notebook")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write results.json for Gradescope")
    parser.add_argument("--seconds", type=float, default=600, help="time limit for one notebook (default: 600)")
    cell_help = "time limit for one cell, after which the next one runs; not on Windows (default: 120)"
    parser.add_argument("--cell-seconds", type=float, default=120, metavar="SECONDS", help=cell_help)
    parser.add_argument(
        "--memory", type=float, default=6, metavar="GB", help="memory limit for one notebook (default: 6)"
    )
    parser.set_defaults(run=command)


def command(args: argparse.Namespace) -> int:
    """Grade the notebooks; after each one, write the files again and print a report.

    Returns 1 if a notebook could not be read, has no exercise, or did not run to its end. Raises LessonError if Jupyter
    is missing, a path does not exist, or no notebook is found, and OSError if a file cannot be written.
    """
    if psutil is None:
        raise LessonError("Grading needs psutil, which comes with Jupyter: pip install jupyterlab")
    paths, results = find(args.paths), []
    write(args, results)  # better to find out now than after thirty notebooks that a file cannot be written
    try:
        for path in paths:
            results.append(grade(path, args))
            with suppress(OSError):  # perhaps it is open in Excel right now; only the last time counts
                write(args, results)
            print(results[-1], flush=True)
    except KeyboardInterrupt:
        print(f"Stopped after {len(results)} of {len(paths)} notebooks. The files you asked for contain those.")
        return 130
    write(args, results)
    if len(results) > 1:
        print("\nThe class, exercise by exercise:", *summary(results), sep="\n")
    return int(any(one.stopped or not one.exercises for one in results))


def find(paths: Iterable[Path]) -> list[Path]:
    """The notebooks in these files and folders, except hidden ones, such as .ipynb_checkpoints and macOS's ._ files.

    Raises LessonError if a path does not exist, or no notebook is found.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise LessonError(f"There is no file or folder {path}: give a notebook, or a folder of notebooks.")
        inside = sorted(path.rglob("*.ipynb")) if path.is_dir() else [path]
        found += [one for one in inside if not any(part.startswith(".") for part in one.relative_to(path).parts)]
    if not found:
        raise LessonError(f"No notebook (*.ipynb) in {', '.join(map(str, paths))}: give the folder that holds them.")
    return found


def grade(path: Path, limits: argparse.Namespace) -> Graded:
    """Run a notebook and collect the best report on each exercise. Raises nothing, whatever the file contains."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8-sig"))
        cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    except Exception as error:  # of whatever kind: one file must not stop the grading of the class
        problem = f"this notebook cannot be read ({type(error).__name__}): save it again in JupyterLab"
        return Graded(path, remarks=[problem])
    if not (names := expected("\n".join(cells))):
        return Graded(path, remarks=["no exercise of the course in it: is it the right notebook?"])
    last = max((number for number, cell in enumerate(cells, start=1) if "check" in cell), default=0)
    lines, stopped, seconds = run(cells[:last], limits)  # what follows the last check changes no result
    remarks = [line["remark"] for line in lines if "remark" in line]
    remarks = [*remarks[:MOST], *filter(None, [stopped])]
    reports = sorted((line for line in lines if "exercise" in line), key=lambda one: (one["attempted"], one["passed"]))
    best = {report["exercise"]: report for report in reports}  # the last one stays
    return Graded(path, names, best, remarks, seconds, stopped)


def expected(code: str) -> list[str]:
    """All exercises of each notebook of which the code mentions at least one, so that a deleted exercise counts too."""
    chapters = {name: getattr(exercises, name).read.split(",")[0] for name in exercises.names()}
    mentioned = {chapter for name, chapter in chapters.items() if re.search(rf"\bexercises\.{name}\b", code)}
    return [name for name, chapter in chapters.items() if chapter in mentioned]


def run(cells: list[str], limits: argparse.Namespace) -> tuple[list[dict], str, float]:
    """Run the cells in a process of their own; return what it handed in, why it stopped early ("" if not), seconds.

    Afterwards nothing is left of the processes that the cells started, or of the folder in which they worked.
    """
    with tempfile.TemporaryDirectory(prefix="grade-", ignore_cleanup_errors=True) as folder:
        here, job, handed_in = Path(folder, "notebooks"), Path(folder, "cells.json"), Path(folder, "handed-in.jsonl")
        here.mkdir()
        job.write_text(json.dumps(cells), encoding="utf-8")
        surroundings = {  # as usual, except for a file to report to, no GPU and no windows
            HANDED_IN: str(handed_in),
            "CUDA_VISIBLE_DEVICES": "",
            "IPYTHONDIR": str(Path(folder, "ipython")),
            "MPLBACKEND": "Agg",
            "PYTHONIOENCODING": "utf-8",  # whatever this console can show, a print of the course must not fail
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
            "RESNET_LESSON_FULL": "0",
        }
        process = psutil.Popen(
            [sys.executable, "-m", f"{__package__}.grade_cells", str(job), str(limits.cell_seconds)],
            cwd=here,
            env=os.environ | surroundings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        stopped, seconds = watch(process, handed_in, limits)
        lines: list[dict] = []
        with suppress(OSError, ValueError):  # no file, or a last line that is not whole
            for line in handed_in.read_text(encoding="utf-8").splitlines():
                lines.append(json.loads(line))
    if not lines:
        return lines, f"its process could not start (status {process.returncode})", seconds
    if "end" in lines[-1]:
        return lines, "", seconds
    if process.returncode == -9 and not stopped:
        stopped = "the system killed its process, most often for lack of memory"
    stopped = stopped or f"its process exited early (status {process.returncode})"
    return lines, f"{stopped}, in code cell {max(line.get('cell', 0) for line in lines)}", seconds


def watch(process: "psutil.Popen", handed_in: Path, limits: argparse.Namespace) -> tuple[str, float]:
    """Wait for the process, or kill it and all that it started at a limit; return the limit (or "") and the seconds."""
    family, began, stopped = {process}, time.monotonic(), ""
    try:
        while process.poll() is None and not stopped:
            time.sleep(0.1)
            with suppress(psutil.Error):
                family.update(process.children(recursive=True))
            if not handed_in.exists():  # before the first cell it imports torch, which is not the student's time
                began = time.monotonic()
            if time.monotonic() - began > limits.seconds:
                stopped = f"it took longer than {limits.seconds:g} s"
            elif sum(map(memory, family)) > limits.memory * 1e9:
                stopped = f"it took more than {limits.memory:g} GB of memory"
    finally:
        for one in family:
            with suppress(psutil.Error):
                one.kill()
        if hasattr(os, "killpg"):  # for those that were started too recently to have been seen
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return stopped, time.monotonic() - began


def memory(process: "psutil.Process") -> int:
    """The memory of a process in bytes; 0 if it has ended."""
    with suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def write(args: argparse.Namespace, results: list[Graded]) -> None:
    """Write the files that were asked for."""
    if args.csv:
        replace_file(args.csv, lambda file: file.write(table(results)))
    if args.json:
        replace_file(args.json, lambda file: file.write(gradescope(results)))


def table(results: list[Graded]) -> bytes:
    """The class as CSV, one row per notebook. The mark at the start tells Excel that it is UTF-8."""
    names = [name for name in exercises.names() if any(name in one.exercises for one in results)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["notebook", *names, "passed", "exercises", "seconds", "remarks"])
    for one in results:
        path = nfc(one.path)
        path = f"'{path}" if path.startswith(("=", "+", "-", "@")) else path  # or a spreadsheet would evaluate it
        verdicts = [one.verdict(name) if name in one.exercises else "" for name in names]
        remarks = "; ".join(one.remarks)
        writer.writerow([path, *verdicts, one.score, len(one.exercises), round(one.seconds), remarks])
    return text.getvalue().encode("utf-8-sig", "replace")


def gradescope(results: list[Graded]) -> bytes:
    """One submission in the format of Gradescope's autograder: one test per exercise, each worth one point.

    Source: https://gradescope-autograders.readthedocs.io/en/latest/specs/
    """
    tests = [
        {
            "name": f"{nfc(one.path.stem)}: {name}",
            "score": int(one.passed(name)),
            "max_score": 1,
            "output": one.verdict(name),
        }
        for one in results
        for name in one.exercises
    ]
    remarks = "\n".join(f"{nfc(one.path.name)}: {remark}" for one in results for remark in one.remarks)
    total = sum(one.score for one in results)
    return json.dumps({"score": total, "output": remarks, "tests": tests}, indent=2).encode()


def summary(results: list[Graded]) -> list[str]:
    """For each exercise, how many passed it and the most frequent mistake: what to talk about in the next lesson."""
    lines = []
    for name in exercises.names():
        asked = [one for one in results if name in one.exercises]
        mistakes = Counter(mistake for one in asked for mistake in one.reports.get(name, {}).get("mistakes", []))
        often = "".join(f"; most often: {mistake} ({times})" for mistake, times in mistakes.most_common(1))
        if asked:
            lines.append(f"  {name:18} {sum(one.passed(name) for one in asked)} of {len(asked)} passed{often}")
    return lines
