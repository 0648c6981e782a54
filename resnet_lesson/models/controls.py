"""Controls: networks that change one thing about ResNet-56 or plain-56, so that an experiment can show what it does.

Notebook 07 uses them to ask which part of a residual block makes depth trainable. Two of them, `DosedBlock` and
`start_near_identity`, also appear in its cells, word for word as they are here (a test compares them).
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from .blocks import BasicBlock
from .networks import build


class DosedBlock(BasicBlock):
    """y = ReLU(F(x) + dose * shortcut(x)): a dose of 0 makes the plain block, and 1 the residual one."""

    def __init__(self, *shape, dose=1.0, **options):
        super().__init__(*shape, **options)
        self.dose = dose

    def forward(self, x):
        return self.relu(self.residual(x) + self.dose * self.shortcut(x))


class UnnormalisedBlock(BasicBlock):
    """A basic block without BN: each convolution has a bias instead. y = ReLU(strength * F(x) + shortcut(x)).

    (N, in_channels, H, W) -> (N, width, ceil(H / stride), ceil(W / stride)).
    skipinit: make `strength` a single learned number that starts at 0 (De and Smith 2020,
        https://arxiv.org/abs/2002.10444, section 5); otherwise it is 1.
    """

    def __init__(self, in_channels: int, width: int, stride: int = 1, shortcut: str = "A", skipinit: bool = False):
        super().__init__(in_channels, width, stride, shortcut)
        self.residual = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, width, 3, stride, padding=1),
                relu=nn.ReLU(),
                conv2=nn.Conv2d(width, width, 3, padding=1),
            )
        )
        self.strength = nn.Parameter(torch.zeros(())) if skipinit else 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.strength * self.residual(x) + self.shortcut(x))


@torch.no_grad()
def unnormalised(name: str, *, skipinit: bool = False, seed: int = 0) -> nn.Module:
    """The CIFAR ResNet of that name without any BN; biases start at 0."""
    network = build(name, seed=seed, block=UnnormalisedBlock, skipinit=skipinit)
    weight = network.stem.conv1.weight
    network.stem = nn.Sequential(nn.Conv2d(3, len(weight), 3, padding=1), nn.ReLU())
    network.stem[0].weight.copy_(weight)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.bias)
    return network


def dosed(name: str, dose: float, *, seed: int = 0) -> nn.Module:
    """The CIFAR ResNet of that name, its shortcuts weighted by the dose: 0 makes it plain, and 1 leaves it as it is."""
    return build(name, seed=seed, block=DosedBlock, dose=dose)


@torch.no_grad()
def start_near_identity(network, share):
    """Let each convolution that keeps the number of channels begin as `share` of its weights plus a copy of x."""
    for conv in network.modules():
        if isinstance(conv, nn.Conv2d) and conv.in_channels == conv.out_channels:
            conv.weight *= share
            conv.weight += nn.init.dirac_(torch.empty_like(conv.weight))
    return network
