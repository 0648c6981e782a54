"""The shortcut of option A, in notebook 03."""

from functools import partial

import torch
import torch.nn.functional as nnF

from ..models import blocks
from .kit.block_probes import input_untouched
from .kit.exercise import Exercise, Wrong
from .kit.probing import learned, make_block, operations, run, same, shape
from .kit.shortcut_probes import shortcut_outputs

option_a = Exercise(
    "option_a",
    "Write the shortcut of option A: every stride-th pixel, and channels of zeros, half before and half after.",
    solution=(blocks.ZeroPadShortcut,),
    hints=(
        "Two steps, one after the other: take fewer pixels, then add channels. Neither of them learns anything.",
        "Slices with a step take every second pixel: x[:, :, ::2, ::2]. Here the step is stride, in height and width.",
        "Of the out_channels - in_channels new channels one half goes before x, rounded down, and the rest after it.",
        "torch.nn.functional.pad(x, ...) reads two numbers for each axis, from the last axis to the first: "
        "(left, right, top, bottom, channels before, channels after).",
        "forward in one line: return nnF.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, after))",
    ),
    read="notebook 03, section 5; paper, section 3.3",
)


@option_a.probe("the shapes: 16 -> 32, 8 -> 48 and 3 -> 8 channels, stride 1 and 2, 8x8 and odd 7x9 pixels",
                "the channels asked for; height and width divided by the stride, rounded up")  # fmt: skip
def padded_shapes(answer):
    for channels, out, stride, size, y, expected in shortcut_outputs(answer):
        got = f"{shape(y)} instead of {' x '.join(map(str, expected))} ({channels} -> {out} channels, stride {stride})"
        if y.shape == expected:
            continue
        added, height_width = out - channels, tuple(y.shape[2:])
        if y.dim() != 4 or y.shape[0] != 2:
            why = "The axes are (images, channels, height, width). Slice the last two: x[:, :, ::stride, ::stride]."
            raise Wrong("the wrong axes are strided", got, why)
        if y.shape[1] == channels and y.shape[2:].numel() > expected[2:].numel() and height_width != size:
            why = "`pad` counts from the last axis: width first, then height, then channels. So four zeros come first."
            raise Wrong("the zeros widen the image instead of adding channels", got, why)
        if height_width == size != tuple(expected[2:]):
            why = "F(x) has only every second pixel in height and width, and your shortcut has all of them."
            raise Wrong("the stride is ignored", got, why)
        if stride == 1 and height_width != size:
            raise Wrong("the stride is always 2", got, "Here the stride is 1. Is there a 2 in your code instead of it?")
        if y.shape[1] == channels:
            raise Wrong("no channels are added", got, f"F(x) has {out} channels: {added} of zeros are missing.")
        if y.shape[1] == out - 1 and added % 2:
            why = f"{added} new channels have no equal halves: {added // 2} go before and {added - added // 2} after."
            raise Wrong("a channel is lost where an odd number is added", got, why)
        if y.shape[1] != out:
            why = f"{out} - {channels} = {added} channels of zeros are needed. Is yours right only for a doubling?"
            raise Wrong("the number of new channels is wrong", got, why)
        if size == (8, 8):
            raise Wrong("the wrong size", got, "Every stride-th row and every stride-th column is left.")
        if pixel_mistake(answer)[0] == "":
            why = "The convolutions of F(x) make 4 of 7 pixels: 0, 2, 4 and 6. A slice x[::2] does so, too."
            raise Wrong("an odd size is rounded down", got, why)


PIXELS = {  # how pixels may be taken wrongly: what it computes, and what to say
    "average pooling instead of every second pixel": (
        lambda x: nnF.avg_pool2d(x, 2),
        "Pooling, and most ways to resize an image, take the mean of 2x2 pixels. Option A leaves out three of four.",
    ),
    "max pooling instead of every second pixel": (
        lambda x: nnF.max_pool2d(x, 2),
        "Pooling takes the largest of 2x2 pixels. Option A takes the upper left one, whatever its value.",
    ),
    "it begins at the second pixel": (
        lambda x: x[:, :, 1::2, 1::2],
        "1::2 takes 1, 3, 5, ...; ::2 takes 0, 2, 4, ..., where the convolutions of F(x) have their centres.",
    ),
    "a corner is cut out": (lambda x: x[:, :, :4, :4], "The step is the third number of a slice: ::2, not :4."),
}


def pixel_mistake(answer) -> tuple[str, str]:
    """The name of the mistake that an answer makes in taking pixels ("other" for an unknown one), and its first row."""
    x = (torch.arange(80.0, 0, -10)[:, None] + torch.arange(1.0, 9)).expand(1, 4, 8, 8)
    y = run(make_block(answer, 4, 8, 2), x)
    if y.shape[2:] != (4, 4):
        return "", ""
    row = next((image[0] for image in y[0] if image.any()), y[0, 0, 0])
    named = {"": x[:, :, ::2, ::2], **{name: wrong(x) for name, (wrong, _) in PIXELS.items()}}
    found = (name for name, maps in named.items() for image in y[0] if same(image, maps[0, 0]))
    return next(found, "other"), "its first row is " + " ".join(f"{value:g}" for value in row.tolist())


@option_a.probe("which pixels are taken of a map with 81 82 ... 88 in its first row, 71 72 ... in its second, stride 2",
                "every second one, unchanged: the first row is 81 83 85 87")  # fmt: skip
def taken_pixels(answer):
    mistake, row = ("", "") if learned(make_block(answer, 4, 8, 2)) else pixel_mistake(answer)
    if mistake == "other":
        raise Wrong("other pixels, or other values", row, "Rows and columns both take 0, 2, 4, ...: x[:, :, ::2, ::2].")
    if mistake:
        raise Wrong(mistake, row, PIXELS[mistake][1])


@option_a.probe("where the zeros are: x with channels of all 1, all 2, all 3, ...; 4 -> 8 and 3 -> 8 channels",
                "zeros half before and half after: 0 0 1 2 3 4 0 0, and 0 0 1 2 3 0 0 0")  # fmt: skip
def zero_channels(answer):
    for channels in (4, 3):
        made = make_block(answer, channels, 8, 2)
        y = run(made, torch.arange(1.0, channels + 1).view(1, -1, 1, 1).expand(2, -1, 6, 6))
        if y.dim() != 4 or y.shape[1] != 8 or learned(made):
            continue  # another probe says what is wrong
        values = [round(v, 1) for v in y[0].mean((1, 2)).tolist()]
        got, own = " ".join(f"{v:g}" for v in values), [float(k) for k in range(1, channels + 1)]
        first = next((k for k in range(9 - channels) if values[k : k + channels] == own), None)
        if first is None:
            whole = set(own) <= set(values)
            if whole and [v for v in values if v] != own:
                why = "The channels of x stay in their order: channel k of x is added to channel k + before of F(x)."
                raise Wrong("the order of x's channels is changed", got, why)
            why = "Keep x in one piece: zeros before it and after it, none of its channels left out or moved."
            raise Wrong("the zeros lie between the channels" if whole else "channels of x are lost", got, why)
        rest = values[:first] + values[first + channels :]
        if any(rest) and set(rest) <= set(own) | {0.0}:
            why = "A copied channel is a second shortcut from the same channel. The new ones hold zeros."
            raise Wrong("channels are repeated instead of zeros", got, why)
        if any(rest):
            raise Wrong("the new channels are not zero", got, "Adding them to F(x) should change nothing there.")
        if first in (0, 8 - channels):
            why = "The paper does not say where they go. Here, as in much code for CIFAR-10, one half goes before."
            raise Wrong(f"all zero channels come {'before' if first else 'after'} x", got, why)
        if first not in ((8 - channels) // 2, (9 - channels) // 2):
            raise Wrong("the halves are not equal", got, "As many channels of zeros go before x as after it.")


@option_a.probe("its parameters, 16 -> 32 channels, stride 2", "none: nothing is learned")
def nothing_is_learned(answer):
    if found := learned(make_block(answer, 16, 32, 2)):
        why = "That is what a projection does (option B). Option A only leaves out pixels and adds zeros."
        raise Wrong("the shortcut has parameters", f"{found} of them", why)


@option_a.probe("x in 16-bit numbers (bfloat16)", "the output has the same dtype")
def keeps_dtype(answer):
    made = make_block(answer, 4, 8, 2)
    x = torch.ones(2, 4, 6, 6, dtype=torch.bfloat16)
    y = run(made.to(torch.bfloat16), x)
    casts = (o.inputs[0] for o in operations(made, x) if o.name == "_to_copy" and o.result.dtype != x.dtype)
    if y.dtype != torch.bfloat16 and any(cast.any() for cast in casts):
        why = "x itself is turned into another dtype. Is there a .float(), or .to(torch.float32)? Leave it out."
        raise Wrong("the dtype of x is changed", y.dtype, why)
    if y.dtype != torch.bfloat16:
        why = "torch.zeros(...) makes 32-bit numbers. x.new_zeros(...), or nnF.pad, keeps the dtype of x."
        raise Wrong("the zeros have a dtype of their own", y.dtype, why)


@option_a.probe("x on another device (torch's `meta`)", "the output is on the same device")
def keeps_device(answer):
    x = torch.ones(2, 4, 6, 6, device="meta")
    made = make_block(answer, 4, 8, 2).to("meta")
    try:
        got = str(run(made, x).device)
    except (RuntimeError, NotImplementedError) as error:
        got = str(error).splitlines()[0]
    if got != "meta":
        why = "torch.zeros(...) makes them on the CPU; on a GPU this stops. x.new_zeros(...), or nnF.pad, follows x."
        raise Wrong("the zeros stay on the CPU", got, why)


def padded(x):
    """The right answer from 4 to 8 channels, stride 2."""
    return nnF.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))


@option_a.probe("positive and negative values, 4 -> 8 channels, stride 2", "the values of x, whatever their sign")
def keeps_signs(answer):
    x = torch.randn(2, 4, 6, 6)
    y = run(make_block(answer, 4, 8, 2), x)
    if not same(y, padded(x)) and same(run(make_block(answer, 4, 8, 2), x.abs()), padded(x.abs())):
        why = "Is there a ReLU or an abs()? The shortcut hands x on as it is; the only ReLU follows the addition."
        raise Wrong("negative values are changed", f"{y.min():.2f} where x has {x.min():.2f}", why)


@option_a.probe("1, 2 and 5 images", "as many images come out, each as if it were alone")
def any_batch(answer):
    made, x = make_block(answer, 4, 8, 2), torch.rand(5, 4, 6, 6)
    if not same(run(made, x[:2]), padded(x[:2])):
        return  # another probe says what is wrong
    for images in (1, 5):
        found = reached_output(made, x[:images])
        if found is None or not same(found, padded(x[:images])):
            why = "Is a number of images written in your code? Take it from x: x.shape[0]."
            raise Wrong("it works for two images only", f"another output for {images} images", why)


def reached_output(made, x):
    """Its output, or None where it stops with a RuntimeError."""
    try:
        return run(made, x)
    except RuntimeError:
        return None


@option_a.probe("the gradient of the output's sum, 4 -> 8 channels, stride 2", "1 at every second pixel, 0 elsewhere")
def gradient_passes(answer):
    made = make_block(answer, 4, 8, 2)
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    y = run(made, x)
    if learned(made) or y.requires_grad and not same(y.detach(), padded(x.detach())):
        return  # another probe says what is wrong
    expected = torch.zeros(2, 4, 6, 6)
    expected[:, :, ::2, ::2] = 1
    gradient = torch.autograd.grad(y.sum(), x, allow_unused=True)[0] if y.requires_grad else None
    if gradient is None or not same(gradient, expected):
        why = "The values of x arrive, their gradient does not. Is there a detach(), .data or no_grad() on the way?"
        raise Wrong("the gradient is cut", "no gradient" if gradient is None else "another one", why)


option_a.probe("x after the forward pass", "unchanged: F needs it, too")(partial(input_untouched, expansion=1))
