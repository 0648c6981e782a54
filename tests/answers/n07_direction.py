"""Right and wrong answers to the exercise `filter_direction` of notebook 07: see tests/test_exercises.py."""

import copy
import math
from collections import OrderedDict
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from resnet_lesson.inside.landscape import filter_direction


def filter_by_filter(network, seed):
    """torch's own generator, a loop over the filters, the authors' small number against a division by zero."""
    torch.manual_seed(seed)
    direction = {}
    for name, parameter in network.named_parameters():
        d = torch.randn(parameter.size())
        if parameter.dim() <= 1:
            d.fill_(0)
        else:
            for one, w in zip(d, parameter.data, strict=True):
                one.mul_(w.norm() / (one.norm() + 1e-10))
        direction[name] = d
    return direction


@torch.no_grad()
def layer_kinds(net, number):
    """By the layers' kinds, with an OrderedDict; a generator for each layer, seeded from one."""
    seeds, found = torch.Generator().manual_seed(number), OrderedDict()
    for place, module in net.named_modules():
        for name, w in module.named_parameters(place, recurse=False):
            found[name] = torch.zeros_like(w)
            if isinstance(module, (nn.Conv2d, nn.Linear)) and name.endswith("weight"):
                generator = torch.Generator().manual_seed(torch.randint(2**31, (), generator=seeds).item())
                flat = torch.empty(len(w), w[0].numel()).normal_(generator=generator)
                found[name] = (F.normalize(flat) * w.flatten(1).norm(dim=1, keepdim=True)).reshape(w.shape)
    return found


def with_numpy(network, seed):
    """numpy, in float64, uniform from -1 to 1, a mapping that cannot be written to."""
    random, made = np.random.default_rng(seed), {}
    for name, parameter in network.named_parameters():
        w = parameter.detach().numpy()
        d = random.uniform(-1, 1, w.shape)
        axes = tuple(range(1, w.ndim))
        scale = np.sqrt((w**2).sum(axes, keepdims=True) / (d**2).sum(axes, keepdims=True))
        made[name] = torch.from_numpy(d * scale if axes else 0 * d)
    return MappingProxyType(made)


def moves_a_copy(network, seed):
    """A copy of the network is filled with random numbers and rescaled in place."""
    torch.manual_seed(seed)
    other = copy.deepcopy(network).requires_grad_(False)
    for p in other.parameters():
        if p.ndim == 1:
            p.zero_()
            continue
        own = torch.linalg.vector_norm(p, dim=tuple(range(1, p.ndim)), keepdim=True)
        p.normal_()
        p.div_(torch.linalg.vector_norm(p, dim=tuple(range(1, p.ndim)), keepdim=True)).mul_(own)
    return dict(other.named_parameters())


def all_at_once(network, seed):
    """One long vector of random numbers, cut into pieces."""
    weights = {name: p.detach() for name, p in network.named_parameters()}
    generator = torch.Generator().manual_seed(1000 + seed)
    pieces = torch.randn(sum(w.numel() for w in weights.values()), generator=generator)
    pieces = pieces.split([w.numel() for w in weights.values()])
    rows = {name: piece.view(len(w), -1) for (name, w), piece in zip(weights.items(), pieces, strict=True)}
    return {
        name: torch.zeros_like(w)
        if w.ndim == 1
        else (rows[name] / rows[name].norm(dim=1)[:, None] * w.flatten(1).norm(dim=1)[:, None]).view_as(w)
        for name, w in weights.items()
    }


def filters(d, w):
    """The random numbers d in the right lengths."""
    return (d.flatten(1) * (w.flatten(1).norm(dim=1) / d.flatten(1).norm(dim=1))[:, None]).view_as(w)


def slip(rescale=filters, other=lambda d, w: torch.zeros_like(d), draw=torch.randn, conv=None, start=None, layer=None):
    """The direction with a mistake in it: how weights and other parameters are made of random numbers d."""

    def filter_direction(network, seed):
        (start or torch.manual_seed)(seed)
        direction = {}
        for name, parameter in network.named_parameters():
            if layer:
                layer(seed)
            w = parameter.detach()
            d = draw(w.shape)
            made = other if w.ndim == 1 else conv if conv and w.ndim == 4 else rescale
            direction[name] = made(d, w)
        return direction

    return filter_direction


def layer_wise(d, w):
    return d * w.norm() / d.norm()


def over(*dims):
    """The norm over these dimensions, as far as there are so many."""

    def rescale(d, w):
        here = [dim for dim in dims if dim < w.ndim]
        if not here:
            return d.sign() * w.abs()
        own, random = [torch.linalg.vector_norm(one, dim=here, keepdim=True) for one in (w, d)]
        return d * own / random

    return rescale


def same_in_every_filter(d, w):
    return filters(d[:1].expand_as(w), w)


def divides_by_the_weights(d, w):
    """Right where no filter is zero: the direction is made from relative lengths."""
    relative = filters(d, w).flatten(1) / w.flatten(1).norm(dim=1)[:, None]
    return (relative * w.flatten(1).norm(dim=1)[:, None]).view_as(w)


def at_least_a_little(d, w):
    own = w.flatten(1).norm(dim=1).clamp(min=1e-2)
    return (F.normalize(d.flatten(1)) * own[:, None]).view_as(w)


def in_place(network, seed):
    """parameter.data is the network's own tensor."""
    torch.manual_seed(seed)
    direction = {}
    for name, parameter in network.named_parameters():
        d, w = parameter.data, parameter.data.clone()
        direction[name] = torch.zeros_like(w) if w.ndim == 1 else filters(d.normal_(), w)
    return direction


def keeps_the_graph(network, seed):
    torch.manual_seed(seed)
    return {
        name: torch.zeros_like(w) if w.ndim == 1 else filters(torch.randn(w.shape), w)
        for name, w in network.named_parameters()
    }


def clears_gradients(network, seed):
    network.zero_grad()
    return filter_direction(network, seed)


def freezes(network, seed):
    return filter_direction(network.requires_grad_(False), seed)


def evaluates(network, seed):
    return filter_direction(network.eval(), seed)


def some(keep):
    """The parts of the right direction for which keep(name, move) is true."""
    return lambda network, seed: {n: d for n, d in filter_direction(network, seed).items() if keep(n, d)}


def with_statistics(network, seed):
    return {**{n: torch.zeros_like(b) for n, b in network.named_buffers()}, **filter_direction(network, seed)}


def moves(bn):
    """The direction, but BN's parameters, or else the biases, have ones."""

    def direction(network, seed):
        made = filter_direction(network, seed)
        for place, module in network.named_modules():
            for name, parameter in module.named_parameters(place, recurse=False):
                if parameter.ndim == 1 and isinstance(module, nn.BatchNorm2d) == bn:
                    made[name] = torch.ones_like(parameter)
        return made

    return direction


def each_filter_seeded(network, seed):
    def draw(size):
        found = torch.empty(size)
        for one in found:
            torch.manual_seed(seed)
            one.normal_()
        return found

    return slip(draw=draw)(network, seed)


def whole_network(network, seed):
    made = slip(lambda d, w: d)(network, seed)
    own, length = [math.hypot(*(t.norm().item() for t in ts)) for ts in (network.parameters(), made.values())]
    return {name: d * own / length for name, d in made.items()}


RIGHT = {
    "filter_direction": {
        "the course's": filter_direction,
        "filter by filter": filter_by_filter,
        "by the layers' kinds": layer_kinds,
        "numpy": with_numpy,
        "a copy of the network": moves_a_copy,
        "all numbers at once": all_at_once,
        "without a mistake": slip(),
        "keyword arguments": lambda network, seed=0, **more: filter_direction(network, seed=seed),
    },
}

WRONG = {
    "filter_direction": {
        "layer by layer": (slip(layer_wise), "layer by layer"),
        "fc as a whole": (slip(layer_wise, conv=filters), "layer by layer"),
        "kernel by kernel": (slip(over(2, 3), conv=over(2, 3)), "each kernel by itself"),
        "input channels": (slip(conv=over(0, 2, 3)), "each input channel instead of each filter"),
        "columns": (slip(over(0), conv=filters), "each column instead of each row"),
        "unit length": (slip(lambda d, w: F.normalize(d.flatten(1)).view_as(w)), "unit length"),
        "not rescaled": (slip(lambda d, w: d), "not rescaled"),
        "the whole network": (whole_network, "other lengths"),
        "not divided": (
            slip(lambda d, w: (d.flatten(1) * w.flatten(1).norm(dim=1)[:, None]).view_as(w)),
            "the random numbers' own length is left in",
        ),
        "convolutions only": (slip(lambda d, w: 0 * d, conv=filters), "weights that do not move"),
        "nan": (slip(lambda d, w: d / 0 * 0), "not finite"),
        "everything moves": (slip(other=lambda d, w: d * w.norm() / d.norm()), "BN's parameters and biases move"),
        "biases move": (moves(bn=False), "biases move"),
        "BN moves": (moves(bn=True), "BN's parameters move"),
        "the weights": (slip(lambda d, w: w.clone()), "the weights themselves"),
        "the weights, forwards or backwards": (
            slip(lambda d, w: w * d.flatten(1)[:, :1].sign().view(-1, *[1] * (w.ndim - 1))),
            "the weights themselves",
        ),
        "ones": (slip(lambda d, w: filters(torch.ones_like(w), w)), "one number for a whole filter"),
        "one filter for all": (slip(same_in_every_filter), "the same numbers for every filter"),
        "seeded for each filter": (each_filter_seeded, "the same numbers for every filter"),
        "seeded for each layer": (slip(layer=torch.manual_seed), "the same numbers in every layer"),
        "torch.rand": (slip(draw=torch.rand), "only positive numbers"),
        "no seed": (slip(start=lambda seed: None), "the seed is not used"),
        "always seed 0": (lambda network, seed: filter_direction(network, 0), "the same direction for every seed"),
        "no filter": (slip(divides_by_the_weights), "nan for a filter of zeros"),
        "clamped": (slip(at_least_a_little), "a filter of zeros moves"),
        "in place": (in_place, "the network's weights are changed"),
        "zero_grad": (clears_gradients, "the network's .grad is changed"),
        "requires_grad_(False)": (freezes, "the network's requires_grad is changed"),
        "eval": (evaluates, "the network's mode is changed"),
        "not detached": (keeps_the_graph, "the direction requires a gradient"),
        "a list": (lambda network, seed: list(filter_direction(network, seed).values()), "no dictionary"),
        "no return": (lambda network, seed: None, "nothing is returned"),
        "weights only": (some(lambda name, move: move.ndim > 1), "parameters are missing"),
        "statistics too": (with_statistics, "entries that are no parameters"),
        "lists of numbers": (lambda n, s: {k: d.tolist() for k, d in filter_direction(n, s).items()}, "not tensors"),
        "flat": (lambda n, s: {k: d.flatten() for k, d in filter_direction(n, s).items()}, "another shape"),
        "called": (torch.zeros(3), "not a function"),
    },
}
