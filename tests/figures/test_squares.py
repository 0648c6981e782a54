"""The squares of a block are its weights: counted here in the modules."""

import pytest
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


def test_there_is_a_square_for_each_64_times_64_weights_and_none_covers_another():
    figure = weight_squares(BLOCKS)
    squares, each = figure.axes[0].patches, {name: weights(block) // 64**2 for name, block in BLOCKS.items()}
    corners = {(round(square.get_x(), 1), round(square.get_y(), 1)) for square in squares}
    assert len(corners) == len(squares) == sum(each.values())
    assert figure.get_label() == "\n".join(f"{name}: {count} squares" for name, count in each.items())


@pytest.mark.parametrize("names, kinds", [(BLOCKS, list(COLOURS)), (["basic"], ["3x3"])])
def test_the_legend_names_what_is_drawn(names, kinds):
    (ax,) = weight_squares({name: BLOCKS[name] for name in names}).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == kinds
    assert {to_hex(square.get_facecolor()) for square in ax.patches} == {COLOURS[kind] for kind in kinds}
