"""Loss surfaces: directions by their definition, the right weights at each point, an untouched network."""

import copy

import pytest
import torch
import torch.nn.functional as F
from support.state import is_as_before, state_of
from torch import nn

from resnet_lesson import LessonError, build
from resnet_lesson.inside.landscape import Surface, filter_direction, surface

IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8)


def used(network):
    """The network with BN statistics and parameters that are not those of the start."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.running_var, 0.5), (module.weight.data, 0.5), (module.bias.data, -0.2)):
                tensor.copy_(low + torch.rand(tensor.shape, generator=generator))
            module.running_mean.normal_(generator=generator)
    return network


def other_network():
    layers = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Dropout(0.5), nn.Linear(8, 10))


def by_hand(network, moves, batch_statistics):
    """Loss and error at the weights moved by hand, in float64."""
    moved = copy.deepcopy(network).double().eval()
    for module in moved.modules():
        module.training = batch_statistics and isinstance(module, nn.BatchNorm2d)
    with torch.no_grad():
        for step, direction in moves:
            for name, parameter in moved.named_parameters():
                parameter += step * direction[name]
        logits = moved(IMAGES.double())
    return float(F.cross_entropy(logits, LABELS)), float((logits.argmax(1) != LABELS).double().mean())


# --- directions


@pytest.mark.parametrize("name", ["resnet8", "plain14"])
def test_each_filter_and_row_is_as_long_as_the_networks_own(name):
    network = build(name, seed=0)
    nn.init.zeros_(network.stem.conv1.weight[2])  # a filter of zeros is not moved
    direction = filter_direction(network, seed=3)
    assert list(direction) == [key for key, _ in network.named_parameters()]
    for key, weight in network.named_parameters():
        if weight.ndim == 1:
            assert not direction[key].any()
        else:
            for own, move in zip(weight, direction[key], strict=True):
                assert move.norm() == pytest.approx(own.norm().item(), rel=1e-5)
                assert abs(F.cosine_similarity(own.flatten(), move.flatten(), dim=0)) < 0.9  # another way, not the same


def test_a_direction_is_fixed_by_its_seed_and_touches_nothing():
    network = used(build("resnet8", seed=0))
    before = state_of(network)
    one, same, other = (filter_direction(network, seed) for seed in (5, 5, 6))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["fc.weight"], other["fc.weight"])
    assert is_as_before(network, before) and not any(move.requires_grad for move in one.values())


# --- surfaces


@pytest.mark.parametrize("batch_statistics", [False, True])
@pytest.mark.parametrize("make", [lambda: build("resnet8", seed=0, shortcut="B"), other_network])
def test_every_point_is_the_loss_at_the_moved_weights(make, batch_statistics):
    network = used(make())
    first, second = (filter_direction(network, seed) for seed in (0, 1))
    found = surface(network, IMAGES, LABELS, first, second, span=0.5, points=3, batch_statistics=batch_statistics)
    assert found.a.tolist() == found.b.tolist() == [-0.5, 0.0, 0.5]
    for i, j in ((0, 0), (1, 1), (2, 0), (1, 2)):
        moves = [(found.a[i].item(), first), (found.b[j].item(), second)]
        loss, error = by_hand(network, moves, batch_statistics)
        assert found.loss[j, i] == pytest.approx(loss, rel=2e-4)
        assert found.error[j, i] == pytest.approx(error, abs=0.13)  # a tie may fall to the other side
    assert found.centre == found.loss[1, 1]
    line = surface(network, IMAGES, LABELS, first, span=0.5, points=3, batch_statistics=batch_statistics)
    assert line.b.tolist() == [0.0] and torch.allclose(line.loss, found.loss[1:2])


def test_bfloat16_agrees_in_the_middle_and_the_surface_says_how_it_was_computed():
    network = used(build("resnet8", seed=0))
    first, both = filter_direction(network), []
    for precision in ("float32", "bfloat16"):
        how = {"span": 0.3, "points": 3, "precision": precision}
        both.append(surface(network, IMAGES, LABELS, first, **how))
        assert both[-1].about | how == both[-1].about and both[-1].about["network"] == network.spec
    assert torch.allclose(both[0].loss, both[1].loss, rtol=0.05) and not torch.equal(both[0].loss, both[1].loss)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"points": 24}, "points is odd, and at least 3.*not 24"),
        ({"points": 1}, "points is odd, and at least 3.*not 1"),
        ({"labels": LABELS[:5]}, r"one label for each.*\(5,\)"),
        ({"first": filter_direction(build("resnet14"))}, "another network's.*filter_direction"),
    ],
)
def test_nonsense_is_refused(change, says):
    network = build("resnet8")
    values = {"images": IMAGES, "labels": LABELS, "first": filter_direction(network)} | change
    with pytest.raises(ValueError, match=says):
        surface(network, **values)


# --- files


def test_a_surface_is_saved_and_read_back(tmp_path):
    network = used(build("resnet8", seed=0))
    found = surface(network, IMAGES, LABELS, filter_direction(network), points=3)
    found.save(tmp_path / "folder" / "one.safetensors")
    again = Surface.load(tmp_path / "folder" / "one.safetensors")
    assert all(torch.equal(getattr(found, name), getattr(again, name)) for name in ("a", "b", "loss", "error"))
    assert again.about == found.about
    with pytest.raises(LessonError, match="There is no surface.*compute it"):
        Surface.load(tmp_path / "missing")
    (tmp_path / "text").write_text("hello, this is no surface")
    with pytest.raises(LessonError, match="is no loss surface.*delete it"):
        Surface.load(tmp_path / "text")
