"""The plain block of notebook 01."""

from ..models import blocks
from .kit.block_mistakes import mistakes_of_every_block, mistakes_of_two_convolutions
from .kit.blocks import try_block
from .kit.exercise import Exercise

plain_block = Exercise(
    "plain_block",
    "Write the plain block: two 3x3 convolutions, each followed by BN and a ReLU.",
    solution=(blocks.conv3x3, blocks.PlainBlock),
    hints=(
        "There are six layers, one after the other: conv, BN, ReLU, conv, BN, ReLU.",
        "With padding=1 a 3x3 convolution keeps height and width. It needs no bias, because BN follows.",
        "The first convolution is nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False). The second goes "
        "from width to width channels, with stride 1.",
    ),
    read="notebook 01, section 3; paper, section 3.3, 'Plain Network'",
)
try_block(plain_block, "conv, BN, ReLU, conv, BN, ReLU", "3x3, 16 -> 32, with stride 2; 3x3, 32 -> 32; no bias")
mistakes_of_two_convolutions(plain_block)
mistakes_of_every_block(plain_block, "layers")

END, mistake = "return self.relu(self.layers(x))", plain_block.mistake
# fmt: off
mistake("missing ReLU at the end", {END: "return self.layers(x)"}, "A ReLU follows the second BN as well.")
for added in ("self.relu(y + x)", "self.relu(y) + x"):
    mistake("a shortcut in a plain block",
            {END: f"y = self.layers(x)\n        return {added} if x.shape == y.shape else self.relu(y)"},
            "You add x to what the layers compute. That is a residual block, the subject of the next notebooks.")
