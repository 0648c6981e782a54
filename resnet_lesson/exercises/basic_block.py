"""The basic block of notebook 03."""

from ..models import blocks
from .kit.block_mistakes import (
    BIASED,
    mistakes_of_every_block,
    mistakes_of_the_shortcut,
    mistakes_of_the_sum,
    mistakes_of_two_convolutions,
)
from .kit.blocks import try_block
from .kit.exercise import Exercise

basic_block = Exercise(
    "basic_block",
    "Write the basic block: two 3x3 convolutions with a shortcut around them. Every part of it is a module.",
    solution=(blocks.conv3x3, blocks.BasicBlock),
    hints=(
        "Start from the right side of y = ReLU(F(x) + shortcut(x)). What are the two terms of the sum?",
        "F is conv - BN - ReLU - conv - BN. It does not end in a ReLU, because F must be able to subtract.",
        "The first convolution takes the stride and changes the channels; the second keeps both.",
        "Where the stride is not 1 or the channels change, the shortcut is a 1x1 convolution of that stride, then BN. "
        "Everywhere else it is nn.Identity(), the module that returns x as it is.",
        "The last line: return self.relu(self.residual(x) + self.shortcut(x))",
    ),
    read="notebook 03, sections 2 and 5; paper, section 3.2 and figure 2",
)
try_block(basic_block, "ReLU(F(x) + shortcut(x))", "3x3, 16 -> 32; 3x3, 32 -> 32; and a projection, 1x1, 16 -> 32")

# Both of the paper's options are right, and so are zeros on one side only.
basic_block.right({'shortcut: str = "B"': 'shortcut: str = "A"'})
basic_block.right(
    {
        "make_shortcut(shortcut, in_channels, width, stride)": "nn.Sequential("
        "nn.MaxPool2d(1, stride), nn.ConstantPad3d((0, 0, 0, 0, 0, width - in_channels), 0.0))"
    }
)
mistakes_of_two_convolutions(basic_block)
mistakes_of_every_block(basic_block, "residual")
mistakes_of_the_sum(basic_block)
mistakes_of_the_shortcut(basic_block, "width", BIASED)
