"""torchvision's weights: its outputs and gradients, there and back, and refusals."""

import re

import pytest
import torch
import torch.nn.functional as F
import torchvision

from resnet_lesson import build
from resnet_lesson.models.family import dilate
from resnet_lesson.models.weights import from_torchvision, to_torchvision


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


TORCHVISIONS = [name for name in torchvision.models.list_models() if re.match("(wide_)?resnet|resnext", name)]


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_conversion_there_and_back_keeps_every_key_shape_and_tensor_of_all_of_torchvisions(name):
    with torch.device("meta"):
        theirs, ours = torchvision.models.get_model(name).state_dict(), build(name).state_dict()
    for weights, there, back in [(theirs, from_torchvision, to_torchvision), (ours, to_torchvision, from_torchvision)]:
        again = back(there(weights))
        assert list(again) == list(weights)
        assert all(again[key] is weights[key] for key in weights)
    assert {key: value.shape for key, value in to_torchvision(ours).items()} == {k: v.shape for k, v in theirs.items()}


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
