"""A block that writes down how it is made and called: it shows what a stage or network does with any block."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .exercise import Wrong
from .probing import Operation, operations, run, shake


@dataclass(frozen=True)
class Call:
    """One block that ran: which one, how it was made, and what it received."""

    block: nn.Module
    in_channels: int
    width: int
    stride: int
    x: Tensor


def recorder(expansion: int = 1, last: tuple[int, Tensor] | None = None) -> type[nn.Module]:
    """A block class that costs nothing, counts its objects in `made` and adds each call to its list `calls`.

    It hands on its first channel, as often as its width asks for. With last = (n, output) the n-th block that runs
    puts `output` out instead.
    """

    class Block(nn.Module):
        calls: list[Call] = []
        made = 0

        def __init__(self, in_channels, width, stride=1, *more, **options):
            super().__init__()
            if more or "downsample" in options:
                why = "The block makes its own shortcut. It is called as block(in_channels, width, stride)."
                raise Wrong("the block gets a fourth argument", "a downsample", why)
            type(self).made += 1
            self.arguments = in_channels, width, stride
            self.anchor = nn.Parameter(torch.zeros(1))  # so that it counts as one parameter

        def forward(self, x):
            self.calls.append(Call(self, *self.arguments, x))
            if last and len(self.calls) == last[0]:
                return last[1]
            _, width, stride = self.arguments
            return x[:, :1, ::stride, ::stride].expand(-1, width * self.expansion, -1, -1)

    Block.expansion = expansion
    Block.calls = []
    return Block


def made(answer: Callable, block: type[nn.Module], *arguments: object, **options: object) -> Any:
    """What the student's code makes of `block`; where nn.Sequential refuses what it gets, in other words."""
    try:
        return answer(block, *arguments, **options)
    except TypeError as error:
        refused, found, _ = str(error).partition(" is not a Module subclass")
        if found and refused.endswith(f".{block.__name__}"):
            why = "`block` is a class. Call it, block(in_channels, width, stride), to get a layer."
            raise Wrong("the class itself instead of a block", "a class among the layers", why) from error
        if found and refused in ("list", "tuple", "generator"):
            why = "nn.Sequential takes layers, not a list of them. With a star it gets them: nn.Sequential(*blocks)."
            raise Wrong("a list inside nn.Sequential", f"a {refused}", why) from error
        raise


def warm(network: nn.Module, *sizes: int) -> nn.Module:
    """The network, after a first image where it has lazy layers, which learn their shapes from it."""
    if any(map(nn.parameter.is_lazy, network.parameters())):
        network.eval()(images(1, *sizes))
    return network


@dataclass(frozen=True)
class Trace:
    """What a network did with one batch of images. `calls`: its blocks, as they ran."""

    network: nn.Module
    calls: list[Call]
    operations: list[Operation]
    logits: Tensor

    def named(self, *names: str) -> list[Operation]:
        """The operations with one of these names, in order."""
        return [operation for operation in self.operations if operation.name in names]


def images(n: int = 1, height: int = 224, width: int = 224) -> Tensor:
    return torch.randn(n, 3, height, width)


def trace(
    answer: Callable,
    depths: tuple[int, ...] = (3, 4, 6, 3),
    x: Tensor | None = None,
    expansion: int = 1,
    num_classes: int = 10,
    last: tuple[int, Tensor] | None = None,
) -> Trace:
    """Build the student's network from recorders, in evaluation mode and with shaken BN, and run it once."""
    if isinstance(answer, nn.Module):
        raise Wrong("an object instead of a class", "an object", "Give check() the class itself, without calling it.")
    block = recorder(expansion, last)
    network = made(answer, block, depths, num_classes=num_classes)
    if not isinstance(network, nn.Module):
        raise Wrong("not a module", type(network).__name__, "Define a class that inherits from nn.Module.")
    shake(warm(network)).eval()
    block.calls.clear()
    logits: list[Tensor] = []

    def once(x: Tensor) -> Tensor:
        logits.append(run(network, x))
        return logits[-1]

    found = operations(once, images() if x is None else x)
    if not block.calls:
        why = "The network is made of the class that is given: call block(in_channels, width, stride)."
        raise Wrong("the given block is ignored", "a network without it", why)
    return Trace(network, list(block.calls), found, logits[0])
