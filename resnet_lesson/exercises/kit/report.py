"""A check's report, as text and as HTML. It uses words and no colours, so that it reads well on a dark page too."""

import json
import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

HANDED_IN = "RESNET_LESSON_HANDED_IN"  # the environment variable that names the file of `hand_in`


def hand_in(**line: object) -> None:
    """Append a line of JSON to the file named in the environment, which `grade` reads; do nothing if none is named."""
    if path := os.environ.get(HANDED_IN):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@dataclass(frozen=True)
class Finding:
    """One case that went wrong. mistake, why: "" if no known mistake fits."""

    tried: str
    expected: str
    got: str
    mistake: str
    why: str
    read: str

    def rows(self) -> list[tuple[str, str]]:
        name = self.mistake if self.mistake.startswith("x ") else self.mistake[:1].upper() + self.mistake[1:]
        likely = f"{name}. {self.why}"
        return [
            ("Tried", self.tried),
            ("Expected", self.expected),
            ("Got", self.got),
            *([("Likely mistake", likely)] if self.mistake else []),
            ("Read", self.read),
        ]


@dataclass(frozen=True)
class Report:
    """The result of a check.

    cases: the number of checks. findings: what went wrong. right: what was tried and passed.
    """

    exercise: str
    cases: int
    findings: Sequence[Finding] = ()
    right: Sequence[str] = ()
    attempted: bool = True
    task: str = ""
    printed: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        return self.attempted and len(self.right) == self.cases

    @property
    def mistakes(self) -> list[str]:
        """The names of the mistakes that were found, each once."""
        return [name for name in dict.fromkeys(finding.mistake for finding in self.findings) if name]

    @property
    def headline(self) -> str:
        if not self.attempted:
            return (
                f"{self.exercise}: not attempted yet. {self.task} The notebook goes on with the course's own version."
            )
        if self.passed:
            return f"{self.exercise}: passed, all {self.cases} checks."
        return f"{self.exercise}: {len(self.right)} of {self.cases} checks passed."

    def _tables(self) -> list[list[tuple[str, str]]]:
        """The rows to show: for each mistake, its first finding and where else it shows."""
        tables = []
        for mistake in dict.fromkeys(finding.mistake for finding in self.findings):
            first, *others = [f for f in self.findings if f.mistake == mistake]
            also = others[0].tried if len(others) == 1 else f"{len(others)} other checks"
            tables.append(first.rows() + ([("Also shows in", also)] if others else []))
        return tables

    def _right_so_far(self) -> str:
        """What was right, in one line; empty if everything or nothing was."""
        if self.passed or not self.right:
            return ""
        return "Right: " + textwrap.shorten("; ".join(self.right), 160, placeholder=" ...")

    def __repr__(self) -> str:
        lines = [self.headline]
        for rows in self._tables():
            lines.append("")
            for name, value in rows:
                lines += textwrap.wrap(f"{name + ':':16}{value}", 96, initial_indent="  ", subsequent_indent=" " * 18)
        if right := self._right_so_far():
            lines += ["", right]
        return "\n".join([*lines, *self._prints()])

    def _prints(self) -> list[str]:
        """The first lines that the answer printed."""
        if not self.printed:
            return []
        more = [f"  ... and {len(self.printed) - 5} more lines"] if len(self.printed) > 5 else []
        return ["", "Your code printed:", *(f"  {line[:100]}" for line in self.printed[:5]), *more]

    def _repr_html_(self) -> str:
        first, end, rest = self.headline.partition(".")
        parts = [f"<p><strong>{escape(first + end)}</strong>{_html(rest)}</p>"]
        for rows in self._tables():
            cells = "".join(
                f'<tr><th scope="row" style="text-align:left;vertical-align:top;white-space:nowrap">{escape(name)}</th>'
                f'<td style="text-align:left;white-space:normal">{_html(value)}</td></tr>'
                for name, value in rows
            )
            parts.append(f'<table style="margin:0 0 1em 0">{cells}</table>')
        if right := self._right_so_far():
            parts.append(f"<p>{_html(right)}</p>")
        if self.passed:
            items = "".join(f"<li>{_html(tried)}</li>" for tried in self.right)
            parts.append(f"<details><summary>What was checked</summary><ul>{items}</ul></details>")
        if self.printed:
            parts.append(f"<pre>{escape(chr(10).join(self._prints()[1:]))}</pre>")
        return "\n".join(parts)


def _html(text: str) -> str:
    """Escaped, with `code` as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


class Text(str):
    """Text that a notebook shows as it is; code is coloured if Pygments is installed."""

    language: str

    def __new__(cls, text: str, language: str = ""):
        self = super().__new__(cls, text)
        self.language = language
        return self

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        if self.language:
            try:
                from pygments import highlight
                from pygments.formatters import HtmlFormatter
                from pygments.lexers import get_lexer_by_name

                # Its own background and text colour, because the page may be dark.
                look = HtmlFormatter(noclasses=True, style="default", cssstyles="padding:0.5em", prestyles="color:#222")
                return highlight(self, get_lexer_by_name(self.language), look)
            except ImportError:
                pass
        return f'<pre style="white-space:pre-wrap">{escape(self)}</pre>'
