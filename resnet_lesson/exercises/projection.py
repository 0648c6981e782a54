"""The exercise `projection` of notebook 03: the shortcut of options B and C."""

from ..models import blocks
from .kit.blocks import try_block
from .kit.exercise import Exercise

projection = Exercise(
    "projection",
    "Write the projection shortcut: a 1x1 convolution to the new shape, then BN.",
    solution=(blocks.conv1x1, blocks.Projection),
    hints=(
        "There are two layers: the first changes the shape, and the second brings the numbers to the scale of F(x).",
        "A 1x1 convolution looks at one pixel at a time, and has one weight for each pair of an input and an output "
        "channel.",
        "The convolution takes the stride, which halves height and width. A 1x1 kernel needs no padding, and a bias "
        "would be useless before BN.",
        "nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False), then "
        "nn.BatchNorm2d(out_channels). No ReLU: the only one comes after the addition.",
    ),
    read="notebook 03, section 4; paper, sections 3.2 (equation 2) and 3.3",
)
try_block(projection, "BN of the 1x1 convolution", "one 1x1, 16 -> 32, on 4x4 pixels, without a bias")


# --- The mistakes: {what is right: what is written instead}.
# fmt: off
CONV, BN = "conv1x1(in_channels, out_channels, stride)", "nn.BatchNorm2d(out_channels)"
BOTH = f"{CONV}, {BN}"


def mistake(name: str, why: str, *layers: str) -> None:
    """Other layers instead of the two."""
    for line in layers:
        projection.mistake(name, {BOTH: line}, why)


def conv(options: str, kernel: int = 1) -> str:
    return f"nn.Conv2d(in_channels, out_channels, {kernel}, stride{options})"


def pool(kind: str, options: str = "") -> str:
    return f"nn.{kind}Pool2d(stride, stride{options}), conv1x1(in_channels, out_channels), {BN}"


mistake("no BN after the convolution", "F(x) ends in BN, so at the start each of its channels has mean 0 and standard "
        "deviation 1. A BN brings the shortcut to the same scale.", CONV)
mistake("BN before the convolution", "Here the convolution comes after BN and changes the scale again. First the "
        "convolution, then BN.",
        f"nn.BatchNorm2d(in_channels), {CONV}")
mistake("a bias before BN", "BN subtracts each channel's mean, so a bias before it does nothing: pass bias=False.",
        f"{conv('')}, {BN}")
mistake("the stride is missing", "F(x) has half the height and width here, but your shortcut does not: the convolution "
        "takes the stride.", f"conv1x1(in_channels, out_channels), {BN}")
mistake("the kernel is larger than 1x1", "A shortcut only adapts the shape: with kernel_size=1 it mixes the channels "
        "of one pixel, and leaves its neighbours out.", f"{conv(', 1, bias=False', 3)}, {BN}",
        f"{conv(', bias=False', 3)}, {BN}")
mistake("padding on a 1x1 convolution", "padding=1 is for 3x3 kernels. Around a 1x1 kernel it adds a border of zeros "
        "to the map.", f"{conv(', 1, bias=False')}, {BN}")
mistake("a ReLU on the shortcut", "A projection is linear, without a ReLU. The only ReLU comes after the addition.",
        f"{BOTH}, nn.ReLU()", f"{CONV}, nn.ReLU(), {BN}")
mistake("pooling before the convolution", "With average pooling this is the shortcut of ResNet-D (He, T. et al. 2018), "
        "which is a good one, but came later. Here the 1x1 convolution itself takes the stride, without any pooling.",
        pool("Avg"), pool("Avg", ", ceil_mode=True"), pool("Max"))
mistake("swapped in_channels and out_channels", "nn.Conv2d takes the input channels first: nn.Conv2d(in_channels, "
        "out_channels, ...).", f"conv1x1(out_channels, in_channels, stride), {BN}")
mistake("no projection where the shape stays", "Option C projects even there. The block decides whether it needs a "
        "projection; your class makes one whenever it is asked.",
        f"*([{BOTH}] if stride != 1 or in_channels != out_channels else [])")
# fmt: on
