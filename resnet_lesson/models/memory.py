"""Training with less memory: the inside of groups of blocks is computed again instead of kept.

The backward pass needs what the forward pass computed in every layer, so memory grows with depth. *Activation
checkpointing* keeps only the input of each group of blocks. When the backward pass arrives at a group, its inside is
computed again: about a third more time, and memory that grows with the square root of the depth.
Source: Chen et al., *Training Deep Nets with Sublinear Memory Cost*, https://arxiv.org/abs/1604.06174.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .resnet import ResNet


def recompute(network: ResNet, every: int | None = None) -> ResNet:
    """Let a network keep only the input of every `every`-th block while it trains; return the same network.

    every: blocks in a group; the square root of their number unless given, which keeps about as many inputs of groups
        as there are blocks inside one.

    Outputs, gradients and running statistics stay the same, on a CPU bit for bit, and so do the names of the weights.
    In training, forward hooks inside a group are called twice, and hooks on a stage not at all. Evaluation is as
    before. Called again, it only changes `every`.
    Raises TypeError for anything but a ResNet of this package, ValueError for fewer than one block in a group.
    """
    if not isinstance(network, ResNet):
        raise TypeError(
            f"recompute takes a network of this course, not {type(network).__name__}: "
            "call it before the network is compiled or made parallel."
        )
    blocks = sum(len(stage) for stage in network.stages)
    every = math.isqrt(blocks) if every is None else every
    if every < 1:
        raise ValueError(f"A group has at least one block, not {every}: leave `every` out for the best size.")
    stages = RecomputedStages(*network.stages)
    stages.every, stages.training = every, network.stages.training
    network.stages = stages
    return network


class RecomputedStages(nn.Sequential):
    """Stages of blocks that compute the inside of each group of `every` blocks again in the backward pass.

    (N, C, H, W) -> the last stage's shape. It holds the same stages under the same names as the `nn.Sequential` whose
    place it takes.
    """

    every = 1

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(x)
        blocks = [block for stage in self for block in stage]
        for first in range(0, len(blocks), self.every):
            x = _checkpointed(nn.Sequential(*blocks[first : first + self.every]), x)
        return x


def _checkpointed(group: nn.Sequential, x: Tensor) -> Tensor:
    if torch.compiler.is_compiling():  # it cannot follow the context below, nor needs it: statistics are updated once
        return checkpoint(group, x, use_reentrant=False)
    modes = [(module, module.training) for module in group.modules()]
    return checkpoint(
        group,
        x,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), _second_time(modes)),
    )


@contextmanager
def _second_time(modes: Sequence[tuple[nn.Module, bool]]) -> Iterator[None]:
    """What a group is computed again in: the modes of the first time, and copies of the running statistics.

    The copies take the second update, and are thrown away with it.
    """
    now = [(module, module.training) for module, _ in modes]
    buffers = [(module, name, buffer) for module, _ in modes for name, buffer in module.named_buffers(recurse=False)]
    try:
        for module, training in modes:
            module.training = training
        for module, name, buffer in buffers:
            setattr(module, name, buffer.clone())
        yield
    finally:
        for module, training in now:
            module.training = training
        for module, name, buffer in buffers:
            setattr(module, name, buffer)
