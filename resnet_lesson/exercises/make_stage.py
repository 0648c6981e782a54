"""The first exercise of notebook 05: a stage of blocks."""

from collections.abc import Callable

from torch import Tensor, nn

from ..models import resnet
from .kit.blocks import count, learning, none_hidden
from .kit.calls import numbers, run
from .kit.exercise import Exercise, Wrong
from .kit.networks import Call, arguments, different, must_run, on_the_way, recorder
from .kit.outcomes import agree, attempt

make_stage = Exercise(
    "make_stage",
    "Write the function that makes one stage: blocks in a row, the first of which changes the shape.",
    solution=(resnet.make_stage,),
    hints=(
        "Look again at the stage of ResNet-34 that was printed. How does its first block differ from the others?",
        "The first block is block(in_channels, width, stride). The others have stride 1. How many input channels do "
        "they have?",
        "The output of a block has width * block.expansion channels. Those are the input channels of the next block.",
        "Make a list of the first block and depth - 1 others, calling block(...) anew for each. "
        "nn.Sequential(*blocks) turns the list into one module.",
    ),
    read="notebook 05, section 3; paper, table 1",
)


def stage(answer: Callable, *given: int, expansion: int = 1) -> tuple[nn.Module, list[Call], Tensor]:
    """The student's stage made of recorders, its blocks as they ran, and its output."""
    block = recorder(expansion)
    made = answer(block, *given)
    if isinstance(made, (list, tuple, nn.ModuleList)):
        why = "A stage must be callable like a layer: return nn.Sequential(*blocks)."
        raise Wrong("a list instead of nn.Sequential", type(made).__name__, why)
    if not isinstance(made, nn.Module):
        raise Wrong("not a module", type(made).__name__, "Does your function end in `return nn.Sequential(*blocks)`?")
    y = run(made, numbers(2, given[0], 8, 8))
    if given[2] > 1:  # a stage of depth 1 that lacks one block has none
        must_run(block)
    return made, block.calls, y


def blocks(answer: Callable, *given: int, expansion: int = 1) -> list[Call]:
    return stage(answer, *given, expansion=expansion)[1]


@make_stage.case("the same call twice", "the same blocks both times")
def no_memory(answer):
    first, again = (arguments(blocks(answer, 64, 64, 2, 1)) for _ in range(2))
    if first != again:
        why = "Begin each call with a new list, inside the function: a list given as a default is made only once."
        raise Wrong("it remembers earlier calls", f"{first}; then {again}", why)


@make_stage.case("4 blocks, 64 -> 128 channels", "block(64, 128), then block(128, 128) three times")
def channels(answer):
    return arguments(blocks(answer, 64, 128, 4, 1))


@make_stage.case("3 blocks with expansion 4, 256 channels in, width 128", "block(256, 128), then block(512, 128) twice")
def expansion_counts(answer):
    return arguments(blocks(answer, 256, 128, 3, 1, expansion=4))


@make_stage.case("the strides of 4 blocks, for stride=2, for stride=1 and by default", "2, 1, 1, 1; then 1 four times")
def strides(answer):
    def found(*stride):
        return ", ".join(str(call.stride) for call in blocks(answer, 64, 128, 4, *stride))

    return {"stride 2": found(2), "stride 1": found(1), "no stride given": attempt(found)}


@make_stage.case("how many blocks run, for depth 1, 2 and 5", "1, 2 and 5")
def number_of_blocks(answer):
    return [len(blocks(answer, 64, 64, depth, 1)) for depth in (1, 2, 5)]


@make_stage.case("a stage of 4, from block to block", "four different blocks in a row, and nothing else")
def only_blocks(answer):
    _, calls, y = stage(answer, 16, 32, 4, 2)
    return {
        "different blocks": different(calls),
        "x is changed": "nowhere" if agree(calls[0].x, numbers(2, 16, 8, 8)) else "before the first block",
        "something else": on_the_way(calls),
        "the output of the stage": "that of its last block" if agree(y, calls[-1].y) else "different values",
    }


@make_stage.case("the parameters of a stage of 3 blocks with one each", "all three belong to the stage, and learn")
def parameters(answer):
    made, *_ = stage(answer, 64, 64, 3, 1)
    none_hidden(made)
    return {"parameters": count(made), "of them with a gradient": learning(made, numbers(2, 64, 8, 8))}


# --- The mistakes, as lines in place of the course's.


mistake = make_stage.mistake
FIRST, OTHER = "block(in_channels, width, stride, **options)", "block(width * block.expansion, width, **options)"
COUNT, PACK = "range(depth - 1)", "nn.Sequential(*blocks)"
LATER = "blocks += [block(width * block.expansion, width, **options) for _ in range(depth - 1)]"
HANDED_ON = "Pass the argument `stride` on to the first block."
# fmt: off
mistake("the stride in every block", {OTHER: "block(width * block.expansion, width, stride)"},
        "Only the first block takes the stride. If all four did, 56x56 pixels would shrink to 4x4.")
mistake("the stride is ignored", {FIRST: "block(in_channels, width)"}, HANDED_ON)
for always in ("2", "2 if in_channels != width else 1"):
    mistake("the stride is hard-coded", {FIRST: f"block(in_channels, width, {always})"},
            HANDED_ON + " The first stage of ResNet-50, for example, changes the channels at stride 1.")
mistake("stride has no default", {"stride: int = 1": "stride: int"},
        "make_stage may be called without a stride: def make_stage(block, in_channels, width, depth, stride=1).")
for count_, name in (("range(depth)", "many"), ("range(depth - 2)", "few")):
    mistake(f"one block too {name}", {COUNT: count_},
            "A stage has depth blocks in all. If the first one is made separately, depth - 1 others follow it.")
mistake("the expansion is forgotten", {OTHER: "block(width, width)"},
        "The output of a block has width * block.expansion channels, so the next block has that many input channels.")
mistake("the input channels are not updated", {OTHER: "block(in_channels, width)"},
        "in_channels is right for the first block only. The input of the others is the output of the block before.")
for inputs in ("width", "width * block.expansion"):
    mistake("the first block ignores in_channels", {FIRST: f"block({inputs}, width, stride)"},
            "The input of the first block is the input of the stage, which has in_channels channels.")
mistake("the expansion is multiplied into the width",
        {FIRST: "block(in_channels, width * block.expansion, stride)",
         OTHER: "block(width * block.expansion, width * block.expansion)"},
        "`width` is the inner width: the block itself multiplies it by its expansion.")
for same in (f"blocks += [{OTHER}] * (depth - 1)", "blocks *= depth"):
    mistake("the same block several times", {LATER: same},
            "One object runs several times, as in [block(...)] * n, so all share its weights. Call block(...) anew for "
            "each one.")
for added in ("*blocks, nn.ReLU()", "*(layer for block in blocks for layer in (block, nn.ReLU()))"):
    mistake("more than blocks", {PACK: f"nn.Sequential({added})"},
            "A stage is nothing but blocks in a row. What else is in yours: a ReLU, a dropout, a BN?")
mistake("a list inside nn.Sequential", {PACK: "nn.Sequential(blocks)"},
        "nn.Sequential takes layers, not a list of them. A star unpacks the list: nn.Sequential(*blocks).")
# fmt: on
