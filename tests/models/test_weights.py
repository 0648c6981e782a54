"""Weights from elsewhere: torchvision's outputs and gradients, the names of well-known repositories, and refusals."""

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from resnet_lesson import LessonError, build
from resnet_lesson.models.blocks import ZeroPadShortcut
from resnet_lesson.models.family import dilate
from resnet_lesson.models.weights import from_torchvision, load_weights, to_torchvision


def pictures(n=2, size=64):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def random_weights(shapes):
    """For each name a tensor, none of them at a default."""
    generator = torch.Generator().manual_seed(0)

    def one(key, like):
        if not like.is_floating_point():
            return torch.zeros(like.shape, dtype=like.dtype)
        values = torch.empty(like.shape).uniform_(-1, 1, generator=generator)
        if like.dim() > 1:
            return values.mul_((6 / like[0].numel()) ** 0.5)
        return values.mul_(0.5).add_(1) if key.endswith(("weight", "running_var")) else values.mul_(0.1)

    return {key: one(key, like) for key, like in shapes.items()}


def twins(name, **options):
    """torchvision's network and ours with the same weights and running statistics."""
    with torch.device("meta"):
        theirs, ours = torchvision.models.get_model(name, **options), build(name)
    weights = random_weights(theirs.state_dict())
    theirs.load_state_dict(weights, assign=True)
    ours.load_state_dict(from_torchvision({k: v.clone() for k, v in weights.items()}), assign=True)
    return theirs, ours


@pytest.mark.parametrize("name", ["resnet34", "resnext50_32x4d"])
def test_outputs_equal_torchvisions_on_the_same_weights(name):
    theirs, ours = (network.eval() for network in twins(name))
    with torch.no_grad():
        expected = theirs(pictures(1))
        assert expected.std() > 0.01
        torch.testing.assert_close(ours(pictures(1)), expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item())


@pytest.mark.parametrize("name, dilated", [("resnet18", []), ("resnet50", [1, 3])])
def test_gradients_and_running_statistics_equal_torchvisions_in_training(name, dilated):
    options = {"replace_stride_with_dilation": [stage in dilated for stage in (1, 2, 3)]} if dilated else {}
    theirs, ours = twins(name, **options)
    ours = dilate(ours, dilated)
    for network in (theirs, ours):
        F.cross_entropy(network.train()(pictures()), torch.tensor([3, 700])).backward()
    expected = {key: p.grad for key, p in theirs.named_parameters()}
    found = to_torchvision({key: p.grad for key, p in ours.named_parameters()})
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        assert gradient.any(), key
        torch.testing.assert_close(found[key], gradient, rtol=1e-5, atol=1e-5 * gradient.abs().max().item(), msg=key)
    for key, value in to_torchvision(ours.state_dict()).items():
        torch.testing.assert_close(value, theirs.state_dict()[key], rtol=1e-5, atol=1e-6, msg=key)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "wide_resnet50_2"])
def test_conversion_there_and_back_keeps_every_key_and_tensor(name):
    with torch.device("meta"):
        theirs, ours = torchvision.models.get_model(name).state_dict(), build(name).state_dict()
    for weights, there, back in [(theirs, from_torchvision, to_torchvision), (ours, to_torchvision, from_torchvision)]:
        again = back(there(weights))
        assert list(again) == list(weights)
        assert all(again[key] is weights[key] for key in weights)
    assert {key: value.shape for key, value in to_torchvision(ours).items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_zero_init_residual_zeroes_what_torchvision_zeroes(name):
    theirs = torchvision.models.get_model(name, zero_init_residual=True).state_dict()
    ours = to_torchvision(build(name, zero_init_residual=True).state_dict())
    zero = {key for key, value in theirs.items() if not value.any()}
    assert any(key.endswith("weight") for key in zero)
    assert {key for key, value in ours.items() if not value.any()} == zero


@pytest.mark.parametrize(
    "name, said",
    [
        ("plain18", "stages.0.0.layers.conv1.weight"),
        ("seresnet18", "stages.0.0.residual.se"),
        ("resnet50d", "stem.conv2.weight"),
        ("preresnet8", "stages.1.0.before.bn1"),
    ],
)
def test_to_torchvision_refuses_layers_that_torchvision_does_not_have(name, said):
    with torch.device("meta"):
        weights = build(name).state_dict()
    with pytest.raises(ValueError, match=f"torchvision's ResNet has no {said}.*resnet50"):
        to_torchvision(weights)


@pytest.mark.parametrize("key", ["module.conv1.weight", "layer1.0.shortcut.0.weight"])
def test_from_torchvision_refuses_names_that_are_not_torchvisions(key):
    with pytest.raises(ValueError, match=f"torchvision's ResNet has no weights '{key}'"):
        from_torchvision({key: torch.zeros(1)})


# --- load_weights: the two repositories, written as they are


class TheirBlock(nn.Module):
    """kuangliu's BasicBlock; akamaster's is the same with option A."""

    def __init__(self, in_channels, width, stride, option):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != width:
            self.shortcut = ZeroPadShortcut(in_channels, width, stride)
            if option == "B":
                conv = nn.Conv2d(in_channels, width, 1, stride, bias=False)
                self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(width))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class Theirs(nn.Module):
    """conv1, bn1, layer1, layer2, ..., linear."""

    def __init__(self, widths, depth, option):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0])
        channels, self.layers = widths[0], len(widths)
        for i, width in enumerate(widths):
            inputs = [channels, *[width] * (depth - 1)]
            strides = [2 if i else 1, *[1] * (depth - 1)]
            blocks = [TheirBlock(c, width, s, option) for c, s in zip(inputs, strides, strict=True)]
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
            channels = width
        self.linear = nn.Linear(channels, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for i in range(self.layers):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.linear(x.mean((2, 3)))


def akamaster():
    return Theirs((16, 32, 64), 3, "A"), build("resnet20")


def kuangliu():
    return Theirs((64, 128, 256, 512), 2, "B"), build("resnet18", stem="cifar", num_classes=10)


def torchvisions():
    return torchvision.models.resnet18(), build("resnet18")


def ours():
    return build("resnet8"), build("resnet8")


PACKED = {
    "as they are": lambda weights: weights,
    "both": lambda weights: {f"module._orig_mod.{key}": value for key, value in weights.items()},
    "in a checkpoint": lambda weights: {"epoch": 3, "state_dict": weights, "best_prec1": 91.0},
    "in kuangliu's": lambda weights: {"net": {f"module.{key}": value for key, value in weights.items()}, "acc": 95.0},
    "without counters": lambda weights: {k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize(
    "pair, packed",
    [
        *((akamaster, packed) for packed in PACKED),
        *((pair, "both") for pair in (kuangliu, torchvisions, ours)),
    ],
)
def test_weights_are_loaded_by_whatever_names_they_go(pair, packed):
    theirs, mine = pair()
    theirs.load_state_dict(random_weights(theirs.state_dict()))
    assert load_weights(mine, PACKED[packed](theirs.state_dict())) is mine
    with torch.no_grad():
        expected = theirs.eval()(pictures(size=32))
        torch.testing.assert_close(mine.eval()(pictures(size=32)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "pair, into, said",
    [
        (akamaster, "plain20", "akamaster's or kuangliu's.* not in this network, such as stages.0.0.residual.conv1"),
        (kuangliu, "resnet18", "of another shape, such as stem.conv1.weight"),
        (torchvisions, "resnet34", "named as in torchvision.* missing, such as stages.0.2"),
        (ours, "resnet14", "named as in this course, are of another network"),
    ],
)
def test_weights_of_another_network_are_refused_in_one_line_and_nothing_is_loaded(pair, into, said):
    network = build(into, seed=0)
    before = OrderedDict((key, value.clone()) for key, value in network.state_dict().items())
    with pytest.raises(LessonError, match=said) as error:
        load_weights(network, pair()[0].state_dict())
    assert len(str(error.value)) < 600 and "Build the network that they were trained in" in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    "weights, said",
    [
        ({"features.0.weight": torch.zeros(3)}, "no weights of a ResNet whose names are known.*features.0.weight"),
        (3, "a mapping from names to tensors, such as a state_dict.*not 3"),
    ],
)
def test_what_is_no_resnet_is_refused(weights, said):
    with pytest.raises(LessonError, match=said):
        load_weights(build("resnet8"), weights)
