"""torchvision's weights: from torchvision's names for them to those in this course's networks, and back."""

import re
from collections.abc import Mapping

from torch import Tensor


def from_torchvision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of torchvision's ResNet (its `state_dict()`) as in our ResNet.

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
    """Rename the weights of one of our ImageNet ResNets as in torchvision's ResNet.

    It also takes fewer entries, or others under the same names, such as the gradients of the parameters, and it ignores
    shapes, so it renames a ResNet-20's too. Raises ValueError for a layer that torchvision's ResNet does not have.
    """

    def rename(key: str) -> str:
        name = re.sub(r"^stages\.(\d+)\.", lambda match: f"layer{int(match[1]) + 1}.", key.removeprefix("stem."))
        name = name.replace(".residual.", ".").replace(".shortcut.", ".downsample.")
        if not re.match(r"(layer[1-4]\.\d+\.(conv[123]|bn[123]|downsample\.[01])|conv1|bn1|fc)\.", name):
            raise ValueError(f"torchvision's ResNet has no {key}: give a network such as resnet50 or resnext50_32x4d.")
        return name

    return {rename(key): tensor for key, tensor in weights.items()}
