"""Looking inside a network leaves it as it was, and sees what is there."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from resnet_lesson import build
from resnet_lesson.probes import block_passes, jacobian, residual_blocks, unchanged


def state_of(network):
    """All that a measurement could leave changed."""
    return {
        "values": {key: value.clone() for key, value in network.state_dict().items()},
        "gradients": {key: parameter.grad for key, parameter in network.named_parameters()},
        "frozen": {key: parameter.requires_grad for key, parameter in network.named_parameters()},
        "modes": {key: module.training for key, module in network.named_modules()},
        "hooks": {key: len(module._forward_hooks) for key, module in network.named_modules()},
    }


def is_as_before(network, before):
    now = state_of(network)
    same = all(torch.equal(value, now["values"][key]) for key, value in before["values"].items())
    same &= all(gradient is now["gradients"][key] for key, gradient in before["gradients"].items())
    return same and all(now[what] == before[what] for what in ("frozen", "modes", "hooks"))


@pytest.fixture
def network():
    """A network in the middle of somebody's work: mixed modes, gradients, a frozen part."""
    network = build("resnet14", seed=0).train()
    cross_entropy(network(torch.randn(4, 3, 8, 8)), torch.arange(4)).backward()
    network.stages[0].eval()
    network.stem.conv1.weight.requires_grad = False
    return network


def images(n=4):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_jacobian_has_a_row_for_each_output():
    a = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(jacobian(lambda x: a @ x, torch.ones(3)), a)


def test_jacobian_is_taken_at_x_and_touches_nothing():
    layer, x = nn.Linear(3, 3), torch.tensor([1.0, 2.0, 3.0])
    result = jacobian(lambda v: layer(v).detach() + v**2, x)
    assert torch.equal(result, torch.diag(2 * x))
    assert torch.allclose(jacobian(layer, x), layer.weight) and not jacobian(layer, x).requires_grad
    assert layer.weight.grad is None and not x.requires_grad


def test_unchanged_restores_everything_after_training_inside(network):
    before = state_of(network)
    with unchanged(network):
        assert all(parameter.grad is None for parameter in network.parameters())
        network.train()
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        cross_entropy(network(images()), torch.arange(4)).backward()
        optimiser.step()
        network.fc.weight.requires_grad = False
    assert is_as_before(network, before)


def test_unchanged_restores_after_an_exception(network):
    before = state_of(network)
    with pytest.raises(RuntimeError, match="stop"), unchanged(network):
        network.eval()
        nn.init.zeros_(network.fc.weight)
        raise RuntimeError("stop")
    assert is_as_before(network, before)


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_passes_leave_the_network_as_it_was(network, batch_statistics):
    before = state_of(network)
    block_passes(network, images(), batch_statistics=batch_statistics)
    assert is_as_before(network, before)


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_passes_leave_the_network_as_it_was_when_they_fail(network, batch_statistics):
    before = state_of(network)
    with pytest.raises(RuntimeError):
        block_passes(network, torch.randn(4, 5, 8, 8), batch_statistics=batch_statistics)  # five colours
    network.fc = nn.Sequential(network.fc, nn.Linear(3, 3))  # fails at the very end of the pass
    with pytest.raises(RuntimeError):
        block_passes(network, images(), batch_statistics=batch_statistics)
    network.fc = network.fc[0]
    assert is_as_before(network, before)


def test_passes_do_not_spoil_a_graph(network):
    loss = cross_entropy(network(images()), torch.arange(4))
    block_passes(network, images())
    loss.backward()


def test_passes_are_what_the_network_computed():
    network = build("resnet20", seed=0).eval()
    seen = block_passes(network, images())
    assert [p.name for p in seen] == [f"stages.{i}.{j}" for i in range(3) for j in range(3)]
    assert [p.is_identity for p in seen] == [True] * 3 + [False, True, True] * 2
    with torch.no_grad():
        x = network.stem(images())
        for p in seen:
            assert torch.equal(p.x, x) and not p.residual.requires_grad
            assert torch.equal(p.output, (p.residual + p.shortcut).relu())
            x = p.block(x)
            assert torch.equal(p.output, x)


def test_batch_statistics_are_those_of_training():
    network = build("resnet14", seed=0)
    twin = copy.deepcopy(network).train()
    with torch.no_grad():
        expected = twin.stages(twin.stem(images()))
    assert torch.equal(block_passes(network, images(), batch_statistics=True)[-1].output, expected)


def test_a_zero_start_shows_no_residual():
    network = build("resnet14", seed=0, zero_init_residual=True)
    assert all(p.residual.abs().max() == 0 for p in block_passes(network, images(), batch_statistics=True))


def test_an_in_place_relu_does_not_change_what_was_seen():
    network = build("resnet14", seed=0).eval()
    expected = block_passes(network, images())
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    for a, b in zip(expected, block_passes(network, images()), strict=True):
        assert torch.equal(a.residual, b.residual) and torch.equal(a.x, b.x) and torch.equal(a.output, b.output)


def test_a_plain_network_has_no_residual_blocks():
    assert residual_blocks(build("plain20")) == {} and block_passes(build("plain20"), images()) == []
