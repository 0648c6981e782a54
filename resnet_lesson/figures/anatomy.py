"""What a diagram shows of a block or a network, taken from the module itself, and the same in words.

Layers and shapes come from a forward pass without values (see `cost`), so a diagram cannot differ from the network that
it shows.
"""

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..models.blocks import Projection, ZeroPadShortcut
from ..models.cost import cost_of
from ..models.family import SqueezeExcitation

Shape = tuple  # without the batch: (C, H, W)
SHORT = {
    "BatchNorm2d": "BN",
    "LayerNorm": "LN",
    "LayerNorm2d": "LN",
    "Sigmoid": "sigmoid",
    "MaxPool2d": "max pool",
    "AvgPool2d": "avg pool",
    "AdaptiveAvgPool2d": "avg pool",
}


def size(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def stride(layer: nn.Module) -> str:
    """How a layer's stride is written after its name: ", /2", or nothing for 1."""
    step = getattr(layer, "stride", 1)
    step = step[0] if isinstance(step, tuple) else step
    return f", /{step}" if step > 1 else ""


def describe(layer: nn.Module) -> str:
    """A layer in a few words, with groups and dilation on a second line.

    >>> describe(nn.Conv2d(64, 128, 3, stride=2)), describe(nn.BatchNorm2d(64))
    ('3x3 conv, 64 → 128, /2', 'BN')
    """
    if isinstance(layer, nn.Linear):
        return f"linear, {layer.in_features} → {layer.out_features}"
    if not isinstance(layer, nn.Conv2d):
        return SHORT.get(type(layer).__name__, type(layer).__name__)
    text = f"{'x'.join(map(str, layer.kernel_size))} conv, {layer.in_channels} → {layer.out_channels}{stride(layer)}"
    extra = [f"{layer.groups} groups"] * (layer.groups > 1)
    extra += [f"dilation {layer.dilation[0]}"] * (layer.dilation[0] > 1)
    return "\n".join([text, ", ".join(extra)] if extra else [text])


def describe_shortcut(shortcut: nn.Module) -> str:
    """What a shortcut does, in one to three short lines."""
    if isinstance(shortcut, ZeroPadShortcut):
        before, after, step = shortcut.before, shortcut.after, shortcut.stride
        lines = [f"zero padding:\n{before} + {after} channels"] * (after > 0)
        lines += [f"every {step}{ {2: 'nd', 3: 'rd'}.get(step, 'th') } pixel"] * (step > 1)
        return "\n".join(lines)
    if isinstance(shortcut, Projection):
        conv, norm = shortcut
        return f"1x1 projection{stride(conv)}\n{conv.in_channels} → {conv.out_channels}\n+ {describe(norm)}"
    if isinstance(shortcut, nn.Sequential) and len(shortcut):  # as in ResNet-D
        return "\n+ ".join(describe(layer) + stride(layer) * ("pool" in describe(layer)) for layer in shortcut)
    return "identity" if isinstance(shortcut, nn.Identity) else type(shortcut).__name__


class Step(NamedTuple):
    """A layer's name, its description, and the shape of its output.

    branches: where the line forks, the layers of each branch. A single one makes factors for what stays on the line;
        what several put out is added up.
    """

    name: str
    words: str
    output: Shape
    branches: tuple[tuple[str, ...], ...] = ()


def fork(layer: nn.Module) -> tuple[tuple[str, ...], ...]:
    """The branches of a layer: of squeeze-and-excitation its side branch, and of a module with `paths` each path."""
    if isinstance(layer, SqueezeExcitation):
        branches = [[layer.squeeze, *layer.excite]]
    else:
        branches = [list(path.children()) for path in getattr(layer, "paths", [])]
    return tuple(tuple(describe(one) for one in branch) for branch in branches)


def words_for(layer: nn.Module) -> str:
    """`describe`, or for a layer that forks what its branches do."""
    branches = fork(layer)
    kind = "times the factors of" if len(branches) == 1 else f"the sum of {len(branches)} paths, each"
    return f"{kind}: {' - '.join(branches[0])}" if branches else describe(layer)


@dataclass(frozen=True)
class BlockAnatomy:
    """A block taken apart."""

    input: Shape
    path: tuple[Step, ...]  # F(x), or H(x) of a plain block
    shortcut: str | None
    relu: bool  # after the addition

    @property
    def output(self) -> Shape:
        return self.path[-1].output

    @property
    def formula(self) -> str:
        total = "H(x)" if self.shortcut is None else f"F(x) + {'x' if self.shortcut == 'identity' else 'shortcut(x)'}"
        return f"y = ReLU({total})" if self.relu else f"y = {total}"

    def __str__(self) -> str:
        steps = [("x", "the input", self.input), *(step[:3] for step in self.path)]
        if self.shortcut is not None:
            steps += [("shortcut", f"from x: {self.shortcut}", self.output), ("+", "their sum", self.output)]
        steps += [("relu", "ReLU", self.output)] * self.relu
        rows = [(name, words.replace(":\n", ": ").replace("\n", ", "), size(shape)) for name, words, shape in steps]
        wide, wider = (max(len(row[k]) for row in rows) for k in (0, 1))
        return "\n".join([self.formula, *(f"{name:{wide}}  {words:{wider}}  {shape}" for name, words, shape in rows)])


def block_anatomy(block: nn.Module, input_shape: Shape) -> BlockAnatomy:
    """Take a block apart: `residual` and `shortcut` (or `layers`), and a last `relu` where its forward pass calls one.

    Raises ValueError for a module that does not consist of these, and torch's RuntimeError for a shape that does not
    fit.
    """
    shortcut = getattr(block, "shortcut", None)
    layers = getattr(block, "layers" if shortcut is None else "residual", None)
    if not isinstance(layers, nn.Sequential):
        raise ValueError(
            f"{type(block).__name__} is not a block of this course. Give a PlainBlock, BasicBlock or Bottleneck, or a "
            "block of your own with `residual` (an nn.Sequential), `shortcut` and `relu`, or an nn.Sequential of such "
            "blocks; for a whole network use network_diagram."
        )
    block, x = copy.deepcopy(block).to("meta").eval(), torch.empty(1, *input_shape, device="meta")
    relus: list[Tensor] = []  # a block may inherit a ReLU that its own forward pass never calls
    if hasattr(block, "relu"):
        block.relu.register_forward_hook(lambda relu, inputs, output: relus.append(output))
    block(x)
    steps = []
    for name, layer in getattr(block, "layers" if shortcut is None else "residual").named_children():
        x = layer(x)
        steps.append(Step(name, words_for(layer), tuple(x.shape[1:]), fork(layer)))
    said = None if shortcut is None else describe_shortcut(shortcut)
    return BlockAnatomy(tuple(input_shape), tuple(steps), said, bool(relus))


def chain_anatomy(blocks: nn.Module, input_shape: Shape) -> list[BlockAnatomy]:
    """A block taken apart, or each of an nn.Sequential of blocks."""
    chain: list[BlockAnatomy] = []
    for block in blocks if isinstance(blocks, nn.Sequential) else [blocks]:
        chain.append(block_anatomy(block, chain[-1].output if chain else input_shape))
    return chain


@dataclass(frozen=True)
class NetworkAnatomy:
    """A network as a column of boxes, each with its text and the height and width of its output."""

    words: str
    image: Shape
    boxes: tuple[tuple[str, Shape], ...]
    shortcuts: tuple[tuple[int, int, bool], ...]  # the box before the block (-1: none), its last box, shape changes?


def _box(layer: nn.Module, output: Shape) -> tuple[str, Shape] | None:
    """A layer's text in the column of a network, and its output's height and width; None for one without a box."""
    if isinstance(layer, nn.Conv2d):
        groups = f", {layer.groups} groups" * (layer.groups > 1)
        kernel = "x".join(map(str, layer.kernel_size))
        return f"{kernel} conv, {layer.out_channels}{groups}{stride(layer)}", output[1:]
    if isinstance(layer, nn.Linear):
        return f"fc {layer.out_features}", (1, 1)
    if "Pool" in type(layer).__name__:
        return describe(layer) + stride(layer), output[1:]
    return None


def network_anatomy(network: nn.Module, input_shape: Shape) -> NetworkAnatomy:
    """Convolutions, linear layers and poolings in the order of the forward pass, and the course's shortcuts.

    Raises torch's RuntimeError for a shape that does not fit.
    """
    cost = cost_of(network, input_shape)
    blocks = [name for name, m in network.named_modules() if name and hasattr(m, "residual") and hasattr(m, "shortcut")]
    boxes, entered, shortcuts, shape = [], {}, {}, tuple(input_shape)
    for layer in cost.layers:
        block = next((name for name in blocks if layer.name.startswith(f"{name}.")), None)
        part, *inner = layer.name.removeprefix(f"{block}.").split(".") if block else [None]
        if part == "residual" and len(inner) > 1:
            continue  # inside a layer that consists of several, such as squeeze-and-excitation
        entered.setdefault(block, (len(boxes) - 1, shape))
        shape = layer.output
        box = _box(network.get_submodule(layer.name), shape)
        if box and part != "shortcut":  # a shortcut is drawn as an arc
            boxes.append(box)
        if part == "residual":
            start, before = entered[block]
            shortcuts[block] = (start, len(boxes) - 1, shape != before)
    weighted = sum("pool" not in text.lower() for text, _ in boxes)
    macs = f"{cost.macs / 1e9:.1f} billion" if cost.macs >= 1e8 else f"{cost.macs / 1e6:.1f} million"
    words = f"{weighted} layers, {macs} multiply-adds"
    return NetworkAnatomy(words, tuple(input_shape), tuple(boxes), tuple(shortcuts.values()))
