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
        "A 1x1 convolution looks at one pixel, and has one weight for each pair of an input and an output channel.",
        "The convolution takes the stride, which halves height and width. A 1x1 kernel needs no padding, and BN makes "
        "a bias useless.",
        "nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False), then "
        "nn.BatchNorm2d(out_channels). No ReLU: the only one comes after the addition.",
    ),
    read="notebook 03, section 4; paper, sections 3.2 (equation 2) and 3.3",
)
try_block(projection, "BN of the 1x1 convolution", "one 1x1, 16 -> 32, on 4x4 pixels, without a bias")


# --- The mistakes: {what is right: what is written instead}.
# fmt: off
CONV, BN = "conv1x1(in_channels, out_channels, stride)", "nn.BatchNorm2d(out_channels)"
BOTH, END, POOL = f"{CONV}, {BN}", f"{BN})", "nn.{}Pool2d(stride, stride{}), conv1x1(in_channels, out_channels), " + BN
FORWARD = BOTH + ")\n\n    def forward(self, x):\n        {}\n        return super().forward(x"


def mistake(name: str, why: str, *layers: str) -> None:
    """Other layers than the two."""
    for line in layers:
        projection.mistake(name, {BOTH: line}, why)


def conv(options: str, kernel: int = 1) -> str:
    return f"nn.Conv2d(in_channels, out_channels, {kernel}, stride{options})"


mistake("no BN after the convolution", "F(x) ends in BN: mean 0 and standard deviation 1 in each channel. BN brings "
        "the shortcut to that scale.", CONV)
mistake("BN before the convolution", "Something that changes the scale follows BN. First the convolution, then BN.",
        f"nn.BatchNorm2d(in_channels), {CONV}")
mistake("one BN too many", "One BN is enough, after the convolution: what the first one scales, the second one scales "
        "again.", f"nn.BatchNorm2d(in_channels), {BOTH}", f"{BOTH}, {BN}")
mistake("another normalisation than BN", "GroupNorm and InstanceNorm take the mean of each image by itself, in eval() "
        "too. It is nn.BatchNorm2d(out_channels).", *(f"{CONV}, nn.{norm}" for norm in (
            *(f"GroupNorm({n}, out_channels)" for n in (1, 2, 4, 8, 16)), "InstanceNorm2d(out_channels)",
            "InstanceNorm2d(out_channels, affine=True)")))
mistake("BN without scale and shift", "BN has a scale and a shift for each channel, which are learned. Leave "
        "affine=False out.", f"{CONV}, nn.BatchNorm2d(out_channels, affine=False)")
mistake("BN uses the batch in eval()", "In eval() BN takes its running mean and variance. Is there a "
        "track_running_stats=False, or a .train() in forward?",
        f"{CONV}, nn.BatchNorm2d(out_channels, track_running_stats=False)", FORWARD.format("self.train()"))
mistake("BN never uses the batch", "In train() BN takes the mean and variance of the batch. F.batch_norm needs "
        "training=self.training.", FORWARD.format("self.eval()"))
mistake("a bias before BN", "BN subtracts each channel's mean, and with it the bias: pass bias=False.",
        f"{conv('')}, {BN}")
mistake("the stride is missing", "F(x) is half as high and wide here, and your shortcut is not: the convolution takes "
        "the stride.", f"conv1x1(in_channels, out_channels), {BN}")
mistake("the kernel is larger than 1x1", "A shortcut only fits the shape: kernel_size=1 mixes the channels of one "
        "pixel, not its neighbours.", *(f"{conv(options, kernel)}, {BN}" for kernel, options in (
            (3, ", 1, bias=False"), (3, ", bias=False"), (2, ", bias=False"))))
mistake("padding on a 1x1 convolution", "padding=1 is for 3x3 kernels. Around a 1x1 kernel it adds a border of zeros "
        "to the map.", f"{conv(', 1, bias=False')}, {BN}")
mistake("a ReLU on the shortcut", "A projection is linear: no ReLU. The one ReLU of the sum comes after the addition.",
        f"{BOTH}, nn.ReLU()", f"nn.ReLU(), {BOTH}", f"{CONV}, nn.ReLU(), {BN}")
mistake("pooling before the convolution", "With average pooling it is the shortcut of ResNet-D (He, T. et al. 2018), "
        "which is a good one, but later. Here the 1x1 convolution itself has the stride, and no pixel is averaged.",
        POOL.format("Avg", ""), POOL.format("Avg", ", ceil_mode=True"))
mistake("max pooling before the convolution", "Max pooling takes the largest of 2x2 pixels. Here no pool is needed: "
        "the 1x1 convolution has the stride.", POOL.format("Max", ""), POOL.format("Max", ", ceil_mode=True"))
mistake("pooling after the convolution", "The 1x1 convolution itself takes the stride: no pool is needed.",
        *(f"conv1x1(in_channels, out_channels), {BN}, nn.{pool}Pool2d(stride, stride{more})" for pool in ("Avg", "Max")
          for more in ("", ", ceil_mode=True")))
mistake("swapped in_channels and out_channels", "nn.Conv2d takes the input channels first: nn.Conv2d(in_channels, "
        "out_channels, ...).", f"conv1x1(out_channels, in_channels, stride), {BN}")
mistake("the wrong number of channels", "The sum needs the channels of F(x), out_channels.",
        "conv1x1(in_channels, in_channels, stride), nn.BatchNorm2d(in_channels)")
mistake("another pixel than every second one", "Stride 2 takes the pixels 0, 2, 4, ... in both axes.",
        f"nn.ZeroPad2d((1 - stride, 0, 1 - stride, 0)), {BOTH}")
mistake("two convolutions instead of one", "Two 1x1 convolutions in a row are one linear map: one is enough, from "
        "in_channels to out_channels.", f"{CONV}, conv1x1(out_channels, out_channels), {BN}",
        f"conv1x1(in_channels, in_channels), {BOTH}", f"conv1x1(in_channels, in_channels, stride), "
        f"conv1x1(in_channels, out_channels), {BN}", f"{BOTH}, conv1x1(out_channels, out_channels), {BN}")
mistake("not every input channel reaches every output channel", "Each output channel is a mix of all input channels; "
        "with groups it sees only some.", *(f"{conv(f', groups={n}, bias=False')}, {BN}"
                                             for n in (2, 4, 8, "in_channels")))
mistake("the gradient is cut", "Is there a detach(), .data or no_grad() on the way?",
        FORWARD.format("x = x.detach()"),
        *(FORWARD.format(f"return {lost}.detach())") for lost in ("(super().forward(x)", "self[1](self[0](x)")))
mistake("the convolution does not learn", "A frozen weight, or one in a buffer, stays as it was at the start.",
        f"{CONV}.requires_grad_(False), {BN}",
        f"{BOTH})\n        weight = self[0].weight.detach()\n        del self[0].weight\n        "
        "self[0].register_buffer('weight', weight")
mistake("no projection where the shape stays", "Option C projects there, too. Whether one is needed is the block's "
        "choice: here one is asked for.", f"*([{BOTH}] if stride != 1 or in_channels != out_channels else [])",
        f"*([{BOTH}] if in_channels != out_channels else [])", f"*([{BOTH}] if stride != 1 else [])")
# fmt: on
