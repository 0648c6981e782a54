"""Lesions: a trained network with blocks taken out, and the errors that it then makes.

Unrolled, a residual network of n blocks is a sum over 2^n paths, each of which goes through or around the F of each
block. Taking out one block leaves half of the paths; in a plain network it breaks the only one.
Source: Veit et al., *Residual Networks Behave Like Ensembles of Relatively Shallow Networks*,
https://arxiv.org/abs/1605.06431. Because of the ReLUs after the additions, the sum is an analogy, not an identity.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..datasets.batches import Batches
from ..errors import unknown
from ..models.resnet import ResNet
from .measures import copy_to_measure

Images = Sequence[tuple[Tensor, Tensor]] | Batches  # used once per lesion


def blocks_of(network: ResNet) -> dict[str, nn.Module]:
    """The blocks of one of the course's networks, plain or residual, by name, first block first.

    Raises TypeError for any other network.
    """
    if not isinstance(network, ResNet):
        kind = type(network).__name__
        raise TypeError(f"Lesions only work in this course's networks, as `build` makes them, not in a {kind}.")
    return {f"stages.{i}.{j}": block for i, stage in enumerate(network.stages) for j, block in enumerate(stage)}


def droppable(network: ResNet) -> list[str]:
    """The blocks that can be taken out: all residual blocks, and those plain blocks that keep the shape."""
    return [name for name, block in blocks_of(network).items() if hasattr(block, "residual") or _keeps_shape(block)]


def _keeps_shape(block: nn.Module) -> bool:
    conv = block.layers[0]
    return conv.in_channels == conv.out_channels and conv.stride == (1, 1)


class Nothing(nn.Module):
    """Zero, whatever comes in; added to something of any shape it leaves that as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(())


@contextmanager
def lesion(network: ResNet, drop: Iterable[str]) -> Iterator[ResNet]:
    """Inside, the network lacks the blocks of these names; afterwards it is as it was.

    A residual block keeps its shortcut, and its F(x) is 0; a plain block becomes the identity.
    Raises ValueError for a name that does not exist, and for a block that cannot be taken out.
    """
    blocks, kept = blocks_of(network), []
    for name in drop:
        if name not in blocks:
            raise ValueError(unknown("block", name, blocks))
        if name not in droppable(network):
            raise ValueError(
                f"{name} changes the shape and has no shortcut: without it, x does not fit the next block."
            )
        part = "residual" if hasattr(blocks[name], "residual") else "layers"
        kept.append((blocks[name], part, getattr(blocks[name], part)))
    try:
        for block, part, _ in kept:
            setattr(block, part, Nothing() if part == "residual" else nn.Identity())
        yield network
    finally:
        for block, part, module in kept:
            setattr(block, part, module)


@torch.no_grad()
def error_of(network: ResNet, batches: Images, *, batch_statistics: bool = False) -> float:
    """The share of wrong answers (0 to 1) over `batches`.

    batch_statistics: BN takes mean and variance from each batch. Otherwise it keeps those of the trained network, which
        no longer fit the blocks behind a lesion; that is part of the damage.
    """
    ghost = copy_to_measure(network, batch_statistics)
    wrong = torch.cat([ghost(images).argmax(1) != labels for images, labels in batches])
    return wrong.cpu().double().mean().item()  # not every GPU has float64


def drop_each(network: ResNet, batches: Images, *, batch_statistics: bool = False) -> dict[str, float]:
    """The error over `batches`, as in `error_of`, with one block taken out at a time, by the name of the block."""
    errors = {}
    for name in droppable(network):
        with lesion(network, [name]):
            errors[name] = error_of(network, batches, batch_statistics=batch_statistics)
    return errors
