"""The second exercise of notebook 05: the whole network. (n05_make_stage and n05_torchvision have the others.)"""

from collections.abc import Callable
from contextlib import suppress
from itertools import groupby

import torch

from ..models import resnet
from ..models.blocks import BasicBlock
from .kit.exercise import Exercise, Wrong
from .kit.network_probes import Call, images, made, recorder, trace, warm
from .kit.probing import count, run, same, shape
from .kit.stem_probes import probe_stem

assemble_resnet = Exercise(
    "assemble_resnet",
    "Write the class that assembles a ResNet from stem, stages, pooling and classifier.",
    solution=(resnet.make_stem, resnet.make_stage, resnet.ResNet),
    hints=(
        "Four parts in a row: stem, four stages, global average pool, linear layer. Section 4 has the stem.",
        "The widths of the stages are 64, 128, 256 and 512. The first stage has stride 1, for the max-pool has just "
        "halved the size; the others have stride 2.",
        "Keep count of the channels: 64 after the stem, width * block.expansion after a stage. The next stage and, at "
        "the end, the linear layer take in that many.",
        "for width, depth, stride in zip((64, 128, 256, 512), depths, (1, 2, 2, 2)): append "
        "resnet.make_stage(block, channels, width, depth, stride), then channels = width * block.expansion.",
        "forward: stem, stages, nn.AdaptiveAvgPool2d(1), flatten(1), linear layer. No softmax: the loss has it.",
    ),
    read="notebook 05, section 4; paper, table 1 and section 3.3",
)


def mismatch(answer: Callable, expansion: int) -> Call | None:
    """The first block that receives other channels than it was made for."""
    block = recorder(expansion)
    with suppress(RuntimeError):  # of the linear layer, which another probe looks at
        run(made(answer, block, (2, 2, 2, 2), num_classes=10).eval(), images())
    return next((call for call in block.calls if call.in_channels != call.x.shape[1]), None)


@assemble_resnet.probe("the channels from block to block, expansion 1 and 4", "in = what the block before puts out")
def channels(answer):
    got = "block({0.in_channels}, {0.width}, {0.stride}) receives {1} channels"
    if call := mismatch(answer, expansion=1):
        why = "Each stage takes in what the one before puts out: channels = width * block.expansion after each."
        raise Wrong("the channels are not updated", got.format(call, call.x.shape[1]), why)
    if call := mismatch(answer, expansion=4):
        why = "A bottleneck puts out 4 * width channels: the next stage takes in width * block.expansion."
        raise Wrong("the next block forgets the expansion", got.format(call, call.x.shape[1]), why)


@assemble_resnet.probe("the linear layer after blocks with expansion 4", "2048 inputs: 512 * block.expansion")
def classifier_inputs(answer):
    trace(answer, (1, 1, 1, 1))
    if mismatch(answer, expansion=4):
        return  # the probe above says more
    try:
        trace(answer, (1, 1, 1, 1), expansion=4)
    except RuntimeError as error:
        why = "Bottlenecks of width 512 put out 4 * 512 channels: nn.Linear(512 * block.expansion, num_classes)."
        raise Wrong("the linear layer forgets the expansion", str(error).splitlines()[0], why) from error


@assemble_resnet.probe("the blocks of each stage, for depths (2, 4, 3, 5) and (3, 4, 6, 3)", "as many as depths says")
def blocks_of_each_stage(answer):
    for depths in ((2, 4, 3, 5), (3, 4, 6, 3)):
        calls = trace(answer, depths).calls
        if len({call.width for call in calls}) < len(depths):
            return  # the probe of the widths says more
        found = tuple(len(list(group)) for _, group in groupby(calls, key=lambda call: call.width))
        got = f"{found} for {depths}"
        if len({id(call.block) for call in calls}) < len(calls):
            raise Wrong("the same block several times", got, "Call block(...) once for each block.")
        if found == tuple(reversed(depths)):
            raise Wrong("the depths in the wrong order", got, "depths[0] belongs to the first stage, 64 wide.")
        if found in ((3, 4, 6, 3), (2, 2, 2, 2)) and found != depths:
            raise Wrong("the depths are ignored", got, "Take them from the argument `depths`, not from ResNet-34.")
        if {n - depth for n, depth in zip(found, depths, strict=False)} in ({1}, {-1}):
            why = "A stage's depth counts all its blocks, the first one included."
            raise Wrong(f"one block too {'many' if found[0] > depths[0] else 'few'} in each stage", got, why)
        if found != depths:
            raise Wrong("the wrong number of blocks", got, "Stage i has depths[i] blocks.")


@assemble_resnet.probe("the widths of the four stages", "64, 128, 256, 512")
def widths(answer):
    found = [width for width, _ in groupby(call.width for call in trace(answer).calls)]
    if found != [64, 128, 256, 512]:
        why = "The first stage is 64 wide, and each one twice as wide as the one before. `width` is before expansion."
        raise Wrong("the wrong widths", ", ".join(map(str, found)), why)


@assemble_resnet.probe("the strides, for depths (2, 2, 2, 2)", "1, 1 | 2, 1 | 2, 1 | 2, 1")
def stage_strides(answer):
    groups = groupby(trace(answer, (2, 2, 2, 2)).calls, key=lambda call: call.width)
    found = [[call.stride for call in group] for _, group in groups]
    if len(found) != 4:
        return  # the probe of the widths says more
    firsts, others = [stage[0] for stage in found], {stride for stage in found for stride in stage[1:]}
    got = " | ".join(", ".join(map(str, stage)) for stage in found)
    if firsts == [2, 2, 2, 2]:
        why = "The stem has divided the size by 4 already; the first stage keeps it: 56x56 in table 1."
        raise Wrong("stride 2 in the first stage", got, why)
    if firsts == [1, 1, 1, 1]:
        raise Wrong("no stage has a stride", got, "Stages 2, 3 and 4 halve the size: 56, 28, 14, 7 in table 1.")
    if firsts != [1, 2, 2, 2] or others - {1}:
        raise Wrong("the wrong strides", got, "The first block of stages 2, 3 and 4 has stride 2, all others 1.")


probe_stem(assemble_resnet)


@assemble_resnet.probe("the same images twice, in training mode", "the same logits twice")
def nothing_random(answer):
    network = trace(answer, (1, 1, 1, 1)).network.train()
    x = images(2)
    if not same(run(network, x), run(network, x)):
        why = "The paper uses no dropout: BN and weight decay do without it."
        raise Wrong("a dropout in the network", "different logits", why)


@assemble_resnet.probe("one image alone", "1 x 10: one row of logits")
def one_image(answer):
    logits = trace(answer, (1, 1, 1, 1)).logits
    if logits.ndim == 1:
        why = "A batch of one image is a batch. flatten(1) keeps the first axis; squeeze() drops it."
        raise Wrong("a batch of one image loses its axis", shape(logits), why)


@assemble_resnet.probe("images of 224x224, 192x192 and 97x129 pixels", "10 logits for each image, at every size")
def sizes(answer):
    for height, width in ((224, 224), (192, 192), (97, 129)):
        try:
            logits = trace(answer, (1, 1, 1, 1), images(2, height, width)).logits
        except RuntimeError as error:
            if height == 224:
                raise
            why = "Average over all pixels, however many: nn.AdaptiveAvgPool2d(1), or x.mean((2, 3))."
            raise Wrong("it takes one image size only", f"an error at {height}x{width}", why) from error
        if logits.ndim != 2 or len(logits) != 2:
            raise Wrong("not one row of logits for each image", shape(logits), "flatten(1) after the pooling.")


@assemble_resnet.probe("two last maps with the same mean and other maxima", "the same logits: they see the mean only")
def global_average(answer):
    even, peak = torch.full((1, 512, 7, 7), 1 / 49), torch.zeros(1, 512, 7, 7)
    peak[:, :, 1, 0] = 1
    try:
        seen = trace(answer, (1, 1, 1, 1), images(1, 192, 192))
    except RuntimeError:
        return  # the probe above says more
    if [call.width for call in seen.calls] != [64, 128, 256, 512]:
        return
    logits = []
    for maps in (even, peak):
        torch.default_generator.manual_seed(0)  # the same weights both times
        logits.append(trace(answer, (1, 1, 1, 1), last=(4, maps)).logits)
    if not same(*logits, 1e-4):
        why = "Between the last stage and the linear layer stands the mean of each channel: nn.AdaptiveAvgPool2d(1)."
        raise Wrong("no average at the end", "other logits", why)


@assemble_resnet.probe("the last operation", "the linear layer: logits of both signs")
def ends_in_logits(answer):
    logits = trace(answer, (1, 1, 1, 1), images(4)).logits
    if same(logits.sum(1), torch.ones(4)) and logits.min() >= 0:
        why = "F.cross_entropy takes logits: it has the softmax in it. A second one would flatten them first."
        raise Wrong("a softmax at the end", "rows that sum to 1", why)
    if same(logits.exp().sum(1), torch.ones(4)):
        why = "F.cross_entropy has it in it: return what the linear layer puts out."
        raise Wrong("a log-softmax at the end", "logarithms of probabilities", why)
    if logits.min() >= 0:
        raise Wrong("a ReLU after the linear layer", f"no value below {logits.min():.1f}", "Logits have both signs.")


@assemble_resnet.probe("num_classes=7, and none given", "7 and 1000 logits")
def classes(answer):
    logits = trace(answer, (1, 1, 1, 1), num_classes=7).logits
    if logits.numel() != 7:
        why = "The linear layer puts out num_classes numbers: take the argument."
        raise Wrong("the number of classes is ignored", f"{logits.shape[-1]} logits", why)
    logits = run(made(answer, recorder(), (1, 1, 1, 1)).eval(), images())
    if logits.numel() != 1000:
        raise Wrong("another number of classes by default", f"{logits.shape[-1]}", "ImageNet has 1000 classes.")


@assemble_resnet.probe("ResNet-34 with ten classes, made of the course's BasicBlock", "21,289,802 parameters")
def resnet34(answer):
    network = warm(made(answer, BasicBlock, (3, 4, 6, 3), num_classes=10))
    if count(network) == 21_289_802:
        return
    got = f"{count(network):,}"
    if count(network) < 1_000_000:
        why = "Blocks or stages in a plain Python list are unknown to the module: use nn.Sequential or nn.ModuleList."
        raise Wrong("the blocks do not belong to the network", got, why)
    raise Wrong("not ResNet-34", got, "Compare cost_of(your network, (3, 224, 224)) with the table of section 5.")
