"""The ResNet family: what came after 2015, each as a small change to the course's own blocks.

pre-activation    PreActBlock, PreActResNet                      He et al. 2016, https://arxiv.org/abs/1603.05027
wide networks     PreActResNet with wider stages                 Zagoruyko and Komodakis, https://arxiv.org/abs/1605.07146
ResNeXt           ResNeXtBottleneck                              Xie et al. 2017, https://arxiv.org/abs/1611.05431
dilation          dilate                                         Yu et al. 2017, https://arxiv.org/abs/1705.09914
stochastic depth  StochasticResidual, stochastic_depth           Huang et al. 2016, https://arxiv.org/abs/1603.09382
squeeze-and-excitation  SEBasicBlock, SEBottleneck               Hu et al. 2018, https://arxiv.org/abs/1709.01507
ResNet-D          BasicBlockD, BottleneckD, deep_stem            He T. et al. 2019, https://arxiv.org/abs/1812.01187

Shapes are written (N, C, H, W) as in blocks.py. networks.py makes these networks by name.
"""

import copy
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from .blocks import BasicBlock, Bottleneck, Projection, ZeroPadShortcut, conv1x1, conv3x3, make_shortcut
from .resnet import ResNet


class PreActBlock(nn.Module):
    """BN and ReLU before each convolution, and nothing after the addition: y = x + F(x).

    (N, in_channels, H, W) -> (N, width, ceil(H / stride), ceil(W / stride)). Where the shape changes, the first BN and
    ReLU come before the two paths part, and a projection has no BN of its own, as in the authors' code.
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int = 1, shortcut: str = "B"):
        super().__init__()
        first = OrderedDict(bn1=nn.BatchNorm2d(in_channels), relu1=nn.ReLU())
        rest = OrderedDict(
            conv1=conv3x3(in_channels, width, stride),
            bn2=nn.BatchNorm2d(width),
            relu2=nn.ReLU(),
            conv2=conv3x3(width, width),
        )
        same_shape = stride == 1 and in_channels == width
        self.before = nn.Identity() if same_shape else nn.Sequential(first)
        self.residual = nn.Sequential(first | rest if same_shape else rest)
        self.shortcut = make_shortcut(shortcut, in_channels, width, stride)
        if isinstance(self.shortcut, Projection):
            self.shortcut = nn.Sequential(self.shortcut[0])  # without its BN

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        return self.residual(x) + self.shortcut(x)


class PreActResNet(ResNet):
    """A ResNet of pre-activation blocks: BN and ReLU come once more after the last block, before the pool.

    Arguments as in `ResNet`. The stem "cifar" is a convolution alone: the first block begins with BN and ReLU.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        if not hasattr(self.stem, "maxpool"):
            self.stem = nn.Sequential(OrderedDict(conv1=self.stem.conv1))
        last = OrderedDict(bn=nn.BatchNorm2d(self.fc.in_features), relu=nn.ReLU(), pool=self.pool)
        self.pool = nn.Sequential(last)


class ResNeXtBottleneck(nn.Module):
    """A bottleneck whose 3x3 convolution works in groups: each group of channels sees only itself.

    (N, in_channels, H, W) -> (N, 4 * width, ceil(H / stride), ceil(W / stride)).

    groups: with one, it is the bottleneck of a wide ResNet. width_per_group: channels of a group where `width` is 64,
        the first stage of ImageNet networks; in proportion elsewhere, as in torchvision.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        shortcut: str = "B",
        groups: int = 32,
        width_per_group: int = 4,
    ):
        super().__init__()
        inner = int(width * width_per_group / 64) * groups
        out_channels = width * self.expansion
        self.residual = nn.Sequential(
            OrderedDict(
                conv1=conv1x1(in_channels, inner),
                bn1=nn.BatchNorm2d(inner),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False),
                bn2=nn.BatchNorm2d(inner),
                relu2=nn.ReLU(),
                conv3=conv1x1(inner, out_channels),
                bn3=nn.BatchNorm2d(out_channels),
            )
        )
        self.shortcut = make_shortcut(shortcut, in_channels, out_channels, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.residual(x) + self.shortcut(x))


class SqueezeExcitation(nn.Module):
    """Each channel times a number between 0 and 1, which depends on the means of all channels of the image.

    (N, channels, H, W) -> the same. reduction: how many times fewer numbers there are in between.
    """

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        few = max(1, channels // reduction)
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.excite = nn.Sequential(nn.Linear(channels, few), nn.ReLU(), nn.Linear(few, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        scale = self.excite(self.squeeze(x).flatten(1))
        return x * scale[:, :, None, None]


class SEBasicBlock(BasicBlock):
    """A basic block whose F ends in squeeze-and-excitation; arguments and shapes as in `BasicBlock`."""

    def __init__(self, in_channels: int, width: int, stride: int = 1, shortcut: str = "B"):
        super().__init__(in_channels, width, stride, shortcut)
        self.residual.se = SqueezeExcitation(width)


class SEBottleneck(Bottleneck):
    """A bottleneck whose F ends in squeeze-and-excitation; arguments and shapes as in `Bottleneck`."""

    def __init__(self, in_channels: int, width: int, stride: int = 1, shortcut: str = "B"):
        super().__init__(in_channels, width, stride, shortcut)
        self.residual.se = SqueezeExcitation(width * self.expansion)


def deep_stem(width: int = 64) -> nn.Sequential:
    """ResNet-D's stem: three 3x3 convolutions instead of the 7x7.

    (N, 3, H, W) -> (N, width, ceil(H / 4), ceil(W / 4)).
    """
    half = width // 2
    return nn.Sequential(
        OrderedDict(
            conv1=conv3x3(3, half, stride=2),
            bn1=nn.BatchNorm2d(half),
            relu1=nn.ReLU(),
            conv2=conv3x3(half, half),
            bn2=nn.BatchNorm2d(half),
            relu2=nn.ReLU(),
            conv3=conv3x3(half, width),
            bn3=nn.BatchNorm2d(width),
            relu3=nn.ReLU(),
            maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        )
    )


def pool_then_project(block: nn.Module, stride: int) -> None:
    """ResNet-D: where a projection would skip pixels, take the mean of each `stride` x `stride` square first."""
    if stride > 1:
        if not isinstance(block.shortcut, Projection):
            raise ValueError("ResNet-D changes projections, and with shortcut='A' there are none: use shortcut='B'.")
        conv, norm = block.shortcut
        conv.stride = (1, 1)
        pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
        block.shortcut = nn.Sequential(OrderedDict(pool=pool, conv=conv, bn=norm))


class BasicBlockD(BasicBlock):
    """A basic block that pools before it projects; arguments and shapes as in `BasicBlock`."""

    def __init__(self, in_channels: int, width: int, stride: int = 1, shortcut: str = "B"):
        super().__init__(in_channels, width, stride, shortcut)
        pool_then_project(self, stride)


class BottleneckD(Bottleneck):
    """A bottleneck that pools before it projects; arguments and shapes as in `Bottleneck`."""

    def __init__(self, in_channels: int, width: int, stride: int = 1, shortcut: str = "B"):
        super().__init__(in_channels, width, stride, shortcut)
        pool_then_project(self, stride)


class StochasticResidual(nn.Sequential):
    """A residual function that each step of training leaves out with probability 1 - survival, for the whole batch.

    When it stays, it is divided by `survival`: its mean over many steps is F(x), which evaluation mode computes.
    """

    def __init__(self, layers: Mapping[str, nn.Module], survival: float = 1.0):
        super().__init__(OrderedDict(layers))
        self.survival = survival

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        if torch.rand(()) >= self.survival:
            return x.new_zeros(())  # added to the shortcut, it changes nothing; and F is not computed
        return super().forward(x) / self.survival

    def extra_repr(self) -> str:
        return f"survival={self.survival:g}"


def stochastic_depth(network: ResNet, survival: float = 0.5) -> ResNet:
    """Let each step of training leave out residual functions at random; changes the network in place and returns it.

    survival: the probability that the last block's F takes part; it falls in equal steps from 1 at the stem.
    Raises ValueError for one that is not above 0 and up to 1.
    """
    if not 0 < survival <= 1:
        raise ValueError(f"survival is a probability above 0 and up to 1, not {survival}.")
    blocks = [module for module in network.modules() if hasattr(module, "residual")]
    for i, block in enumerate(blocks, start=1):
        share = 1 - i / len(blocks) * (1 - survival)
        block.residual = StochasticResidual(dict(block.residual.named_children()), share)
    return network


def dilate(network: ResNet, stages: Sequence[int]) -> ResNet:
    """A copy of the network whose given `stages` (counted from 0) do not shrink the map: dilation instead of stride.

    The weights stay. What the network computed at every second pixel, the copy computes at every pixel: behind a stride
    that is gone, a 3x3 convolution takes its nine pixels twice as far apart.
    Raises ValueError for a stage that does not exist, and for one that pools (ResNet-D).
    """
    if not set(stages) <= set(range(len(network.stages))):
        raise ValueError(f"The network has the stages 0 to {len(network.stages) - 1}; you asked for {list(stages)}.")
    network, spacing = copy.deepcopy(network), 1
    for i, stage in enumerate(network.stages):
        for block in stage:  # its paths begin at the same pixels, and end at the same
            spacing = max([_spread(path, spacing, i in stages) for path in block.children()])
    return network


def _spread(path: nn.Module, spacing: int, without_stride: bool) -> int:
    """Let the layers of a path take pixels `spacing` apart; return how far apart they are behind it."""
    for layer in path.modules():
        if isinstance(layer, nn.AvgPool2d):
            raise ValueError("A pooling cannot be dilated: dilate a network without ResNet-D's shortcuts.")
        if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1):
            layer.dilation = layer.padding = (spacing * layer.dilation[0], spacing * layer.dilation[1])
        if without_stride and isinstance(layer, nn.Conv2d):
            spacing *= layer.stride[0]
            layer.stride = (1, 1)
        if without_stride and isinstance(layer, ZeroPadShortcut):
            spacing *= layer.stride
            layer.stride = 1
    return spacing
