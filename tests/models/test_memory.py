"""Recomputation: the same numbers as the ordinary network, bit for bit, with less kept for the backward pass."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_lesson.models.blocks import Bottleneck
from resnet_lesson.models.memory import recompute
from resnet_lesson.models.networks import build
from resnet_lesson.models.resnet import ResNet

NETWORKS = {
    "plain": lambda: build("plain14", seed=0),
    "basic, A": lambda: build("resnet20", seed=0),
    "bottleneck": lambda: ResNet(Bottleneck, (2, 1), (8, 16), (1, 2), "cifar", 10),
    "partly frozen": lambda: frozen(build("resnet20", seed=0)),
}


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in one order, so that equal means equal bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def frozen(network):
    network.stages[0].requires_grad_(False).eval()
    return network


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, 3, 16, 16, generator=generator), torch.randint(10, (8,), generator=generator)


def pair(name="basic, A"):
    """An ordinary network and its copy that recomputes."""
    ordinary = NETWORKS[name]()
    return ordinary, recompute(copy.deepcopy(ordinary))


def gradients(network):
    """Logits and gradients of one batch."""
    images, labels = batch()
    network.zero_grad()
    logits = network(images)
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

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = network(batch()[0])  # held, so that no storage is freed and counted under another's address
    assert logits.requires_grad
    return sum(storages.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_give_the_same_numbers_bit_for_bit(name):
    networks = pair(name)
    optimisers = [torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9) for network in networks]
    for seed in range(2):
        images, labels = batch(seed)
        for network, optimiser in zip(networks, optimisers, strict=True):
            optimiser.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimiser.step()
    ordinary, recomputing = (network.state_dict() for network in networks)
    assert list(ordinary) == list(recomputing)
    assert equal(list(ordinary.values()), list(recomputing.values()))  # running statistics and their counts too


def test_compiled_it_recomputes_too_and_updates_the_statistics_once():
    torch.compiler.reset()
    ordinary = build("resnet8", seed=0)
    recomputing = recompute(copy.deepcopy(ordinary))
    models = [ordinary, torch.compile(recomputing, backend="aot_eager")]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*map(gradients, models), strict=True))
    states = [list(network.state_dict().values()) for network in (ordinary, recomputing)]
    assert all(map(torch.allclose, *states))


def test_less_is_kept_and_it_grows_with_the_square_root_of_the_depth():
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
    assert equal(gradients(ordinary.eval()), gradients(recomputing.eval())) and calls == [1]
    assert not any(module.training for module in recompute(build("resnet14").eval()).modules())


def test_bfloat16_is_recomputed_in_bfloat16():
    networks = pair()
    with torch.autocast("cpu", torch.bfloat16):
        logits = [network(batch()[0]).float() for network in networks]
    for one in logits:  # the backward pass runs outside autocast, as in training
        F.cross_entropy(one, batch()[1]).backward()
    assert equal(*([p.grad for p in network.parameters()] for network in networks))


@pytest.mark.parametrize("other", [nn.Sequential(nn.Conv2d(3, 8, 3)), nn.DataParallel(build("resnet8"))])
def test_other_modules_are_refused(other):
    with pytest.raises(TypeError, match=f"not {type(other).__name__}: call it before"):
        recompute(other)
