"""What the answers to the basic block and the bottleneck share: a right block in pieces, and wrong forward passes."""

import torch.nn.functional as F
from torch import nn


class Pieces(nn.Module):
    """A right block, once make_residual and make_shortcut are given, for wrong ones to change one piece each."""

    def __init__(self, in_channels, width, stride=1):
        super().__init__()
        self.residual = self.make_residual(in_channels, width, stride)
        self.shortcut = self.make_shortcut(in_channels, width, stride)

    def forward(self, x):
        return F.relu(self.residual(x) + self.shortcut(x))

    @classmethod
    def replacing(cls, **methods):
        """A class that differs by the given methods."""
        return type(cls.__name__, (cls,), methods)


def train_inside(self, x):
    self.residual.train()
    return F.relu(self.residual(x) + self.shortcut(x))


def keep_identity(self, x):
    if not hasattr(self, "identity"):
        self.identity = self.shortcut(x)
    return F.relu(self.residual(x) + self.identity)


def in_place(self, x):
    if isinstance(self.shortcut, nn.Identity):
        x += self.residual(x)
        return F.relu(x)
    return F.relu(self.residual(x) + self.shortcut(x))


FORWARDS = {  # kind of mistake: (forward, the mistake's name)
    "forgotten shortcut": (lambda self, x: F.relu(self.residual(x)), "forgotten shortcut"),
    "ReLU before the add": (
        lambda self, x: F.relu(self.residual(x)) + self.shortcut(x),
        "ReLU before the addition instead of after it",
    ),
    "ReLU before and after the add": (
        lambda self, x: F.relu(F.relu(self.residual(x)) + self.shortcut(x)),
        "a ReLU at the end of F",
    ),
    "no ReLU after the add": (
        lambda self, x: self.residual(x) + self.shortcut(x),
        "missing ReLU after the addition",
    ),
    "ReLU6 at the end": (
        lambda self, x: F.relu6(self.residual(x) + self.shortcut(x)),
        "another function than ReLU",
    ),
    "in place": (in_place, "x is changed in place"),
    "detached shortcut": (
        lambda self, x: F.relu(self.residual(x) + self.shortcut(x).detach()),
        "the gradient of the shortcut is cut",
    ),
    "dropout": (
        lambda self, x: F.relu(F.dropout(self.residual(x), 0.5, self.training) + self.shortcut(x)),
        "the output is random",
    ),
    "train() in forward": (train_inside, "BN uses the batch in eval()"),
    "identity kept": (keep_identity, "something is kept from an earlier call"),
}
