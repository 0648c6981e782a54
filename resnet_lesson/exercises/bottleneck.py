"""The bottleneck block of notebook 04."""

from ..models import blocks
from .kit.block_mistakes import NO_BIAS, mistakes_of_every_block, mistakes_of_the_shortcut, mistakes_of_the_sum
from .kit.blocks import try_block
from .kit.exercise import Exercise

bottleneck = Exercise(
    "bottleneck",
    "Write the bottleneck block: a 1x1 convolution down to `width` channels, a 3x3, and a 1x1 up to 4 * width, with a "
    "shortcut around them that is a projection where the shape changes.",
    solution=(blocks.Bottleneck,),
    hints=(
        "It is the basic block with another F: three convolutions instead of two. Everything around F stays the same.",
        "The channels go in_channels -> width -> width -> 4 * width. BN follows every convolution, but a ReLU follows "
        "only the first two.",
        "blocks.conv1x1(i, o, stride) and blocks.conv3x3(i, o, stride) make convolutions without a bias, and the 3x3 "
        "comes with its padding.",
        "The shortcut is nn.Identity() if stride == 1 and in_channels == 4 * width. Otherwise it is "
        "blocks.Projection(in_channels, 4 * width, stride). (Use modules for both: a block with a lambda in it cannot "
        "be saved as a whole.)",
        "Give the stride to the 3x3 alone (or to the first 1x1 alone), and to the projection. The last line is "
        "return self.relu(self.residual(x) + self.shortcut(x)).",
    ),
    read="notebook 04, section 4; paper, section 4.1 and figure 5",
)
try_block(
    bottleneck,
    "ReLU(F(x) + shortcut(x))",
    "1x1, 16 -> 8; 3x3, 8 -> 8; 1x1, 8 -> 32; and a projection, 1x1, 16 -> 32; no bias",
    expansion=4,
)
bottleneck.right({'stride_in: str = "3x3"': 'stride_in: str = "1x1"'})  # as in the paper
mistakes_of_every_block(bottleneck, "residual")
mistakes_of_the_sum(bottleneck)

mistake = bottleneck.mistake
DOWN = "conv1x1(in_channels, width, stride_1x1)"
MIDDLE = "conv3x3(width, width, stride_3x3)"
UP = "conv1x1(width, out_channels)"
STRIDES = '(stride, 1) if stride_in == "1x1" else (1, stride)'
SHORTCUT = "make_shortcut(shortcut, in_channels, out_channels, stride)"
# fmt: off
mistake("expansion forgotten", {"out_channels = width * self.expansion": "out_channels = width"},
        "The output of the block has 4 * width channels; yours has width.")
mistake("the input channels are compared with width, not with 4 * width",
        {SHORTCUT: "make_shortcut(shortcut, in_channels, width, stride) if stride == 1 and in_channels == width else "
         "Projection(in_channels, out_channels, stride)"},
        "The output has 4 * width channels, so the channels stay the same only if in_channels is 4 * width.")
mistake("zeros instead of a projection", {'shortcut: str = "B"': 'shortcut: str = "A"'},
        "Option A adds channels of zeros. This block needs option B, a 1x1 convolution and BN.")
mistake("the reduction is forgotten",
        {DOWN: "conv1x1(in_channels, out_channels, stride_1x1)", UP: "conv1x1(out_channels, out_channels)",
         MIDDLE: "conv3x3(out_channels, out_channels, stride_3x3)",
         "bn1=nn.BatchNorm2d(width)": "bn1=nn.BatchNorm2d(out_channels)",
         "bn2=nn.BatchNorm2d(width)": "bn2=nn.BatchNorm2d(out_channels)"},
        "The first 1x1 reduces the channels to `width`. Without that, the 3x3 costs 16 times as much.")
mistake("the 3x3 has no padding", {MIDDLE: "nn.Conv2d(width, width, 3, stride_3x3, bias=False)"},
        "A 3x3 convolution loses one pixel on each side unless it has padding=1.")
BIASED = {DOWN: "nn.Conv2d(in_channels, width, 1, stride_1x1)", MIDDLE: "nn.Conv2d(width, width, 3, stride_3x3, 1)",
          UP: "nn.Conv2d(width, out_channels, 1)"}
mistake("a bias before BN", BIASED, NO_BIAS)
mistakes_of_the_shortcut(bottleneck, "out_channels", BIASED)
for where, name in (((1,), "2"), ((2,), "3"), ((1, 2), "2 and 3")):
    mistake(f"missing ReLU before convolution {name}", {f"relu{i}=nn.ReLU()": f"relu{i}=nn.Identity()" for i in where},
            "Without a ReLU between them, two convolutions amount to a single linear map.")
for i, width in ((1, "width"), (2, "width"), (3, "out_channels")):
    mistake("a convolution without BN", {f"bn{i}=nn.BatchNorm2d({width})": f"bn{i}=nn.Identity()"},
            "Each convolution is followed by BN.")
mistake("no convolution of F takes the stride", {STRIDES: "(1, 1)"},
        "F(x) keeps the height and width of x, but the shortcut does not. Give the block's stride to the 3x3.")
mistake("the stride is on both convolutions", {STRIDES: "(stride, stride)"},
        "Together they divide height and width by 4. Only one of them takes the stride: the 3x3, or the first 1x1.")
mistake("the stride is on the last 1x1", {STRIDES: "(1, 1)", UP: "conv1x1(width, out_channels, stride)"},
        "This way the 3x3 works on four times as many pixels. Give the stride to the 3x3.")
