"""The diagrams: they say what the modules are, measured here by running them, and can be read."""

import copy
import itertools
import re

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Circle, Rectangle
from torch import nn
from torchvision.models import vgg19

from resnet_lesson import BasicBlock, Bottleneck, PlainBlock, build, cost_of
from resnet_lesson.figures.diagrams import block_diagram, block_text, network_diagram
from resnet_lesson.models.family import ResNeXtBottleneck

SIZE = r"\d+( x \d+)+"


def dilated(block):
    block.residual.conv2.dilation = block.residual.conv2.padding = (2, 2)
    return block


BLOCKS = {
    "plain": (PlainBlock(3, 16), (3, 9, 8)),
    "identity": (BasicBlock(64, 64), (64, 32, 32)),
    "A": (BasicBlock(16, 33, 2, shortcut="A"), (16, 15, 15)),
    "A, only channels": (BasicBlock(16, 32, shortcut="A"), (16, 8, 8)),
    "A, only stride": (BasicBlock(16, 16, 3, shortcut="A"), (16, 8, 8)),
    "B": (BasicBlock(64, 128, 2, shortcut="B"), (64, 56, 56)),
    "C, same shape": (BasicBlock(64, 64, shortcut="C"), (64, 8, 8)),
    "bottleneck": (Bottleneck(256, 64), (256, 56, 56)),
    "v1": (Bottleneck(256, 128, 2, stride_in="1x1"), (256, 56, 56)),
    "ResNeXt": (dilated(ResNeXtBottleneck(1024, 512, 2)), (1024, 14, 14)),
}
every_block = pytest.mark.parametrize(("block", "shape"), BLOCKS.values(), ids=BLOCKS)


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def shortcuts(figure):
    return [patch for patch in figure.axes[0].patches if patch.get_gid() == "shortcut"]


def boxes(figure):
    """The boxes of a diagram as (x, y, text), as they were drawn: column by column, downwards."""
    ax = figure.axes[0]
    words = {(round(t.get_position()[0], 3), round(t.get_position()[1], 1)): t.get_text() for t in ax.texts}
    found = [patch for patch in ax.patches if isinstance(patch, Rectangle) and 0 < patch.get_x()]
    middles = [(r.get_x() + r.get_width() / 2, r.get_y(), r.get_height()) for r in found]
    return [(x, round(y, 6), words.get((round(x, 3), round(y + height / 2, 1)))) for x, y, height in middles]


def really(module, shape):
    """What a real forward pass gives: for each Conv2d, Linear and pooling its kind and output shape."""
    seen = []
    kinds = (nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AdaptiveAvgPool2d)
    ghost = copy.deepcopy(module).eval()
    for name, layer in ghost.named_modules():
        if isinstance(layer, kinds):
            layer.register_forward_hook(
                lambda layer, _, out, name=name: seen.append((name, layer, tuple(out.shape[1:])))
            )
    with torch.no_grad():
        ghost(torch.zeros(1, *shape))
    return seen


def overlaps(figure):
    """Pairs of texts that overlap, and texts that are cut off at the figure's edge or stick out of their box."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    extents = {text: text.get_window_extent(renderer) for text in figure.axes[0].texts}
    pairs = [
        (a.get_text(), b.get_text())
        for (a, x), (b, y) in itertools.combinations(extents.items(), 2)
        if x.x0 < y.x1 and y.x0 < x.x1 and x.y0 + 1 < y.y1 and y.y0 + 1 < x.y1
    ]
    width, height = figure.canvas.get_width_height()
    cut = [t.get_text() for t, e in extents.items() if e.x0 < 0 or e.y0 < 0 or e.x1 > width or e.y1 > height]
    drawn = [p.get_window_extent(renderer) for p in figure.axes[0].patches if isinstance(p, Rectangle) and p.get_x()]
    middle = {text: ((e.x0 + e.x1) / 2, (e.y0 + e.y1) / 2) for text, e in extents.items()}
    out = [
        text.get_text()
        for (text, e), box in itertools.product(extents.items(), drawn)
        if box.contains(*middle[text]) and not box.x0 + 2 < e.x0 < e.x1 < box.x1 - 2
    ]
    return pairs + cut + out


def with_layers(module):
    return [name for name, layer in module.named_modules() if layer._forward_hooks or layer._forward_pre_hooks]


@every_block
def test_each_convolution_is_drawn_with_its_numbers_and_the_shapes_are_those_of_a_real_pass(block, shape):
    figure = block_diagram(block, shape)
    path = [(layer, out) for name, layer, out in really(block, shape) if not name.startswith("shortcut")]
    drawn = [text for text in texts(figure) if " conv, " in text]
    for (layer, _), text in zip(path, drawn, strict=True):
        kernel = "x".join(map(str, layer.kernel_size))
        assert text.startswith(f"{kernel} conv, {layer.in_channels} → {layer.out_channels}")
        assert (f", /{layer.stride[0]}" in text) == (layer.stride[0] > 1)
        assert (f"{layer.groups} groups" in text) == (layer.groups > 1)
        assert (f"dilation {layer.dilation[0]}" in text) == (layer.dilation[0] > 1)
    with torch.no_grad():
        y = block.eval()(torch.zeros(1, *shape)).shape[1:]
    arrows = [text for text in texts(figure) if re.fullmatch(SIZE, text)]
    assert arrows == [" x ".join(map(str, s)) for s in (shape, *[out for _, out in path], y)]
    layers = [type(m).__name__ for m in getattr(block, "layers", getattr(block, "residual", None))] + ["ReLU"]
    short = {"BatchNorm2d": "BN", "ReLU": "ReLU"}
    assert [text if text in ("BN", "ReLU") else "Conv2d" for *_, text in boxes(figure)] == [
        short.get(kind, kind) for kind in layers
    ]


@pytest.mark.parametrize(
    ("name", "style", "said"),
    [
        ("identity", "-", "identity"),
        ("bottleneck", "-", "identity"),
        ("C, same shape", "-", "1x1 projection\n64 → 64\n+ BN"),
        ("A", ":", "zero padding:\n8 + 9 channels\nevery 2nd pixel\n\n33 x 8 x 8"),
        ("A, only channels", ":", "zero padding:\n8 + 8 channels\n\n32 x 8 x 8"),
        ("A, only stride", ":", "every 3rd pixel\n\n16 x 3 x 3"),
        ("B", ":", "1x1 projection, /2\n64 → 128\n+ BN\n\n128 x 28 x 28"),
    ],
)
def test_the_shortcut_is_dotted_where_the_shape_changes_and_says_what_it_does(name, style, said):
    figure = block_diagram(*BLOCKS[name])
    (line,) = shortcuts(figure)
    assert line.get_linestyle() == style
    assert said in texts(figure)
    assert len([patch for patch in figure.axes[0].patches if isinstance(patch, Circle)]) == 1


def test_a_plain_block_differs_from_a_basic_block_by_exactly_the_addition():
    shape = (64, 8, 8)
    plain, basic = block_diagram(PlainBlock(64, 64), shape), block_diagram(BasicBlock(64, 64), shape)
    assert shortcuts(plain) == [] and not any(isinstance(patch, Circle) for patch in plain.axes[0].patches)
    assert boxes(plain) == boxes(basic)
    assert {"H(x)", "y = ReLU(H(x))"} <= set(texts(plain)) and {"F(x)", "y = ReLU(F(x) + x)"} <= set(texts(basic))


@every_block
def test_a_block_diagram_can_be_read(block, shape):
    assert overlaps(block_diagram(block, shape)) == []


def test_blocks_stand_side_by_side_with_their_titles_and_the_figure_is_closed():
    figure = block_diagram(BLOCKS)
    assert [text.get_text() for text in figure.axes[0].texts if text.get_fontsize() == 12] == list(BLOCKS)
    assert overlaps(figure) == []
    assert len(shortcuts(figure)) == len(BLOCKS) - 1
    assert overlaps(block_diagram(*BLOCKS["plain"], title="a title that is much wider than its plain block")) == []
    assert plt.get_fignums() == []


@pytest.mark.parametrize("training", [True, False])
def test_what_is_drawn_is_left_as_it_was(training):
    calls = []
    block, network = BasicBlock(16, 32, 2).train(training), build("resnet8", seed=0).train(training)
    for module in (block, network):
        handle = module.register_forward_hook(lambda *_: calls.append(1))
        before = copy.deepcopy(module.state_dict())
        block_diagram(block, (16, 8, 8)) if module is block else network_diagram({"net": network}, (3, 32, 32))
        assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
        assert module.training is training and all(m.training is training for m in module.modules())
        assert with_layers(module) == [""] and calls == []
        handle.remove()


@every_block
def test_the_text_says_what_the_diagram_shows(block, shape):
    text = block_text(block, shape)
    for name, layer, out in really(block, shape):
        if not name.startswith("shortcut"):
            (line,) = [line for line in text.splitlines() if line.startswith(f"{name.split('.')[-1]} ")]
            assert f"{layer.in_channels} → {layer.out_channels}" in line
            assert line.endswith("  " + " x ".join(map(str, out)))
    ends = {re.search(rf"  {SIZE}$", line).start(0) for line in text.splitlines()[1:]}
    assert len(ends) == 1, "the shapes are not under each other"
    assert ("shortcut  from x: " in text) == (not isinstance(block, PlainBlock))
    assert text in block_diagram(block, shape).get_label()  # for screen readers


def test_block_text_reads_like_this():
    assert block_text(BasicBlock(16, 32, 2, shortcut="A"), (16, 8, 8)).splitlines()[-3:] == [
        "shortcut  from x: zero padding: 8 + 8 channels, every 2nd pixel  32 x 4 x 4",
        "+         their sum                                              32 x 4 x 4",
        "relu      ReLU                                                   32 x 4 x 4",
    ]


def test_a_block_of_ones_own_is_drawn_as_far_as_it_goes():
    class PreActivation(nn.Module):
        def __init__(self):
            super().__init__()
            self.residual = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
            self.shortcut = nn.Identity()

        def forward(self, x):
            return self.residual(x) + self.shortcut(x)

    figure = block_diagram(PreActivation(), (8, 4, 4))
    assert [text for *_, text in boxes(figure)] == ["BN", "ReLU", "3x3 conv, 8 → 8"]
    assert "y = F(x) + x" in texts(figure) and len(shortcuts(figure)) == 1


class Sideways(BasicBlock):
    def __init__(self):
        super().__init__(8, 8)
        self.extra = nn.ReLU()

    def forward(self, x):
        return super().forward(self.extra(x))


@pytest.mark.parametrize(
    ("block", "shape", "message"),
    [
        (nn.Linear(3, 3), (3, 8, 8), "Linear is not a block.*PlainBlock, BasicBlock or Bottleneck"),
        (build("resnet8"), (3, 8, 8), "ResNet is not a block.*network_diagram"),
        ("resnet8", (3, 8, 8), "str is not a block"),
        (Sideways(), (8, 8, 8), "Sideways runs layers beside"),
        (BasicBlock(64, 64), (64, 32), r"\(channels, height, width\).*not \(64, 32\)"),
        (BasicBlock(64, 64), None, "input_shape is .*not None"),
        (BasicBlock(64, 64), (64, 32, 0), "input_shape is"),
        (BasicBlock(64, 64), (3, 32, 32), r"takes 64 channels.* has 3: pass \(64, 32, 32\), or build it for 3"),
    ],
)
def test_what_cannot_be_drawn_is_said_with_the_fix(block, shape, message):
    for function in (block_diagram, block_text):
        with pytest.raises(ValueError, match=message):
            function(block, shape)
    assert plt.get_fignums() == []


@pytest.fixture(scope="module")
def figure3():
    with torch.device("meta"):
        networks = {"VGG-19": vgg19(), "plain-34": build("plain34"), "ResNet-34": build("resnet34")}
    return networks, network_diagram(networks)


def by_column(figure):
    return [list(column) for _, column in itertools.groupby(boxes(figure), key=lambda box: box[0])]


def test_every_weighted_layer_and_pooling_is_a_box_in_forward_order(figure3):
    networks, figure = figure3
    for network, column in zip(networks.values(), by_column(figure), strict=True):
        layers = [layer for layer in cost_of(network, (3, 224, 224)).layers if ".shortcut." not in layer.name]
        expected = []
        for layer in layers:
            module = network.get_submodule(layer.name)
            if isinstance(module, nn.Conv2d):
                strided = f", /{module.stride[0]}" if module.stride[0] > 1 else ""
                expected.append(f"{module.kernel_size[0]}x{module.kernel_size[0]} conv, {module.out_channels}{strided}")
            elif isinstance(module, nn.Linear):
                expected.append(f"fc {module.out_features}")
            elif "Pool" in layer.kind:
                expected.append("avg pool" if "Avg" in layer.kind else "max pool, /2")
        assert [text for *_, text in column] == expected
        heights = [y for _, y, _ in column]
        assert heights == sorted(set(heights))


def test_layers_of_the_same_output_size_stand_in_the_same_labelled_band(figure3):
    networks, figure = figure3
    bands = [p for p in figure.axes[0].patches if isinstance(p, Rectangle) and p.get_x() == 0]
    spans = [(p.get_y(), p.get_y() + p.get_height()) for p in bands]
    labels = [t for t in figure.axes[0].texts if re.fullmatch(r"\d+ x \d+", t.get_text())]
    band = {label.get_text(): next(s for s in spans if s[0] < label.get_position()[1] < s[1]) for label in labels}
    assert list(band) == ["224 x 224", "112 x 112", "56 x 56", "28 x 28", "14 x 14", "7 x 7", "1 x 1"]
    for network, column in zip(networks.values(), by_column(figure), strict=True):
        outputs = [
            " x ".join(map(str, layer.output[1:] or (1, 1)))
            for layer in cost_of(network, (3, 224, 224)).layers
            if layer.kind in ("Conv2d", "Linear") and ".shortcut." not in layer.name or "Pool" in layer.kind
        ]
        for (_, y, _), size in zip(column, outputs, strict=True):
            assert band[size][0] < y < band[size][1]


def test_the_heads_count_what_the_paper_counts(figure3):
    said = " ".join(texts(figure3[1]))
    for words in ("19 layers, 19.6 billion multiply-adds", "34 layers, 3.6 billion multiply-adds"):
        assert words in said  # paper, figure 3; its ResNet-34 has no projections


def test_only_the_resnet_has_shortcuts_dotted_where_a_stage_begins(figure3):
    _, figure = figure3
    arcs = shortcuts(figure)
    assert len(arcs) == 3 + 4 + 6 + 3
    assert [k for k, arc in enumerate(arcs) if arc.get_linestyle() == ":"] == [3, 7, 13]
    column = by_column(figure)[2]
    for k, arc in enumerate(arcs):  # from above a block's first box to under its second
        (x, start), *_, (_, end) = arc.get_path().vertices
        first, second = column[2 + 2 * k], column[3 + 2 * k]
        assert column[1 + 2 * k][1] < start < first[1] and second[1] < end < column[4 + 2 * k][1]
        assert x == pytest.approx(first[0])


def test_the_figure_fits_a_notebook_and_can_be_read(figure3):
    _, figure = figure3
    assert figure.canvas.get_width_height()[0] <= 1000
    assert overlaps(figure) == []
    assert min(text.get_fontsize() for text in figure.axes[0].texts) >= 8.5
    assert "ResNet-34: 34 layers" in figure.get_label() and "16 shortcuts (3 of them" in figure.get_label()


@pytest.mark.parametrize(("option", "dotted"), [("A", 2), ("B", 2), ("C", 2)])
def test_cifar_networks_and_other_shortcuts(option, dotted):
    network = build("resnet20", shortcut=option)
    figure = network_diagram(network, (3, 32, 32))
    arcs = [arc.get_linestyle() for arc in shortcuts(figure)]
    assert len(arcs) == 9 and arcs.count(":") == dotted
    assert len(boxes(figure)) == 20 + 1  # with the average pooling, without the projections
    assert overlaps(figure) == []


def test_152_layers_do_not_break_it():
    with torch.device("meta"):
        network = build("resnet152")
    figure = network_diagram({"ResNet-152": network})
    assert len(boxes(figure)) == 152 + 2 and len(shortcuts(figure)) == 50
    assert all(text for *_, text in boxes(figure))
    assert overlaps(figure) == []
    with torch.device("meta"):
        assert overlaps(network_diagram(build("resnext50_32x4d"))) == []


def test_beyond_200_rows_a_network_is_drawn_without_words():
    figure = network_diagram({"ResNet-218": build("resnet218")}, (3, 32, 32))
    assert len(boxes(figure)) == 219 and figure.get_size_inches()[1] < 50
    assert not any("conv" in text for text in texts(figure))


class Grows(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 3, 3, 2, 1), nn.Upsample(scale_factor=2)
        self.last = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.last(self.up(self.down(x)))


@pytest.mark.parametrize(
    ("networks", "shape", "message"),
    [
        ({}, (3, 32, 32), "at least one network"),
        ({"n": nn.ReLU()}, (3, 32, 32), "n cannot be drawn.*none"),
        ({"n": Grows()}, (3, 32, 32), "n cannot be drawn.*never grow.*16 x 16, 32 x 32"),
        ({"n": build("resnet8")}, (1, 32, 32), r"n takes 3 channels.*pass \(3, 32, 32\)"),
        ({"n": nn.Sequential(nn.Conv2d(3, 8, 7))}, (3, 4, 4), "n cannot take input_shape.*larger image"),
        ({"n": build("resnet8")}, (32, 32), "channels, height, width"),
    ],
)
def test_networks_that_cannot_be_drawn_are_said_so(networks, shape, message):
    with pytest.raises(ValueError, match=message):
        network_diagram(networks, shape)
    assert plt.get_fignums() == []
