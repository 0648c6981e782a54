"""Networks as data: one class, and thin factories that fill in the tables of the paper.

`build("resnet56")` makes any network of the course by name; `names()` lists them.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from .blocks import BasicBlock, Bottleneck, Norm, PlainBlock, conv3x3
from .errors import unknown

IMAGENET = {  # depth: (block, blocks in each stage); paper, table 1
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def make_stem(kind: str, width: int, norm_layer: Norm) -> nn.Sequential:
    """What comes before the first block: "imagenet" (a quarter of the height and width), or "cifar"."""
    if kind == "cifar":
        layers = OrderedDict(conv1=conv3x3(3, width), bn1=norm_layer(width), relu=nn.ReLU())
    elif kind == "imagenet":
        layers = OrderedDict(
            conv1=nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            bn1=norm_layer(width),
            relu=nn.ReLU(),
            maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        )
    else:
        raise ValueError(unknown("stem", kind, ("imagenet", "cifar")))
    return nn.Sequential(layers)


def make_stage(
    block: type[nn.Module], in_channels: int, width: int, depth: int, stride: int = 1, *, first: Mapping = {}, **options
) -> nn.Sequential:
    """`depth` blocks in a row: the first one takes the stride and changes the shape, the others keep it.

    (N, in_channels, H, W) -> (N, width * block.expansion, ceil(H / stride), ceil(W / stride)).
    `options` go to every block, `first` to the first one only. Paper, table 1.
    """
    blocks = [block(in_channels, width, stride, **{**options, **first})]
    blocks += [block(width * block.expansion, width, **options) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


class ResNet(nn.Module):
    """A plain or residual network: stem, stages of blocks, global average pool, linear classifier.

    (N, 3, H, W) images -> (N, num_classes) logits.

    block: PlainBlock, BasicBlock or Bottleneck.
    depths, widths, strides: for each stage, how many blocks, how wide (before the block's
        expansion), and the stride of its first block.
    stem: "imagenet" (7x7 stride 2, then max-pool) or "cifar" (3x3); stem_width: its channels.
    shortcut: "A", "B" or "C" (paper, section 3.3).
    groups, width_per_group: ResNeXt and wide networks (Bottleneck only).
    replace_stride_with_dilation: for each stage after the first, whether to dilate its 3x3
        convolutions instead of striding (Bottleneck only).
    norm_layer: makes the normalisation from a number of channels.
    zero_init_residual: start each residual function at zero, by the last BN's weight.
    stride_in: "3x3" (v1.5) or "1x1" (v1): which convolution of a Bottleneck takes the stride.

    Weights start as in He et al. 2015 (https://arxiv.org/abs/1502.01852), as the paper's section 3.4 says.
    Raises ValueError for a combination that cannot be built.
    """

    def __init__(
        self,
        block: type[nn.Module],
        depths: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        strides: Sequence[int] = (1, 2, 2, 2),
        stem: str = "imagenet",
        num_classes: int = 1000,
        *,
        stem_width: int | None = None,
        shortcut: str = "B",
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: Norm = nn.BatchNorm2d,
        zero_init_residual: bool = False,
        stride_in: str = "3x3",
    ):
        super().__init__()
        dilate = (False, *(replace_stride_with_dilation or [False] * (len(depths) - 1)))
        if not len(depths) == len(widths) == len(strides) == len(dilate):
            raise ValueError(
                f"Give one depth, width and stride for each stage, and one replace_stride_with_dilation for each "
                f"stage after the first; got {len(depths)}, {len(widths)}, {len(strides)} and {len(dilate) - 1}."
            )
        options = dict(
            shortcut=shortcut,
            groups=groups,
            width_per_group=width_per_group,
            norm_layer=norm_layer,
            stride_in=stride_in,
        )
        channels = stem_width or widths[0]
        self.stem = make_stem(stem, channels, norm_layer)

        dilation = 1
        stages = []
        for depth, width, stride, dilated in zip(depths, widths, strides, dilate, strict=True):
            before = dilation  # the first block of a dilated stage still sees its input at the old spacing
            if dilated:
                dilation, stride = dilation * stride, 1
            options["dilation"] = dilation
            stages.append(make_stage(block, channels, width, depth, stride, first={"dilation": before}, **options))
            channels = width * block.expansion
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        self.spec: dict | None = None  # how `build` made it, for a run's record
        self._initialise(zero_init_residual)

    def _initialise(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, (BasicBlock, Bottleneck)):
                nn.init.zeros_(module.residual[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.stages(x)
        x = self.pool(x).flatten(1)
        return self.fc(x)


def imagenet_resnet(depth: int, *, plain: bool = False, **options) -> ResNet:
    """ResNet-18, 34, 50, 101 or 152 as in table 1, or plain-18 or plain-34; `options` as in `ResNet`."""
    depths_here = [d for d, (block, _) in IMAGENET.items() if block is BasicBlock or not plain]
    if depth not in depths_here:
        kind = "plain network" if plain else "ResNet"
        raise ValueError(
            f"There is no ImageNet {kind} with {depth} layers. Choose a depth of {', '.join(map(str, depths_here))}."
        )
    block, depths = IMAGENET[depth]
    return ResNet(PlainBlock if plain else block, depths, **options)


def cifar_resnet(depth: int, *, plain: bool = False, num_classes: int = 10, shortcut: str = "A", **options) -> ResNet:
    """The paper's section 4.2: 6n + 2 layers in three stages, 16, 32 and 64 wide; `options` as in `ResNet`.

    Takes (N, 3, H, W) images of any size from 4x4; the paper's are 32x32.
    """
    if depth < 8 or (depth - 2) % 6:
        lower = max(8, (depth - 2) // 6 * 6 + 2)
        raise ValueError(
            f"A CIFAR network has 6n + 2 layers (8, 14, 20, 26, 32, ...), not {depth}. Near it: {lower} or {lower + 6}."
        )
    block = PlainBlock if plain else BasicBlock
    n = (depth - 2) // 6
    return ResNet(block, (n, n, n), (16, 32, 64), (1, 2, 2), "cifar", num_classes, shortcut=shortcut, **options)


def lab10_6(num_classes: int = 10, **options) -> ResNet:
    """The bottleneck ResNet of the study post "Lab 10-6": 50 layers for 32x32 images, no max-pool."""
    return ResNet(Bottleneck, (3, 4, 6, 3), (16, 32, 64, 128), (1, 1, 2, 2), "cifar", num_classes, **options)


FIXED = {
    **{f"resnet{depth}": partial(imagenet_resnet, depth) for depth in IMAGENET},
    **{f"plain{depth}": partial(imagenet_resnet, depth, plain=True) for depth in (18, 34)},
    "wide_resnet50_2": lambda **o: imagenet_resnet(50, **{"width_per_group": 128, **o}),
    "resnext50_32x4d": lambda **o: imagenet_resnet(50, **{"groups": 32, "width_per_group": 4, **o}),
    "lab10_6": lab10_6,
}
IMAGENET_NAMES = tuple(name for name in FIXED if name != "lab10_6")
CIFAR_DEPTHS = (20, 32, 44, 56, 110, 1202)


def names() -> list[str]:
    """The networks that `build` makes by name."""
    return [*FIXED, *(f"{kind}{depth}" for kind in ("resnet", "plain") for depth in CIFAR_DEPTHS)]


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
    and 152, which name ImageNet networks). With a `seed` the weights are always the same, and
    torch's own random state is left as it was.
    Raises ValueError for a name or option that does not exist.
    """
    cifar = re.fullmatch(r"(resnet|plain)(\d+)", name)
    is_cifar = cifar and int(cifar[2]) >= 8 and int(cifar[2]) % 6 == 2
    if name not in FIXED and not is_cifar:
        hint = " The others with 6n + 2 layers exist too: 8, 14, 26, 38, ..." if cifar else ""
        raise ValueError(unknown("network", name, names()) + hint)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs too
        if name in FIXED:
            network = FIXED[name](**options)
        else:
            network = cifar_resnet(int(cifar[2]), plain=cifar[1] == "plain", **options)
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
