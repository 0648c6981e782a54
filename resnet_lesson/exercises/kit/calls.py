"""Inputs for the cases, calling what a student wrote, and the named parts of an answer."""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from .outcomes import Wrong
from .stub import is_unattempted


def numbers(*size: int, seed: int = 0) -> Tensor:
    """Normal random numbers that are the same whatever was drawn before, even by the answer."""
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def run(function: Callable, *inputs: object) -> Tensor:
    """What the student's module or function returns, which must be a tensor; it gets copies of the inputs."""
    output = function(*(x.clone() if isinstance(x, Tensor) else x for x in inputs))
    if output is None:
        raise Wrong("nothing is returned", "None", "Does every path through your code end in `return`?")
    if not isinstance(output, Tensor):
        raise Wrong("not a tensor", type(output).__name__, "Return one tensor.")
    return output


def part(parts: object, name: str) -> Any:
    """The part of that name; raises `Wrong` if the student has not written it."""
    given = parts.get(name) if isinstance(parts, dict) else None
    if is_unattempted(given):
        raise Wrong("not answered yet", f"nothing for {name}", "Give each part your best guess.")
    return given


def choice(parts: object, name: str, options: Collection[str]) -> str:
    """The part of that name; raises `Wrong` if it is not one of the options."""
    given = str(part(parts, name)).strip().lower().rstrip(").")
    if given not in options:
        raise Wrong("not one of the choices", given, f"Choose one of {', '.join(sorted(options))}.")
    return given


def no_other_parts(parts: object, names: Collection[str]) -> None:
    others = sorted(set(parts) - set(names)) if isinstance(parts, dict) else ["an answer without a name"]
    if others:
        raise Wrong("a part that is not asked for", ", ".join(others), f"The parts are {', '.join(names)}.")
