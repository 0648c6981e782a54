"""The course's trained networks by name, as recorded; and drawings made into photographs."""

import socket

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from resnet_lesson import Dataset, Normalisation, cifar10, machine, recorded
from resnet_lesson.datasets.cifar10 import CIFAR10_CLASSES, CIFAR10_FOLDER
from resnet_lesson.training.pretrained import CIFAR10, NETWORKS, as_photographs, pretrained
from resnet_lesson.training.runs import shipped


def dataset(size, channels):
    shape = 3, size, size, channels
    images = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Dataset("noise", images, torch.arange(3), ("a", "b", "c"))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_the_recorded_one_in_evaluation_mode_without_a_download(name, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it asked a server"))
    found, run = pretrained(name), recorded(f"short-{name}-seed0")
    weights = load_file(shipped() / run.name / "weights.safetensors")
    assert found.network.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[key]) for key, value in found.network.state_dict().items())
    assert not any(part.training for part in found.network.modules())
    assert found.classes == CIFAR10_CLASSES
    assert found.source == f"{run.name}: trained on CIFAR-10 by the course, test error {run.final():.1%}"
    found.network.fc.weight.data.zero_()
    assert pretrained(name).network.fc.weight.any(), "each call gives a network of its own"


@pytest.mark.skipif(not (machine.DATA / CIFAR10_FOLDER).exists(), reason=f"CIFAR-10 is not in {machine.DATA}")
def test_they_normalise_by_what_is_measured_on_cifar10():
    measured = Normalisation.of(cifar10(machine.DATA)[0])
    assert torch.allclose(CIFAR10.mean, measured.mean, atol=6e-4, rtol=0)
    assert torch.allclose(CIFAR10.std, measured.std, atol=6e-4, rtol=0)


def test_a_name_that_does_not_exist_is_answered_with_those_that_do():
    with pytest.raises(ValueError, match="no trained network of the course 'plain20'.*There are: resnet8, resnet20"):
        pretrained("plain20")


@pytest.mark.parametrize("size, before, after", [(28, 0, 0), (32, 2, 2), (35, 3, 4), (56, 0, 0), (57, 0, 0)])
def test_a_few_more_pixels_are_an_empty_border_and_many_are_interpolated(size, before, after):
    drawings = dataset(28, 1)
    drawings.images[0, 10:20, 10:20] = 255  # where rounding may overflow
    made = as_photographs(drawings, size)
    assert made.images.shape == (3, size, size, 3) and made.images.dtype == torch.uint8
    grey = drawings.images[..., 0]
    if size >= 56:
        exact = F.interpolate(grey[:, None].float(), (size, size), mode="bilinear")[:, 0]
    else:
        exact = F.pad(grey, (before, after, before, after)).float()
    for channel in made.images.unbind(-1):
        assert (channel - exact).abs().max() < 1.01 * (size >= 56) + 1e-9, "torch rounds twice: after rows and columns"
    assert torch.equal(made.labels, drawings.labels)
    assert (made.name, made.classes) == (drawings.name, drawings.classes)


@pytest.mark.parametrize("size, channels, asked", [(32, 3, 32), (28, 1, 27)])
def test_what_is_no_drawing_or_would_shrink_is_refused(size, channels, asked):
    said = f"these are {size}x{size} with {channels}, and you asked for {asked}x{asked}"
    with pytest.raises(ValueError, match=f"takes square images with 1 channel and can only make them larger: {said}"):
        as_photographs(dataset(size, channels), asked)
