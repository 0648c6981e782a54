"""Controls: each changes one thing, and nothing else."""

import inspect

import nbformat
import pytest
import torch
from support.paths import REPO
from torch import nn

from resnet_lesson import build
from resnet_lesson.models.controls import DosedBlock, dosed, start_near_identity, unnormalised

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dose, twin", [(0.0, "plain20"), (1.0, "resnet20")])
def test_without_shortcuts_it_is_plain_and_with_whole_ones_residual(dose, twin):
    assert torch.equal(dosed("resnet20", dose, seed=3)(IMAGES), build(twin, seed=3)(IMAGES))


def test_the_dose_weighs_the_shortcut():
    block = DosedBlock(4, 8, 2, dose=0.25).eval()
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(block(x), torch.relu(block.residual(x) + 0.25 * block.shortcut(x)))


def test_without_bn_there_are_biases_and_as_many_convolutions():
    network = unnormalised("resnet20", seed=1)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 19 and all((module.bias == 0).all() for module in convolutions)
    assert network.stages[0][0].strength == 1.0
    again = unnormalised("resnet20", seed=1)
    assert torch.equal(network(IMAGES), again(IMAGES)) and network(IMAGES).shape == (4, 10)
    assert network.stem[0].weight.std().item() == pytest.approx((2 / (9 * 16)) ** 0.5, rel=0.1)  # He, fan_out


def test_skipinit_begins_with_the_shortcuts_alone_and_learns_its_strengths():
    network = unnormalised("resnet20", skipinit=True, seed=1)
    x = network.stem(IMAGES)
    assert torch.equal(network.stages[0](x), x)
    network(IMAGES).sum().backward()
    assert all(block.strength.grad is not None for stage in network.stages for block in stage)


def test_a_start_near_the_identity_is_a_share_of_the_first_weights_and_a_copy_where_channels_match():
    network, before = build("plain20", seed=2), build("plain20", seed=2).state_dict()
    start_near_identity(network, 0.5)
    for name, weight in network.named_parameters():
        keeps_channels = weight.dim() == 4 and weight.shape[0] == weight.shape[1]
        copied = 0.5 * before[name] + nn.init.dirac_(torch.empty(weight.shape)) if keeps_channels else before[name]
        torch.testing.assert_close(weight.detach(), copied, msg=name)
        assert weight.requires_grad


@pytest.mark.parametrize("taught", [DosedBlock, start_near_identity])
def test_the_cells_of_notebook_07_are_the_code_of_the_recorded_studies(taught):
    notebook = nbformat.read(REPO / "notebooks" / "07_inside_a_resnet.ipynb", as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert any(cell.endswith(inspect.getsource(taught).rstrip()) for cell in cells)
