"""Lesions: the network without its blocks, or with them exchanged; afterwards as if nothing had been."""

import copy
from math import comb

import pytest
import torch
import torch.nn.functional as F
import torchvision
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


def state_of(network):
    modules = {name: id(module) for name, module in network.named_modules()}
    values = {name: value.clone() for name, value in network.state_dict().items()}
    return modules, values, [p.grad for p in network.parameters()], [m.training for m in network.modules()]


def is_as_before(network, before):
    now = state_of(network)
    same = before[1].keys() == now[1].keys() and all(torch.equal(before[1][key], now[1][key]) for key in now[1])
    grads = all(a is b for a, b in zip(before[2], now[2], strict=True))
    return same and grads and (before[0], before[3]) == (now[0], now[3])


@pytest.fixture
def network():
    network = build("resnet20", seed=0).train()
    F.cross_entropy(network(IMAGES), LABELS).backward()  # somebody's gradients
    network.stages[1].eval()
    return network


def test_a_residual_block_without_f_is_its_shortcut():
    network = build("resnet20", seed=0, shortcut="B").eval()
    for name, block in blocks_of(network).items():
        x = torch.randn(2, block.residual.conv1.in_channels, 8, 8)
        with torch.no_grad(), lesion(network, drop=[name]):
            assert torch.equal(block(x), block.shortcut(x).relu())


def test_a_plain_block_is_taken_out_where_the_shape_stays():
    network = build("plain20", seed=0).eval()
    assert droppable(network) == [
        f"stages.{i}.{j}" for i in range(3) for j in range(3) if (i, j) not in ((1, 0), (2, 0))
    ]
    without = copy.deepcopy(network)
    without.stages[1] = nn.Sequential(without.stages[1][0], without.stages[1][2])
    with torch.no_grad(), lesion(network, drop=["stages.1.1"]) as wounded:
        assert torch.equal(wounded(IMAGES), without(IMAGES))
    assert len(droppable(build("resnet20"))) == 9


@pytest.mark.parametrize("name", ["resnet20", "plain20"])
def test_swapped_blocks_come_in_the_other_order(name):
    network = build(name, seed=0).eval()
    other = copy.deepcopy(network)
    one, two, three = other.stages[0]
    other.stages[0] = nn.Sequential(three, one, two)
    with torch.no_grad():
        swapped = [("stages.0.0", "stages.0.1"), ("stages.0.0", "stages.0.2")]  # 2 1 3, then 3 1 2
        with lesion(network, swap=swapped):
            assert torch.equal(network(IMAGES), other(IMAGES))
        assert not torch.equal(network(IMAGES), other(IMAGES))


def test_it_is_as_before_afterwards_also_after_an_exception(network):
    before = state_of(network)
    swap = [("stages.0.0", "stages.0.1")]
    with lesion(network, drop=["stages.0.0", "stages.1.0"], swap=swap):
        assert not is_as_before(network, before)
    assert is_as_before(network, before)
    with pytest.raises(ZeroDivisionError), lesion(network, drop=["stages.2.2"], swap=swap):
        1 / 0  # noqa: B018
    assert is_as_before(network, before)


@pytest.mark.parametrize(
    "name, how, says",
    [
        ("resnet20", {"drop": ["stages.0.9"]}, "block 'stages.0.9'.*stages.0.0"),
        ("resnet20", {"swap": [("stages.0.0", "stem")]}, "block 'stem'"),
        ("plain20", {"drop": ["stages.1.0"]}, "changes the shape and has no shortcut"),
        ("resnet20", {"swap": [("stages.0.0", "stages.1.1")]}, "cannot change places"),
        ("resnet20", {"swap": [("stages.1.0", "stages.1.1")]}, "cannot change places"),
        ("resnet20", {"drop": "stages.0.0"}, "list of names"),
        ("resnet20", {"swap": ("stages.0.0", "stages.0.1")}, "list of pairs"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_has_changed(name, how, says):
    network = build(name, seed=0)
    before = state_of(network)
    with pytest.raises(ValueError, match=says), lesion(network, **how):
        pass
    assert is_as_before(network, before)


def test_another_librarys_network_is_refused():
    with pytest.raises(TypeError, match="from_torchvision"):
        blocks_of(torchvision.models.resnet18())


def test_a_wrapped_network_is_refused_and_the_way_to_the_one_inside_named():
    with pytest.raises(TypeError, match=r"\._orig_mod"):
        blocks_of(torch.compile(build("resnet8"), backend="eager"))
    with pytest.raises(TypeError, match=r"\.module"):
        blocks_of(nn.DataParallel(build("resnet8")))


# --- errors


@pytest.fixture(scope="module")
def batches():
    data = shapes10(40, 8, seed=0)
    return list(Batches(data, 20, Normalisation.of(data)))


def test_each_block_has_its_error(network, batches):
    before = state_of(network)
    errors = drop_each(network, batches)
    assert list(errors) == list(blocks_of(network)) and is_as_before(network, before)
    with lesion(network, drop=["stages.1.0"]):
        assert errors["stages.1.0"] == evaluate(network, batches)[1]


def test_random_lesions_are_fixed_by_the_seed_and_none_is_the_whole_network(network, batches):
    before = state_of(network)
    for measure in (drop_random, swap_random):
        errors = measure(network, batches, (0, 1, 3), draws=2, seed=1)
        assert errors == measure(network, batches, (0, 1, 3), draws=2, seed=1)
        assert [len(row) for row in errors] == [2, 2, 2] and errors[0] == [evaluate(network, batches)[1]] * 2
    assert is_as_before(network, before)


@pytest.fixture
def watched():
    """A network, an image for it, and what it was like in each forward pass: blocks without F, and their order."""
    network, seen = build("resnet20", seed=0), []
    names = {block: name for name, block in blocks_of(network).items()}
    whole = {block: block.residual for block in names}

    def look(*_):
        without = [name for block, name in names.items() if block.residual is not whole[block]]
        seen.append((without, [names[block] for block in blocks_of(network).values()]))

    network.register_forward_pre_hook(look)
    return network, [(IMAGES[:1, :, :8, :8], LABELS[:1])], seen


def test_blocks_to_take_out_are_drawn_from_all_that_keep_the_shape_by_the_seed(watched):
    network, batches, seen = watched
    for seed in (4, 4, 5):
        drop_random(network, batches, [2], 15, seed)
    drawn = [without for without, _ in seen]
    assert {len(without) for without in drawn} == {2} and set(sum(drawn, [])) == set(movable(network))
    assert drawn[:15] == drawn[15:30] != drawn[30:]
    assert all(order == list(blocks_of(network)) for _, order in seen)


def test_blocks_to_exchange_are_drawn_from_all_pairs_of_a_stage_by_the_seed(watched):
    network, batches, seen = watched
    for seed in (4, 4, 5):
        swap_random(network, batches, [1], 15, seed)
    names = list(blocks_of(network))
    pairs = [tuple(a for a, b in zip(names, order, strict=True) if a != b) for _, order in seen]
    stage_0 = {("stages.0.0", "stages.0.1"), ("stages.0.0", "stages.0.2"), ("stages.0.1", "stages.0.2")}
    assert set(pairs) == stage_0 | {("stages.1.1", "stages.1.2"), ("stages.2.1", "stages.2.2")}
    assert pairs[:15] == pairs[15:30] != pairs[30:] and not any(without for without, _ in seen)


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


def test_too_many_blocks_are_refused(network, batches):
    with pytest.raises(ValueError, match="Of 7 blocks that keep the shape, 8 cannot be taken out"):
        drop_random(network, batches, (1, 8))
    with pytest.raises(ValueError, match="could change places"):
        swap_random(build("resnet8"), batches, (1,))
    with pytest.raises(ValueError, match="-1"):
        swap_random(network, batches, (1, -1))


def test_no_draws_and_no_batches_are_refused(network, batches):
    for measure in (drop_random, swap_random):
        with pytest.raises(ValueError, match="draws"):
            measure(network, batches, (1,), draws=0)
    with pytest.raises(ValueError, match="draws"):
        path_gradients(network, IMAGES, LABELS, (1,), draws=0)
    for measure in (drop_each, error_of):
        with pytest.raises(ValueError, match="batches"):
            measure(network, [])


# --- paths


def test_paths_are_counted_by_their_length():
    counts = path_lengths(build("resnet20"))
    assert counts == [comb(9, k) for k in range(10)] and sum(counts) == 2**9
    assert path_lengths(build("plain20")) == [1]


def gradient_by(network, through):
    """The loss's gradient at the first block's input that comes through F in these blocks (numbers) alone."""
    x = start = network.stem(IMAGES).detach().requires_grad_()
    for k, block in enumerate(blocks_of(network).values()):
        f, s = block.residual(x), block.shortcut(x)
        x = block.relu(f + s.detach() if k in through else f.detach() + s)
    return torch.autograd.grad(F.cross_entropy(network.fc(network.pool(x).flatten(1)), LABELS), start)[0]


def test_the_gradients_of_all_paths_add_up_to_that_of_the_network():
    """With three blocks, 8 paths: the sum of their gradients is the whole gradient."""
    network = build("resnet8", seed=0).eval()
    found = {}
    for length in range(4):
        (found[length],) = path_gradients(network, IMAGES, LABELS, (length,), draws=1)
    start = network.stem(IMAGES).detach().requires_grad_()
    loss = F.cross_entropy(network.fc(network.pool(network.stages(start)).flatten(1)), LABELS)
    whole = torch.autograd.grad(loss, start)[0]
    paths = [{k for k in range(3) if code >> k & 1} for code in range(8)]
    assert torch.allclose(sum(gradient_by(network, path) for path in paths), whole, atol=1e-6)
    assert found[0] == pytest.approx(gradient_by(network, set()).norm().item(), rel=1e-5)
    assert found[3] == pytest.approx(gradient_by(network, {0, 1, 2}).norm().item(), rel=1e-5)


def test_single_paths_are_drawn_by_the_seed_and_their_norms_averaged_in_evaluation_mode():
    network = build("resnet8", seed=0).eval()
    alone = [gradient_by(network, {k}).norm().item() for k in range(3)]
    network.train()
    drawn = [path_gradients(network, IMAGES, LABELS, (1,), draws=1, seed=seed)[0] for seed in range(8)]
    assert sorted(set(drawn)) == pytest.approx(sorted(alone), rel=1e-4)  # each of the three came
    assert min(alone) < path_gradients(network, IMAGES, LABELS, (1,), draws=8)[0] < max(alone)
    whole = gradient_by(network.eval(), {0, 1, 2}).norm().item()
    assert path_gradients(network, IMAGES, LABELS, (3,), draws=4) == pytest.approx([whole], rel=1e-4)


def test_path_gradients_leave_the_network_as_it_was_and_refuse_impossible_lengths(network):
    before = state_of(network)
    assert len(path_gradients(network, IMAGES, LABELS, (1, 9), draws=2)) == 2 and is_as_before(network, before)
    with pytest.raises(ValueError, match="0 to 9 residual blocks, not 10"):
        path_gradients(network, IMAGES, LABELS, (10,))
    with pytest.raises(ValueError, match="one path"):
        path_gradients(build("plain20"), IMAGES, LABELS, (0,))
