"""The exercise `preact_block` of notebook 09: BN and ReLU before each convolution, nothing after the addition."""

import inspect

from torch import Tensor, nn

from ..models import blocks, family
from ..models.blocks import conv1x1, conv3x3
from .kit.block_mistakes import ONE_NORM, mistakes_of_every_block, mistakes_of_two_3x3
from .kit.blocks import changing, count, try_block
from .kit.exercise import Exercise

preact_block = Exercise(
    "preact_block",
    "Write the class PreActBlock(in_channels, width, stride=1): BN and ReLU before each of two 3x3 convolutions, and "
    "nothing after the addition. Where the shape changes, the first BN and ReLU come before both paths, and the "
    "shortcut is a 1x1 convolution without BN. No convolution has a bias. Use modules, no lambdas.",
    solution=(family.PreActBlock,),
    hints=(
        "The addition is the last step: y = F(x) + x. Both BN and both ReLUs of the basic block are inside F now. In "
        "which order?",
        "F is BN - ReLU - conv - BN - ReLU - conv. Each BN has as many channels as its input: in_channels for the "
        "first, width for the second.",
        "The first convolution takes the stride and changes the channels; the second keeps both.",
        "Where the shape stays the same, add x itself, just as it is. Where it changes, compute a = ReLU(BN(x)) once "
        "and give it to two convolutions: the first 3x3, and the 1x1 of the shortcut, which takes the stride too.",
        "In forward: a = self.relu(self.bn1(x)), then f = self.conv2(self.relu(self.bn2(self.conv1(a)))). Return "
        "f + x where the shape stays, and f + self.shortcut(a) where it changes.",
    ),
    read="notebook 09, section 2",
)
try_block(
    preact_block,
    "F(x) + x, or F(x) + projection(ReLU(BN(x))) where the shape changes; no ReLU at the end",
    "3x3, 16 -> 32; 3x3, 32 -> 32; and a projection, 1x1, 16 -> 32; no bias",
)


@preact_block.case(
    "the arguments, and the parameters where the shape changes", "the block makes its own 1x1, and has two BN layers"
)
def parts_where_the_shape_changes(answer):
    block = changing(answer, 1)
    return {
        "asks for": "downsample" in inspect.signature(answer).parameters and "downsample",
        "parameters": count(block),
    }


class ByLayers(nn.Module):
    """The same block written differently, as an answer whose lines can be edited one by one."""

    def __init__(self, in_channels: int, width: int, stride: int = 1):
        super().__init__()
        self.residual = nn.ModuleDict(
            dict(
                bn1=nn.BatchNorm2d(in_channels),
                conv1=conv3x3(in_channels, width, stride),
                bn2=nn.BatchNorm2d(width),
                conv2=conv3x3(width, width),
            )
        )
        self.relu = nn.ReLU()
        self.shortcut = None
        if stride != 1 or in_channels != width:
            self.shortcut = conv1x1(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        bn1, conv1, bn2, conv2 = self.residual.values()
        a = self.relu(bn1(x))
        f = conv2(self.relu(bn2(conv1(a))))
        way = x if self.shortcut is None else self.shortcut(a)
        return f + way


preact_block.right(ByLayers)
mistakes_of_two_3x3(preact_block)
mistakes_of_every_block(preact_block, "residual")

mistake = preact_block.mistake
BN1 = "bn1=nn.BatchNorm2d(in_channels)"
ONE, TWO = "conv3x3(in_channels, width, stride)", "conv3x3(width, width)"
PROJECTION = "conv1x1(in_channels, width, stride)"
CHANGES = "if stride != 1 or in_channels != width"
A, B, F = "self.relu(bn1(x))", "self.relu(bn2(conv1(a)))", "conv2(self.relu(bn2(conv1(a))))"
WAY, SUM = "x if self.shortcut is None else self.shortcut(a)", "f + way"
ORDER = "The order is BN - ReLU - conv, twice in a row."


def changed(to: str, reads: str = "a") -> dict[str, str]:
    """A different shortcut where the shape changes."""
    return {PROJECTION: to, WAY: f"x if self.shortcut is None else self.shortcut({reads})"}


# fmt: off
# The sum.
mistake("a ReLU after the addition", {SUM: "self.relu(f + way)"},
        "Nothing follows the addition: that is how x keeps its negative values from block to block.")
mistake("a ReLU at the end of F", {SUM: "self.relu(f) + way"},
        "F ends in its second convolution. With a ReLU there it could only add, never subtract.")
mistake("forgotten shortcut", {SUM: "f"}, "Without x a block cannot pass its input on. Return F(x) + x.")
mistake("no shortcut where the shape changes", {WAY: "x if self.shortcut is None else 0"},
        "Only F(x) is left where the shape changes. The 1x1 convolution brings ReLU(BN(x)) to the shape of F(x).")
# The shortcut.
mistake("the activated x is added where the shape stays", {WAY: "a if self.shortcut is None else self.shortcut(a)"},
        "Where the shape stays the same, x is added just as it is: give ReLU(BN(x)) another name than x.")
mistake("x is overwritten, so the shortcut does not start at x",
        {WAY: "f if self.shortcut is None else self.shortcut(f)"},
        "Keep x as it is, and give the output of F another name: out = ...")
BOTH = "The two paths split after the first BN and ReLU, so both convolutions read the same a = ReLU(BN(x))."
for made in (PROJECTION, "blocks.Projection(in_channels, width, stride)"):
    mistake("the projection reads x itself", changed(made, "x"), BOTH)
mistake("BN after the projection", changed("blocks.Projection(in_channels, width, stride)"),
        "The projection is the 1x1 convolution alone. Its output is added as it is, like that of F.")
mistake("the projection is larger than 1x1", {PROJECTION: "blocks.conv3x3(in_channels, width, stride)"},
        "The shortcut only adapts the shape: kernel_size=1 without padding, so that each pixel keeps to itself.")
mistake("a projection where identity would do", {CHANGES: "if True"},
        "Where the shape stays the same, add x itself: only then can it pass through all blocks unchanged.")
for made, name in (("stride != 1", "projection only where there is a stride"),
                   ("in_channels != width", "projection only where the channels change"),
                   ("stride != 1 and in_channels != width", "projection only where both change"),
                   ("False", "x itself is added where the shape changes")):
    mistake(name, {CHANGES: f"if {made}"},
            "Where the shape changes, x does not fit F(x): use a projection if stride != 1 or in_channels != width.")
# What comes before the convolutions.
for i, layers, bare in ((1, A, "x"), (2, B, "conv1(a)")):
    mistake(f"no BN and ReLU before convolution {i}", {layers: bare}, ORDER)
    mistake(f"missing ReLU before convolution {i}", {layers: f"bn{i}({bare})"}, ORDER)
mistake("missing ReLU before both convolutions", {A: "bn1(x)", B: "bn2(conv1(a))"}, ORDER)
mistake("ReLU before BN", {A: "bn1(self.relu(x))", B: "bn2(self.relu(conv1(a)))"},
        "BN centres the values before the ReLU cuts off the negative ones. " + ORDER)
mistake("this is the block of notebook 03", blocks.BasicBlock,
        "In this block BN and ReLU come before each convolution, and nothing follows the addition.")
for made in (PROJECTION, "blocks.Projection(in_channels, width, stride)"):
    mistake("BN comes after the convolutions", {BN1: "bn1=nn.BatchNorm2d(width)", A: "x", PROJECTION: made,
            F: "bn2(conv2(self.relu(bn1(conv1(a)))))"}, ORDER)
mistake("the first BN does not have in_channels channels", {BN1: "bn1=nn.BatchNorm2d(width)"},
        "It comes before the first convolution, so it normalises x: nn.BatchNorm2d(in_channels).")
mistake("one BN for two convolutions",  # with the shortcut first
        {f"f = {F}\n        way = {WAY}": f"way = {WAY}\n        f = conv2(self.relu(bn1(conv1(a))))"}, ONE_NORM)
# The convolutions.
mistake("a bias in a convolution",
        {ONE: "nn.Conv2d(in_channels, width, 3, stride, 1)", TWO: "nn.Conv2d(width, width, 3, 1, 1)",
         PROJECTION: "nn.Conv2d(in_channels, width, 1, stride)"},
        "A BN follows, here or in the next block, and subtracts the bias again: pass bias=False.")
mistake("the stride is ignored", {"super().__init__()": "super().__init__()\n        stride = 1"},
        "When the block has stride 2, so do the first 3x3 and the 1x1 of the shortcut.")
mistake("the projection does not take the stride", changed("conv1x1(in_channels, width)"),
        "The 1x1 convolution takes the block's stride too, so that both terms have half the height and width.")
# fmt: on
