"""Lesions: the network without its blocks, or with them exchanged; afterwards as if nothing had been."""

import copy

import pytest
import torch
import torch.nn.functional as F
import torchvision
from support.state import is_as_before, state_of
from torch import nn

from resnet_lesson import Batches, Normalisation, build, evaluate, shapes10
from resnet_lesson.inside.lesions import (
    blocks_of,
    drop_each,
    droppable,
    lesion,
)

IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8)


@pytest.fixture
def network():
    network = build("resnet20", seed=0).train()
    F.cross_entropy(network(IMAGES), LABELS).backward()  # somebody's gradients
    network.stages[1].eval()
    return network


@pytest.fixture(scope="module")
def batches():
    data = shapes10(40, 8, seed=0)
    return list(Batches(data, 20, Normalisation.of(data)))


def test_a_residual_block_without_f_is_its_shortcut():
    network = build("resnet20", seed=0, shortcut="B").eval()
    assert droppable(network) == list(blocks_of(network))
    for name, block in blocks_of(network).items():
        x = torch.randn(2, block.residual.conv1.in_channels, 8, 8)
        with torch.no_grad(), lesion(network, drop=[name]):
            assert torch.equal(block(x), block.shortcut(x).relu())


def test_a_plain_block_is_taken_out_where_the_shape_stays():
    network = build("plain20", seed=0).eval()
    assert droppable(network) == [name for name in blocks_of(network) if name not in ("stages.1.0", "stages.2.0")]
    without = copy.deepcopy(network)
    without.stages[1] = nn.Sequential(without.stages[1][0], without.stages[1][2])
    with torch.no_grad(), lesion(network, drop=["stages.1.1"]) as wounded:
        assert torch.equal(wounded(IMAGES), without(IMAGES))


@pytest.mark.parametrize("name", ["resnet20", "plain20"])
def test_swapped_blocks_come_in_the_other_order(name):
    network = build(name, seed=0).eval()
    other = copy.deepcopy(network)
    one, two, three = other.stages[0]
    other.stages[0] = nn.Sequential(three, one, two)
    swapped = [("stages.0.0", "stages.0.1"), ("stages.0.0", "stages.0.2")]  # 2 1 3, then 3 1 2
    with torch.no_grad(), lesion(network, swap=swapped):
        assert torch.equal(network(IMAGES), other(IMAGES))


def test_it_is_as_before_afterwards_also_after_an_exception(network):
    before = state_of(network)
    with pytest.raises(ZeroDivisionError):
        with lesion(network, drop=["stages.0.0", "stages.1.0"], swap=[("stages.0.0", "stages.0.1")]):
            assert not is_as_before(network, before)
            1 / 0  # noqa: B018
    assert is_as_before(network, before)


@pytest.mark.parametrize(
    "name, how, says",
    [
        ("resnet20", {"drop": ["stages.0.9"]}, "block 'stages.0.9'.*stages.0.0"),
        ("resnet20", {"swap": [("stages.0.0", "stem")]}, "block 'stem'"),
        ("plain20", {"drop": ["stages.1.0"]}, "changes the shape and has no shortcut"),
        ("resnet20", {"swap": [("stages.0.0", "stages.1.1")]}, "cannot change places"),
        ("resnet20", {"drop": ["stages.0.0"], "swap": [("stages.1.0", "stages.1.1")]}, "cannot change places"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_has_changed(name, how, says):
    network = build(name, seed=0)
    before = state_of(network)
    with pytest.raises(ValueError, match=says), lesion(network, **how):
        pass
    assert is_as_before(network, before)


@pytest.mark.parametrize("other", [torchvision.models.resnet18(), nn.DataParallel(build("resnet8"))])
def test_other_networks_and_wrapped_ones_are_refused_and_the_way_is_named(other):
    with pytest.raises(TypeError, match=f"{type(other).__name__}: give the network itself.*from_torchvision"):
        blocks_of(other)


# --- errors


def test_each_block_has_its_error(network, batches):
    before = state_of(network)
    errors = drop_each(network, batches)
    assert list(errors) == list(blocks_of(network)) and is_as_before(network, before)
    with lesion(network, drop=["stages.1.0"]):
        assert errors["stages.1.0"] == evaluate(network, batches)[1]


def test_with_the_batchs_own_statistics_a_lesion_is_judged_as_in_training_mode(network, batches):
    before = state_of(network)
    found = drop_each(network, batches, batch_statistics=True)
    assert is_as_before(network, before) and found != drop_each(network, batches)
    twin = copy.deepcopy(network).train()
    with lesion(twin, ["stages.0.1"]), torch.no_grad():
        wrong = torch.cat([twin(images).argmax(1) != labels for images, labels in batches])
    assert found["stages.0.1"] == pytest.approx(wrong.double().mean().item())
