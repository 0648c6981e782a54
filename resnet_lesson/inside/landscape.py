"""Loss surfaces: the loss on a line or a plane through a network's weights.

The weights w are millions of numbers; a surface shows the loss at w + a * d + b * e for two random directions d and e.
A direction is *filter-normalised*: each of its filters is as long as the network's own. Otherwise networks with small
weights would look rougher than others, though with BN their scale means nothing.
Source: Li et al., *Visualizing the Loss Landscape of Neural Nets*, https://arxiv.org/abs/1712.09913, section 4.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as nnF
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..errors import LessonError
from ..files import replace_file
from ..machine import autocast, describe
from .measures import to_measure

Direction = Mapping[str, Tensor]


def filter_direction(network: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """A random direction in the space of the weights, as long as the network's weights, filter by filter.

    Each filter of a convolution (the weights of one output channel) and each row of a linear layer has normally
    distributed numbers, rescaled to the norm of the network's filter or row. Biases and BN's parameters have zeros.
    Returns a tensor for each parameter, by name.
    """
    generator, direction = torch.Generator().manual_seed(seed), {}
    for name, weight in network.named_parameters():
        if weight.ndim < 2:  # a bias, or BN's
            direction[name] = torch.zeros_like(weight, requires_grad=False)
            continue
        own = weight.detach().flatten(1)
        random = torch.randn(own.shape, generator=generator).to(own)
        direction[name] = (random * (own.norm(dim=1) / random.norm(dim=1))[:, None]).view_as(weight)
    return direction


@dataclass
class Surface:
    """The loss and the error around a network's weights.

    a: steps along the first direction, (A,); b: along the second, (B,), or (1,) with a zero for a line.
    loss, error: (B, A), the mean cross-entropy and the share of wrong answers (0 to 1) at each of these weights.
    about: of what, and how it was computed.
    """

    a: Tensor
    b: Tensor
    loss: Tensor
    error: Tensor
    about: dict = field(default_factory=dict)

    @property
    def centre(self) -> float:
        """The loss of the network itself."""
        return float(self.loss[len(self.b) // 2, len(self.a) // 2])

    def save(self, path: Path | str) -> None:
        """Write everything to one .safetensors file, atomically."""
        tensors = {name: getattr(self, name).contiguous() for name in ("a", "b", "loss", "error")}
        content = save(tensors, metadata={"about": json.dumps(self.about)})
        replace_file(Path(path), lambda file: file.write(content))

    @classmethod
    def load(cls, path: Path | str) -> "Surface":
        """Read what `save` wrote. Raises LessonError where the file is missing or is no surface."""
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in ("a", "b", "loss", "error")}
                return cls(**tensors, about=json.loads(file.metadata()["about"]))
        except FileNotFoundError:
            raise LessonError(f"There is no surface {path}: compute it with `surface(...)`, and save it.") from None
        except (SafetensorError, ValueError, TypeError, KeyError) as error:
            raise LessonError(f"{path} is no loss surface ({error}): delete it and compute it again.") from error


@torch.no_grad()
def surface(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    first: Direction,
    second: Direction | None = None,
    *,
    span: float = 1.0,
    points: int = 25,
    batch_statistics: bool = False,
    precision: str = "float32",
    progress: bool = False,
) -> Surface:
    """The loss at `points` steps from -span to span along one direction, or at points x points along two.

    images: (N, 3, H, W), normalised, all in one batch; labels: (N,). A span of 1 moves each filter by its own length.
    batch_statistics: BN takes mean and variance from the images anew at each point. Otherwise it keeps the running ones
        of the trained network, which no longer fit the moved weights: that makes the far field steeper. Nothing else
        is as in training: dropout and stochastic depth leave nothing out, so the same call gives the same numbers.
    precision: "float32", or "bfloat16" for the forward passes.

    The network stays untouched; a copy is moved. Raises ValueError for an even number of points (the network would not
    be among them), a direction of another network, and labels that do not fit the images.
    """
    _check(network, images, labels, [first, second or first], points)
    model = to_measure(copy.deepcopy(network), batch_statistics).to(memory_format=torch.channels_last)
    start = {name: parameter.clone() for name, parameter in model.named_parameters()}
    images = images.float().contiguous(memory_format=torch.channels_last)
    steps = torch.linspace(-span, span, points, dtype=torch.float64)
    steps[points // 2] = 0.0
    across = steps if second else steps.new_zeros(1)
    loss, error = torch.empty(2, len(across), points, device=images.device)  # a GPU need not wait for each point
    with tqdm(total=loss.numel(), desc="surface", unit="points", disable=not progress, leave=False) as bar:
        for j, b in enumerate(across.tolist()):
            for i, a in enumerate(steps.tolist()):
                for name, parameter in model.named_parameters():
                    parameter.copy_(start[name] + a * first[name] + (b * second[name] if second else 0))
                with autocast(images.device, precision):
                    logits = model(images).float()
                loss[j, i] = nnF.cross_entropy(logits, labels)
                error[j, i] = (logits.argmax(1) != labels).float().mean()
                bar.update()
    about = {
        "network": getattr(network, "spec", None) or type(network).__name__,
        "images": len(images),
        "points": points,
        "span": span,
        "batch_statistics": batch_statistics,
        "precision": precision,
        "machine": describe(images.device),
    }
    return Surface(steps.float(), across.float(), loss.cpu(), error.cpu(), about)


def _check(network: nn.Module, images: Tensor, labels: Tensor, directions: list[Direction], points: int) -> None:
    if points < 3 or points % 2 == 0:
        raise ValueError(f"points is odd, and at least 3, so that the network itself is in the middle; not {points}.")
    if images.ndim != 4 or labels.shape != (len(images),):
        shapes = f"{tuple(images.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"Give images (N, 3, H, W) and one label for each, (N,); not {shapes}.")
    own = {name: parameter.shape for name, parameter in network.named_parameters()}
    if any(own != {name: move.shape for name, move in direction.items()} for direction in directions):
        raise ValueError("The direction is another network's: make it from this one, with filter_direction(network).")
