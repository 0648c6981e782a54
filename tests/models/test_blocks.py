"""The blocks: shapes, shortcuts, gradients, and where the strides are."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_lesson.models.blocks import (
    SHORTCUTS,
    BasicBlock,
    Bottleneck,
    PlainBlock,
    Projection,
    ZeroPadShortcut,
    make_shortcut,
)

BLOCKS = [PlainBlock, BasicBlock, Bottleneck]
RESIDUAL = [BasicBlock, Bottleneck]


def images(channels, height=8, width=8):
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(0))


def without_convolutions(block):
    """The block with the weights of its own path's convolutions at zero; the shortcut stays."""
    for module in (block.layers if isinstance(block, PlainBlock) else block.residual).modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    return block


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 5)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("in_channels, width", [(16, 16), (3, 8)])
@pytest.mark.parametrize("block", BLOCKS)
def test_block_gives_its_width_and_the_size_divided_by_the_stride(block, in_channels, width, stride, size):
    for shortcut in SHORTCUTS:
        options = {} if block is PlainBlock else {"shortcut": shortcut}
        made = block(in_channels, width, stride, **options)
        y = made(images(in_channels, *size))
        assert y.shape == (2, width * block.expansion, -(-size[0] // stride), -(-size[1] // stride))
        assert (y >= 0).all(), "ReLU comes last"
        assert all(m.bias is None for m in made.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("block", RESIDUAL)
def test_a_residual_block_is_relu_of_f_plus_shortcut(block, shortcut, stride, training):
    block = block(8, 8 // block.expansion, stride, shortcut=shortcut).train(training)
    x = images(8, 7, 7)
    torch.testing.assert_close(block(x), F.relu(block.residual(x) + block.shortcut(x)), rtol=0, atol=0)
    y = without_convolutions(block)(x)
    torch.testing.assert_close(y, F.relu(block.shortcut(x)), rtol=0, atol=0)
    assert y.any()
    if shortcut != "C" and stride == 1:
        torch.testing.assert_close(y, F.relu(x), rtol=0, atol=0)


@pytest.mark.parametrize("block", BLOCKS)
def test_with_zero_convolutions_only_a_shortcut_lets_signal_and_gradient_pass(block):
    x = images(8).requires_grad_()
    y = without_convolutions(block(8, 8 // block.expansion))(x)
    y.sum().backward()
    expected = torch.zeros_like(x) if block is PlainBlock else (x > 0).float()
    torch.testing.assert_close(x.grad, expected, rtol=0, atol=0)
    assert y.any() == (block is not PlainBlock)


@pytest.mark.parametrize("block", BLOCKS)
def test_hooks_see_each_output_as_it_was(block):
    block, kept = block(8, 16, 2), []
    for module in block.modules():
        module.register_forward_hook(lambda module, _, output: kept.append((module, output, output.clone())))
    x = images(8)
    block(x)
    for module, output, copy in kept:
        assert torch.equal(output, copy), f"{module} was overwritten"
    assert torch.equal(x, images(8))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
def test_plain_block_is_the_basic_block_without_the_addition(stride, training):
    basic = BasicBlock(8, 16, stride, shortcut="A").train(training)
    plain = PlainBlock(8, 16, stride).train(training)
    plain.layers.load_state_dict(basic.residual.state_dict())
    x = images(8, 7, 9)
    torch.testing.assert_close(plain(x), F.relu(basic.residual(x)), rtol=0, atol=0)
    assert plain.layers.state_dict().keys() == basic.residual.state_dict().keys()


def test_plain_block_is_convolution_bn_relu_twice():
    block = PlainBlock(8, 16, 2).train()
    x = images(8, 7, 9)
    first, second = (p for p in block.parameters() if p.dim() == 4)
    y = F.relu(F.batch_norm(F.conv2d(x, first, stride=2, padding=1), None, None, training=True))
    y = F.relu(F.batch_norm(F.conv2d(y, second, padding=1), None, None, training=True))
    torch.testing.assert_close(block(x), y)


@pytest.mark.parametrize("stride_in, strides", [("1x1", [(2, 2), (1, 1), (1, 1)]), ("3x3", [(1, 1), (2, 2), (1, 1)])])
def test_bottleneck_takes_the_stride_in_the_convolution_asked_for(stride_in, strides):
    block = Bottleneck(16, 8, 2, stride_in=stride_in)
    convolutions = [m for m in block.residual if isinstance(m, nn.Conv2d)]
    assert [c.kernel_size for c in convolutions] == [(1, 1), (3, 3), (1, 1)]
    assert [c.stride for c in convolutions] == strides
    assert Bottleneck(16, 8, 2).residual.conv2.stride == (2, 2), "v1.5 unless told"
    with pytest.raises(ValueError, match="'1x1'.*'3x3'.*'7x7'"):
        Bottleneck(16, 8, 2, stride_in="7x7")


@pytest.mark.parametrize("block, option", [(PlainBlock, "shortcut"), (BasicBlock, "stride_in"), (Bottleneck, "groups")])
def test_what_a_block_does_not_know_python_refuses(block, option):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
        block(16, 16, **{option: "A"})


# Shortcuts


@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("in_channels, out_channels, before", [(16, 32, 8), (3, 8, 2), (4, 4, 0), (4, 5, 0)])
def test_option_a_takes_every_strided_pixel_and_adds_channels_of_zeros(in_channels, out_channels, before, stride, size):
    x = images(in_channels, *size)
    shortcut = ZeroPadShortcut(in_channels, out_channels, stride)
    expected = torch.zeros(2, out_channels, *(len(range(0, side, stride)) for side in size))
    for row in range(expected.shape[2]):
        for column in range(expected.shape[3]):
            expected[:, before : before + in_channels, row, column] = x[:, :, row * stride, column * stride]
    torch.testing.assert_close(shortcut(x), expected, rtol=0, atol=0)
    assert not shortcut.state_dict()


def test_option_a_refuses_to_take_channels_away_and_names_the_way_out():
    with pytest.raises(ValueError, match=r"32 -> 16.*shortcut='B'"):
        make_shortcut("A", 32, 16)


@pytest.mark.parametrize("option, where_changed", [("A", ZeroPadShortcut), ("B", Projection), ("C", Projection)])
def test_a_shortcut_is_the_identity_where_the_shape_stays_except_by_option_c(option, where_changed):
    assert type(make_shortcut(option, 16, 16, 1)) is (Projection if option == "C" else nn.Identity)
    for changed in [(16, 32, 1), (16, 16, 2), (16, 32, 2)]:
        assert type(make_shortcut(option, *changed)) is where_changed


def test_projection_is_a_1x1_convolution_and_bn():
    projection = Projection(8, 12, 2).train()
    x = images(8, 7, 9)
    (weight,) = (p for p in projection.parameters() if p.dim() == 4)
    y = torch.einsum("oi,nihw->nohw", weight[:, :, 0, 0], x[:, :, ::2, ::2])
    y = (y - y.mean((0, 2, 3), keepdim=True)) / (y.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(projection(x), y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("option", ["D", "a", "", None])
def test_unknown_shortcut_option_names_the_possible_ones(option):
    with pytest.raises(ValueError, match=f"no shortcut option {option!r}.*'A'.*'B'.*'C'"):
        BasicBlock(16, 16, shortcut=option)
