"""Right and wrong answers to the exercise `the_dose` of notebook 07."""

import torch
from torch import nn

from resnet_lesson.models.blocks import BasicBlock, ZeroPadShortcut

ORDER = [0, 0.25, 0.5, 0.75, 0.9, 1]


class Inherits(BasicBlock):
    def __init__(self, in_channels, width, stride=1, dose=1.0):
        super().__init__(in_channels, width, stride)
        self.alpha = dose

    def forward(self, x):
        identity = self.shortcut(x)
        out = self.residual(x)
        out = out + self.alpha * identity
        return self.relu(out)


class FromScratch(nn.Module):
    """Zero padding, functions instead of modules, a dose of 0 on a way of its own."""

    def __init__(self, in_channels, width, stride=1, dose=1.0):
        super().__init__()
        self.first = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.other_norm = nn.BatchNorm2d(width)
        same = stride == 1 and in_channels == width
        self.around = nn.Identity() if same else ZeroPadShortcut(in_channels, width, stride)
        self.register_buffer("dose", torch.tensor(float(dose)))

    def forward(self, x):
        out = self.other_norm(self.second(nn.functional.relu(self.norm(self.first(x)))))
        if self.dose:
            out += self.dose * self.around(x)
        return out.relu()


class Lerp(Inherits):
    def forward(self, x):
        return torch.add(self.residual(x), self.shortcut(x), alpha=self.alpha).clamp(min=0)


class OnF(Inherits):
    def forward(self, x):
        return torch.relu(self.alpha * self.residual(x) + self.shortcut(x))


class InPlace(Inherits):
    def forward(self, x):
        out = self.residual(x)
        x *= self.alpha
        return torch.relu(out + self.shortcut(x))


class Inside(Inherits):
    def forward(self, x):
        return torch.relu(self.residual(x) + self.shortcut(x * self.alpha))


class Global(BasicBlock):
    def __init__(self, in_channels, width, stride=1, dose=1.0):
        global ALPHA
        super().__init__(in_channels, width, stride)
        ALPHA = dose

    def forward(self, x):
        return torch.relu(self.residual(x) + ALPHA * self.shortcut(x))


class OtherName(Inherits):
    def __init__(self, in_channels, width, stride=1, alpha=1.0):
        super().__init__(in_channels, width, stride, alpha)


RIGHT = {
    "the_dose": {
        "inherits": {"block": Inherits, "order": ORDER},
        "from scratch, seeds that overlap the other way": {
            "block": FromScratch,
            "order": (0.25, 0.0, 0.5, 0.75, 1.0, 0.9),
        },
        "torch.add": {"block": Lerp, "order": tuple(ORDER)},
    }
}
WRONG = {
    "the_dose": {
        "on F": ({"block": OnF, "order": ORDER}, "the dose weighs F"),
        "in place": ({"block": InPlace, "order": ORDER}, "x is changed in place"),
        "before the projection": ({"block": Inside, "order": ORDER}, "the projection undoes the dose"),
        "a global": ({"block": Global, "order": ORDER}, "one dose for all blocks"),
        "another name": ({"block": OtherName, "order": ORDER}, "your code stopped with TypeError"),
        "the block alone": ({"block": Inherits, "order": ...}, "not answered yet"),
        "the other way": ({"block": Inherits, "order": ORDER[::-1]}, "fewest errors first"),
        "half is enough": ({"block": Inherits, "order": [0, 0.25, 0.75, 0.9, 1, 0.5]}, "two doses the wrong way round"),
    }
}
