"""A training of a second or less, ways to stop it, and what two of them have in common."""

import signal

import torch

from resnet_lesson import Recipe, build, shapes10, train

# 40 images in batches of 16, 16 and 8: an epoch has 3 iterations, and 8 of them end in the middle of the third.
TRAIN, TEST = shapes10(40, 8, seed=0), shapes10(20, 8, seed=1)
RECIPE = Recipe("tiny", 8, batch_size=16, lr=0.05, milestones=(5,), padding=1)


def go(out=None, network=None, train_set=TRAIN, test_set=TEST, recipe=RECIPE, **options):
    """Train the tiny network; return it and its run."""
    network = build("resnet8", seed=0) if network is None else network
    options = dict(seed=3, device="cpu", precision="float32", captured=False, progress=False) | options
    return network, train(network, train_set, test_set, recipe, out=out, **options)


def hooked(at, action):
    """A tiny network that calls `action` in the forward pass of its training step `at` (the first is 1).

    Its `steps` counts them.
    """
    network = build("resnet8", seed=0)
    network.steps = 0

    def before_forward(module, inputs):
        if module.training:
            module.steps += 1
            if module.steps == at:
                action()

    network.register_forward_pre_hook(before_forward)
    return network


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def assert_same_weights(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []
