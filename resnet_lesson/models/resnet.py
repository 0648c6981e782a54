"""The residual network as one class: stem, stages of blocks, pool and classifier.

networks.py makes the paper's networks, and all others of the course, from it by name.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ..errors import unknown
from .blocks import Norm, conv3x3


def make_stem(kind: str, width: int, norm_layer: Norm) -> nn.Sequential:
    """What comes before the first block: "imagenet" (a quarter of the height and width), or "cifar".

    "deep" is "imagenet" with three 3x3 convolutions instead of the 7x7 (He T. et al., https://arxiv.org/abs/1812.01187).
    """
    if kind == "cifar":
        layers = OrderedDict(conv1=conv3x3(3, width), bn1=norm_layer(width), relu=nn.ReLU())
    elif kind == "deep":
        half = width // 2
        layers = OrderedDict(
            conv1=conv3x3(3, half, stride=2),
            bn1=norm_layer(half),
            relu1=nn.ReLU(),
            conv2=conv3x3(half, half),
            bn2=norm_layer(half),
            relu2=nn.ReLU(),
            conv3=conv3x3(half, width),
            bn3=norm_layer(width),
            relu3=nn.ReLU(),
            maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        )
    elif kind == "imagenet":
        layers = OrderedDict(
            conv1=nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            bn1=norm_layer(width),
            relu=nn.ReLU(),
            maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        )
    else:
        raise ValueError(unknown("stem", kind, ("imagenet", "cifar", "deep")))
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

    block: PlainBlock, BasicBlock or Bottleneck, or one of family.py (pre-activation blocks in a `PreActResNet`).
    depths, widths, strides: for each stage, how many blocks, how wide (before the block's
        expansion), and the stride of its first block.
    stem: "imagenet" (7x7 stride 2, then max-pool), "cifar" (3x3) or "deep"; stem_width: its channels.
    shortcut: "A", "B" or "C" (paper, section 3.3).
    groups, width_per_group: ResNeXt and wide networks (Bottleneck only).
    replace_stride_with_dilation: for each stage after the first, whether to dilate its 3x3
        convolutions instead of striding (Bottleneck only).
    norm_layer: makes the normalisation from a number of channels.
    zero_init_residual: start each residual function at zero, by the weight of its last layer that has one.
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
        if any(dilate) and stride_in == "1x1":
            raise ValueError("With stride_in='1x1' build the network with its strides, and use family.dilate(network).")
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
        for module in self.modules() if zero_init_residual else ():
            if hasattr(module, "residual"):
                weighted = [layer for layer in module.residual if getattr(layer, "weight", None) is not None]
                nn.init.zeros_(weighted[-1].weight)  # BN's; of a pre-activation block, the convolution's

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.stages(x)
        x = self.pool(x).flatten(1)
        return self.fc(x)
