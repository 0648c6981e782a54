"""Exercise of notebook 03: the projection, the shortcut of options B and C."""

import copy
from functools import partial

import torch
from torch import nn

from ..models import blocks
from .kit.block_probes import copies, input_untouched, modes_differ_by_bn_only
from .kit.exercise import Exercise, Wrong
from .kit.layer_probes import others_do_not_matter, raise_if_hidden
from .kit.probing import convolutions, count, make_block, neutral, operations, run, same, shake, shape
from .kit.shortcut_probes import shortcut_outputs

projection = Exercise(
    "projection",
    "Write the projection shortcut: a 1x1 convolution to the new shape, then BN.",
    solution=(blocks.conv1x1, blocks.Projection),
    hints=(
        "Two layers, one after the other: one that changes the shape, and one that brings the scale to that of F(x).",
        "A 1x1 convolution has one weight for each pair of an input and an output channel. It looks at one pixel.",
        "The stride of the convolution halves height and width. A 1x1 kernel needs no padding, and BN makes a bias "
        "useless.",
        "nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False), then "
        "nn.BatchNorm2d(out_channels). No ReLU: the only one comes after the addition.",
    ),
    read="notebook 03, section 5; paper, sections 3.2 (equation 2) and 3.3",
)


@projection.probe("the shapes: 16 -> 32, 8 -> 48 and 3 -> 8 channels, stride 1 and 2, 8x8 and odd 7x9 pixels",
                  "the channels asked for; height and width divided by the stride, rounded up")  # fmt: skip
def projected_shapes(answer):
    try:
        outputs = list(shortcut_outputs(answer))
    except RuntimeError as error:
        if "to have 32 channels, but got 16 channels" not in str(error):
            raise
        why = "nn.Conv2d takes the input channels first: nn.Conv2d(in_channels, out_channels, ...)."
        raise Wrong("swapped in_channels and out_channels", "a convolution from 32 to 16 channels", why) from error
    for channels, out, stride, size, y, expected in outputs:
        got = f"{shape(y)} instead of {' x '.join(map(str, expected))} ({channels} -> {out} channels, stride {stride})"
        if y.shape == expected or kernels(answer) - {1}:  # another probe judges the kernel
            continue
        if y.shape[1] != out:
            raise Wrong("the wrong number of channels", got, "The sum needs the channels of F(x), out_channels.")
        if tuple(y.shape[2:]) == size:
            why = "F(x) is half as high and wide here, and your shortcut is not: the convolution takes the stride."
            raise Wrong("the stride is missing", got, why)
        if y.shape[2] > expected[2]:
            why = "padding=1 is for 3x3 kernels. Around a 1x1 kernel it adds a border of zeros to the map."
            raise Wrong("padding on a 1x1 convolution", got, why)
        if size == (8, 8):
            raise Wrong("the wrong size", got, "Only the convolution changes the size, by its stride.")


def kernels(answer) -> set[int]:
    """The sizes of the kernels of its convolutions."""
    return {c.kernel[2] for c in convolutions(make_block(answer, 16, 32, 2), torch.randn(2, 16, 8, 8))}


@projection.probe("which pixels of x reach pixel (1, 1) of the output, stride 2", "one only: (2, 2)")
def one_pixel(answer):
    if wide := kernels(answer) - {1}:
        why = "A shortcut only fits the shape: kernel_size=1 mixes the channels of one pixel, not its neighbours."
        raise Wrong("the kernel is larger than 1x1", f"a kernel of {max(wide)}x{max(wide)} pixels", why)
    x = torch.randn(1, 16, 8, 8, requires_grad=True)
    y = run(shake(make_block(answer, 16, 32, 2)).eval(), x)
    if y.dim() != 4 or y.shape[2:] != (4, 4):
        return  # the probe of the shapes says what is wrong
    if not y.requires_grad or (gradient := torch.autograd.grad(y[0, :, 1, 1].sum(), x, allow_unused=True)[0]) is None:
        raise Wrong("the gradient is cut", "no gradient", "Is there a detach(), .data or no_grad() on the way?")
    pixels = [tuple(pixel) for pixel in gradient[0].abs().sum(0).nonzero().tolist()]
    got = ", ".join(map(str, pixels[:4])) + " and more" * (len(pixels) > 4) or "none"
    if pixels != [(2, 2)] and "max" in pools(answer):
        why = "Max pooling takes the largest of 2x2 pixels. Here no pool is needed: the 1x1 convolution has the stride."
        raise Wrong("max pooling before the convolution", got, why)
    if pixels != [(2, 2)] and pools(answer):
        why = (
            "With average pooling it is the shortcut of ResNet-D (He, T. et al. 2018), which is a good one, but later. "
        )
        why += "Here the 1x1 convolution itself has the stride, and no pixel is averaged."
        raise Wrong("pooling before the convolution", got, why)
    if not judged_by_pixels(answer):
        return  # the probe of the images says what is wrong
    if len(pixels) >= 16:
        why = "Every pixel changes this one: the normalisation takes the mean of the image, also in eval()."
        raise Wrong("another normalisation than BN", got, why + " It is nn.BatchNorm2d(out_channels).")
    if pixels != [(2, 2)]:
        raise Wrong("another pixel than every second one", got, "Stride 2 takes the pixels 0, 2, 4, ... in both axes.")


def pools(answer) -> str:
    """The names of the pools that run."""
    found = operations(make_block(answer, 16, 32, 2), torch.randn(2, 16, 8, 8))
    return " ".join(o.name for o in found if "pool" in o.name)


def judged_by_pixels(answer) -> bool:
    """Whether an image's output is its own, in evaluation mode, so that its pixels can be traced."""
    made, x = shake(make_block(answer, 16, 32, 2)).eval(), torch.randn(4, 16, 8, 8)
    return same(run(made, x[:1]), run(made, x)[:1], 1e-4)


projection.probe("one image alone and beside others, in eval()", "the same output: BN uses its stored statistics")(
    partial(others_do_not_matter, expansion=1)
)


@projection.probe("the mean and standard deviation of each output channel, in training mode", "0 and 1: BN is the last")
def normalised(answer):
    x = 30 * torch.randn(8, 16, 8, 8) + 10
    made = neutral(make_block(answer, 16, 32, 2)).train()
    y = run(made, x)
    norms = [o for o in operations(made, x) if o.name == "batch_norm"]
    channels = y.transpose(0, 1).flatten(1)
    got = f"means {channels.mean(1).min():.2f} to {channels.mean(1).max():.2f}, "
    got += f"standard deviations {channels.std(1).min():.2f} to {channels.std(1).max():.2f}"
    if channels.mean(1).abs().max() < 1e-2 and (channels.std(1) - 1).abs().max() < 1e-2 or not affine(made):
        return
    if norms:
        why = "BN is there, but something that changes the scale comes after it. First the convolution, then BN."
        raise Wrong("BN before the convolution", got, why)
    why = "F(x) ends in BN: mean 0 and standard deviation 1 in each channel. BN brings the shortcut to that scale."
    raise Wrong("no BN after the convolution", got, why)


def affine(made: nn.Module) -> bool:
    """Whether it is a linear map and a constant, in evaluation mode."""
    a, b = torch.randn(2, 2, 16, 8, 8)
    made = copy.deepcopy(made).eval()
    return same(run(made, a) + run(made, b), run(made, a + b) + run(made, 0 * a), 1e-3)


@projection.probe(
    "f(a + b) + f(0) and f(a) + f(b), in evaluation mode", "equal: nothing but a linear map and a constant"
)
def linear(answer):
    made, x = shake(make_block(answer, 16, 32, 2)).eval(), torch.randn(2, 16, 8, 8)
    norms = [o for o in operations(made, x) if "norm" in o.name]
    others = [o for o in norms if o.name != "batch_norm" or len(o.inputs[0]) != len(x)]  # nn.InstanceNorm2d reshapes x
    if others or not judged_by_pixels(answer):
        return  # other probes say what is wrong with the normalisation
    if not affine(made) and not pools(answer) and same(run(made, x), run(made, x)):
        why = "A projection is linear: no ReLU. The one ReLU of the sum comes after the addition."
        raise Wrong("a ReLU on the shortcut", "not equal", why)


@projection.probe("its parameters, 16 -> 32 channels", "16 * 32 weights of the convolution and 2 * 32 of BN, no bias")
def parameters(answer):
    made, x = make_block(answer, 16, 32, 2), torch.randn(2, 16, 8, 8)
    raise_if_hidden(made)
    learned, everything = count(made), operations(made, x)
    norms = [o for o in everything if o.name == "batch_norm" and len(o.inputs[0]) == len(x)]
    if len(norms) > 1:
        why = "One BN is enough, after the convolution: what the first one scales, the second one scales again."
        raise Wrong("one BN too many", f"{len(norms)} of BN, {learned} parameters", why)
    found = [o for o in everything if o.name == "convolution"]
    if len(found) > 1:
        why = "Two 1x1 convolutions in a row are one linear map: one is enough, from in_channels to out_channels."
        raise Wrong("two convolutions instead of one", f"{learned} parameters", why)
    if norms and norms[0].inputs[1] is None:
        why = "BN has a scale and a shift for each channel, which are learned. Leave affine=False out."
        raise Wrong("BN without scale and shift", f"{learned} parameters", why)
    if any(c.has_bias for c in found) or learned == 16 * 32 + 3 * 32:
        why = "BN subtracts each channel's mean, and with it the bias: pass bias=False."
        raise Wrong("a bias before BN", f"{learned} parameters: 32 too many", why)
    if learned <= 2 * 32:
        why = "A layer that is made inside forward has new random weights in each pass. Make it in __init__."
        raise Wrong("the convolution does not learn", f"{learned} parameters", why)
    if learned < 16 * 32 and run(made, torch.randn(2, 16, 8, 8)).shape[1] == 32:
        why = "Each output channel is a mix of all input channels; with groups it sees only some."
        raise Wrong("not every input channel reaches every output channel", f"{learned} parameters", why)


projection.probe("train(), and eval() after many passes over the same batch", "the same output: only BN differs")(
    partial(modes_differ_by_bn_only, expansion=1)
)
projection.probe("copies: deepcopy, pickle, the meta device", "they work, and compute the same")(
    partial(copies, expansion=1)
)
projection.probe("x after the forward pass", "unchanged: F needs it, too")(partial(input_untouched, expansion=1))
