"""The building blocks: convolutions, shortcuts, and the plain, basic and bottleneck block.

Shapes are written (N, C, H, W): images in the batch, channels, height, width. "Paper" is He et al.,
*Deep Residual Learning for Image Recognition*, https://arxiv.org/abs/1512.03385.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]

SHORTCUTS = {
    "A": "identity; zero channels where the width grows (no parameters)",
    "B": "identity; a 1x1 projection where the shape changes",
    "C": "a 1x1 projection in every block",
}


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps height and width (divided by `stride`).

    It has no bias: batch normalisation follows, and would subtract it again.
    """
    return nn.Conv2d(
        in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, groups=groups, bias=False
    )


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 1x1 convolution: at each pixel, the same linear map from `in_channels` to `out_channels`."""
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


class ZeroPadShortcut(nn.Module):
    """Option A (paper, section 3.3): take every `stride`-th pixel, add channels of zeros.

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)). It has no
    parameters and no convolution. The zero channels go half before and half after the others.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        if out_channels < in_channels:
            raise ValueError(
                f"Zero-padding can only add channels, and {in_channels} -> {out_channels} takes some away: "
                "use shortcut='B'."
            )
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.before, self.after))

    def extra_repr(self) -> str:
        return f"stride={self.stride}, zero channels: {self.before} before, {self.after} after"


class Projection(nn.Sequential):
    """Options B and C (paper, section 3.3): a 1x1 convolution to the new shape, then normalisation.

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, norm_layer: Norm = nn.BatchNorm2d):
        super().__init__(conv1x1(in_channels, out_channels, stride), norm_layer(out_channels))


def make_shortcut(
    option: str, in_channels: int, out_channels: int, stride: int = 1, norm_layer: Norm = nn.BatchNorm2d
) -> nn.Module:
    """The shortcut of a block by the paper's option "A", "B" or "C"; always a module.

    Raises ValueError for any other option.
    """
    if option not in SHORTCUTS:
        known = "; ".join(f"'{name}' ({meaning})" for name, meaning in SHORTCUTS.items())
        raise ValueError(f"There is no shortcut option {option!r}. Choose {known}.")
    same_shape = stride == 1 and in_channels == out_channels
    if option != "C" and same_shape:
        return nn.Identity()
    if option == "A":
        return ZeroPadShortcut(in_channels, out_channels, stride)
    return Projection(in_channels, out_channels, stride, norm_layer)


def two_convolutions(in_channels: int, width: int, stride: int, norm_layer: Norm) -> nn.Sequential:
    """conv-BN-ReLU-conv-BN: what a plain block computes, and a basic block's residual function.

    The ReLUs are not in-place, so that a hook sees each layer's output as it was.
    """
    return nn.Sequential(
        OrderedDict(
            conv1=conv3x3(in_channels, width, stride),
            bn1=norm_layer(width),
            relu=nn.ReLU(),
            conv2=conv3x3(width, width),
            bn2=norm_layer(width),
        )
    )


def only_plain_options(block: str, groups: int, width_per_group: int, dilation: int, stride_in: str) -> None:
    """Raise ValueError, in the name of `block`, for an option that only a Bottleneck has."""
    if (groups, width_per_group, dilation, stride_in) != (1, 64, 1, "3x3"):
        raise ValueError(
            f"{block} has groups=1, width_per_group=64, dilation=1 and stride_in='3x3' only; groups={groups}, "
            f"width_per_group={width_per_group}, dilation={dilation}, stride_in={stride_in!r} need the Bottleneck "
            "block (ResNet-50, 101, 152 and their relatives)."
        )


class PlainBlock(nn.Module):
    """Two 3x3 convolutions without a shortcut: y = ReLU(H(x)).

    (N, in_channels, H, W) -> (N, width, ceil(H / stride), ceil(W / stride)). `shortcut` is accepted,
    so that plain and residual networks are built alike, and ignored. Paper, section 3.3, "Plain
    Network".
    """

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        *,
        shortcut: str = "A",
        groups: int = 1,
        width_per_group: int = 64,
        dilation: int = 1,
        norm_layer: Norm = nn.BatchNorm2d,
        stride_in: str = "3x3",
    ):
        super().__init__()
        only_plain_options("PlainBlock", groups, width_per_group, dilation, stride_in)
        self.layers = two_convolutions(in_channels, width, stride, norm_layer)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.layers(x))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them: y = ReLU(F(x) + x).

    (N, in_channels, H, W) -> (N, width, ceil(H / stride), ceil(W / stride)). Paper, figure 5 left.
    """

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        *,
        shortcut: str = "B",
        groups: int = 1,
        width_per_group: int = 64,
        dilation: int = 1,
        norm_layer: Norm = nn.BatchNorm2d,
        stride_in: str = "3x3",
    ):
        super().__init__()
        only_plain_options("BasicBlock", groups, width_per_group, dilation, stride_in)
        self.residual = two_convolutions(in_channels, width, stride, norm_layer)
        self.shortcut = make_shortcut(shortcut, in_channels, width, stride, norm_layer)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.residual(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up, and a shortcut around them: y = ReLU(F(x) + x).

    (N, in_channels, H, W) -> (N, 4 * width, ceil(H / stride), ceil(W / stride)). Paper, figure 5 right.

    `stride_in` says which convolution takes the stride: "1x1" is the paper's first one ("v1"),
    "3x3" is what torchvision and most code since do ("v1.5"; a little more work, a little more
    accurate). `groups` and `width_per_group` make it a ResNeXt or wide block.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        *,
        shortcut: str = "B",
        groups: int = 1,
        width_per_group: int = 64,
        dilation: int = 1,
        norm_layer: Norm = nn.BatchNorm2d,
        stride_in: str = "3x3",
    ):
        super().__init__()
        if stride_in not in ("1x1", "3x3"):
            raise ValueError(f"stride_in is '1x1' (the paper, v1) or '3x3' (torchvision, v1.5), not {stride_in!r}.")
        inner = int(width * width_per_group / 64) * groups
        out_channels = width * self.expansion
        stride_1x1, stride_3x3 = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.residual = nn.Sequential(
            OrderedDict(
                conv1=conv1x1(in_channels, inner, stride_1x1),
                bn1=norm_layer(inner),
                relu1=nn.ReLU(),
                conv2=conv3x3(inner, inner, stride_3x3, groups, dilation),
                bn2=norm_layer(inner),
                relu2=nn.ReLU(),
                conv3=conv1x1(inner, out_channels),
                bn3=norm_layer(out_channels),
            )
        )
        self.shortcut = make_shortcut(shortcut, in_channels, out_channels, stride, norm_layer)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.residual(x) + self.shortcut(x))
