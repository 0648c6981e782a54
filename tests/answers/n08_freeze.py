"""Right and wrong answers to the exercise `freeze` of notebook 08: see tests/exercises/test_exercises.py."""

import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from resnet_lesson.training import transfer


def norms(network):
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def all_but_the_head(network):
    network.requires_grad_(False)
    network.fc.requires_grad_(True)
    return network


def keep_norms(network):
    """BN in evaluation mode, now and later."""
    for norm in norms(network):
        norm.eval()
        norm.train = lambda mode=True, norm=norm: norm
    return network


def lambdas(network):
    return keep_norms(all_but_the_head(network))


def own_train(network):
    """The network's own train, and the body's eval() after it."""
    all_but_the_head(network)
    usual = network.train

    def train(mode=True):
        usual(mode)
        for name, module in network.named_children():
            if name != "fc":
                module.eval()
        return network

    network.train = train
    return network


def hook_on_the_network(network):
    def body_to_eval(network, given):
        network.stem.eval()
        network.stages.eval()

    network.register_forward_pre_hook(body_to_eval)
    for part in (network.stem, network.stages):
        part.requires_grad_(False)
    return network


def frozen_norms(load):
    """torchvision's frozen BN in the place of each, with what was learned if `load`."""

    def freeze(network):
        for parent in list(network.modules()):
            for name, norm in parent.named_children():
                if isinstance(norm, nn.BatchNorm2d):
                    frozen = FrozenBatchNorm2d(norm.num_features, norm.eps)
                    if load:
                        frozen.load_state_dict(norm.state_dict())
                    setattr(parent, name, frozen)
        return all_but_the_head(network)

    return freeze


def requires_grad_only(network):
    """What many posts do."""
    return all_but_the_head(network)


def eval_once(network):
    all_but_the_head(network)
    for norm in norms(network):
        norm.eval()
    return network


def on_modules(network):
    for child in (network.stem, network.stages):
        child.requires_grad = False
    return keep_norms(network)


def no_grad(network):
    """Around the whole of forward."""
    network.forward = torch.no_grad()(network.forward)
    return lambdas(network)


def always_eval(network):
    """The network's train does nothing any more."""
    all_but_the_head(network).eval()
    network.train = lambda mode=True: network
    return network


def without_mode(network):
    usual = network.train
    all_but_the_head(network)

    def train():
        usual()
        network.stem.eval()
        network.stages.eval()
        return network

    network.train = train
    return network


def train_without_return(network):
    usual = own_train(network).train
    network.train = lambda mode=True: usual(mode) and None
    return network


def train_of_the_last(network):
    for norm in norms(all_but_the_head(network)):
        norm.eval()
        norm.train = lambda mode=True: norm  # noqa: B023
    return network


def untracked(network):
    for norm in norms(all_but_the_head(network)):
        norm.track_running_stats = False
    return network


def misspelled(network):
    for name, p in network.named_parameters():
        if not name.startswith("fc"):
            p.require_grad = False
    return keep_norms(network)


def train_is_false(network):
    for norm in norms(all_but_the_head(network)):
        norm.eval()
        norm.train = False
    return network


RIGHT = {
    "freeze": {
        "the course's": transfer.freeze,
        "the network's train": own_train,
        "a hook on the network": hook_on_the_network,
        "FrozenBatchNorm2d": frozen_norms(load=True),
    },
}

WRONG = {
    "freeze": {
        "requires_grad only": (requires_grad_only, "BN's statistics still move"),
        "eval once": (eval_once, "the evaluation mode is undone by network.train()"),
        "misspelled": (misspelled, "an attribute that nobody reads"),
        "on modules": (on_modules, "a module's requires_grad is set"),
        "train = False": (train_is_false, "a method is replaced by False"),
        "train does nothing": (always_eval, "the head's mode does not follow"),
        "train without mode": (without_mode, "your train() takes no mode"),
        "train without return": (train_without_return, "your train() returns nothing"),
        "not tracked": (untracked, "BN still normalises by the batch"),
        "a function made in a loop": (train_of_the_last, "your train() returns another module"),
    },
}
