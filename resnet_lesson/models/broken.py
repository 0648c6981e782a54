"""A ResNet with one wrong line, for the exercise `find_the_broken_line`, which shows this code with line numbers.

ResNet(9) has the layers, shapes and parameters of ResNet-56. It runs without an error.
"""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, in_channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.zeros = stride, (width - in_channels) // 2

    def shortcut(self, x):
        x = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(x, (0, 0, 0, 0, self.zeros, self.zeros))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y) + self.shortcut(x))
        return torch.relu(y)


class ResNet(nn.Module):
    def __init__(self, n, num_classes=10):
        super().__init__()
        layers = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        channels = 16
        for width in (16, 32, 64):
            for i in range(n):
                layers.append(Block(channels, width, stride=2 if i == 0 and width > 16 else 1))
                channels = width
        self.body = nn.Sequential(*layers)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        return self.fc(self.body(x).mean((2, 3)))
