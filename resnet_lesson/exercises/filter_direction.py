"""The exercise `filter_direction` of notebook 07: a random direction, each filter as long as the network's own."""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ..inside import landscape
from ..models.blocks import BasicBlock
from ..models.resnet import ResNet
from .kit.exercise import Exercise, Wrong
from .kit.probing import shake, shape

filter_direction = Exercise(
    "filter_direction",
    "Write a function that returns a random direction: a tensor for each parameter, by name, each filter as long as "
    "the network's own.",
    solution=(landscape.filter_direction,),
    hints=(
        "Go through network.named_parameters(): each name gets a tensor of the same shape. Which of the parameters "
        "have filters or rows, and which are single numbers for each channel?",
        "A convolution's weight is (out, in, height, width), a linear layer's (out, in): weight[i] is filter i, or row "
        "i. What has one dimension only is a bias or BN's, and gets torch.zeros_like(parameter.detach()).",
        "torch.Generator().manual_seed(seed), made once before the loop, gives torch.randn(weight.shape, "
        "generator=generator) numbers that the seed fixes, and others for every layer.",
        "With own = weight.detach().flatten(1) each filter is a row, and own.norm(dim=1) has one length a filter.",
        "random * (own.norm(dim=1) / random.norm(dim=1))[:, None], with random shaped like own, has the right lengths; "
        ".view_as(weight) gives it the weight's shape again.",
    ),
    read="notebook 07, section 6",
)


def uneven(network: nn.Module) -> nn.Module:
    """The network with filters and rows of very different lengths, and BN's parameters and biases not at zero."""
    with torch.no_grad():
        for parameter in shake(network).parameters():
            if parameter.ndim > 1:
                parameter.mul_(torch.linspace(0.5, 2, len(parameter)).view(-1, *[1] * (parameter.ndim - 1)))
    return network


def small() -> nn.Module:
    layers = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)
    return uneven(nn.Sequential(*layers))


def course() -> nn.Module:
    return uneven(ResNet(BasicBlock, (1, 1, 1), (8, 12, 16), (1, 2, 2), "cifar", 7, shortcut="B"))


def direction_of(answer: Callable, network: nn.Module, seed: int = 1) -> dict[str, Tensor]:
    """The answer's direction, if it has the right form, in float64."""
    if not callable(answer):
        raise Wrong("not a function", type(answer).__name__, "Give check() the function itself, without calling it.")
    own, made = dict(network.named_parameters()), answer(network, seed)
    if not isinstance(made, Mapping):
        why = "Return a dictionary: direction[name] is the tensor for the parameter of that name."
        why = "Does your code end in `return direction`?" if made is None else why
        raise Wrong("nothing is returned" if made is None else "no dictionary", type(made).__name__, why)
    missing, more = [name for name in own if name not in made], [str(name) for name in made if name not in own]
    if more:
        why = "The names are those of network.named_parameters(), such as fc.weight: no layers, no running statistics."
        raise Wrong("entries that are no parameters", ", ".join(more[:2]), why)
    if missing:
        why = "Each name in network.named_parameters() has a tensor, with zeros for biases and BN."
        raise Wrong("parameters are missing", ", ".join(missing[:2]), why)
    for name, tensor in made.items():
        if not isinstance(tensor, Tensor):
            raise Wrong("not tensors", f"{type(tensor).__name__} for {name}", "Each parameter gets one tensor.")
        if tensor.shape != own[name].shape:
            why = "The direction is added to the weights: .view_as(weight) gives it their shape."
            raise Wrong("another shape", f"{shape(tensor)} for {name}, which is {shape(own[name])}", why)
    return {name: tensor.detach().double() for name, tensor in made.items()}


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Its parameters as they are now, in float64."""
    return {name: parameter.detach().clone().double() for name, parameter in network.named_parameters()}


def near(a: Tensor, b: Tensor | float) -> bool:
    return torch.allclose(a, torch.as_tensor(b).to(a).expand_as(a), rtol=1e-3, atol=1e-6)


def lengths(weight: Tensor) -> Tensor:
    """Of each filter or row."""
    return weight.flatten(1).norm(dim=1)


def check_lengths(answer: Callable, network: nn.Module, ndim: int) -> None:
    """Raise `Wrong` unless the direction's weights of `ndim` dimensions have filters, or rows, of the right length."""
    weights, direction = weights_of(network), direction_of(answer, network)
    one, across = ("filter", "input channel") if ndim == 4 else ("row", "column")
    for name, own in weights.items():
        if own.ndim != ndim or near(lengths(direction[name]), lengths(own)):
            continue
        move = direction[name]
        got = f"{lengths(move)[0]:.3g} for {one} 0 of {name}; the network's is {lengths(own)[0]:.3g} long"
        if not move.isfinite().all():
            raise Wrong("not finite", got, "Where does your code divide by zero?")
        if not move.any():
            raise Wrong("weights that do not move", got, "Convolutions and linear layers move, only the rest does not.")
        if near(lengths(move), 1) or near(move.norm(), 1):
            why = f"Dividing by its own length makes it 1. Then multiply by the length of the network's {one}."
            raise Wrong("unit length", got, why)
        if near(lengths(move.transpose(0, 1)), lengths(own.transpose(0, 1))):
            why = f"Dimension 0 counts the outputs: weight[i] is {one} i. Yours has the lengths of weight[:, i]."
            raise Wrong(f"each {across} instead of each {one}", got, why)
        if near(move.norm(), own.norm()):
            why = f"The layer as a whole has its length. Each {one} gets its own: own.norm(dim=1) after own.flatten(1)."
            raise Wrong("layer by layer", got, why)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(3)
        if near(direction_of(answer, network)[name], move):
            why = f"Multiply each {one} by the length of the network's, and divide by its own: (weight's / random's)."
            raise Wrong("not rescaled", got, why)
        if 0.7 < (lengths(move) / lengths(own)).mean() / own[0].numel() ** 0.5 < 1.3:
            why = f"The random {one} has a length already. Divide by that before you multiply by the network's."
            raise Wrong("the random numbers' own length is left in", got, why)
        raise Wrong("other lengths", got, "The norm is the root of the sum of squares, over all weights of one output.")


def sound(answer: Callable, *probes: Callable) -> bool:
    """Whether these probes pass, so that a later one does not say the same again."""
    try:
        for probe in probes:
            probe(answer)
    except Wrong:
        return False
    return True


@filter_direction.probe("a convolution with bias, BN and a linear layer", "a dictionary, a tensor for each parameter")
def names_and_shapes(answer):
    direction_of(answer, small())


@filter_direction.probe("the length of each convolution's filter", "that of the same filter in the network")
def filters(answer):
    check_lengths(answer, small(), ndim=4)
    check_lengths(answer, course(), ndim=4)


@filter_direction.probe("the length of each row of a linear layer", "that of the same row in the network")
def rows(answer):
    if sound(answer, filters):  # otherwise their probe says so
        check_lengths(answer, course(), ndim=2)


@filter_direction.probe("the numbers in the direction", "random, as many below zero as above")
def random_numbers(answer):
    network = course()
    weights, direction = weights_of(network), direction_of(answer, network)
    stem, first, second = names = ("stem.conv1.weight", *(f"stages.0.0.residual.conv{i}.weight" for i in (1, 2)))
    unit = {name: direction[name].flatten(1) / lengths(direction[name])[:, None] for name in names}
    cosines = (unit[stem] * weights[stem].flatten(1)).sum(1) / lengths(weights[stem])
    if near(direction[stem].abs(), weights[stem].abs()) or cosines.abs().mean() > 0.5:
        why = "That leads back to zero or away from it, whatever the seed. Take random numbers, torch.randn."
        raise Wrong("the weights themselves", f"{stem}, with other lengths or signs at most", why)
    if near(unit[stem], unit[stem][:, :1]):
        why = "Every weight moves by a random number of its own: draw as many as the tensor has."
        raise Wrong("one number for a whole filter", f"{direction[stem][0].abs().max():.3g} throughout", why)
    if near(unit[stem][0], unit[stem][1]):
        why = "Draw new numbers for each filter. Is the seed set again inside of a loop?"
        raise Wrong("the same numbers for every filter", f"filters 0 and 1 of {stem}: one is the other, rescaled", why)
    if near(unit[first], unit[second]):
        why = "Set the seed once, before the loop over the parameters. Set inside of it, it begins anew in each layer."
        raise Wrong("the same numbers in every layer", "two convolutions of a block, with equal random numbers", why)
    numbers = torch.cat([u.flatten() for u in unit.values()])
    if abs(numbers.mean()) > 0.2 * numbers.square().mean().sqrt():
        why = "torch.rand has numbers from 0 to 1, and all weights would move the same way. torch.randn has both signs."
        raise Wrong("only positive numbers", f"{(numbers > 0).double().mean():.0%} of them above zero", why)
    move, own = [tensors[stem].flatten(2).norm(dim=2) for tensors in (direction, weights)]
    if near(move, own):  # by chance only a filter's length is right, which is made of several kernels
        why = "A filter is all that makes one output channel, in x 3 x 3 numbers: one length for all of them."
        raise Wrong("each kernel by itself", f"{move[0, 0]:.3g} for one 3 x 3 kernel, as in the network", why)


@filter_direction.probe("biases and BN's parameters", "zeros")
def zeros(answer):
    moved = set()
    for network in (small(), course()):
        direction = direction_of(answer, network)
        for name in [name for name, move in direction.items() if move.ndim == 1 and move.any()]:
            is_bn = isinstance(network.get_submodule(name.rpartition(".")[0]), nn.BatchNorm2d)
            moved.add("BN's parameters" if is_bn else "biases")
    if moved:
        why = "A single number for a channel is no filter, and stays where it is: torch.zeros_like where ndim is 1."
        raise Wrong(" and ".join(sorted(moved)) + " move", "other numbers than 0", why)


@filter_direction.probe("seed 0, seed 0 again, and seed 1", "twice the same direction, then another one")
def seeds(answer):
    if not sound(answer, filters, random_numbers):
        return  # their probes say so
    network = small()
    first, again, other = [direction_of(answer, copy.deepcopy(network), seed)["0.weight"] for seed in (0, 0, 1)]
    if not near(first, again):
        why = "generator = torch.Generator().manual_seed(seed) and torch.randn(..., generator=generator) repeat them."
        raise Wrong("the seed is not used", "other numbers the second time", why)
    if near(first, other) or near(first, -other):
        why = "A surface needs two directions: seed 0 and seed 1 must differ. Is a number written where `seed` belongs?"
        raise Wrong("the same direction for every seed", "the same numbers for seeds 0 and 1", why)


@filter_direction.probe("a network with a filter of zeros, and a row of zeros", "zeros there too: 0 is its length")
def zero_filters(answer):
    if not sound(answer, filters, rows):
        return  # their probes say so
    network = small()
    with torch.no_grad():
        network[0].weight[2] = network[5].weight[1] = 0
    direction = direction_of(answer, network)
    found = torch.cat([direction["0.weight"][2].flatten(), direction["5.weight"][1]])
    if not all(move.isfinite().all() for move in direction.values()):
        why = "0 / 0 is nan. Divide by the random filter's length, which is never zero, not by the network's."
        raise Wrong("nan for a filter of zeros", "nan", why)
    if found.abs().max() > 1e-6:
        raise Wrong("a filter of zeros moves", f"{found.norm():.3g}", "Multiply by its length as it is, which is 0.")


@filter_direction.probe("the network, afterwards", "as before: weights, BN's statistics, .grad, requires_grad, mode")
def network_untouched(answer):
    network = small()
    network[0].bias.requires_grad_(False)
    network[5].weight.grad = torch.ones(4, 5)
    before = copy.deepcopy(network.state_dict())
    direction_of(answer, network)
    for name, tensor in network.state_dict().items():
        if not torch.equal(before[name], tensor):
            why = "Somebody still needs them. Write into new tensors: weight.data and detach() are the network's own."
            raise Wrong("the network's weights are changed", f"other values in {name}", why)
    with_grad = [name for name, parameter in network.named_parameters() if parameter.grad is not None]
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    grad_is_kept = with_grad == ["5.weight"] and (network[5].weight.grad == 1).all()
    kept = {".grad": grad_is_kept, "requires_grad": frozen == ["0.bias"], "mode": network.training}
    if changed := [what for what, is_kept in kept.items() if not is_kept]:
        why = "A direction only reads the weights: weight.detach() or torch.no_grad() is enough for that."
        raise Wrong(f"the network's {changed[0]} is changed", f"another {changed[0]}", why)


@filter_direction.probe("whether the direction requires a gradient", "no: it is a constant")
def needs_no_gradient(answer):
    direction_of(answer, network := small())
    if marked := [name for name, move in answer(network, 1).items() if move.requires_grad]:
        why = "It was computed from the parameters, and autograd keeps that: use weight.detach(), or torch.no_grad()."
        raise Wrong("the direction requires a gradient", f"requires_grad in {marked[0]}", why)
