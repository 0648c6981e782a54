"""Recomputation: the same numbers as the ordinary network, bit for bit, with less kept for the backward pass."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_lesson.models.blocks import Bottleneck
from resnet_lesson.models.memory import recompute
from resnet_lesson.models.networks import build
from resnet_lesson.models.resnet import ResNet


def bottlenecks(change=lambda norm: norm):
    """A small network; `change` makes something else of each BN."""
    network = ResNet(Bottleneck, (2, 1), (8, 16), (1, 2), "cifar", 10)
    for module in list(network.modules()):
        for name, part in module.named_children():
            if isinstance(part, nn.BatchNorm2d):
                setattr(module, name, change(part))
    return network


NETWORKS = {
    "plain": lambda: build("plain14", seed=0),
    "basic, A": lambda: build("resnet20", seed=0),
    "basic, B": lambda: build("resnet14", seed=0, shortcut="B"),
    "bottleneck": bottlenecks,
    "cumulative average": lambda: bottlenecks(lambda norm: nn.BatchNorm2d(norm.num_features, momentum=None)),
    "group norm": lambda: bottlenecks(lambda norm: nn.GroupNorm(4, norm.num_features)),
}


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in one order, so that equal means equal bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, 3, 16, 16, generator=generator), torch.randint(10, (8,), generator=generator)


def pair(name="basic, A", **options):
    """An ordinary network and its copy that recomputes."""
    ordinary = NETWORKS[name]()
    return ordinary, recompute(copy.deepcopy(ordinary), **options)


def gradients(network, between=lambda network: None, images=None):
    """Logits and gradients of one batch; `between` is called after the forward pass."""
    images, labels = (images, batch()[1]) if images is not None else batch()
    network.zero_grad()
    logits = network(images)
    between(network)
    F.cross_entropy(logits, labels).backward()
    return [logits.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]


def equal(ours, theirs):
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


def kept(network):
    """Bytes kept for the backward pass, without the weights."""
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    images, _ = batch()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = network(images)  # held, so that no storage is freed and counted under another's address
    assert logits.requires_grad
    return sum(storages.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_three_steps_give_the_same_numbers_bit_for_bit(name):
    networks = pair(name)
    optimisers = [torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9) for network in networks]
    for seed in range(3):
        images, labels = batch(seed)
        results = []
        for network, optimiser in zip(networks, optimisers, strict=True):
            logits = network(images)
            optimiser.zero_grad()
            F.cross_entropy(logits, labels).backward()
            results.append([logits.detach(), *(p.grad for p in network.parameters())])
            optimiser.step()
        assert equal(*results)
    ordinary, recomputing = (network.state_dict() for network in networks)
    assert list(ordinary) == list(recomputing)
    assert equal(list(ordinary.values()), list(recomputing.values()))  # running statistics and their counts too


def test_compiled_it_recomputes_too_and_updates_the_statistics_once():
    torch.compiler.reset()
    networks = pair()
    models = [networks[0], torch.compile(networks[1], backend="aot_eager")]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*map(gradients, models), strict=True))
    ordinary, recomputing = (network.state_dict() for network in networks)
    assert all(torch.allclose(ordinary[key], recomputing[key]) for key in ordinary)


@pytest.mark.parametrize("every", [1, 2, 9, 100])
def test_groups_of_any_size_give_the_same_gradients_and_the_size_can_be_changed(every):
    ordinary, recomputing = pair(every=every)
    expected, keys = gradients(ordinary), list(ordinary.state_dict())
    assert equal(expected, gradients(recomputing))
    ordinary, recomputing = pair(every=3)
    assert recompute(recomputing, every=every) is recomputing and recomputing.stages.every == every
    assert list(recomputing.state_dict()) == keys and equal(expected, gradients(recomputing))


def test_less_is_kept_and_the_default_grows_with_the_square_root_of_the_depth():
    def ratio(depth):
        ordinary = build(f"resnet{depth}", seed=0)
        return kept(recompute(copy.deepcopy(ordinary))) / kept(ordinary)

    shallow, deep = ratio(20), ratio(80)
    assert shallow < 0.4
    assert deep < 0.6 * shallow  # four times as many blocks, twice as many groups


def test_the_inside_of_one_group_at_a_time_is_computed_again():
    network = recompute(build("resnet20", seed=0))  # 9 blocks in groups of 3
    order = []
    for index, block in enumerate(block for stage in network.stages for block in stage):
        block.register_forward_pre_hook(lambda *_, index=index: order.append(index))
    gradients(network)
    assert order == [*range(9), 6, 7, 8, 3, 4, 5, 0, 1, 2]


def test_evaluation_computes_nothing_twice_and_gives_the_same():
    ordinary, recomputing = pair()
    calls = []
    recomputing.stages[0][0].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        assert torch.equal(recomputing(batch()[0]), ordinary(batch()[0]))
    assert equal(list(ordinary.state_dict().values()), list(recomputing.state_dict().values()))
    assert equal(gradients(ordinary.eval()), gradients(recomputing.eval())) and calls == [1, 1]


def test_modes_and_frozen_parts_stay_as_they_are():
    ordinary, recomputing = pair()
    assert equal(gradients(ordinary), gradients(recomputing, between=nn.Module.eval)), (
        "changed before the backward pass"
    )
    assert not any(module.training for module in recomputing.modules())
    networks = pair()
    for network in networks:
        network.stem.requires_grad_(False)
        network.stages[0].requires_grad_(False)
        network.stages[0].eval()
    assert equal(*map(gradients, networks))
    assert equal(*(list(network.state_dict().values()) for network in networks))
    assert not any(module.training for module in recompute(build("resnet14").eval()).modules())


def test_a_gradient_with_respect_to_the_images_comes_through():
    networks = pair()
    images = [batch()[0].requires_grad_() for _ in networks]
    for network, image in zip(networks, images, strict=True):
        gradients(network, images=image)
    assert torch.equal(images[0].grad, images[1].grad)


def test_bfloat16_is_recomputed_in_bfloat16():
    networks = pair()
    with torch.autocast("cpu", torch.bfloat16):
        logits = [network(batch()[0]).float() for network in networks]
    for one in logits:  # the backward pass runs outside autocast, as in training
        F.cross_entropy(one, batch()[1]).backward()
    assert equal(*([p.grad for p in network.parameters()] for network in networks))


def test_copies_and_pickles_recompute_too():
    ordinary, recomputing = pair(every=2)
    expected = gradients(ordinary)
    for another in (copy.deepcopy(recomputing), pickle.loads(pickle.dumps(recomputing))):
        assert another.stages.every == 2 and another.spec == ordinary.spec
        assert kept(another) < kept(ordinary)
        another.load_state_dict(pair()[0].state_dict())  # `kept` moved the running statistics
        assert equal(gradients(another), expected)


def test_other_modules_and_empty_groups_are_refused():
    for other in (nn.Sequential(nn.Conv2d(3, 8, 3)), nn.DataParallel(build("resnet8"))):
        with pytest.raises(TypeError, match=f"not {type(other).__name__}: call it before"):
            recompute(other)
    with pytest.raises(ValueError, match="at least one block, not 0"):
        recompute(build("resnet8"), every=0)
