"""Loss surfaces: directions by their definition, the right weights at each point, an untouched network."""

import copy

import pytest
import torch
import torch.nn.functional as F
import torchvision
from support.state import is_as_before, state_of
from torch import nn

from resnet_lesson import LessonError, build
from resnet_lesson.inside.landscape import Surface, filter_direction, surface

IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8)


def used(name="resnet8", **options):
    """A network whose BN statistics and parameters are not those of the start."""
    network = build(name, seed=0, **options) if isinstance(name, str) else name()
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.running_var, 0.5), (module.weight.data, 0.5), (module.bias.data, -0.2)):
                tensor.copy_(low + torch.rand(tensor.shape, generator=generator))
            module.running_mean.normal_(generator=generator)
    return network


def by_hand(network, moves, batch_statistics):
    """Loss and error at the weights moved by hand, in float64."""
    moved = copy.deepcopy(network).double().train(batch_statistics)
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
    direction = filter_direction(network, seed=3)
    assert list(direction) == [key for key, _ in network.named_parameters()]
    for key, weight in network.named_parameters():
        if weight.ndim == 1:
            assert not direction[key].any()
        else:
            for own, move in zip(weight, direction[key], strict=True):
                assert move.norm() == pytest.approx(own.norm().item(), rel=1e-5)
                assert abs(F.cosine_similarity(own.flatten(), move.flatten(), dim=0)) < 0.9  # another way, not the same


def test_a_filter_of_zeros_is_not_moved():
    network = build("resnet8", seed=0)
    nn.init.zeros_(network.stem.conv1.weight[2])
    direction = filter_direction(network)["stem.conv1.weight"]
    assert not direction[2].any() and direction[3].any()


def test_a_direction_is_fixed_by_its_seed_and_touches_nothing():
    network = used()
    before = state_of(network)
    one, same, other = (filter_direction(network, seed) for seed in (5, 5, 6))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["fc.weight"], other["fc.weight"])
    assert is_as_before(network, before) and not any(move.requires_grad for move in one.values())


# --- surfaces


@pytest.mark.parametrize("batch_statistics", [False, True])
@pytest.mark.parametrize(
    "name", ["plain8", "resnet8", lambda: build("resnet8", seed=0, shortcut="B"), torchvision.models.resnet18]
)
def test_every_point_is_the_loss_at_the_moved_weights(name, batch_statistics):
    network = used(name)
    first, second = (filter_direction(network, seed) for seed in (0, 1))
    found = surface(network, IMAGES, LABELS, first, second, span=0.5, points=3, batch_statistics=batch_statistics)
    assert found.a.tolist() == found.b.tolist() == [-0.5, 0.0, 0.5]
    for j, b in enumerate((-0.5, 0.0, 0.5)):
        for i, a in enumerate((-0.5, 0.0, 0.5)):
            loss, error = by_hand(network, [(a, first), (b, second)], batch_statistics)
            assert found.loss[j, i] == pytest.approx(loss, rel=2e-4)
            assert found.error[j, i] == pytest.approx(error, abs=0.13)  # a tie may fall to the other side
    assert found.centre == found.loss[1, 1]
    line = surface(network, IMAGES, LABELS, first, span=0.5, points=3, batch_statistics=batch_statistics)
    assert line.b.tolist() == [0.0] and torch.allclose(line.loss, found.loss[1:2])


class Twice(nn.Module):
    """The same convolution and BN run twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.fc = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Linear(3, 10)

    def forward(self, x):
        for _ in range(2):
            x = self.bn(self.conv(x)).relu()
        return self.fc(x.mean((2, 3)))


class Branching(Twice):
    """What it does depends on the images."""

    def forward(self, x):
        if x.mean() > 100:
            return x.new_zeros(len(x), 10)
        return self.fc(self.bn(self.conv(x)).relu().mean((2, 3)))


@pytest.mark.parametrize("network", [Twice, Branching])
def test_a_network_that_cannot_be_folded_is_moved_as_it_is(network):
    torch.manual_seed(0)
    network = used(network).eval()
    first = filter_direction(network)
    found = surface(network, IMAGES, LABELS, first, points=3)
    expected = [by_hand(network, [(a, first)], batch_statistics=False)[0] for a in (-1, 0, 1)]
    assert found.loss[0].tolist() == pytest.approx(expected, rel=1e-4)


def test_a_compiled_network_has_the_surface_of_the_one_inside():
    network = used().eval()
    compiled = torch.compile(network, backend="eager")
    found = surface(compiled, IMAGES, LABELS, filter_direction(compiled), points=3)
    expected = surface(network, IMAGES, LABELS, filter_direction(network), points=3)
    assert torch.allclose(found.loss, expected.loss, rtol=1e-4)


def test_a_short_direction_far_followed_is_a_long_one():
    """The fold takes a difference: in float32 little would be left of a short direction."""
    network = used()
    first = filter_direction(network)
    short = {name: move / 2**20 for name, move in first.items()}
    near = surface(network, IMAGES, LABELS, first, points=3)
    far = surface(network, IMAGES, LABELS, short, span=2.0**20, points=3)
    assert torch.allclose(near.loss, far.loss, rtol=1e-4)


def test_hooks_of_the_network_are_not_called():
    network, called = used(), []
    network.stages[0][0].register_forward_hook(lambda *_: called.append(1))
    surface(network, IMAGES, LABELS, filter_direction(network), points=3)
    assert called == []


@pytest.mark.parametrize("how", [{}, {"span": 0.5, "batch_statistics": True, "precision": "bfloat16"}])
def test_a_surface_says_of_what_it_is_and_how_it_was_computed(how):
    network = build("resnet8", seed=0)
    about = surface(network, IMAGES, LABELS, filter_direction(network), points=3, **how).about
    usual = {"span": 1.0, "batch_statistics": False, "precision": "float32"}
    assert about | usual | how == about and (about["images"], about["network"]) == (8, network.spec)


def test_bfloat16_agrees_in_the_middle():
    network = used()
    first = filter_direction(network)
    exact, rounded = (
        surface(network, IMAGES, LABELS, first, span=0.3, points=3, precision=p) for p in ("float32", "bfloat16")
    )
    assert torch.allclose(exact.loss, rounded.loss, rtol=0.05) and not torch.equal(exact.loss, rounded.loss)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"points": 24}, "points is odd, and at least 3.*not 24"),
        ({"points": 1}, "points is odd, and at least 3.*not 1"),
        ({"points": 3.0}, "points"),
        *[({"span": span}, "span") for span in (0, -1.0, float("nan"))],
        ({"labels": LABELS[:5]}, r"one label for each.*\(5,\)"),
        ({"labels": LABELS[:, None]}, r"one label for each.*\(8, 1\)"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "at least one"),
        ({"first": filter_direction(build("resnet14"))}, "another network's.*filter_direction"),
    ],
)
def test_nonsense_is_refused(change, says):
    network = used()
    values = {"images": IMAGES, "labels": LABELS, "first": filter_direction(network)} | change
    with pytest.raises(ValueError, match=says):
        surface(network, **values)


# --- files


def test_a_surface_is_saved_and_read_back(tmp_path):
    network = used()
    found = surface(network, IMAGES, LABELS, filter_direction(network), points=3)
    found.about["data"] = "shapes10"
    found.save(tmp_path / "folder" / "one.safetensors")
    again = Surface.load(tmp_path / "folder" / "one.safetensors")
    assert all(torch.equal(getattr(found, name), getattr(again, name)) for name in ("a", "b", "loss", "error"))
    assert again.about == found.about and again.about["network"]["name"] == "resnet8"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["one.safetensors"]


def test_what_is_no_surface_is_said(tmp_path):
    with pytest.raises(LessonError, match="There is no surface.*compute it"):
        Surface.load(tmp_path / "missing")
    (tmp_path / "text").write_text("hello, this is no surface")
    with pytest.raises(LessonError, match="is no loss surface.*delete it"):
        Surface.load(tmp_path / "text")
