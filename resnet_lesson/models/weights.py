"""Weights from elsewhere: the same tensors under the names that this course's networks give them, and back.

Most ResNets go by torchvision's names. Two well-known ones for CIFAR-10 differ a little: akamaster's
(https://github.com/akamaster/pytorch_resnet_cifar10) and kuangliu's (https://github.com/kuangliu/pytorch-cifar).
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

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
    """Rename the weights of an ImageNet ResNet of ours as torchvision's ResNet has them.

    Also takes a part of them, such as the gradients of the parameters, and does not look at shapes: a ResNet-20's are
    renamed too. Raises ValueError for a layer that torchvision's ResNet does not have.
    """

    def rename(key: str) -> str:
        name = re.sub(r"^stages\.(\d+)\.", lambda match: f"layer{int(match[1]) + 1}.", key.removeprefix("stem."))
        name = name.replace(".residual.", ".").replace(".shortcut.", ".downsample.")
        if not re.match(r"(layer[1-4]\.\d+\.(conv[123]|bn[123]|downsample\.[01])|conv1|bn1|fc)\.", name):
            raise ValueError(f"torchvision's ResNet has no {key}: give a network such as resnet50 or resnext50_32x4d.")
        return name

    return {rename(key): tensor for key, tensor in weights.items()}


def load_weights(network: ResNet, weights: Mapping) -> ResNet:
    """Load weights from elsewhere into a network of the course, by whatever names they go; return the network.

    weights: a `state_dict()` of this course, of torchvision's ResNet, or of akamaster's or kuangliu's for CIFAR-10;
        also of one that was compiled (`_orig_mod.`), made parallel (`module.`) or part of another module (`model.`, as
        Lightning's are), as tensors or numpy arrays; and a checkpoint with such weights.

    Everything has to fit, or nothing is loaded: raises LessonError that says what was found and what does not fit.
    """
    if not isinstance(weights, Mapping):
        raise LessonError(f"Weights are a mapping from names to tensors, such as a state_dict(), not {weights!r:.80}.")
    for name in ("state_dict", "model", "net"):
        weights = weights[name] if isinstance(weights.get(name), Mapping) else weights
    found, names = _our_names({re.sub(r"^((module|_orig_mod|model|net)\.)+", "", key): w for key, w in weights.items()})
    own = network.state_dict()
    counters = {key: tensor for key, tensor in own.items() if key.endswith("num_batches_tracked")}
    found = counters | found  # files from before 2018 have no counters
    found = {key: torch.as_tensor(tensor) for key, tensor in found.items()}
    reasons = {
        "missing": [key for key in own if key not in found],
        "not in this network": [key for key in found if key not in own],
        "of another shape": [key for key in own if key in found and own[key].shape != found[key].shape],
    }
    wrong = [f"{len(keys)} tensors are {what}, such as {keys[0]}" for what, keys in reasons.items() if keys]
    if wrong:
        raise LessonError(
            f"These weights, {names}, are of another network: {'; '.join(wrong)}. "
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
