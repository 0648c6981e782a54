"""The basic block of notebook 03."""

from ..models import blocks
from .kit.block_probes import TWO_3X3
from .kit.exercise import Exercise
from .kit.residual_probes import probe_residual_block

basic_block = Exercise(
    "basic_block",
    "Write the basic block: two 3x3 convolutions with a shortcut around them. Use modules, no lambdas.",
    solution=(blocks.conv3x3, blocks.BasicBlock),
    hints=(
        "Write the right side of y = ReLU(F(x) + shortcut(x)) first: what are its two terms?",
        "F is conv - BN - ReLU - conv - BN. There is no ReLU at its end: F must be able to subtract.",
        "The first convolution takes the stride and changes the channels; the second keeps both.",
        "Where the stride is not 1 or the channels change, the shortcut is a 1x1 convolution with that stride, and BN. "
        "Elsewhere it is nn.Identity(). (No lambda as a layer: a module with a lambda cannot be pickled; write a small "
        "nn.Module instead.)",
        "The last line: return self.relu(self.residual(x) + self.shortcut(x))",
    ),
    read="notebook 03, sections 1 and 5; paper, section 3.2 and figure 2",
)
probe_residual_block(basic_block, more=TWO_3X3)
