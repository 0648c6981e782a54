"""What every exercise is: a task, hints, probes that judge an answer, and the package's code as solution.

ex = exercises.basic_block
ex.check(BasicBlock)    # a report: what was tried, what was expected, what came, the likely mistake
ex.hint()               # one more hint each time
ex.solution()           # the package's own source
"""

import ast
import contextlib
import inspect
import io
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ...errors import LessonError
from .report import Finding, Report, Text, hand_in
from .source import code_of, student_line


class Wrong(Exception):
    """A probe raises it when an answer fails.

    mistake: the mistake's short name, which no other kind of mistake shares ("forgotten shortcut").
    got: what came instead of the expected, as short text.
    why: how to see that it is wrong, or where to look; one or two sentences to the student.
    """

    def __init__(self, mistake: str, got: object, why: str):
        super().__init__(f"{mistake}: got {got}. {why}")
        self.mistake, self.got, self.why = mistake, re.sub(" at 0x[0-9a-f]+", "", str(got)), why


@dataclass(frozen=True)
class Probe:
    tried: str
    expected: str
    run: Callable


class Exercise:
    """One exercise.

    name: its name in `resnet_lesson.exercises`; task: what to write, one sentence.
    solution: the objects of the package that solve it, in the order they are shown; or, where the answer
        is not a definition, a function without arguments that returns the call of check(), explained.
    hints: from a nudge to almost the answer; read: where the matter is explained.
    """

    def __init__(self, name: str, task: str, solution: Sequence | Callable, hints: Sequence[str], read: str):
        self.name, self.task, self.hints, self.read = name, task, tuple(hints), read
        self._solution = solution
        self._shown = 0
        self.probes: list[Probe] = []

    def probe(self, tried: str, expected: str) -> Callable:
        """Decorate a function that takes the answer and raises `Wrong`, or nothing if the answer is right."""

        def add(run: Callable) -> Callable:
            self.probes.append(Probe(tried, expected, run))
            return run

        return add

    def check(self, answer: object = None, **parts) -> Report:
        """Judge an answer: a class or function, or several named `parts`.

        Runs every probe, also after a failure, each from the same random seed, and catches what the answer raises.
        Raises LessonError for an answer beside named parts, since it is not clear which of them is meant.
        """
        if parts and answer is not None:
            named = ", ".join(parts)
            raise LessonError(f"Give check() either one answer or named parts, not both (here: {named}).")
        report = self._judge(parts or answer)
        passed = report.probes - len(report.findings) if report.attempted else 0
        hand_in(
            exercise=self.name,
            attempted=report.attempted,
            passed=passed,
            checks=report.probes,
            mistakes=report.mistakes,
        )
        return report

    def _judge(self, answer: object) -> Report:
        if is_unattempted(answer):
            return Report(self.name, len(self.probes), attempted=False, task=self.task)
        with contextlib.redirect_stdout(io.StringIO()) as printed:  # a print() in forward would bury the report
            findings = [self._find(probe, answer) for probe in self.probes]
        return Report(
            self.name,
            len(self.probes),
            [finding for finding in findings if finding],
            tried=[probe.tried for probe in self.probes],
            printed=printed.getvalue().splitlines(),
        )

    def _find(self, probe: Probe, answer: object) -> Finding | None:
        try:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(0)
                probe.run(answer)
        except Wrong as error:
            wrong = error
        except (Exception, SystemExit) as error:  # whatever a student's code may raise
            wrong = _diagnosis(error)
        else:
            return None
        return Finding(probe.tried, probe.expected, wrong.got, wrong.mistake, wrong.why, self.read)

    def hint(self) -> Text:
        """The next hint, with those before it."""
        self._shown = min(self._shown + 1, len(self.hints))
        lines = [f"{i}. {hint}" for i, hint in enumerate(self.hints[: self._shown], start=1)]
        last = (
            "That was the last hint; ex.solution() shows the course's code." if self._shown == len(self.hints) else ""
        )
        return Text("\n".join([f"Hint {self._shown} of {len(self.hints)}:", *lines, *([last] if last else [])]))

    def solution(self) -> Text:
        """The course's own code for it, as it can be pasted into the exercise's cell."""
        code = self._solution() if callable(self._solution) else code_of(self._solution)
        return Text(code, language="python")

    def __repr__(self) -> str:
        return f"Exercise {self.name}: {self.task}"


REMEDIES = {  # what Python or torch says: what to do about it
    r"Module\.__init__\(\) call": "The first line of `__init__` must be `super().__init__()`.",
    r"positional arguments? but|missing \d+ required positional|unexpected keyword": "Compare the arguments with those "
    "that the task names. In a class, `self` comes first.",
    r"has no attribute '(\w+)'": "Is it spelled the same where you make it, and made in `__init__`?",
}


def _diagnosis(error: BaseException) -> Wrong:
    """What an exception of the student's code means, with the student's own line."""
    text = next(iter(str(error).strip().splitlines()), "")
    if 'missing the required "forward"' in text:
        why = "Your class has no `forward`. Is it named so, and indented like `__init__`?"
        return Wrong("no forward", "NotImplementedError", why)
    if isinstance(error, NotImplementedError):
        why = "A part of your answer still raises NotImplementedError: write that part too."
        return Wrong("unfinished", "NotImplementedError", why)
    name, line = type(error).__name__, student_line(error)
    where = f"It was raised in your {line}." if line else "It was raised when your code was called."
    remedy = next((remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, text)), "")
    return Wrong(f"your code stopped with {name}", f"{name}: {text}".rstrip(": "), f"{where} {remedy}".rstrip())


def is_unattempted(answer: object) -> bool:
    """Whether nothing was written yet: None, `...`, "", or code that is only `...`, pass or NotImplementedError."""
    if answer is None or answer is ... or isinstance(answer, str) and not answer:
        return True
    if isinstance(answer, dict):
        return all(is_unattempted(part) for part in answer.values())
    if inspect.isclass(answer):
        functions = [value for value in vars(answer).values() if inspect.isfunction(value)]
        return all(map(_is_stub, functions)) and (bool(functions) or answer.__bases__ in ((object,), (nn.Module,)))
    return inspect.isfunction(answer) and _is_stub(answer)


def _is_stub(function: Callable) -> bool:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # no source, or a lambda inside of something: somebody wrote it
        return False
    definition = tree.body[0]
    return isinstance(definition, ast.FunctionDef) and all(map(_says_nothing, definition.body))


def _says_nothing(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant()):  # `...` or a docstring
            return True
        case ast.Assign(targets=[ast.Attribute()], value=ast.Name() | ast.Constant()):  # self.width = width
            return True
    # super().__init__ with arguments is an answer: a class that inherits from nn.Sequential and gives it its layers.
    code = ast.unparse(statement)
    nothing = r"pass|return( None| \.\.\.)?|super\((\w+, self)?\)\.__init__\(\)|(nn\.)?Module\.__init__\(self\)"
    return re.fullmatch(nothing, code) is not None or code.startswith("raise NotImplementedError")
