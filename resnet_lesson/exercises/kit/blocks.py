"""The cases that the exercises of blocks share.

Attribute names do not matter. A block's numbers are planted: each convolution and each BN gets weights that depend on
its shape alone, wherever the student keeps them. So a student's block and the course's must give the same values.
"""

import contextlib
import copy
import inspect
import io
import pickle
from collections import Counter
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .calls import numbers, run
from .exercise import Exercise, Wrong
from .outcomes import agree, attempt, shape


def make_block(answer: Callable, in_channels: int, width: int, stride: int = 1, expansion: int = 1) -> nn.Module:
    """The student's block, by either constructor style.

    (in_channels, width, stride), or torchvision's (inplanes, planes, stride, downsample), which is recognised by its
    `downsample` and gets a 1x1 convolution with BN where the shape changes, and None where it does not.
    """
    if isinstance(answer, nn.Module):
        raise Wrong("an object instead of a class", "an object", "Give check() the class itself, without calling it.")
    if not callable(answer):
        why = "Give check() the class itself, not what it computes."
        raise Wrong("not a class or function", type(answer).__name__, why)
    names = inspect.signature(answer).parameters
    options = {"stride": stride} if "stride" in names and stride != 1 else {}
    if "downsample" in names:
        options["downsample"] = None
        if stride != 1 or in_channels != width * expansion:
            conv = nn.Conv2d(in_channels, width * expansion, 1, stride, bias=False)
            options["downsample"] = nn.Sequential(conv, nn.BatchNorm2d(width * expansion))
    positional = (in_channels, width, stride) if stride != 1 and "stride" not in names else (in_channels, width)
    block = answer(*positional, **options)
    if not isinstance(block, nn.Module):
        why = "Define a class that inherits from nn.Module, or a function that returns a module."
        raise Wrong("not a module", type(block).__name__, why)
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in block.parameters()):
        block.eval()
        block(torch.zeros(1, in_channels, 8, 8))  # lazy layers learn their shapes from a first input
    if block.train() is not block:
        why = "People write build(...).eval() in one line, so train and eval must return the module: leave them alone."
        raise Wrong("train() does not return the block", type(block.train()).__name__, why)
    return block


def keeping(answer: Callable, expansion: int) -> nn.Module:
    """The student's block from 16 to 16 channels."""
    return make_block(answer, 16, 16 // expansion, 1, expansion)


def changing(answer: Callable, expansion: int) -> nn.Module:
    """The student's block from 16 to 32 channels, with stride 2."""
    return make_block(answer, 16, 32 // expansion, 2, expansion)


def name_of(function: Any) -> str:
    """Of an operation of torch's core: "convolution", "batch_norm", "add"."""
    name = function.overloadpacket.__name__
    return "batch_norm" if "batch_norm" in name else name.rstrip("_")


class Planter(TorchDispatchMode):
    """Overwrites the weights of each convolution, linear layer and BN, and BN's statistics, just before it runs."""

    def __init__(self):
        super().__init__()
        self.count: Counter = Counter()
        self.norms, self.roots = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name, tensors = name_of(function), [a for a in args if isinstance(a, Tensor)]
        if name == "convolution" and args[1].ndim == 4:
            self.plant(args[1], tuple(args[1].shape))
            if args[2] is not None:
                args[2].copy_(numbers(*args[2].shape, seed=7))
        elif name in ("mm", "addmm", "bmm") and tensors[-1].ndim == 2:  # a linear layer at each pixel is a 1x1
            self.plant(tensors[-1].t(), (*reversed(tensors[-1].shape), 1, 1))
            if name == "addmm":
                args[0].copy_(numbers(*args[0].shape, seed=7))
        elif name == "batch_norm":
            self.plant_norm(*args[1:5])
            self.norms += 1
        elif name in ("sqrt", "rsqrt", "pow"):
            self.roots += 1
        return function(*args, **(kwargs or {}))

    def plant(self, weight: Tensor, kernel: tuple) -> None:
        seed = self.count[kernel]
        self.count[kernel] += 1
        weight.copy_((numbers(*kernel, seed=seed) / prod(kernel[1:]) ** 0.5).view(weight.shape))

    def plant_norm(self, weight, bias, mean, var) -> None:
        for seed, tensor, spread, centre in ((1, weight, 1, 5), (2, bias, 3, 0), (3, mean, 0.5, 0), (4, var, 0.1, 1)):
            if isinstance(tensor, Tensor):
                tensor.copy_(centre + spread * numbers(*tensor.shape, seed=seed).clamp(-2, 2))


def planted(block: nn.Module, x: Tensor) -> nn.Module:
    """The block with planted numbers, so large that its outputs reach beyond 6. It is left in training mode."""
    none_hidden(block)
    as_usual(block)
    block.eval()
    with torch.no_grad(), Planter() as planter:
        run(block, x)
    if planter.roots and not planter.norms:
        why = "It may be right, but this check only recognises nn.BatchNorm2d (or torch's batch_norm). Use that here."
        raise Wrong("BN is written by hand", "a square root of your own", why)
    block.train()
    return block


def as_usual(network: nn.Module) -> None:
    """Set what each answer may choose freely in BN (eps, and the momentum as long as the statistics move at all)."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum, module.eps = 0.0 if module.momentum == 0 else 0.1, 1e-5


def count(block: nn.Module) -> int:
    """The number of its parameters."""
    return sum(parameter.numel() for parameter in block.parameters())


def learning(block: nn.Module, x: Tensor) -> int:
    """The number of its parameters that get a gradient."""
    block.zero_grad()
    y = run(block, x)
    if y.requires_grad:
        (y * numbers(*y.shape, seed=3)).sum().backward()
    return sum(p.numel() for p in block.parameters() if p.grad is not None)


def none_hidden(module: nn.Module) -> None:
    """Raise `Wrong` if layers are in a plain list, tuple or dictionary, where PyTorch does not find them."""
    known = set(module.modules())
    held = [value for part in known for value in vars(part).values() if isinstance(value, (list, tuple, dict))]
    inside = [item for value in held for item in (value.values() if isinstance(value, dict) else value)]
    if any(isinstance(item, nn.Module) and item not in known for item in inside):
        why = "PyTorch does not look inside a list, so nothing in it is trained. Use nn.Sequential or nn.ModuleList."
        raise Wrong("the layers are in a Python list", f"{count(module)} parameters", why)


def reads_values(error: Exception) -> bool:
    """Whether code stopped on the meta device because it looks at numbers, perhaps to print them: not a mistake."""
    return "on meta tensors" in str(error)


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return id(obj) if isinstance(obj, type) else None  # a class defined inside a function has no address


def survives_copies(block: nn.Module, x: Tensor) -> None:
    """Raise `Wrong` unless the block can be deep-copied, pickled and moved to torch's `meta` device."""
    with torch.no_grad():
        expected = run(block.eval(), x)
        if not agree(run(block, x), expected):
            return  # it is random, and keeps_nothing says so
        try:
            copied = run(copy.deepcopy(block), x)
            _Pickler(io.BytesIO()).dump(block)
            ghost = run(copy.deepcopy(block).to("meta"), x.to("meta"))
        except (TypeError, AttributeError, RuntimeError, NotImplementedError, pickle.PicklingError) as error:
            if reads_values(error):
                return
            why = "Keep only modules, parameters, buffers and plain values in the block: no lambda, no loose tensor."
            if "lambda" in str(error):
                why = "A lambda in a module cannot be pickled, so the module cannot be saved as a whole. "
                why += "Write it as a small nn.Module of its own, with the lambda's line in forward."
            raise Wrong("it cannot be copied, pickled or moved", f"{type(error).__name__}: {error}", why) from error
    if not agree(copied, expected) or ghost.shape != expected.shape:
        raise Wrong("a copy computes something else", shape(ghost), "Does forward use something outside the block?")


def keeps_nothing(make: Callable[[Tensor], nn.Module], x: Tensor) -> None:
    """Raise `Wrong` if the same input gives a different output, at once or after another input.

    make: the planted block, after a first call with the given input.
    """
    with torch.no_grad():
        block, other = make(x), 1 + 2 * x
        if not agree(run(block, x), run(block, x)):
            if count(block) == 0:
                why = "Layers that are made in forward get new random weights at each call. Make them in __init__."
                raise Wrong("the layers are made inside forward", "0 parameters", why)
            why = "The same input gives two outputs. Is there a dropout, or a layer that is created inside forward? "
            raise Wrong("the output is random", "two different outputs", why + "Neither belongs here.")

        def evaluated(block):
            block.eval()
            return run(block, other)

        if not agree(evaluated(make(x)), evaluated(make(other))):
            why = "Is a tensor kept from an earlier call, for example in self.identity? Compute it afresh in forward."
            raise Wrong("something is kept from an earlier call", "a different output", why)


class _Layers(TorchDispatchMode):
    """Lists the convolutions that run, in words; a linear layer applied at each pixel counts as a 1x1."""

    def __init__(self, images: int):
        super().__init__()
        self.images, self.found = images, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made, name = function(*args, **(kwargs or {})), name_of(function)
        if name == "convolution":
            out, into, *kernel = args[1].shape
            groups = f" in {args[8]} groups" if args[8] > 1 else ""
            self.add(kernel, into, out, groups, made.shape[2:], args[2] is not None)
        elif name in ("mm", "addmm") and args[-1].ndim == 2:
            side = round((len(made) / self.images) ** 0.5)
            self.add((1, 1), *args[-1].shape, "", (side, side), name == "addmm")
        return made

    def add(self, kernel, into, out, groups, size, bias) -> None:
        words = "{}x{}, {} -> {}{} on {}x{} pixels".format(*kernel, into, out, groups, *size)
        self.found.append(words + (" with a bias" if bias else ""))


def layers_of(block: nn.Module, x: Tensor) -> list[str]:
    """The convolutions that run, in words; if the block stops with a RuntimeError, those before it."""
    with torch.no_grad(), _Layers(len(x)) as layers, contextlib.suppress(RuntimeError):
        block(x.clone())
    return sorted(layers.found)


X = numbers(4, 16, 8, 8)
SHAPES = ((16, 1, 8, 8), (32, 1, 8, 8), (64, 1, 8, 8), (16, 2, 8, 8), (32, 2, 7, 9))  # out, stride, height, width


def shapes(answer: Callable, expansion: int) -> dict:
    def one(out, stride, *size):
        return shape(run(make_block(answer, 16, out // expansion, stride, expansion), numbers(2, 16, *size)))

    return {f"16 -> {o}, stride {s}, {h}x{w}": attempt(one, o, s, h, w) for o, s, h, w in SHAPES}


def convolutions(answer: Callable, expansion: int) -> list[str]:
    return layers_of(changing(answer, expansion), X)


def parameters(answer: Callable, expansion: int) -> dict:
    keeps, changes = planted(keeping(answer, expansion), X), planted(changing(answer, expansion), X)
    return {
        "parameters where the shape stays": count(keeps),
        "of them with a gradient": learning(keeps, X),
        "parameters where it changes": count(changes),
        "with a gradient where it changes": learning(changes, X),
    }


def values(answer: Callable, expansion: int) -> Tensor:
    return run(planted(keeping(answer, expansion), X), X)


def values_where_the_shape_changes(answer: Callable, expansion: int) -> Tensor:
    return run(planted(changing(answer, expansion), X), X)


def evaluation(answer: Callable, expansion: int) -> Tensor:
    block = planted(changing(answer, expansion), X)
    run(block, X)
    return run(block.eval(), X[:1])


def gradient(answer: Callable, expansion: int) -> dict:
    def one(make):
        block, x = planted(make(answer, expansion), X), X.clone().requires_grad_()
        y = block(x * 1)  # in case it changes x in place
        if not y.requires_grad:
            return None
        return torch.autograd.grad((y * numbers(*y.shape, seed=3)).sum(), x, allow_unused=True)[0]

    return {"where the shape stays": one(keeping), "where it changes": one(changing)}


def nothing_kept(answer: Callable, expansion: int) -> None:
    keeps_nothing(lambda first: planted(keeping(answer, expansion), first), X)


def leaves_x_alone(answer: Callable, expansion: int) -> None:
    for make in (keeping, changing):
        block, x = planted(make(answer, expansion), X), X.clone()
        block(x)
        if not torch.equal(x, X):
            why = "An operation writes into x itself: `x += ...` or an in-place ReLU on x. Write `x = x + ...`."
            raise Wrong("x is changed in place", "other values in x", why)


def copies(answer: Callable, expansion: int) -> None:
    survives_copies(planted(changing(answer, expansion), X), X)


CASES = (  # what is tried, what to expect, the outcome
    ("the shapes: stride 1 and 2, 16 channels to 16 and to 32, 8x8 and odd 7x9 pixels",
     "the channels asked for; height and width divided by the stride, rounded up", shapes),
    ("the convolutions, 16 -> 32 channels, stride 2", "{layers}", convolutions),
    ("the learned parameters, where the shape stays and where it changes",
     "the convolutions' weights; two per channel of each BN", parameters),
    ("the values of y where the shape stays", "{y}", values),
    ("the values of y where the shape changes", "{y}", values_where_the_shape_changes),
    ("one image alone in eval(), after a batch in train()", "BN uses its running statistics", evaluation),
    ("the gradient of x", "that of the equation, along every path from x", gradient),
    ("the same x twice, and after another x", "the same y: the block keeps nothing from earlier calls", nothing_kept),
    ("x after the forward pass", "unchanged, because other code may still need it", leaves_x_alone),
    ("copies: deepcopy, pickle, the meta device", "they work, and compute the same y", copies),
)  # fmt: skip


def try_block(exercise: Exercise, y: str, layers: str, expansion: int = 1) -> None:
    """Give an exercise the cases of a block.

    y, layers: what to expect, in words; expansion: output channels / width.
    """
    for tried, expected, run_case in CASES:
        exercise.case(tried, expected.format(y=y, layers=layers))(partial(run_case, expansion=expansion))
