"""Networks by name: thin factories that fill in the tables of the papers.

`build("resnet56")` makes any network of the course; `names()` lists them.
"""

import re
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from ..errors import unknown
from ..machine import checked_seed
from .blocks import BasicBlock, Bottleneck, PlainBlock
from .family import (
    BasicBlockD,
    BottleneckD,
    PreActBlock,
    PreActResNet,
    ResNeXtBottleneck,
    SEBasicBlock,
    SEBottleneck,
    deep_stem,
    stochastic_depth,
)
from .resnet import ResNet

IMAGENET = {  # depth: (block, blocks in each stage); paper, table 1
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}
SQUEEZED = {BasicBlock: SEBasicBlock, Bottleneck: SEBottleneck}
POOLED = {BasicBlock: BasicBlockD, Bottleneck: BottleneckD}


def imagenet_resnet(depth: int, block: type[nn.Module] | None = None, **options) -> ResNet:
    """ResNet-18, 34, 50, 101 or 152 as in table 1, or with another block; `options` as in `ResNet`."""
    own_block, depths = IMAGENET[depth]
    return ResNet(block or own_block, depths, **options)


def imagenet_resnet_d(depth: int, **options) -> ResNet:
    """ResNet-D of that depth, with its own blocks and stem."""
    return imagenet_resnet(depth, POOLED[IMAGENET[depth][0]], stem=deep_stem(), **options)


def cifar_resnet(
    depth: int, num_classes: int = 10, *, block: type[nn.Module] = BasicBlock, kind: type[ResNet] = ResNet, **options
) -> ResNet:
    """The paper's section 4.2: 6n + 2 layers in three stages, 16, 32 and 64 wide; `options` as in `ResNet`.

    Takes (N, 3, H, W) images of any size from 4x4; the paper's are 32x32.
    """
    n = (depth - 2) // 6
    return kind(block, (n, n, n), (16, 32, 64), (1, 2, 2), "cifar", num_classes, **options)


def lab10_6(num_classes: int = 10, **options) -> ResNet:
    """The bottleneck ResNet of the study post "Lab 10-6": 50 layers for 32x32 images, no max-pool."""
    return ResNet(Bottleneck, (3, 4, 6, 3), (16, 32, 64, 128), (1, 1, 2, 2), "cifar", num_classes, **options)


def stochastic_resnet(depth: int, *, survival: float = 0.5, **options) -> ResNet:
    """A CIFAR ResNet with stochastic depth (family.py); `survival` is the survival probability of its last block."""
    return stochastic_depth(cifar_resnet(depth, **options), survival)


def wide_resnet(depth: int, factor: int, num_classes: int = 10, **options) -> PreActResNet:
    """WRN-depth-factor (https://arxiv.org/abs/1605.07146): 6n + 4 layers, the stages `factor` times as wide."""
    n, widths = (depth - 4) // 6, (16 * factor, 32 * factor, 64 * factor)
    return PreActResNet(PreActBlock, (n, n, n), widths, (1, 2, 2), "cifar", num_classes, stem_width=16, **options)


def cifar_resnext(
    depth: int, groups: int, width_per_group: int, num_classes: int = 10, *, first: int = 64, **options
) -> ResNet:
    """ResNeXt-depth, groups x width d (https://arxiv.org/abs/1611.05431): 9n + 2 layers for CIFAR.

    first: the width of the first stage.
    """
    n, widths = (depth - 2) // 9, (first, 2 * first, 4 * first)
    options |= {"groups": groups, "width_per_group": width_per_group}
    return ResNet(ResNeXtBottleneck, (n, n, n), widths, (1, 2, 2), "cifar", num_classes, **options)


FIXED: dict[str, Callable[..., ResNet]] = {
    **{f"resnet{depth}": partial(imagenet_resnet, depth) for depth in IMAGENET},
    **{f"plain{depth}": partial(imagenet_resnet, depth, PlainBlock) for depth in (18, 34)},
    "wide_resnet50_2": partial(imagenet_resnet, 50, ResNeXtBottleneck, groups=1, width_per_group=128),
    "wide_resnet101_2": partial(imagenet_resnet, 101, ResNeXtBottleneck, groups=1, width_per_group=128),
    "resnext50_32x4d": partial(imagenet_resnet, 50, ResNeXtBottleneck, groups=32, width_per_group=4),
    "resnext101_32x8d": partial(imagenet_resnet, 101, ResNeXtBottleneck, groups=32, width_per_group=8),
    "resnext101_64x4d": partial(imagenet_resnet, 101, ResNeXtBottleneck, groups=64, width_per_group=4),
    **{f"seresnet{depth}": partial(imagenet_resnet, depth, SQUEEZED[block]) for depth, (block, _) in IMAGENET.items()},
    **{f"resnet{depth}d": partial(imagenet_resnet_d, depth) for depth in IMAGENET},
}
IMAGENET_NAMES = tuple(FIXED)
FIXED |= {
    "lab10_6": lab10_6,
    # ResNeXt of ResNet-20's widths, layers and multiply-adds: 8 groups, 4 channels each in the first stage.
    "narrow_resnext20": partial(cifar_resnext, 20, groups=8, width_per_group=16, first=16),
}

# Networks for 32x32 images, by the pattern of their names: how to make them, how many layers they gain with one more
# block in each stage, and how many other layers they have.
CIFAR: dict[str, tuple[Callable[..., ResNet], int, int]] = {
    r"resnet(\d+)": (partial(cifar_resnet, shortcut="A"), 6, 2),
    r"plain(\d+)": (partial(cifar_resnet, block=PlainBlock), 6, 2),
    r"preresnet(\d+)": (partial(cifar_resnet, block=PreActBlock, kind=PreActResNet, shortcut="A"), 6, 2),
    r"seresnet(\d+)": (partial(cifar_resnet, block=SEBasicBlock, shortcut="A"), 6, 2),
    r"resnet(\d+)d": (partial(cifar_resnet, block=BasicBlockD), 6, 2),
    r"sdresnet(\d+)": (partial(stochastic_resnet, shortcut="A"), 6, 2),
    r"wrn(\d+)_(\d+)": (wide_resnet, 6, 4),
    r"resnext(\d+)_(\d+)x(\d+)d": (cifar_resnext, 9, 2),
}
CIFAR_DEPTHS = (20, 32, 44, 56, 110, 1202)  # the paper's
OTHERS = ("preresnet110", "wrn28_10", "resnext29_8x64d", "sdresnet110", "seresnet20", "resnet20d")


def names() -> list[str]:
    """The networks that `build` makes by name; of the later CIFAR networks, which exist in many depths, one each."""
    return [*FIXED, *(f"{kind}{depth}" for kind in ("resnet", "plain") for depth in CIFAR_DEPTHS), *OTHERS]


def factory(name: str) -> Callable[..., ResNet]:
    """The function that makes the network of that name. Raises ValueError for a name that does not exist."""
    if name in FIXED:
        return FIXED[name]
    for pattern, (make, each, others) in CIFAR.items():
        if match := re.fullmatch(pattern, str(name)):
            numbers = [int(number) for number in match.groups()]
            if numbers[0] >= each + others and numbers[0] % each == others and min(numbers) > 0:
                return partial(make, *numbers)
            depths = ", ".join(str(each * n + others) for n in (1, 2, 4, 6))
            hint = f" The others with {each}n + {others} layers exist too: {depths}, ..."
            raise ValueError(unknown("network", name, names()) + hint)
    raise ValueError(unknown("network", name, names()))


def build(name: str, *, seed: int | None = None, **options) -> ResNet:
    """Make a network by name, with the paper's defaults; `options` as in `ResNet`.

    "resnet18", "resnet50", "plain34", "resnext50_32x4d", ... are ImageNet networks;
    "resnet20", "plain56", ... with 6n + 2 layers are CIFAR networks (except 50 and 152, which name ImageNet networks);
    "preresnet110", "wrn28_10", "resnext29_8x64d", ... are later relatives (family.py); `names()` lists more.
    With a `seed`, the weights are always the same, and torch's own random state is left as it was.
    Raises ValueError for a name or option that does not exist.
    """
    make, seed = factory(name), None if seed is None else checked_seed(seed)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs too
        try:
            network = make(**options)
        except TypeError as error:  # an option that the network or its blocks do not have
            raise ValueError(f"{name} cannot be built with these options: {error}.") from error
    json_types = (bool, int, float, str, type(None))
    written = {key: v if isinstance(v, json_types) else repr(v) for key, v in sorted(options.items())}
    network.spec = {"name": name, "seed": seed, "options": written}
    return network


def label(name: str) -> str:
    """A network's name as people write it.

    >>> label("plain56"), label("resnet20")
    ('plain-56', 'ResNet-20')
    """
    return re.sub(r"^(plain|resnet)(\d+)$", lambda m: f"{'ResNet' if m[1] == 'resnet' else 'plain'}-{m[2]}", name)
