"""The third exercise of notebook 05: torchvision's weights in our network."""

import functools
import re
from collections.abc import Callable

import torch
from torch import Tensor

from ..models import weights
from ..models.blocks import BasicBlock, Bottleneck
from ..models.resnet import ResNet
from .kit.exercise import Exercise, Wrong
from .kit.outcomes import words

load_torchvision = Exercise(
    "load_torchvision",
    "Write the function that renames torchvision's weights to ours.",
    solution=(weights.from_torchvision,),
    hints=(
        "Look at the two lists of names that were printed side by side. In which four ways do they differ?",
        "Make a new dictionary, {rename(key): tensor for key, tensor in weights.items()}. The tensors stay as "
        "they are.",
        'Look first at how a key begins: "layer3.0." becomes "stages.2.0.", because we count from 0. "fc." stays as it '
        "is, and everything else belongs to the stem.",
        'Inside a block: "downsample." becomes "shortcut.", and all the others get "residual." in front.',
        'match = re.match(r"layer(\\d+)\\.(\\d+)\\.(.+)", key) takes a key apart: match[1] is the stage, match[2] the '
        "block, match[3] the rest.",
    ),
    read="notebook 05, section 6",
)

BLOCK, LAYER = r"^layer\d\.\d+", r"(?<=\d\.)(conv\d|bn\d|downsample\.\d)"  # of torchvision's keys
BASIC, BOTTLENECK = (BasicBlock, (2, 1, 1, 1)), (Bottleneck, (1, 1, 1, 1))
TWELVE = (BasicBlock, (1, 1, 12, 1))


@functools.cache
def small(kind: tuple) -> dict[str, Tensor]:
    """The weights of a small ResNet, named as torchvision's; the numbers of the i-th tensor are around 100 i."""
    ours = ResNet(kind[0], kind[1], widths=(4, 8, 8, 8), num_classes=5).state_dict()
    generator = torch.Generator().manual_seed(0)
    for i, tensor in enumerate(ours.values(), start=1):
        tensor.copy_(torch.randint(-40, 40, tensor.shape, generator=generator) + 100 * i)
    return weights.to_torchvision(ours)


def given(kind: tuple = BASIC) -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in small(kind).items()}


def sent(answer: Callable, kind: tuple = BASIC) -> dict[str, dict[str, Tensor]]:
    """What became of each tensor, by its old name: {new name: tensor}, empty if it was dropped."""
    result = answer(given(kind))
    if not isinstance(result, dict):
        why = "Return a dictionary {new name: tensor}. "
        why += "Does your function end in `return`?" if result is None else ""
        raise Wrong("no dictionary is returned", type(result).__name__, why.strip())
    found: dict[str, dict[str, Tensor]] = {key: {} for key in small(kind)}
    for key, tensor in result.items():
        if not isinstance(tensor, Tensor):
            raise Wrong("not a tensor", f"{type(tensor).__name__} under {key}", "Leave the tensors as they are.")
        i = round(tensor.double().mean().item() / 100)
        if 1 <= i <= len(found):
            list(found.values())[i - 1][str(key)] = tensor
    return found


def start(key: str) -> str:
    """The stage and the block in a new key: "stages.0.1"."""
    match = re.match(r"([a-z]+\.)?\w*\d+\.\d+(?=\.)", key)
    return match[0] if match else key


def layer(key: str) -> str:
    """What is between the block and the last part: "residual.conv1"."""
    return key.removeprefix(start(key) + ".").rpartition(".")[0]


def names(answer: Callable, part: Callable[[str], str], pattern: str, kind: tuple = BASIC) -> dict[str, str]:
    """That part of the new keys, by what the pattern finds in the old ones."""
    found: dict[str, dict[str, None]] = {}
    for old, new in sent(answer, kind).items():
        if match := re.search(pattern, old):
            found.setdefault(match[0], {}).update(dict.fromkeys(map(part, new)))
    return {old: _one_and_more(list(parts)) for old, parts in found.items()}


def _one_and_more(parts: list[str]) -> str:
    return parts[0] + (f" and {len(parts) - 1} more" if len(parts) > 1 else "") if parts else "dropped"


@load_torchvision.case(
    "an empty dictionary, after the one of a ResNet", "an empty one: nothing is left of the ResNet's"
)
def no_memory(answer):
    sent(answer)
    if kept := answer({}):
        why = "Make the new dictionary inside the function: one outside it, or a default, keeps its entries."
        raise Wrong("it remembers earlier calls", f"{len(kept)} names", why)


@load_torchvision.case("the keys outside the stages: conv1, bn1 and fc", "stem.conv1, stem.bn1 and fc")
def outside(answer):
    return names(answer, lambda key: key.rpartition(".")[0], "^(conv1|bn1|fc)")


@load_torchvision.case("the names of the stages, layer1 to layer4", "stages.0 to stages.3")
def stages(answer):
    return names(answer, start, BLOCK)


@load_torchvision.case("the names inside blocks", "residual.conv1, residual.bn1, ...; shortcut.0 and shortcut.1")
def inside(answer):
    return names(answer, layer, LAYER)


@load_torchvision.case("bottlenecks, with conv3 and bn3", "residual.conv3 and residual.bn3")
def bottlenecks(answer):
    return names(answer, layer, LAYER, BOTTLENECK)


@load_torchvision.case("a stage of 12 blocks: ResNet-101 has one of 23", "stages.2.10 and stages.2.11 too")
def two_digits(answer):
    found, expected = (names(one, start, BLOCK, TWELVE) for one in (answer, right))
    wrong = [key for key in expected if found.get(key) != expected[key]]
    if wrong and all(key.startswith("layer3.1") for key in wrong):
        why = (
            r"A block's number may have two digits: write \d+ in a pattern, or split('.') instead of counting letters."
        )
        raise Wrong("block numbers with two digits", words(found, expected), why)
    return found


@load_torchvision.case("the tensors, and the last part of their names", "all as they were, BN's statistics included")
def tensors(answer):
    found = {f"{old} as {new.rpartition('.')[2]}": w for old, one in sent(answer).items() for new, w in one.items()}
    return {"in all": len(answer(given())), **found}


@load_torchvision.case("what was handed in, afterwards", "the same keys, and the same numbers")
def untouched(answer):
    mine = given()
    answer(mine)
    if changed := [key for key in mine if key in small(BASIC) and not torch.equal(mine[key], small(BASIC)[key])]:
        why = "The new dictionary may hold the same tensors, so zero_(), copy_() or += on one of them shows in both."
        raise Wrong("the given tensors are changed", f"different numbers in {changed[0]}", why)
    return "the same keys" if list(mine) == list(small(BASIC)) else "other keys"


# --- The mistakes, as edits of the course's function.


def stem_too_often(layers: str, instead: str) -> Callable:
    """The right names, but a block's conv1 or bn1 named as the stem's."""
    return lambda given: {re.sub(f"residual.({layers})\\b", instead, key): w for key, w in right(given).items()}


def pops(given):
    return {new: given.pop(old) for old, new in zip(list(given), right(given), strict=True)}


right, mistake = weights.from_torchvision, load_torchvision.mistake
NAME, PART, STAGE = 'f"stages.{stage}.{block}.{part}"', 'f"residual.{part}"', "int(match[1]) - 1"
SHORTCUT = 'part.replace("downsample.", "shortcut.")'
STEM, ITEMS = 'return f"stem.{key}"', "rename(key): tensor for key, tensor in weights.items()"
# fmt: off
mistake("the stages are counted from 1", {STAGE: "int(match[1])"},
        "torchvision counts from 1 and we count from 0: subtract 1.")
for number in ("match[1]", "stage"):
    mistake("the layer keys keep their names", {NAME: f'f"layer{{{number}}}.{{block}}.{{part}}"'},
            '"layer1" is called "stages.0" in our networks.')
mistake("the downsample keys keep their names", {SHORTCUT: "part"},
        '"downsample." is called "shortcut." in our networks.')
for lines in ({SHORTCUT: '"residual." + part.replace("downsample.", "shortcut.")'}, {SHORTCUT: '"residual." + part'}):
    mistake("the shortcut keys begin with residual", lines,
            'The shortcut is beside the residual function, not inside it: "shortcut.0", not "residual.shortcut.0".')
mistake("the prefix residual. is missing", {PART: "part"},
        'Inside a block, "conv1.weight" is called "residual.conv1.weight" in our networks.')
mistake("the stem is not renamed", {STEM: "return key"},
        'In our networks the first convolution and BN are in the stem: "stem.conv1.weight".')
for instead in (r"residual.stem.\1", r"stem.\1"):
    mistake("a block's conv1 is taken for the stem", stem_too_often("conv1|bn1", instead),
            "Blocks also have a conv1 and a bn1. Rename them to the stem's only if the key *begins* with that name.")
for kept in ("'running' not in key and 'num_batches' not in key", "'running' not in key",
             "key.endswith(('weight', 'bias'))"):
    mistake("BN's running statistics are dropped", {ITEMS: f"{ITEMS} if {kept}"},
            "In evaluation mode BN uses its running statistics, although they are not parameters: keep every entry.")
mistake("the third convolution is forgotten", {PART: '(part if "3." in part else f"residual.{part}")'},
        "A bottleneck has three convolutions. Instead of listing the names, rename everything but the shortcut.")
mistake("the dictionary has one key only", lambda given: dict([list(right(given).items())[0]]),
        "Is the `return` indented too far? It belongs after the loop, not inside it.")
for popped in (pops, lambda given: [given.update(pops(given)), given][1]):
    mistake("the given dictionary is changed", popped,
            "The caller may still need it: put the renamed entries into a new dictionary, without pop() or del.")
# fmt: on
