"""Inputs for the cases, and calling what a student wrote."""

from collections.abc import Callable

import torch
from torch import Tensor

from .outcomes import Wrong


def numbers(*size: int, seed: int = 0) -> Tensor:
    """Normal random numbers that are the same whatever was drawn before, by the answer too."""
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def run(function: Callable, *inputs: object) -> Tensor:
    """What the student's module or function returns, which must be a tensor; it gets copies of the inputs."""
    output = function(*(x.clone() if isinstance(x, Tensor) else x for x in inputs))
    if output is None:
        raise Wrong("nothing is returned", "None", "Does every way through your code end in `return`?")
    if not isinstance(output, Tensor):
        raise Wrong("not a tensor", type(output).__name__, "Return one tensor.")
    return output
