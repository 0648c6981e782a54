"""A block that records how it is made and called, to show what a stage or network does with whatever block it gets."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .blocks import Planter, as_usual
from .calls import numbers, run
from .exercise import Wrong
from .outcomes import Stopped, agree, stopped


@dataclass(frozen=True)
class Call:
    """One block that ran: how it was made, its input and its output."""

    block: nn.Module
    in_channels: int
    width: int
    stride: int
    x: Tensor
    y: Tensor


def recorder(expansion: int = 1, maps: tuple[int, int] | None = None, hears: float = 0) -> Any:
    """A block class without convolutions that adds each call of its objects to its list `calls`, empty at first.

    It has one parameter, which learns. With `maps`, its output consists of maps of that size that do not depend on x
    (or only by `hears` times the mean of x), so that what follows the blocks gets the same input whatever came before.
    """
    block: Any = _recorder(expansion, maps, hears)
    block.calls, block.made = [], 0
    return block


@functools.cache  # one class, so that it also records blocks that the student kept from an earlier call
def _recorder(expansion: int, maps: tuple[int, int] | None, hears: float) -> type[nn.Module]:
    class Block(nn.Module):
        calls: list[Call] = []
        made = 0

        def __init__(self, in_channels, width, stride=1):
            super().__init__()
            Block.made += 1
            self.arguments = in_channels, width, stride
            self.factor = nn.Parameter(torch.tensor([1.1]))

        def forward(self, x):
            _, width, stride = self.arguments
            channels = torch.arange(width * expansion)
            if maps:
                y = self.factor * _maps(len(x), len(channels), *maps) + hears * x.mean()
            else:
                signs = (1 - 2 * (channels % 2))[:, None, None]
                y = self.factor * signs * x[:, :, ::stride, ::stride].index_select(1, channels % x.shape[1])
            self.calls.append(Call(self, *self.arguments, x.detach().clone(), y.detach().clone()))
            return y

    Block.__qualname__ = "Block"
    Block.expansion = expansion  # type: ignore[attr-defined]
    return Block


def different(calls: Sequence[Call]) -> int:
    """How many of the blocks that ran are different objects."""
    return len({id(call.block) for call in calls})


def on_the_way(calls: Sequence[Call]) -> str:
    """Where a block receives something other than the output of the block before it."""
    changed = [i for i in range(1, len(calls)) if not agree(calls[i].x, calls[i - 1].y)]
    return ", ".join(f"before block {i + 1}" for i in changed) or "nowhere"


def arguments(calls: Sequence[Call]) -> str:
    """The channels and widths with which the blocks were made."""
    return ", ".join(f"block({call.in_channels}, {call.width})" for call in calls)


def must_run(block: Any) -> None:
    if not block.calls:
        why = "Make each block with the class that you are given, block(in_channels, width, stride), and pass x "
        why += "through it."
        raise Wrong("the given block does not run", f"{block.made} made, none of them called", why)


_maps = functools.cache(numbers)


@dataclass(frozen=True)
class Trace:
    """What a network did with a batch of images: the blocks that ran, and the logits or why there are none."""

    network: nn.Module
    calls: list[Call]
    logits: Tensor | Stopped


def made(answer: Callable, block: Any, depths: tuple[int, ...], **options: int) -> nn.Module:
    """The student's network."""
    if isinstance(answer, nn.Module):
        why = "Give check() the class itself, without calling it."
        raise Wrong("an object instead of a class", type(answer).__name__, why)
    network = answer(block, depths, **options)
    if not isinstance(network, nn.Module):
        raise Wrong("not a module", type(network).__name__, "Define a class that inherits from nn.Module.")
    if not block.made:  # said before the shapes, which then do not fit
        must_run(block)
    return network


def trace(
    answer: Callable,
    images: Tensor,
    depths: tuple[int, ...] = (2, 2, 2, 2),
    expansion: int = 1,
    maps: tuple[int, int] | None = None,
    hears: float = 0,
    training: bool = False,
    **options: int,
) -> Trace:
    """Build the student's network from recorders, and run it once with planted numbers."""
    block = recorder(expansion, maps, hears)
    network = made(answer, block, depths, **({"num_classes": 10} | options))
    if network.train(training) is not network:
        why = "network.train() and network.eval() return the network: end your own train() with `return self`."
        raise Wrong("train() returns nothing", "something other than the network", why)
    as_usual(network)
    logits: Tensor | Stopped
    try:
        with torch.no_grad(), Planter():
            logits = run(network, images)
    except Exception as error:  # whatever a student's code may raise
        if isinstance(error, Wrong) or not block.calls:
            raise
        logits = stopped(error)
    must_run(block)
    return Trace(network, block.calls, logits)
