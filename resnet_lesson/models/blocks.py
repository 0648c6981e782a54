"""The building blocks: convolutions, shortcuts, and the plain, basic and bottleneck block.

Shapes are written (N, C, H, W): images in the batch, channels, height, width. "Paper" is He et al.,
*Deep Residual Learning for Image Recognition*, https://arxiv.org/abs/1512.03385.
"""

from collections import OrderedDict

from torch import Tensor, nn

from ..errors import unknown


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps height and width (divided by `stride`).

    It has no bias: batch normalisation follows, and would subtract it again.
    """
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 1x1 convolution: at each pixel, the same linear map from `in_channels` to `out_channels`."""
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


class ZeroPadShortcut(nn.Module):
    """Option A (paper, section 3.3): take every `stride`-th pixel, add channels of zeros.

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)). It has no parameters. Half of the
    zero channels go before the others, and half after.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        if out_channels < in_channels:
            raise ValueError(
                f"Zeros can only add channels, but {in_channels} -> {out_channels} removes some: use shortcut='B'."
            )
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(x, (0, 0, 0, 0, self.before, self.after))

    def extra_repr(self) -> str:
        return f"stride={self.stride}, zero channels: {self.before} before, {self.after} after"


class Projection(nn.Sequential):
    """Options B and C (paper, section 3.3): a 1x1 convolution to the new shape, then BN.

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


def make_shortcut(option: str, in_channels: int, out_channels: int, stride: int = 1) -> nn.Module:
    """The shortcut of a block by the paper's options; always a module. Raises ValueError for any other option.

    "A": zero channels where the shape changes; "B": a projection where it changes; "C": a projection in every block.
    """
    if option not in ("A", "B", "C"):
        raise ValueError(unknown("shortcut option", option, "ABC"))
    if option != "C" and stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if option == "A":
        return ZeroPadShortcut(in_channels, out_channels, stride)
    return Projection(in_channels, out_channels, stride)


class PlainBlock(nn.Module):
    """Two 3x3 convolutions without a shortcut: y = ReLU(H(x)).

    (N, in_channels, H, W) -> (N, width, ceil(H / stride), ceil(W / stride)). Paper, section 3.3, "Plain Network".
    """

    expansion = 1  # times width: the channels of the output

    def __init__(self, in_channels: int, width: int, stride: int = 1):
        super().__init__()
        self.layers = nn.Sequential(
            OrderedDict(
                conv1=conv3x3(in_channels, width, stride),
                bn1=nn.BatchNorm2d(width),
                relu=nn.ReLU(),
                conv2=conv3x3(width, width),
                bn2=nn.BatchNorm2d(width),
            )
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.layers(x))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them: y = ReLU(F(x) + x).

    (N, in_channels, H, W) -> (N, width, ceil(H / stride), ceil(W / stride)). Paper, figure 5 left.
    """

    expansion = 1  # times width: the channels of the output

    def __init__(self, in_channels: int, width: int, stride: int = 1, shortcut: str = "B"):
        super().__init__()
        self.residual = nn.Sequential(
            OrderedDict(
                conv1=conv3x3(in_channels, width, stride),
                bn1=nn.BatchNorm2d(width),
                relu=nn.ReLU(),
                conv2=conv3x3(width, width),
                bn2=nn.BatchNorm2d(width),
            )
        )
        self.shortcut = make_shortcut(shortcut, in_channels, width, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.residual(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up, and a shortcut around them: y = ReLU(F(x) + x).

    (N, in_channels, H, W) -> (N, 4 * width, ceil(H / stride), ceil(W / stride)). Paper, figure 5 right.

    stride_in: which convolution takes the stride: the first, as in the paper ("1x1", also called v1), or the second, as
        in torchvision ("3x3", v1.5), which is a little more work and a little more accurate.
    """

    expansion = 4  # times width: the channels of the output

    def __init__(self, in_channels: int, width: int, stride: int = 1, shortcut: str = "B", stride_in: str = "3x3"):
        super().__init__()
        if stride_in not in ("1x1", "3x3"):
            raise ValueError(f"stride_in must be '1x1' (paper, v1) or '3x3' (torchvision, v1.5), not {stride_in!r}.")
        stride_1x1, stride_3x3 = (stride, 1) if stride_in == "1x1" else (1, stride)
        out_channels = width * self.expansion
        self.residual = nn.Sequential(
            OrderedDict(
                conv1=conv1x1(in_channels, width, stride_1x1),
                bn1=nn.BatchNorm2d(width),
                relu1=nn.ReLU(),
                conv2=conv3x3(width, width, stride_3x3),
                bn2=nn.BatchNorm2d(width),
                relu2=nn.ReLU(),
                conv3=conv1x1(width, out_channels),
                bn3=nn.BatchNorm2d(out_channels),
            )
        )
        self.shortcut = make_shortcut(shortcut, in_channels, out_channels, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.residual(x) + self.shortcut(x))
