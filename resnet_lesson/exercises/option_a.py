"""The exercise `option_a` of notebook 03: the shortcut that leaves out pixels and adds channels of zeros."""

import torch

from ..models import blocks
from .kit.blocks import make_block, reads_values
from .kit.calls import numbers, run
from .kit.exercise import Exercise, Wrong
from .kit.outcomes import attempt, shape

option_a = Exercise(
    "option_a",
    "Write the shortcut of option A: take every stride-th pixel, add channels of zeros, half before and half after.",
    solution=(blocks.ZeroPadShortcut,),
    hints=(
        "There are two steps: first take fewer pixels, then add channels. Neither step learns anything.",
        "A slice with a step takes every second pixel: x[:, :, ::2, ::2]. Here the step is `stride`, both times.",
        "There are out_channels - in_channels new channels. Half of them, rounded down, go before x, the rest after.",
        "torch.nn.functional.pad(x, ...) reads two numbers for each axis, from the last axis to the first: "
        "(left, right, top, bottom, channels before, channels after).",
        "Now forward is one line: "
        "return nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, after))",
    ),
    read="notebook 03, section 4; paper, section 3.3",
)
# If the number of new channels is odd, the larger half may also go before x.
option_a.right({"(out_channels - in_channels) // 2": "(out_channels - in_channels + 1) // 2"})


@option_a.case("the shapes: the same number of channels and more, stride 1 and 2, 8x8 and odd 7x9 pixels",
               "the channels asked for; height and width divided by the stride, rounded up")  # fmt: skip
def shapes(answer):
    def one(channels, out, stride, *size):
        return shape(run(make_block(answer, channels, out, stride), numbers(2, channels, *size)))

    asked = ((16, 32, 2, 8, 8), (16, 32, 1, 8, 8), (8, 48, 2, 8, 8), (3, 8, 2, 8, 8), (4, 4, 2, 8, 8), (4, 8, 2, 7, 9))
    return {f"{i} -> {o}, stride {s}, {h}x{w}": attempt(one, i, o, s, h, w) for i, o, s, h, w in asked}


@option_a.case("which pixels are kept from a map with rows 81 82 ... 88, then 71 72 ... 78 and so on, at stride 2",
               "every second one, unchanged: the first row is 81 83 85 87")  # fmt: skip
def taken_pixels(answer):
    x = torch.arange(80.0, 0, -10)[:, None] + torch.arange(1.0, 9)
    y = run(make_block(answer, 4, 8, 2), x.expand(2, 4, 8, 8))
    if y.dim() != 4:
        return y
    taken = next((image for image in y[0] if image.max() > image.min()), y[0, 0])
    return {"the first row": taken[0].tolist(), "the first column": taken[:, 0].tolist()}


@option_a.case("where the zeros are, if the channels of x are all 1, all 2, all 3, ...; 4 -> 8 and 3 -> 8 channels",
               "half before and half after: 0 0 1 2 3 4 0 0, and 0 0 1 2 3 0 0 0")  # fmt: skip
def zero_channels(answer):
    def one(channels):
        x = torch.arange(1.0, channels + 1).view(1, -1, 1, 1).expand(2, -1, 6, 6)
        y = run(make_block(answer, channels, 8, 2), x)
        return " ".join(f"{value:.3g}" for value in y[0].flatten(1).mean(1).tolist())

    return {f"{channels} -> 8": attempt(one, channels) for channels in (4, 3)}


@option_a.case("the parameters, 16 -> 32 channels, stride 2", "none: nothing is learned")
def nothing_is_learned(answer):
    learned = sum(p.numel() for p in make_block(answer, 16, 32, 2).parameters() if p.requires_grad)
    if learned:
        why = "A projection has parameters (option B). Option A only leaves out pixels and adds zeros."
        raise Wrong("the shortcut has parameters", f"{learned} parameters", why)


@option_a.case("x in 16-bit and in 64-bit numbers (bfloat16, float64)", "the output has the same dtype")
def keeps_dtype(answer):
    def one(dtype):
        return str(run(make_block(answer, 4, 8, 2).to(dtype), torch.ones(2, 4, 6, 6, dtype=dtype)).dtype)

    return {"from bfloat16": one(torch.bfloat16), "from float64": one(torch.float64)}


@option_a.case("x on another device (torch's `meta`)", "the output is on the same device")
def keeps_device(answer):
    try:
        y = run(make_block(answer, 4, 8, 2).to("meta"), torch.ones(2, 4, 6, 6, device="meta"))
    except RuntimeError as error:
        if not reads_values(error):
            raise
        return "meta"
    return str(y.device)


@option_a.case("positive and negative values, in 1, 2 and 5 images", "the values of x, whatever their sign")
def every_value(answer):
    def one(images, made):
        return run(made, numbers(images, 4, 6, 6))

    found = {f"{n} images": attempt(one, n, make_block(answer, 4, 8, 2)) for n in (1, 2, 5)}
    made = make_block(answer, 4, 8, 2)
    attempt(one, 5, made)
    return found | {"1 after 5": attempt(one, 1, made)}


@option_a.case("the gradient of x, 4 -> 8 channels, stride 2", "that of the output at every second pixel, 0 elsewhere")
def gradient(answer):
    x = numbers(2, 4, 6, 6).requires_grad_()
    y = run(make_block(answer, 4, 8, 2), x)
    return torch.autograd.grad((y * numbers(*y.shape, seed=3)).sum(), x)[0] if y.requires_grad else "no gradient"


@option_a.case("x after the forward pass", "unchanged, because F needs it as well")
def leaves_x_alone(answer):
    x = numbers(2, 4, 6, 6)
    before = x.clone()
    make_block(answer, 4, 8, 2)(x)
    if not torch.equal(x, before):
        why = "An operation writes into x itself: `x[...] = ...`, or one whose name ends in _. Work on a copy."
        raise Wrong("x is changed in place", "different values in x", why)


# --- The mistakes: {what is right: what is written instead}.
# fmt: off
S, H, W = "self.stride", "x.shape[2]", "x.shape[3]"
TAKE, PAD = "x[:, :, :: self.stride, :: self.stride]", "nn.functional.pad(x, (0, 0, 0, 0, self.before, self.after))"
BEFORE, AFTER, ALL = "self.before = ", "self.after = ", "self.before + x.shape[1] + self.after"
CAT, ZEROS = "nn.functional.torch.cat", "nn.functional.torch.zeros"
WRONG_AXES = ("s, s", ":, s, s", "..., s", ":, :, s")
mistake = option_a.mistake


def takes(name: str, why: str, *wrong: str) -> None:
    """Pixels are taken in a different way."""
    for line in wrong:
        mistake(name, {TAKE: line}, why)


def pads(name: str, why: str, *wrong: str) -> None:
    """Channels are added in a different way."""
    for line in wrong:
        mistake(name, {"return " + PAD: line if "return" in line else "return " + line}, why)


def zeros(option: str) -> tuple[str, str]:
    """torch.zeros with one option of x's, joined to x or with x written into it."""
    new = f"{ZEROS}(len(x), {{}}, *x.shape[2:], {option}=x.{option})"
    before, after = (new.format(f"self.{n}") for n in ("before", "after"))
    into = "y[:, self.before : self.before + x.shape[1]] = x"
    return f"{CAT}([{before}, x, {after}], 1)", f"y = {new.format(ALL)}\n        {into}\n        return y"


takes("average pooling instead of every second pixel", "Average pooling, like most ways to resize an image, takes the "
      "mean of 2x2 pixels. Option A keeps one of the four and leaves out the others.",
      f"nn.functional.avg_pool2d(x, {S})")
takes("max pooling instead of every second pixel", "Max pooling takes the largest of 2x2 pixels. Option A takes the "
      "upper left one, whatever its value.", f"nn.functional.max_pool2d(x, {S})")
takes("it begins at the second pixel", "1::2 takes pixels 1, 3, 5, ...; ::2 takes 0, 2, 4, ..., where the convolutions "
      "of F(x) have their centres.", f"x[:, :, 1 :: {S}, 1 :: {S}]")
takes("the wrong axes are strided", "The axes are (images, channels, height, width). Slice the last two: x[:, :, "
      "::stride, ::stride].", *(f"x[{axes.replace('s', '::' + S)}]" for axes in WRONG_AXES))
takes("the stride is ignored", "F(x) has half the height and width of x; your shortcut still has all of its pixels.",
      "x")
takes("the stride is always 2", "With stride 1, every pixel stays. Is there a 2 in your code where `stride` belongs?",
      "x[:, :, ::2, ::2]")
takes("an odd size is rounded down", "The convolutions of F(x) turn 7 pixels into 4, centred on 0, 2, 4 and 6. A slice "
      "x[::2] takes the same four.", f"x[:, :, : {H} // {S} * {S} : {S}, : {W} // {S} * {S} : {S}]")
takes("the gradient is cut", "The values of x arrive, but their gradient does not. Is there a detach(), .data or "
      "no_grad() on the way?", TAKE + ".detach()")
pads("the zeros widen the image instead of adding channels", "`pad` counts from the last axis: width first, then "
     "height, then channels. So the channels' two numbers come after four zeros.",
     *(f"nn.functional.pad(x, ({four}self.before, self.after))" for four in ("", "0, 0, ")))
pads("channels are repeated instead of zeros", "A repeated channel would be a second shortcut from the same input "
     "channel. The new channels hold zeros.", f"{CAT}([x] * -(-({ALL}) // x.shape[1]), 1)[:, : {ALL}]")
mistake("all zero channels come after x", {BEFORE: BEFORE + "0 * "},
        "The paper does not say where they go. Here, as in much code for CIFAR-10, one half goes before x.")
mistake("equal halves of an odd number", {AFTER + "out_channels - in_channels - self.before": AFTER + "self.before"},
        "5 new channels cannot be split into equal halves: 2 go before x and 3 after.")
QUARTERS = {BEFORE: f"{BEFORE}out_channels // 4 or ", AFTER: f"{AFTER}out_channels // 4 or "}
mistake("the number of new channels is right for a doubling only", QUARTERS,
        "You need out_channels - in_channels channels of zeros, whatever these two numbers are.")
mistake("copied for a doubling with stride 2", {**QUARTERS, TAKE: "x[:, :, ::2, ::2]"}, "Much code for CIFAR-10 writes "
        "2 for the stride and pads a quarter of the channels on each side. Use stride, and out_channels - in_channels.")
pads("the dtype of x is lost", "torch.zeros(...) makes 32-bit numbers. x.new_zeros(...), or nnF.pad, keeps the dtype "
     "of x.", *zeros("device"))
pads("the zeros stay on the CPU", "torch.zeros(...) makes them on the CPU, so your code would stop if x were on a GPU. "
     "x.new_zeros(...), or nnF.pad, follows x.", *zeros("dtype"))
# fmt: on
