"""The cost: multiply-adds as the paper and torchvision print them, layer by layer, the network untouched."""

import pytest
import torch
from support.state import is_as_before, state_of

from resnet_lesson.models.cost import cost_of
from resnet_lesson.models.networks import build

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)


def cost(name, input_shape=CIFAR, **options):
    with torch.device("meta"):
        return cost_of(build(name, **options), input_shape)


@pytest.mark.parametrize(
    "name, options, gmacs",
    [
        ("resnet20", {}, 0.040551),
        ("resnet20", {"shortcut": "B"}, 0.040813),
        ("wrn28_10", {}, 5.243),
        ("lab10_6", {}, 0.27727),
        # torchvision's
        ("resnet50", {}, 4.089),
        ("resnext50_32x4d", {}, 4.230),
        # the paper's table 1 rounds these to 3.6 and 3.8
        ("plain34", {}, 3.644),
        ("resnet34", {"shortcut": "A"}, 3.644),
        ("resnet50", {"stride_in": "1x1"}, 3.858),
        # the family's papers
        ("seresnet50", {}, 4.093),
        ("resnet50d", {}, 4.327),
    ],
)
def test_networks_cost_what_the_papers_and_torchvision_give(name, options, gmacs):
    shape = IMAGENET if gmacs > 1 and name != "wrn28_10" else CIFAR
    assert cost(name, shape, **options).macs / 1e9 == pytest.approx(gmacs, rel=5e-4)


@pytest.mark.parametrize("name, shape", [("resnet20", CIFAR), ("lab10_6", (3, 31, 25)), ("resnext11_2x8d", CIFAR)])
def test_layers_are_those_of_a_real_forward_pass_and_add_up(name, shape):
    network, seen = build(name).eval(), []
    modules = dict(network.named_modules())
    for path, module in modules.items():
        if not any(True for _ in module.children()):
            module.register_forward_hook(lambda _, __, output, path=path: seen.append((path, tuple(output.shape[1:]))))
    found = cost_of(network, shape)
    assert not seen, "hooks of the caller are not called"
    with torch.no_grad():
        network(torch.randn(1, *shape))
    assert [(layer.name, layer.output) for layer in found.layers] == seen
    for layer in found.layers:
        assert layer.kind == type(modules[layer.name]).__name__
        assert layer.parameters == sum(p.numel() for p in modules[layer.name].parameters())
        assert layer.activations == torch.Size(layer.output).numel()
    assert sum(layer.macs for layer in found.layers) == found.macs
    assert sum(layer.parameters for layer in found.layers) == found.parameters
    made = [layer.activations for layer in found.layers if layer.kind != "Identity"]  # it passes on what is there
    assert sum(made) == found.activations


def test_network_is_not_changed():
    network = build("resnet20", seed=0).train()
    network.stages[1].eval()  # a part may be in another mode than the rest
    before, random = state_of(network), torch.get_rng_state()
    cost_of(network)
    assert is_as_before(network, before) and torch.equal(torch.get_rng_state(), random)


def test_shape_that_is_not_channels_height_width_is_refused():
    with pytest.raises(ValueError, match=r"\(channels, height, width\)"):
        cost_of(build("resnet8"), (1, 3, 32, 32))


def test_printed_table_has_a_row_for_each_layer_and_the_total():
    found = cost("resnet20")
    head, *rows, total = str(found).splitlines()
    assert len(rows) == len(found.layers) and rows[0].split() == ["stem.conv1", "Conv2d", "16x32x32", "432", "442,368"]
    assert total.split() == ["total", "269,722", "40,551,040"]
    assert len({len(line) for line in (head, *rows, total)}) == 1
