"""The third exercise of notebook 05: torchvision's weights in our network."""

from collections.abc import Callable

import torch
import torchvision
from torch import nn

from ..models.blocks import BasicBlock, Bottleneck
from ..models.resnet import ResNet
from ..models.weights import from_torchvision, to_torchvision
from .kit.exercise import Exercise, Wrong
from .kit.probing import run, same, shake, shape

load_torchvision = Exercise(
    "load_torchvision",
    "Write the function that renames torchvision's weights to ours.",
    solution=(from_torchvision,),
    hints=(
        "Print the two lists of keys beside each other, as in section 8. Four things differ: which?",
        "Make a new dictionary: {rename(key): tensor for key, tensor in weights.items()}. The tensors stay as "
        "they are.",
        'Begin with what a key starts with: "layer3.0." becomes "stages.2.0.", as ours count from 0. '
        '"fc." stays, and everything else is the stem.',
        'Inside a block: "downsample." becomes "shortcut.", and all the others get "residual." in front.',
        'match = re.match(r"layer(\\d+)\\.(\\d+)\\.(.+)", key) takes a key apart: match[1] is the stage, match[2] the '
        "block, match[3] the rest.",
    ),
    read="notebook 05, section 8",
)


def tiny(block: type[nn.Module], depths: tuple[int, ...]) -> tuple[dict, dict]:
    """A small network's weights, named as torchvision's and as ours."""
    ours = ResNet(block, depths, widths=(4, 8, 8, 8), num_classes=5).state_dict()
    for i, tensor in enumerate(ours.values()):
        tensor.copy_(torch.randint(100, tensor.shape) + 100 * i)  # no two tensors are equal
    theirs = {key: tensor.clone() for key, tensor in to_torchvision(ours).items()}
    return theirs, ours


def renamed(answer: Callable, theirs: dict) -> dict:
    result = answer(dict(theirs))
    if not isinstance(result, dict):
        why = "Return a dictionary: new name -> tensor. " + ("Does it end in `return`?" if result is None else "")
        raise Wrong("no dictionary is returned", type(result).__name__, why.strip())
    if not result:
        raise Wrong("the dictionary is empty", "{}", "Put every tensor into it: new[new_key] = tensor.")
    if len(result) == 1 < len(theirs):
        why = "Is the `return` indented too far? It belongs after the loop, not into it."
        raise Wrong("the dictionary has one key only", next(iter(result)), why)
    return result


def first(keys) -> str:
    return f"{len(keys)} such keys, the first one {sorted(keys)[0]}"


@load_torchvision.probe("the keys outside of the stages: conv1, bn1 and fc", "stem.conv1, stem.bn1 and fc")
def outside(answer):
    keys = set(renamed(answer, tiny(BasicBlock, (1, 1, 1, 1))[0]))
    if wrong := {key for key in keys if key.endswith(("fc.weight", "fc.bias")) and not key.startswith("fc.")}:
        raise Wrong("the fc keys are renamed", first(wrong), "The linear layer has the same name in both: leave it.")
    if wrong := {key for key in keys if key.startswith(("conv1.", "bn1."))}:
        why = 'Our first convolution and BN are inside the stem: "stem.conv1.weight".'
        raise Wrong("the stem is not renamed", first(wrong), why)
    if wrong := {key for key in keys if "stem." in key[1:]}:
        why = "Blocks have a conv1 and a bn1 too. Rename them as stem only where the key *begins* with that name."
        raise Wrong("a block's conv1 is taken for the stem", first(wrong), why)


@load_torchvision.probe("the names of the stages, layer1 to layer4", "stages.0 to stages.3")
def stages(answer):
    keys = set(renamed(answer, tiny(BasicBlock, (1, 1, 1, 1))[0]))
    if wrong := {key for key in keys if "layer" in key}:
        raise Wrong("the layer keys keep their names", first(wrong), '"layer1" is "stages.0" with us.')
    if wrong := {key for key in keys if "stages.4." in key}:
        raise Wrong(
            "the stages are counted from 1", first(wrong), "torchvision counts from 1, ours from 0: subtract 1."
        )


@load_torchvision.probe("the names inside blocks", "residual.conv1, residual.bn1, ...; shortcut.0 and shortcut.1")
def inside(answer):
    keys = set(renamed(answer, tiny(BasicBlock, (1, 1, 1, 1))[0]))
    if wrong := {key for key in keys if "residual.downsample" in key or "residual.shortcut" in key}:
        why = "The shortcut is beside the residual function, not in it: no residual. before shortcut."
        raise Wrong("the shortcut keys have a residual. too many", first(wrong), why)
    if wrong := {key for key in keys if "downsample" in key}:
        raise Wrong("the downsample keys keep their names", first(wrong), '"downsample." is "shortcut." with us.')
    blocks = {key for key in keys if key.startswith(("stages.", "layer")) and "shortcut" not in key}
    if wrong := {key for key in blocks if "residual" not in key}:
        why = 'Inside a block, "conv1.weight" is "residual.conv1.weight" with us.'
        raise Wrong("the prefix residual. is missing", first(wrong), why)


@load_torchvision.probe("what comes out beside convolutions and fc", "all of BN: also its statistics")
def statistics(answer):
    keys = set(renamed(answer, tiny(BasicBlock, (1, 1, 1, 1))[0]))
    if not any(key.endswith("running_var") for key in keys):
        why = "They are no parameters, but BN uses them in evaluation: keep every entry of the dictionary."
        raise Wrong("BN's running statistics are dropped", "no running_var", why)
    if not any(key.endswith("num_batches_tracked") for key in keys):
        why = "BN counts its batches in it. Keep every entry of the dictionary."
        raise Wrong("the batch counters are dropped", "no num_batches_tracked", why)


def leftovers(answer: Callable, block: type[nn.Module], depths: tuple[int, ...]) -> set[str]:
    """The keys that differ from ours, where all those of a small ResNet with basic blocks are right."""
    theirs, ours = tiny(BasicBlock, (1, 1, 1, 1))
    if set(renamed(answer, theirs)) != set(ours):
        return set()  # the other probes say more
    theirs, ours = tiny(block, depths)
    return set(renamed(answer, theirs)) ^ set(ours)


@load_torchvision.probe("bottlenecks, with conv3 and bn3", "residual.conv3 and residual.bn3")
def bottlenecks(answer):
    if wrong := leftovers(answer, Bottleneck, (1, 1, 1, 1)):
        why = "A bottleneck has three convolutions. Is each name listed? Better: everything but the shortcut."
        raise Wrong("the third convolution is forgotten", first(wrong), why)


@load_torchvision.probe("a stage of 12 blocks: ResNet-101 has one of 23", "stages.2.10 and stages.2.11 too")
def two_digits(answer):
    if wrong := leftovers(answer, BasicBlock, (1, 1, 12, 1)):
        why = r"A block's number may have two digits: \d+ in a pattern, split('.') instead of counting letters."
        raise Wrong("block numbers with two digits", first(wrong), why)


def values_changed(answer: Callable) -> str:
    """A key whose tensor the answer has written into, or nothing."""
    theirs, _ = tiny(BasicBlock, (1, 1, 1, 1))
    given = {key: tensor.clone() for key, tensor in theirs.items()}
    answer(dict(given))
    return next((key for key in theirs if not torch.equal(given[key], theirs[key])), "")


@load_torchvision.probe("the tensors", "each as it was, under its new name")
def tensors(answer):
    theirs, ours = tiny(BasicBlock, (1, 1, 1, 1))
    result = renamed(answer, theirs)
    if set(result) != set(ours) or values_changed(answer):
        return  # the other probes say more
    for key in ours:
        got, expected = result[key], ours[key]
        if not isinstance(got, torch.Tensor) or got.dtype != expected.dtype:
            raise Wrong(
                "tensors of another type",
                f"{key}: {getattr(got, 'dtype', type(got).__name__)}",
                "Leave the tensors as they are.",
            )
        turned = got.shape != expected.shape or not torch.equal(got, expected)
        if turned and torch.equal(got.flatten().sort()[0], expected.flatten().sort()[0]):
            why = (
                "Both libraries are PyTorch and store weights alike, (out, in, height, width): rename, change nothing."
            )
            raise Wrong("a tensor is transposed or reshaped", f"{key}, {shape(got)}: numbers in other places", why)
        if turned:
            raise Wrong("tensors under other names", key, "Each tensor goes with its own key: loop over items().")


@load_torchvision.probe("the dictionary that was handed in", "unchanged")
def untouched(answer):
    theirs, _ = tiny(BasicBlock, (1, 1, 1, 1))
    given, keys = dict(theirs), list(theirs)
    answer(given)
    if list(given) != keys:
        why = "Somebody may still need it: put what you rename into a new dictionary, without pop() or del."
        raise Wrong("the given dictionary is changed", f"{len(set(keys) - set(given))} keys gone", why)


@load_torchvision.probe("the tensors that were handed in", "unchanged")
def tensors_untouched(answer):
    if key := values_changed(answer):
        why = "The new dictionary holds the same tensors: what writes into them (zero_(), copy_(), +=) is seen in both."
        raise Wrong("the given tensors are changed", f"other values in {key}", why)


def found_before(answer: Callable) -> bool:
    """Whether another probe has found something, so that the last one need not say the same again."""
    for probe in load_torchvision.probes:
        if probe.run is not same_logits:
            try:
                probe.run(answer)
            except Exception:  # whatever a student's code may raise
                return True
    return False


@load_torchvision.probe("torchvision's ResNet with one block a stage, loaded into ours", "the same logits")
def same_logits(answer):
    theirs = shake(torchvision.models.resnet.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], 10)).eval()
    ours = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=10).eval()
    weights = renamed(answer, theirs.state_dict())
    if found_before(answer):
        return
    try:
        ours.load_state_dict(weights)
    except RuntimeError as error:
        why = "Compare your keys with those of our network, one by one: which differ?"
        raise Wrong("it does not load", " ".join(str(error).split())[:150] + " ...", why) from error
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        if not same(run(ours, x), run(theirs, x)):
            raise Wrong("other logits", "different numbers", "Are the tensors the ones that belong to the names?")
