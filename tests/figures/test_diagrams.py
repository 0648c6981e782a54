"""The diagrams: they say what the modules are, measured here by running them, and their words do not overlap."""

import copy
import itertools
import re

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Circle
from support.state import is_as_before, state_of
from torch import nn
from torchvision.models import vgg19

from resnet_lesson import BasicBlock, Bottleneck, PlainBlock, build
from resnet_lesson.figures.anatomy import chain_anatomy
from resnet_lesson.figures.diagrams import block_diagram, network_diagram
from resnet_lesson.models.family import SEBasicBlock, SEBottleneck


def resnext():
    block = Bottleneck(1024, 512, 2)
    block.residual.conv2 = nn.Conv2d(512, 512, 3, 2, padding=2, dilation=2, groups=32, bias=False)
    return block


GROUPS = "1x1 projection, /2\n1024 → 2048\n+ BN\n\n2048 x 7 x 7"
BLOCKS = [  # a block, its input, and what its shortcut says; it is dotted where that ends with a new shape
    (PlainBlock(3, 16), (3, 9, 8), None),
    (BasicBlock(64, 64), (64, 32, 32), "identity"),
    (BasicBlock(16, 33, 2, shortcut="A"), (16, 15, 15), "zero padding:\n8 + 9 channels\nevery 2nd pixel\n\n33 x 8 x 8"),
    (BasicBlock(16, 16, 3, shortcut="A"), (16, 8, 8), "every 3rd pixel\n\n16 x 3 x 3"),
    (BasicBlock(64, 64, shortcut="C"), (64, 8, 8), "1x1 projection\n64 → 64\n+ BN"),
    (Bottleneck(256, 128, 2, stride_in="1x1"), (256, 56, 56), "1x1 projection, /2\n256 → 512\n+ BN\n\n512 x 28 x 28"),
    (resnext(), (1024, 14, 14), GROUPS),
]


def block_text(block, shape):
    return "\n".join(map(str, chain_anatomy(block, shape)))


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def layers(figure):
    """The words in the boxes, column by column, downwards."""
    names = r"\dx\d conv|linear|fc |max pool|avg pool|BN$|LN$|ReLU$|GELU$|sigmoid$"
    return [words for words in texts(figure) if re.match(names, words)]


def shortcuts(figure):
    """For each shortcut, whether it is dotted."""
    return [patch.get_linestyle() == ":" for patch in figure.axes[0].patches if patch.get_gid() == "shortcut"]


def overlapping(figure):
    renderer = FigureCanvasAgg(figure).get_renderer()
    extents = [(text.get_text(), text.get_window_extent(renderer)) for text in figure.axes[0].texts]
    return [
        (a, b)
        for (a, x), (b, y) in itertools.combinations(extents, 2)
        if x.x0 < y.x1 and y.x0 < x.x1 and x.y0 + 1 < y.y1 and y.y0 + 1 < x.y1
    ]


def really(block, shape):
    """The shapes in a real forward pass: before, after each convolution outside of the shortcut, and at the end."""
    seen, ghost = [shape], copy.deepcopy(block).eval()
    for name, layer in ghost.named_modules():
        if isinstance(layer, nn.Conv2d) and not name.startswith("shortcut"):
            layer.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    with torch.no_grad():
        seen.append(tuple(ghost(torch.zeros(1, *shape)).shape[1:]))
    return [" x ".join(map(str, one)) for one in seen]


@pytest.mark.parametrize(("block", "shape", "shortcut"), BLOCKS)
def test_a_block_is_drawn_and_said_with_the_numbers_and_shapes_of_a_real_pass(block, shape, shortcut):
    figure, text = block_diagram(block, shape), block_text(block, shape)
    shapes = [words for words in texts(figure) if re.fullmatch(r"\d+( x \d+)+", words)]
    assert shapes == really(block, shape)
    path = list(getattr(block, "layers", getattr(block, "residual", None)).named_children())
    for (name, layer), words in zip([*path, ("relu", block.relu)], layers(figure), strict=True):
        assert any(line.startswith(name) and words.replace("\n", ", ") in line for line in text.splitlines())
        if isinstance(layer, nn.Conv2d):
            expected = f"{layer.kernel_size[0]}x{layer.kernel_size[0]} conv, {layer.in_channels} → {layer.out_channels}"
            expected += f", /{layer.stride[0]}" * (layer.stride[0] > 1)
            expected += f"\n{layer.groups} groups, dilation {layer.dilation[0]}" * (layer.groups > 1)
            assert words == expected
    assert text in figure.get_label()  # for screen readers
    assert shortcuts(figure) == ([" x " in shortcut] if shortcut else []) and shortcut in [None, *texts(figure)]
    assert overlapping(figure) == []


def test_blocks_side_by_side_differ_by_what_differs():
    shape = (64, 8, 8)
    figure = block_diagram({"plain": (PlainBlock(64, 64), shape), "basic": (BasicBlock(64, 64), shape)})
    assert {"plain", "H(x)", "y = ReLU(H(x))", "basic", "F(x)", "y = ReLU(F(x) + x)"} <= set(texts(figure))
    assert layers(figure)[:6] == layers(figure)[6:] and shortcuts(figure) == [False]
    assert plt.get_fignums() == []


class Residual(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.residual, self.shortcut = nn.Sequential(*layers), nn.Identity()

    def forward(self, x):
        return self.residual(x) + self.shortcut(x)


class Paths(nn.Module):
    def __init__(self, number):
        super().__init__()
        self.paths = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1)) for _ in range(number)]
        )

    def forward(self, x):
        return sum(path(x) for path in self.paths)


def nodes(figure):
    """The signs of the circles, downwards."""
    found = [patch for patch in figure.axes[0].patches if isinstance(patch, Circle)]
    return [circle.get_gid() for circle in sorted(found, key=lambda circle: circle.center[1])]


def test_squeeze_and_excitation_is_a_side_branch_whose_factors_multiply_the_line():
    figure = block_diagram(SEBasicBlock(32, 32), (32, 4, 4))
    branch = ["avg pool", "linear, 32 → 2", "ReLU", "linear, 2 → 32", "sigmoid"]
    assert layers(figure) == ["3x3 conv, 32 → 32", "BN", "ReLU", "3x3 conv, 32 → 32", "BN", *branch, "ReLU"]
    assert nodes(figure) == ["x", "+"] and overlapping(figure) == []
    assert f"times the factors of: {' - '.join(branch)}" in figure.get_label()
    assert overlapping(block_diagram(SEBottleneck(256, 64), (256, 56, 56))) == []


@pytest.mark.parametrize(("number", "drawn", "said"), [(2, 2, []), (3, 3, []), (32, 3, ["...\n\n32 paths\n\n..."])])
def test_paths_are_drawn_side_by_side_and_added(number, drawn, said):
    figure = block_diagram(Residual(Paths(number), nn.BatchNorm2d(8)), (8, 4, 4))
    assert layers(figure) == ["1x1 conv, 8 → 2", "ReLU", "1x1 conv, 2 → 8"] * drawn + ["BN"]
    assert [words for words in texts(figure) if "paths" in words] == said
    assert nodes(figure) == ["+", "+"] and overlapping(figure) == []
    assert f"the sum of {number} paths, each: 1x1 conv, 8 → 2 - ReLU - 1x1 conv, 2 → 8" in figure.get_label()


def test_blocks_in_a_row_have_an_addition_each():
    mlp = nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8)
    chain = nn.Sequential(Residual(nn.LayerNorm(8), nn.Linear(8, 8)), Residual(nn.LayerNorm(8), *mlp))
    figure = block_diagram(chain, (5, 8))
    assert layers(figure) == ["LN", "linear, 8 → 8", "LN", "linear, 8 → 32", "GELU", "linear, 32 → 8"]
    assert nodes(figure) == ["+", "+"] and shortcuts(figure) == [False, False] and overlapping(figure) == []
    assert {"F₁(x)", "F₂(u)", "u = F₁(x) + x,   y = F₂(u) + u", "5 x 32"} <= set(texts(figure))
    assert block_text(chain, (5, 8)).count("y = F(x) + x") == 2 and block_text(chain, (5, 8)) in figure.get_label()


def test_what_is_drawn_is_left_as_it_was():
    network = build("resnet8", seed=0).train()
    before = state_of(network)
    network_diagram(network, (3, 32, 32))
    block_diagram(network.stages[1][0], (16, 8, 8))
    assert is_as_before(network, before)


def test_figure_3_of_the_paper():
    with torch.device("meta"):
        networks = {"VGG-19": vgg19(), "plain-34": build("plain34"), "ResNet-34": build("resnet34")}
    figure = network_diagram(networks)
    expected = []
    for network in networks.values():
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d) and ".shortcut." not in name:
                stride = ", /2" * (layer.stride[0] == 2)
                expected.append(f"{layer.kernel_size[0]}x{layer.kernel_size[0]} conv, {layer.out_channels}{stride}")
            elif isinstance(layer, nn.Linear):
                expected.append(f"fc {layer.out_features}")
            elif "Pool" in type(layer).__name__:
                expected.append("avg pool" if "Avg" in type(layer).__name__ else "max pool, /2")
    assert layers(figure) == expected
    assert [k for k, dotted in enumerate(shortcuts(figure)) if dotted] == [3, 7, 13] and len(shortcuts(figure)) == 16
    assert sum(isinstance(patch, Circle) for patch in figure.axes[0].patches) == 16  # a plus where each shortcut ends
    assert {"19 layers, 19.6 billion multiply-adds", "34 layers, 3.6 billion multiply-adds"} <= set(texts(figure))
    assert figure.canvas.get_width_height()[0] <= 1000 and overlapping(figure) == []


def test_what_is_no_block_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match="Linear is not a block.*PlainBlock, BasicBlock or Bottleneck"):
        block_diagram(nn.Linear(3, 3), (3, 8, 8))


class NoReluAtTheEnd(BasicBlock):
    def forward(self, x):
        return self.residual(x) + self.shortcut(x)


def test_a_relu_that_the_forward_pass_does_not_call_is_not_drawn():
    assert block_text(BasicBlock(4, 4), (4, 8, 8)).startswith("y = ReLU(F(x) + x)")
    assert block_text(NoReluAtTheEnd(4, 4), (4, 8, 8)).startswith("y = F(x) + x")
