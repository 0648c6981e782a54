"""The exercise `filter_direction` of notebook 07: a random direction, each filter as long as the network's own.

Right answers draw different random numbers, so the cases compare, in words, what all of them have in common: which
lengths are the network's, which parts are alike, and what the seed changes.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ..inside import landscape
from .kit.exercise import Exercise, Wrong
from .kit.outcomes import shape

filter_direction = Exercise(
    "filter_direction",
    "Write a function that returns a random direction: a tensor for each parameter, by name, each filter as long as "
    "the network's own.",
    solution=(landscape.filter_direction,),
    hints=(
        "Go through network.named_parameters(): each name gets a tensor of the same shape as the parameter. Which "
        "parameters consist of filters or rows, and which have just one number per channel?",
        "The weight of a convolution is (out, in, height, width), that of a linear layer (out, in), so weight[i] is "
        "filter i, or row i. A parameter with a single dimension is a bias or one of BN's: it gets "
        "torch.zeros_like(parameter.detach()).",
        "Make generator = torch.Generator().manual_seed(seed) once, before the loop. Then torch.randn(weight.shape, "
        "generator=generator) draws new numbers for each layer, and the same ones whenever the seed is the same.",
        "With own = weight.detach().flatten(1) each filter is a row, and own.norm(dim=1) has one length per filter.",
        "random * (own.norm(dim=1) / random.norm(dim=1))[:, None], with random shaped like own, has the right lengths; "
        ".view_as(weight) gives it the weight's shape again.",
    ),
    read="notebook 07, section 6",
)


def small() -> nn.Module:
    """A network with filters and rows of very different lengths, and BN's parameters and biases not at zero."""
    convolutions = dict(conv1=nn.Conv2d(3, 8, 3), conv2=nn.Conv2d(8, 8, 3), conv3=nn.Conv2d(8, 8, 3))
    network = nn.Sequential(OrderedDict(convolutions, bn=nn.BatchNorm2d(8), fc=nn.Linear(8, 5)))
    generator = torch.Generator().manual_seed(2015)  # no answer draws these numbers
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=generator)
            parameter.mul_(torch.linspace(0.5, 2, len(parameter)).view(-1, *[1] * (parameter.ndim - 1)))
    return network


def direction_of(answer: Callable, network: nn.Module, seed: int = 1) -> dict[str, Tensor]:
    """The answer's direction in float64; raises `Wrong` unless each parameter has a tensor of the right shape."""
    own, made = dict(network.named_parameters()), answer(network, seed)
    if not isinstance(made, Mapping):
        why = "Return a dictionary: direction[name] is the tensor for the parameter of that name."
        why = "Does your code end in `return direction`?" if made is None else why
        raise Wrong("nothing is returned" if made is None else "no dictionary", type(made).__name__, why)
    if more := [str(name) for name in made if name not in own]:
        why = "Use the names from network.named_parameters(), such as fc.weight: no layers, no running statistics."
        raise Wrong("entries that are not parameters", ", ".join(more[:2]), why)
    if missing := [name for name in own if name not in made]:
        why = "Each name in network.named_parameters() gets a tensor; biases and BN's parameters get zeros."
        raise Wrong("parameters are missing", ", ".join(missing[:2]), why)
    for name, tensor in made.items():
        if not isinstance(tensor, Tensor):
            raise Wrong("not tensors", f"{type(tensor).__name__} for {name}", "Each parameter gets one tensor.")
        if tensor.shape != own[name].shape:
            why = "The direction is added to the weights: .view_as(weight) gives it their shape."
            raise Wrong("the wrong shape", f"{shape(tensor)} for {name}, which is {shape(own[name])}", why)
    return {name: tensor.detach().double() for name, tensor in made.items()}


def near(a: Tensor, b: Tensor | float) -> bool:
    return torch.allclose(a, torch.as_tensor(b).to(a).expand_as(a), rtol=1e-3, atol=1e-6)


def beside(move: Tensor, own: Tensor, dim: tuple[int, ...]) -> str:
    """How long parts of the direction are, compared with the same parts of the weights; `dim` spans one part."""
    move, own = (torch.linalg.vector_norm(one.flatten(2), dim=dim) for one in (move, own))
    if not move.isfinite().all():
        return "not finite"
    names = {"as long as in the network": own, "of length 1": 1.0, "of length 0": 0.0}
    return next((name for name, value in names.items() if near(move, value)), "of a different length")


def lengths(answer: Callable, ndim: int, one: str, across: str) -> dict[str, str]:
    network = small()
    parameters = network.named_parameters
    weights = {name: p.detach().clone().double()[..., None] for name, p in parameters() if p.ndim == ndim}
    moves = {name: move[..., None] for name, move in direction_of(answer, network).items() if name in weights}
    found = {}
    for part, dim in {f"each {one}": (1, 2), f"each {across}": (0, 2), "the layer": (0, 1, 2)}.items():
        seen = {beside(moves[name], own, dim) for name, own in weights.items()}
        found[part] = " or ".join(sorted(seen))
    ratio = torch.cat(
        [moves[name].flatten(1).norm(dim=1) / own.flatten(1).norm(dim=1) for name, own in weights.items()]
    )
    root = torch.cat([torch.full((len(own),), own[0].numel() ** 0.5) for own in weights.values()])
    found["its size"] = (
        "too long by the square root of its number of weights" if 0.7 < (ratio / root).mean() < 1.3 else "different"
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
    again = direction_of(answer, network)
    as_before = all(near(again[name][..., None], move) for name, move in moves.items())
    found["with weights three times as large"] = "the same length" if as_before else "a different length"
    return found


@filter_direction.case("the length of each convolution's filter", "that of the same filter in the network")
def filters(answer):
    return lengths(answer, 4, "filter", "input channel")


@filter_direction.case("the length of each row of a linear layer", "that of the same row in the network")
def rows(answer):
    return lengths(answer, 2, "row", "column")


def alike(a: Tensor, b: Tensor) -> str:
    """Whether two weights have the same filters, up to lengths and signs."""
    cosines = torch.cosine_similarity(a.flatten(1), b.flatten(1)).abs()
    return "the same" if near(cosines, 1.0) else "different"


@filter_direction.case("the numbers in the direction", "random, about as many below zero as above")
def random_numbers(answer):
    network = small()
    weights = {name: p.detach().clone().double() for name, p in network.named_parameters()}
    direction = direction_of(answer, network)
    one, two, three = (direction[f"conv{i}.weight"] for i in (1, 2, 3))
    numbers = torch.cat([(move / move.flatten(1).norm(dim=1)[:, None, None, None]).flatten() for move in (one, two)])
    shifted = abs(numbers.mean()) > 0.2 * numbers.square().mean().sqrt()
    return {
        "compared with the weights": alike(one.abs(), weights["conv1.weight"].abs()),
        "one number and the next": alike(two.abs(), torch.ones_like(two)),
        "one filter and the next": alike(two[1:], two[:-1]),
        "one layer and the next": alike(two, three),
        "signs": f"{(numbers > 0).double().mean():.0%} above zero" if shifted else "both",
    }


@filter_direction.case("biases and BN's parameters", "zeros")
def zeros(answer):
    direction = direction_of(answer, small())
    parts = {"biases": ("conv1.bias", "fc.bias"), "BN's parameters": ("bn.weight", "bn.bias")}
    return {part: "moved" if any(direction[name].any() for name in names) else "zeros" for part, names in parts.items()}


@filter_direction.case("seed 0, seed 0 again, and seed 1", "the same direction twice, then a different one")
def seeds(answer):
    first, again, other = (direction_of(answer, small(), seed)["conv1.weight"] for seed in (0, 0, 1))
    kept = answer(small(), 0)
    answer(small(), 1)
    afterwards = kept["conv1.weight"].detach().double()
    return {
        "seed 0 again": alike(first, again),
        "seed 1": alike(first, other),
        "seed 0, looked at after seed 1": alike(first, afterwards),
    }


@filter_direction.case("a network with a filter of zeros, and a row of zeros", "zeros there too, since its length is 0")
def zero_filters(answer):
    network = small()
    with torch.no_grad():
        network.conv1.weight[2] = network.fc.weight[1] = 0
    direction = direction_of(answer, network)
    found = {"the filter": direction["conv1.weight"][2], "the row": direction["fc.weight"][1]}
    return {
        part: "nan" if not move.isfinite().all() else "zeros" if move.abs().max() < 1e-6 else "moved"
        for part, move in found.items()
    }


@filter_direction.case("the network, afterwards", "as before: weights, BN's statistics, .grad, requires_grad, mode")
def network_untouched(answer):
    network = small()
    network.conv1.bias.requires_grad_(False)
    network.fc.weight.grad = torch.ones(5, 8)
    before = copy.deepcopy(network.state_dict())
    direction_of(answer, network)
    grad, learning = network.fc.weight.grad, [p.requires_grad for p in network.parameters()]
    now = {
        "weights": all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items()),
        ".grad": grad is not None and grad.min() == grad.max() == 1,
        "requires_grad": learning == [name != "conv1.bias" for name, _ in network.named_parameters()],
        "mode": network.training,
    }
    return {what: "as before" if kept else "changed" for what, kept in now.items()}


@filter_direction.case("whether the direction requires a gradient", "no, because it is a constant")
def needs_no_gradient(answer):
    direction_of(answer, network := small())
    return "yes" if any(move.requires_grad for move in answer(network, 1).values()) else "no"


# --- The mistakes, as edits of the solution. Those in the lengths are made everywhere, or in one kind of layer.

mistake = filter_direction.mistake
LENGTH, DRAW = "(own.norm(dim=1) / random.norm(dim=1))[:, None]", "torch.randn(own.shape, generator=generator)"
ZERO, START = "torch.zeros_like(weight, requires_grad=False)", "generator, direction ="


def across() -> str:
    """The factors for the lengths of input channels, or columns."""
    own, random = (f"{one}.view(*weight.shape[:2], -1).norm(dim=(0, 2), keepdim=True)" for one in ("own", "random"))
    return f"({own} / {random}).expand(*weight.shape[:2], weight[0, 0].numel()).flatten(1)"


# fmt: off
for name, length, why in (
    ("layer by layer", "(own.norm() / random.norm())",
     "Your layers have the right length as a whole, but each filter needs its own: own.norm(dim=1) after flatten(1)."),
    ("unit length", "(1 / random.norm(dim=1))[:, None]",
     "Dividing by its own length makes it 1. After that, multiply by the length of the network's filter or row."),
    ("not rescaled", "1.0", "Divide each filter by its own length, and multiply it by that of the network's filter."),
    ("the random numbers' own length is left in", "own.norm(dim=1)[:, None]",
     "The random filter already has a length. Divide by that before you multiply by the network's."),
):
    for where in ("True", "weight.ndim == 4", "weight.ndim == 2"):
        mistake(name, {LENGTH: f"({length} if {where} else {LENGTH})"}, why)
for ndim, name in ((4, "each input channel instead of each filter"), (2, "each column instead of each row")):
    mistake(name, {LENGTH: f"({across()} if weight.ndim == {ndim} else {LENGTH})"},
            "Dimension 0 is that of the outputs: weight[i] is filter or row i. You used the lengths of weight[:, i].")
for name, draw, why in (
    ("the same numbers for every filter", "torch.randn(1, own.shape[1], generator=generator).expand_as(own)",
     "Draw new numbers for each filter. Do you set the seed again inside a loop?"),
    ("the same numbers in every layer", "torch.randn(own.shape, generator=torch.Generator().manual_seed(seed))",
     "Set the seed once, before the loop over the parameters. Inside the loop, every layer starts from it again."),
    ("only positive numbers", "torch.rand(own.shape, generator=generator)",
     "torch.rand gives numbers from 0 to 1, so all weights would move the same way. torch.randn gives both signs."),
):
    mistake(name, {DRAW: draw}, why)
for name, which in (("biases", "float('bn' not in name)"), ("BN's parameters", "float('bn' in name)"),
                    ("biases and BN's parameters", "1.0")):
    mistake(f"{name} move", {ZERO: f"torch.full_like(weight.detach(), {which})"},
            "A single number per channel is not a filter, so it stays where it is: use torch.zeros_like if ndim is 1.")
mistake("the seed is not used", {"torch.Generator().manual_seed(seed)": "torch.default_generator"},
        "With generator = torch.Generator().manual_seed(seed), torch.randn(..., generator=generator) repeats itself.")
mistake("the same direction for every seed", {"manual_seed(seed)": "manual_seed(0)"},
        "A surface needs two directions: seed 0 and seed 1 must differ. Is a number written where `seed` belongs?")
mistake("it remembers earlier calls", {"seed: int = 0)": "seed: int = 0, direction={})", START: "generator, _ ="},
        "Make a new dictionary in every call, from the current weights: no cache, and no default such as {}.")
mistake("nan for a filter of zeros", {"own.norm(dim=1) /": "own.norm(dim=1) ** 2 / own.norm(dim=1) /"},
        "0 / 0 is nan. Divide by the length of the random filter, which is never zero, not by that of the network's.")
mistake("the network's weights are changed", {"weight.detach().flatten(1)": "weight.detach().flatten(1).clone()",
        f"random = {DRAW}": "random = weight.data.normal_(generator=generator).flatten(1).clone()"},
        "They are still needed. Write into new tensors: weight.data and detach() share the network's memory.")
mistake("the direction requires a gradient", {"own = weight.detach()": "own = weight"},
        "It was computed from the parameters, and autograd recorded that: use weight.detach(), or torch.no_grad().")
# fmt: on
