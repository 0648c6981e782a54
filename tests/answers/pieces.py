"""What the answers to the basic block and the bottleneck share."""

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
