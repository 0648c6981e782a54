"""Right and wrong answers to the exercise `lesion` of notebook 07: see tests/test_exercises.py."""

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


@contextmanager
def other_forward(network, names):
    """Each block gets a forward of its own."""
    blocks = [module for name, module in network.named_modules() if name in names]
    old = [block.forward for block in blocks]
    for block in blocks:
        block.forward = lambda x, block=block: torch.relu(block.shortcut(x))
    try:
        yield network
    finally:
        for block, forward in zip(blocks, old, strict=True):
            block.forward = forward


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


@contextmanager
def zeroes_all_of_f(network, drop):
    parameters = [p for name in drop for p in find(network, name).residual.parameters()]
    saved = [p.detach().clone() for p in parameters]
    try:
        for p in parameters:
            p.data.zero_()
        yield
    finally:
        for p, value in zip(parameters, saved, strict=True):
            p.data.copy_(value)


def exit_stack(network, drop):
    """A function that returns a context manager."""
    stack = contextlib.ExitStack()
    for block in (find(network, name) for name in drop):
        stack.callback(setattr, block, "residual", block.residual)
        block.residual = lesions.Nothing()
    return stack


@contextmanager
def one_in_another(network, drop):
    """The first block, and inside of it the others."""
    if not drop:
        yield network
        return
    with forward_hooks(network, drop[:1]), one_in_another(network, drop[1:]):
        yield network


@contextmanager
def catches_and_raises(network, drop):
    kept = [(find(network, name), find(network, name).residual) for name in drop]

    def put_back():
        for block, residual in kept:
            block.residual = residual

    for block, _ in kept:
        block.residual = lesions.Nothing()
    try:
        yield network
    except BaseException:
        put_back()
        raise
    put_back()


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
def overwrites(network, drop):
    for name in drop:
        block = find(network, name)
        residual, block.residual = block.residual, lesions.Nothing()
    try:
        yield network
    finally:
        if drop:
            block.residual = residual


@contextmanager
def keeps_no_copy(network, drop):
    """state_dict() holds the very tensors that are zeroed."""
    saved = network.state_dict()
    for name in drop:
        for p in find(network, name).residual[-1].parameters():
            p.data.zero_()
    try:
        yield network
    finally:
        network.load_state_dict(saved)


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


class Swallows(Lesion):
    def __exit__(self, *error):
        super().__exit__(*error)
        return True


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
def by_numbers_from_1(network, drop):
    places = [[int(number) - 1 for number in name.split(".")[1:]] for name in drop]
    with lesions.lesion(network, [f"stages.{i % 2}.{j % 2}" for i, j in places]):
        yield network


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
        "residual exchanged": swaps_residual,
        "forward hooks": forward_hooks,
        "another forward": other_forward,
        "a class": Lesion,
        "the last BN at zero": zeroes_the_last_bn,
        "all of F at zero": zeroes_all_of_f,
        "ExitStack": exit_stack,
        "one in another": one_in_another,
        "except and raise": catches_and_raises,
    },
}


WRONG = {
    "lesion": {
        "nn.Sequential() as F": (identity_instead_of_f, "F is the identity"),
        "BN's weight at zero": (zeroed(lambda block: [block.residual[-1].weight]), "F is a constant instead of 0"),
        "the projection at zero": (zeroed(lambda block: block.parameters()), ""),
        "by numbers from 1": (by_numbers_from_1, "another block is taken out"),
        "none means all": (
            lambda network, drop: lesions.lesion(network, drop or lesions.blocks_of(network)),
            "all blocks are taken out",
        ),
        "a copy": (changes_a_copy, "a copy is changed"),
        "no finally": (no_finally, "not put back after an exception"),
        "__exit__ returns True": (Swallows, "the exception is swallowed"),
        "a variable overwritten": (overwrites, "not all of the blocks are put back"),
        "a handle overwritten": (last_handle_only, "not all of the blocks are put back"),
        "weights not cloned": (keeps_no_copy, "the weights are not put back"),
        "eval": (evaluates, "mode not as before"),
        "no __exit__": (NoExit, "no context manager"),
        "yield in the loop": (block_by_block, "not one yield"),
        "no decorator": (swaps_residual.__wrapped__, "@contextmanager is forgotten"),
        "return instead of yield": (contextmanager(NoExit), "no yield"),
        "misspelled": (lambda network, drop: find(network, drop[0]).shortcuts, "your code stopped with AttributeError"),
        "called": (lesions.lesion(nn.Module(), []), "not a function"),
    },
}
