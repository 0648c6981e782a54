"""The first exercise of notebook 05: a stage of blocks."""

from collections.abc import Callable

import torch
from torch import nn

from ..models import resnet
from ..models.blocks import Bottleneck
from .kit.exercise import Exercise, Wrong
from .kit.network_probes import Call, made, recorder
from .kit.probing import count, run, same, shape

make_stage = Exercise(
    "make_stage",
    "Write the function that makes one stage: blocks in a row, the first of which changes the shape.",
    solution=(resnet.make_stage,),
    hints=(
        "Look at the printed stage of ResNet-34 again. In what does its first block differ from the others?",
        "The first block is block(in_channels, width, stride). The others have stride 1; what is their number of "
        "input channels?",
        "A block puts out width * block.expansion channels. That is what each later block takes in.",
        "Build a list: the first block, then depth - 1 others, each made by its own call of block(...). "
        "return nn.Sequential(*blocks) makes a module of it.",
    ),
    read="notebook 05, section 3; paper, table 1",
)


def stage_calls(answer: Callable, *arguments: int, expansion: int = 1) -> tuple[nn.Module, list[Call]]:
    """A student's stage of recorders, run once."""
    block = recorder(expansion)
    stage = made(answer, block, *arguments)
    if isinstance(stage, (list, tuple, nn.ModuleList)):
        why = "A stage is called like a layer: return nn.Sequential(*blocks)."
        raise Wrong("a list instead of nn.Sequential", type(stage).__name__, why)
    if not isinstance(stage, nn.Module):
        raise Wrong("not a module", type(stage).__name__, "Does your function end in `return nn.Sequential(*blocks)`?")
    run(stage, torch.randn(2, arguments[0], 8, 8))
    if block.made and not block.calls:
        raise Wrong("the blocks do not run", f"{block.made} blocks, none of them called", "Does forward call them?")
    if not block.calls and not list(stage.children()):
        why = "The stage is empty: no block(...) was called, or none was put into it."
        raise Wrong("no block was made", "a stage without blocks", why)
    if not block.calls:
        why = "The stage is made of the class that is given: call block(in_channels, width, stride)."
        raise Wrong("the given block is ignored", "a stage of other blocks", why)
    return stage, block.calls


@make_stage.probe("a stage of 3 blocks, 64 -> 128 channels, stride 2", "one module, which owns its blocks")
def one_module(answer):
    stage, calls = stage_calls(answer, 64, 128, 3, 2)
    if any(call.block not in list(stage.modules()) for call in calls):
        why = "Blocks in a plain Python list are unknown to the module: an optimiser would not see their parameters."
        raise Wrong("the blocks do not belong to the stage", f"{count(stage)} parameters", why)


@make_stage.probe("how many blocks run, for depth 1, 2 and 5", "1, 2 and 5")
def number_of_blocks(answer):
    found = [len(stage_calls(answer, 64, 64, depth, 1)[1]) for depth in (1, 2, 5)]
    got = ", ".join(map(str, found))
    if found in ([2, 3, 6], [1, 1, 4], [1, 2, 4]):
        off = "many" if found[0] == 2 else "few"
        why = "The first block is made apart, so depth - 1 others follow: range(depth - 1), or range(1, depth)."
        raise Wrong(f"one block too {off}", got, why)
    if found != [1, 2, 5]:
        raise Wrong("the wrong number of blocks", got, "depth counts all blocks of the stage, the first included.")


@make_stage.probe("whether the blocks of a stage are different ones", "each has weights of its own")
def own_weights(answer):
    _, calls = stage_calls(answer, 64, 64, 4, 1)
    blocks = {id(call.block) for call in calls}
    if len(blocks) < len(calls):
        why = "[block(...)] * n repeats one object, so its weights are shared. Call block(...) once for each."
        raise Wrong("the same block several times", f"{len(blocks)} different among {len(calls)}", why)


@make_stage.probe("the strides of 4 blocks, asked for stride 2", "2, 1, 1, 1")
def strides(answer):
    found = [call.stride for call in stage_calls(answer, 64, 128, 4, 2)[1]]
    got = ", ".join(map(str, found))
    if len(found) > 1 and set(found) == {2}:
        why = f"Each block halves the size again: 56x56 would become {56 // 2 ** len(found)}x{56 // 2 ** len(found)}."
        raise Wrong("the stride in every block", got, f"{why} Only the first block takes the stride.")
    if set(found) == {1}:
        raise Wrong("the stride is ignored", got, "Hand the stride on to the first block.")
    if found[0] == 1 and found[-1] == 2:
        why = "The first block takes it, so that all the others work at the smaller size."
        raise Wrong("the stride in the last block", got, why)
    if found[0] != 2 or set(found[1:]) - {1}:
        raise Wrong("the stride in the wrong blocks", got, "Only the first block takes the stride.")


@make_stage.probe("what comes out of 3 blocks in training mode", "what the last block puts out, and nothing else")
def only_blocks(answer):
    stage, _ = stage_calls(answer, 16, 32, 3, 2)
    x = torch.randn(2, 16, 8, 8)
    y, expected = run(stage, x), x[:, :1, ::2, ::2].expand(-1, 32, -1, -1)  # as the recorder computes it
    if y.shape == expected.shape and not same(y, expected):
        why = "A stage is blocks in a row. What else is in it: a ReLU, a dropout, a BN?"
        raise Wrong("more than blocks", "other numbers", why)


@make_stage.probe("what 4 blocks with expansion 1 take in, 64 -> 128 channels", "64, then 128, 128, 128")
def input_channels(answer):
    found = [call.in_channels for call in stage_calls(answer, 64, 128, 4, 2)[1]]
    got = ", ".join(map(str, found))
    if len(found) > 1 and set(found) == {64}:
        why = "After the first block there are 128 channels: the others are block(128, 128)."
        raise Wrong("the input channels are not updated", got, why)
    if set(found) == {128}:
        raise Wrong("the first block ignores in_channels", got, "The first block takes in what enters the stage: 64.")
    if found[0] != 64 or set(found[1:]) - {128}:
        raise Wrong("the wrong input channels", got, "Each block takes in what the one before it puts out.")


@make_stage.probe(
    "3 blocks with expansion 4, as bottlenecks have, 256 channels in, width 128", "in: 256, 512, 512; width: 128 each"
)
def expansion_counts(answer):
    calls = stage_calls(answer, 256, 128, 3, 1, expansion=4)[1]
    widths, inputs = [[getattr(call, what) for call in calls] for what in ("width", "in_channels")]
    if 512 in widths:
        why = "width is the inner width; the block multiplies by its expansion itself: block(512, 128)."
        raise Wrong("the expansion is multiplied into the width", f"width {', '.join(map(str, widths))}", why)
    if set(widths) != {128}:
        raise Wrong("the wrong width", ", ".join(map(str, widths)), "Every block of a stage has the width `width`.")
    if 128 in inputs[1:]:
        why = "A bottleneck of width 128 puts out 4 * 128 = 512 channels: multiply by block.expansion."
        raise Wrong("the expansion is forgotten", f"input {', '.join(map(str, inputs))}", why)


@make_stage.probe(
    "ResNet-50's second stage: 4 bottlenecks, width 128, stride 2, on 256x8x8", "512x4x4, 1,219,584 parameters"
)
def second_stage(answer):
    stage_calls(answer, 64, 64, 2, 1)  # raises if it is no stage at all
    stage = made(answer, Bottleneck, 256, 128, 4, 2)
    try:
        got = f"{shape(run(stage.eval(), torch.randn(1, 256, 8, 8))[0])}, {count(stage):,} parameters"
    except RuntimeError as error:
        got = str(error).splitlines()[0]
    if got != "512 x 4 x 4, 1,219,584 parameters":
        raise Wrong("not ResNet-50's second stage", got, "The other findings say more.")
