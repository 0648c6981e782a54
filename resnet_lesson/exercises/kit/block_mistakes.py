"""The known mistakes that the exercises of blocks share, as edits of the course's blocks."""

from .exercise import Exercise

SUM = "self.relu(self.residual(x) + self.shortcut(x))"
NO_BIAS = "BN subtracts each channel's mean, so a bias before it does nothing: pass bias=False."
ONE_NORM = "One BN runs twice. Each convolution needs a BN of its own, with its own statistics."
BIASED = {"conv3x3(in_channels, width, stride)": "nn.Conv2d(in_channels, width, 3, stride, 1)",
          "conv3x3(width, width)": "nn.Conv2d(width, width, 3, padding=1)"}  # fmt: skip


# fmt: off
def after(line: str) -> dict[str, str]:
    """Adds a line at the end of __init__."""
    return {"self.relu = nn.ReLU()": f"self.relu = nn.ReLU()\n        {line}"}


def mistakes_of_two_3x3(exercise: Exercise) -> None:
    """Mistakes in the shapes of two 3x3 convolutions."""
    mistake = exercise.mistake
    one, two = "conv3x3(in_channels, width, stride)", "conv3x3(width, width)"
    bare = {one: "nn.Conv2d(in_channels, width, 3, stride, bias=False)", two: "nn.Conv2d(width, width, 3, bias=False)"}
    for lines in (bare, {one: bare[one]}, {two: bare[two]}):
        mistake("the 3x3 has no padding", lines,
                "A 3x3 convolution loses one pixel on each side unless it has padding=1.")
    late = {one: "conv3x3(in_channels, width)", two: "conv3x3(width, width, stride)"}
    mistake("the stride is on the second convolution", late,
            "The first convolution takes the stride: then the second one has fewer pixels to work on.")
    mistake("the stride is on both convolutions", {two: "conv3x3(width, width, stride)"},
            "Together they divide height and width by 4. Only the first one takes the stride.")
    mistake("no convolution of F takes the stride", {one: "conv3x3(in_channels, width)"},
            "When the block has stride 2, its first convolution has stride 2.")


def mistakes_of_two_convolutions(exercise: Exercise) -> None:
    """Mistakes in conv - BN - ReLU - conv - BN, as PlainBlock and BasicBlock have it."""
    mistakes_of_two_3x3(exercise)
    mistake = exercise.mistake
    mistake("a bias before BN", BIASED, NO_BIAS)
    mistake("missing ReLU before convolution 2", {"relu=nn.ReLU()": "relu=nn.Identity()"},
            "Without a ReLU between them, two convolutions amount to a single linear map.")
    mistake("BN after the ReLU instead of before it",
            {"bn1=nn.BatchNorm2d(width)": "bn1=nn.ReLU()", "relu=nn.ReLU()": "relu=nn.BatchNorm2d(width)"},
            "The order is conv - BN - ReLU: BN centres the values, then ReLU cuts the negative ones.")
    for norm in ("bn1", "bn2"):
        for unused in ({}, after("self.unused = nn.BatchNorm2d(width)")):
            mistake("a convolution without BN", {f"{norm}=nn.BatchNorm2d(width)": f"{norm}=nn.Identity()"} | unused,
                    "Each convolution is followed by BN, which forward has to call.")


def mistakes_of_every_block(exercise: Exercise, inside: str) -> None:
    """A single BN that runs twice. inside: the name of the sequence of layers."""
    bn1, bn2 = f"self.{inside}.bn1", f"self.{inside}.bn2"
    for line in (f"{bn2} = {bn1}", f"self.unused, {bn2} = {bn2}, {bn1}"):
        exercise.mistake("one BN for two convolutions", after(line), ONE_NORM)


def mistakes_of_the_sum(exercise: Exercise) -> None:
    """Mistakes in the line y = ReLU(F(x) + shortcut(x))."""
    mistake = exercise.mistake
    mistake("forgotten shortcut", {SUM: "self.relu(self.residual(x))"},
            "x has no way around the convolutions, so F(x) is all that is left.")
    mistake("ReLU before the addition instead of after it", {SUM: "self.relu(self.residual(x)) + self.shortcut(x)"},
            "The last ReLU comes after the addition: y = ReLU(F(x) + x). If it came before, F could never subtract.")
    mistake("a ReLU at the end of F", {SUM: "self.relu(self.relu(self.residual(x)) + self.shortcut(x))"},
            "F ends in BN. With a ReLU at its end it can only add, never subtract.")
    mistake("missing ReLU after the addition", {SUM: "self.residual(x) + self.shortcut(x)"},
            "A block ends in a ReLU, after the addition: y = ReLU(F(x) + x).")
    mistake("the gradient of the shortcut is cut", {SUM: "self.relu(self.residual(x) + self.shortcut(x).detach())"},
            "The values of x arrive, but their gradient does not. Is there a detach(), .data or no_grad() on the way?")
    for lines in ("x = self.residual(x)\n        return self.relu(x + self.shortcut(x))",
                  "x = self.residual(x)\n        return self.relu(x + x)"):
        mistake("x is overwritten, so the shortcut does not start at x", {"return " + SUM: lines}, "Both terms "
                "start at the block's input. Keep x as it is, and give the output of F another name: out = ...")
    mistake("the shortcut does not start at x", {"return " + SUM: "y = self.residual(x)\n        fits = isinstance("
            "self.shortcut, nn.Identity)\n        return self.relu(y + (x if fits else self.shortcut(y)))"},
            "The shortcut starts at x, the block's input, not at the output of F.")


def mistakes_of_the_shortcut(exercise: Exercise, out: str, biased: dict[str, str]) -> None:
    """Mistakes in the line that makes the shortcut.

    out: the block's output channels in its source; biased: the edits that give the convolutions of F a bias.
    """
    mistake, s = exercise.mistake, f"make_shortcut(shortcut, in_channels, {out}, stride)"
    fits, words = f"stride == 1 and in_channels == {out}", "width" if out == "width" else "4 * width"
    mistake("a ReLU on the projection", {s: f"nn.Identity() if {fits} else nn.Sequential({s}, nn.ReLU())"},
            "The projection is a 1x1 convolution and BN. The only ReLU outside F comes after the addition.")
    mistake("x itself is added where the shape changes", {s: "nn.Identity()"},
            f"Where the shape changes, x does not fit F(x): use a projection if stride != 1 or in_channels != {words}.")
    for where, condition, why in (
            ("there is a stride", "stride != 1", "When the channels change, x does not fit F(x) even at stride 1"),
            ("the channels change", f"in_channels != {out}",
             "With a stride, x is too large for F(x) even if the channels stay"),
            ("both change", f"stride != 1 and in_channels != {out}", "One of the two is enough, or instead of and")):
        mistake(f"projection only where {where}", {s: f"{s} if {condition} else nn.Identity()"},
                f"{why}: use a projection if stride != 1 or in_channels != {words}.")
    for lines in ({}, biased):
        mistake("a bias before BN", lines | {s: f"nn.Identity() if {fits} else nn.Sequential("
                f"nn.Conv2d(in_channels, {out}, 1, stride), nn.BatchNorm2d({out}))"}, NO_BIAS)
    mistake("the projection does not take the stride",
            {s: f"nn.Identity() if {fits} else Projection(in_channels, {out})"},
            "The 1x1 convolution takes the block's stride too, so that both terms have half the height and width.")
    mistake("a projection where identity would do", {s: f'make_shortcut("C", in_channels, {out}, stride)'},
            "Where the shape stays the same, add x itself: nn.Identity() has no parameters and returns x as it is.")
    mistake("missing BN on the projection", {s: f"nn.Identity() if {fits} else conv1x1(in_channels, {out}, stride)"},
            "The projection is a 1x1 convolution *and* BN, so that both terms of the sum have the same scale.")
    mistake("the projection is larger than 1x1", {s: f"nn.Identity() if {fits} else "
            f"nn.Sequential(conv3x3(in_channels, {out}, stride), nn.BatchNorm2d({out}))"},
            "The shortcut only adapts the shape: kernel_size=1 without padding, so that each pixel keeps to itself.")
    mistake("the stride is ignored", {"super().__init__()": "super().__init__()\n        stride = 1"},
            "When the block has stride 2, so do one convolution of F and the projection.")
# fmt: on
