"""The cost: multiply-adds as the paper and torchvision print them, layer by layer, the network untouched."""

import copy

import pytest
import torch
from torch import nn

from resnet_lesson.models.cost import cost_of
from resnet_lesson.models.networks import build

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)


def cost(name, input_shape=CIFAR, **options):
    with torch.device("meta"):
        return cost_of(build(name, **options), input_shape)


def by_hand(module, output):
    """Multiply-adds of one layer from its shapes."""
    if isinstance(module, nn.Conv2d):
        return output.numel() * module.weight[0].numel()
    return module.weight.numel() if isinstance(module, nn.Linear) else 0


@pytest.mark.parametrize(
    "name, options, macs",
    [("resnet20", {}, 40_551_040), ("plain20", {}, 40_551_040), ("resnet20", {"shortcut": "B"}, 40_813_184)],
)
def test_resnet20_costs_to_the_unit(name, options, macs):
    assert cost(name, **options).macs == macs


@pytest.mark.parametrize(
    "name, options, gmacs",
    [
        # CIFAR-10 networks of table 6
        ("resnet32", {}, 0.06886),
        ("resnet56", {}, 0.12549),
        ("resnet110", {}, 0.25289),
        # torchvision's
        ("resnet18", {}, 1.814),
        ("resnet34", {}, 3.664),
        ("resnet50", {}, 4.089),
        ("resnet101", {}, 7.801),
        ("resnet152", {}, 11.514),
        ("resnext50_32x4d", {}, 4.230),
        ("wide_resnet50_2", {}, 11.398),
        # the paper's table 1 rounds these to 3.6 and 3.8
        ("plain34", {}, 3.644),
        ("resnet34", {"shortcut": "A"}, 3.644),
        ("resnet50", {"stride_in": "1x1"}, 3.858),
    ],
)
def test_networks_cost_what_the_paper_and_torchvision_give(name, options, gmacs):
    shape = IMAGENET if gmacs > 1 else CIFAR
    assert cost(name, shape, **options).macs / 1e9 == pytest.approx(gmacs, rel=4e-4)


@pytest.mark.parametrize(
    "name, shape", [("resnet20", CIFAR), ("lab10_6", (3, 31, 25)), ("plain18", (3, 65, 64)), ("resnext11_2x8d", CIFAR)]
)
def test_layers_are_those_of_a_real_forward_pass_and_add_up(name, shape):
    network, seen = build(name).eval(), []
    modules = dict(network.named_modules())
    for path, module in modules.items():
        if not any(True for _ in module.children()):
            module.register_forward_hook(lambda _, __, output, path=path: seen.append((path, output[0])))
    found = cost_of(network, shape)
    assert not seen, "hooks of the caller are not called"
    with torch.no_grad():
        network(torch.randn(1, *shape))
    assert [(layer.name, layer.output) for layer in found.layers] == [(path, tuple(o.shape)) for path, o in seen]
    for layer, (path, output) in zip(found.layers, seen, strict=True):
        assert layer.kind == type(modules[path]).__name__
        assert layer.macs == by_hand(modules[path], output), path
        assert layer.parameters == sum(p.numel() for p in modules[path].parameters())
        assert layer.activations == output.numel()
    assert sum(layer.macs for layer in found.layers) == found.macs
    assert sum(layer.parameters for layer in found.layers) == found.parameters
    made = [layer.activations for layer in found.layers if layer.kind != "Identity"]  # it passes on what is there
    assert sum(made) == found.activations


@pytest.mark.parametrize("training", [True, False])
def test_network_is_not_changed(training):
    network = build("resnet20", seed=0).train(training)
    network.stages[1].eval()  # a part may be in another mode than the rest
    modes = [module.training for module in network.modules()]
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    cost_of(network)
    assert [module.training for module in network.modules()] == modes
    assert all(p.device.type == "cpu" and p.requires_grad and p.grad is None for p in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "module, macs", [(nn.Conv2d(3, 4, 3), 4 * 6 * 6 * 27), (nn.Sequential(nn.Conv2d(3, 4, 1)), 768)]
)
def test_single_layer_is_counted_as_its_own_only_layer(module, macs):
    assert [layer.macs for layer in cost_of(module, (3, 8, 8)).layers] == [macs]


@pytest.mark.parametrize("shape", [(32, 32), (1, 3, 32, 32), ()])
def test_shape_that_is_not_channels_height_width_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(channels, height, width\)"):
        cost_of(build("resnet8"), shape)


def test_printed_table_has_a_row_for_each_layer_and_the_total():
    found = cost("resnet20")
    head, *rows, total = str(found).splitlines()
    assert len(rows) == len(found.layers) and rows[0].split() == ["stem.conv1", "Conv2d", "16x32x32", "432", "442,368"]
    assert total.split() == ["total", "269,722", "40,551,040"]
    assert len({len(line) for line in (head, *rows, total)}) == 1
