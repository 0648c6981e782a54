"""A network's weights by name, and how to tell whether they belong to a given network."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import LessonError
from .evaluation import predict

Answer = dict  # {"image": [C, H, W], "logits": [...]}: see `answer_of`


class OtherNetwork(LessonError):
    """The weights belong to a network that computes something else."""


def plain(network: nn.Module) -> nn.Module:
    """The network itself, even if it is wrapped by `torch.compile` or `nn.DataParallel`."""
    while isinstance(inner := getattr(network, "_orig_mod", None) or getattr(network, "module", None), nn.Module):
        network = inner
    return network


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """Weights and BN statistics by name, each a tensor of its own on the CPU, even if two modules share one.

    The names are those of the network, without what compiling a part of it adds to them.
    """
    state = plain(network).state_dict()
    return {name.replace("_orig_mod.", ""): tensor.detach().cpu().clone() for name, tensor in state.items()}


def put_state(network: nn.Module, state: Mapping[str, Tensor], answer: Answer | None = None) -> None:
    """Load what `state_of` returned. Raises RuntimeError if names or shapes differ, and OtherNetwork if the network's
    answer is then not `answer`; in both cases the network is left as it was."""
    network = plain(network)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    places = {name.replace("_orig_mod.", ""): name for name in before}
    try:
        network.load_state_dict({places.get(name, name): tensor for name, tensor in state.items()})
        _check_answer(network, answer)
    except (RuntimeError, OtherNetwork):
        network.load_state_dict(before)
        raise


def digest_of(network: nn.Module) -> str:
    """A checksum of the names and shapes of all weights, and of each layer's kind and settings.

    A dilation, a different activation or a dropout probability changes it; recomputing, compiling or running in
    parallel does not.
    """
    weights = [f"{name} {tuple(tensor.shape)}" for name, tensor in state_of(network).items()]
    layers = [
        f"{name.replace('_orig_mod.', '')} {type(module).__name__}({module.extra_repr()})"
        for name, module in plain(network).named_modules()
        if module.extra_repr() or not any(module.children())
    ]
    return hashlib.sha256("\n".join(sorted(weights) + sorted(layers)).encode()).hexdigest()[:16]


def answer_of(network: nn.Module, image: tuple[int, ...]) -> Answer | None:
    """The network's logits for one fixed image of that size, (C, H, W), in evaluation mode.

    Two networks with the same weights that differ in anything else (a dilation, another activation, blocks that are
    left out) have different logits. None for a network whose logits change from call to call.
    """
    first, second = (_logits(network, image) for _ in range(2))
    return {"image": list(image), "logits": first.tolist()} if torch.equal(first, second) else None


def _logits(network: nn.Module, image: tuple[int, ...]) -> Tensor:
    place = next(network.parameters())
    picture = torch.linspace(-2, 2, torch.Size(image).numel()).view(1, *image).to(place.device)
    return predict(network, [(picture, torch.zeros(1, dtype=torch.long))])[0][0]


def _check_answer(network: nn.Module, answer: Answer | None) -> None:
    if not answer:
        return
    wanted, got = torch.tensor(answer["logits"]), _logits(network, tuple(answer["image"]))
    # The same weights differ by rounding from one machine to the next: on GPUs, and over many layers, by some 1e-3.
    if wanted.shape != got.shape or (wanted - got).norm() > 0.02 * wanted.norm():
        raise OtherNetwork(
            "The names and shapes of these weights fit this network, but it computes something else with them. Either "
            "it was changed after it was built (dilate, stochastic_depth, a replaced layer), or its class has another "
            "forward. Build it in the way in which it was trained."
        )
