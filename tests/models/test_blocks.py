"""The blocks: shapes, shortcuts, gradients, and where the strides are."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_lesson.models.blocks import (
    BasicBlock,
    Bottleneck,
    PlainBlock,
    Projection,
    ZeroPadShortcut,
    make_shortcut,
)

BLOCKS = [PlainBlock, BasicBlock, Bottleneck]


def images(channels, height=8, width=8):
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("stride, size", [(1, (8, 8)), (2, (7, 9)), (3, (1, 5))])
@pytest.mark.parametrize("in_channels, width", [(16, 16), (3, 8)])
@pytest.mark.parametrize("block", BLOCKS)
def test_block_gives_its_width_and_the_size_divided_by_the_stride(block, in_channels, width, stride, size):
    for options in [{}] if block is PlainBlock else [{"shortcut": option} for option in "ABC"]:
        made = block(in_channels, width, stride, **options)
        y = made(images(in_channels, *size))
        assert y.shape == (2, width * block.expansion, -(-size[0] // stride), -(-size[1] // stride))
        assert (y >= 0).all(), "ReLU comes last"
        assert all(m.bias is None for m in made.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("stride, training", [(1, False), (2, True)])
@pytest.mark.parametrize("shortcut", "ABC")
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_residual_block_is_relu_of_f_plus_shortcut_and_a_plain_one_of_h(block, shortcut, stride, training):
    block = block(8, 8 // block.expansion, stride, shortcut=shortcut).train(training)
    plain, x = PlainBlock(8, 8, stride).train(training), images(8, 7, 7)
    assert torch.equal(block(x), F.relu(block.residual(x) + block.shortcut(x)))
    assert torch.equal(plain(x), F.relu(plain.layers(x)))


@pytest.mark.parametrize("block", BLOCKS)
def test_hooks_see_each_output_as_it_was(block):
    block, kept = block(8, 16, 2), []
    for module in block.modules():
        module.register_forward_hook(lambda module, _, output: kept.append((module, output, output.clone())))
    x = images(8)
    block(x)
    assert all(torch.equal(output, copy) for _, output, copy in kept) and torch.equal(x, images(8))


# Shortcuts


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("in_channels, out_channels, before", [(16, 32, 8), (3, 8, 2), (4, 5, 0)])
def test_option_a_takes_every_strided_pixel_and_adds_channels_of_zeros(in_channels, out_channels, before, stride):
    x = images(in_channels, 7, 9)
    shortcut = ZeroPadShortcut(in_channels, out_channels, stride)
    expected = torch.zeros(2, out_channels, *(len(range(0, side, stride)) for side in (7, 9)))
    for row in range(expected.shape[2]):
        for column in range(expected.shape[3]):
            expected[:, before : before + in_channels, row, column] = x[:, :, row * stride, column * stride]
    assert torch.equal(shortcut(x), expected) and not shortcut.state_dict()


@pytest.mark.parametrize("option, where_changed", [("A", ZeroPadShortcut), ("B", Projection), ("C", Projection)])
def test_a_shortcut_is_the_identity_where_the_shape_stays_except_by_option_c(option, where_changed):
    assert type(make_shortcut(option, 16, 16, 1)) is (Projection if option == "C" else nn.Identity)
    for changed in [(16, 32, 1), (16, 16, 2), (16, 32, 2)]:
        assert type(make_shortcut(option, *changed)) is where_changed


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: BasicBlock(16, 16, shortcut="D"), "no shortcut option 'D'.*A, B, C"),
        (lambda: Bottleneck(16, 8, 2, stride_in="7x7"), "'1x1'.*'3x3'.*'7x7'"),
        (lambda: make_shortcut("A", 32, 16), "32 -> 16.*shortcut='B'"),
    ],
)
def test_what_a_block_cannot_be_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
