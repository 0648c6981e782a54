"""Right and wrong answers to the exercise `filter_direction` of notebook 07: see tests/exercises/test_exercises.py."""

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


def filters(d, w):
    """The random numbers d in the right lengths."""
    return (d.flatten(1) * (w.flatten(1).norm(dim=1) / d.flatten(1).norm(dim=1))[:, None]).view_as(w)


def slip(rescale=filters, draw=torch.randn, other=torch.zeros_like, start=torch.manual_seed):
    """The direction in another style: how random numbers are drawn, and how weights are made of them."""

    def filter_direction(network, seed):
        start(seed)
        direction = {}
        for name, parameter in network.named_parameters():
            w = parameter.detach()
            direction[name] = other(w) if w.ndim == 1 else rescale(draw(w.shape), w)
        return direction

    return filter_direction


def layer_wise(d, w):
    return d * w.norm() / d.norm()


def in_place(network, seed):
    """parameter.data is the network's own tensor."""
    torch.manual_seed(seed)
    direction = {}
    for name, parameter in network.named_parameters():
        d, w = parameter.data, parameter.data.clone()
        direction[name] = torch.zeros_like(w) if w.ndim == 1 else filters(d.normal_(), w)
    return direction


def each_filter_seeded(size):
    found = torch.empty(size)
    for one in found:
        torch.manual_seed(0)
        one.normal_()
    return found


def into_a_default(network, seed, made={}):  # noqa: B006
    for name, move in filter_by_filter(network, seed).items():
        made[name] = move
    return made


RIGHT = {
    "filter_direction": {
        "the course's": filter_direction,
        "filter by filter": filter_by_filter,
        "by the layers' kinds": layer_kinds,
        "numpy": with_numpy,
    },
}

WRONG = {
    "filter_direction": {
        "layer by layer": (slip(layer_wise), "layer by layer"),
        "F.normalize": (slip(lambda d, w: F.normalize(d.flatten(1)).view_as(w)), "unit length"),
        "not divided": (
            slip(lambda d, w: (d.flatten(1) * w.flatten(1).norm(dim=1)[:, None]).view_as(w)),
            "the random numbers' own length is left in",
        ),
        "seeded for each filter": (
            slip(draw=each_filter_seeded),
            "",
        ),
        "no seed": (slip(start=lambda seed: None), "the seed is not used"),
        "one dictionary for all": (into_a_default, "it remembers earlier calls"),
        "the network is the direction": (in_place, "the network's weights are changed"),
    },
}
