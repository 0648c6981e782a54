"""What a diagram shows of a block or a network, read off the module itself, and the same in words.

Layers and shapes come from a forward pass without values (see `cost`), so that a diagram cannot differ
from the network it shows.
"""

import copy
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import nn

from ..models.blocks import Projection, ZeroPadShortcut
from ..models.cost import Cost, cost_of

Shape = tuple  # without the batch: (C, H, W)
SHORT = {
    "SqueezeExcitation": "squeeze, excite, scale",
    "BatchNorm2d": "BN",
    "MaxPool2d": "max pool",
    "AvgPool2d": "avg pool",
    "AdaptiveAvgPool2d": "avg pool",
}


def size(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def stride(layer: nn.Module) -> str:
    """How a layer's stride is written behind its name: ", /2", or nothing for 1."""
    steps = getattr(layer, "stride", 1)
    steps = steps if isinstance(steps, tuple) else (steps, steps)
    return "" if steps == (1, 1) else f", /{'x'.join(map(str, sorted(set(steps))))}"


def describe(layer: nn.Module) -> str:
    """A layer in a few words; groups and dilation in a second line.

    >>> describe(nn.Conv2d(64, 128, 3, stride=2)), describe(nn.BatchNorm2d(64))
    ('3x3 conv, 64 → 128, /2', 'BN')
    """
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


def _cost(module: nn.Module, input_shape: Shape, what: str) -> Cost:
    """`cost_of`, with a ValueError that says whose input does not fit."""
    try:
        return cost_of(module, input_shape)
    except RuntimeError as error:
        channels = [layer.in_channels for layer in module.modules() if isinstance(layer, nn.Conv2d)]
        hint = f" Its first convolution takes {channels[0]} channels." if channels else ""
        raise ValueError(f"{what} cannot take input_shape {input_shape}: {error}.{hint}") from None


@dataclass(frozen=True)
class BlockAnatomy:
    """A block taken apart. A step is a layer's name, its description, and the shape of its output."""

    input: Shape
    path: tuple[tuple[str, str, Shape], ...]  # F(x), or H(x) of a plain block
    shortcut: str | None
    after: tuple[tuple[str, str, Shape], ...]  # the ReLU behind the addition

    @property
    def output(self) -> Shape:
        return self.path[-1][2]

    @property
    def formula(self) -> str:
        total = "H(x)" if self.shortcut is None else f"F(x) + {'x' if self.shortcut == 'identity' else 'shortcut(x)'}"
        return f"y = {self.after[0][1]}({total})" if self.after else f"y = {total}"

    def __str__(self) -> str:
        steps = [("x", "the input", self.input), *self.path]
        if self.shortcut is not None:
            steps += [("shortcut", f"from x: {self.shortcut}", self.output), ("+", "their sum", self.output)]
        steps += self.after
        rows = [(name, words.replace(":\n", ": ").replace("\n", ", "), size(shape)) for name, words, shape in steps]
        wide, wider = (max(len(row[k]) for row in rows) for k in (0, 1))
        return "\n".join([self.formula, *(f"{name:{wide}}  {words:{wider}}  {shape}" for name, words, shape in rows)])


def block_anatomy(block: nn.Module, input_shape: Shape) -> BlockAnatomy:
    """Take a block apart: `residual` and `shortcut` (or `layers`), and a last `relu` where it has one.

    Raises ValueError for a module that is not made of these, and for a shape that does not fit.
    """
    kind = type(block).__name__
    shortcut = getattr(block, "shortcut", None)
    path = "layers" if shortcut is None else "residual"
    if not isinstance(getattr(block, path, None), nn.Sequential):
        raise ValueError(
            f"{kind} is not a block of this course. Give a PlainBlock, BasicBlock or Bottleneck, or a block of your "
            "own with `residual` (an nn.Sequential), `shortcut` and `relu`; for a whole network use network_diagram."
        )
    ran = _cost(block, input_shape, f"This {kind}").layers
    parts = [layer.name.split(".")[0] for layer in ran if layer.kind != "Identity"]
    if not {path, "shortcut", "relu"}.issuperset(parts) or "relu" in parts[:-1]:
        raise ValueError(f"{kind} runs layers beside `{path}`, `shortcut` and a last `relu`; no diagram shows these.")
    ghost = copy.deepcopy(getattr(block, path)).to("meta").eval()
    for part in ghost.modules():
        part._forward_hooks.clear()  # the caller's own are not for shapes without values
    steps, x = [], torch.empty(1, *input_shape, device="meta")
    for name, layer in ghost.named_children():
        x = layer(x)
        steps.append((name, describe(layer), tuple(x.shape[1:])))
    after = (("relu", describe(block.relu), tuple(x.shape[1:])),) if parts[-1] == "relu" else ()
    said = None if shortcut is None else describe_shortcut(shortcut)
    return BlockAnatomy(tuple(input_shape), tuple(steps), said, after)


def block_text(block: nn.Module, input_shape: Shape) -> str:
    """The block as lines of text, for terminals and screen readers: layer, what it does, output shape."""
    return str(block_anatomy(block, input_shape))


@dataclass(frozen=True)
class NetworkAnatomy:
    """A network as a column of boxes, each with its text and the height and width of its output."""

    words: str
    image: Shape
    boxes: tuple[tuple[str, Shape], ...]
    shortcuts: tuple[tuple[int, int, bool], ...]  # the box before the block (-1: none), its last box, shape changes?

    def __str__(self) -> str:
        runs = [(text, len(list(run))) for text, run in groupby(text for text, _ in self.boxes)]
        layers = "; ".join(f"{text} ({count} times)" if count > 1 else text for text, count in runs)
        dotted = sum(changes for *_, changes in self.shortcuts)
        return f"{self.words}, {len(self.shortcuts)} shortcuts ({dotted} of them change the shape): {layers}"


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


def network_anatomy(network: nn.Module, input_shape: Shape, title: str = "This network") -> NetworkAnatomy:
    """Convolutions, linear layers and poolings in the order of the forward pass, and the course's shortcuts.

    Raises ValueError for a shape that does not fit, and for a network whose outputs grow again.
    """
    cost = _cost(network, input_shape, title)
    blocks = [name for name, m in network.named_modules() if name and hasattr(m, "residual") and hasattr(m, "shortcut")]
    boxes, entered, shortcuts, shape = [], {}, {}, tuple(input_shape)
    for layer in cost.layers:
        block = next((name for name in blocks if layer.name.startswith(f"{name}.")), None)
        part, *inner = layer.name.removeprefix(f"{block}.").split(".") if block else [None]
        if part == "residual" and len(inner) > 1:
            continue  # inside of a layer that is made of several, such as squeeze-and-excitation
        entered.setdefault(block, (len(boxes) - 1, shape))
        shape = layer.output
        box = _box(network.get_submodule(layer.name), shape)
        if box and part != "shortcut":  # for that, there is an arc
            boxes.append(box)
        if part == "residual":
            start, before = entered[block]
            shortcuts[block] = (start, len(boxes) - 1, shape != before)
    sizes = [own for _, own in boxes]
    if not boxes or sizes != sorted(sizes, reverse=True):
        raise ValueError(
            f"{title} cannot be drawn: network_diagram needs convolutions, poolings and linear layers whose outputs "
            "never grow in height and width."
        )
    weighted = sum("pool" not in text.lower() for text, _ in boxes)
    macs = f"{cost.macs / 1e9:.1f} billion" if cost.macs >= 1e8 else f"{cost.macs / 1e6:.1f} million"
    words = f"{weighted} layers, {macs} multiply-adds"
    return NetworkAnatomy(words, tuple(input_shape), tuple(boxes), tuple(shortcuts.values()))
