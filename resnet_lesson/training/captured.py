"""A whole step of training as one CUDA graph.

A step of ResNet-20 consists of hundreds of small kernels, and on a fast GPU it takes longer to start them one by one
from Python than to run them. A CUDA graph is recorded once, and from then on one launch starts all of them.
Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import LessonError
from ..models.family import StochasticResidual

WARM_UP = 3  # calls, in which libraries choose their kernels and the optimiser makes its buffers


def repeats_itself(network: nn.Module) -> bool:
    """Whether every step of the network performs the same operations, as far as this package can tell.

    That is, it leaves out no blocks at random, and has no hooks, which a replay would not call.
    """
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return not any(
        isinstance(module, StochasticResidual) or any(getattr(module, kind) for kind in hooks)
        for module in network.modules()
    )


class Captured:
    """A function of one tensor on the GPU, recorded at its fourth call and replayed from then on.

    function: what it reads and writes must stay in place, because a replay uses the same memory each time. It must not
        read a number back from the GPU or decide anything in Python, because the Python code does not run again.

    Each call takes a tensor of the same shape, and returns what `function` would; the next call overwrites the result.
    Raises LessonError if the function cannot be recorded.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]):
        self.function, self.calls, self.graph = function, 0, torch.cuda.CUDAGraph()
        self.stream: torch.cuda.Stream | None = None
        self.argument: Tensor | None = None
        self.result: Tensor | None = None

    def __call__(self, argument: Tensor) -> Tensor:
        outside = torch.cuda.current_stream(argument.device)
        if self.stream is None:
            self.stream, self.argument = torch.cuda.Stream(argument.device), torch.empty_like(argument)
        self.stream.wait_stream(outside)
        with torch.cuda.stream(self.stream):  # recording needs a stream of its own, and the warm-up must run on it too
            self.argument.copy_(argument)
            if self.calls < WARM_UP:
                self.result = self.function(self.argument)
            else:
                if self.calls == WARM_UP:
                    self._record()
                self.graph.replay()
        outside.wait_stream(self.stream)
        self.calls += 1
        return self.result

    def _record(self) -> None:
        try:
            with torch.cuda.graph(self.graph, stream=self.stream):
                self.result = self.function(self.argument)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or isinstance(error.__context__, torch.OutOfMemoryError):
                raise
            reason = str(error).splitlines()[0]
            raise LessonError(
                "This training step cannot be recorded as a CUDA graph, perhaps because the network reads a number "
                f"back from the GPU (.item(), if x.sum() > 0): train it with captured=False. ({reason})"
            ) from error
