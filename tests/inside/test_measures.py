"""Looking inside a network leaves it as it was, sees what is there, and always gives the same numbers."""

import copy

import pytest
import torch
from support.state import is_as_before, state_of
from torch import nn
from torch.nn.functional import cross_entropy

from resnet_lesson import build
from resnet_lesson.inside import lesions
from resnet_lesson.inside.landscape import filter_direction, surface
from resnet_lesson.inside.measures import (
    block_outputs,
    block_passes,
    gradient_correlation,
    jacobian,
    kept_promises,
    relative_gradients,
    residual_sizes,
)
from resnet_lesson.training.transfer import freeze

LABELS = torch.arange(4)


def images(n=4):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def line(network, x, **how):
    return surface(network, x, LABELS, filter_direction(network), points=3, **how).loss.tolist()


MEASURES = {
    "passes": lambda network, x: [p.output.norm().item() for p in block_passes(network, x)],
    "outputs": lambda network, x: [output.norm().item() for output in block_outputs(network, x)],
    "relative": lambda network, x: relative_gradients(network, x, LABELS),
    "promises": lambda network, x: kept_promises(network, x, LABELS, [0.1])[0],
    "correlation": lambda network, x: gradient_correlation(network, x, (0.1, 0.5)),
    "correlation, untrained": lambda network, x: gradient_correlation(network, x, (0.1, 0.5), trained=False),
    "surface": line,
    "surface, batch": lambda network, x: line(network, x, batch_statistics=True),
    "lesions": lambda network, x: lesions.drop_each(network, [(x, LABELS)]),
    "lesions, batch": lambda network, x: lesions.drop_each(network, [(x, LABELS)], batch_statistics=True),
}


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_leaves_the_network_as_it_was_and_nothing_out_at_random(name):
    network = build("sdresnet14", seed=0, survival=0.1)
    network.pool = nn.Sequential(network.pool, nn.Dropout2d(0.5))
    for parameter in network.train().parameters():  # in the middle of somebody's work
        parameter.grad = torch.ones_like(parameter)
    network.stages[0].eval()
    network.stem.conv1.weight.requires_grad = False
    before, random = state_of(network), torch.get_rng_state()
    found = MEASURES[name](network, images())
    assert is_as_before(network, before) and torch.equal(torch.get_rng_state(), random)
    assert found == MEASURES[name](build("resnet14", seed=0), images())


def test_a_jacobian_has_a_row_for_each_output():
    a = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(jacobian(lambda x: a @ x, torch.ones(3)), a)
    layer, x = nn.Linear(3, 2), torch.tensor([1.0, 2.0, 3.0])
    assert torch.allclose(jacobian(layer, x), layer.weight) and not jacobian(layer, x).requires_grad
    assert layer.weight.grad is None and not x.requires_grad


def test_passes_are_what_the_network_computed_also_with_in_place_relus():
    network = build("resnet20", seed=0).eval()
    seen = block_passes(network, images())
    assert [p.name for p in seen] == [f"stages.{i}.{j}" for i in range(3) for j in range(3)]
    with torch.no_grad():
        x = network.stem(images())
        for p in seen:
            block = network.get_submodule(p.name)
            assert torch.equal(p.shortcut, block.shortcut(x)) and not p.residual.requires_grad
            assert torch.equal(p.output, (p.residual + p.shortcut).relu())
            x = block(x)
            assert torch.equal(p.output, x)
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    for a, b in zip(seen, block_passes(network, images()), strict=True):
        assert torch.equal(a.residual, b.residual) and torch.equal(a.shortcut, b.shortcut)
    assert block_passes(build("plain20"), images()) == []


def test_block_outputs_are_what_leaves_each_block_also_of_a_plain_network():
    network = build("plain20", seed=0)
    outputs = block_outputs(network, images(), batch_statistics=True)
    x = network.train().stem(images())
    for block, output in zip(lesions.blocks_of(network).values(), outputs, strict=True):
        x = block(x)
        assert torch.allclose(x, output, atol=1e-5)


def test_batch_statistics_are_those_of_training_also_in_a_frozen_network():
    network = build("resnet14", seed=0)
    twin = copy.deepcopy(network).train()
    with torch.no_grad():
        expected = twin.stages(twin.stem(images()))
    assert torch.equal(block_passes(freeze(network), images(), batch_statistics=True)[-1].output, expected)


def test_relative_gradients_are_what_plain_sgd_replaces_of_each_layer():
    network = build("resnet8", seed=0, shortcut="B").train()
    found = relative_gradients(network, images(), LABELS)
    layers = {n: m for n, m in network.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    old = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    cross_entropy(network(images()), LABELS).backward()
    torch.optim.SGD(network.parameters(), lr=0.5).step()
    replaced = {n: ((layer.weight - old[n]).norm() / old[n].norm()).item() for n, layer in layers.items()}
    assert list(found) == list(layers) and {n: 0.5 * one for n, one in found.items()} == pytest.approx(
        replaced, rel=1e-3
    )


def test_a_small_promise_is_kept_and_a_large_one_is_not():
    network = build("resnet14", seed=0).train()
    (tiny, huge), square = kept_promises(network, images(), LABELS, (1e-3, 100.0))
    assert tiny == pytest.approx(1, abs=0.1) and huge < 0.5
    cross_entropy(network(images()), LABELS).backward()  # the linear layer is left out
    by_hand = sum(p.grad.square().sum().item() for name, p in network.named_parameters() if not name.startswith("fc."))
    assert square == pytest.approx(by_hand, rel=1e-4)


def test_a_correlation_is_that_of_the_gradients_of_one_random_sum():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Tanh(), nn.Linear(16, 10))
    network[1].weight.data = 3 * network[1].weight + 0.1  # so that it is no line, and the gradients' mean not 0
    x, weights = images(3), torch.randn(10, generator=torch.Generator().manual_seed(0))

    def gradient(image):
        return torch.func.grad(lambda pixels: network(pixels[None])[0] @ weights)(image).flatten()

    pairs = [torch.stack([gradient(x[i]), gradient(x[i].lerp(x[i - 1], 0.3))]) for i in range(3)]
    expected = sum(torch.corrcoef(pair)[0, 1].item() for pair in pairs) / 3
    assert gradient_correlation(network, x, (0.3,)) == pytest.approx([expected], abs=1e-5)


def test_gradients_far_away_are_less_alike_and_those_of_plain_networks_shatter():
    near = {}
    for name in ("plain20", "resnet20"):
        same, near[name], far = gradient_correlation(build(name, seed=0), images(16), (0.0, 0.03, 0.5), trained=False)
        assert same == pytest.approx(1) and near[name] > far
    assert near["resnet20"] > near["plain20"] + 0.2


def test_the_size_of_f_is_measured_image_by_image():
    network = build("resnet8", seed=0, shortcut="B")
    sizes = residual_sizes(network, images())
    for p in block_passes(network, images()):
        ratios = [(f.norm() / s.norm()).item() for f, s in zip(p.residual, p.shortcut, strict=True)]
        assert sizes[p.name] == pytest.approx(sum(ratios) / 4, rel=1e-4)
    assert list(sizes) == ["stages.0.0", "stages.1.0", "stages.2.0"]
