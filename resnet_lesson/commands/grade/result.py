"""What came of a graded notebook: verdicts and remarks, as text and as a row of the class's table."""

import csv
import io
from dataclasses import dataclass, field
from threading import Event

from ... import exercises
from . import notebook, process
from .notebook import Submission
from .process import Limits

LONGEST = 1500  # characters of a cell of the table


@dataclass
class Result:
    """A graded notebook. verdicts: exercise -> what the judge said; remarks: what else the teacher should know."""

    submission: Submission
    verdicts: dict[str, dict] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0
    ended: bool = False

    def passed(self, name: str) -> bool:
        return self.verdicts.get(name, {}).get("passed") == size(name)

    @property
    def marks(self) -> int:
        """How many exercises are passed."""
        return sum(map(self.passed, self.submission.exercises))

    def share(self, name: str) -> str:
        """ "22 of 22", with words because a spreadsheet takes 3/4 for a date; or why there is no number."""
        verdict = self.verdicts.get(name)
        if verdict is None:
            return "not attempted" if self.ended else "not reached"
        if not verdict["attempted"]:
            return "not attempted"
        if verdict.get("changed"):
            return "tampered"
        return "the course's own code" if verdict.get("own") else f"{verdict['passed']} of {size(name)}"

    def said(self, name: str) -> str:
        """The verdict in one line: the share, likely mistakes, what was tampered with, likeness to the solution."""
        verdict, more = self.verdicts.get(name, {}), []
        more += [f"these had been exchanged: {', '.join(verdict['changed'])}"] if verdict.get("changed") else []
        more += verdict.get("mistakes", [])
        more += notebook.likeness(self.submission, name) if self.passed(name) else []
        return f"{'passed, ' if self.passed(name) else ''}{self.share(name)}{': ' if more else ''}{'; '.join(more)}"

    def __str__(self) -> str:
        names = self.submission.exercises
        head = f"{self.submission.path}: {self.marks} of {len(names)} exercises passed, {self.seconds:.0f} s"
        width = max(map(len, names), default=0)
        lines = [f"{name:{width}}  {self.said(name)}" for name in names] + self.remarks
        return "\n".join([printable(head), *(f"  {printable(line)}" for line in lines)])


def size(name: str) -> int:
    """How many checks an exercise has."""
    return len(getattr(exercises, name).probes)


def printable(text: str) -> str:
    """The text in one line, without characters that would do something to a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def grade(submission: Submission, limits: Limits, stopping: Event) -> Result:
    """Run and judge a notebook in a process of its own; raises nothing, whatever the notebook does.

    The best answer to each exercise counts, as it was judged when the notebook handed it in.
    """
    if submission.problem:
        return Result(submission, remarks=[submission.problem])
    outcome = process.run(list(submission.cells), limits, stopping)
    result = Result(submission, seconds=outcome.seconds, ended=("ran",) in outcome.messages)
    cell = 0
    for message in outcome.messages:
        match message:
            case "cell", cell:
                pass
            case "remark", text:
                result.remarks.append(text)
            case "verdict", name, verdict:
                result.verdicts[name] = verdict
            case "again", name, passed if passed != result.verdicts[name]["passed"]:
                again = f"{max(passed, 0)} of {size(name)}"
                result.remarks.append(f"{name}: checked again after the last cell, {again}")
            case "changed", [_, *_] as names if not any(one.get("changed") for one in result.verdicts.values()):
                result.remarks.append(f"exchanged at the end: {', '.join(names)}")
    if outcome.stopped:
        where = "after the last cell" if result.ended else f"in code cell {cell}"
        result.remarks.append(f"{outcome.stopped}, {where}" if cell else outcome.stopped)
    hidden = len(result.remarks) - 20
    result.remarks[20:] = [f"and {hidden} more remarks"] if hidden > 0 else []
    return result


def table(results: list[Result], names: list[str]) -> bytes:
    """The class as CSV, a row a notebook. What a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["notebook", "student", *names, "passed", "exercises", "seconds", "remarks"])
    for one in results:
        own = one.submission.exercises
        notes = [f"{name}: {one.said(name)}" for name in own if ":" in one.said(name)]
        shares = [one.share(name) if name in own else "" for name in names]
        cells = [str(one.submission.path), one.submission.path.stem, *shares, one.marks, len(own), round(one.seconds)]
        writer.writerow([harmless(cell) for cell in [*cells, "; ".join([*one.remarks, *notes])]])
    return text.getvalue().encode("utf-8-sig")  # by this mark Excel knows that names may have umlauts


def harmless(cell: object) -> object:
    """A cell of the table that no spreadsheet will compute, and no terminal obey."""
    if not isinstance(cell, str):
        return cell
    text = printable(cell)[:LONGEST]
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text
