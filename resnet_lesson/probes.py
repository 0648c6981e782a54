"""Looking inside a network: what passes through its blocks, and how a function's outputs move with its inputs.

Whatever is measured, the network is afterwards what it was before: weights, gradients, BN statistics, modes and
hooks, also when the measurement fails.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


def jacobian(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The matrix of df_i/dx_j at x: row i says how output i moves, per unit of each input.

    x: (inputs,); f(x): (outputs,). Returns (outputs, inputs).
    """
    return torch.func.jacrev(f)(x).detach()


@contextmanager
def unchanged(network: nn.Module) -> Iterator[None]:
    """Inside, the network may run, train and go backwards; at the end everything of it is as it was before.

    Inside, all gradients begin as None.
    """
    tensors = [*network.parameters(), *network.buffers()]
    values = [tensor.detach().clone() for tensor in tensors]
    gradients = [(parameter, parameter.grad, parameter.requires_grad) for parameter in network.parameters()]
    modes = [(module, module.training) for module in network.modules()]
    for parameter, _, _ in gradients:
        parameter.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, values, strict=True):
                if not torch.equal(tensor, value):  # writing to what is the same would spoil a graph that holds it
                    tensor.copy_(value)
        for parameter, gradient, required in gradients:
            parameter.grad = gradient
            parameter.requires_grad_(required)
        for module, training in modes:
            module.training = training


@dataclass(frozen=True)
class Pass:
    """What went through a residual block in one forward pass; the tensors are (N, C, H, W), without gradients.

    x: the block's input. residual: F(x). shortcut: what is added to it (x itself where the shortcut is the identity).
    output: what leaves the block, after whatever follows the addition.
    """

    name: str
    block: nn.Module
    x: Tensor
    residual: Tensor
    shortcut: Tensor
    output: Tensor

    @property
    def is_identity(self) -> bool:
        """Whether x itself is added."""
        return isinstance(self.block.shortcut, nn.Identity)


def residual_blocks(network: nn.Module) -> dict[str, nn.Module]:
    """The blocks of a network that have a `residual` and a `shortcut`, by name, first block first."""
    found = {name: module for name, module in network.named_modules() if hasattr(module, "residual")}
    return {name: module for name, module in found.items() if isinstance(getattr(module, "shortcut", None), nn.Module)}


@torch.no_grad()
def block_passes(network: nn.Module, images: Tensor, *, batch_statistics: bool = False) -> list[Pass]:
    """Run `images` (N, 3, H, W) through the network once; what each residual block saw and made, first block first.

    batch_statistics: BN takes mean and variance from these images, as in training. Otherwise it takes the running
        ones, which mean nothing in a network that was never trained.
    """
    blocks = residual_blocks(network)
    seen: dict[tuple[str, str], Tensor] = {}
    handles = []

    def keep(name: str, part: str) -> Callable:
        return lambda module, inputs, output: seen.update(
            {(name, "x"): inputs[0].clone(), (name, part): output.clone()}
        )

    with unchanged(network):
        try:
            for name, block in blocks.items():
                handles.append(block.residual.register_forward_hook(keep(name, "residual")))
                handles.append(block.shortcut.register_forward_hook(keep(name, "shortcut")))
                handles.append(block.register_forward_hook(keep(name, "output")))
            network.train(batch_statistics)
            network(images)
        finally:
            for handle in handles:
                handle.remove()
    parts = ("x", "residual", "shortcut", "output")
    return [Pass(name, block, *(seen[name, part] for part in parts)) for name, block in blocks.items()]
