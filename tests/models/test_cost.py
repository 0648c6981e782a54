"""The cost: multiply-adds as the paper and torchvision print them, layer by layer, the network untouched."""

import copy

import pytest
import torch
from torch import nn

from resnet_lesson.models.cost import cost_of
from resnet_lesson.models.networks import build

IMAGENET = (3, 224, 224)


def cost(name, input_shape=(3, 32, 32), **options):
    with torch.device("meta"):
        return cost_of(build(name, **options), input_shape)


def by_hand(module, output):
    """Multiply-adds of one layer from its shapes."""
    if isinstance(module, nn.Conv2d):
        return output.numel() * module.weight[0].numel()
    return module.weight.numel() if isinstance(module, nn.Linear) else 0


@pytest.mark.parametrize(
    "name, options, macs, parameters",
    [
        ("resnet20", {}, 40_551_040, 269_722),
        ("plain20", {}, 40_551_040, 269_722),
        ("resnet20", {"shortcut": "B"}, 40_813_184, 272_474),
    ],
    ids=str,
)
def test_resnet20_costs_to_the_unit(name, options, macs, parameters):
    found = cost(name, **options)
    assert (found.macs, found.parameters) == (macs, parameters)


@pytest.mark.parametrize("depth, mmacs", [(20, 40.55), (32, 68.86), (44, 97.17), (56, 125.49), (110, 252.89)])
def test_cifar_networks_cost_what_table_6_gives(depth, mmacs):
    assert round(cost(f"resnet{depth}").macs / 1e6, 2) == mmacs


def test_1202_layers_are_counted_without_computing_them():
    found = cost("resnet1202")
    assert round(found.macs / 1e6) == 2829 and found.parameters == 19_421_274
    assert sum(layer.kind == "Conv2d" for layer in found.layers) == 1201


@pytest.mark.parametrize(
    "name, gmacs",
    [
        ("resnet18", 1.814),
        ("resnet34", 3.664),
        ("resnet50", 4.089),
        ("resnet101", 7.801),
        ("resnet152", 11.514),
        ("resnext50_32x4d", 4.23),
        ("wide_resnet50_2", 11.398),
    ],
)
def test_imagenet_networks_cost_what_torchvision_gives(name, gmacs):
    assert cost(name, IMAGENET).macs / 1e9 == pytest.approx(gmacs, abs=0.0005 if gmacs != 4.23 else 0.005)


@pytest.mark.parametrize(
    "name, options, gmacs, table_1",
    [
        ("resnet18", {"shortcut": "A"}, 1.8, 1.8),
        ("resnet34", {"shortcut": "A"}, 3.6, 3.6),
        ("plain34", {}, 3.6, 3.6),
        ("resnet50", {"stride_in": "1x1"}, 3.858, 3.8),
        ("resnet101", {"stride_in": "1x1"}, 7.57, 7.6),
        ("resnet152", {"stride_in": "1x1"}, 11.28, 11.3),
    ],
)
def test_v1_networks_cost_what_table_1_gives(name, options, gmacs, table_1):
    found = cost(name, IMAGENET, **options).macs / 1e9
    assert found == pytest.approx(table_1, abs=0.1)
    assert found == pytest.approx(gmacs, abs=0.0005 if gmacs == 3.858 else 0.06)


@pytest.mark.parametrize("name, shape", [("resnet20", (3, 32, 32)), ("lab10_6", (3, 31, 25)), ("plain18", (3, 65, 64))])
def test_layers_are_those_of_a_real_forward_pass_in_its_order(name, shape):
    network, seen = build(name).eval(), []
    modules = dict(network.named_modules())
    for path, module in modules.items():
        if not any(True for _ in module.children()):
            module.register_forward_hook(lambda _, __, output, path=path: seen.append((path, output[0])))
    found = cost_of(network, shape)
    assert not seen
    with torch.no_grad():
        network(torch.randn(1, *shape))
    assert [(layer.name, layer.output) for layer in found.layers] == [(path, tuple(o.shape)) for path, o in seen]
    for layer, (path, output) in zip(found.layers, seen, strict=True):
        assert layer.kind == type(modules[path]).__name__
        assert layer.macs == by_hand(modules[path], output), path
        assert layer.parameters == sum(p.numel() for p in modules[path].parameters())
        assert layer.activations == output.numel()


@pytest.mark.parametrize("name, options", [("resnet20", {"shortcut": "C"}), ("resnet50", {}), ("resnext50_32x4d", {})])
def test_layers_add_up_to_the_total(name, options):
    found = cost(name, (3, 64, 64), **options)
    assert sum(layer.macs for layer in found.layers) == found.macs > 0
    assert sum(layer.parameters for layer in found.layers) == found.parameters > 0
    made = [
        layer.activations for layer in found.layers if layer.kind != "Identity"
    ]  # an identity passes on what is there
    assert sum(made) == found.activations > 0


def test_first_and_last_layer_by_hand():
    layers = cost("resnet20").layers
    assert (layers[0].kind, layers[0].output, layers[0].parameters) == ("Conv2d", (16, 32, 32), 3 * 16 * 9)
    assert layers[0].macs == 3 * 16 * 9 * 32 * 32 and layers[0].activations == 16 * 32 * 32
    assert (layers[-1].kind, layers[-1].output, layers[-1].parameters) == ("Linear", (10,), 650)
    assert layers[-1].macs == 640


def test_shape_of_the_image_matters():
    assert cost("resnet20", (3, 64, 64)).macs - 640 == 4 * (cost("resnet20").macs - 640)


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


def test_hooks_of_the_caller_are_kept_and_not_called():
    network, seen = build("resnet8"), []
    network.fc.register_forward_hook(lambda _, __, output: seen.append(output.sum().item()))
    assert cost_of(network).parameters and not seen
    network(torch.zeros(2, 3, 8, 8))
    assert len(seen) == 1


@pytest.mark.parametrize(
    "module, macs", [(nn.Conv2d(3, 4, 3), 4 * 6 * 6 * 27), (nn.Sequential(nn.Conv2d(3, 4, 1)), 768)]
)
def test_single_layer_is_counted_as_its_own_only_layer(module, macs):
    found = cost_of(module, (3, 8, 8))
    assert found.macs == macs and [layer.macs for layer in found.layers] == [macs]


@pytest.mark.parametrize("shape", [(32, 32), (1, 3, 32, 32), (3,), ()])
def test_shape_that_is_not_channels_height_width_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(channels, height, width\)"):
        cost_of(build("resnet8"), shape)


def test_printed_table_has_a_row_for_each_layer_and_the_total():
    found = cost("resnet20")
    head, *rows, total = str(found).splitlines()
    assert len(rows) == len(found.layers) and rows[0].split() == ["stem.conv1", "Conv2d", "16x32x32", "432", "442,368"]
    assert total.split() == ["total", "269,722", "40,551,040"]
    assert len({len(line) for line in (head, *rows, total)}) == 1
