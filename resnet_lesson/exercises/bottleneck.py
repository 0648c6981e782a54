"""Exercise of notebook 04: the bottleneck block."""

import torch
from torch import nn

from ..models import blocks
from .kit.block_probes import is_projection, keeping
from .kit.exercise import Exercise, Wrong
from .kit.probing import Operation, make_block, reached
from .kit.residual_probes import probe_residual_block

bottleneck = Exercise(
    "bottleneck",
    "Write the bottleneck block: 1x1 down, 3x3, 1x1 up to 4 * width channels, with a shortcut around them. "
    "Use modules, no lambdas.",
    solution=(blocks.Bottleneck,),
    hints=(
        "It is the basic block with another F: three convolutions instead of two. What goes around them stays.",
        "The channels go in_channels -> width -> width -> 4 * width. BN follows each, a ReLU the first two only.",
        "blocks.conv1x1(i, o, stride) and blocks.conv3x3(i, o, stride) have no bias, and the 3x3 has its padding.",
        "The shortcut is nn.Identity() if stride == 1 and in_channels == 4 * width, and otherwise "
        "blocks.Projection(in_channels, 4 * width, stride). (No lambda as a layer: it cannot be pickled; write a small "
        "nn.Module instead.)",
        "Give the stride to the 3x3 alone (or to the first 1x1 alone), and to the projection. The last line is "
        "return self.relu(self.residual(x) + self.shortcut(x)).",
    ),
    read="notebook 04, section 4; paper, section 4.1 and figure 5",
)


def convolutions_of_f(block: nn.Module, in_channels: int, out_channels: int) -> list[Operation]:
    """The convolutions of F that are reached, also if the block then stops with an error."""
    found = [o for o in reached(block, torch.randn(2, in_channels, 8, 8)) if o.name == "convolution"]
    if len(found) > 3:  # with exactly three, a 1x1 of that shape belongs to F
        projections = [c for c in found if is_projection(c, in_channels, out_channels)]
        found = [c for c in found if c is not (projections or [None])[0]]
    return found


def in_words(found: list[Operation]) -> str:
    """ "1x1, 16 -> 4; 3x3, 4 -> 4; 1x1, 4 -> 16" """
    words = [f"{c.kernel[2]}x{c.kernel[3]}, {c.kernel[1]} -> {c.kernel[0]}" for c in found]
    return "; ".join(words) or "no convolution"


@bottleneck.probe("which convolutions F runs, from 16 channels with width 4 to 16",
                  "1x1, 16 -> 4; 3x3, 4 -> 4; 1x1, 4 -> 16")  # fmt: skip
def three_convolutions(answer):
    found = convolutions_of_f(keeping(answer, 4), 16, 16)
    sizes, got = [c.kernel[2] for c in found], in_words(found)
    if all(c.kernel[0] != 16 for c in found):
        return  # the probe of the shapes says that the expansion is forgotten
    if sizes.count(3) > 1:
        why = "The 3x3 is the costly one: there is one of it, in the narrow middle. Before and after it come 1x1."
        raise Wrong("more than one 3x3", got, why)
    if len(found) != 3:
        raise Wrong("not three convolutions", got, "F reduces, works and restores: three convolutions.")
    if sizes != [1, 3, 1]:
        raise Wrong("the order is not 1x1, 3x3, 1x1", got, "Reduce first, then the 3x3, then restore.")
    reduced, worked, restored = (c.kernel[0] for c in found)
    if reduced == 16:
        why = "The first 1x1 reduces to `width` channels. Without that the 3x3 costs 16 times as much."
        raise Wrong("the reduction is forgotten", got, why)
    if worked == 16:
        why = "The 3x3 keeps `width` channels; the last 1x1 restores 4 * width."
        raise Wrong("the 3x3 restores the channels", got, why)
    if (reduced, worked, restored) != (4, 4, 16):
        why = "The channels go in_channels -> width -> width -> 4 * width."
        raise Wrong("other channels than the width in the middle", got, why)


@bottleneck.probe("which convolution of F takes the stride of 2", "the first 1x1 (v1) or the 3x3 (v1.5), and only one")
def stride(answer):
    found = convolutions_of_f(make_block(answer, 16, 8, 2, 4), 16, 32)
    if [c.kernel for c in found] != [(8, 16, 1, 1), (8, 8, 3, 3), (32, 8, 1, 1)]:
        return  # the other probes say what is wrong
    strides = tuple(c.stride for c in found)
    got = f"strides {', '.join(map(str, strides))}"
    if strides == (1, 1, 2):
        why = "There all the work is done at the full size, and three quarters of it are thrown away at the end."
        raise Wrong("the stride is on the last 1x1", got, why)
    if strides == (1, 1, 1):
        why = "Then F(x) keeps its size, and the shortcut does not."
        raise Wrong("no convolution of F takes the stride", got, why)
    if strides not in ((2, 1, 1), (1, 2, 1)):
        why = "Two strides of 2 make a quarter of the height and width. Give it to one convolution only."
        raise Wrong("the stride is on more than one convolution of F", got, why)


probe_residual_block(bottleneck, expansion=4)  # last, so that the probes above explain an error before
