"""From a student's answer to findings: the outcome of each case, and which known wrong answers share it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .guard import SECONDS, TimeIsUp, guarded
from .outcomes import Stopped, Wrong, agree, stopped, words
from .report import Finding

if TYPE_CHECKING:
    from .exercise import Case, Exercise, Mistake


TOO_LONG = Wrong(
    "your code does not finish",
    f"no answer within {SECONDS:g} seconds",
    "Is there a loop whose condition never changes? The checks after this one were not run.",
)


def outcome(case: "Case", answer: object) -> object:
    """The outcome of a case: what it returns, an exception as `Stopped`, or the `Wrong` that the case raised."""
    try:
        with guarded():
            return case.run(answer)
    except Wrong as wrong:
        return wrong
    except TimeIsUp:
        return TOO_LONG
    except (Exception, SystemExit) as error:  # whatever a student's code may raise
        return stopped(error)


def outcomes(exercise: "Exercise", answer: object) -> list:
    """The outcomes of all cases, up to the first one that does not finish."""
    if callable(exercise.right_answers[0]) and not (callable(answer) or isinstance(answer, dict)):
        # A dict holds named parts, of which one is the function.
        why = "Give check() the function or class itself, not what it computes."
        return [Wrong("not a function or class", type(answer).__name__, why)] * len(exercise.cases)
    found = []
    for case in exercise.cases:
        found.append(outcome(case, answer))
        if found[-1] is TOO_LONG:
            break
    return found


@dataclass(frozen=True)
class Diagnosis:
    """failed: the cases that went wrong. findings: one for each mistake, with the cases in which it shows."""

    failed: list[int]
    findings: list[Finding]
    unexplained: int


def judge(exercise: "Exercise", found: list) -> Diagnosis:
    """Compare an answer's outcomes with those of the right answers, and with those of the known wrong ones.

    There may be several right answers. If the answer agrees with one of them, it is right. Otherwise the best diagnosis
    is the one that leaves the fewest cases unexplained, and the search stops at the first one that leaves none.
    """
    for right in exercise.right_answers:
        if not failures(exercise, right, found):
            return against(exercise, right, found)
    diagnoses = []
    for right in exercise.right_answers:
        diagnoses.append(against(exercise, right, found))
        if not diagnoses[-1].unexplained:
            break
    return min(diagnoses, key=lambda one: (one.unexplained, len(one.failed)))


def failures(exercise: "Exercise", right: Callable, found: list) -> list[int]:
    """The cases in which an answer's outcome differs from that of this right answer."""
    return [i for i in range(len(found)) if not agree(found[i], exercise.outcome_of(right, i))]


def against(exercise: "Exercise", right: Callable, found: list) -> Diagnosis:
    """Compare outcomes with those of one right answer, and with the mistakes that can be made from it."""
    expected = [exercise.outcome_of(right, i) for i in range(len(found))]
    failed = failures(exercise, right, found)
    told = [(i, found[i].mistake, found[i].got, found[i].why) for i in failed if isinstance(found[i], Wrong)]
    open_ = [i for i in failed if not isinstance(found[i], Wrong)]
    explained = _explained(exercise, right, found, expected, failed) if open_ else {}
    if explained:
        told += [(i, mistake.name, words(found[i], expected[i]), mistake.why) for i, mistake in explained.items()]
    elif open_ and not told:  # next to a `Wrong`, it is most often a consequence of it
        told = [(open_[0], *_in_general(found[open_[0]], expected[open_[0]]))]
    findings = [
        Finding(exercise.cases[i].tried, exercise.cases[i].expected, got, name, why, exercise.read)
        for i, name, got, why in sorted(told, key=lambda one: one[0])
    ]
    not_tried = list(range(len(found), len(exercise.cases)))
    return Diagnosis(failed + not_tried, findings, 0 if explained else len(open_))


def _explained(exercise, right, found, expected, failed: list[int]) -> dict[int, "Mistake"]:
    """The mistake behind each failed case; empty unless they explain all cases that raised no `Wrong`.

    A mistake fits if every case in which it would show has exactly its outcome. A mistake that shows in many cases
    comes first, since what fits a single case may fit by chance.
    """
    fitting = []
    for mistake in exercise.mistakes:
        shows_in = [
            _where_it_shows(exercise, wrong, found, expected, failed) for wrong in mistake.answers_beside(right)
        ]
        fitting.append((mistake, max(shows_in, key=len, default=[])))
    explained: dict[int, Mistake] = {}
    for mistake, cases in sorted(fitting, key=lambda one: -len(one[1])):
        explained |= {i: mistake for i in cases if i not in explained}
    return explained if all(i in explained or isinstance(found[i], Wrong) for i in failed) else {}


def _where_it_shows(exercise, wrong, found, expected, failed: list[int]) -> list[int]:
    """The cases in which a wrong answer differs from the right one.

    Empty if the student's outcomes are not the same there, or if the student's answer passed all of these cases.
    """
    shows_in: list[int] = []
    for i in sorted(range(len(found)), key=lambda i: i not in failed):  # failed ones first: it ends sooner
        if i not in failed and not shows_in:
            return []
        if found[i] is None and expected[i] is None:  # only a `Wrong` would show anything
            continue
        made = exercise.outcome_of(wrong, i)
        if agree(made, found[i]):
            if i in failed:
                shows_in.append(i)
        elif not isinstance(made, Wrong) and (i not in failed or not agree(made, expected[i])):
            return []
    return shows_in


REMEDIES = {  # part of the student's line with Python's or torch's message: what to do about it
    r"Module\.__init__\(\) call": "The first line of `__init__` must be `super().__init__()`.",
    r"positional arguments? but|missing \d+ required positional|unexpected keyword": "Compare the arguments with those "
    "that the task names. In a class, `self` comes first.",
    r"self\.(\w+)\b.* has no attribute '\1'": "Is it created in `__init__`, and spelled the same there?",
    r"input\(\)": "Leave input() out: everything that your code needs is in its arguments.",
}


def remedy_for(error: Stopped) -> tuple[str, str, str]:
    """The mistake's name, what was raised, and what to do, with the student's own line."""
    if 'missing the required "forward"' in error.text:
        why = "Your class has no `forward`. Is the method spelled that way, and indented like `__init__`?"
        return "no forward", "NotImplementedError", why
    if error.kind == "NotImplementedError" and "not implemented for" not in error.text:  # that would be torch's own
        why = "A part of your answer still raises NotImplementedError: write that part too."
        return "unfinished", "NotImplementedError", why
    where = f"It was raised in your {error.where}." if error.where else "It was raised when your code was called."
    remedy = next(
        (remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, f"{error.where} {error.text}")), ""
    )
    return f"your code stopped with {error.kind}", str(error), f"{where} {remedy}".rstrip()


def _in_general(got: object, expected: object) -> tuple[str, str, str]:
    """The mistake, what the student got and why, for an outcome that matches no known wrong answer."""
    if isinstance(got, Stopped):
        return remedy_for(got)
    if isinstance(got, Mapping) and isinstance(expected, Mapping):
        for key, part in got.items():
            if isinstance(part, Stopped) and not agree(part, expected.get(key)):
                return remedy_for(part)
    if got is None:
        return "nothing is returned", "None", "Does every path through your code end in `return`?"
    return "", words(got, expected), ""
