"""Right and wrong answers to the exercises of notebook 05: see answers/__init__.py.

Most of the wrong ones are a right one with a slip in its text, "right -> wrong".
"""

import re
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

from resnet_lesson.models import resnet
from resnet_lesson.models.weights import from_torchvision as rename


def written(code, *slips):
    """What the code defines, after the slips."""
    for slip in slips:
        right, wrong = slip.split(" -> ")
        assert right in code, slip
        code = code.replace(right, wrong)
    names = {"nn": nn, "torch": torch, "F": F}
    exec(code, names)
    return names.popitem()[1]


# make_stage

LOOP = """
def make_stage(block, in_channels, width, depth, stride=1):
    blocks = []
    for i in range(depth):
        blocks.append(block(in_channels, width, stride if i == 0 else 1))
        in_channels = width * block.expansion
    return nn.Sequential(*blocks)
"""


def list_of_strides(block, in_planes, planes, num_blocks, stride=1):
    """As in the well-known CIFAR code."""
    layers = []
    for s in [stride] + [1] * (num_blocks - 1):
        layers.append(block(in_planes, planes, stride=s))
        in_planes = planes * block.expansion
    return nn.Sequential(*layers)


class OwnModule(nn.Module):
    def __init__(self, block, in_channels, width, depth, stride=1):
        super().__init__()
        self.entrance = block(in_channels, width, stride)
        self.others = nn.ModuleList(block(block.expansion * width, width) for _ in range(1, depth))

    def forward(self, x):
        x = self.entrance(x)
        for other in self.others:
            x = other(x)
        return x


def recursive(block, in_channels, width, depth, stride=1):
    one = block(in_channels, width, stride)
    if depth == 1:
        return nn.Sequential(one)
    return nn.Sequential(one, recursive(block, width * block.expansion, width, depth - 1))


def named(block, in_channels, width, depth, stride=1):
    blocks = OrderedDict(first=block(in_channels=in_channels, width=width, stride=stride))
    for i in range(1, depth):
        blocks[f"block{i}"] = block(in_channels=width * block.expansion, width=width, stride=1)
    return nn.Sequential(blocks)


class LooseBlocks(OwnModule):
    def __init__(self, *given):
        super().__init__(*given)
        others = list(self.others)
        del self.others
        self.others = others


# assemble_resnet


class ByHand(nn.Module):
    """Everything in one class, torchvision's names, a ModuleList, functional pooling."""

    def __init__(self, block, layers, num_classes=1000):
        super().__init__()
        self.inplanes = 64
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layers = nn.ModuleList()
        for i, n in enumerate(layers):
            for j in range(n):
                self.layers.append(block(self.inplanes, 64 << i, 2 if i and not j else 1))
                self.inplanes = (64 << i) * block.expansion
        self.fc = nn.Linear(self.inplanes, num_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu_(self.bn1(self.conv1(x))), 3, 2, 1)
        for layer in self.layers:
            x = layer(x)
        return self.fc(x.mean(dim=(-2, -1)))


def one_sequential(block, depths, num_classes=1000):
    """A function that returns an nn.Sequential, pool before ReLU in the stem, a 1x1 convolution as classifier."""
    parts, channels = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.MaxPool2d(3, 2, 1), nn.ReLU()], 64
    for depth, width in zip(depths, (64, 128, 256, 512), strict=True):
        parts.append(resnet.make_stage(block, channels, width, depth, 1 if width == 64 else 2))
        channels = width * block.expansion
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(channels, num_classes))


STAGES = """
class ResNet(nn.Module):
    def __init__(self, block, depths, num_classes=1000):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        e = block.expansion
        self.layer1 = self.stage(block, 64, 64, depths[0], 1)
        self.layer2 = self.stage(block, 64 * e, 128, depths[1], 2)
        self.layer3 = self.stage(block, 128 * e, 256, depths[2], 2)
        self.layer4 = self.stage(block, 256 * e, 512, depths[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * e, num_classes)

    def stage(self, block, channels, width, depth, stride):
        blocks = [block(channels, width, stride)]
        for _ in range(1, depth):
            blocks.append(block(width * block.expansion, width))
        return nn.Sequential(*blocks)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = torch.flatten(self.avgpool(x), 1)
        return self.fc(x)
"""
POOL = "torch.flatten(self.avgpool(x), 1) -> "


class Counting(nn.Module):
    """It counts the channels in the class, so that the next network begins where this one ends."""

    channels = 64

    def __init__(self, block, depths, num_classes=1000):
        super().__init__()
        self.stem = resnet.make_stem("imagenet", 64)
        self.stages = nn.ModuleList()
        for i, depth in enumerate(depths):
            self.stages.append(resnet.make_stage(block, Counting.channels, 64 * 2**i, depth, 2 if i else 1))
            Counting.channels = 64 * 2**i * block.expansion
        self.fc = nn.Linear(Counting.channels, num_classes)

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.fc(x.mean((2, 3)))


# load_torchvision


class OnlyTheHead(nn.Module):
    """Begun at the end: there are no blocks yet, and the shapes do not fit."""

    def __init__(self, block, depths, num_classes=1000):
        super().__init__()
        self.fc = nn.Linear(512, num_classes)

    def forward(self, x):
        return self.fc(x)


def by_parts(state):
    """Splitting at the dots."""
    ours = OrderedDict()
    for key, value in state.items():
        first, *rest = key.split(".")
        if first.startswith("layer"):
            block, name, *more = rest
            middle = ["shortcut"] if name == "downsample" else ["residual", name]
            ours[".".join(["stages", str(int(first[5:]) - 1), block, *middle, *more])] = value
        elif first == "fc":
            ours[key] = value
        else:
            ours["stem." + key] = value
    return ours


def by_substitution(weights):
    """Regular expressions one after the other, on clones."""
    new = {}
    for key in weights:
        name = re.sub(r"^(conv1|bn1)\.", r"stem.\1.", key)
        name = re.sub(r"^layer(\d)\.(\d+)\.(?!downsample)", lambda m: f"stages.{int(m[1]) - 1}.{m[2]}.residual.", name)
        name = re.sub(r"^layer(\d)\.(\d+)\.downsample", lambda m: f"stages.{int(m[1]) - 1}.{m[2]}.shortcut", name)
        new[name] = weights[key].clone()
    return new


REPLACE = """
def from_torchvision(weights):
    ours = {}
    for key, tensor in weights.items():
        for i in range(1, 5):
            key = key.replace(f"layer{i}.", f"stages.{i - 1}.")
        key = key.replace("downsample", "shortcut")
        if key.startswith("stages") and "shortcut" not in key:
            stages, i, j, rest = key.split(".", 3)
            key = f"{stages}.{i}.{j}.residual.{rest}"
        if key.startswith(("conv1", "bn1")):
            key = "stem." + key
        ours[key] = tensor
    return ours
"""


def by_position(weights):
    """The eighth letter is the block."""
    ours = {}
    for key, tensor in weights.items():
        if key.startswith("layer"):
            stage, block, rest = int(key[5]) - 1, key[7], key[9:]
            rest = rest.replace("downsample", "shortcut") if "downsample" in rest else "residual." + rest
            key = f"stages.{stage}.{block}.{rest}"
        elif not key.startswith("fc"):
            key = "stem." + key
        ours[key] = tensor
    return ours


def in_place(weights):
    for key in list(weights):
        weights.update(rename({key: weights.pop(key)}))
    return weights


RIGHT = {
    "make_stage": {
        "the course's": resnet.make_stage,
        "a list of strides": list_of_strides,
        "a module of its own": OwnModule,
        "recursive": recursive,
        "keywords and names": named,
    },
    "assemble_resnet": {
        "the course's": resnet.ResNet,
        "all by hand": ByHand,
        "a function with one nn.Sequential": one_sequential,
        "stages written out": written(STAGES),
        "pooling by view": written(STAGES, f"{POOL}x.view(x.shape[0], x.shape[1], -1).mean(-1)"),
    },
    "load_torchvision": {
        "the course's": rename,
        "split at the dots": by_parts,
        "substitutions and clones": by_substitution,
        "one replacement after the other": written(REPLACE),
    },
}  # fmt: skip

STAGE_SLIPS = {
    "stride if i == 0 else 1 -> stride": "the stride in every block",
    "stride if i == 0 else 1 -> 2 if i == 0 else 1": "the stride is hard-coded",
    "stride=1 -> stride": "stride has no default",
    "width * block.expansion -> width": "the expansion is forgotten",
    "width * block.expansion -> 4 * width": "",
    "width * block.expansion -> 2 * in_channels": "",
    "range(depth) -> range(depth + 1)": "one block too many",
    "nn.Sequential(*blocks) -> nn.Sequential(*blocks, nn.Dropout(0.5))": "more than blocks",
    "stride=1):\n    blocks = [] -> stride=1, blocks=[]):": "it remembers earlier calls",
    "return nn. -> nn.": "not a module",
}
NETWORK_SLIPS = {
    "64, 64, depths[0], 1 -> 64, 64, depths[0], 2": "stride 2 in the first stage",
    "depths[1], 2 -> depths[1], 1": "",
    "block.expansion, width)) -> block.expansion, width, stride))": "the stride in every block of a stage",
    "nn.Linear(512 * e -> nn.Linear(512": "the linear layer forgets the expansion",
    "kernel_size=7 -> kernel_size=5": "",
    "nn.BatchNorm2d(64) -> nn.BatchNorm2d(64, momentum=0.0)": "",
    POOL + "x.flatten(2).sum(2)": "",
    POOL + "F.avg_pool2d(x, x.size(-1)).flatten(1)": "your code stopped with RuntimeError",
    POOL + "F.avg_pool2d(x, 7).flatten(1)": "it takes one image size only",
    POOL + "x.mean((2, 3)).mean(0).repeat(len(x), 1)": "",
    POOL + "self.avgpool(x).squeeze()": "a batch of one image loses its axis",
    POOL + "F.dropout(self.avgpool(x).flatten(1), 0.2, self.training)": "the output is random",
    POOL + "x[:, :, 0, 0]": "",
    "x = self.layer4 -> with torch.no_grad(): x = self.layer4": "",
    "self.fc(x) -> F.softmax(self.fc(x), dim=-1)": "a softmax at the end",
    "def forward -> def train(self, mode=True): super().train(mode)\n    def forward": "train() returns nothing",
}
KEY_SLIPS = {
    "{i - 1}. -> {i}.": "the stages are counted from 1",
    '"downsample", "shortcut" -> "downsample", "downsample"': "the shortcut keys begin with residual",
    ' and "shortcut" not in key -> ': "the shortcut keys begin with residual",
    "residual.{rest} -> {rest}": "the prefix residual. is missing",
    "ours[key] = -> if 'running' not in key: ours[key] =": "BN's running statistics are dropped",
    'key = "stem." + key -> key = "stem_" + key': "",
    "    return ours ->         return ours": "the dictionary has one key only",
    "= tensor -> = tensor.numpy()": "not a tensor",
    "(weights):\n    ours = {} -> (weights, ours={}):": "it remembers earlier calls",
}
WRONG = {
    "make_stage": {slip: (written(LOOP, slip), mistake) for slip, mistake in STAGE_SLIPS.items()}
    | {
        "two slips": (
            written(LOOP, "i == 0 -> True", "width * block.expansion -> width"),
            ["the expansion is forgotten", "the stride in every block"],
        ),
        "a Python list inside": (LooseBlocks, "the layers are in a Python list"),
    },
    "assemble_resnet": {slip: (written(STAGES, slip), mistake) for slip, mistake in NETWORK_SLIPS.items()}
    | {
        "no blocks yet": (OnlyTheHead, "the given block does not run"),
        "channels counted in the class": (Counting, "it remembers the network before"),
        "expansion forgotten": (
            written(STAGES, "64 * e -> 64", "128 * e -> 128", "256 * e -> 256"), "the next block forgets the expansion",
        ),
        "two slips": (
            written(STAGES, "depths[0], 1 -> depths[0], 2", "self.fc(x) -> self.fc(x).softmax(1)"),
            ["stride 2 in the first stage", "a softmax at the end"],
        ),
    },
    "load_torchvision": {slip: (written(REPLACE, slip), mistake) for slip, mistake in KEY_SLIPS.items()}
    | {
        "the eighth letter": (by_position, "block numbers with two digits"),
        "changed in place": (in_place, "the given dictionary is changed"),
    },
}  # fmt: skip
