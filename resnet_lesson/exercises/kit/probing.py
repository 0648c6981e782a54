"""What the probes of blocks share: making a student's block, running it, and seeing what it computes.

Nothing here asks for attribute names. `operations` records what reaches torch's core, so a block of modules, an
`nn.Sequential` and functional code look alike.
"""

import contextlib
import copy
import inspect
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .exercise import Wrong


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
    options = {"stride": stride} if "stride" in names else {}
    if "downsample" in names:
        options["downsample"] = None
        if stride != 1 or in_channels != width * expansion:
            conv = nn.Conv2d(in_channels, width * expansion, 1, stride, bias=False)
            options["downsample"] = nn.Sequential(conv, nn.BatchNorm2d(width * expansion))
    positional = (in_channels, width) if "stride" in names else (in_channels, width, stride)
    block = _module(answer(*positional, **options))
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in block.parameters()):
        block.eval()(torch.zeros(1, in_channels, 8, 8))  # lazy layers learn their shapes from a first input
    return block.train()


def brings_its_own_shortcut(answer: Callable) -> bool:
    """False where the caller hands the projection in, as torchvision's `downsample`."""
    return "downsample" not in inspect.signature(answer).parameters


def _module(made: object) -> nn.Module:
    if not isinstance(made, nn.Module):
        why = "Define a class that inherits from nn.Module, or a function that returns a module."
        raise Wrong("not a module", type(made).__name__, why)
    return made


def run(function: Callable, *inputs: object) -> Tensor:
    """What the student's module or function returns, which must be a tensor; it gets copies of the inputs."""
    output = function(*(x.clone() if isinstance(x, Tensor) else x for x in inputs))
    if output is None:
        raise Wrong("nothing is returned", "None", "Does your code end in `return`?")
    if not isinstance(output, Tensor):
        raise Wrong("not a tensor", type(output).__name__, "Return one tensor.")
    return output


def same(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    """Whether two tensors have the same shape and values up to `tolerance` of the largest value."""
    return a.shape == b.shape and bool((a - b).abs().max() <= tolerance * max(1.0, b.abs().max().item()))


def shape(x: Tensor) -> str:
    """ "2 x 16 x 8 x 8" """
    return " x ".join(map(str, x.shape))


@dataclass(frozen=True)
class Operation:
    """One call that reached torch's core: its name ("convolution", "batch_norm", "relu", "add"), inputs and result."""

    name: str
    inputs: tuple
    result: Any

    @property
    def kernel(self) -> tuple[int, ...]:
        """Of a convolution: (out channels, in channels per group, height, width)."""
        return tuple(self.inputs[1].shape)

    @property
    def has_bias(self) -> bool:
        return self.inputs[2] is not None

    @property
    def stride(self) -> int:
        return self.inputs[3][0]

    @property
    def padding(self) -> int:
        return self.inputs[4][0]


class _Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        # Inputs are kept as they were: a later in-place call would change them.
        kept = tuple(a.clone() if isinstance(a, Tensor) else a for a in args)
        output = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        name = "batch_norm" if "batch_norm" in name else name.rstrip("_")
        result = output[0] if isinstance(output, (tuple, list)) else output
        self.operations.append(Operation(name, kept, result.clone() if isinstance(result, Tensor) else result))
        return output


def operations(function: Callable, *inputs: Tensor) -> list[Operation]:
    """What a module or function computes, in order."""
    with torch.no_grad(), _Recorder() as recorder:
        run(function, *inputs)
    return recorder.operations


def reached(function: Callable, *inputs: Tensor) -> list[Operation]:
    """What a module or function computes, in order, up to the RuntimeError with which it stops, if it does."""
    with torch.no_grad(), _Recorder() as recorder, contextlib.suppress(RuntimeError):
        run(function, *inputs)
    return recorder.operations


def convolutions(function: Callable, *inputs: Tensor) -> list[Operation]:
    """The convolutions among `operations`, in order."""
    return [operation for operation in operations(function, *inputs) if operation.name == "convolution"]


def zero_convolutions(block: nn.Module) -> nn.Module:
    """The block with the weights of all its convolutions at zero."""
    with torch.no_grad():
        for module in block.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                module.bias.zero_()
        for parameter in block.parameters():
            if parameter.ndim == 4:
                parameter.zero_()
    return block


def count(block: nn.Module) -> int:
    """Its parameters."""
    return sum(parameter.numel() for parameter in block.parameters())


def learned(block: nn.Module) -> int:
    """Its parameters that are trained: a frozen one is no more than a constant."""
    return sum(parameter.numel() for parameter in block.parameters() if parameter.requires_grad)


def shake(block: nn.Module) -> nn.Module:
    """The block with BN parameters and statistics away from their start, so that nothing is right by chance."""
    with torch.no_grad():
        for name, tensor in [*block.named_parameters(), *block.named_buffers()]:
            if tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5) if "var" in name or "weight" in name else tensor.normal_(0, 0.3)
    return block


def loud(block: nn.Module) -> nn.Module:
    """The block in training mode with BN's parameters so large that its outputs reach from about -40 to 40."""
    shake(block).train()
    with torch.no_grad():
        for parameter in block.parameters():
            if parameter.ndim == 1:
                parameter.mul_(20)
    return block


def neutral(block: nn.Module) -> nn.Module:
    """The block with BN's weights at 1 and biases at 0, wherever they began."""
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    return block


def hidden_layers(block: nn.Module) -> bool:
    """Whether layers are in a plain list, tuple or dictionary, where PyTorch does not find them."""
    known = set(block.modules())
    held = [value for module in known for value in vars(module).values() if isinstance(value, (list, tuple, dict))]
    inside = [item for value in held for item in (value.values() if isinstance(value, dict) else value)]
    return any(isinstance(item, nn.Module) and item not in known for item in inside)


def remembers(block: nn.Module, x: Tensor) -> bool:
    """Whether its output depends on what it was called with before, in evaluation mode."""
    with torch.no_grad():
        try:
            fresh = copy.deepcopy(block.eval())
        except (TypeError, RuntimeError):
            return False  # the probe of the copies says so
        expected = run(fresh, 1 + 2 * x)
        if not same(run(fresh, 1 + 2 * x), expected):
            return False  # it is random
        run(block, x)
        return not same(run(block, 1 + 2 * x), expected)


def reliable(block: nn.Module, x: Tensor) -> bool:
    """Whether it is worth comparing outputs: nothing is random, hidden or kept. It leaves the block's mode as it is."""
    mode = block.training
    kept = remembers(block, x)
    block.train(mode)
    with torch.no_grad():
        return not kept and not hidden_layers(block) and count(block) > 0 and same(run(block, x), run(block, x))


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return id(obj) if isinstance(obj, type) else None  # a class defined inside a function has no address


def survives_copies(block: nn.Module, x: Tensor) -> None:
    """Raise `Wrong` unless the block can be deep-copied, pickled and moved to torch's `meta` device."""
    with torch.no_grad():
        expected = run(block.eval(), x)
        try:
            copied = run(copy.deepcopy(block), x)
            _Pickler(io.BytesIO()).dump(block)
            ghost = run(copy.deepcopy(block).to("meta"), x.to("meta"))
        except (TypeError, AttributeError, RuntimeError, NotImplementedError, pickle.PicklingError) as error:
            why = "Keep only modules, parameters, buffers and plain values in the block: no lambda, no loose tensor."
            if "lambda" in str(error):
                why = "A lambda in a module cannot be pickled, and so not saved whole. "
                why += "Write it as a small nn.Module of its own, with the lambda's line in forward."
            raise Wrong("it cannot be copied, pickled or moved", f"{type(error).__name__}: {error}", why) from error
    if not same(copied, expected) or ghost.shape != expected.shape:
        raise Wrong("a copy computes something else", shape(ghost), "Does forward use something outside of the block?")
