"""Lesions: the network without its blocks, or with them exchanged; afterwards as if nothing had been."""

import copy
from math import comb

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
    drop_random,
    droppable,
    error_of,
    lesion,
    movable,
    path_gradients,
    path_lengths,
    swap_random,
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
    with pytest.raises(TypeError, match=f"{type(other).__name__}: give the network itself.*load_weights"):
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
    errors = drop_random(network, batches, [1], 2, batch_statistics=True)[0]
    assert is_as_before(network, before) and set(errors) <= set(found.values())
    assert found != drop_each(network, batches)
    twin = copy.deepcopy(network).train()
    with lesion(twin, ["stages.0.1"]), torch.no_grad():
        wrong = torch.cat([twin(images).argmax(1) != labels for images, labels in batches])
    assert found["stages.0.1"] == pytest.approx(wrong.double().mean().item())


def test_no_lesion_is_the_whole_network(network, batches):
    before, whole = state_of(network), error_of(network, batches)
    for measure in (drop_random, swap_random):
        errors = measure(network, batches, (0, 1, 3), samples=2, seed=1)
        assert [len(row) for row in errors] == [2, 2, 2] and errors[0] == [whole] * 2
    assert is_as_before(network, before) and whole == evaluate(network, batches)[1]


@pytest.mark.parametrize("measure", [drop_random, swap_random])
def test_blocks_are_chosen_from_all_that_keep_the_shape_by_the_seed(measure):
    """What the network was like in each forward pass: the blocks that had no F, and those in another place."""
    network, seen = build("resnet20", seed=0), []
    names = {block: name for name, block in blocks_of(network).items()}
    whole = {block: block.residual for block in names}

    def look(*_):
        without = [name for block, name in names.items() if block.residual is not whole[block]]
        moved = [name for name, block in blocks_of(network).items() if name != names[block]]
        seen.append(tuple(without + moved))

    network.register_forward_pre_hook(look)
    for seed in (4, 4, 5):
        measure(network, [(IMAGES[:1, :, :8, :8], LABELS[:1])], [2 if measure is drop_random else 1], 15, seed)
    assert seen[:15] == seen[15:30] != seen[30:]
    assert {name for one in seen for name in one} == set(movable(network)) and {len(one) for one in seen} == {2}
    if measure is swap_random:
        assert all(one[:8] == other[:8] for one, other in seen), "of one stage"


@pytest.mark.parametrize(
    "measure, says",
    [
        (lambda n, b: drop_random(n, b, (1, 8)), "Of 7 blocks that keep the shape, 8 cannot be taken out"),
        (lambda n, b: swap_random(build("resnet8"), b, (1,)), "could change places"),
        (lambda n, b: path_gradients(n, IMAGES, LABELS, (10,)), "as there are, 9"),
        (lambda n, b: path_gradients(build("plain20"), IMAGES, LABELS, (0,)), "as there are, 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(network, batches, measure, says):
    with pytest.raises(ValueError, match=says):
        measure(network, batches)


# --- paths


def test_paths_are_counted_by_their_length():
    assert path_lengths(build("resnet20")) == [comb(9, k) for k in range(10)]
    assert path_lengths(build("plain20")) == [1]


def gradient_by(network, through):
    """The loss's gradient at the first block's input that comes through F in these blocks (numbers) alone."""
    x = start = network.stem(IMAGES).detach().requires_grad_()
    for k, block in enumerate(blocks_of(network).values()):
        x = block.before(x) if hasattr(block, "before") else x
        f, s = block.residual(x), block.shortcut(x)
        x = f + s.detach() if k in through else f.detach() + s
        x = block.relu(x) if hasattr(block, "relu") else x
    return torch.autograd.grad(F.cross_entropy(network.fc(network.pool(x).flatten(1)), LABELS), start)[0]


@pytest.mark.parametrize("name", ["resnet8", "preresnet8"])
def test_the_gradients_of_all_paths_add_up_to_that_of_the_network(name):
    """With three blocks, 8 paths: the sum of their gradients is the whole gradient."""
    network = build(name, seed=0).eval()
    found = path_gradients(network, IMAGES, LABELS, (0, 3), samples=2)
    start = network.stem(IMAGES).detach().requires_grad_()
    loss = F.cross_entropy(network.fc(network.pool(network.stages(start)).flatten(1)), LABELS)
    whole = torch.autograd.grad(loss, start)[0]
    paths = [{k for k in range(3) if code >> k & 1} for code in range(8)]
    assert torch.allclose(sum(gradient_by(network, path) for path in paths), whole, atol=1e-6)
    expected = [gradient_by(network, path).norm().item() for path in (set(), {0, 1, 2})]
    assert found == pytest.approx(expected, rel=1e-4)


def test_single_paths_are_chosen_by_the_seed_and_their_norms_averaged_in_evaluation_mode():
    network = build("resnet8", seed=0).eval()
    alone = [gradient_by(network, {k}).norm().item() for k in range(3)]
    network.train()
    before = state_of(network)
    chosen = [path_gradients(network, IMAGES, LABELS, (1,), samples=1, seed=seed)[0] for seed in range(8)]
    assert sorted(set(chosen)) == pytest.approx(sorted(alone), rel=1e-4)  # each of the three was chosen
    assert min(alone) < path_gradients(network, IMAGES, LABELS, (1,), samples=8)[0] < max(alone)
    assert is_as_before(network, before)
