"""Right and wrong answers to the exercises of notebook 01: see tests/exercises/test_exercises.py."""

import torch
import torch.nn.functional as F
from torch import nn

from resnet_lesson.models.blocks import PlainBlock, conv3x3

from .n03_residual_block import Functional


class OneByOne(nn.Module):
    def __init__(self, c_in, c_out, s=1):
        super().__init__()
        self.b = nn.BatchNorm2d(c_out)
        self.z = nn.Conv2d(c_out, c_out, kernel_size=3, padding="same", bias=False)
        self.a = nn.Conv2d(c_in, c_out, kernel_size=3, padding=1, stride=s, bias=False)
        self.y = nn.BatchNorm2d(c_out)

    def forward(self, x):
        x = self.a(x)
        x = F.relu(self.b(x), inplace=True)
        return F.relu(self.y(self.z(x)), inplace=True)


class FunctionalPlain(Functional):
    """Bare parameters."""

    def forward(self, x):
        f = self.norm(F.conv2d(x, self.first, stride=self.s, padding=1), "p").relu()
        return self.norm(F.conv2d(f, self.second, padding=1), "q").relu()


def plain_block(i, w, s=1, *, middle=nn.ReLU, end=nn.ReLU, first=None, second=None):
    """A sequence with some layers changed; an end of None is left out."""
    layers = [first or conv3x3(i, w, s), nn.BatchNorm2d(w), middle(), second or conv3x3(w, w), nn.BatchNorm2d(w)]
    return nn.Sequential(*layers, *([end()] if end else []))


class WithShortcut(PlainBlock):
    def forward(self, x):
        y = self.layers(x)
        return self.relu(y + x if y.shape == x.shape else y)


class InPlace(PlainBlock):
    def forward(self, x):
        return self.relu(self.layers(x.add_(1)))


class WithDropout(PlainBlock):
    def forward(self, x):
        return F.dropout(super().forward(x), 0.3, self.training)


class OneNorm(nn.Module):
    def __init__(self, i, w, s=1):
        super().__init__()
        self.conv1, self.conv2, self.bn = conv3x3(i, w, s), conv3x3(w, w), nn.BatchNorm2d(w)

    def forward(self, x):
        return F.relu(self.bn(self.conv2(F.relu(self.bn(self.conv1(x))))))


class InAList(nn.Module):
    def __init__(self, i, w, s=1):
        super().__init__()
        self.layers = list(plain_block(i, w, s))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class FirstHalfCut(OneNorm):
    def __init__(self, i, w, s=1):
        super().__init__(i, w, s)
        self.bn2 = nn.BatchNorm2d(w)

    def forward(self, x):
        with torch.no_grad():
            x = F.relu(self.bn(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)))


class Keeping(PlainBlock):
    def forward(self, x):
        if not hasattr(self, "first"):
            self.first = self.layers(x)
        return F.relu(self.first)


def swapped_bn(i, w, s=1):
    return nn.Sequential(conv3x3(i, w, s), nn.ReLU(), nn.BatchNorm2d(w), conv3x3(w, w), nn.BatchNorm2d(w), nn.ReLU())


def curves(A="plain20", B="resnet56", C="plain56", D="resnet20", overfits="none"):
    return dict(A=A, B=B, C=C, D=D, overfits=overfits)


RIGHT = {
    "plain_block": {
        "the course's": PlainBlock,
        "attributes in odd order": OneByOne,
        "functional": FunctionalPlain,
        "a function with nn.Sequential": plain_block,
    },
    "reading_curves": {
        "names as build takes them": curves(),
        "names as people write them": curves("plain-20", "ResNet-56", "Plain 56", "ResNet 20", "None."),
        "with underscores and capitals": curves("PLAIN_20", "RESNET_56", "PLAIN_56", "RESNET_20", "NONE"),
    },
}

WRONG = {
    "plain_block": {
        "BN after the ReLU": (swapped_bn, "BN after the ReLU instead of before it"),
        "a shortcut": (WithShortcut, "a shortcut in a plain block"),
        "in place": (InPlace, "x is changed in place"),
        "dropout": (WithDropout, "the output is random"),
        "one BN twice": (OneNorm, "one BN for two convolutions"),
        "layers in a list": (InAList, "the layers are in a Python list"),
        "no gradient in the first half": (FirstHalfCut, ""),
        "kept from the first call": (Keeping, "something is kept from an earlier call"),
    },
    "reading_curves": {
        "both pairs swapped": (
            curves("plain-56", "ResNet-20", "plain-20", "ResNet-56"),
            ["plain-20 and plain-56 are swapped", "ResNet-20 and ResNet-56 are swapped"],
        ),
        "one name twice": (curves(A="plain56"), "one name for two curves"),
        "an unknown name": (curves(A="vgg19"), "not one of the four names"),
        "a part left open": (curves(D=...), "not answered yet"),
        "degradation": (curves(overfits="c"), "degradation taken for overfitting"),
        "another one": (curves(overfits="A"), "overfitting where there is none"),
        "not sure": (curves(overfits="not sure"), "not one of the choices"),
    },
}
