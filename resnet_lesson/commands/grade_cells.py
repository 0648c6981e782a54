"""The process in which `grade` runs one notebook: `python -m resnet_lesson.commands.grade_cells CELLS.json SECONDS`.

It hands in what happens, line by line: each cell that begins, what went wrong in it, and the report of each `check()`.
"""

import inspect
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magics.script import ScriptMagics
from traitlets.config import Config

import resnet_lesson

from .. import exercises, machine
from ..exercises.kit.guard import time_limit
from ..exercises.kit.report import hand_in
from ..training import recipes, transfer, transfer_study
from ..training import train as training

STEPS = 4  # of each training: no check depends on how long one is


class Shell(InteractiveShell):
    """IPython without a kernel. It skips commands for the system's shell, such as !pip install."""

    def system(self, command):
        hand_in(remark=f"left out: !{command}"[:200])

    def getoutput(self, command, *_, **__):
        self.system(command)
        return []

    def enable_gui(self, gui=None):
        """`%matplotlib` asks for a GUI, but there is none."""

    def ask_exit(self):
        """Ignore exit(), because the other cells still count."""


def shortened(function: Callable) -> Callable:
    """`train` or `fine_tune`, limited to `STEPS` steps."""

    def brief(*arguments, **options):
        given = inspect.signature(function).bind(*arguments, **options)
        given.apply_defaults()
        recipe = given.arguments["recipe"]
        recipe = recipes.recipe(recipe) if isinstance(recipe, str) else recipe
        given.arguments["recipe"] = recipe.scaled(min(recipe.iterations, STEPS))
        return function(*given.args, **given.kwargs)

    return brief


def prepare() -> InteractiveShell:
    """Shorten the trainings, move the data out of the course's folder, and return a shell."""
    resnet_lesson.train = training.train = shortened(training.train)
    transfer.fine_tune = transfer_study.fine_tune = shortened(transfer.fine_tune)
    resnet_lesson.DATA = machine.DATA = Path.cwd().parent / "data"
    ScriptMagics.shebang = lambda self, line, cell: hand_in(remark=f"left out: %%script {line}"[:200])  # %%bash, too
    return Shell.instance(config=Config(HistoryManager={"enabled": False}))  # no database


def told(error: BaseException) -> str:
    """ "NameError: name 'x' is not defined", in one line."""
    return re.sub(r"\s+", " ", f"{type(error).__name__}: {error}").rstrip(": ")[:200]


def main(file: str, seconds: float) -> None:
    """Run the cells, each for at most that many seconds."""
    cells = json.loads(Path(file).read_text(encoding="utf-8"))
    shell = prepare()
    shell.push({"exercises": exercises})  # if an import next to it fails, the later answers must still count
    for number, cell in enumerate(cells, start=1):
        hand_in(cell=number)
        try:
            with time_limit(seconds):
                result = shell.run_cell(cell, store_history=True)
            error = result.error_before_exec or result.error_in_exec
        except Exception as raised:  # of IPython itself, such as for a source that cannot be encoded
            error = raised
        if error is not None:
            hand_in(remark=f"code cell {number}: {told(error)}")
    hand_in(end=True)
    os._exit(0)  # even if the cells have left threads behind


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
