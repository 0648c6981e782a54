"""An exercise consists of a task, hints, right answers, cases that try an answer, and known mistakes.

double = Exercise("double", "Write a function that doubles a number.", (numbers.double,), hints=[...], read="...")

@double.case("double(3)", "6")
def of_three(answer):
    return answer(3)

double.mistake("squared", {"x + x": "x * x"}, "Twice is x + x; this is x * x.")

A case returns what the student's answer gave. It passes if the course's answer, `solution[-1]`, gives the same. A
mistake is a wrong answer: the right one with some lines changed, or a function or class of its own. If a student's
outcomes match those of a known wrong answer, the report names that mistake. If the answer is a set of named parts
instead of code, the right answer is a dictionary of them, and a mistake lists the parts that are wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import LessonError
from .guard import quiet
from .judge import judge, outcome, outcomes
from .outcomes import Wrong
from .report import Report, Text, hand_in
from .source import code_of, edited
from .stub import is_unattempted

__all__ = ["Exercise", "Wrong"]


@dataclass(frozen=True)
class Case:
    tried: str
    expected: str
    run: Callable[[object], object]


@dataclass(frozen=True)
class Mistake:
    name: str
    wrong: Callable | Mapping[str, Any]
    why: str
    made: dict[int, list] = field(default_factory=dict)  # by the right answer that was edited

    def answers_beside(self, right: Callable | Mapping) -> list:
        """The wrong answer, made from this right one if it is an edit; empty if the edit does not apply to it."""
        if not isinstance(self.wrong, Mapping):
            return [self.wrong]
        if isinstance(right, Mapping):
            return [self.made.setdefault(id(right), [{**right, **self.wrong}])[0]]
        if id(right) not in self.made:
            one = edited(right, self.wrong)
            self.made[id(right)] = [one] if one else []
        return self.made[id(right)]


class Exercise:
    """One exercise.

    name: its name in `resnet_lesson.exercises`; task: what to write, one sentence.
    solution: the objects of the package that solve it, in the order in which they are shown, the answer last; or, if
        the answer is not just a definition, a function without arguments that returns the call of check(), explained.
    hints: from a nudge to almost the answer; read: where the topic is explained.
    answer: the right answer, if it is not `solution[-1]`; a dictionary if it consists of named parts.
    """

    def __init__(
        self,
        name: str,
        task: str,
        solution: Sequence | Callable,
        hints: Sequence[str],
        read: str,
        answer: Any = None,
    ):
        self.name, self.task, self.hints, self.read = name, task, tuple(hints), read
        self._solution = solution
        self._shown = 0
        self._outcomes: dict[tuple[int, int], object] = {}  # of right and known wrong answers, by case
        self.cases: list[Case] = []
        self.mistakes: list[Mistake] = []
        self.right_answers: list = [solution[-1] if answer is None and not callable(solution) else answer]

    def case(self, tried: str, expected: str) -> Callable:
        """Decorate a function that tries an answer and returns the outcome.

        It may raise `Wrong` if it recognises the mistake itself. Its inputs must not depend on random numbers drawn
        after the answer was called, because the answer may draw some as well.
        """

        def add(run: Callable) -> Callable:
            self.cases.append(Case(tried, expected, run))
            return run

        return add

    def right(self, answer: Callable | Mapping[str, str]) -> None:
        """Add another right answer: a whole one, or lines of the solution with the lines that replace them."""
        made = edited(self.right_answers[0], answer) if isinstance(answer, Mapping) else answer
        assert made, f"{self.name}: nothing to edit for {answer}"
        self.right_answers.append(made)

    def mistake(self, name: str, wrong: Callable | Mapping[str, Any], why: str) -> None:
        """Add a known mistake: a wrong answer, or {right: wrong} lines that turn each right answer into one.

        wrong: if the answer consists of named parts, those that are wrong.
        name: short, and shared by wrong answers that make the same mistake; why: one or two sentences to the student.
        """
        self.mistakes.append(Mistake(name, wrong, why))

    def outcome_of(self, answer: Callable, i: int) -> object:
        """The outcome of a right or known wrong answer in the i-th case, computed once."""
        if (id(answer), i) not in self._outcomes:
            with quiet():  # the report shows what the student's code prints, not what this does
                self._outcomes[id(answer), i] = outcome(self.cases[i], answer)
        return self._outcomes[id(answer), i]

    def check(self, answer: object = None, **parts) -> Report:
        """Judge an answer: a class or function, or several named `parts`.

        Tries every case, even after a failure, each with the same random numbers, and catches whatever the answer
        raises. Raises LessonError if it gets both an answer and named parts, since it is unclear which is meant.
        """
        if parts and answer is not None:
            named = ", ".join(parts)
            raise LessonError(f"Give check() either one answer or named parts, not both (here: {named}).")
        report = self._judged(parts or answer)
        hand_in(
            exercise=self.name,
            attempted=report.attempted,
            passed=len(report.right),
            checks=report.cases,
            mistakes=report.mistakes,
        )
        return report

    def _judged(self, answer: object) -> Report:
        if is_unattempted(answer):
            return Report(self.name, len(self.cases), attempted=False, task=self.task)
        with quiet() as printed:  # a print() in forward would bury the report
            diagnosis = judge(self, outcomes(self, answer))
        right = [case.tried for i, case in enumerate(self.cases) if i not in diagnosis.failed]
        return Report(self.name, len(self.cases), diagnosis.findings, right, printed=printed.getvalue().splitlines())

    def hint(self) -> Text:
        """The next hint, below the ones before it."""
        self._shown = min(self._shown + 1, len(self.hints))
        lines = [f"{i}. {hint}" for i, hint in enumerate(self.hints[: self._shown], start=1)]
        last = "That was the last hint; ex.solution() shows the course's code."
        if self._shown == len(self.hints):
            lines.append(last)
        return Text("\n".join([f"Hint {self._shown} of {len(self.hints)}:", *lines]))

    def solution(self) -> Text:
        """The course's own code, ready to be pasted into the exercise's cell."""
        code = self._solution() if callable(self._solution) else code_of(self._solution)
        return Text(code, language="python")

    def __repr__(self) -> str:
        return f"Exercise {self.name}: {self.task}"
