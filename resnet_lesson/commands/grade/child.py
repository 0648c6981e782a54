"""The process that runs a student's notebook and judges it: `python -P -m resnet_lesson.commands.grade.child`.

It reads one JSON object on stdin: `key`, in hexadecimal, and `cells`, the sources of the code cells. On what was its
stdout it writes a line a message, signed with the key: `process` reads them. From then on stdin is empty, and what the
student's code prints goes nowhere.
"""

import functools
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import torch
from torch import nn

import resnet_lesson

from ... import exercises, machine
from ...exercises.kit.exercise import Exercise, Probe
from ...exercises.kit.report import Finding, Report
from ...training import recipes, transfer, transfer_study
from ...training import train as training
from .guard import Guard, subclasses

STEPS = 4  # of each training: what is judged is not how long it trains
LARGEST_FILE = 10**9  # bytes
SHELLS = {"bash", "sh", "script", "cmd", "perl", "ruby", "python", "python2", "python3", "pypy", "js", "javascript"}
PACKAGE, TORCH = Path(__file__).parents[1], Path(torch.__file__).parent


def signature(key: bytes, body: bytes) -> bytes:
    """What proves that a message comes from the judge. blake2b is C: no Python in it that a student could exchange."""
    return blake2b(body, key=key, digest_size=16).hexdigest().encode()


def plain(text: object) -> str:
    """At most 200 characters as a real str: a subclass of the student's could have a __repr__ that forges a message."""
    return "".join(["", str(text)])[:200]


def sender(key: bytes, file: int, write: Callable = os.write, process: Callable = os.getpid) -> Callable:
    """A function that writes a message: a tuple of plain values, in a line that begins anew and is signed.

    It is a literal of Python, as f"{...!r}" gives it without a function that could be exchanged.
    """
    here, numbers = process(), iter(range(10**9))

    def send(*message: object) -> None:
        if process() == here:  # not in a copy of this process, made by fork
            body = f"{(next(numbers), *message)!r}".encode("ascii", "backslashreplace")
            write(file, b"\n%b %b\n" % (signature(key, body), body))

    return send


class Judge:
    """Sends a verdict on each answer that `Exercise.check` is given, from now on."""

    def __init__(self, send: Callable):
        self.send, self.check = send, Exercise.check
        self.exercises = {name: getattr(exercises, name) for name in exercises.names()}
        self.sizes = {name: len(exercise.probes) for name, exercise in self.exercises.items()}
        self.best: dict[str, tuple[int, object]] = {}  # checks passed, and by which answer
        self.changed: list[str] = []
        Exercise.check, Exercise._find = self._recorded(), self._watched(Exercise._find)
        for optimiser in {torch.optim.Optimizer, *subclasses(torch.optim.Optimizer)}:
            with suppress(Exception):  # the first object of a kind changes its step() for the profiler
                optimiser([torch.zeros(1, requires_grad=True)], lr=0.1)
        self.guard = Guard()

    def _watched(self, find: Callable) -> Callable:
        """`find`, and after each probe a look at the guard: what is exchanged in one may be undone in the next."""

        @functools.wraps(find)
        def watched(exercise: Exercise, probe: Probe, answer: object) -> Finding | None:
            try:
                return find(exercise, probe, answer)
            finally:
                self.changed += self.guard.changes()

        return watched

    def _recorded(self) -> Callable:
        @functools.wraps(self.check)
        def check(exercise: Exercise, answer: object = None, /, **parts) -> Report:
            name = next((name for name, known in self.exercises.items() if known is exercise), None)
            if name is None:  # not one of the course's
                return self.check(exercise, answer, **parts)
            if name not in self.best:  # should this check never end
                unended = {"attempted": True, "passed": 0, "mistakes": ["its check did not end"]}
                self.send("verdict", name, unended)
            report, verdict = self._judge(name, answer, parts)
            before, _ = self.best.get(name, (-2, None))
            if name not in self.best or verdict["passed"] > before:
                self.send("verdict", name, verdict)
                if verdict["attempted"]:
                    self.best[name] = verdict["passed"], (answer, parts)
            return report

        return check

    def _judge(self, name: str, answer: object, parts: dict) -> tuple[Report, dict]:
        self.changed = self.guard.changes()
        report = self.check(self.exercises[name], answer, **parts)
        changed = [*dict.fromkeys([*self.changed, *self.guard.changes()])]
        own = is_the_courses([answer, *parts.values()])
        sound = report.attempted and not changed and not own
        verdict = {
            "attempted": bool(report.attempted),
            "passed": self.sizes[name] - len(report.findings) if sound else -1,
            "mistakes": [plain(mistake) for mistake in report.mistakes][:9],
            "changed": [plain(name) for name in changed][:5],
            "own": own,
        }
        return report, verdict

    def judge_again(self) -> None:
        """Check each counted answer once more, after all cells, and say how many checks it passes now."""
        for name, (_, (answer, parts)) in self.best.items():
            self.send("again", name, self._judge(name, answer, parts)[1]["passed"])
        self.send("changed", [plain(name) for name in self.guard.changes()][:5])


def is_the_courses(answers: Iterable) -> bool:
    """Whether what was handed in is the course's own code: its functions, its classes, or classes that add nothing to
    `__init__` and `forward` of the course's."""
    functions = []
    for answer in answers:
        answer = getattr(answer, "func", answer)  # of a partial
        kind = type(answer) if isinstance(answer, nn.Module) else answer
        parts = [kind.__init__, getattr(kind, "forward", None)] if isinstance(kind, type) else [answer]
        functions += [inspect.unwrap(getattr(part, "__func__", part)) for part in parts]
    files = [Path(function.__code__.co_filename) for function in functions if inspect.isfunction(function)]
    files = [file for file in files if not file.is_relative_to(TORCH)]  # an nn.Sequential has torch's forward
    return bool(files) and all(file.is_relative_to(PACKAGE) for file in files)


def shortened(function: Callable) -> Callable:
    """`train` or `fine_tune`, in at most `STEPS` steps."""
    parameters = inspect.signature(function)

    @functools.wraps(function)
    def brief(*arguments, **options):
        given = parameters.bind(*arguments, **options)
        given.apply_defaults()
        asked = given.arguments["recipe"]
        asked = recipes.recipe(asked) if isinstance(asked, str) else asked
        given.arguments["recipe"] = asked.scaled(min(asked.iterations, STEPS))
        return function(*given.args, **given.kwargs)

    return brief


def prepare() -> None:
    """Shorten the trainings, turn the folder of the data from the course's to this one, and limit what is written."""
    resnet_lesson.train = training.train = shortened(training.train)
    transfer.fine_tune = transfer_study.fine_tune = shortened(transfer.fine_tune)
    resnet_lesson.DATA = machine.DATA = Path.cwd() / "data"
    sys.path.append(os.getcwd())  # at the end: what the student writes stands in for nothing that is installed
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))


def shell(send: Callable):
    """IPython without a kernel. Commands of the system's shell are left out."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        def system(self, command):
            send("remark", f"left out: !{plain(command)}")

        def getoutput(self, command, *_, **__):
            self.system(command)
            return []

        def run_cell_magic(self, name, line, cell):
            if name in SHELLS:
                return send("remark", f"left out: %%{plain(name)}")
            return super().run_cell_magic(name, line, cell)

        def enable_gui(self, gui=None):
            """There is none; `%matplotlib` asks."""

        def ask_exit(self):
            """As if it had not been asked: the other cells still count."""

    return Shell.instance(config=Config(HistoryManager={"enabled": False}))  # no database, and no thread that fills it


def run_cells(cells: list[str], run: Callable, send: Callable) -> None:
    """Run one cell after another; report each one that raises."""
    for number, cell in enumerate(cells, start=1):
        send("cell", number)
        try:
            result = run(cell, store_history=True)
            error = result.error_before_exec or result.error_in_exec
        except BaseException as raised:  # such as from a source that cannot be encoded
            error = raised
        if error is not None:
            send("remark", f"code cell {number}: {told(error)}")


def told(error: BaseException) -> str:
    """ "NameError: name 'x' is not defined", in one line; the student's own kind of error may fail to say even that."""
    try:
        return re.sub(r"\s+", " ", f"{plain(type(error).__name__)}: {plain(error)}").rstrip(": ")
    except BaseException:
        return "an error that cannot be shown"


def main() -> None:
    job = json.load(sys.stdin)
    file, nothing = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    prepare()
    send = sender(bytes.fromhex(job["key"]), file)
    run = shell(send).run_cell
    judge = Judge(send)
    for name in [name for name in sys.modules if name.startswith("resnet_lesson.commands.grade")]:
        del sys.modules[name]  # whoever imports it gets another, which judges nobody
    del resnet_lesson.commands.grade
    send("ready")
    run_cells(job["cells"], run, send)
    send("ran")
    judge.judge_again()
    send("done")


if __name__ == "__main__":
    main()
