"""Right and wrong answers to the exercises of notebook 01: see tests/test_exercises.py."""

import torch.nn.functional as F
from torch import nn

from resnet_lesson.blocks import PlainBlock, conv3x3

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


class AlwaysTraining(PlainBlock):
    def forward(self, x):
        return super().forward(x) * (1 if self.training else 0.5)


class LambdaInside(PlainBlock):
    def __init__(self, *args):
        super().__init__(*args)
        self.act = lambda x: x


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
        "names as people write them": curves("plain-20", "ResNet-56", "Plain 56", "ResNet 20", "nobody"),
        "capitals": curves("PLAIN20", "RESNET56", "PLAIN56", "RESNET20", "None"),
    },
}

WRONG = {
    "plain_block": {
        "no ReLU at the end": (lambda i, w, s=1: plain_block(i, w, s, end=None), "missing ReLU at the end"),
        "no ReLU between": (
            lambda i, w, s=1: plain_block(i, w, s, middle=nn.Identity),
            "missing ReLU before convolution 2",
        ),
        "bias left on": (
            lambda i, w, s=1: plain_block(i, w, s, first=nn.Conv2d(i, w, 3, s, 1)),
            "a bias before BN",
        ),
        "stride in both": (
            lambda i, w, s=1: plain_block(i, w, s, second=conv3x3(w, w, s)),
            "the stride is on both convolutions",
        ),
        "stride in the second": (
            lambda i, w, s=1: plain_block(i, w, s, first=conv3x3(i, w), second=conv3x3(w, w, s)),
            "the stride is on the second convolution",
        ),
        "no padding": (
            lambda i, w, s=1: plain_block(i, w, s, first=nn.Conv2d(i, w, 3, s, bias=False)),
            "padding forgotten",
        ),
        "5x5": (
            lambda i, w, s=1: plain_block(i, w, s, first=nn.Conv2d(i, w, 5, s, 2, bias=False)),
            "not two 3x3 convolutions",
        ),
        "channels change late": (
            lambda i, w, s=1: nn.Sequential(
                conv3x3(i, i, s), nn.BatchNorm2d(i), nn.ReLU(), conv3x3(i, w), nn.BatchNorm2d(w), nn.ReLU()
            ),
            "the channels change in the second convolution",
        ),
        "BN after the ReLU": (swapped_bn, "BN after the ReLU instead of before it"),
        "no BN after the first": (
            lambda i, w, s=1: nn.Sequential(conv3x3(i, w, s), nn.ReLU(), conv3x3(w, w), nn.BatchNorm2d(w), nn.ReLU()),
            "a convolution without BN",
        ),
        "a shortcut": (WithShortcut, "a shortcut in a plain block"),
        "in place": (InPlace, "x is changed in place"),
        "dropout": (WithDropout, "the output is random"),
        "another scale in eval": (AlwaysTraining, "train and eval differ by more than BN"),
        "a lambda inside": (LambdaInside, "it cannot be copied, pickled or moved"),
    },
    "reading_curves": {
        "plain pair swapped": (curves(A="plain56", C="plain20"), "plain-20 and plain-56 are swapped"),
        "residual pair swapped": (curves(B="resnet20", D="resnet56"), "ResNet-20 and ResNet-56 are swapped"),
        "kinds swapped": (
            curves("resnet20", "plain56", "resnet56", "plain20"),
            "plain and residual networks are confused",
        ),
        "one name twice": (curves(A="plain56"), "one name for two curves"),
        "an unknown name": (curves(A="vgg19"), "not one of the four names"),
        "a part left open": (curves(D=...), "not answered yet"),
        "a letter that is not there": ({**curves(), "E": "plain20"}, "a part that is not asked for"),
        "degradation taken for overfitting": (curves(overfits="C"), "degradation taken for overfitting"),
        "another curve overfits": (curves(overfits="B"), "overfitting where there is none"),
    },
}
