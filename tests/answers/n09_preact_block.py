"""Right and wrong answers to the exercise of notebook 09: see tests/exercises/test_exercises.py."""

import torch
import torch.nn.functional as F
from torch import nn

from resnet_lesson.models.blocks import BasicBlock, conv1x1, conv3x3
from resnet_lesson.models.family import PreActBlock


class Base(nn.Module):
    """A right block with functional ReLUs, for wrong ones to change one part or the forward pass."""

    def __init__(self, in_channels, width, stride=1):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(in_channels), conv3x3(in_channels, width, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), conv3x3(width, width)
        self.shortcut = None
        if stride != 1 or in_channels != width:
            self.shortcut = conv1x1(in_channels, width, stride)

    def activated(self, x):
        return F.relu(self.bn1(x))

    def residual(self, a):
        return self.conv2(F.relu(self.bn2(self.conv1(a))))

    def around(self, x, a):
        return x if self.shortcut is None else self.shortcut(a)

    def forward(self, x):
        a = self.activated(x)
        return self.residual(a) + self.around(x, a)


def replacing(**methods):
    """The right block with other methods."""
    return type("PreActBlock", (Base,), methods)


def parts(**make):
    """The right block with other parts, each made from (in_channels, width, stride) where the right one has it too."""

    def init(self, in_channels, width, stride=1):
        Base.__init__(self, in_channels, width, stride)
        for name, one in make.items():
            if name != "shortcut" or self.shortcut is not None:
                setattr(self, name, one(in_channels, width, stride))

    return replacing(__init__=init)


class Sequential(nn.Module):
    """F in one nn.Sequential where the shape stays; where it changes, without its first two layers."""

    def __init__(self, i, o, s=1):
        super().__init__()
        layers = [nn.BatchNorm2d(i), nn.ReLU(), conv3x3(i, o, s), nn.BatchNorm2d(o), nn.ReLU(), conv3x3(o, o)]
        self.same = s == 1 and i == o
        self.pre = nn.Sequential() if self.same else nn.Sequential(*layers[:2])
        self.body = nn.Sequential(*layers) if self.same else nn.Sequential(*layers[2:])
        self.way_around = nn.Identity() if self.same else nn.Conv2d(i, o, kernel_size=1, stride=s, bias=False)

    def forward(self, x):
        x = self.pre(x)
        return torch.add(self.way_around(x), self.body(x))


class FromBasicBlock(BasicBlock):
    """The basic block's own layers in another order; a first BN of another width, and the projection without its BN."""

    def __init__(self, in_channels, width, stride=1):
        super().__init__(in_channels, width, stride)
        self.residual.bn1 = nn.BatchNorm2d(in_channels)
        if not isinstance(self.shortcut, nn.Identity):
            self.shortcut = self.shortcut[0]

    def forward(self, x):
        f = self.residual
        a = self.relu(f.bn1(x))
        way = x if isinstance(self.shortcut, nn.Identity) else self.shortcut(a)
        return f.conv2(self.relu(f.bn2(f.conv1(a)))) + way


class InPlace(nn.Module):
    """In-place ReLUs on what BN has made, and `out += shortcut`: nobody else reads these. One nn.ReLU for both."""

    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv1 = conv3x3(in_planes, planes, stride)
        self.bn1 = nn.BatchNorm2d(in_planes)
        self.relu = nn.ReLU(inplace=True)
        if stride != 1 or in_planes != planes:
            self.shortcut = nn.Sequential(conv1x1(in_planes, planes, stride))

    def forward(self, x):
        out = self.relu(self.bn1(x))
        shortcut = self.shortcut(out) if hasattr(self, "shortcut") else x
        out = self.conv1(out)
        out = self.conv2(self.relu(self.bn2(out)))
        out += shortcut
        return out


class LinearAtEachPixel(nn.Module):
    """A projection without a convolution."""

    def __init__(self, i, w, s):
        super().__init__()
        self.s, self.mix = s, nn.Linear(i, w, bias=False)

    def forward(self, x):
        return self.mix(x[:, :, :: self.s, :: self.s].movedim(1, -1)).movedim(-1, 1)


def function(in_channels, width, stride=1):
    """A function that returns a module."""
    return PreActBlock(in_channels, width, stride)


class BroughtIn(Base):
    """torchvision's arguments."""

    def __init__(self, inplanes, planes, stride=1, downsample=None):
        super().__init__(inplanes, planes, stride)
        self.shortcut = downsample


def in_place_relu(self, x):
    """The ReLU of the basic block, set before BN: it writes into x."""
    return F.relu(self.bn1(F.relu(x, inplace=True)))


def way(compute, base=Base):
    """A block with compute(self, x, a) as the shortcut where the shape changes."""
    around = {"around": lambda self, x, a: x if self.shortcut is None else compute(self, x, a)}
    return type("PreActBlock", (base,), around)


class Overwritten(Base):
    """The commonest slip: x is overwritten on the way."""

    def forward(self, x):
        x = self.conv1(F.relu(self.bn1(x)))
        x = self.conv2(F.relu(self.bn2(x)))
        return x + (x if self.shortcut is None else self.shortcut(x))


class OneNormTwice(Base):
    """bn2 is made and forgotten."""

    def forward(self, x):
        out = F.relu(self.bn1(x))
        identity = x if self.shortcut is None else self.shortcut(out)
        out = self.conv1(out)
        out = F.relu(self.bn1(out))
        return self.conv2(out) + identity


RIGHT = {
    "preact_block": {
        "the course's": PreActBlock,
        "functional ReLUs": Base,
        "from the basic block": FromBasicBlock,
        "in place, without harm": InPlace,
        "a linear layer at each pixel": parts(shortcut=LinearAtEachPixel),
    }
}

WRONG = {
    "preact_block": {
        "the basic block": (BasicBlock, "this is the block of notebook 03"),
        "x overwritten": (Overwritten, "x is overwritten, so the shortcut does not start at x"),
        "in-place ReLU": (replacing(activated=in_place_relu), "x is changed in place"),
        "a downsample": (BroughtIn, ""),
        "bn1 twice": (OneNormTwice, "one BN for two convolutions"),
    }
}
