"""The plain block of notebook 01."""

import torch

from ..models import blocks
from .kit.block_probes import EVERY, TWO_3X3, keeping, probe_with
from .kit.exercise import Exercise, Wrong
from .kit.layer_probes import LAYERS, OTHER
from .kit.probing import convolutions, loud, operations, run, same, zero_convolutions

plain_block = Exercise(
    "plain_block",
    "Write the plain block: two 3x3 convolutions, each followed by BN and a ReLU.",
    solution=(blocks.conv3x3, blocks.PlainBlock),
    hints=(
        "Six layers, one after the other: conv, BN, ReLU, conv, BN, ReLU.",
        "A 3x3 convolution keeps height and width with padding=1. BN follows, so it needs no bias.",
        "The first convolution is nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False). The second one goes "
        "from width to width, with stride 1.",
    ),
    read="notebook 01, section 3; paper, section 3.3, 'Plain Network'",
)
probe_with(plain_block, EVERY + LAYERS + TWO_3X3)


@plain_block.probe("the smallest value of the output", "0: the block ends in a ReLU")
def ends_in_relu(answer):
    y = run(keeping(answer, 1), torch.randn(2, 16, 8, 8))
    if y.min() < 0:
        raise Wrong("missing ReLU at the end", f"{y.min():.2f}", "A ReLU follows the second BN too.")


@plain_block.probe("large values at the end", "ReLU of the second BN: max(0, v) of each value, however large")
def ends_in_relu_itself(answer):
    block, x = loud(keeping(answer, 1)), torch.randn(2, 16, 8, 8)
    everything, y = operations(block, x), run(block, x)
    v = next((o.result for o in reversed(everything) if o.name == "batch_norm"), None)
    if v is None or v.shape != y.shape or not same(y, run(block, x)):
        return  # another probe says that BN is missing, or that it is random
    if not any(same(y, right) for right in (v.relu(), v, (v + x).relu(), v + x)):
        got = f"{y.min():.1f} to {y.max():.1f} where the second BN gives {v.min():.1f} to {v.max():.1f}"
        raise Wrong(OTHER, got, "The block ends in nn.ReLU() or F.relu after the second BN, and nothing follows.")


@plain_block.probe("the weights of both convolutions set to zero", "zeros, whatever x is")
def zero_weights(answer):
    x = torch.randn(2, 16, 8, 8)
    y = run(zero_convolutions(keeping(answer, 1)).eval(), x)
    if not convolutions(keeping(answer, 1), x):
        return  # the probe of the convolutions says so
    if same(y, x.relu()) or same(y, x):
        why = "x itself comes out: that is a residual block, the subject of the next notebooks."
        raise Wrong("a shortcut in a plain block", "x", why)
