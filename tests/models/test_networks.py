"""The networks by name: the counts of the paper and of torchvision, options, seeds and what is recorded of them."""

import functools
import json
import re

import pytest
import torch
from support.networks import FAMILY
from torch import nn

from resnet_lesson.models.blocks import BasicBlock, Bottleneck, PlainBlock
from resnet_lesson.models.networks import CIFAR_DEPTHS, FIXED, build, label, names
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


@functools.cache
def on_meta(name, **options):
    """The network without memory or initialisation: quick, even with 1202 layers."""
    with torch.device("meta"):
        return build(name, **options)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def weighted_layers(network):
    """Convolutions and linear layers, without the projections: how the paper counts depth."""
    return sum(isinstance(m, (nn.Conv2d, nn.Linear)) for n, m in network.named_modules() if "shortcut" not in n)


def pictures(n=2, height=32, width=32):
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", [*(n for n in names() if n not in FAMILY), "resnet8", "plain14", "plain50"])
def test_every_name_builds_a_network_with_its_depth_in_weighted_layers(name):
    network = on_meta(name)
    depth = 50 if name == "lab10_6" else int(re.search(r"\d+", name)[0])
    assert weighted_layers(network) == depth
    assert network.fc.out_features == (1000 if name in FIXED and name != "lab10_6" else 10)
    assert network.spec == {"name": name, "seed": None, "options": {}}


def test_names_are_those_of_the_course():
    imagenet = {*TORCHVISION, "plain18", "plain34", "lab10_6"}
    cifar = {f"{kind}{depth}" for kind in ("resnet", "plain") for depth in PAPER_CIFAR}
    assert set(names()) == imagenet | cifar | set(FAMILY) and set(CIFAR_DEPTHS) == set(PAPER_CIFAR)
    assert len(names()) == len(set(names()))


@pytest.mark.parametrize(
    "name, options, count",
    [
        *((f"{kind}{depth}", {}, count) for depth, count in PAPER_CIFAR.items() for kind in ("resnet", "plain")),
        *((name, {}, count) for name, count in TORCHVISION.items()),
        ("resnet20", {"shortcut": "B"}, 272_474),
        ("resnet50", {"num_classes": 10}, 23_528_522),
        ("resnet34", {"num_classes": 10}, 21_289_802),
        ("resnet50", {"stride_in": "1x1"}, TORCHVISION["resnet50"]),
    ],
    ids=str,
)
def test_networks_have_the_published_number_of_parameters(name, options, count):
    assert parameters(on_meta(name, **options)) == count


@pytest.mark.parametrize("depth", [18, 34])
def test_imagenet_plain_and_option_a_networks_have_equal_parameters(depth):
    assert parameters(on_meta(f"plain{depth}")) == parameters(on_meta(f"resnet{depth}", shortcut="A"))


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
    with torch.no_grad():
        x = network.stem(pictures())
        seen = [tuple(x.shape[1:])]
        for stage in network.stages:
            assert all(type(one) is block for one in stage)
            x = stage(x)
            seen.append(tuple(x.shape[1:]))
    assert seen == shapes


@pytest.mark.parametrize("height, width", [(4, 4), (17, 23), (40, 32)])
def test_cifar_networks_take_images_of_any_size(height, width):
    assert build("resnet8", num_classes=7)(pictures(2, height, width)).shape == (2, 7)


@pytest.mark.parametrize(
    "name, options, projections",
    [("resnet20", {}, 0), ("resnet20", {"shortcut": "B"}, 2), ("resnet20", {"shortcut": "C"}, 9), ("resnet50", {}, 4)],
)
def test_projections_by_the_shortcut_option_a_for_cifar_and_b_for_imagenet(name, options, projections):
    network = on_meta(name, **options)
    assert sum(isinstance(m, nn.Conv2d) for n, m in network.named_modules() if "shortcut" in n) == projections


def test_convolutions_start_as_in_he_2015():
    network = build("resnet20", seed=0)
    large = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.weight.numel() > 2000]
    assert len(large) > 15
    for m in large:
        assert m.weight.std().item() == pytest.approx((2 / (m.out_channels * 9)) ** 0.5, rel=0.08)
        assert abs(m.weight.mean().item()) < 4 * m.weight.std().item() / m.weight.numel() ** 0.5


@pytest.mark.parametrize("name", ["resnet20", "lab10_6"])
@pytest.mark.parametrize("zero", [True, False])
def test_zero_init_residual_starts_every_residual_function_at_zero(name, zero):
    network = build(name, zero_init_residual=zero)
    x = network.stem(pictures())
    for block in network.stages.modules():
        if hasattr(block, "residual"):
            assert bool(block.residual(x).any()) != zero
            x = block(x)


# Options and names that do not exist


@pytest.mark.parametrize(
    "name, options, said",
    [
        ("resnet18", {"groups": 32}, "no option of networks made of BasicBlock: 'groups'.*There are: .*shortcut"),
        ("resnet20", {"num_class": 7}, "'num_class'. Did you mean 'num_classes'"),
        ("resnet50", {"norm_layer": nn.GroupNorm}, "made of Bottleneck: 'norm_layer'"),
        ("plain20", {"shortcut": "B"}, "made of PlainBlock: 'shortcut'"),
        ("preresnet20", {"stride_in": "1x1"}, "made of PreActBlock: 'stride_in'"),
        ("seresnet50", {"width_per_group": 4}, "made of SEBottleneck: 'width_per_group'"),
        ("resnet20", {"shortcut": "D"}, "shortcut option 'D'"),
        ("resnet50", {"stride_in": "2x2"}, "'1x1'.*'3x3'"),
        ("resnet18", {"stem": "cifar10"}, "no stem 'cifar10'.*Did you mean 'cifar'"),
    ],
)
def test_unknown_options_are_refused_in_words(name, options, said):
    with pytest.raises(ValueError, match=said):
        build(name, **options)


def test_a_block_of_your_own_needs_three_arguments_and_may_take_more():
    class Own(BasicBlock):
        def __init__(self, in_channels, width, stride):
            super().__init__(in_channels, width, stride)

    class Any(BasicBlock):
        def __init__(self, in_channels, width, stride=1, **options):
            super().__init__(in_channels, width, stride, options["shortcut"])

    with pytest.raises(TypeError, match="stride"):  # a stage's other blocks have stride 1 by default
        ResNet(Own, (2,), (8,), (1,), "cifar", 10)
    assert ResNet(Own, (1,), (8,), (1,), "cifar", 10)(pictures()).shape == (2, 10)
    assert ResNet(Any, (2,), (8,), (1,), "cifar", 10, shortcut="C")(pictures()).shape == (2, 10)


@pytest.mark.parametrize(
    "wrong, near", [("resnet21", ""), ("resnt50", "resnet50"), ("plan56", "plain56"), ("lab10-6", "lab10_6")]
)
def test_unknown_name_gets_a_suggestion_and_the_list(wrong, near):
    with pytest.raises(ValueError, match=f"no network '{wrong}'. Did you mean .*{near}") as error:
        build(wrong)
    listed = str(error.value).partition("There are: ")[2]
    assert ("6n + 2 layers" in listed) == (wrong == "resnet21")
    assert listed.split(".")[0].split(", ") == names()


@pytest.mark.parametrize("name", ["", "resnet", "resnet2", "resnet-20", "xresnet20", "resnet20x", "RESNET20"])
def test_names_are_matched_as_a_whole(name):
    with pytest.raises(ValueError, match="no network"):
        build(name)


@pytest.mark.parametrize(
    "depths, widths, strides, said",
    [
        ((2, 2, 2), (64, 128, 256, 512), (1, 2, 2, 2), "3, 4 and 4"),
        ((2, 2, 2, 2), (64, 128, 256), (1, 2, 2, 2), "4, 3 and 4"),
        ((2, 2, 2, 2), (64, 128, 256, 512), (1, 2, 2), "4, 4 and 3"),
    ],
)
def test_unequal_numbers_of_depths_widths_and_strides_are_told_apart(depths, widths, strides, said):
    with pytest.raises(ValueError, match=f"one depth, width and stride for each stage; got {said}"):
        ResNet(Bottleneck, depths, widths, strides)


def test_stem_width_is_the_first_width_unless_given():
    assert on_meta("lab10_6", stem_width=24).stem.conv1.out_channels == 24
    assert on_meta("lab10_6").stem.conv1.out_channels == 16


def test_labels_are_names_as_people_write_them():
    assert [label(name) for name in ("plain56", "resnet20", "lab10_6")] == ["plain-56", "ResNet-20", "lab10_6"]


# Seeds and records


def same_weights(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_seed_gives_torchs_weights_of_that_seed_and_leaves_its_random_state_alone(monkeypatch):
    def touched(*_):
        raise AssertionError("seeds the GPU")

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        by_hand = build("resnet8")
        assert not same_weights(by_hand, build("resnet8")), "without a seed it is torch's own random state"
    monkeypatch.setattr(torch.cuda, "manual_seed_all", touched)
    before = torch.get_rng_state()
    assert same_weights(by_hand, build("resnet8", seed=3)) and not same_weights(by_hand, build("resnet8", seed=4))
    assert torch.equal(torch.get_rng_state(), before)


def test_spec_tells_as_json_how_the_network_was_made_and_makes_it_again():
    network = build("resnet8", seed=2, shortcut="C", num_classes=5)
    spec = json.loads(json.dumps(network.spec))
    assert spec == {"name": "resnet8", "seed": 2, "options": {"num_classes": 5, "shortcut": "C"}}
    assert same_weights(network, build(spec["name"], seed=spec["seed"], **spec["options"]))
    stem = nn.Conv2d(3, 64, 1)
    assert "Conv2d" in json.loads(json.dumps(build("resnet18", stem=stem).spec))["options"]["stem"]
