"""Lesions: a trained network with blocks taken out or exchanged, and the errors it then makes.

Unrolled, a residual network of n blocks is a sum over 2^n paths: each goes through a block's F or around it. Taking one
block out leaves half of the paths; in a plain network it breaks the only one.
Source: Veit et al., *Residual Networks Behave Like Ensembles of Relatively Shallow Networks*,
https://arxiv.org/abs/1605.06431. ReLUs after the additions make the sum an analogy, not an identity.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations

import torch
from torch import Tensor, nn

from ..datasets.batches import Batches
from ..errors import unknown
from ..models.resnet import ResNet
from ..training.evaluation import evaluate
from .measures import to_measure, unchanged


def blocks_of(network: ResNet) -> dict[str, nn.Module]:
    """The blocks of a network of the course, plain or residual, by name, first block first.

    Raises TypeError for another network.
    """
    if not isinstance(network, ResNet):
        raise TypeError(
            f"Lesions are made in networks of this course, not in {type(network).__name__}: give the network itself, "
            "before it is compiled or made parallel; torchvision's weights fit into one of ours by from_torchvision."
        )
    return {f"stages.{i}.{j}": block for i, stage in enumerate(network.stages) for j, block in enumerate(stage)}


def droppable(network: ResNet) -> list[str]:
    """The blocks that can be taken out: all residual ones, and of the plain ones those that keep the shape."""
    return [name for name, block in blocks_of(network).items() if hasattr(block, "residual") or _keeps_shape(block)]


def movable(network: ResNet) -> list[str]:
    """The blocks that keep the shape: each can be taken out, or change places with another of its stage."""
    return [name for name, block in blocks_of(network).items() if _keeps_shape(block)]


def pairs_of(network: ResNet) -> list[tuple[str, str]]:
    """The pairs of blocks that can change places."""
    return [
        (one, other) for one, other in combinations(movable(network), 2) if one.split(".")[1] == other.split(".")[1]
    ]


def _keeps_shape(block: nn.Module) -> bool:
    path = block.residual if hasattr(block, "residual") else block.layers
    convolutions = [layer for layer in path if isinstance(layer, nn.Conv2d)]
    same_width = convolutions[0].in_channels == convolutions[-1].out_channels
    return same_width and all(layer.stride == (1, 1) for layer in convolutions)


@contextmanager
def lesion(network: ResNet, drop: Iterable[str] = (), swap: Iterable[tuple[str, str]] = ()) -> Iterator[ResNet]:
    """Inside, the network lacks some blocks or has them in other places; afterwards it is as it was.

    drop: blocks to take out. Of a residual block the shortcut stays, and F(x) is 0; a plain block becomes the identity.
    swap: pairs of blocks that keep the same shape, and change places one pair after the other.

    Raises ValueError for a name that does not exist, and for a block that cannot be dropped or swapped.
    """
    blocks, drop, swap = blocks_of(network), list(drop), list(swap)
    _check_lesion(network, drop, swap)
    before = [(module, dict(module._modules)) for module in (*network.stages, *blocks.values())]
    try:
        for name in drop:
            if hasattr(blocks[name], "residual"):
                blocks[name].residual = Nothing()
            else:
                blocks[name].layers = nn.Identity()
        for one, other in swap:
            blocks = blocks_of(network)
            _put(network, one, blocks[other])
            _put(network, other, blocks[one])
        yield network
    finally:
        for module, children in before:
            module._modules.update(children)


def _check_lesion(network: ResNet, drop: list[str], swap: list[tuple[str, str]]) -> None:
    blocks = blocks_of(network)
    for name in [*drop, *(name for pair in swap for name in pair)]:
        if name not in blocks:
            raise ValueError(unknown("block", name, blocks))
    for name in drop:
        if name not in droppable(network):
            raise ValueError(f"{name} changes the shape and has no shortcut: without it the next block gets no input.")
    pairs = pairs_of(network)
    for one, other in swap:
        if (one, other) not in pairs and (other, one) not in pairs:
            raise ValueError(f"{one} and {other} cannot change places: swap two blocks of a stage that keep the shape.")


class Nothing(nn.Module):
    """Zero, whatever comes in; added to something of any shape it leaves that as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(())


def _put(network: ResNet, name: str, block: nn.Module) -> None:
    _, stage, place = name.split(".")
    network.stages[int(stage)][int(place)] = block


Images = Sequence[tuple[Tensor, Tensor]] | Batches  # gone through once for each lesion


def error_of(network: ResNet, batches: Images, *, batch_statistics: bool = False) -> float:
    """The share of wrong answers (0 to 1) over `batches`.

    batch_statistics: BN takes mean and variance from each batch. Otherwise it keeps those of the trained network, which
        no longer fit the blocks behind a lesion: a part of the damage.
    """
    if not batch_statistics:
        return evaluate(network, batches)[1]
    with unchanged(network), torch.no_grad():
        to_measure(network, batch_statistics=True)
        wrong = torch.cat([network(images).argmax(1) != labels for images, labels in batches])
    return wrong.double().mean().item()


def drop_each(network: ResNet, batches: Images, *, batch_statistics: bool = False) -> dict[str, float]:
    """The error over `batches`, as in `error_of`, without each block that can be taken out, one at a time, by name."""
    return {name: _error(network, batches, batch_statistics, drop=[name]) for name in droppable(network)}


def _error(network: ResNet, batches: Images, batch_statistics: bool = False, **how) -> float:
    with lesion(network, **how):
        return error_of(network, batches, batch_statistics=batch_statistics)
