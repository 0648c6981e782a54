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
    gradient_norms,
    jacobian,
    kept_promises,
    relative_gradients,
    residual_blocks,
    residual_sizes,
    unchanged,
)
from resnet_lesson.training.transfer import freeze

LABELS = torch.arange(4)


@pytest.fixture
def network():
    """A network in the middle of somebody's work: mixed modes, gradients, a frozen part."""
    network = build("resnet14", seed=0).train()
    cross_entropy(network(torch.randn(4, 3, 8, 8)), LABELS).backward()
    network.stages[0].eval()
    network.stem.conv1.weight.requires_grad = False
    return network


def images(n=4):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def line(network, x, **options):
    return surface(network, x, LABELS[: len(x)], filter_direction(network), points=3, **options).loss[0].tolist()


MEASURES = {
    "passes": lambda network, x: [p.output.norm().item() for p in block_passes(network, x)],
    "norms": lambda network, x: gradient_norms(network, x, LABELS),
    "correlation": lambda network, x: gradient_correlation(network, x, (0.1, 0.5)),
    "correlation, untrained": lambda network, x: gradient_correlation(network, x, (0.1, 0.5), trained=False),
    "surface": line,
    "surface, batch": lambda network, x: line(network, x, batch_statistics=True),
    "error": lambda network, x: [lesions.error_of(network, [(x, LABELS)])],
    "error, batch": lambda network, x: [lesions.error_of(network, [(x, LABELS)], batch_statistics=True)],
    "lesions, batch": lambda network, x: lesions.drop_each(network, [(x, LABELS)], batch_statistics=True),
    "promises": lambda network, x: kept_promises(network, x, LABELS, [0.1])[0],
    "relative": lambda network, x: relative_gradients(network, x, LABELS),
}


@pytest.mark.parametrize("name", MEASURES)
def test_measures_leave_the_network_as_it_was_also_when_they_fail(network, name):
    before = state_of(network)
    assert len(MEASURES[name](network, images())) > 0 and is_as_before(network, before)
    whole, network.fc = network.fc, nn.Sequential(network.fc, nn.Linear(3, 3))  # fails at the end of the pass
    with pytest.raises(RuntimeError):
        MEASURES[name](network, images())
    network.fc = whole
    assert is_as_before(network, before)


@pytest.mark.parametrize("name", MEASURES)
def test_measures_of_a_network_that_leaves_out_at_random_leave_nothing_out(name):
    network = build("sdresnet14", seed=0, survival=0.1).train()
    network.pool = nn.Sequential(network.pool, nn.Dropout2d(0.5))
    random = torch.get_rng_state()
    assert MEASURES[name](network, images()) == MEASURES[name](build("resnet14", seed=0), images())
    torch.set_rng_state(random)
    MEASURES[name](network, images())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_between_forward_and_backward_changes_no_gradient(name):
    network = build("resnet14", seed=0).train()
    twin = copy.deepcopy(network)
    loss = cross_entropy(network(images()), LABELS)
    MEASURES[name](network, images())
    loss.backward()
    cross_entropy(twin(images()), LABELS).backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(network.parameters(), twin.parameters(), strict=True))


def test_unchanged_restores_everything_after_training_and_after_an_exception(network):
    before = state_of(network)
    with pytest.raises(RuntimeError, match="stop"), unchanged(network):
        assert all(parameter.grad is None for parameter in network.parameters())
        network.train()
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        cross_entropy(network(images()), LABELS).backward()
        optimiser.step()
        network.fc.weight.requires_grad = False
        raise RuntimeError("stop")
    assert is_as_before(network, before)


# --- what is measured


def test_jacobian_has_a_row_for_each_output_and_touches_nothing():
    a = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(jacobian(lambda x: a @ x, torch.ones(3)), a)
    layer, x = nn.Linear(3, 2), torch.tensor([1.0, 2.0, 3.0])
    assert torch.allclose(jacobian(layer, x), layer.weight) and not jacobian(layer, x).requires_grad
    assert layer.weight.grad is None and not x.requires_grad


def test_passes_are_what_the_network_computed_also_with_in_place_relus():
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
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    for a, b in zip(seen, block_passes(network, images()), strict=True):
        assert torch.equal(a.residual, b.residual) and torch.equal(a.x, b.x)
    assert residual_blocks(build("plain20")) == {} and block_passes(build("plain20"), images()) == []


@pytest.mark.parametrize("frozen", [False, True])
def test_batch_statistics_are_those_of_training_also_in_a_frozen_network(frozen):
    network = build("resnet14", seed=0)
    twin = copy.deepcopy(network).train()
    with torch.no_grad():
        expected = twin.stages(twin.stem(images()))
    network = freeze(network) if frozen else network
    assert torch.equal(block_passes(network, images(), batch_statistics=True)[-1].output, expected)


def test_preactivation_networks_are_an_exact_sum_and_ordinary_ones_are_not():
    for name, exact in (("preresnet20", True), ("resnet20", False)):
        passes = block_passes(build(name, seed=0), images())[:3]  # the first stage keeps its shape
        total = passes[0].x + sum(p.residual for p in passes)
        assert torch.allclose(total, passes[-1].output, atol=1e-5) == exact


def test_gradient_norms_are_those_of_a_step():
    network = build("resnet8", seed=0, shortcut="B").train()
    found = gradient_norms(network, images(), LABELS)
    cross_entropy(network(images()), LABELS).backward()
    layers = {n: m for n, m in network.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    assert list(found) == list(layers)
    assert all(found[n] == pytest.approx(layers[n].weight.grad.norm().item(), rel=1e-4) for n in found)


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


def test_gradients_far_away_are_less_alike_and_those_of_plain_networks_shatter():
    near = {}
    for name in ("plain20", "resnet20"):
        same, near[name], far = gradient_correlation(build(name, seed=0), images(16), (0.0, 0.03, 0.5), trained=False)
        assert same == pytest.approx(1) and near[name] > far
    assert near["resnet20"] > near["plain20"] + 0.2


def test_gradients_of_a_module_inside_are_those_of_its_own_outputs():
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 10), nn.ReLU(inplace=True), nn.Linear(10, 10))
    assert gradient_correlation(network, images(), (1.0,), at="1") == pytest.approx([1])  # linear, before the ReLU
    assert gradient_correlation(network, images(), (1.0,), at="2") != pytest.approx([1], abs=0.05)
    assert gradient_correlation(network, images(), (1.0,)) == gradient_correlation(network, images(), (1.0,), at="3")


@pytest.mark.parametrize(
    "n, options, says",
    [
        (1, {}, "at least two"),
        (4, {"at": "stage.0.0"}, "Did you mean 'stages.0.0'?"),
    ],
)
def test_neighbours_need_two_images_and_a_module_that_exists(n, options, says):
    with pytest.raises(ValueError, match=says):
        gradient_correlation(build("resnet8"), images(n), (0.1,), **options)


def test_the_size_of_f_is_measured_image_by_image():
    network = build("resnet8", seed=0, shortcut="B").eval()
    sizes = residual_sizes(network, images())
    for p in block_passes(network, images()):
        with torch.no_grad():
            shortcuts = p.block.shortcut(p.x)  # a projection in the second and third block
        ratios = [(f.norm() / s.norm()).item() for f, s in zip(p.residual, shortcuts, strict=True)]
        assert sizes[p.name] == pytest.approx(sum(ratios) / 4, rel=1e-4)
    assert list(sizes) == ["stages.0.0", "stages.1.0", "stages.2.0"]


def some(n):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, 8, 8, generator=generator), torch.arange(n) % 10


def test_relative_gradients_are_what_plain_sgd_replaces_of_each_layer(network):
    images, labels = some(16)
    before, found = state_of(network), relative_gradients(network, images, labels)
    assert is_as_before(network, before)
    plain = build("resnet8", seed=0)
    found = relative_gradients(plain, images, labels)
    weight = plain.stages[1][0].residual.conv2.weight
    old = weight.detach().clone()
    cross_entropy(plain.train()(images), labels).backward()
    torch.optim.SGD(plain.parameters(), lr=0.5).step()
    assert 0.5 * found["stages.1.0.residual.conv2"] == pytest.approx(
        ((weight - old).norm() / old.norm()).item(), rel=1e-3
    )


def test_a_small_promise_is_kept_and_a_large_one_is_not(network):
    images, labels = some(16)
    before = state_of(network)
    (tiny, huge), square = kept_promises(network, images, labels, (1e-3, 100.0))
    assert tiny == pytest.approx(1, abs=0.1) and huge < 0.5 and is_as_before(network, before)
    norms = gradient_norms(network, images, labels)
    convolutions = sum(norm**2 for name, norm in norms.items() if name != "fc")
    assert square > convolutions > 0.5 * square  # and those of BN; the linear layer is left out


def test_block_outputs_are_what_leaves_each_block_and_the_network_is_unchanged():
    network, images = build("plain20", seed=0), torch.randn(4, 3, 16, 16)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    outputs = block_outputs(network, images, batch_statistics=True)
    assert [tuple(x.shape[1:]) for x in outputs] == [(16, 16, 16)] * 3 + [(32, 8, 8)] * 3 + [(64, 4, 4)] * 3
    by_hand = network.train().stem(images)
    for block, output in zip((block for stage in network.stages for block in stage), outputs, strict=True):
        by_hand = block(by_hand)
        assert torch.allclose(by_hand, output, atol=1e-5)
    fresh = build("plain20", seed=0)
    block_outputs(fresh, images, batch_statistics=True)
    assert fresh.training and all(torch.equal(value, before[name]) for name, value in fresh.state_dict().items())
