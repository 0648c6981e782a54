"""Training with less memory: the inside of groups of blocks is computed again instead of kept.

The backward pass needs what the forward pass computed in every layer, so memory grows with depth. *Activation
checkpointing* keeps only the input of each group of blocks. When the backward pass arrives at a group, its inside is
computed again: about a third more time, and memory that grows with the square root of the depth.
Source: Chen et al., *Training Deep Nets with Sublinear Memory Cost*, https://arxiv.org/abs/1604.06174.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .resnet import ResNet


def recompute(network: ResNet) -> ResNet:
    """Let a network keep only the input of each group of blocks while it trains; return the same network.

    Of n blocks, sqrt(n) make a group: so about as many inputs of groups are kept as there are blocks inside one.
    Outputs, gradients and running statistics stay the same, on a CPU bit for bit, and so do the names of the weights.
    In training, forward hooks inside a group are called twice, and hooks on a stage not at all. Evaluation is as
    before. Raises TypeError for anything but a ResNet of this package.
    """
    if not isinstance(network, ResNet):
        raise TypeError(
            f"recompute takes a network of this course, not {type(network).__name__}: "
            "call it before the network is compiled or made parallel."
        )
    stages = RecomputedStages(*network.stages)
    stages.training = network.stages.training
    network.stages = stages
    return network


class RecomputedStages(nn.Sequential):
    """A network's stages, which compute the inside of each group of blocks again in the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(x)
        blocks = [block for stage in self for block in stage]
        size = math.isqrt(len(blocks))
        for first in range(0, len(blocks), size):
            x = _checkpointed(nn.Sequential(*blocks[first : first + size]), x)
        return x


def _checkpointed(group: nn.Sequential, x: Tensor) -> Tensor:
    if torch.compiler.is_compiling():  # it cannot follow the context below, nor needs it: statistics are updated once
        return checkpoint(group, x, use_reentrant=False)
    return checkpoint(group, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _second_time(group)))


@contextmanager
def _second_time(group: nn.Module) -> Iterator[None]:
    """Inside, the group has copies of its running statistics: they take the second update, and are thrown away."""
    buffers = [(module, *found) for module in group.modules() for found in module.named_buffers(recurse=False)]
    try:
        for module, name, buffer in buffers:
            setattr(module, name, buffer.clone())
        yield
    finally:
        for module, name, buffer in buffers:
            setattr(module, name, buffer)
