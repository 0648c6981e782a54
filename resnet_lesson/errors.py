"""Errors for people: a sentence that says what is wrong and what to do about it."""

import difflib
from collections.abc import Iterable


class LessonError(Exception):
    """Something that the reader can put right. Its message names the fix.

    A notebook shows only that message, without the stack of calls that led to it.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The message for a name that does not exist: the nearest names, and all names (or, of very many, their number).

    >>> unknown("recipe", "papr", ["paper", "short"])
    "There is no recipe 'papr'. Did you mean 'paper'? There are: paper, short."
    """
    known = [str(k) for k in known]
    many = len(known) > 200  # as QuickDraw's classes are; a ResNet-34's modules are still listed
    near = difflib.get_close_matches(str(name), known, n=3 if many else 1)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    there = f"There are: {', '.join(known)}." if known else "There is none yet."
    if many:
        there = f"There are {len(known)}."
    return f"There is no {kind} {name!r}.{hint} {there}"
