"""Right and wrong answers to the exercise `lesion` of notebook 07: see tests/exercises/test_exercises.py."""

import contextlib
import copy
from contextlib import contextmanager

import torch
from torch import nn

from resnet_lesson.inside import lesions


def find(network, name):
    """A block by its name."""
    return network.get_submodule(name)


@contextmanager
def swaps_residual(network, drop):
    """Another module in the place of F, in a dictionary; yields nothing."""
    kept = {name: find(network, name).residual for name in drop}
    for name in kept:
        find(network, name).residual = lesions.Nothing()
    try:
        yield
    finally:
        for name, residual in kept.items():
            find(network, name).residual = residual


@contextmanager
def forward_hooks(network, drop):
    handles = [
        find(network, name).residual.register_forward_hook(lambda module, given, out: torch.zeros_like(out))
        for name in drop
    ]
    try:
        yield network
    finally:
        for handle in handles:
            handle.remove()


class Lesion:
    """A class with __enter__ and __exit__."""

    def __init__(self, network, drop):
        self.blocks = [network.stages[int(name.split(".")[1])][int(name.split(".")[2])] for name in drop]

    def __enter__(self):
        self.kept = [block.residual for block in self.blocks]
        for block in self.blocks:
            block.residual = lesions.Nothing()

    def __exit__(self, kind, error, traceback):
        for block, residual in zip(self.blocks, self.kept, strict=True):
            block.residual = residual


@contextmanager
def zeroes_the_last_bn(network, drop):
    """Weight and bias of the last BN, by load_state_dict back again."""
    saved = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        for name in drop:
            for parameter in find(network, name).residual[-1].parameters():
                parameter.zero_()
    try:
        yield network
    finally:
        network.load_state_dict(saved)


def exit_stack(network, drop):
    """A function that returns a context manager."""
    stack = contextlib.ExitStack()
    for block in (find(network, name) for name in drop):
        stack.callback(setattr, block, "residual", block.residual)
        block.residual = lesions.Nothing()
    return stack


def zeroed(parameters_of):
    """These parameters of each block at zero, and put back."""

    @contextmanager
    def lesion(network, drop):
        parameters = [p for name in drop for p in parameters_of(find(network, name))]
        saved = [p.detach().clone() for p in parameters]
        for p in parameters:
            p.data.zero_()
        try:
            yield network
        finally:
            for p, value in zip(parameters, saved, strict=True):
                p.data.copy_(value)

    return lesion


@contextmanager
def changes_a_copy(network, drop):
    with lesions.lesion(copy.deepcopy(network), drop) as other:
        yield other


@contextmanager
def no_finally(network, drop):
    """Forward hooks that an exception leaves where they are."""
    handles = [find(network, name).residual.register_forward_hook(lambda module, given, out: 0 * out) for name in drop]
    yield network
    for handle in handles:
        handle.remove()


@contextmanager
def last_handle_only(network, drop):
    """One variable for all hooks."""
    handle = None
    for name in drop:
        handle = find(network, name).register_forward_hook(lambda block, x, out: block.shortcut(x[0]).relu())
    try:
        yield
    finally:
        if handle:
            handle.remove()


class NoExit:
    def __init__(self, network, drop):
        self.blocks = [find(network, name) for name in drop]

    def __enter__(self):
        for block in self.blocks:
            block.residual = lesions.Nothing()


@contextmanager
def evaluates(network, drop):
    """In evaluation mode, where it stays."""
    with lesions.lesion(network.eval(), drop):
        yield network


@contextmanager
def identity_instead_of_f(network, drop):
    kept = {name: find(network, name).residual for name in drop}
    for name in drop:
        find(network, name).residual = nn.Sequential()
    try:
        yield network
    finally:
        for name, residual in kept.items():
            setattr(find(network, name), "residual", residual)  # noqa: B010


@contextmanager
def block_by_block(network, drop):
    """A `with` around the yield for each block: the generator yields several times, or never."""
    for name in drop:
        with swaps_residual(network, [name]):
            yield


RIGHT = {
    "lesion": {
        "the course's": lesions.lesion,
        "forward hooks": forward_hooks,
        "a class": Lesion,
        "the last BN at zero": zeroes_the_last_bn,
        "ExitStack": exit_stack,
    },
}


WRONG = {
    "lesion": {
        "nn.Sequential() as F": (identity_instead_of_f, "F is the identity"),
        "BN's weight at zero": (zeroed(lambda block: [block.residual[-1].weight]), "F is a constant instead of 0"),
        "a copy": (changes_a_copy, "a copy is changed"),
        "no finally": (no_finally, "not put back after an exception"),
        "a handle overwritten": (last_handle_only, "not all of the blocks are put back"),
        "eval": (evaluates, "the mode is not as before"),
        "no __exit__": (NoExit, "not a context manager"),
        "yield in the loop": (block_by_block, "not exactly one yield"),
        "no decorator": (swaps_residual.__wrapped__, "@contextmanager is forgotten"),
    },
}
