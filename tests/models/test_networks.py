"""The networks by name: the paper's counts, options, seeds, and records (torchvision's are in test_weights.py)."""

import functools
import json

import pytest
import torch
from torch import nn

from resnet_lesson.models.blocks import Bottleneck
from resnet_lesson.models.networks import build, label, names
from resnet_lesson.models.resnet import ResNet

PAPER_CIFAR = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962, 1202: 19_421_274}  # table 6, exact


@functools.cache
def on_meta(name, **options):
    """The network without memory or initialisation: quick, even with 1202 layers."""
    with torch.device("meta"):
        return build(name, **options)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def pictures(n=2, height=32, width=32):
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", names())
def test_every_name_of_the_list_builds_a_network_and_says_so(name):
    network = on_meta(name)
    assert network.fc.out_features in (10, 1000)
    assert network.spec == {"name": name, "seed": None, "options": {}}


@pytest.mark.parametrize(
    "name, options, count",
    [
        *((f"resnet{depth}", {}, count) for depth, count in PAPER_CIFAR.items()),
        ("plain56", {}, PAPER_CIFAR[56]),
        ("resnet20", {"shortcut": "B"}, 272_474),
        ("resnet20", {"shortcut": "C"}, 283_962),
        ("resnet50", {"num_classes": 10}, 23_528_522),
        ("resnet50", {"stride_in": "1x1"}, 25_557_032),
        ("plain34", {}, 21_623_848),
        ("resnet34", {"shortcut": "A"}, 21_623_848),
    ],
    ids=str,
)
def test_networks_have_the_published_number_of_parameters(name, options, count):
    assert parameters(on_meta(name, **options)) == count


@pytest.mark.parametrize("height, width", [(4, 4), (17, 23)])
def test_cifar_networks_take_images_of_any_size(height, width):
    assert build("resnet8", num_classes=7)(pictures(2, height, width)).shape == (2, 7)


def test_convolutions_start_as_in_he_2015():
    large = [m for m in build("resnet20", seed=0).modules() if isinstance(m, nn.Conv2d) and m.weight.numel() > 2000]
    assert len(large) > 15
    for m in large:
        assert m.weight.std().item() == pytest.approx((2 / (m.out_channels * 9)) ** 0.5, rel=0.08)
        assert abs(m.weight.mean().item()) < 4 * m.weight.std().item() / m.weight.numel() ** 0.5


# Options and names that do not exist


@pytest.mark.parametrize(
    "name, options, said",
    [
        ("resnet20", {"num_class": 7}, "resnet20 cannot be built.*BasicBlock.*'num_class'"),
        ("plain20", {"shortcut": "B"}, "PlainBlock.*'shortcut'"),
        ("seresnet50", {"width_per_group": 4}, "SEBottleneck.*'width_per_group'"),
        ("resnet20", {"shortcut": "D"}, "shortcut option 'D'"),
        ("resnet18", {"stem": "cifar10"}, "no stem 'cifar10'.*Did you mean 'cifar'"),
    ],
)
def test_unknown_options_are_refused_in_words(name, options, said):
    with pytest.raises(ValueError, match=said):
        build(name, **options)


@pytest.mark.parametrize("wrong", ["resnt50", "lab10-6", "", "resnet21", "xresnet20", "resnet20x", 20])
def test_a_name_that_does_not_exist_as_a_whole_gets_a_suggestion_and_the_list(wrong):
    suggestion = {"resnt50": " Did you mean 'resnet50'", "lab10-6": " Did you mean 'lab10_6'"}.get(wrong, "")
    with pytest.raises(ValueError, match=f"no network {wrong!r}.{suggestion}.*{', '.join(names())}"):
        build(wrong)


def test_unequal_numbers_of_depths_widths_and_strides_are_refused():
    with pytest.raises(ValueError, match="one depth, width and stride per stage, not 3, 4 and 4"):
        ResNet(Bottleneck, (2, 2, 2))


def test_labels_are_names_as_people_write_them():
    assert [label(name) for name in ("plain56", "resnet20", "lab10_6")] == ["plain-56", "ResNet-20", "lab10_6"]


# Seeds and records


def same_weights(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_seed_gives_torchs_weights_of_that_seed_and_leaves_its_random_state_alone():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        by_hand = build("resnet8")
        assert not same_weights(by_hand, build("resnet8")), "without a seed it is torch's own random state"
    before = torch.get_rng_state()
    assert same_weights(by_hand, build("resnet8", seed=3)) and not same_weights(by_hand, build("resnet8", seed=4))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["resnet8", "wrn10_1", "resnext11_2x8d", "sdresnet8"])
def test_spec_tells_as_json_how_the_network_was_made_and_makes_it_again(name):
    network = build(name, seed=2, shortcut="B", num_classes=5)
    spec = json.loads(json.dumps(network.spec))
    assert spec == {"name": name, "seed": 2, "options": {"num_classes": 5, "shortcut": "B"}}
    assert same_weights(network, build(spec["name"], seed=spec["seed"], **spec["options"]))
    stem = nn.Conv2d(3, 64, 1)
    assert "Conv2d" in json.loads(json.dumps(build("resnet18", stem=stem).spec))["options"]["stem"]
