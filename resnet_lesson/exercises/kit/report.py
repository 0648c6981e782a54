"""What a check says, as text and as HTML: in words, without colours that a dark page would spoil."""

import json
import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

HANDED_IN = "RESNET_LESSON_HANDED_IN"  # the environment variable that names the file of `hand_in`


def hand_in(**line: object) -> None:
    """Append a line of JSON to the file that the environment names, for `grade`; where none is named, do nothing."""
    if path := os.environ.get(HANDED_IN):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@dataclass(frozen=True)
class Finding:
    """One thing that was tried and failed."""

    tried: str
    expected: str
    got: str
    mistake: str
    why: str
    read: str

    def rows(self) -> list[tuple[str, str]]:
        return [
            ("Tried", self.tried),
            ("Expected", self.expected),
            ("Got", self.got),
            ("Likely mistake", f"{self.mistake[:1].upper()}{self.mistake[1:]}. {self.why}"),
            ("Read", self.read),
        ]


@dataclass(frozen=True)
class Report:
    """The result of a check. passed: whether all probes passed; mistakes: the names of what went wrong."""

    exercise: str
    probes: int
    findings: Sequence[Finding] = ()
    attempted: bool = True
    task: str = ""
    tried: Sequence[str] = ()
    printed: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        return self.attempted and not self.findings

    @property
    def mistakes(self) -> list[str]:
        return list(dict.fromkeys(finding.mistake for finding in self.findings))

    @property
    def headline(self) -> str:
        if not self.attempted:
            return (
                f"{self.exercise}: not attempted yet. {self.task} The notebook goes on with the course's own version."
            )
        if self.passed:
            return f"{self.exercise}: passed, all {self.probes} checks."
        return f"{self.exercise}: {self.probes - len(self.findings)} of {self.probes} checks passed."

    def _grouped(self) -> list[tuple[Finding, list[Finding]]]:
        """The first finding of each mistake, with the others of the same mistake."""
        groups = [[f for f in self.findings if f.mistake == mistake] for mistake in self.mistakes]
        return [(group[0], group[1:]) for group in groups]

    def __repr__(self) -> str:
        lines = [self.headline]
        for finding, others in self._grouped():
            lines.append("")
            for name, value in finding.rows() + _also(others):
                lines += textwrap.wrap(f"{name + ':':16}{value}", 96, initial_indent="  ", subsequent_indent=" " * 18)
        return "\n".join([*lines, *self._prints()])

    def _prints(self) -> list[str]:
        """What the answer printed: its first lines."""
        if not self.printed:
            return []
        more = [f"  ... and {len(self.printed) - 5} lines more"] if len(self.printed) > 5 else []
        return ["", "Your code printed:", *(f"  {line[:100]}" for line in self.printed[:5]), *more]

    def _repr_html_(self) -> str:
        first, rest = self.headline.split(".", 1)
        parts = [f"<p><strong>{escape(first)}.</strong>{_html(rest)}</p>"]
        for finding, others in self._grouped():
            rows = finding.rows() + _also(others)
            cells = "".join(
                f'<tr><th scope="row" style="text-align:left;vertical-align:top;white-space:nowrap">{escape(name)}</th>'
                f'<td style="text-align:left;white-space:normal">{_html(value)}</td></tr>'
                for name, value in rows
            )
            parts.append(f'<table style="margin:0 0 1em 0">{cells}</table>')
        if self.passed:
            items = "".join(f"<li>{_html(tried)}</li>" for tried in self.tried)
            parts.append(f"<details><summary>What was checked</summary><ul>{items}</ul></details>")
        if self.printed:
            parts.append(f"<pre>{escape(chr(10).join(self._prints()[1:]))}</pre>")
        return "\n".join(parts)


def _html(text: str) -> str:
    """Escaped, with `code` as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _also(others: list[Finding]) -> list[tuple[str, str]]:
    if not others:
        return []
    return [("Shows also in", others[0].tried if len(others) == 1 else f"{len(others)} other checks")]


class Text(str):
    """Text that a notebook shows as it is, and code in colours where Pygments is installed."""

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

                # Its own ground and ink: the page may be dark.
                look = HtmlFormatter(
                    noclasses=True, style="friendly", cssstyles="padding:0.5em", prestyles="color:#222"
                )
                return highlight(self, get_lexer_by_name(self.language), look)
            except ImportError:
                pass
        return f'<pre style="white-space:pre-wrap">{escape(self)}</pre>'
