"""Right and wrong answers to the exercises of notebook 04: see tests/exercises/test_exercises.py."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import Bottleneck as TorchvisionBottleneck

from resnet_lesson import exercises
from resnet_lesson.models import blocks
from resnet_lesson.models.blocks import Bottleneck, conv1x1, conv3x3

from .pieces import Pieces


class PaperStyle(Bottleneck):
    """v1: the stride in the first 1x1."""

    def __init__(self, in_channels, width, stride=1):
        super().__init__(in_channels, width, stride, stride_in="1x1")


class OddNames(nn.Module):
    """Declared back to front, shortcut added from the left, ReLU by clamp; BN parameters in modules, kernels bare."""

    def __init__(self, a, b, s=1):
        super().__init__()
        self.s, self.fits = s, s == 1 and a == 4 * b
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in (4 * b, b, b))
        self.up = nn.Parameter(torch.randn(4 * b, b, 1, 1) / b**0.5)
        self.work = nn.Parameter(torch.randn(b, b, 3, 3) / (9 * b) ** 0.5)
        self.down = nn.Parameter(torch.randn(b, a, 1, 1) / a**0.5)
        if not self.fits:
            self.bridge = nn.Sequential(nn.Conv2d(a, 4 * b, 1, s, bias=False), nn.BatchNorm2d(4 * b))

    def forward(self, x):
        last, middle, first = self.norms
        f = first(F.conv2d(x, self.down)).relu()
        f = middle(F.conv2d(F.pad(f, (1, 1, 1, 1)), self.work, stride=self.s)).relu()
        return ((x if self.fits else self.bridge(x)) + last(F.conv2d(f, self.up))).clamp(min=0)


class Base(Pieces):
    def make_residual(self, i, w, s):
        return residual(i, w, s)

    def make_shortcut(self, i, w, s):
        return nn.Identity() if s == 1 and i == 4 * w else projection(i, 4 * w, s)


def projection(i, o, s):
    return nn.Sequential(conv1x1(i, o, s), nn.BatchNorm2d(o))


def residual(i, w, s, *, down=None, middle=None, up=None, act1=nn.ReLU, act2=nn.ReLU, norm2=nn.BatchNorm2d):
    """The right F with some layers changed."""
    down, middle, up = down or conv1x1(i, w), middle or conv3x3(w, w, s), up or conv1x1(w, 4 * w)
    return nn.Sequential(
        down, nn.BatchNorm2d(down.out_channels), act1(),
        middle, norm2(middle.out_channels), act2(),
        up, nn.BatchNorm2d(up.out_channels),
    )  # fmt: skip


replacing = Base.replacing


def with_residual(make):
    return replacing(make_residual=lambda self, i, w, s: make(i, w, s))


def with_shortcut(make):
    return replacing(make_shortcut=lambda self, i, w, s: make(i, w, s))


class ExpansionForgotten(Base):
    """All right, but for an output of `width` channels."""

    def make_residual(self, i, w, s):
        return residual(i, w, s, up=conv1x1(w, w))

    def make_shortcut(self, i, w, s):
        return nn.Identity() if s == 1 and i == w else projection(i, w, s)


class OneNorm(nn.Module):
    """bn1 after the first and after the second convolution."""

    def __init__(self, i, w, s=1):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = conv1x1(i, w), conv3x3(w, w, s), conv1x1(w, 4 * w)
        self.bn1, self.bn3 = nn.BatchNorm2d(w), nn.BatchNorm2d(4 * w)
        self.shortcut = Base.make_shortcut(self, i, w, s)

    def forward(self, x):
        f = F.relu(self.bn1(self.conv1(x)))
        f = F.relu(self.bn1(self.conv2(f)))
        return F.relu(self.bn3(self.conv3(f)) + self.shortcut(x))


def counts(**changes):
    """Right numbers, some of them changed."""
    return {**COUNTS, **changes}


def solution_parts():
    """What the solution's own code hands to check()."""

    class Stand:
        @staticmethod
        def check(**parts):
            found.update(parts)

    found = {}
    exec(exercises.cost_by_hand.solution(), {"ex": Stand})
    return found


COUNTS = dict(basic_parameters=73984, basic_macs=231211008, bottleneck_parameters=70400, bottleneck_macs=218365952)
WEIGHTS, WEIGHTS_3X3 = 256 * 64 + 9 * 64 * 64 + 64 * 256, 2 * 9 * 64 * 64

RIGHT = {
    "bottleneck": {
        "the course's (v1.5)": Bottleneck,
        "the paper's stride (v1)": PaperStyle,
        "torchvision's own": TorchvisionBottleneck,
        "odd names, functional": OddNames,
        "pieces": Base,
    },
    "cost_by_hand": {
        "the course's": solution_parts(),
        "by w": dict(
            basic_parameters=18 * 64**2 + 4 * 64,
            basic_macs=18 * 64**2 * 56**2,
            bottleneck_parameters=17 * 64**2 + 12 * 64,
            bottleneck_macs=17 * 64**2 * 56**2,
        ),
        "as tensors and arrays": counts(basic_parameters=torch.tensor(73984), basic_macs=np.array(231211008)),
        "as floats": {part: float(number) for part, number in COUNTS.items()},
    },
}

WRONG = {
    "bottleneck": {
        "expansion forgotten": (ExpansionForgotten, "expansion forgotten"),
        "half the width in the middle": (
            with_residual(
                lambda i, w, s: residual(
                    i, w, s, down=conv1x1(i, w // 2), middle=conv3x3(w // 2, w // 2, s), up=conv1x1(w // 2, 4 * w)
                )
            ),
            "",
        ),
        "compared with width": (
            with_shortcut(lambda i, w, s: nn.Identity() if s == 1 and i == w else projection(i, 4 * w, s)),
            "the input channels are compared with width, not with 4 * width",
        ),
        "zeros instead of a projection": (
            with_shortcut(lambda i, w, s: blocks.make_shortcut("A", i, 4 * w, s)),
            "zeros instead of a projection",
        ),
        "two mistakes at once": (
            replacing(
                make_shortcut=lambda self, i, w, s: projection(i, 4 * w, s),
                make_residual=lambda self, i, w, s: residual(i, w, s, act2=nn.Identity),
            ),
            "",
        ),
        "one BN twice": (OneNorm, "one BN for two convolutions"),
        "an object": (Bottleneck(16, 4), "an object instead of a class"),
    },
    "cost_by_hand": {
        "either of two slips": (
            counts(bottleneck_parameters=11 * 64 * 64 + 6 * 64),
            "3 instead of 3 * 3, or 64 channels at the ends",
        ),
        "biases as well": (counts(basic_parameters=WEIGHTS_3X3 + 2 * 64 + 4 * 64), "biases are counted"),
        "BN of 64 channels, or half of BN": (
            counts(bottleneck_parameters=WEIGHTS + 3 * 128),
            "BN with one parameter per channel, or each BN with 64 channels, or biases are counted",
        ),
        "one slip in each block": (
            counts(basic_parameters=WEIGHTS_3X3, bottleneck_macs=WEIGHTS),
            ["BN is left out", "height and width are not counted"],
        ),
        "in millions": (counts(basic_macs=231.2), "in thousands or millions"),
        "rounded": (counts(basic_macs=231_000_000), "not exact"),
        "out of the blue": (counts(basic_parameters=12345), ""),
        "56^2": (counts(basic_macs=2 * 9 * 64 * 64 * 56 ^ 2), "a ^ for a power"),
        "a comma": (counts(basic_parameters=(73, 984)), "a comma inside a number"),
        "a part left open": (counts(bottleneck_macs=...), "not answered yet"),
        "a part that is not there": (counts(basic_flops=1), "a part that is not asked for"),
    },
}
