"""Weights from elsewhere: the same tensors under the names that this course's networks give them, and back.

Most ResNets in the world go by torchvision's names. Two well-known ones for CIFAR-10 differ a little:
akamaster's (https://github.com/akamaster/pytorch_resnet_cifar10) and kuangliu's
(https://github.com/kuangliu/pytorch-cifar).
"""

import re
from collections.abc import Mapping

import torch
import torchvision
from torch import Tensor
from torchvision.models.resnet import BasicBlock, Bottleneck

from ..errors import LessonError
from .resnet import ResNet


def from_torchvision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of torchvision's ResNet (its `state_dict()`) as ours has them.

    Raises ValueError for a name that torchvision's ResNet does not have.
    """

    def rename(key: str) -> str:
        if match := re.fullmatch(r"layer(\d+)\.(\d+)\.((conv|bn|downsample).+)", key):
            stage, block, part = int(match[1]) - 1, match[2], match[3]
            part = part.replace("downsample.", "shortcut.") if "downsample" in part else f"residual.{part}"
            return f"stages.{stage}.{block}.{part}"
        if key.startswith("fc."):
            return key
        if key.startswith(("conv1.", "bn1.")):
            return f"stem.{key}"
        raise ValueError(f"torchvision's ResNet has no weights {key!r}.")

    return {rename(key): tensor for key, tensor in weights.items()}


def to_torchvision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of an ImageNet ResNet of ours as torchvision's ResNet of the same make has them.

    Also takes a part of them, such as the gradients of the parameters. Raises ValueError for the weights of a network
    that torchvision cannot build.
    """
    renamed = {
        re.sub(
            r"^stages\.(\d+)\.",
            lambda match: f"layer{int(match[1]) + 1}.",
            key.removeprefix("stem.").replace(".residual.", ".").replace(".shortcut.", ".downsample."),
        ): tensor
        for key, tensor in weights.items()
    }
    theirs = _torchvisions_names(renamed)
    strange = [key for key, new in zip(weights, renamed, strict=True) if new not in theirs]
    missing = [name for name in theirs if name.endswith(".weight") and name not in renamed]
    if strange or missing:
        what = f"it has no {strange[0]}" if strange else f"its {missing[0]} is missing here"
        raise ValueError(
            f"torchvision has no ResNet with these weights: {what}. Its ResNets have four stages, and a projection "
            "where the shape changes: resnet18, resnet50, resnext50_32x4d, wide_resnet50_2, ..."
        )
    return renamed


def _torchvisions_names(weights: Mapping[str, Tensor]) -> list[str]:
    """The names in torchvision's ResNet with the same kind and number of blocks; none where it has no four stages."""
    depths = [len({key.split(".")[1] for key in weights if key.startswith(f"layer{i}.")}) for i in range(1, 5)]
    block = Bottleneck if "layer1.0.conv3.weight" in weights else BasicBlock
    with torch.device("meta"):
        return list(torchvision.models.ResNet(block, depths).state_dict()) if all(depths) else []


def load_weights(network: ResNet, weights: Mapping) -> ResNet:
    """Load weights from elsewhere into a network of the course, by whatever names they go; return the network.

    weights: a `state_dict()` of this course, of torchvision's ResNet, or of akamaster's or kuangliu's for CIFAR-10;
        also of one that was compiled (`_orig_mod.`) or made parallel (`module.`), and what `torch.load` gives of
        a file in which such weights have company (an epoch, an optimiser).

    Everything has to fit, or nothing is loaded: raises LessonError that says what was found and what does not fit.
    """
    if not isinstance(weights, Mapping):
        raise LessonError(f"Weights are a mapping from names to tensors, such as a state_dict(), not {weights!r:.80}.")
    for name in ("state_dict", "model", "net"):
        weights = weights[name] if isinstance(weights.get(name), Mapping) else weights
    found, names = _our_names({re.sub(r"^((module|_orig_mod)\.)+", "", key): w for key, w in weights.items()})
    own = network.state_dict()
    counters = {key: tensor for key, tensor in own.items() if key.endswith("num_batches_tracked")}
    found = counters | found  # files from before 2018 have no counters
    missing, more = [key for key in own if key not in found], [key for key in found if key not in own]
    other = [key for key in own if key in found and own[key].shape != found[key].shape]
    if missing or more or other:
        reasons = [f"{len(missing)} of its tensors are missing, such as {missing[0]}"] if missing else []
        reasons += [f"{len(more)} belong to none of its layers, such as {more[0]}"] if more else []
        reasons += [
            f"{len(other)} have another shape, such as {other[0]}: {tuple(found[other[0]].shape)} instead of "
            f"{tuple(own[other[0]].shape)}"
        ] if other else []  # fmt: skip
        raise LessonError(
            f"These weights, {names}, are of another network: {'; '.join(reasons)}. "
            "Build the network that they were trained in, with its depth, shortcut, stem and num_classes."
        )
    network.load_state_dict(found)
    return network


def _our_names(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The weights as ours are named, and whose names they had, in words."""
    if any(key.startswith("stages.") for key in weights):
        return dict(weights), "named as in this course"
    names = "named as in torchvision"
    if "linear.weight" in weights:
        names = "named as in akamaster's or kuangliu's CIFAR-10 networks"
        weights = {
            re.sub(r"^linear\.", "fc.", key).replace(".shortcut.", ".downsample."): w for key, w in weights.items()
        }
    try:
        return from_torchvision(weights), names
    except ValueError:
        some = ", ".join(list(weights)[:3])
        raise LessonError(
            f"These are no weights of a ResNet whose names are known here; they begin with {some}. Known are this "
            "course's, torchvision's, akamaster's and kuangliu's."
        ) from None
