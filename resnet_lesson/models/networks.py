"""Networks by name: thin factories that fill in the tables of the papers.

`build("resnet56")` makes any network of the course; `names()` lists them.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from ..errors import unknown
from .blocks import BasicBlock, Bottleneck, PlainBlock
from .family import (
    BasicBlockD,
    BottleneckD,
    PreActBlock,
    PreActBottleneck,
    PreActResNet,
    SEBasicBlock,
    SEBottleneck,
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


VARIANTS = {  # of the ImageNet networks: another block for a basic one, and for a bottleneck
    "plain": {BasicBlock: PlainBlock},
    "se": {BasicBlock: SEBasicBlock, Bottleneck: SEBottleneck},
    "d": {BasicBlock: BasicBlockD, Bottleneck: BottleneckD},
}


def imagenet_resnet(depth: int, *, variant: str | None = None, **options) -> ResNet:
    """ResNet-18, 34, 50, 101 or 152 as in table 1; `options` as in `ResNet`.

    variant: "plain" (18 and 34 only), "se" (squeeze-and-excitation), "d" (ResNet-D: stem and shortcuts), or None.
    """
    exchange = VARIANTS[variant] if variant else {BasicBlock: BasicBlock, Bottleneck: Bottleneck}
    depths_here = [d for d, (block, _) in IMAGENET.items() if block in exchange]
    if depth not in depths_here:
        kind = "plain network" if variant == "plain" else "ResNet"
        raise ValueError(
            f"There is no ImageNet {kind} with {depth} layers. Choose a depth of {', '.join(map(str, depths_here))}."
        )
    block, depths = IMAGENET[depth]
    stem = "deep" if variant == "d" else "imagenet"
    return ResNet(exchange[block], depths, **{"stem": stem, **options})


def cifar_resnet(
    depth: int,
    *,
    block: type[nn.Module] = BasicBlock,
    shortcut: str = "A",
    num_classes: int = 10,
    **options,
) -> ResNet:
    """The paper's section 4.2: 6n + 2 layers in three stages, 16, 32 and 64 wide; `options` as in `ResNet`.

    Takes (N, 3, H, W) images of any size from 4x4; the paper's are 32x32.
    """
    if depth < 8 or (depth - 2) % 6:
        lower = max(8, (depth - 2) // 6 * 6 + 2)
        raise ValueError(
            f"A CIFAR network has 6n + 2 layers (8, 14, 20, 26, 32, ...), not {depth}. Near it: {lower} or {lower + 6}."
        )
    network = PreActResNet if issubclass(block, PreActBlock) else ResNet
    n = (depth - 2) // 6
    return network(block, (n, n, n), (16, 32, 64), (1, 2, 2), "cifar", num_classes, shortcut=shortcut, **options)


def lab10_6(num_classes: int = 10, **options) -> ResNet:
    """The bottleneck ResNet of the study post "Lab 10-6": 50 layers for 32x32 images, no max-pool."""
    return ResNet(Bottleneck, (3, 4, 6, 3), (16, 32, 64, 128), (1, 1, 2, 2), "cifar", num_classes, **options)


def stochastic_resnet(depth: int, *, survival: float = 0.5, **options) -> ResNet:
    """A CIFAR ResNet with stochastic depth (family.py); `survival` is that of its last block."""
    return stochastic_depth(cifar_resnet(depth, **options), survival)


def preact_bottlenecks(depth: int, num_classes: int = 10, **options) -> PreActResNet:
    """Pre-activation bottlenecks for CIFAR, 9n + 2 layers: 164 and 1001 in https://arxiv.org/abs/1603.05027."""
    n = (depth - 2) // 9
    return PreActResNet(PreActBottleneck, (n, n, n), (16, 32, 64), (1, 2, 2), "cifar", num_classes, **options)


def wide_resnet(depth: int, factor: int, num_classes: int = 10, **options) -> PreActResNet:
    """WRN-depth-factor (https://arxiv.org/abs/1605.07146): 6n + 4 layers, the stages `factor` times as wide."""
    n, widths = (depth - 4) // 6, (16 * factor, 32 * factor, 64 * factor)
    return PreActResNet(
        PreActBlock, (n, n, n), widths, (1, 2, 2), "cifar", num_classes, **{"stem_width": 16, **options}
    )


def cifar_resnext(depth: int, cardinality: int, group_width: int, num_classes: int = 10, **options) -> ResNet:
    """ResNeXt-depth, cardinality x width d (https://arxiv.org/abs/1611.05431): 9n + 2 layers for CIFAR."""
    n, groups = (depth - 2) // 9, dict(groups=cardinality, width_per_group=group_width)
    return ResNet(Bottleneck, (n, n, n), (64, 128, 256), (1, 2, 2), "cifar", num_classes, **groups, **options)


FIXED = {
    **{f"resnet{depth}": partial(imagenet_resnet, depth) for depth in IMAGENET},
    **{f"plain{depth}": partial(imagenet_resnet, depth, variant="plain") for depth in (18, 34)},
    "wide_resnet50_2": partial(imagenet_resnet, 50, width_per_group=128),
    "wide_resnet101_2": partial(imagenet_resnet, 101, width_per_group=128),
    "resnext50_32x4d": partial(imagenet_resnet, 50, groups=32, width_per_group=4),
    "resnext101_32x8d": partial(imagenet_resnet, 101, groups=32, width_per_group=8),
    "resnext101_64x4d": partial(imagenet_resnet, 101, groups=64, width_per_group=4),
    **{f"seresnet{depth}": partial(imagenet_resnet, depth, variant="se") for depth in IMAGENET},
    **{f"resnet{depth}d": partial(imagenet_resnet, depth, variant="d") for depth in IMAGENET},
}
IMAGENET_NAMES = tuple(FIXED)
FIXED |= {
    "lab10_6": lab10_6,
    # ResNeXt of ResNet-20's widths, layers and multiply-adds: 8 groups, 4 channels each in the first stage.
    "narrow_resnext20": partial(
        ResNet, Bottleneck, (2, 2, 2), (16, 32, 64), (1, 2, 2), "cifar", 10, groups=8, width_per_group=16
    ),
    **{f"preresnet{depth}": partial(preact_bottlenecks, depth) for depth in (164, 1001)},
}

CIFAR = {  # networks for 32x32 images: their names; how they are made; layers a block in each stage adds, and others
    r"resnet(\d+)": (cifar_resnet, 6, 2),
    r"plain(\d+)": (partial(cifar_resnet, block=PlainBlock), 6, 2),
    r"preresnet(\d+)": (partial(cifar_resnet, block=PreActBlock), 6, 2),
    r"seresnet(\d+)": (partial(cifar_resnet, block=SEBasicBlock), 6, 2),
    r"resnet(\d+)d": (partial(cifar_resnet, block=BasicBlockD, shortcut="B"), 6, 2),
    r"sdresnet(\d+)": (stochastic_resnet, 6, 2),
    r"wrn(\d+)_(\d+)": (wide_resnet, 6, 4),
    r"resnext(\d+)_(\d+)x(\d+)d": (cifar_resnext, 9, 2),
}
CIFAR_DEPTHS = (20, 32, 44, 56, 110, 1202)  # the paper's
OTHERS = ("preresnet110", "wrn28_10", "resnext29_8x64d", "sdresnet110", "seresnet20", "resnet20d")


def names() -> list[str]:
    """The networks that `build` makes by name; of the later ones for CIFAR, which take any depth, one of each."""
    return [*FIXED, *(f"{kind}{depth}" for kind in ("resnet", "plain") for depth in CIFAR_DEPTHS), *OTHERS]


def factory(name: str) -> Callable[..., ResNet]:
    """What makes the network of that name. Raises ValueError for a name that does not exist."""
    if name in FIXED:
        return FIXED[name]
    for pattern, (make, each, others) in CIFAR.items():
        if match := re.fullmatch(pattern, name):
            numbers = [int(number) for number in match.groups()]
            if numbers[0] >= each + others and numbers[0] % each == others and min(numbers) > 0:
                return partial(make, *numbers)
            depths = ", ".join(str(each * n + others) for n in (1, 2, 4, 6))
            hint = f" The others with {each}n + {others} layers exist too: {depths}, ..."
            raise ValueError(unknown("network", name, names()) + hint)
    raise ValueError(unknown("network", name, names()))


def plain_data(value):
    """A network option as JSON can hold it: a class or function by its name."""
    if isinstance(value, (tuple, list)):
        return [plain_data(one) for one in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "__name__", None) or repr(value)  # functools.partial has no name


def build(name: str, *, seed: int | None = None, **options) -> ResNet:
    """Make a network by name, with the paper's defaults; `options` as in `ResNet`.

    "resnet18", "resnet50", "plain34", "resnext50_32x4d", ... are the ImageNet networks;
    "resnet20", "plain56", ... with 6n + 2 layers are the CIFAR ones (from 8 layers up, except 50
    and 152, which name ImageNet networks). The family that came later (family.py): "preresnet110", "wrn28_10",
    "resnext29_8x64d", "sdresnet110", "seresnet20" and "seresnet50", "resnet20d" and "resnet50d".
    With a `seed` the weights are always the same, and torch's own random state is left as it was.
    Raises ValueError for a name or option that does not exist.
    """
    make = factory(name)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs too
        network = make(**options)
    network.spec = {"name": name, "seed": seed, "options": {k: plain_data(v) for k, v in sorted(options.items())}}
    return network


def to_torchvision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of an ImageNet ResNet of ours as torchvision's ResNet of the same make has them.

    Raises ValueError for a plain network, which torchvision has not.
    """
    if any(".layers." in key for key in weights):
        raise ValueError("These are the weights of a plain network; torchvision has residual networks only.")
    return {
        re.sub(
            r"^stages\.(\d+)\.",
            lambda match: f"layer{int(match[1]) + 1}.",
            key.removeprefix("stem.").replace(".residual.", ".").replace(".shortcut.", ".downsample."),
        ): tensor
        for key, tensor in weights.items()
    }


def from_torchvision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of torchvision's ResNet (its `state_dict()`) as ours has them."""

    def rename(key: str) -> str:
        if match := re.match(r"layer(\d+)\.(\d+)\.(.+)", key):
            part = match[3]
            part = part.replace("downsample.", "shortcut.") if "downsample" in part else f"residual.{part}"
            return f"stages.{int(match[1]) - 1}.{match[2]}.{part}"
        return key if key.startswith("fc.") else f"stem.{key}"

    return {rename(key): tensor for key, tensor in weights.items()}


def label(name: str) -> str:
    """A network's name as people write it.

    >>> label("plain56"), label("resnet20")
    ('plain-56', 'ResNet-20')
    """
    return re.sub(r"^(plain|resnet)(\d+)$", lambda m: f"{'ResNet' if m[1] == 'resnet' else 'plain'}-{m[2]}", name)
