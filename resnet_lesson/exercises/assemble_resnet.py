"""The second exercise of notebook 05: the whole network, from stem to logits."""

from itertools import groupby

from ..models import resnet
from .kit.blocks import count, keeps_nothing, layers_of, learning, none_hidden
from .kit.calls import numbers, run
from .kit.exercise import Exercise, Wrong
from .kit.networks import arguments, different, made, must_run, on_the_way, recorder, trace
from .kit.outcomes import Stopped, attempt, shape

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
        "The next stage needs that number, and at the end so does the linear layer.",
        "for width, depth, stride in zip((64, 128, 256, 512), depths, (1, 2, 2, 2)): append "
        "make_stage(block, channels, width, depth, stride), then channels = width * block.expansion.",
        "In forward, x goes through the stem, the stages, nn.AdaptiveAvgPool2d(1), flatten(1) and the linear layer. "
        "There is no softmax, because the loss includes it.",
    ),
    read="notebook 05, section 4; paper, table 1 and section 3.3",
)

IMAGES = numbers(2, 3, 32, 32)


@assemble_resnet.case(
    "a network of basic blocks, one of bottlenecks, and the first one again", "the same blocks as the first time"
)
def no_memory(answer):
    first, _, again = (arguments(trace(answer, IMAGES, expansion=expansion).calls) for expansion in (1, 4, 1))
    if first != again:
        why = "Count the channels in a local variable of __init__: one in the class, or a global one, is never reset."
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


@assemble_resnet.case(
    "the channels from block to block, expansion 1 and 4", "each block takes what the one before returns"
)
def channels(answer):
    def found(expansion):
        for call in trace(answer, IMAGES, expansion=expansion).calls:
            if call.in_channels != call.x.shape[1]:
                return f"block({call.in_channels}, {call.width}, {call.stride}) receives {call.x.shape[1]} channels"
        return "as it should be"

    return {f"expansion {expansion}": found(expansion) for expansion in (1, 4)}


@assemble_resnet.case("from block to block, for depths (2, 3, 2, 3)", "ten different blocks, and nothing between them")
def only_blocks(answer):
    calls = trace(answer, IMAGES, (2, 3, 2, 3)).calls
    return {"different blocks": different(calls), "something else": on_the_way(calls)}


@assemble_resnet.case("the stem, on 64x64 pixels", "a 7x7 convolution without a bias to 32x32, then 64 x 16 x 16")
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
    seen = trace(answer, IMAGES, training=True)
    blocks = len(seen.calls)
    attempt(run, seen.network.eval(), IMAGES)
    return {"in training": seen.calls[0].x, "in evaluation after that": seen.calls[blocks].x}


@assemble_resnet.case("the same images twice, and after others", "the same logits: nothing is random or remembered")
def nothing_kept(answer):
    def network(first):
        made = trace(answer, first, maps=(7, 7), hears=1).network
        made.train()
        return made

    keeps_nothing(network, IMAGES)


@assemble_resnet.case("the logits from last maps of 7x7 pixels", "the linear layer of each channel's mean")
def logits(answer):
    return trace(answer, IMAGES, maps=(7, 7)).logits


@assemble_resnet.case(
    "the logits from last maps of 2x2 and 4x5 pixels", "again the linear layer of each channel's mean"
)
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


@assemble_resnet.case("num_classes=7, and the default", "7 and 1000 logits for each image")
def classes(answer):
    def found(**options):
        return shape(run(made(answer, recorder(maps=(7, 7)), (2, 2, 2, 2), **options), IMAGES))

    return {"num_classes=7": found(num_classes=7), "the default": found()}


@assemble_resnet.case("the learned parameters", "those of the stem, of each block and of the linear layer")
def parameters(answer):
    network = trace(answer, IMAGES, maps=(7, 7)).network
    none_hidden(network)
    learn = learning(network, IMAGES)
    return {"parameters": count(network), "of them with a gradient": learn}


# --- The mistakes, as lines in place of the course's.

mistake = assemble_resnet.mistake
DEPTHS, STRIDES = "zip(depths, widths", "(1, 2, 2, 2)"
STAGE, NEXT = "make_stage(block, channels, width, depth, stride, **block_options)", "channels = width * block.expansion"
POOL, FC = "self.pool = nn.AdaptiveAvgPool2d(1)", "self.fc = nn.Linear(channels, num_classes)"
HEAD, LAST = "x = self.pool(x).flatten(1)", "return self.fc(x)"
CONV = "nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)"


def stem(**layers: str) -> dict[str, str]:
    """Other layers in the stem."""
    return {POOL: "; ".join([POOL, *(f"self.stem.{name} = {layer}" for name, layer in layers.items())])}


def fc(inputs: str = "channels", outputs: str = "num_classes") -> dict[str, str]:
    """Another linear layer."""
    return {FC: f"self.fc = nn.Linear({inputs}, {outputs})"}


# fmt: off
mistake("the expansion is multiplied into the width", {STAGE: STAGE.replace("width", "width * block.expansion")},
        "`width` is the inner width: the block itself multiplies it by its expansion.")
mistake("stride 2 in the first stage", {STRIDES: "(2, 2, 2, 2)"},
        "The stem has divided the size by 4 already, and the first stage keeps it: 56x56 in table 1.")
mistake("the stride in every block of a stage", {STAGE: "nn.Sequential(block(channels, width, stride), "
        "*[block(width * block.expansion, width, stride) for _ in range(depth - 1)])"},
        "Only the first block of a stage takes its stride, so that the size is halved once.")
for lines in ({}, fc("512 * block.expansion")):
    mistake("the channels are not updated", {NEXT: "pass"} | lines,
            "Each stage takes the channels that the one before returns: set channels = width * block.expansion after "
            "each stage.")
    mistake("the next block forgets the expansion", {NEXT: "channels = width"} | lines,
            "The output of a bottleneck has 4 * width channels, so the next stage gets width * block.expansion.")
mistake("the linear layer forgets the expansion", fc("512"),
        "Bottlenecks of width 512 return 4 * 512 channels: nn.Linear(512 * block.expansion, num_classes).")
for more in ({}, {"maxpool": "nn.Identity()"}):
    mistake("a 3x3 stem", stem(conv1="nn.Conv2d(3, 64, 3, padding=1, bias=False)", **more),
            "That is the stem for 32x32 images. For ImageNet it is a 7x7 convolution with stride 2, then a max-pool.")
mistake("a bias in the stem", stem(conv1=CONV.replace(", bias=False", "")),
        "BN subtracts each channel's mean, so a bias before it does nothing: pass bias=False.")
mistake("no ReLU in the stem", stem(relu="nn.Identity()"), "A ReLU follows BN, and then comes the max-pool.")
mistake("no max-pool", stem(maxpool="nn.Identity()"),
        "A 3x3 max-pool with stride 2 ends the stem. In table 1 it belongs to conv2_x.")
for other in ("nn.MaxPool2d(2)", "nn.MaxPool2d(3, 2)"):
    mistake("a different max-pool", stem(maxpool=other), "It is nn.MaxPool2d(3, stride=2, padding=1).")
for lines in ({HEAD: "x = x.flatten(1)"} | fc("49 * channels"), {POOL: "self.pool = nn.AvgPool2d(7)"}):
    mistake("it takes one image size only", lines,
            "Average over all pixels, however many there are: nn.AdaptiveAvgPool2d(1), or x.mean((2, 3)).")
mistake("flatten is missing", {HEAD: "x = self.pool(x)"},
        "After the pooling, x.flatten(1) gives each image one row of channels: N x C instead of N x C x 1 x 1.")
mistake("a softmax at the end", {LAST: f"{LAST}.softmax(1)"},
        "cross_entropy takes logits and includes the softmax: return the output of the linear layer.")
for lines in ({LAST: f"{LAST}.squeeze()"}, {HEAD: "x = self.pool(x).squeeze()"}):
    mistake("a batch of one image loses its axis", lines,
            "A batch of one image is still a batch. flatten(1) keeps the first axis, but squeeze() drops it.")
for fixed in ("1000", "10"):
    mistake("the number of classes is ignored", fc(outputs=fixed),
            "The linear layer has num_classes outputs: use the argument.")
mistake("a different default for num_classes", {"num_classes: int = 1000": "num_classes: int = 10"},
        "ImageNet has 1000 classes, so num_classes=1000 is the default.")
# fmt: on
