"""Right and wrong answers to the exercises of notebook 05: see tests/test_exercises.py."""

import re
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

from resnet_lesson.models import resnet
from resnet_lesson.models.blocks import BasicBlock
from resnet_lesson.models.weights import from_torchvision as rename

# make_stage


def in_a_loop(block, in_channels, width, depth, stride=1):
    stage = nn.Sequential()
    for i in range(depth):
        stage.append(block(in_channels, width, stride if i == 0 else 1))
        in_channels = width * block.expansion
    return stage


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


def staging(first=None, other=None, count=lambda depth: depth - 1, pack=lambda blocks: nn.Sequential(*blocks)):
    """A function that makes a stage; each piece can be made wrong. first, other: (in, width, stride, expansion) ->
    arguments of the first block and of the others."""
    first = first or (lambda i, w, s, e: (i, w, s))
    other = other or (lambda i, w, s, e: (w * e, w))

    def make_stage(block, in_channels, width, depth, stride=1):
        made = in_channels, width, stride, block.expansion
        return pack([block(*first(*made))] + [block(*other(*made)) for _ in range(count(depth))])

    return make_stage


def repeated(block, in_channels, width, depth, stride=1):
    return nn.Sequential(block(in_channels, width, stride), *[block(width * block.expansion, width)] * (depth - 1))


def last_strides(block, in_channels, width, depth, stride=1):
    strides = [1] * (depth - 1) + [stride]
    ins = [in_channels] + [width * block.expansion] * (depth - 1)
    return nn.Sequential(*(block(i, width, s) for i, s in zip(ins, strides, strict=True)))


def second_strides(block, in_channels, width, depth, stride=1):
    blocks = [
        block(in_channels if i == 0 else width * block.expansion, width, (1, stride, 1, 1, 1)[i]) for i in range(depth)
    ]
    return nn.Sequential(*blocks)


class LooseBlocks(nn.Module):
    def __init__(self, block, in_channels, width, depth, stride=1):
        super().__init__()
        self.blocks = [block(in_channels, width, stride)]
        self.blocks += [block(width * block.expansion, width) for _ in range(depth - 1)]

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def always_basic(block, in_channels, width, depth, stride=1):
    return resnet.make_stage(BasicBlock, in_channels, width, depth, stride)


def with_map(block, in_channels, width, depth, stride=1):
    others = depth - 1
    ins = [in_channels] + [width * block.expansion] * others
    return nn.Sequential(*map(block, ins, [width] * depth, [stride] + [1] * others))


class NotCalled(OwnModule):
    def forward(self, x):
        return x


def torchvision_habit(block, in_channels, width, depth, stride=1):
    downsample = None
    if stride != 1 or in_channels != width * block.expansion:
        downsample = nn.Conv2d(in_channels, width * block.expansion, 1, stride, bias=False)
    blocks = [block(in_channels, width, stride, downsample)]
    return nn.Sequential(*blocks, *(block(width * block.expansion, width) for _ in range(depth - 1)))


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
        parts.append(in_a_loop(block, channels, width, depth, 1 if width == 64 else 2))
        channels = width * block.expansion
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(channels, num_classes))


class Pieces(nn.Module):
    """A right network in pieces, for the wrong ones below to change one piece each."""

    widths, strides = (64, 128, 256, 512), (1, 2, 2, 2)

    def __init__(self, block, depths, num_classes=1000):
        super().__init__()
        self.stem = self.make_stem()
        stages, channels = [], 64
        for depth, width, stride in zip(self.order(depths), self.widths, self.strides, strict=True):
            stages.append(self.make_stage(block, channels, width, depth, stride))
            channels = self.after(channels, width, block)
        self.stages = self.pack(stages)
        self.head = self.make_head(channels, width, block, num_classes)

    def make_stem(self):
        return nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )

    def order(self, depths):
        return depths

    def make_stage(self, *made):
        return resnet.make_stage(*made)

    def after(self, channels, width, block):
        return width * block.expansion

    def pack(self, stages):
        return nn.Sequential(*stages)

    def make_head(self, channels, width, block, num_classes):
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(x)


def replacing(**pieces):
    return type("ResNet", (Pieces,), {"extra_repr": lambda self: "", **pieces})


def stem(*layers):
    return replacing(make_stem=lambda self: nn.Sequential(*(layer() for layer in layers)))


def squeezes(self, x):
    return Pieces.forward(self, x).squeeze()


def head(make):
    """make(channels, num_classes) -> layers after the last stage."""
    return replacing(make_head=lambda self, c, w, b, n: nn.Sequential(*make(c, n)))


def average():
    return nn.AdaptiveAvgPool2d(1), nn.Flatten()


def conv():
    return nn.Conv2d(3, 64, 7, 2, 3, bias=False)


def norm():
    return nn.BatchNorm2d(64)


def pool():
    return nn.MaxPool2d(3, 2, 1)


def no_maxpool_but_stride(self):
    return nn.Sequential(conv(), norm(), nn.ReLU())


# load_torchvision


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


def renaming(change, keep=lambda key: True, tensor=lambda t: t):
    """The right function with its keys changed once more by `change`, some left out, tensors changed."""

    def from_torchvision(weights):
        right = rename(weights)
        return {change(key): tensor(value) for key, value in right.items() if keep(key)}

    return from_torchvision


def same_key(key):
    return key


def pops(weights):
    for key in list(weights):
        weights.update(rename({key: weights.pop(key)}))
    return weights


def replaces_everywhere(weights):
    right = rename(weights)
    return {key.replace("residual.bn1", "residual.stem.bn1"): value for key, value in right.items()}


def only_two(key):
    return re.sub(r"residual\.(conv3|bn3)", r"\1", key)


def one_digit(weights):
    return {
        (key if re.match(r"layer\d\.\d\d", key) else new): value
        for (key, value), new in zip(weights.items(), rename(weights), strict=True)
    }


def shifted(weights):
    right = rename(weights)
    values = dict(zip(right, weights.values(), strict=True))
    for key in right:
        if key.endswith("running_mean"):  # mean and variance exchanged
            var = key.replace("running_mean", "running_var")
            values[key], values[var] = values[var], values[key]
    return values


def zeroes(weights):
    new = rename(weights)
    for tensor in weights.values():
        tensor.zero_()
    return new


def by_sorted_keys(weights):
    return dict(zip(rename(weights), [weights[key] for key in sorted(weights)], strict=True))


def returns_in_the_loop(weights):
    for key, tensor in rename(weights).items():
        return {key: tensor}


def pops_of_a_copy(weights):
    """A copy whose keys are replaced one by one."""
    mine = dict(weights)
    for old, new in zip(weights, rename(weights), strict=True):
        mine[new] = mine.pop(old)
    return mine


RIGHT = {
    "make_stage": {
        "the course's": resnet.make_stage,
        "a loop that appends": in_a_loop,
        "a list of strides": list_of_strides,
        "a module of its own": OwnModule,
        "recursive": recursive,
        "keywords and names": named,
        "map": with_map,
        "pieces": staging(),
    },
    "assemble_resnet": {
        "the course's": resnet.ResNet,
        "all by hand": ByHand,
        "a function with one nn.Sequential": one_sequential,
        "pieces": Pieces,
        "a lazy linear layer": head(lambda c, n: (*average(), nn.LazyLinear(n))),
        "average pooling and 1x1 convolution": head(
            lambda c, n: (nn.AdaptiveAvgPool2d((1, 1)), nn.Conv2d(c, n, 1), nn.Flatten())
        ),
    },
    "load_torchvision": {
        "the course's": rename,
        "split at the dots": by_parts,
        "substitutions and clones": by_substitution,
        "pop of a copy": pops_of_a_copy,
    },
}

WRONG = {
    "make_stage": {
        "stride everywhere": (staging(other=lambda i, w, s, e: (w * e, w, s)), "the stride in every block"),
        "stride last": (last_strides, "the stride in the last block"),
        "stride in the second": (second_strides, "the stride in the wrong blocks"),
        "no stride": (staging(first=lambda i, w, s, e: (i, w)), "the stride is ignored"),
        "depth others": (staging(count=lambda depth: depth), "one block too many"),
        "depth - 2 others": (staging(count=lambda depth: max(0, depth - 2)), "one block too few"),
        "always two": (staging(count=lambda depth: 1), "the wrong number of blocks"),
        "no expansion": (staging(other=lambda i, w, s, e: (w, w)), "the expansion is forgotten"),
        "in_channels again": (staging(other=lambda i, w, s, e: (i, w)), "the input channels are not updated"),
        "width first": (staging(first=lambda i, w, s, e: (w, w, s)), "the first block ignores in_channels"),
        "doubled again": (staging(other=lambda i, w, s, e: (2 * w, w)), "the wrong input channels"),
        "width times expansion": (
            staging(first=lambda i, w, s, e: (i, w * e, s), other=lambda i, w, s, e: (w * e, w * e)),
            "the expansion is multiplied into the width",
        ),
        "half width": (staging(other=lambda i, w, s, e: (w * e, w // 2)), "the wrong width"),
        "the same object": (repeated, "the same block several times"),
        "a list": (staging(pack=list), "a list instead of nn.Sequential"),
        "a ModuleList": (staging(pack=nn.ModuleList), "a list instead of nn.Sequential"),
        "returns nothing": (staging(pack=lambda blocks: None), "not a module"),
        "a Python list inside": (LooseBlocks, "the blocks do not belong to the stage"),
        "always BasicBlock": (always_basic, "the given block is ignored"),
        "a dropout and a ReLU at the end": (
            lambda *made: nn.Sequential(resnet.make_stage(*made), nn.Dropout(0.5), nn.ReLU()),
            "more than blocks",
        ),
        "empty": (lambda *made: nn.Sequential(), "no block was made"),
        "blocks not called": (lambda *made: NotCalled(*made), "the blocks do not run"),
        "the class": (
            lambda block, i, w, depth, s=1: nn.Sequential(*[block for _ in range(depth)]),
            "the class itself instead of a block",
        ),
        "no star": (staging(pack=nn.Sequential), "a list inside nn.Sequential"),
        "torchvision's habit": (torchvision_habit, "the block gets a fourth argument"),
    },
    "assemble_resnet": {
        "depths turned round": (replacing(order=lambda self, d: d[::-1]), "the depths in the wrong order"),
        "ResNet-34 for ever": (replacing(order=lambda self, d: (3, 4, 6, 3)), "the depths are ignored"),
        "one more": (replacing(order=lambda self, d: [n + 1 for n in d]), "one block too many in each stage"),
        "one less": (
            replacing(order=lambda self, d: [max(1, n - 1) for n in d]),
            "one block too few in each stage",
        ),
        "one more in the first": (
            replacing(order=lambda self, d: [d[0] + 1, *d[1:]]),
            "the wrong number of blocks",
        ),
        "shared blocks": (
            replacing(make_stage=lambda self, *a: repeated(*a)),
            "the same block several times",
        ),
        "CIFAR's widths": (replacing(widths=(16, 32, 64, 128)), "the wrong widths"),
        "stride in stage 1": (replacing(strides=(2, 2, 2, 2)), "stride 2 in the first stage"),
        "no strides": (replacing(strides=(1, 1, 1, 1)), "no stage has a stride"),
        "three strides first": (replacing(strides=(2, 2, 2, 1)), "the wrong strides"),
        "channels forgotten": (replacing(after=lambda self, c, w, b: c), "the channels are not updated"),
        "expansion forgotten": (replacing(after=lambda self, c, w, b: w), "the next block forgets the expansion"),
        "512 inputs": (
            replacing(make_head=lambda self, c, w, b, n: nn.Sequential(*average(), nn.Linear(512, n))),
            "the linear layer forgets the expansion",
        ),
        "3x3 stem": (
            stem(lambda: nn.Conv2d(3, 64, 3, 1, 1, bias=False), norm, nn.ReLU, pool),
            "a 3x3 stem",
        ),
        "5x5 stem": (
            stem(lambda: nn.Conv2d(3, 64, 5, 2, 2, bias=False), norm, nn.ReLU, pool),
            "another kernel in the stem",
        ),
        "stem stride 1": (
            stem(lambda: nn.Conv2d(3, 64, 7, 1, 3, bias=False), norm, nn.ReLU, pool),
            "a stem without stride",
        ),
        "no padding": (
            stem(lambda: nn.Conv2d(3, 64, 7, 2, bias=False), norm, nn.ReLU, pool),
            "a stem without padding",
        ),
        "a bias": (stem(lambda: nn.Conv2d(3, 64, 7, 2, 3), norm, nn.ReLU, pool), "a bias in the stem"),
        "no BN": (stem(conv, nn.ReLU, pool), "no BN in the stem"),
        "no ReLU": (stem(conv, norm, pool), "no ReLU in the stem"),
        "ReLU first": (stem(conv, nn.ReLU, norm, pool), "ReLU before BN in the stem"),
        "no max-pool": (stem(conv, norm, nn.ReLU), "no max-pool"),
        "2x2 max-pool": (stem(conv, norm, nn.ReLU, lambda: nn.MaxPool2d(2, 2)), "another max-pool"),
        "max-pool without padding": (
            stem(conv, norm, nn.ReLU, lambda: nn.MaxPool2d(3, 2, ceil_mode=True)),
            "a max-pool without padding",
        ),
        "ReLU6": (stem(conv, norm, nn.ReLU6, pool), "another function instead of ReLU in the stem"),
        "dropout": (
            head(lambda c, n: (*average(), nn.Dropout(0.5), nn.Linear(c, n))),
            "a dropout in the network",
        ),
        "squeeze": (replacing(forward=squeezes), "a batch of one image loses its axis"),
        "flatten without pooling": (
            head(lambda c, n: (nn.Flatten(), nn.Linear(49 * c, n))),
            "it takes one image size only",
        ),
        "a 7x7 average pool": (
            head(lambda c, n: (nn.AvgPool2d(7), nn.Flatten(), nn.Linear(c, n))),
            "it takes one image size only",
        ),
        "no flatten": (
            head(lambda c, n: (nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, n, 1))),
            "not one row of logits for each image",
        ),
        "global max-pool": (
            head(lambda c, n: (nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(c, n))),
            "no average at the end",
        ),
        "softmax": (head(lambda c, n: (*average(), nn.Linear(c, n), nn.Softmax(1))), "a softmax at the end"),
        "log-softmax": (
            head(lambda c, n: (*average(), nn.Linear(c, n), nn.LogSoftmax(1))),
            "a log-softmax at the end",
        ),
        "ReLU after fc": (head(lambda c, n: (*average(), nn.Linear(c, n), nn.ReLU())), "a ReLU after the linear layer"),
        "1000 classes": (head(lambda c, n: (*average(), nn.Linear(c, 1000))), "the number of classes is ignored"),
        "a list of stages": (replacing(pack=list), "the blocks do not belong to the network"),
        "another block": (
            replacing(make_stage=lambda self, block, *a: resnet.make_stage(BasicBlock, *a)),
            "the given block is ignored",
        ),
    },
    "load_torchvision": {
        "from 1": (
            renaming(lambda key: re.sub(r"^stages\.(\d)", lambda m: f"stages.{int(m[1]) + 1}", key)),
            "the stages are counted from 1",
        ),
        "layer left": (renaming(lambda key: key.replace("stages.", "layer")), "the layer keys keep their names"),
        "downsample left": (
            renaming(lambda key: key.replace("shortcut", "downsample")),
            "the downsample keys keep their names",
        ),
        "stem left": (renaming(lambda key: key.removeprefix("stem.")), "the stem is not renamed"),
        "stem.fc": (renaming(lambda key: key.replace("fc.", "stem.fc.")), "the fc keys are renamed"),
        "residual in the shortcut": (
            renaming(lambda key: key.replace("shortcut", "residual.shortcut")),
            "the shortcut keys have a residual. too many",
        ),
        "no residual": (renaming(lambda key: key.replace("residual.", "")), "the prefix residual. is missing"),
        "bn1 everywhere": (replaces_everywhere, "a block's conv1 is taken for the stem"),
        "parameters only": (
            renaming(same_key, keep=lambda key: "running" not in key and "num_batches" not in key),
            "BN's running statistics are dropped",
        ),
        "no counters": (
            renaming(same_key, keep=lambda key: "num_batches" not in key),
            "the batch counters are dropped",
        ),
        "conv3 left": (renaming(only_two), "the third convolution is forgotten"),
        "one digit": (one_digit, "block numbers with two digits"),
        "transposed": (
            renaming(same_key, tensor=lambda t: t.mT if t.ndim > 1 else t),
            "a tensor is transposed or reshaped",
        ),
        "half precision": (renaming(same_key, tensor=torch.Tensor.half), "tensors of another type"),
        "mean and variance exchanged": (shifted, "tensors under other names"),
        "sorted keys": (by_sorted_keys, "tensors under other names"),
        "written into": (zeroes, "the given tensors are changed"),
        "empty": (lambda weights: {}, "the dictionary is empty"),
        "return in the loop": (returns_in_the_loop, "the dictionary has one key only"),
        "a misspelled key": (renaming(lambda key: key.replace("stem.conv1", "stem.conv")), "it does not load"),
        "changed in place": (pops, "the given dictionary is changed"),
        "pairs": (lambda weights: list(rename(weights).items()), "no dictionary is returned"),
    },
}
