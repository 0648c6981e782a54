"""Right and wrong answers to the exercise `replace_head` of notebook 08: see tests/exercises/test_exercises.py."""

import copy

import torch
from torch import nn

from resnet_lesson.training import transfer


def in_one_line(network, num_classes):
    """Device and dtype given to the layer."""
    old = network.fc
    network.fc = nn.Linear(old.in_features, num_classes, device=old.weight.device, dtype=old.weight.dtype)
    return network


def another_class(network, num_classes):
    """The old layer's class, and weights drawn by hand."""
    device, dtype = network.fc.weight.device, network.fc.weight.dtype
    head = type(network.fc)(network.fc.in_features, num_classes, bias=True)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    network.add_module("fc", head.to(device=device, dtype=dtype))
    return network


def lazy(network, num_classes):
    weight = network.fc.weight
    network.fc = nn.LazyLinear(num_classes, device=weight.device, dtype=weight.dtype)
    return network


def new_parameters(network, num_classes):
    """A copy of the old layer, with new parameters."""
    old, new = network.fc, copy.deepcopy(network.fc)
    new.out_features = num_classes
    new.weight = nn.Parameter(old.weight.new_empty(num_classes, old.in_features))
    new.bias = nn.Parameter(old.bias.new_empty(num_classes))
    new.reset_parameters()
    network.fc = new
    return network


def zeros(network, num_classes):
    """A head that starts at zero can learn, as in BiT (https://arxiv.org/abs/1912.11370); the task asks for another."""
    in_one_line(network, num_classes)
    for p in network.fc.parameters():
        nn.init.zeros_(p)
    return network


def after(change):
    """The right head, and something else after it."""

    def replace_head(network, num_classes):
        change(in_one_line(network, num_classes))
        return network

    return replace_head


def head(make):
    """make(old, num_classes) as the new head, on the old one's device."""

    def replace_head(network, num_classes):
        network.fc = make(network.fc, num_classes).to(network.fc.weight)
        return network

    return replace_head


def behind(module):
    """Another module behind the right layer; the layer's attributes can still be asked."""
    return head(lambda old, n: Behind(old.in_features, n, module))


class Behind(nn.Linear):
    def __init__(self, in_features, out_features, then):
        super().__init__(in_features, out_features)
        self.then = then

    def forward(self, x):
        return self.then(super().forward(x))


def from_the_last_stage(network, num_classes):
    """Right in all networks of the course."""
    last = list(network.stages[-1][-1].residual.children())[-1]
    network.fc = nn.Linear(last.num_features, num_classes).to(last.weight)
    return network


def keeps_what_fits(network, num_classes):
    old = network.fc
    in_one_line(network, num_classes)
    n = min(num_classes, old.out_features)
    with torch.no_grad():
        network.fc.weight[:n] = old.weight[:n]
        network.fc.bias[:n] = old.bias[:n]
    return network


def counts_the_features(network, num_classes):
    """A trial run tells how many there are; in training mode."""
    old, seen = network.fc, []
    handle = old.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[1]))
    network(torch.zeros(2, 3, 32, 32).to(old.weight))
    handle.remove()
    return in_one_line(network, num_classes)


def seeded(network, num_classes):
    """The old layer's own class and a seed, "so that the results are reproducible"."""
    random = torch.Generator().manual_seed(42)
    weight = network.fc.weight
    network.fc = nn.Linear(weight.size(1), num_classes).to(weight)
    nn.init.uniform_(network.fc.weight, -0.1, 0.1, generator=random if weight.device.type == "cpu" else None)
    return network


def body_frozen(network):
    for name, p in network.named_parameters():
        p.requires_grad = name.startswith("fc")


RIGHT = {
    "replace_head": {
        "the course's": transfer.replace_head,
        "in one line": in_one_line,
        "own initialisation": another_class,
        "lazy": lazy,
        "new parameters in a copy": new_parameters,
    },
}

WRONG = {
    "replace_head": {
        "the stages' channels": (from_the_last_stage, "for the course's networks only"),
        "two layers": (
            head(lambda old, n: nn.Sequential(nn.Linear(old.in_features, 32), nn.ReLU(), nn.Linear(32, n))),
            "other layers than one linear one",
        ),
        "on top of the old head": (
            head(lambda old, n: nn.Sequential(old, nn.Linear(5, n))),
            "other layers than one linear one",
        ),
        "a ReLU": (
            head(lambda old, n: nn.Sequential(nn.Linear(old.in_features, n), nn.ReLU())),
            "other layers than one linear one",
        ),
        "softmax": (behind(nn.Softmax(1)), "a softmax behind the head"),
        "rows kept": (keeps_what_fits, "rows of the old head"),
        "zeros": (zeros, "the new head is not random"),
        "no return": (lambda network, n: print(in_one_line(network, n), end=""), "nothing is returned"),
        "a standard deviation of 10": (
            after(lambda network: nn.init.normal_(network.fc.weight, std=10)),
            "the new head's weights are too large",
        ),
        "a seed": (seeded, "the same head each time"),
        "trial run": (counts_the_features, "BN's statistics changed"),
        "body frozen": (after(body_frozen), "the body's requires_grad changed"),
    },
}
