"""Wrong forward passes that any residual block can have: {kind of mistake: (forward, the mistake's name)}."""

import torch.nn.functional as F
from torch import nn


def in_place(self, x):
    if isinstance(self.shortcut, nn.Identity):
        x += self.residual(x)
        return F.relu(x)
    return F.relu(self.residual(x) + self.shortcut(x))


FORWARDS = {
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
}
