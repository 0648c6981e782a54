"""What a network costs: parameters, multiply-adds and activations, layer by layer.

Nothing is computed: the network is copied to torch's `meta` device, where tensors have shapes but no values, so even
ResNet-152 or ResNet-1202 takes only a moment and no memory.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """One layer in the order of the forward pass. `output` is its shape without the batch."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    macs: int

    @property
    def activations(self) -> int:
        """How many numbers the layer outputs for one image."""
        return torch.Size(self.output).numel()


@dataclass(frozen=True)
class Cost:
    """The cost of a network for one image. macs: multiply-adds of convolutions and linear layers, which the paper and
    torchvision call FLOPs. parameters: weights and biases, without BN's running statistics."""

    parameters: int
    macs: int
    layers: tuple[Layer, ...]

    @property
    def activations(self) -> int:
        """How many numbers all layers output together; an identity adds none of its own."""
        return sum(layer.activations for layer in self.layers if layer.kind != "Identity")

    def __str__(self) -> str:
        rows = [f"{layer.name:36} {layer.kind:18} {'x'.join(map(str, layer.output)):>12} "
                f"{layer.parameters:>12,} {layer.macs:>16,}" for layer in self.layers]  # fmt: skip
        head = f"{'layer':36} {'kind':18} {'output':>12} {'parameters':>12} {'multiply-adds':>16}"
        total = f"{'total':36} {'':18} {'':>12} {self.parameters:>12,} {self.macs:>16,}"
        return "\n".join([head, *rows, total])


def cost_of(network: nn.Module, input_shape: tuple[int, int, int] = (3, 32, 32)) -> Cost:
    """Count a network's cost for one image of `input_shape` (channels, height, width).

    The network is not run and not changed. Raises ValueError for a shape that is not (C, H, W).
    """
    if len(input_shape) != 3:
        raise ValueError(f"input_shape must be (channels, height, width), such as (3, 224, 224), not {input_shape}.")
    ghost = copy.deepcopy(network).to("meta").eval()
    layers: list[Layer] = []

    def count(name: str, module: nn.Module, output: Tensor) -> None:
        # Each output number of a convolution or linear layer takes one multiply-add per weight of its filter.
        counted = isinstance(module, (nn.Conv2d, nn.Linear))
        macs = output.numel() * module.weight[0].numel() if counted else 0
        parameters = sum(p.numel() for p in module.parameters())
        layers.append(Layer(name, type(module).__name__, tuple(output.shape[1:]), parameters, macs))

    for name, module in ghost.named_modules():
        module._forward_hooks.clear()  # the caller's hooks may need values, and here are only shapes
        if not list(module.children()):
            module.register_forward_hook(lambda module, _, output, name=name: count(name, module, output))
    with torch.no_grad():
        ghost(torch.empty(1, *input_shape, device="meta"))
    return Cost(sum(p.numel() for p in network.parameters()), sum(layer.macs for layer in layers), tuple(layers))
