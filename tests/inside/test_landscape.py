"""Loss surfaces: directions by their definition, the right weights at each point, an untouched network."""

import copy

import pytest
import torch
import torch.nn.functional as F
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


def by_hand(network, moves, batch_statistics):
    """The loss at the weights moved by hand, in float64."""
    moved = copy.deepcopy(network).double().eval()
    for module in moved.modules():
        module.training = batch_statistics and isinstance(module, nn.BatchNorm2d)
    with torch.no_grad():
        for step, direction in moves:
            for name, parameter in moved.named_parameters():
                parameter += step * direction[name]
        return F.cross_entropy(moved(IMAGES.double()), LABELS).item()


@pytest.mark.parametrize("name", ["resnet8", "plain14"])
def test_a_direction_is_of_its_seed_and_each_filter_and_row_as_long_as_the_networks_own(name):
    network = build(name, seed=0)
    nn.init.zeros_(network.stem.conv1.weight[2])  # a filter of zeros is not moved
    direction, same, other = (filter_direction(network, seed) for seed in (3, 3, 4))
    assert torch.equal(direction["fc.weight"], same["fc.weight"])
    assert not torch.equal(direction["fc.weight"], other["fc.weight"])
    assert list(direction) == [key for key, _ in network.named_parameters()]
    for key, weight in network.named_parameters():
        if weight.ndim == 1:
            assert not direction[key].any()
        else:
            for own, move in zip(weight, direction[key], strict=True):
                assert move.norm() == pytest.approx(own.norm().item(), rel=1e-5)
                assert abs(F.cosine_similarity(own.flatten(), move.flatten(), dim=0)) < 0.9  # another way, not the same


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_every_point_is_the_loss_at_the_moved_weights(batch_statistics):
    network = used(build("resnet8", seed=0, shortcut="B"))
    first, second = ({k: v / 2 for k, v in filter_direction(network, seed).items()} for seed in (0, 1))
    found = surface(network, IMAGES, LABELS, first, second, points=3, batch_statistics=batch_statistics)
    assert found.a.tolist() == found.b.tolist() == [-1, 0, 1]
    for i, j in ((0, 0), (1, 1), (2, 0), (1, 2)):
        loss = by_hand(network, [(found.a[i].item(), first), (found.b[j].item(), second)], batch_statistics)
        assert found.loss[j, i] == pytest.approx(loss, rel=2e-4)
    assert found.centre == found.loss[1, 1]
    line = surface(network, IMAGES, LABELS, first, points=3, batch_statistics=batch_statistics)
    assert line.b.tolist() == [0.0] and torch.allclose(line.loss, found.loss[1:2])


@pytest.mark.parametrize("points", [1, 24])
def test_the_network_itself_is_in_the_middle(points):
    network = build("resnet8")
    with pytest.raises(ValueError, match=f"points must be odd and at least 3.*not {points}"):
        surface(network, IMAGES, LABELS, filter_direction(network), points=points)


def test_a_surface_is_saved_and_read_back(tmp_path):
    network = used(build("resnet8", seed=0))
    found = surface(network, IMAGES, LABELS, filter_direction(network), points=3)
    found.save(tmp_path / "folder" / "one.safetensors")
    again = Surface.load(tmp_path / "folder" / "one.safetensors")
    assert all(torch.equal(getattr(found, name), getattr(again, name)) for name in ("a", "b", "loss"))
    (tmp_path / "text").write_text("hello, this is no surface")
    for name in ("missing", "text"):
        with pytest.raises(LessonError, match=f"no loss surface in .*{name} .*: compute it again"):
            Surface.load(tmp_path / name)
