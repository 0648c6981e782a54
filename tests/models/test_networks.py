"""The networks: the counts of the paper and of torchvision, and torchvision's outputs and gradients."""

import functools
import json
import re

import pytest
import torch
import torch.nn.functional as F
import torchvision
from support.networks import FAMILY
from torch import nn

from resnet_lesson.models.blocks import BasicBlock, Bottleneck, PlainBlock
from resnet_lesson.models.networks import (
    CIFAR_DEPTHS,
    FIXED,
    build,
    cifar_resnet,
    from_torchvision,
    imagenet_resnet,
    lab10_6,
    names,
    to_torchvision,
)
from resnet_lesson.models.resnet import ResNet

PAPER_CIFAR = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962, 1202: 19_421_274}  # table 6, exact
TORCHVISION = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x8d": 88_791_336,
    "resnext101_64x4d": 83_455_272,
    "wide_resnet50_2": 68_883_240,
    "wide_resnet101_2": 126_886_696,
}
DILATED = {"replace_stride_with_dilation": [False, True, True]}
GROUP_NORM = {"norm_layer": functools.partial(nn.GroupNorm, 8)}
ALIKE = [(name, {}) for name in TORCHVISION] + [
    ("resnet50", DILATED),
    ("resnet50", {"replace_stride_with_dilation": [True, False, True]}),
    ("resnet18", GROUP_NORM),
    ("resnet50", {"groups": 4, "width_per_group": 24}),
]


@functools.cache
def on_meta(name):
    """The network without memory or initialisation: quick, even with 1202 layers."""
    with torch.device("meta"):
        return build(name)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def weighted_layers(network):
    """Convolutions and linear layers, without the projections: how the paper counts depth."""
    return sum(isinstance(m, (nn.Conv2d, nn.Linear)) for n, m in network.named_modules() if "shortcut" not in n)


def twins(name, **options):
    """torchvision's network and ours with the same weights and running statistics, none at a default."""
    with torch.device("meta"):
        theirs, ours = torchvision.models.get_model(name, **options), build(name, **options)
    generator = torch.Generator().manual_seed(0)

    def drawn(key, like):
        if not like.is_floating_point():
            return torch.zeros(like.shape, dtype=like.dtype)
        values = torch.empty(like.shape).uniform_(-1, 1, generator=generator)
        if like.dim() > 1:
            return values.mul_((6 / like[0].numel()) ** 0.5)
        return values.mul_(0.5).add_(1) if key.endswith(("weight", "running_var")) else values.mul_(0.1)

    weights = {key: drawn(key, like) for key, like in theirs.state_dict().items()}
    theirs.load_state_dict(weights, assign=True)
    ours.load_state_dict(from_torchvision({k: v.clone() for k, v in weights.items()}), assign=True)
    return theirs, ours


def pictures(n=2, height=64, width=64):
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(1))


# Every network


@pytest.mark.parametrize("name", [name for name in names() if name not in FAMILY])
def test_every_name_builds_a_network_with_its_depth_in_weighted_layers(name):
    network = on_meta(name)
    depth = 50 if name == "lab10_6" else int(re.search(r"\d+", name)[0])
    assert weighted_layers(network) == depth
    assert network.fc.out_features == (1000 if name in FIXED and name != "lab10_6" else 10)
    assert network.spec == {"name": name, "seed": None, "options": {}}


def test_names_are_those_of_the_course():
    imagenet = {*TORCHVISION, "plain18", "plain34", "lab10_6"}
    cifar = {f"{kind}{depth}" for kind in ("resnet", "plain") for depth in PAPER_CIFAR}
    assert set(names()) == imagenet | cifar | set(FAMILY)
    assert len(names()) == len(set(names()))


@pytest.mark.parametrize("depth, count", PAPER_CIFAR.items())
def test_cifar_networks_have_the_parameters_of_table_6_plain_and_residual_alike(depth, count):
    assert parameters(on_meta(f"resnet{depth}")) == count
    assert parameters(on_meta(f"plain{depth}")) == count


def test_option_b_adds_two_projections_to_resnet20():
    assert parameters(build("resnet20", shortcut="B")) == 272_474


@pytest.mark.parametrize("name, count", TORCHVISION.items())
def test_imagenet_networks_have_the_parameters_of_torchvision(name, count):
    assert parameters(on_meta(name)) == count


@pytest.mark.parametrize("name, count", [("resnet50", 23_528_522), ("resnet34", 21_289_802)])
def test_ten_classes_instead_of_a_thousand(name, count):
    with torch.device("meta"):
        assert parameters(build(name, num_classes=10)) == count


@pytest.mark.parametrize("depth", [18, 34])
def test_imagenet_plain_and_option_a_networks_have_equal_parameters(depth):
    with torch.device("meta"):
        assert parameters(build(f"plain{depth}")) == parameters(build(f"resnet{depth}", shortcut="A"))


@pytest.mark.parametrize(
    "name, block, shapes",
    [
        ("resnet20", BasicBlock, [(16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8)]),
        ("plain20", PlainBlock, [(16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8)]),
        ("lab10_6", Bottleneck, [(16, 32, 32), (64, 32, 32), (128, 32, 32), (256, 16, 16), (512, 8, 8)]),
    ],
)
def test_small_networks_keep_the_resolution_of_small_images(name, block, shapes):
    network = build(name).eval()
    x, seen = pictures(2, 32, 32), []
    with torch.no_grad():
        x = network.stem(x)
        seen.append(tuple(x.shape[1:]))
        for stage in network.stages:
            assert all(type(one) is block for one in stage)
            x = stage(x)
            seen.append(tuple(x.shape[1:]))
    assert seen == shapes


@pytest.mark.parametrize("height, width", [(4, 4), (17, 23), (40, 32)])
def test_cifar_networks_take_images_of_any_size(height, width):
    assert cifar_resnet(8, num_classes=7)(pictures(2, height, width)).shape == (2, 7)


@pytest.mark.parametrize("shortcut, projections", [("A", 0), ("B", 2), ("C", 9)])
def test_cifar_network_has_projections_by_its_shortcut_option(shortcut, projections):
    network = build("resnet20", shortcut=shortcut)
    found = sum(isinstance(m, nn.Conv2d) for n, m in network.named_modules() if "shortcut" in n)
    assert found == projections


def test_cifar_networks_use_option_a_and_imagenet_networks_option_b_by_default():
    assert not any("shortcut" in key for key in on_meta("resnet20").state_dict())
    assert sum(key.endswith("shortcut.0.weight") for key in on_meta("resnet50").state_dict()) == 4


def test_v1_strides_in_the_1x1_convolution_and_has_the_same_parameters():
    with torch.device("meta"):
        v1 = build("resnet50", stride_in="1x1")
    strided = {n.rpartition(".")[2] for n, m in v1.stages.named_modules() if getattr(m, "stride", 0) == (2, 2)}
    assert strided == {"conv1", "0"}, "the first convolution and the projection"
    assert parameters(v1) == TORCHVISION["resnet50"]


def test_norm_layer_reaches_stem_blocks_and_projections():
    network = build("resnet18", **GROUP_NORM)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert sum(isinstance(m, nn.GroupNorm) for m in network.modules()) == 20


def test_convolutions_start_as_in_he_2015():
    network = build("resnet20", seed=0)
    large = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.weight.numel() > 2000]
    assert len(large) > 15
    for m in large:
        assert m.weight.std().item() == pytest.approx((2 / (m.out_channels * 9)) ** 0.5, rel=0.08)
        assert abs(m.weight.mean().item()) < 4 * m.weight.std().item() / m.weight.numel() ** 0.5
    for m in network.modules():
        if isinstance(m, nn.BatchNorm2d):
            assert (m.weight == 1).all() and not m.bias.any()


# torchvision


@pytest.mark.parametrize(
    "name, options", ALIKE, ids=lambda value: ",".join(value) if isinstance(value, dict) else value
)
def test_outputs_equal_torchvisions_on_the_same_weights(name, options):
    theirs, ours = (network.eval() for network in twins(name, **options))
    x = pictures(1)
    with torch.no_grad():
        expected = theirs(x)
        assert expected.std() > 0.01
        torch.testing.assert_close(ours(x), expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item())


@pytest.mark.parametrize(
    "name, options",
    [("resnet18", {}), ("resnet50", {}), ("resnet50", DILATED)],
    ids=["resnet18", "resnet50", "dilated"],
)
def test_gradients_and_running_statistics_equal_torchvisions_in_training(name, options):
    theirs, ours = (network.train() for network in twins(name, **options))
    x, labels = pictures(), torch.tensor([3, 700])
    for network in (theirs, ours):
        F.cross_entropy(network(x), labels).backward()
    expected = {key: p.grad for key, p in theirs.named_parameters()}
    found = to_torchvision({key: p.grad for key, p in ours.named_parameters()})
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        assert gradient.any(), key
        torch.testing.assert_close(found[key], gradient, rtol=1e-5, atol=1e-5 * gradient.abs().max().item(), msg=key)
    for key, value in to_torchvision(ours.state_dict()).items():
        torch.testing.assert_close(value, theirs.state_dict()[key], rtol=1e-5, atol=1e-6, msg=key)


@pytest.mark.parametrize(
    "name, options", ALIKE, ids=lambda value: ",".join(value) if isinstance(value, dict) else value
)
def test_conversion_there_and_back_keeps_every_key_and_tensor(name, options):
    with torch.device("meta"):
        theirs, ours = torchvision.models.get_model(name, **options).state_dict(), build(name, **options).state_dict()
    assert from_torchvision(theirs).keys() == ours.keys()
    assert to_torchvision(ours).keys() == theirs.keys()
    for weights, there, back in [(theirs, from_torchvision, to_torchvision), (ours, to_torchvision, from_torchvision)]:
        again = back(there(weights))
        assert list(again) == list(weights)
        assert all(again[key] is weights[key] for key in weights)
    assert {key: value.shape for key, value in to_torchvision(ours).items()} == {k: v.shape for k, v in theirs.items()}


def test_our_weights_load_into_torchvision():
    ours, theirs = build("resnet18", seed=0).eval(), torchvision.models.resnet18().eval()
    theirs.load_state_dict(to_torchvision(ours.state_dict()))
    x = pictures(1)
    with torch.no_grad():
        torch.testing.assert_close(theirs(x), ours(x))


def test_weights_of_a_plain_network_are_refused_in_words():
    with pytest.raises(ValueError, match="plain network.*torchvision has residual networks only"):
        to_torchvision(on_meta("plain18").state_dict())


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_zero_init_residual_zeroes_what_torchvision_zeroes(name):
    theirs = torchvision.models.get_model(name, zero_init_residual=True).state_dict()
    ours = to_torchvision(build(name, zero_init_residual=True).state_dict())
    zero = {key for key, value in theirs.items() if not value.any()}
    assert any(key.endswith("weight") for key in zero)
    assert {key for key, value in ours.items() if not value.any()} == zero


# Options


@pytest.mark.parametrize("name", ["resnet20", "lab10_6"])
@pytest.mark.parametrize("zero", [True, False])
def test_zero_init_residual_starts_every_residual_function_at_zero(name, zero):
    network = build(name, zero_init_residual=zero)
    x = network.stem(pictures(2, 32, 32))
    for block in network.stages.modules():
        if hasattr(block, "residual"):
            assert bool(block.residual(x).any()) != zero
            x = block(x)


@pytest.mark.parametrize("depth", [-4, 0, 2, 7, 9, 18, 21, 55, 1200])
@pytest.mark.parametrize("plain", [True, False])
def test_cifar_depth_that_is_not_6n_plus_2_names_the_nearest_that_are(depth, plain):
    with pytest.raises(ValueError, match=r"6n \+ 2") as error:
        cifar_resnet(depth, block=PlainBlock if plain else BasicBlock)
    near = [d for d in range(8, 1300, 6) if abs(d - depth) < 6] or [8]
    assert f"not {depth}." in str(error.value)
    for one in near:
        assert str(one) in str(error.value).rpartition("Near it:")[2]


@pytest.mark.parametrize("depth", [20, 21, 0])
def test_unknown_imagenet_depth_names_the_possible_ones(depth):
    with pytest.raises(ValueError, match=f"no ImageNet ResNet with {depth} layers.*18, 34, 50, 101, 152"):
        imagenet_resnet(depth)


@pytest.mark.parametrize("depth", [50, 21])
def test_unknown_imagenet_plain_depth_names_18_and_34_only(depth):
    with pytest.raises(ValueError, match=f"no ImageNet plain network with {depth} layers.*depth of 18, 34\\.$"):
        imagenet_resnet(depth, variant="plain")


@pytest.mark.parametrize(
    "wrong, near", [("resnet21", "resnet20"), ("resnt50", "resnet50"), ("plan56", "plain56"), ("lab10-6", "lab10_6")]
)
def test_unknown_name_gets_a_suggestion_and_the_list(wrong, near):
    with pytest.raises(ValueError, match=f"no network '{wrong}'") as error:
        build(wrong)
    suggestion, _, listed = str(error.value).partition("There are: ")
    assert "Did you mean" in suggestion
    assert f"'{near}'" in suggestion or wrong == "resnet21"  # as near to other names
    assert ("6n + 2 layers" in listed) == (wrong == "resnet21")
    assert listed.split(".")[0].split(", ") == names()


@pytest.mark.parametrize("name", ["", "resnet", "resnet2", "resnet-20", "xresnet20", "resnet20x", "RESNET20"])
def test_names_are_matched_as_a_whole(name):
    with pytest.raises(ValueError, match="no network"):
        build(name)


@pytest.mark.parametrize("name, layers", [("resnet8", 8), ("plain14", 14), ("resnet26", 26), ("plain50", 50)])
def test_other_depths_of_6n_plus_2_build_by_name(name, layers):
    assert weighted_layers(on_meta(name)) == layers and on_meta(name).fc.out_features == 10


@pytest.mark.parametrize(
    "depths, widths, strides, dilated, said",
    [
        ((2, 2, 2), (64, 128, 256, 512), (1, 2, 2, 2), None, "3, 4, 4 and 2"),
        ((2, 2, 2, 2), (64, 128, 256), (1, 2, 2, 2), None, "4, 3, 4 and 3"),
        ((2, 2, 2, 2), (64, 128, 256, 512), (1, 2, 2), None, "4, 4, 3 and 3"),
        ((2, 2, 2, 2), (64, 128, 256, 512), (1, 2, 2, 2), [False, True], "4, 4, 4 and 2"),
    ],
)
def test_unequal_numbers_of_depths_widths_and_strides_are_told_apart(depths, widths, strides, dilated, said):
    with pytest.raises(ValueError, match=f"one depth, width and stride for each stage.*got {said}"):
        ResNet(Bottleneck, depths, widths, strides, replace_stride_with_dilation=dilated)


def test_unknown_stem_names_the_possible_ones():
    with pytest.raises(ValueError, match="no stem 'cifar10'.*Did you mean 'cifar'.*imagenet, cifar"):
        ResNet(BasicBlock, (1, 1, 1, 1), stem="cifar10")


@pytest.mark.parametrize(
    "name, options",
    [
        ("resnet18", {"groups": 32}),
        ("resnet34", {"width_per_group": 128}),
        ("plain20", {"groups": 2}),
        ("resnet18", {"replace_stride_with_dilation": [False, False, True]}),
    ],
    ids=str,
)
def test_networks_of_two_convolution_blocks_refuse_what_only_the_bottleneck_can(name, options):
    with pytest.raises(ValueError, match="need the Bottleneck block"):
        build(name, **options)


@pytest.mark.parametrize(
    "name, options, said",
    [("resnet20", {"shortcut": "D"}, "shortcut option 'D'"), ("resnet50", {"stride_in": "2x2"}, "'1x1'.*'3x3'")],
)
def test_unknown_option_values_are_refused_through_build(name, options, said):
    with pytest.raises(ValueError, match=said):
        build(name, **options)


def test_stem_width_is_the_first_width_unless_given():
    assert lab10_6(stem_width=24).stem.conv1.out_channels == 24
    assert lab10_6().stem.conv1.out_channels == 16


# Seeds and records


def same_weights(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_seed_gives_the_same_weights_whatever_was_drawn_before():
    first = build("resnet20", seed=3)
    torch.rand(17)
    assert same_weights(first, build("resnet20", seed=3))
    assert not same_weights(first, build("resnet20", seed=4))


def test_a_seed_gives_the_weights_of_torchs_generator_with_that_seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        by_hand = build("resnet8")
    assert same_weights(by_hand, build("resnet8", seed=5))


def test_building_with_a_seed_leaves_torchs_random_state_alone(monkeypatch):
    def touched(*_):
        raise AssertionError("seeds the GPU")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", touched)
    before = torch.get_rng_state()
    build("resnet8", seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_building_without_a_seed_draws_from_torchs_random_state():
    before = torch.get_rng_state()
    first = build("resnet8")
    assert not torch.equal(torch.get_rng_state(), before)
    assert not same_weights(first, build("resnet8"))


@pytest.mark.parametrize(
    "options, recorded",
    [
        ({}, {}),
        ({"shortcut": "B", "num_classes": 7}, {"num_classes": 7, "shortcut": "B"}),
        ({"norm_layer": nn.InstanceNorm2d}, {"norm_layer": "InstanceNorm2d"}),
        ({"replace_stride_with_dilation": (False, False)}, {"replace_stride_with_dilation": [False, False]}),
        ({"zero_init_residual": True, "stem_width": None}, {"stem_width": None, "zero_init_residual": True}),
    ],
)
def test_spec_tells_as_json_how_the_network_was_made(options, recorded):
    spec = build("resnet8", seed=1, **options).spec
    assert json.loads(json.dumps(spec)) == {"name": "resnet8", "seed": 1, "options": recorded}


def test_spec_with_a_partial_as_norm_layer_is_json_too():
    spec = build("resnet8", **GROUP_NORM).spec
    assert "GroupNorm" in json.loads(json.dumps(spec))["options"]["norm_layer"]


def test_spec_builds_the_same_network_again():
    network = build("resnet8", seed=2, shortcut="C", num_classes=5)
    spec = json.loads(json.dumps(network.spec))
    assert same_weights(network, build(spec["name"], seed=spec["seed"], **spec["options"]))


def test_cifar_depths_are_those_of_table_6():
    assert set(CIFAR_DEPTHS) == set(PAPER_CIFAR)
