"""The known mistakes that the exercises of blocks share, as edits of the course's blocks."""

from .exercise import Exercise

SUM = "self.relu(self.residual(x) + self.shortcut(x))"
RELU = "Between two convolutions come BN and ReLU, and the block ends in a ReLU: nn.ReLU() or torch.relu, nothing else."
OTHERS = ("relu6", "leaky_relu", "gelu", "silu", "sigmoid", "softplus")  # of torch.nn.functional
ACTIVATIONS = ("ReLU6", "LeakyReLU", "GELU", "SiLU", "Sigmoid", "Softplus")


# fmt: off
def after(line: str) -> dict[str, str]:
    """Adds a line at the end of __init__."""
    return {"self.relu = nn.ReLU()": f"self.relu = nn.ReLU()\n        {line}"}


def mistakes_of_two_3x3(exercise: Exercise, inside: str, between: str = "bn1") -> None:
    """Those of the shapes of two 3x3 convolutions.

    inside: the name of the sequence of layers; between: that of the BN between the two.
    """
    mistake = exercise.mistake
    one, two = "conv3x3(in_channels, width, stride)", "conv3x3(width, width)"
    bare = {one: "nn.Conv2d(in_channels, width, 3, stride, bias=False)", two: "nn.Conv2d(width, width, 3, bias=False)"}
    for lines in (bare, {one: bare[one]}, {two: bare[two]}):
        mistake("the 3x3 has no padding", lines,
                "A 3x3 convolution loses one pixel at each side unless it has padding=1.")
    late = {one: "conv3x3(in_channels, width)", two: "conv3x3(width, width, stride)"}
    mistake("the stride is on the second convolution", late,
            "The first convolution takes the stride, so that the second has less to do.")
    mistake("the stride is on both convolutions", {two: "conv3x3(width, width, stride)"},
            "Together they divide the size by 4. The first one takes the stride.")
    mistake("no convolution of F takes the stride", {one: "conv3x3(in_channels, width)"},
            "With stride 2, the first convolution of the block has stride 2.")
    mistake("the channels change in the second convolution",
            {one: "conv3x3(in_channels, in_channels, stride)", two: "conv3x3(in_channels, width)",
             f"{between}=nn.BatchNorm2d(width)": f"{between}=nn.BatchNorm2d(in_channels)"},
            "The first convolution already has the new number of channels.")
    mistake("one convolution for two", after(f"if in_channels == width and stride == 1:\n            "
            f"self.{inside}.conv2 = self.{inside}.conv1"),
            "Does one layer run twice? Each of the convolutions has weights of its own: make one layer for each.")
    mistake("a convolution with groups", {two: "nn.Conv2d(width, width, 3, padding=1, bias=False, groups=width)"},
            "With groups=... each output channel sees only some of the inputs. Leave groups out.")
    mistake("a convolution with dilation", {two: "nn.Conv2d(width, width, 3, padding=2, bias=False, dilation=2)"},
            "With dilation the kernel skips the next pixels. Leave dilation out; padding is 1 then.")


def mistakes_of_two_convolutions(exercise: Exercise, inside: str) -> None:
    """Those of conv - BN - ReLU - conv - BN, as PlainBlock and BasicBlock have it.

    inside: the name of the sequence of layers.
    """
    mistakes_of_two_3x3(exercise, inside)
    mistake = exercise.mistake
    one, two = "conv3x3(in_channels, width, stride)", "conv3x3(width, width)"
    def biased(*arguments): return f"nn.Conv2d({', '.join(arguments)}, padding=1)"
    first, second = ("in_channels", "width", "3", "stride"), ("width", "width", "3")
    for lines in ({one: biased(*first), two: biased(*second)}, {one: biased(*first)}, {two: biased(*second)}):
        mistake("a bias before BN", lines,
                "BN subtracts each channel's mean, so a bias before it does nothing: pass bias=False.")
    mistake("missing ReLU before convolution 2", {"relu=nn.ReLU()": "relu=nn.Identity()"},
            "Two convolutions without a ReLU between them are one linear map.")
    for name in ACTIVATIONS:
        mistake("another function than ReLU", {"relu=nn.ReLU()": f"relu=nn.{name}()"}, RELU)
        mistake("another function than ReLU",
                {"relu=nn.ReLU()": f"relu=nn.{name}()", "self.relu = nn.ReLU()": f"self.relu = nn.{name}()"}, RELU)
    mistake("BN after the ReLU instead of before it",
            {"bn1=nn.BatchNorm2d(width)": "bn1=nn.ReLU()", "relu=nn.ReLU()": "relu=nn.BatchNorm2d(width)"},
            "The order is conv - BN - ReLU: BN centres the values, then ReLU cuts the negative ones.")
    for norm in ("bn1", "bn2"):
        mistake("a convolution without BN", {f"{norm}=nn.BatchNorm2d(width)": f"{norm}=nn.Identity()"},
                "Each convolution is followed by BN.")
    no_relu, no_bn = {"relu=nn.ReLU()": "relu=nn.Identity()"}, {"bn2=nn.BatchNorm2d(width)": "bn2=nn.Identity()"}
    for lines in ({two: "nn.Identity()"} | no_relu | no_bn, {two: "nn.Identity()"} | no_bn, {two: "nn.Identity()"},
                  {two: "nn.Conv2d(width, width, 1, bias=False)"},
                  {one: "nn.Conv2d(in_channels, width, 5, stride, 2, bias=False)"}):
        mistake("not two 3x3 convolutions", lines, "There are two of them, both with padding=1.")


def mistakes_of_every_block(exercise: Exercise, inside: str) -> None:
    """Those of BN and of layers that are shared. inside: the name of the sequence of layers."""
    mistake = exercise.mistake
    bn1, bn2 = f"self.{inside}.bn1", f"self.{inside}.bn2"
    mistake("one BN for two convolutions", after(f"{bn2} = {bn1}"),
            "Two convolutions have equally many channels, but each needs its own statistics: make two BN layers.")
    mistake("one BN for two convolutions", after(f"self.unused, {bn2} = {bn2}, {bn1}"),
            "The first BN runs twice and the second one never: each convolution needs its own.")
    bare = "for bn in self.modules():\n            if isinstance(bn, nn.BatchNorm2d):\n                "
    mistake("BN without scale and shift", after(f"{bare}bn.affine, bn.weight, bn.bias = False, None, None"),
            "BN has a scale and a shift for each channel, which are learned. Leave affine=False out.")
    weight = f"self.{inside}.conv2.weight"
    for line in (f"{weight}.requires_grad_(False)", f"kernel = {weight}.data\n        del {weight}\n        "
                  f'self.{inside}.conv2.register_buffer("weight", kernel)'):
        mistake("some weights are not parameters", after(line),
                "A weight that is a plain tensor is never trained. Use nn.Conv2d and nn.BatchNorm2d, or nn.Parameter.")
    forward = "def forward(self, x: Tensor) -> Tensor:"
    for lines in (after("for bn in self.modules():\n            bn.running_mean, bn.running_var = None, None"),
                  *({forward: f"{forward}\n        {who}.train()"} for who in (f"self.{inside}", "self"))):
        mistake("BN uses the batch in eval()", lines, "In eval() BN takes its running mean and variance. Is there a "
                "track_running_stats=False, or a .train() in forward?")
    for who in (f"self.{inside}", "self"):
        mistake("BN never uses the batch", {forward: f"{forward}\n        {who}.eval()"},
                "In train() BN takes the mean and variance of the batch. F.batch_norm needs training=self.training.")


def mistakes_of_the_sum(exercise: Exercise) -> None:
    """Those of the line y = ReLU(F(x) + shortcut(x))."""
    mistake = exercise.mistake
    mistake("forgotten shortcut", {SUM: "self.relu(self.residual(x))"},
            "x has no way around the convolutions, so F(x) is all that is left.")
    mistake("forgotten F", {SUM: "self.relu(self.shortcut(x))"}, "The convolutions are not added: y = ReLU(F(x) + x).")
    mistake("nothing is computed yet", {SUM: "x"}, "x comes out as it went in. Write F(x) first, and add x to it.")
    mistake("ReLU before the addition instead of after it", {SUM: "self.relu(self.residual(x)) + self.shortcut(x)"},
            "The last ReLU comes after the addition: y = ReLU(F(x) + x). Before it, F could never subtract.")
    mistake("a ReLU at the end of F", {SUM: "self.relu(self.relu(self.residual(x)) + self.shortcut(x))"},
            "F ends in BN. With a ReLU at its end it can only add, never subtract.")
    mistake("missing ReLU after the addition", {SUM: "self.residual(x) + self.shortcut(x)"},
            "A block ends in a ReLU, after the addition: y = ReLU(F(x) + x).")
    for name in OTHERS:
        mistake("another function than ReLU", {SUM: SUM.replace("self.relu", f"nn.functional.{name}")}, RELU)
    mistake("the gradient of the shortcut is cut", {SUM: "self.relu(self.residual(x) + self.shortcut(x).detach())"},
            "The values of x arrive, their gradient does not. Is there a detach(), .data or no_grad() on the way?")
    mistake("the gradient of the shortcut is cut", {SUM: "self.relu(self.residual(x) + self.shortcut(x.detach()))"},
            "The values of x arrive, their gradient does not. Is there a detach(), .data or no_grad() on the way?")
    mistake("the gradient of the shortcut is cut",
            {"return " + SUM: "stays = isinstance(self.shortcut, nn.Identity)\n        "
             "return self.relu(self.residual(x) + (x if stays else self.shortcut(x.detach())))"},
            "Where the shape changes, its values arrive and its gradient does not. Is there a detach() on the way?")
    mistake("the shortcut is added twice", {SUM: "self.relu(self.residual(x) + 2 * self.shortcut(x))"},
            "Add x to F(x) once.")
    for lines in ("self.shortcut(x) - self.residual(x)", "self.residual(x) - self.shortcut(x)"):
        mistake("subtracted instead of added", {SUM: f"self.relu({lines})"},
                "The equation has a plus: F can be negative.")
    mistake("averaged instead of added", {SUM: "self.relu((self.residual(x) + self.shortcut(x)) / 2)"},
            "Nothing is divided: y = ReLU(F(x) + x).")
    mistake("multiplied instead of added", {SUM: "self.relu(self.residual(x) * self.shortcut(x))"},
            "F(x) is added to x.")
    mistake("a ReLU on the shortcut", {SUM: "self.relu(self.residual(x) + self.relu(self.shortcut(x)))"},
            "The shortcut has no ReLU: the only one outside of F comes after the addition.")
    start = "Both terms begin at the block's input. Keep x as it is, and give what F computes another name: out = ..."
    for lines in ("x = self.residual(x)\n        return self.relu(x + self.shortcut(x))",
                  "x = self.residual(x)\n        return self.relu(x + x)"):
        mistake("x is overwritten, so that the shortcut does not start at x", {"return " + SUM: lines}, start)
    mistake("the shortcut does not start at x", {"return " + SUM: "y = self.residual(x)\n        fits = isinstance("
            "self.shortcut, nn.Identity)\n        return self.relu(y + (x if fits else self.shortcut(y)))"},
            "The shortcut gets x, the block's input, not F's answer.")


def mistakes_of_the_shortcut(exercise: Exercise, out: str) -> None:
    """Those of the line that makes the shortcut. out: the block's output channels in its source."""
    mistake, s = exercise.mistake, f"make_shortcut(shortcut, in_channels, {out}, stride)"
    fits = f"stride == 1 and in_channels == {out}"
    mistake("a ReLU on the projection", {s: f"nn.Identity() if {fits} else nn.Sequential({s}, nn.ReLU())"},
            "The projection is a 1x1 convolution and BN. The only ReLU outside of F comes after the addition.")
    for source in ("nn.Sequential(nn.ReLU(), {})", "nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), {})"):
        mistake("the shortcut does not start at x", {s: f"nn.Identity() if {fits} else {source.format(s)}"},
                "The shortcut begins at x, the block's input, not at something that a ReLU or F has computed.")
    mistake("x itself is added where the shape changes", {s: "nn.Identity()"},
            f"There x does not fit F(x). It needs a projection if stride != 1 or in_channels != {out_in_words(out)}.")
    mistake("projection only where there is a stride", {s: f"{s} if stride != 1 else nn.Identity()"},
            f"Other channels alone make x too thin for F(x): stride != 1 or in_channels != {out_in_words(out)}.")
    mistake("projection only where the channels change", {s: f"{s} if in_channels != {out} else nn.Identity()"},
            f"A stride alone makes x too large for F(x): stride != 1 or in_channels != {out_in_words(out)}.")
    mistake("the projection does not take the stride",
            {s: f"nn.Identity() if {fits} else Projection(in_channels, {out})"},
            "The 1x1 convolution takes the block's stride, too: then both terms have half the height and width.")
    mistake("a projection where identity would do", {s: f'make_shortcut("C", in_channels, {out}, stride)'},
            "Where the shape stays, add x itself: nn.Identity() has no parameters and keeps x as it is.")
    mistake("missing BN on the projection", {s: f"nn.Identity() if {fits} else conv1x1(in_channels, {out}, stride)"},
            "The projection is a 1x1 convolution *and* BN, so that both terms of the sum have the same scale.")
    mistake("a bias before BN", {s: f"nn.Identity() if {fits} else "
            f"nn.Sequential(nn.Conv2d(in_channels, {out}, 1, stride), nn.BatchNorm2d({out}))"},
            "BN subtracts each channel's mean, so a bias before it does nothing: pass bias=False.")
    mistake("the projection is larger than 1x1", {s: f"nn.Identity() if {fits} else "
            f"nn.Sequential(conv3x3(in_channels, {out}, stride), nn.BatchNorm2d({out}))"},
            "The shortcut only fits the shape: kernel_size=1, without padding. It looks at no neighbours.")
    for pool in ("AvgPool2d", "MaxPool2d"):
        mistake("pooling before the projection", {s: f"nn.Identity() if {fits} else "
                f"nn.Sequential(nn.{pool}(stride, stride, ceil_mode=True), {s.replace('stride)', '1)')})"},
                "The 1x1 convolution takes the stride itself, and reads every second pixel as it is.")
    mistake("the stride is ignored", {"super().__init__()": "super().__init__()\n        stride = 1"},
            "With stride 2, one convolution of F and the projection have stride 2.")


def out_in_words(out: str) -> str:
    return "width" if out == "width" else "4 * width"
# fmt: on
