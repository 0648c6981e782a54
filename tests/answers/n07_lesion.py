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


def replaced(place):
    """The block itself exchanged for place(block), and put back."""

    @contextmanager
    def lesion(network, drop):
        stages, kept = network.stages, []
        for name in drop:
            _, i, j = name.split(".")
            kept.append((stages[int(i)], int(j), find(network, name)))
        for stage, j, block in kept:
            stage[j] = place(block)
        try:
            yield network
        finally:
            for stage, j, block in kept:
                stage[j] = block

    return lesion


class ZerosLike(nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)


@contextmanager
def zeros_like_x(network, drop):
    with contextlib.ExitStack() as stack:
        for block in (find(network, name) for name in drop):
            stack.callback(setattr, block, "residual", block.residual)
            block.residual = ZerosLike()
        yield network


class OnlyF(nn.Module):
    """A block without its shortcut."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return self.block.residual(x).relu()


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


def other_names(choose):
    """The right lesion, of other blocks."""
    return lambda network, drop: lesions.lesion(network, choose(network, drop))


def whole_stages(network, drop):
    return [name for name in lesions.blocks_of(network) if any(name[:9] == one[:9] for one in drop)]


def one_before(network, drop):
    names = list(lesions.blocks_of(network))
    return [names[names.index(name) - 1] for name in drop]


@contextmanager
def never_put_back(network, drop):
    for name in drop:
        find(network, name).residual = lesions.Nothing()
    yield network


@contextmanager
def no_finally(network, drop):
    kept = {name: find(network, name).residual for name in drop}
    for name in drop:
        find(network, name).residual = lesions.Nothing()
    yield network
    for name in drop:
        find(network, name).residual = kept[name]


@contextmanager
def swallows(network, drop):
    with contextlib.suppress(Exception), lesions.lesion(network, drop):
        yield network


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
def puts_a_copy_back(network, drop):
    kept = {name: copy.deepcopy(find(network, name)) for name in drop}
    try:
        with forward_hooks(network, drop):
            yield network
    finally:
        for name, block in kept.items():
            network.stages[int(name.split(".")[1])][int(name.split(".")[2])] = block


@contextmanager
def hooks_stay(network, drop):
    """They are switched off, but stay."""
    on = [True]

    def hook(module, given, out):
        return torch.zeros_like(out) if on else None

    for name in drop:
        find(network, name).residual.register_forward_hook(hook)
    try:
        yield network
    finally:
        on.clear()


@contextmanager
def changes_a_copy(network, drop):
    with lesions.lesion(copy.deepcopy(network), drop) as other:
        yield other


def plain_function(network, drop):
    for name in drop:
        find(network, name).residual = lesions.Nothing()
    return network


@contextmanager
def returns(network, drop):
    return plain_function(network, drop)


@contextmanager
def yields_in_the_loop(network, drop):
    for name in drop:
        with lesions.lesion(network, [name]):
            yield network


def forgotten_decorator(network, drop):
    with lesions.lesion(network, drop):
        yield network


@contextmanager
def new_attribute(network, drop):
    for name in drop:
        find(network, name).dropped = True
    yield network


def leaves(change):
    """The right lesion, after something that stays."""

    @contextmanager
    def lesion(network, drop):
        change(network)
        with lesions.lesion(network, drop):
            yield network

    return lesion


@contextmanager
def halves(network, drop):
    kept = [find(network, name) for name in drop]
    handles = [block.residual.register_forward_hook(lambda module, given, out: out / 2) for block in kept]
    try:
        yield network
    finally:
        for handle in handles:
            handle.remove()


class NoExit:
    def __init__(self, network, drop):
        self.network, self.drop = network, drop

    def __enter__(self):
        plain_function(self.network, self.drop)


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

CONSTANT = "F is a constant instead of 0"

WRONG = {
    "lesion": {
        "the identity": (replaced(lambda block: nn.Identity()), "the next block gets another shape"),
        "zeros_like(x)": (zeros_like_x, "the zeros have the shape of x"),
        "the shortcut alone": (replaced(lambda block: block.shortcut), "the ReLU is taken out too"),
        "F alone": (replaced(OnlyF), "the shortcut is taken out instead of F"),
        "convolutions at zero": (
            zeroed(lambda block: [p for p in block.residual.parameters() if p.ndim == 4]),
            CONSTANT,
        ),
        "BN's weight at zero": (zeroed(lambda block: [block.residual[-1].weight]), CONSTANT),
        "all parameters at zero": (zeroed(lambda block: block.parameters()), "the shortcut is taken out too"),
        "F halved": (halves, "other logits"),
        "nothing": (new_attribute, "nothing is taken out"),
        "the first block": (other_names(lambda n, drop: drop[:1]), "only the first of the blocks is taken out"),
        "the last block": (other_names(lambda n, drop: drop[-1:]), "only the last of the blocks is taken out"),
        "the stage": (other_names(whole_stages), "the whole stage is taken out"),
        "all blocks": (other_names(lambda n, drop: lesions.blocks_of(n)), "all blocks are taken out"),
        "none means all": (
            other_names(lambda n, drop: drop or lesions.blocks_of(n)),
            "all blocks are taken out",
        ),
        "counted from 1": (other_names(one_before), "another block is taken out"),
        "a copy": (changes_a_copy, "a copy is changed"),
        "never put back": (never_put_back, "the blocks are not put back"),
        "no finally": (no_finally, "not put back after an exception"),
        "swallowed": (swallows, "the exception is swallowed"),
        "a variable overwritten": (overwrites, "not all of the blocks are put back"),
        "weights not cloned": (keeps_no_copy, "the weights are not put back"),
        "a copy put back": (puts_a_copy_back, "a copy is put back"),
        "hooks stay": (hooks_stay, "a hook is left"),
        "eval": (leaves(lambda network: network.eval()), "mode not as before"),
        "zero_grad": (leaves(lambda network: network.zero_grad()), ".grad not as before"),
        "frozen": (leaves(lambda network: network.requires_grad_(False)), "requires_grad not as before"),
        "a forward pass": (leaves(lambda network: network(torch.ones(2, 3, 8, 8))), "BN's statistics not as before"),
        "a plain function": (plain_function, "no context manager"),
        "no __exit__": (NoExit, "no context manager"),
        "return instead of yield": (returns, "no yield"),
        "yield in the loop": (yields_in_the_loop, "not one yield"),
        "no decorator": (forgotten_decorator, "@contextmanager is forgotten"),
        "misspelled": (replaced(lambda block: block.shortcuts), "your code stopped with AttributeError"),
        "called": (lesions.lesion(nn.Module(), []), "not a function"),
    },
}
