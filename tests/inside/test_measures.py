"""Looking inside a network leaves it as it was, and sees what is there."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.functional import cross_entropy

from resnet_lesson import build
from resnet_lesson.inside.measures import (
    block_passes,
    gradient_correlation,
    gradient_norms,
    jacobian,
    own_statistics,
    residual_blocks,
    residual_sizes,
    responses,
    unchanged,
)


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


# --- gradients, responses, sizes


MEASURES = {
    "norms": lambda network, x: gradient_norms(network, x, torch.arange(len(x)) % 10),
    "correlation": lambda network, x: gradient_correlation(network, x, (0.1, 0.5)),
    "correlation, untrained": lambda network, x: gradient_correlation(network, x, (0.1, 0.5), trained=False),
    "responses": lambda network, x: responses(network, x),
    "responses, batch": lambda network, x: responses(network, x, batch_statistics=True),
    "sizes": lambda network, x: residual_sizes(network, x),
}


@pytest.mark.parametrize("name", MEASURES)
def test_measures_leave_the_network_as_it_was_also_when_they_fail(network, name):
    before = state_of(network)
    momenta = [module.momentum for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(MEASURES[name](network, images())) > 0 and is_as_before(network, before)
    with pytest.raises(RuntimeError):
        MEASURES[name](network, torch.randn(4, 5, 8, 8))  # five colours
    network.fc = nn.Sequential(network.fc, nn.Linear(3, 3))
    with pytest.raises(RuntimeError):
        MEASURES[name](network, images())
    network.fc = network.fc[0]
    assert is_as_before(network, before)
    assert momenta == [module.momentum for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_between_forward_and_backward_changes_no_gradient(name):
    network = build("resnet14", seed=0).train()
    twin = copy.deepcopy(network)
    loss = cross_entropy(network(images()), torch.arange(4))
    MEASURES[name](network, images())
    loss.backward()
    cross_entropy(twin(images()), torch.arange(4)).backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(network.parameters(), twin.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(network.buffers(), twin.buffers(), strict=True))


def test_with_their_own_statistics_evaluation_gives_what_training_mode_gives():
    network = build("resnet14", seed=0)
    with torch.no_grad(), own_statistics(network, images()):
        inside = network(images())
        assert not network.training
        alone = network(images()[:1])
    assert torch.allclose(alone, inside[:1], atol=1e-5)  # an image's answer does not depend on the others
    with torch.no_grad():
        expected = network.train()(images())
    # Running variances divide by n - 1, and a batch's own by n: 4 images of 2 by 2 pixels at the end.
    assert torch.allclose(inside, expected, atol=0.15 * expected.abs().max())


def test_gradient_norms_are_those_of_a_step():
    network = build("resnet8", seed=0, shortcut="B").train()
    found = gradient_norms(network, images(), torch.arange(4))
    cross_entropy(network(images()), torch.arange(4)).backward()
    layers = {n: m for n, m in network.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    assert list(found) == list(layers) and len(found) == 10
    assert all(found[n] == pytest.approx(m.weight.grad.norm().item(), rel=1e-4) for n, m in layers.items())
    assert gradient_norms(network.eval(), images(), torch.arange(4)) == found  # in training mode, whatever it was in


def test_a_layer_that_is_not_used_has_no_gradient():
    network = build("resnet8", seed=0)
    network.spare = nn.Linear(3, 3)
    assert gradient_norms(network, images(), torch.arange(4))["spare"] == 0


def test_a_compiled_network_is_measured_as_the_one_inside():
    network = build("resnet8", seed=0).eval()
    compiled = torch.compile(network, backend="eager")
    with torch.no_grad():
        compiled(images())  # from here on it would not look for new hooks
    found = responses(compiled, images())
    assert found == {f"_orig_mod.{name}": value for name, value in responses(network, images()).items()}


class Linear(nn.Module):
    """The same gradient everywhere."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(192, 10)

    def forward(self, x):
        return self.fc(x.flatten(1))


def test_gradients_of_a_linear_function_are_the_same_everywhere():
    assert gradient_correlation(Linear(), images(), (0.0, 0.5, 1.0)) == pytest.approx([1, 1, 1])


def test_a_correlation_is_that_of_the_gradients_of_one_random_sum():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Tanh(), nn.Linear(16, 10))
    network[1].weight.data = 3 * network[1].weight + 0.1  # so that it is no line, and the gradients' mean not 0
    x, weights = images(3), torch.randn(10, generator=torch.Generator().manual_seed(7))

    def gradient(image):
        return torch.func.grad(lambda pixels: network(pixels[None])[0] @ weights)(image).flatten()

    pairs = [torch.stack([gradient(x[i]), gradient(x[i].lerp(x[i - 1], 0.3))]) for i in range(3)]
    expected = sum(torch.corrcoef(pair)[0, 1].item() for pair in pairs) / 3
    assert gradient_correlation(network, x, (0.3,), seed=7) == pytest.approx([expected], abs=1e-5)
    assert gradient_correlation(network, x, (0.3,), seed=8) != pytest.approx([expected], abs=1e-2)


def test_gradients_of_a_trained_network_are_those_in_evaluation_mode():
    network = build("resnet14", seed=0)
    found = gradient_correlation(network.eval(), images(), (0.1, 0.5))
    assert gradient_correlation(network.train(), images(), (0.1, 0.5)) == found
    assert gradient_correlation(network, images(), (0.1, 0.5), trained=False) != pytest.approx(found, abs=1e-3)


def test_gradients_far_away_are_less_alike_and_those_of_plain_networks_shatter():
    near, far = {}, {}
    for name in ("plain20", "resnet20"):
        same, near[name], far[name] = gradient_correlation(
            build(name, seed=0), images(16), (0.0, 0.03, 0.5), trained=False
        )
        assert same == pytest.approx(1) and near[name] > far[name]
    assert near["resnet20"] > near["plain20"] + 0.2


def test_gradients_of_a_module_inside_are_those_of_its_own_outputs():
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 10), nn.ReLU(inplace=True), nn.Linear(10, 10))
    assert gradient_correlation(network, images(), (1.0,), at="1") == pytest.approx([1])  # linear, before the ReLU
    assert gradient_correlation(network, images(), (1.0,), at="2") != pytest.approx([1], abs=0.05)
    assert gradient_correlation(network, images(), (1.0,)) == gradient_correlation(network, images(), (1.0,), at="3")
    assert not network[1]._forward_hooks


def test_neighbours_need_two_images_and_a_module_that_exists():
    with pytest.raises(ValueError, match="at least two"):
        gradient_correlation(build("resnet8"), images(1), (0.1,))
    with pytest.raises(ValueError, match="Did you mean 'stages.0.0'?"):
        gradient_correlation(build("resnet8"), images(), (0.1,), at="stage.0.0")
    with pytest.raises(ValueError, match="from 0 to 1"):
        gradient_correlation(build("resnet8"), images(), (0.1, 1.5))


def test_responses_are_those_after_each_bn_outside_of_shortcuts():
    network = build("resnet8", seed=0, shortcut="B").eval()
    found = responses(network, images())
    names = [f"stages.{i}.0.residual.bn{j}" for i in range(3) for j in (1, 2)]
    assert list(found) == ["stem.bn1", *names]
    with torch.no_grad():
        x = network.stem.conv1(images())
        assert found["stem.bn1"] == pytest.approx(network.stem.bn1(x).std().item())
    nn.init.zeros_(network.stages[2][0].residual.bn2.weight)
    assert responses(network, images())["stages.2.0.residual.bn2"] == 0
    batch = responses(network, images(), batch_statistics=True)
    assert batch["stem.bn1"] == pytest.approx(1, abs=0.02) != found["stem.bn1"]


def test_responses_of_torchvisions_networks_leave_out_shortcuts_too():
    found = responses(torchvision.models.resnet18(), images(2))
    assert list(found) == ["bn1", *(f"layer{i}.{j}.bn{k}" for i in range(1, 5) for j in (0, 1) for k in (1, 2))]


def test_the_size_of_f_is_measured_image_by_image():
    network = build("resnet8", seed=0, shortcut="B").eval()
    for p in block_passes(network, images()):
        with torch.no_grad():
            shortcuts = p.block.shortcut(p.x)  # a projection in the second and third block
        ratios = [(f.norm() / s.norm()).item() for f, s in zip(p.residual, shortcuts, strict=True)]
        assert residual_sizes(network, images())[p.name] == pytest.approx(sum(ratios) / 4, rel=1e-4)
    assert list(residual_sizes(network, images())) == ["stages.0.0", "stages.1.0", "stages.2.0"]
