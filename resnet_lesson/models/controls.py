"""Controls: networks that change one thing about ResNet-56 or plain-56, so that an experiment can tell what it does.

Notebook 07 asks with them which part of a residual block makes depth trainable.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from .blocks import BasicBlock
from .networks import build


class DosedBlock(BasicBlock):
    """A basic block whose shortcut has a strength: y = ReLU(F(x) + dose * shortcut(x)).

    (N, in_channels, H, W) -> (N, width, ceil(H / stride), ceil(W / stride)). A dose of 0 is the plain block, a dose of
    1 the residual one; the doses between are this course's experiment.
    """

    def __init__(self, in_channels: int, width: int, stride: int = 1, shortcut: str = "A", dose: float = 1.0):
        super().__init__(in_channels, width, stride, shortcut)
        self.dose = dose

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.residual(x) + self.dose * self.shortcut(x))


class UnnormalisedBlock(BasicBlock):
    """A basic block without BN: each convolution has a bias instead. y = ReLU(strength * F(x) + shortcut(x)).

    (N, in_channels, H, W) -> (N, width, ceil(H / stride), ceil(W / stride)).
    skipinit: let `strength` be one learned number that starts at 0 (De and Smith 2020, https://arxiv.org/abs/2002.10444,
        section 5); otherwise it is 1.
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
    """The CIFAR ResNet of that name with that dose of its shortcuts: 0 makes it plain, and 1 leaves it as it is."""
    return build(name, seed=seed, block=DosedBlock, dose=dose)


@torch.no_grad()
def start_near_identity(network: nn.Module, share: float = 0.1) -> nn.Module:
    """Let each 3x3 convolution with as many channels in as out begin near a copy of its input; return the network.

    Its weights become `share` of what they were, plus a Dirac kernel: 1 in the centre of a channel's own filter. With
    BN behind it, only the proportion of the two counts. No shortcut is added.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == module.out_channels and module.kernel_size == (3, 3):
            module.weight *= share
            module.weight += nn.init.dirac_(torch.empty_like(module.weight))
    return network
