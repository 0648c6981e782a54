"""The blocks: shapes, shortcuts, gradients, and where the strides lie."""

import functools

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
    conv1x1,
    conv3x3,
    make_shortcut,
)

BLOCKS = [PlainBlock, BasicBlock, Bottleneck]
RESIDUAL = [BasicBlock, Bottleneck]


def images(channels, height=8, width=8, n=2, seed=0):
    return torch.randn(n, channels, height, width, generator=torch.Generator().manual_seed(seed))


def without_convolutions(block):
    """The block with all weights of its own path's convolutions at zero; the shortcut stays."""
    for module in (block.layers if isinstance(block, PlainBlock) else block.residual).modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    return block


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 5)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_convolutions_keep_height_and_width_divided_by_the_stride(stride, size):
    height, width = (-(-side // stride) for side in size)
    for convolution in (
        conv3x3(4, 6, stride),
        conv1x1(4, 6, stride),
        conv3x3(4, 6, stride, groups=2),
        conv3x3(4, 6, stride, dilation=3),
    ):
        assert convolution(images(4, *size)).shape == (2, 6, height, width)
    assert conv3x3(4, 6).weight.shape == (6, 4, 3, 3)
    assert conv3x3(4, 6, groups=2).weight.shape == (6, 2, 3, 3)
    assert conv1x1(4, 6).weight.shape == (6, 4, 1, 1)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 5)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    "block, shortcut, in_channels, width",
    [
        (block, shortcut, in_channels, width)
        for block in BLOCKS
        for shortcut in SHORTCUTS
        for in_channels, width in [(16, 16), (16, 4), (3, 8)]
        if (block, shortcut, width) != (BasicBlock, "A", 4)  # option A takes no channels away
    ],
)
def test_block_gives_its_width_and_the_size_divided_by_the_stride(block, shortcut, in_channels, width, stride, size):
    out_channels = width * (4 if block is Bottleneck else 1)
    assert block.expansion * width == out_channels
    y = block(in_channels, width, stride, shortcut=shortcut)(images(in_channels, *size))
    assert y.shape == (2, out_channels, -(-size[0] // stride), -(-size[1] // stride))
    assert (y >= 0).all(), "ReLU comes last"


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("block", RESIDUAL)
def test_with_zero_convolutions_a_residual_block_is_the_relu_of_its_shortcut(block, shortcut, stride, training):
    block = without_convolutions(block(8, 8 if block is BasicBlock else 2, stride, shortcut=shortcut))
    block.train(training)
    x = images(8, 7, 7)
    y = block(x)
    torch.testing.assert_close(y, F.relu(block.shortcut(x)), rtol=0, atol=0)
    if shortcut != "C" and stride == 1:
        torch.testing.assert_close(y, F.relu(x), rtol=0, atol=0)
    assert y.any()


def test_with_zero_convolutions_a_plain_block_forgets_its_input():
    assert not without_convolutions(PlainBlock(8, 8))(images(8)).any()


@pytest.mark.parametrize("block", RESIDUAL)
def test_gradient_reaches_the_input_through_the_shortcut_undiminished(block):
    x = images(8).requires_grad_()
    without_convolutions(block(8, 8 if block is BasicBlock else 2))(x).sum().backward()
    torch.testing.assert_close(x.grad, (x > 0).float(), rtol=0, atol=0)


def test_gradient_through_option_a_reaches_the_pixels_it_takes_and_no_others():
    x = images(8, 7, 7).requires_grad_()
    without_convolutions(BasicBlock(8, 16, 2, shortcut="A"))(x).sum().backward()
    expected = torch.zeros_like(x)
    expected[:, :, ::2, ::2] = (x[:, :, ::2, ::2] > 0).float()
    torch.testing.assert_close(x.grad, expected, rtol=0, atol=0)


def test_without_a_shortcut_no_gradient_reaches_the_input_when_the_convolutions_are_zero():
    x = images(8).requires_grad_()
    without_convolutions(PlainBlock(8, 8))(x).sum().backward()
    assert not x.grad.any()


@pytest.mark.parametrize("block", RESIDUAL)
@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_residual_block_is_relu_of_residual_plus_shortcut(block, shortcut):
    block = block(8, 16, 2, shortcut=shortcut).eval()
    x = images(8)
    torch.testing.assert_close(block(x), F.relu(block.residual(x) + block.shortcut(x)), rtol=0, atol=0)


@pytest.mark.parametrize("block", BLOCKS)
def test_hooks_see_each_output_as_it_was(block):
    block, kept = block(8, 16, 2, shortcut="B"), []
    for module in block.modules():
        module.register_forward_hook(lambda module, _, output: kept.append((module, output, output.clone())))
    x = images(8)
    block(x)
    for module, output, copy in kept:
        assert torch.equal(output, copy), f"{module} was overwritten"
    assert torch.equal(x, images(8))


# Shortcuts


@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("in_channels, out_channels, before", [(16, 32, 8), (3, 8, 2), (4, 4, 0), (4, 5, 0)])
def test_option_a_takes_every_strided_pixel_and_adds_channels_of_zeros(in_channels, out_channels, before, stride, size):
    x = images(in_channels, *size)
    y = ZeroPadShortcut(in_channels, out_channels, stride)(x)
    expected = torch.zeros(2, out_channels, *(len(range(0, side, stride)) for side in size))
    for row in range(expected.shape[2]):
        for column in range(expected.shape[3]):
            expected[:, before : before + in_channels, row, column] = x[:, :, row * stride, column * stride]
    torch.testing.assert_close(y, expected, rtol=0, atol=0)


def test_option_a_has_nothing_to_learn():
    shortcut = make_shortcut("A", 16, 32, 2)
    assert isinstance(shortcut, ZeroPadShortcut)
    assert not shortcut.state_dict() and not list(shortcut.parameters())


def test_option_a_refuses_to_take_channels_away_and_names_the_way_out():
    with pytest.raises(ValueError, match=r"32 -> 16.*shortcut='B'"):
        make_shortcut("A", 32, 16)


@pytest.mark.parametrize("option, where_changed", [("A", ZeroPadShortcut), ("B", Projection)])
def test_options_a_and_b_are_the_identity_where_the_shape_stays(option, where_changed):
    assert type(make_shortcut(option, 16, 16, 1)) is nn.Identity
    for changed in [(16, 32, 1), (16, 16, 2), (16, 32, 2)]:
        assert type(make_shortcut(option, *changed)) is where_changed


@pytest.mark.parametrize("shape", [(16, 16, 1), (16, 32, 1), (16, 16, 2), (16, 32, 2), (32, 16, 1)])
def test_option_c_projects_in_every_block(shape):
    assert type(make_shortcut("C", *shape)) is Projection


def test_projection_is_a_1x1_convolution_and_normalisation():
    projection = Projection(8, 12, 2).train()
    x = images(8, 7, 9)
    (weight,) = (p for p in projection.parameters() if p.dim() == 4)
    y = torch.einsum("oi,nihw->nohw", weight[:, :, 0, 0], x[:, :, ::2, ::2])
    y = (y - y.mean((0, 2, 3), keepdim=True)) / (y.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(projection(x), y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("option", ["D", "a", "", None])
@pytest.mark.parametrize("make", [make_shortcut, lambda option, *shape: BasicBlock(*shape, shortcut=option)])
def test_unknown_shortcut_option_names_the_possible_ones(make, option):
    with pytest.raises(ValueError) as error:
        make(option, 16, 16)
    message = str(error.value)
    assert repr(option) in message and all(f"'{known}'" in message for known in "ABC")


# Inside the blocks


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("block", BLOCKS)
def test_no_convolution_has_a_bias_because_normalisation_follows(block, shortcut):
    convolutions = [m for m in block(8, 16, 2, shortcut=shortcut).modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) >= 2 and all(convolution.bias is None for convolution in convolutions)


@pytest.mark.parametrize("block", BLOCKS)
def test_norm_layer_replaces_every_normalisation(block):
    modules = list(block(8, 16, 2, shortcut="B", norm_layer=functools.partial(nn.GroupNorm, 4)).modules())
    convolutions = sum(isinstance(m, nn.Conv2d) for m in modules)
    assert sum(isinstance(m, nn.GroupNorm) for m in modules) == convolutions
    assert not any(isinstance(m, nn.BatchNorm2d) for m in modules)


@pytest.mark.parametrize("stride_in, strides", [("1x1", [(2, 2), (1, 1), (1, 1)]), ("3x3", [(1, 1), (2, 2), (1, 1)])])
def test_bottleneck_takes_the_stride_in_the_convolution_asked_for(stride_in, strides):
    block = Bottleneck(16, 8, 2, stride_in=stride_in)
    convolutions = [m for m in block.residual if isinstance(m, nn.Conv2d)]
    assert [c.kernel_size for c in convolutions] == [(1, 1), (3, 3), (1, 1)]
    assert [c.stride for c in convolutions] == strides
    assert block(images(16)).shape == (2, 32, 4, 4)


def test_bottleneck_is_v1_5_unless_told():
    assert Bottleneck(16, 8, 2).residual.conv2.stride == (2, 2)


def test_unknown_place_for_the_stride_names_the_possible_ones():
    with pytest.raises(ValueError, match="'1x1'.*'3x3'.*'7x7'"):
        Bottleneck(16, 8, 2, stride_in="7x7")


@pytest.mark.parametrize(
    "groups, width_per_group, inner", [(1, 64, 64), (32, 4, 128), (1, 128, 128), (64, 4, 256)], ids=str
)
def test_bottleneck_is_as_wide_inside_as_groups_times_width_per_group(groups, width_per_group, inner):
    block = Bottleneck(16, 64, groups=groups, width_per_group=width_per_group)
    assert [tuple(m.weight.shape) for m in block.residual if isinstance(m, nn.Conv2d)] == [
        (inner, 16, 1, 1),
        (inner, inner // groups, 3, 3),
        (256, inner, 1, 1),
    ]


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_dilated_bottleneck_keeps_the_size_and_sees_further(dilation):
    block = Bottleneck(16, 4, dilation=dilation).eval()
    for p in block.parameters():
        if p.dim() == 4:
            nn.init.ones_(p)  # nothing cancels and no ReLU is off
    x = torch.zeros(1, 16, 11, 11)
    x[:, :, 5, 5] = 1.0
    y = block(x)
    assert y.shape == (1, 16, 11, 11)
    seen = {(5 + dilation * i, 5 + dilation * j) for i in (-1, 0, 1) for j in (-1, 0, 1)}
    assert {tuple(place) for place in y[0].any(0).nonzero().tolist()} == seen


@pytest.mark.parametrize(
    "option", [{"groups": 32}, {"width_per_group": 128}, {"dilation": 2}, {"stride_in": "1x1"}], ids=str
)
@pytest.mark.parametrize("block", [PlainBlock, BasicBlock])
def test_two_convolution_blocks_refuse_groups_width_and_dilation_and_name_what_can(block, option):
    with pytest.raises(ValueError) as error:
        block(16, 16, **option)
    ((name, value),) = option.items()
    message = str(error.value)
    assert block.__name__ in message and f"{name}={value!r}" in message and "Bottleneck" in message


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
def test_plain_block_is_the_basic_block_without_the_addition(stride, training):
    basic = BasicBlock(8, 16, stride, shortcut="A").train(training)
    plain = PlainBlock(8, 16, stride).train(training)
    plain.layers.load_state_dict(basic.residual.state_dict())
    x = images(8, 7, 9)
    torch.testing.assert_close(plain(x), F.relu(basic.residual(x)), rtol=0, atol=0)
    assert [type(m) for m in plain.layers] == [type(m) for m in basic.residual]
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in basic.parameters())


def test_plain_block_is_convolution_norm_relu_convolution_norm_relu():
    block = PlainBlock(8, 16, 2).train()
    x = images(8, 7, 9)
    first, second = (p for p in block.parameters() if p.dim() == 4)
    y = F.relu(F.batch_norm(F.conv2d(x, first, stride=2, padding=1), None, None, training=True))
    y = F.relu(F.batch_norm(F.conv2d(y, second, padding=1), None, None, training=True))
    torch.testing.assert_close(block(x), y)
