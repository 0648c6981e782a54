"""What reaches torch's core while a module or function runs: a block of modules and functional code look alike."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Operation:
    """One call that reached torch's core: its name ("convolution", "batch_norm", "relu", "add"), inputs and result."""

    name: str
    inputs: tuple
    result: Any

    @property
    def kernel(self) -> tuple[int, ...]:
        """Of a convolution: (out channels, in channels per group, height, width)."""
        return tuple(self.inputs[1].shape)

    @property
    def has_bias(self) -> bool:
        return self.inputs[2] is not None


def name_of(function: Any) -> str:
    name = function.overloadpacket.__name__
    return "batch_norm" if "batch_norm" in name else name.rstrip("_")


class _Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        # Inputs are kept as they were: a later in-place call would change them.
        kept = tuple(a.clone() if isinstance(a, Tensor) else a for a in args)
        output = function(*args, **(kwargs or {}))
        result = output[0] if isinstance(output, (tuple, list)) else output
        result = result.clone() if isinstance(result, Tensor) else result
        self.operations.append(Operation(name_of(function), kept, result))
        return output


def reached(function: Callable, *inputs: object) -> list[Operation]:
    """What a module or function computes, in order, up to the RuntimeError with which it stops, if it does."""
    with torch.no_grad(), _Recorder() as recorder, contextlib.suppress(RuntimeError):
        function(*inputs)
    return recorder.operations
