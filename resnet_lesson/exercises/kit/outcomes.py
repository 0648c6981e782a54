"""The outcome of a case: comparing two outcomes, and putting one into words.

An outcome is a tensor, a number, a text, a list or dictionary of outcomes, or `Stopped`, which stands for an exception.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose
from numbers import Real

import torch
from torch import Tensor

from .source import student_line

LONGEST = 300  # characters of a student's text in a report


class Wrong(Exception):
    """Raised by a case if an answer fails in a way that no outcome shows, or that the case itself can name.

    mistake: the mistake's short name ("x is changed in place"). got: what was seen, as short text.
    why: how to see that it is wrong, or where to look; one or two sentences to the student.
    """

    def __init__(self, mistake: str, got: object, why: str):
        super().__init__(f"{mistake}: got {got}. {why}")
        self.mistake, self.got, self.why = mistake, words(got), why


@dataclass(frozen=True)
class Stopped:
    """The student's code raised an exception. where: the student's own line, which equal outcomes need not share."""

    kind: str
    text: str
    where: str = field(compare=False, default="")

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}".rstrip(": ")


def stopped(error: BaseException) -> Stopped:
    """An exception as an outcome. Its message may be endless or empty, and asking for it may raise another error."""
    try:
        text = str(error)[: 10 * LONGEST]
    except Exception:
        text = ""
    first = next(iter(text.strip().splitlines()), "")[:LONGEST]
    return Stopped(type(error).__name__, printable(first), student_line(error))


def printable(text: str) -> str:
    """The text without what UTF-8 cannot encode, and without addresses, which are never the same twice."""
    return re.sub(" at 0x[0-9a-f]+", "", text.encode("utf-8", "replace").decode())


def attempt(function: Callable, *arguments: object) -> object:
    """What a function returns, or the exception that it raises, as an outcome: for cases with several parts."""
    try:
        return function(*arguments)
    except Wrong:
        raise
    except Exception as error:
        return stopped(error)


def agree(a: object, b: object, tolerance: float = 1e-5) -> bool:
    """Whether two outcomes are the same: values up to `tolerance` of the largest, shapes and dtypes exactly."""
    match a, b:
        case Tensor(), Tensor():
            return _equal_tensors(a, b, tolerance)
        case Stopped(), Stopped():
            one, other = (sorted(re.findall(r"\w+", error.text)) for error in (a, b))  # a + b and b + a are the same
            return a.kind == b.kind and one == other
        case bool(), bool():
            return a == b
        case Real(), Real() if not isinstance(a, bool) and not isinstance(b, bool):
            return isclose(a, b, rel_tol=tolerance, abs_tol=1e-9) or (a != a and b != b)
        case Mapping(), Mapping():
            return a.keys() == b.keys() and all(agree(a[key], b[key], tolerance) for key in a)
        case (str(), str()) | (None, None):
            return a == b
        case Sequence(), Sequence() if not isinstance(a, str) and not isinstance(b, str):
            return len(a) == len(b) and all(agree(x, y, tolerance) for x, y in zip(a, b, strict=True))
    return False


def _equal_tensors(a: Tensor, b: Tensor, tolerance: float) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype or a.device != b.device:
        return False
    if a.device.type == "meta" or torch.equal(a, b):
        return True
    if not a.is_floating_point():
        return False
    a, b = a.detach().double(), b.detach().double()
    scale = max(1.0, b.nan_to_num(0, 0, 0).abs().max().item())
    return torch.allclose(a, b, rtol=0, atol=tolerance * scale, equal_nan=True)


def words(got: object, expected: object = None) -> str:
    """An outcome in a line of text; if it has several parts, only those that are not as expected."""
    if isinstance(got, Mapping) and isinstance(expected, Mapping):
        other = [key for key in got if key not in expected or not agree(got[key], expected[key])]
        return "; ".join(f"{key}: {_beside(got[key], expected.get(key))}" for key in other) or "some parts are missing"
    if isinstance(got, Tensor):
        return _tensor_in_words(got, expected)
    if isinstance(got, float):
        return f"{got:g}"
    if isinstance(got, (list, tuple)):
        between = "; " if any(isinstance(one, str) for one in got) else ", "
        return between.join(words(one) for one in got) or "nothing"
    try:
        return printable(str(got)[:LONGEST])
    except Exception:
        return type(got).__name__


def _beside(got: object, expected: object) -> str:
    """One part; a number together with the expected one."""
    instead = f" instead of {words(expected)}" if isinstance(got, Real) and isinstance(expected, Real) else ""
    return words(got, expected) + instead


def _tensor_in_words(got: Tensor, expected: object) -> str:
    if isinstance(expected, Tensor) and got.dtype != expected.dtype:
        return f"{str(got.dtype).removeprefix('torch.')} instead of {str(expected.dtype).removeprefix('torch.')}"
    if got.numel() <= 12 and got.device.type != "meta":
        return f"{_numbers(got)} of shape {tuple(got.shape)}" if got.dim() else f"{got.item():.4g}"
    if isinstance(expected, Tensor) and got.shape == expected.shape:
        return f"different values: {_where_they_differ(got, expected)}"
    return shape(got)


def _where_they_differ(got: Tensor, expected: Tensor) -> str:
    got, expected = got.detach().double(), expected.detach().double()
    place = int((got - expected).abs().nan_to_num(nan=torch.inf).argmax())
    return f"{got.flatten()[place]:.3g} where {expected.flatten()[place]:.3g} is expected"


def _numbers(x: Tensor) -> str:
    def rounded(value):
        return [rounded(v) for v in value] if isinstance(value, list) else round(value, 2)

    return str(rounded(x.tolist()))


def shape(x: Tensor) -> str:
    """ "2 x 16 x 8 x 8" """
    return " x ".join(map(str, x.shape)) or "a single number"
