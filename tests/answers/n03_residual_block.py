"""Right and wrong answers to the exercises of notebook 03: see tests/exercises/test_exercises.py."""

import torch
import torch.nn.functional as F
from torch import nn

from resnet_lesson.models.blocks import BasicBlock, Projection, ZeroPadShortcut, conv1x1, conv3x3

from .pieces import Pieces


class TorchvisionStyle(nn.Module):
    """inplanes, planes and a `downsample` that the caller brings, in-place ReLUs, `out += identity`."""

    def __init__(self, inplanes, planes, stride=1, downsample=None):
        super().__init__()
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += identity
        return self.relu(out)


class Functional(nn.Module):
    """Bare parameters, F.conv2d and F.batch_norm, odd names; option A as shortcut."""

    def __init__(self, a, b, s=1):
        super().__init__()
        self.s, self.extra = s, b - a
        self.second = nn.Parameter(torch.randn(b, b, 3, 3) * (2 / 9 / b) ** 0.5)
        self.first = nn.Parameter(torch.randn(b, a, 3, 3) * (2 / 9 / b) ** 0.5)
        for name in "pq":
            self.register_parameter(f"gain_{name}", nn.Parameter(torch.ones(b)))
            self.register_parameter(f"offset_{name}", nn.Parameter(torch.zeros(b)))
            self.register_buffer(f"mean_{name}", torch.zeros(b))
            self.register_buffer(f"var_{name}", torch.ones(b))

    def norm(self, x, name):
        mean, var, gain, offset = (getattr(self, f"{what}_{name}") for what in ("mean", "var", "gain", "offset"))
        return F.batch_norm(x, mean, var, gain, offset, self.training)

    def forward(self, x):
        f = self.norm(F.conv2d(x, self.first, stride=self.s, padding=1), "p").relu()
        f = self.norm(F.conv2d(f, self.second, padding=1), "q")
        return (f + F.pad(x[:, :, :: self.s, :: self.s], (0, 0, 0, 0, 0, self.extra))).clamp(min=0)


class Base(Pieces):
    def make_residual(self, i, w, s):
        return nn.Sequential(conv3x3(i, w, s), nn.BatchNorm2d(w), nn.ReLU(), conv3x3(w, w), nn.BatchNorm2d(w))

    def make_shortcut(self, i, w, s):
        return nn.Identity() if s == 1 and i == w else nn.Sequential(conv1x1(i, w, s), nn.BatchNorm2d(w))


replacing = Base.replacing


def overwrites_x(self, x):
    """The commonest slip."""
    shortcut = self.shortcut
    x = self.residual(x)
    return F.relu(x + shortcut(x))


def keeps_identity(self, x):
    if not hasattr(self, "identity"):
        self.identity = self.shortcut(x)
    return F.relu(self.residual(x) + self.identity)


def in_place(self, x):
    if isinstance(self.shortcut, nn.Identity):
        x += self.residual(x)
        return F.relu(x)
    return F.relu(self.residual(x) + self.shortcut(x))


class CatZeros(nn.Module):
    """Option A with torch.cat and new_zeros, the larger half before."""

    def __init__(self, a, b, s=1):
        super().__init__()
        self.new, self.s = b - a, s

    def forward(self, x):
        n, _, h, w = (x := x[..., :: self.s, :: self.s]).shape
        before = (self.new + 1) // 2
        return torch.cat([x.new_zeros(n, before, h, w), x, x.new_zeros(n, self.new - before, h, w)], 1)


class WriteInto(nn.Module):
    """Option A that writes x into a tensor of zeros."""

    def __init__(self, in_channels, out_channels, stride=1):
        super().__init__()
        self.first, self.channels = (out_channels - in_channels) // 2, out_channels
        self.subsample = nn.AvgPool2d(1, stride)

    def forward(self, x):
        x = self.subsample(x)
        y = torch.zeros(x.shape[0], self.channels, *x.shape[2:], dtype=x.dtype, device=x.device)
        y[:, self.first : self.first + x.shape[1]] = x
        return y


def padding_layers(in_channels, out_channels, stride=1):
    """Option A as layers that torch has: a pooling of one pixel, and padding of three axes."""
    before, after = (out_channels - in_channels) // 2, (out_channels - in_channels + 1) // 2
    return nn.Sequential(nn.MaxPool2d(1, stride), nn.ConstantPad3d((0, 0, 0, 0, before, after), 0.0))


class Lambda(nn.Module):
    """What much code for CIFAR-10 does: a module around a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def planes_by_4(in_planes, planes, stride=1):
    """The line that much code for CIFAR-10 has."""
    return Lambda(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4), "constant", 0))


def option_a(take):
    """A module around a function that takes pixels, and padding."""

    def make(i, o, s=1):
        before = (o - i) // 2
        return Lambda(lambda x: F.pad(take(x, s), (0, 0, 0, 0, before, o - i - before)))

    return make


def joined(new):
    """Option A where `new(x, channels)` makes the added channels."""

    def make(i, o, s=1):
        def forward(x):
            x = x[:, :, ::s, ::s]
            return torch.cat([new(x, (o - i) // 2), x, new(x, o - i - (o - i) // 2)], 1)

        return Lambda(forward)

    return make


class LearnedPadding(nn.Module):
    """Option A with a learned factor on x."""

    def __init__(self, i, o, s=1):
        super().__init__()
        self.pad, self.factor = ZeroPadShortcut(i, o, s), nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.pad(self.factor * x)


class KeepsItsZeros(nn.Module):
    """Zeros that are made for the first images."""

    def __init__(self, i, o, s=1):
        super().__init__()
        self.new, self.s, self.zeros = o - i, s, None

    def forward(self, x):
        x = x[:, :, :: self.s, :: self.s]
        if self.zeros is None:
            self.zeros = x.new_zeros(len(x), self.new, *x.shape[2:])
        before, after = self.zeros[:, : self.new // 2], self.zeros[:, self.new // 2 :]
        return torch.cat([before, x, after], dim=1)


class TwoLayers(nn.Module):
    """A projection whose pixels are sliced before a 1x1 convolution with stride 1."""

    def __init__(self, inplanes, planes, stride=1):
        super().__init__()
        self.conv, self.norm, self.step = conv1x1(inplanes, planes), nn.BatchNorm2d(planes), stride

    def forward(self, x):
        return self.norm(self.conv(x[:, :, :: self.step, :: self.step]))


class LinearAtEachPixel(nn.Module):
    """A projection without any convolution: a linear layer for the channels of each pixel."""

    def __init__(self, i, o, s=1):
        super().__init__()
        self.s, self.mix, self.norm = s, nn.Linear(i, o, bias=False), nn.BatchNorm2d(o)

    def forward(self, x):
        x = x[:, :, :: self.s, :: self.s].permute(0, 2, 3, 1)
        return self.norm(self.mix(x).permute(0, 3, 1, 2))


class FunctionalProjection(nn.Module):
    """A projection with bare parameters."""

    def __init__(self, i, o, s=1):
        super().__init__()
        self.s, self.w = s, nn.Parameter(torch.randn(o, i, 1, 1) / i**0.5)
        self.gain, self.offset = nn.Parameter(torch.ones(o)), nn.Parameter(torch.zeros(o))
        self.register_buffer("mean", torch.zeros(o))
        self.register_buffer("var", torch.ones(o))

    def forward(self, x):
        y = F.conv2d(x, self.w, stride=self.s)
        return F.batch_norm(y, self.mean, self.var, self.gain, self.offset, self.training)


def downsample(i, o, s=1):
    """A function that returns torchvision's `downsample`."""
    return nn.Sequential(nn.Conv2d(i, o, kernel_size=1, stride=s, bias=False), nn.BatchNorm2d(o))


def layers(*make):
    """A projection of layers, each made from (in_channels, out_channels, stride)."""
    return lambda i, o, s=1: nn.Sequential(*(one(i, o, s) for one in make))


def norm(i, o, s):
    return nn.BatchNorm2d(o)


class MadeInForward(nn.Module):
    """A projection whose convolution is new in each pass."""

    def __init__(self, i, o, s=1):
        super().__init__()
        self.shape, self.bn = (i, o, s), nn.BatchNorm2d(o)

    def forward(self, x):
        return self.bn(conv1x1(*self.shape)(x))


def changes(make):
    """A block whose shortcut is `make(in_channels, width, stride)` where the shape changes."""
    return replacing(
        make_shortcut=lambda self, i, w, s: nn.Identity() if s == 1 and i == w else make(i, w, s),
    )


class NormForgotten(Base):
    def forward(self, x):
        return F.relu(self.residual[:4](x) + self.shortcut(x))


class BiasEverywhere(Base):
    """bias=False is left out of all three convolutions."""

    def __init__(self, *shape):
        super().__init__(*shape)
        for conv in [module for module in self.modules() if isinstance(module, nn.Conv2d)]:
            conv.bias = nn.Parameter(torch.zeros(conv.out_channels))


class OwnNorm(nn.Module):
    """BN by hand, as it is often written."""

    def __init__(self, channels):
        super().__init__()
        self.gamma, self.beta = (nn.Parameter(one(1, channels, 1, 1)) for one in (torch.ones, torch.zeros))
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("var", torch.ones(1, channels, 1, 1))

    def forward(self, x):
        mean, var = self.mean, self.var
        if self.training:
            mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True)
            self.mean.lerp_(mean.detach(), 0.1)
            self.var.lerp_(var.detach(), 0.1)
        return self.gamma * (x - mean) / torch.sqrt(var + 1e-5) + self.beta


def residual(i, w, s, act=nn.ReLU, second=conv3x3, norm=nn.BatchNorm2d):
    return nn.Sequential(conv3x3(i, w, s), norm(w), act(), second(w, w), norm(w))


def with_residual(make):
    return replacing(make_residual=lambda self, i, w, s: make(i, w, s))


class FastaiNorm(Base):
    def __init__(self, *shape):
        super().__init__(*shape)
        nn.init.constant_(self.residual[1].bias, 1e-3)
        nn.init.constant_(self.residual[4].bias, 1e-3)


class OneNormForgotten(TorchvisionStyle):
    def forward(self, x):
        f = self.bn1(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(f + (x if self.downsample is None else self.downsample(x)))


class DownsamplesF(TorchvisionStyle):
    def forward(self, x):
        f = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(f + (x if self.downsample is None else self.downsample(f)))


def frozen_kernel(i, o, s=1):
    """Option A as a 1x1 convolution that is never trained."""
    conv = conv1x1(i, o, s).requires_grad_(False)
    nn.init.zeros_(conv.weight)
    for k in range(i):
        conv.weight[(o - i) // 2 + k, k] = 1
    return conv


def normed(value, make=nn.BatchNorm2d):
    """A projection whose BN begins at `value`."""

    def projection(i, o, s=1):
        norm = make(o)
        nn.init.constant_(norm.weight, value)
        return nn.Sequential(conv1x1(i, o, s), norm)

    return projection


class Pooled(TwoLayers):
    def forward(self, x):
        x = F.avg_pool2d(x, self.step, ceil_mode=True) if self.step > 1 else x
        return self.norm(self.conv(x))


class Rectified(FunctionalProjection):
    def forward(self, x):
        return super().forward(x).clamp(min=0)


RIGHT = {
    "basic_block": {
        "a projection of every second pixel": changes(
            lambda i, w, s: nn.Sequential(nn.MaxPool2d(1, s), conv1x1(i, w), nn.BatchNorm2d(w))
        ),
        "the course's": BasicBlock,
        "torchvision's style": TorchvisionStyle,
        "functional, option A": Functional,
        "pieces": Base,
        "BN begins as fastai's does": FastaiNorm,
    },
    "option_a": {
        "the course's": ZeroPadShortcut,
        "torch.cat": CatZeros,
        "written into zeros": WriteInto,
        "layers of torch": padding_layers,
        "a frozen convolution": frozen_kernel,
        "it prints a value": option_a(lambda x, s: print(x.max().item()) or x[:, :, ::s, ::s]),
    },
    "projection": {
        "the course's": Projection,
        "slices, then a convolution": TwoLayers,
        "a linear layer": LinearAtEachPixel,
        "a function with nn.Sequential": downsample,
    },
}

WRONG = {
    "basic_block": {
        "x is overwritten": (
            replacing(forward=overwrites_x),
            "x is overwritten, so the shortcut does not start at x",
        ),
        "bn1 twice, bn2 forgotten": (OneNormForgotten, "one BN for two convolutions"),
        "bn2 is never called": (NormForgotten, "a convolution without BN"),
        "biases everywhere": (BiasEverywhere, "a bias before BN"),
        "and instead of or": (
            replacing(make_shortcut=lambda self, i, w, s: Projection(i, w, s) if s != 1 and i != w else nn.Identity()),
            "projection only where both change",
        ),
        "a 3x3 as the projection": (
            changes(lambda i, w, s: nn.Sequential(conv3x3(i, w, s), nn.BatchNorm2d(w))),
            "the projection is larger than 1x1",
        ),
        "the mean of both": (
            replacing(forward=lambda self, x: F.relu(torch.stack([self.residual(x), self.shortcut(x)]).mean(0))),
            "",
        ),
        "pooling instead of a stride": (
            with_residual(lambda i, w, s: nn.Sequential(nn.AvgPool2d(s, ceil_mode=True), *residual(i, w, 1))),
            "",
        ),
        "new channels of ones": (
            changes(lambda i, w, s: Lambda(lambda x: F.pad(x[..., ::s, ::s], (0, 0, 0, 0, 0, w - i), value=1.0))),
            ["it cannot be copied, pickled or moved"],
        ),
        "a kernel that does not learn": (
            with_residual(lambda i, w, s: residual(i, w, s, second=lambda i, o: conv3x3(i, o).requires_grad_(False))),
            "",
        ),
        "train() returns None": (
            replacing(train=lambda self, mode=True: nn.Module.train(self, mode) and None),
            "train() does not return the block",
        ),
        "BN by hand": (with_residual(lambda i, w, s: residual(i, w, s, norm=OwnNorm)), "BN is written by hand"),
        "identity kept": (
            replacing(forward=keeps_identity),
            ["something is kept from an earlier call", "it cannot be copied, pickled or moved"],
        ),
        "in place": (replacing(forward=in_place), "x is changed in place"),
        "downsample of F(x)": (DownsamplesF, "the shortcut does not start at x"),
        "an object": (BasicBlock(16, 16), "an object instead of a class"),
    },
    "option_a": {
        "copied from elsewhere": (planes_by_4, "copied for a doubling with stride 2"),
        "bilinear resize": (
            option_a(lambda x, s: F.interpolate(x, scale_factor=1 / s, mode="bilinear")),
            "average pooling instead of every second pixel",
        ),
        "the loudest pixel": (
            option_a(lambda x, s: F.max_pool2d(x, s, ceil_mode=True)),
            "",
        ),
        "a learned factor": (LearnedPadding, "the shortcut has parameters"),
        "zeros on the CPU, of 32 bits": (
            joined(lambda x, k: torch.zeros(len(x), k, *x.shape[2:])),
            ["the dtype of x is lost", "the zeros stay on the CPU"],
        ),
        "in place": (option_a(lambda x, s: x.relu_()[:, :, ::s, ::s]), "x is changed in place"),
        "the data alone": (option_a(lambda x, s: x.data[:, :, ::s, ::s]), "the gradient is cut"),
        "zeros of the first call": (KeepsItsZeros, "your code stopped with RuntimeError"),
    },
    "projection": {
        "ResNet-D": (Pooled, "pooling before the convolution"),
        "clamped": (Rectified, "a ReLU on the shortcut"),
        "one group, normed": (
            layers(conv1x1, lambda i, o, s: nn.GroupNorm(1, o)),
            "",
        ),
        "made in forward": (MadeInForward, "the output is random"),
        "the identity where it fits": (
            lambda i, o, s=1: nn.Identity() if s == 1 and i == o else downsample(i, o, s),
            "no projection where the shape stays",
        ),
    },
}
