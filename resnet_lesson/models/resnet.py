"""The residual network as one class: stem, stages of blocks, pool and classifier.

networks.py uses it to make the paper's networks, and all others in the course, by name.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from ..errors import unknown
from .blocks import conv3x3


def make_stem(kind: str, width: int) -> nn.Sequential:
    """What comes before the first block: "imagenet" (a quarter of the height and width), or "cifar" (all of it).

    (N, 3, H, W) -> (N, width, ceil(H / 4), ceil(W / 4)), or (N, width, H, W). Raises ValueError for any other kind.
    """
    if kind == "cifar":
        return nn.Sequential(OrderedDict(conv1=conv3x3(3, width), bn1=nn.BatchNorm2d(width), relu=nn.ReLU()))
    if kind == "imagenet":
        return nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
                bn1=nn.BatchNorm2d(width),
                relu=nn.ReLU(),
                maxpool=nn.MaxPool2d(3, stride=2, padding=1),
            )
        )
    raise ValueError(unknown("stem", kind, ("imagenet", "cifar")))


def make_stage(
    block: type[nn.Module], in_channels: int, width: int, depth: int, stride: int = 1, **options
) -> nn.Sequential:
    """`depth` blocks in a row: the first one takes the stride and changes the shape, the others keep it.

    (N, in_channels, H, W) -> (N, width * block.expansion, ceil(H / stride), ceil(W / stride)).
    `options` go to every block. Paper, table 1.
    """
    blocks = [block(in_channels, width, stride, **options)]
    blocks += [block(width * block.expansion, width, **options) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


class ResNet(nn.Module):
    """A plain or residual network: stem, stages of blocks, global average pool, linear classifier.

    (N, 3, H, W) images -> (N, num_classes) logits.

    block: PlainBlock, BasicBlock, Bottleneck, one of family.py, or a class of your own with the arguments
        (in_channels, width, stride) and an `expansion`.
    depths, widths, strides: for each stage, the number of blocks, their width (before the block's expansion), and the
        stride of the first block.
    stem: "imagenet" (7x7 with stride 2, then max-pool), "cifar" (3x3), or a module; stem_width: its output channels.
    zero_init_residual: start each residual function at zero, by setting the weight of its last weighted layer to zero.
    block_options: further options of the blocks, such as shortcut="A", "B" or "C" (paper, section 3.3).

    Weights are initialised as in He et al. 2015 (https://arxiv.org/abs/1502.01852), as in the paper's section 3.4.
    Raises ValueError for a combination that cannot be built, and TypeError for an option that the blocks do not have.
    """

    def __init__(
        self,
        block: type[nn.Module],
        depths: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        strides: Sequence[int] = (1, 2, 2, 2),
        stem: str | nn.Module = "imagenet",
        num_classes: int = 1000,
        *,
        stem_width: int | None = None,
        zero_init_residual: bool = False,
        **block_options,
    ):
        super().__init__()
        if not len(depths) == len(widths) == len(strides):
            raise ValueError(
                f"Give one depth, width and stride per stage, not {len(depths)}, {len(widths)} and {len(strides)}."
            )
        channels = stem_width or widths[0]
        self.stem = make_stem(stem, channels) if isinstance(stem, str) else stem
        self.stages = nn.Sequential()
        for depth, width, stride in zip(depths, widths, strides, strict=True):
            self.stages.append(make_stage(block, channels, width, depth, stride, **block_options))
            channels = width * block.expansion
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        self.spec: dict | None = None  # how `build` made it, for a run's record
        self._initialise(zero_init_residual)

    def _initialise(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if zero_init_residual and hasattr(module, "residual"):
                weighted = [layer for layer in module.residual if getattr(layer, "weight", None) is not None]
                nn.init.zeros_(weighted[-1].weight)  # that of BN; in a pre-activation block, that of the convolution

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.stages(x)
        x = self.pool(x).flatten(1)
        return self.fc(x)
