"""The squares of a block are its weights: counted here in the modules."""

from matplotlib.colors import to_hex
from torch import nn

from resnet_lesson import BasicBlock, Bottleneck
from resnet_lesson.figures.squares import COLOURS, weight_squares

BLOCKS = {
    "basic": BasicBlock(64, 64),
    "bottleneck": Bottleneck(256, 64),
    "wide basic": BasicBlock(256, 256),
    "with a projection": Bottleneck(256, 64, shortcut="C"),
}


def weights(block):
    return sum(layer.weight.numel() for layer in block.modules() if isinstance(layer, nn.Conv2d))


def test_there_is_a_square_for_each_64_times_64_weights():
    for name, block in BLOCKS.items():
        figure = weight_squares({name: block})
        assert len(figure.axes[0].patches) * 64 * 64 == weights(block)
        assert figure.get_label() == f"{name}: {weights(block) // 64**2} squares"


def test_no_square_covers_another_and_the_legend_names_what_is_drawn():
    figure = weight_squares(BLOCKS)
    squares = figure.axes[0].patches
    corners = {(round(square.get_x(), 1), round(square.get_y(), 1)) for square in squares}
    assert len(corners) == len(squares) == 18 + 17 + 288 + 33
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == list(COLOURS) and {to_hex(square.get_facecolor()) for square in squares} == set(COLOURS.values())
    without = weight_squares({"basic": BLOCKS["basic"]})
    assert [text.get_text() for text in without.axes[0].get_legend().get_texts()] == ["3x3"]
