"""Lesions: the network without some of its blocks, and afterwards as if nothing had been."""

import copy

import pytest
import torch
import torchvision
from support.state import is_as_before, state_of
from torch import nn

from resnet_lesson import Batches, Normalisation, build, evaluate, shapes10
from resnet_lesson.inside.lesions import blocks_of, drop_each, droppable, error_of, lesion

IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def batches():
    data = shapes10(40, 8, seed=0)
    return list(Batches(data, 20, Normalisation.of(data)))


def test_a_residual_block_without_f_is_its_shortcut():
    network = build("resnet20", seed=0, shortcut="B").eval()
    assert droppable(network) == list(blocks_of(network))
    for name, block in blocks_of(network).items():
        x = torch.randn(2, block.residual.conv1.in_channels, 8, 8)
        with torch.no_grad(), lesion(network, [name]):
            assert torch.equal(block(x), block.shortcut(x).relu())


def test_a_plain_block_is_taken_out_where_the_shape_stays():
    network = build("plain20", seed=0).eval()
    assert droppable(network) == [name for name in blocks_of(network) if name not in ("stages.1.0", "stages.2.0")]
    without = copy.deepcopy(network)
    without.stages[1] = nn.Sequential(without.stages[1][0], without.stages[1][2])
    with torch.no_grad(), lesion(network, ["stages.1.1"]) as wounded:
        assert torch.equal(wounded(IMAGES), without(IMAGES))


def test_it_is_as_before_afterwards_also_after_an_exception():
    network = build("resnet20", seed=0)
    before = state_of(network)
    with pytest.raises(ZeroDivisionError), lesion(network, ["stages.0.0", "stages.1.0", "stages.0.0"]):
        assert not is_as_before(network, before)
        1 / 0  # noqa: B018
    assert is_as_before(network, before)


@pytest.mark.parametrize(
    "name, drop, says",
    [
        ("resnet20", ["stages.0.0", "stages.0.9"], "block 'stages.0.9'.*stages.0.0"),
        ("plain20", ["stages.1.0"], "changes the shape and has no shortcut"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_has_changed(name, drop, says):
    network = build(name, seed=0)
    before = state_of(network)
    with pytest.raises(ValueError, match=says), lesion(network, drop):
        pass
    assert is_as_before(network, before)


@pytest.mark.parametrize("other", [torchvision.models.resnet18(), nn.DataParallel(build("resnet8"))])
def test_other_networks_and_wrapped_ones_are_refused(other):
    with pytest.raises(TypeError, match=f"this course's networks.*not in a {type(other).__name__}"):
        blocks_of(other)


def test_each_block_has_its_error_with_the_networks_statistics_or_each_batchs(batches):
    network = build("resnet20", seed=0)
    errors, anew = drop_each(network, batches), drop_each(network, batches, batch_statistics=True)
    assert list(errors) == list(anew) == list(blocks_of(network)) and errors != anew
    with lesion(network, ["stages.0.1"]):
        assert errors["stages.0.1"] == evaluate(network, batches)[1] == error_of(network, batches)
        with torch.no_grad():
            wrong = torch.cat([network.train()(images).argmax(1) != labels for images, labels in batches])
    assert anew["stages.0.1"] == pytest.approx(wrong.double().mean().item())
