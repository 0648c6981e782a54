"""Loss surfaces: the loss on a line or a plane through a network's weights.

The weights w are millions of numbers; a surface shows the loss at w + a * d + b * e for two random directions d and e.
A direction is *filter-normalised*: each of its filters is as long as the network's own. Otherwise, networks with small
weights would look rougher than others, although the scale of the weights means nothing in a network with BN.
Source: Li et al., *Visualizing the Loss Landscape of Neural Nets*, https://arxiv.org/abs/1712.09913, section 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as nnF
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..errors import LessonError
from ..files import replace_file
from .measures import copy_to_measure

Direction = Mapping[str, Tensor]


def filter_direction(network: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """A random direction in the space of the weights, as long as the network's weights, filter by filter.

    Each filter of a convolution (the weights of one output channel) and each row of a linear layer gets normally
    distributed numbers, rescaled to the norm of the network's filter or row. Biases and BN's parameters get zeros.
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
    """The loss around a network's weights.

    a: steps along the first direction, (A,); b: steps along the second, (B,), or for a line a single zero, (1,).
    loss: (B, A), the mean cross-entropy at each of these points.
    """

    a: Tensor
    b: Tensor
    loss: Tensor

    @property
    def centre(self) -> float:
        """The loss of the network itself."""
        return float(self.loss[len(self.b) // 2, len(self.a) // 2])

    def save(self, path: Path) -> None:
        """Write it to a .safetensors file, atomically."""
        content = save({name: tensor.contiguous() for name, tensor in vars(self).items()})
        replace_file(path, lambda file: file.write(content))

    @classmethod
    def load(cls, path: Path) -> "Surface":
        """Read what `save` wrote. Raises LessonError if the file is missing or is not a surface."""
        try:
            tensors = load_file(path)
            return cls(tensors["a"], tensors["b"], tensors["loss"])
        except (OSError, SafetensorError, KeyError) as error:
            raise LessonError(f"There is no loss surface in {path} ({error}): compute it again.") from error


@torch.no_grad()
def surface(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    first: Direction,
    second: Direction | None = None,
    *,
    points: int = 25,
    batch_statistics: bool = False,
    progress: bool = False,
) -> Surface:
    """The loss at `points` steps from -1 to 1 along one direction, or at points x points along two.

    A step of 1 moves each filter by its own length.
    images: (N, 3, H, W), normalised, all in one batch; labels: (N,).
    batch_statistics: BN takes mean and variance from the images, afresh at each point. Otherwise it keeps the running
        statistics of the trained network, which no longer fit the moved weights, so the loss rises more steeply away
        from the centre. Nothing else is as in training: dropout and stochastic depth leave nothing out, so the same
        call gives the same numbers.

    The network is left as it is; a copy is moved. Raises ValueError for an even number of points.
    """
    if points < 3 or points % 2 == 0:
        raise ValueError(f"points must be odd and at least 3, to have the network itself in the middle, not {points}.")
    model = copy_to_measure(network, batch_statistics).to(memory_format=torch.channels_last)
    start = {name: parameter.clone() for name, parameter in model.named_parameters()}
    images = images.float().contiguous(memory_format=torch.channels_last)
    steps = torch.linspace(-1, 1, points, dtype=torch.float64)
    steps[points // 2] = 0.0
    across = steps if second else steps.new_zeros(1)
    loss = torch.empty(len(across), points, device=images.device)  # a GPU need not wait for each point
    with tqdm(total=loss.numel(), desc="surface", unit="points", disable=not progress, leave=False) as bar:
        for j, b in enumerate(across.tolist()):
            for i, a in enumerate(steps.tolist()):
                for name, parameter in model.named_parameters():
                    parameter.copy_(start[name] + a * first[name] + (b * second[name] if second else 0))
                loss[j, i] = nnF.cross_entropy(model(images), labels)
                bar.update()
    return Surface(steps.float(), across.float(), loss.cpu())
