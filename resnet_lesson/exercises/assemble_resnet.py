"""The second exercise of notebook 05: the whole network, from stem to logits."""

from itertools import groupby

from ..models import resnet
from .kit.blocks import count, keeps_nothing, layers_of, learning
from .kit.calls import numbers, run
from .kit.exercise import Exercise, Wrong
from .kit.networks import arguments, different, made, must_run, none_hidden, on_the_way, recorder, trace
from .kit.outcomes import Stopped, shape, words

assemble_resnet = Exercise(
    "assemble_resnet",
    "Write the class that assembles a ResNet from stem, stages, pooling and classifier.",
    solution=(resnet.make_stem, resnet.make_stage, resnet.ResNet),
    hints=(
        "There are four parts in a row: the stem, the stages, the global average pool and the linear layer. "
        "make_stem() from the beginning of section 4 makes the first.",
        "The widths of the stages are 64, 128, 256 and 512. The first stage has stride 1, because the max-pool has "
        "just halved the size; the others have stride 2.",
        "Keep count of the channels: there are 64 after the stem, and width * block.expansion after each stage. "
        "That is what the next stage takes in, and at the end the linear layer.",
        "for width, depth, stride in zip((64, 128, 256, 512), depths, (1, 2, 2, 2)): append "
        "make_stage(block, channels, width, depth, stride), then channels = width * block.expansion.",
        "In forward, x goes through stem, stages, nn.AdaptiveAvgPool2d(1), flatten(1) and the linear layer. "
        "There is no softmax, because the loss has it.",
    ),
    read="notebook 05, section 4; paper, table 1 and section 3.3",
)

IMAGES = numbers(2, 3, 32, 32)


@assemble_resnet.case("a network of basic blocks, one of bottlenecks, and again the first", "the same blocks as before")
def no_memory(answer):
    first, _, again = (arguments(trace(answer, IMAGES, expansion=expansion).calls) for expansion in (1, 4, 1))
    if first != again:
        why = "Count the channels in a variable of __init__: what belongs to the class, or is global, is not set back."
        raise Wrong("it remembers the network before", again, why)


@assemble_resnet.case("how many blocks the stages have, for depths (2, 4, 3, 5)", "2, 4, 3, 5")
def depths(answer):
    calls = trace(answer, IMAGES, (2, 4, 3, 5)).calls
    return [len(list(group)) for _, group in groupby(calls, key=lambda call: call.width)]


def widths(calls):
    return ", ".join(str(width) for width, _ in groupby(call.width for call in calls))


@assemble_resnet.case("the widths of the four stages", "64, 128, 256, 512, for blocks of any expansion")
def widths_of_stages(answer):
    return {f"expansion {expansion}": widths(trace(answer, IMAGES, expansion=expansion).calls) for expansion in (1, 4)}


@assemble_resnet.case("the strides of the blocks, two in each stage", "1, 1 | 2, 1 | 2, 1 | 2, 1")
def strides(answer):
    stages = groupby(trace(answer, IMAGES).calls, key=lambda call: call.width)
    return " | ".join(", ".join(str(call.stride) for call in group) for _, group in stages)


@assemble_resnet.case("the channels from block to block, expansion 1 and 4", "in = what the block before puts out")
def channels(answer):
    def found(expansion):
        for call in trace(answer, IMAGES, expansion=expansion).calls:
            if call.in_channels != call.x.shape[1]:
                return f"block({call.in_channels}, {call.width}, {call.stride}) receives {call.x.shape[1]} channels"
        return "as it should be"

    return {f"expansion {expansion}": found(expansion) for expansion in (1, 4)}


@assemble_resnet.case("from block to block, for depths (2, 3, 2, 3)", "ten different ones, nothing between them")
def only_blocks(answer):
    calls = trace(answer, IMAGES, (2, 3, 2, 3)).calls
    return {"different blocks": different(calls), "something else": on_the_way(calls)}


@assemble_resnet.case("the stem, on 64x64 pixels", "a 7x7 convolution without bias on 32x32, then 64 x 16 x 16")
def stem_shapes(answer):
    block = recorder()
    network, images = made(answer, block, (2, 2, 2, 2), num_classes=10), numbers(1, 3, 64, 64)
    layers = layers_of(network, images)
    if not block.calls:
        run(network, images)  # if it stops before the first block, the error says why
    must_run(block)
    return {
        "convolution": ", ".join(layer for layer in layers if not layer.startswith("1x1")) or "none",
        "the first block gets": shape(block.calls[0].x[0]),
    }


@assemble_resnet.case("what the first block receives", "max-pool(ReLU(BN(convolution)))")
def stem_values(answer):
    modes = {"in training": True, "in evaluation": False}
    return {mode: trace(answer, IMAGES, training=training).calls[0].x for mode, training in modes.items()}


@assemble_resnet.case("the same images twice, and after others", "the same logits: nothing is random, nothing is kept")
def nothing_kept(answer):
    def network(first):
        made = trace(answer, first, maps=(7, 7), hears=1).network
        made.train()
        return made

    keeps_nothing(network, IMAGES)


@assemble_resnet.case("the logits from last maps of 7x7 pixels", "the linear layer of each channel's mean")
def logits(answer):
    return trace(answer, IMAGES, maps=(7, 7)).logits


@assemble_resnet.case("the logits from last maps of 2x2 and 4x5 pixels", "the linear layer of each channel's mean, too")
def sizes(answer):
    sizes = {"image of 64x64": (2, 2), "image of 97x129": (4, 5)}
    return {size: trace(answer, IMAGES, maps=maps).logits for size, maps in sizes.items()}


@assemble_resnet.case("the logits of one image alone", "1 x 10: a batch of one")
def one_image(answer):
    return trace(answer, IMAGES[:1], maps=(7, 7)).logits


@assemble_resnet.case("the linear layer after blocks with expansion 4", "2048 inputs: 512 * block.expansion")
def classifier_inputs(answer):
    logits = trace(answer, IMAGES, expansion=4, maps=(7, 7)).logits
    return logits if isinstance(logits, Stopped) else shape(logits)


@assemble_resnet.case("num_classes=7, and none given", "7 and 1000 logits for each image")
def classes(answer):
    def found(**options):
        return shape(run(made(answer, recorder(maps=(7, 7)), (2, 2, 2, 2), **options), IMAGES))

    return {"num_classes=7": found(num_classes=7), "none given": found()}


@assemble_resnet.case("the numbers that learn", "those of the stem, of each block and of the linear layer")
def parameters(answer):
    network = trace(answer, IMAGES, maps=(7, 7)).network
    none_hidden(network)
    learn = learning(network, IMAGES)
    return {"parameters": count(network), "of them with a gradient": learn}


@assemble_resnet.case("network.train() and network.eval()", "both return the network, as those of every module do")
def modes(answer):
    network = trace(answer, IMAGES).network
    found = {"train()": network.train(), "eval()": network.eval()}
    return {mode: "the network" if result is network else words(result) for mode, result in found.items()}


# --- The mistakes, as lines in place of the course's.

mistake = assemble_resnet.mistake
DEPTHS, WIDTHS, STRIDES = "zip(depths, widths", "(64, 128, 256, 512)", "(1, 2, 2, 2)"
STAGE, NEXT = "make_stage(block, channels, width, depth, stride, **block_options)", "channels = width * block.expansion"
STEM, BODY = "x = self.stem(x)", "x = self.stages(x)"
POOL, FC = "self.pool = nn.AdaptiveAvgPool2d(1)", "self.fc = nn.Linear(channels, num_classes)"
HEAD, LAST, FORWARD = "x = self.pool(x).flatten(1)", "return self.fc(x)", "def forward(self, x: Tensor) -> Tensor:"
FIRST, OTHER = "block(channels, width, stride)", "block(width * block.expansion, width)"
CONV = "nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)"


def stem(**layers: str) -> dict[str, str]:
    """Other layers in the stem."""
    return {POOL: "; ".join([POOL, *(f"self.stem.{name} = {layer}" for name, layer in layers.items())])}


def fc(inputs: str = "channels", outputs: str = "num_classes", layer: str = "Linear", more: str = "") -> dict[str, str]:
    """Another linear layer."""
    return {FC: f"self.fc = nn.{layer}({inputs}, {outputs}{more})"}


# fmt: off
mistake("the depths in the wrong order", {DEPTHS: "zip(depths[::-1], widths"},
        "depths[0] belongs to the first stage, 64 wide.")
for fixed in ("(3, 4, 6, 3)", "(2, 2, 2, 2)"):
    mistake("the depths are ignored", {DEPTHS: f"zip({fixed}, widths"},
            "Take them from the argument `depths`: (3, 4, 6, 3) is ResNet-34 only.")
for name, number in (("many", "n + 1"), ("few", "n - 1")):
    mistake(f"one block too {name} in each stage", {DEPTHS: f"zip([{number} for n in depths], widths"},
            "A stage's depth counts all its blocks, the first one included.")
for lines in ({}, {"stem_width or widths[0]": "64"}):
    mistake("the wrong widths", {WIDTHS: "(16, 32, 64, 128)"} | lines,
            "The first stage is 64 wide, and each one is twice as wide as the one before.")
for lines in ({}, {NEXT: "channels = width * block.expansion ** 2"}):
    mistake("the expansion is multiplied into the width",
            {STAGE: STAGE.replace("width", "width * block.expansion")} | lines,
            "`width` is the inner width; the block multiplies by its expansion itself.")
mistake("stride 2 in the first stage", {STRIDES: "(2, 2, 2, 2)"},
        "The stem has divided the size by 4 already, and the first stage keeps it: 56x56 in table 1.")
mistake("no stage has a stride", {STRIDES: "(1, 1, 1, 1)"},
        "Stages 2, 3 and 4 halve the size: 56, 28, 14, 7 in table 1.")
mistake("the stride in every block of a stage",
        {STAGE: f"nn.Sequential({FIRST}, *[block(width * block.expansion, width, stride) for _ in range(depth - 1)])"},
        "Only the first block of a stage takes its stride, so that the size is halved once.")
for lines in ({}, fc("512 * block.expansion")):
    mistake("the channels are not updated", {NEXT: "pass"} | lines,
            "Each stage takes in what the one before puts out: channels = width * block.expansion after each.")
    mistake("the next block forgets the expansion", {NEXT: "channels = width"} | lines,
            "A bottleneck puts out 4 * width channels: the next stage takes in width * block.expansion.")
mistake("the linear layer forgets the expansion", fc("512"),
        "Bottlenecks of width 512 put out 4 * 512 channels: nn.Linear(512 * block.expansion, num_classes).")
mistake("the same block several times", {STAGE: f"nn.Sequential({FIRST}, *[{OTHER}] * (depth - 1))"},
        "[block(...)] * n repeats one object, so its weights are shared. Call block(...) once for each.")
for lines in ({STAGE: f"{STAGE}.append(nn.ReLU())"},
              {STAGE: f"nn.Sequential(*(nn.Sequential(one, nn.ReLU()) for one in {STAGE}))"},
              {HEAD: "x = self.pool(x.relu()).flatten(1)"}):
    mistake("one ReLU too many", lines, "Each block ends in a ReLU of its own: none is needed between or after them.")
for more in ({}, {"maxpool": "nn.Identity()"}):
    mistake("a 3x3 stem", stem(conv1="nn.Conv2d(3, 64, 3, padding=1, bias=False)", **more),
            "That is the stem for 32x32 images. ImageNet's is a 7x7 convolution with stride 2, and then a max-pool.")
mistake("a stem without stride", stem(conv1=CONV.replace("stride=2, ", "")),
        "The 7x7 convolution has stride 2: 224 pixels become 112.")
mistake("a stem without padding", stem(conv1=CONV.replace("padding=3, ", "")),
        "A 7x7 kernel needs padding=3 to put out 112x112.")
mistake("a bias in the stem", stem(conv1=CONV.replace(", bias=False", "")),
        "BN subtracts each channel's mean, so a bias before it does nothing: pass bias=False.")
mistake("no BN in the stem", stem(bn1="nn.Identity()"), "Every convolution is followed by BN, the first one too.")
mistake("no ReLU in the stem", stem(relu="nn.Identity()"), "After BN comes a ReLU, then the max-pool.")
mistake("ReLU before BN in the stem", stem(bn1="nn.ReLU()", relu="nn.BatchNorm2d(64)"),
        "The order is convolution, BN, ReLU.")
mistake("no max-pool", stem(maxpool="nn.Identity()"),
        "A 3x3 max-pool with stride 2 ends the stem. In table 1 it belongs to conv2_x.")
for other in ("nn.MaxPool2d(2)", "nn.AvgPool2d(3, 2, 1)", "nn.MaxPool2d(3, 2)", "nn.MaxPool2d(3, 2, ceil_mode=True)"):
    mistake("another max-pool", stem(maxpool=other), "It is nn.MaxPool2d(3, stride=2, padding=1).")
for other in ("ReLU6", "LeakyReLU", "GELU", "SiLU"):
    mistake("another function than ReLU in the stem", stem(relu=f"nn.{other}()"), "The stem has nn.ReLU().")
for lines in ({HEAD: "x = x.flatten(1)"} | fc("49 * channels"), {POOL: "self.pool = nn.AvgPool2d(7)"},
              {HEAD: "x = x.reshape(-1, 49 * self.fc.in_features // 49)"} | fc("49 * channels")):
    mistake("it takes one image size only", lines,
            "Average over all pixels, however many there are: nn.AdaptiveAvgPool2d(1), or x.mean((2, 3)).")
for side in (2, 3):
    mistake("an average for square images only", {HEAD: f"x = nn.functional.avg_pool2d(x, x.shape[{side}]).flatten(1)"},
            "The last maps of a 97x129 image have 4x5 pixels. nn.AdaptiveAvgPool2d(1) takes the mean of them all.")
for lines in ({HEAD: "x = self.pool(x)"}, {HEAD: "x = self.pool(x)"} | fc(layer="Conv2d", more=", 1")):
    mistake("flatten is missing", lines,
            "After the pooling, x.flatten(1) makes a row of channels for each image, N x C instead of N x C x 1 x 1.")
mistake("a maximum instead of the mean", {POOL: "self.pool = nn.AdaptiveMaxPool2d(1)"},
        "Between the last stage and the linear layer is the mean of each channel: nn.AdaptiveAvgPool2d(1).")
mistake("a sum instead of the mean", {HEAD: "x = x.sum((2, 3))"},
        "A larger image would give larger logits. Take the mean of each channel: nn.AdaptiveAvgPool2d(1).")
for after in (".expand(len(x), -1)", ".unsqueeze(0)", ""):
    mistake("a mean over other images", {HEAD: f"x = x.mean((0, 2, 3)){after}"},
            "Axis 0 counts the images of the batch: average over height and width alone, x.mean((2, 3)).")
for name, after in (("softmax", "softmax(1)"), ("log-softmax", "log_softmax(1)")):
    mistake(f"a {name} at the end", {LAST: f"{LAST}.{after}"},
            "cross_entropy takes logits and has the softmax inside: return what the linear layer puts out.")
mistake("a ReLU after the linear layer", {LAST: f"{LAST}.relu()"}, "Logits have both signs.")
for lines in ({LAST: f"{LAST}.squeeze()"}, {HEAD: "x = self.pool(x).squeeze()"}):
    mistake("a batch of one image loses its axis", lines,
            "A batch of one image is a batch. flatten(1) keeps the first axis; squeeze() drops it.")
mistake("the linear layer has no bias", fc(more=", bias=False"), "No BN follows it, so it keeps its bias.")
for fixed in ("1000", "10"):
    mistake("the number of classes is ignored", fc(outputs=fixed),
            "The linear layer puts out num_classes numbers: take the argument.")
mistake("another number of classes by default", {"num_classes: int = 1000": "num_classes: int = 10"},
        "ImageNet has 1000 classes, so num_classes=1000 is the default.")
NO_GRAD = "with nn.modules.module.torch.no_grad():\n            "
for lines in ({BODY: NO_GRAD + BODY}, {HEAD: f"{HEAD}; x = x.detach()"}, {STEM: NO_GRAD + STEM},
              {LAST: f"{LAST}.detach()"}, {POOL: f"{POOL}; self.stem.requires_grad_(False)"},
              {POOL: f"{POOL}; self.stages.requires_grad_(False)"}):
    mistake("a part of the network does not learn", lines,
            "Is there a no_grad(), a detach() or a requires_grad_(False)? Training is to reach the whole network.")
mistake("train() returns nothing",
        {FORWARD: "def train(self, mode=True):\n        super().train(mode)\n\n    " + FORWARD},
        "network.train() and network.eval() return the network: end your own train() with `return self`.")
# fmt: on
