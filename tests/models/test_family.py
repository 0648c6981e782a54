"""The family: published counts, torchvision's layers, and what each change is meant to do."""

import copy

import pytest
import torch
import torch.nn.functional as F
import torchvision
from support.networks import IMAGENET
from torch import nn

from resnet_lesson import Batches, Normalisation, build, cost_of, recipe, shapes10, train
from resnet_lesson.figures.anatomy import block_anatomy, block_text, network_anatomy
from resnet_lesson.inside import lesions, measures
from resnet_lesson.models.blocks import Bottleneck
from resnet_lesson.models.family import (
    BasicBlockD,
    PreActBlock,
    PreActBottleneck,
    SEBasicBlock,
    SqueezeExcitation,
    StochasticResidual,
    dilate,
    stochastic_depth,
)
from resnet_lesson.models.memory import recompute
from resnet_lesson.models.networks import from_torchvision
from resnet_lesson.training.captured import repeats_itself

# Trainable parameters of the same networks in osmr/imgclsmob (https://github.com/osmr/imgclsmob), with projections as
# shortcuts, and of resnet50d in timm. In words: Wide ResNets' table 4 gives 36.5 million for 28-10, ResNeXt's table 7
# 68.1 million for 29, 16x64d, SENet's table 1 28.1 million for SE-ResNet-50.
COUNTS = {
    ("preresnet20", "B"): 272_282,
    ("preresnet56", "B"): 855_578,
    ("preresnet110", "B"): 1_730_522,
    ("preresnet164", "B"): 1_703_258,
    ("preresnet1001", "B"): 10_327_706,
    ("wrn16_10", "B"): 17_116_634,
    ("wrn28_10", "B"): 36_479_194,
    ("wrn40_8", "B"): 35_748_314,
    ("resnext29_32x4d", "B"): 4_775_754,
    ("resnext29_16x64d", "B"): 68_155_210,
    ("seresnet18", "B"): 11_778_592,
    ("seresnet34", "B"): 21_958_868,
    ("seresnet50", "B"): 28_088_024,
    ("seresnet101", "B"): 49_326_872,
    ("seresnet152", "B"): 66_821_848,
    ("resnet50d", "B"): 25_576_264,
}
SMALL = ["preresnet8", "seresnet8", "resnet8d", "sdresnet8", "wrn10_1", "resnext11_2x8d", "narrow_resnext20"]


def pictures(n=2, size=32, seed=0):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name, shortcut", COUNTS)
def test_parameters_are_the_published_ones(name, shortcut):
    with torch.device("meta"):
        assert parameters(build(name, shortcut=shortcut)) == COUNTS[name, shortcut]


@pytest.mark.parametrize("name, gmacs", [("seresnet50", 4.09), ("resnet50d", 4.33), ("wrn28_10", 5.24)])
def test_multiply_adds(name, gmacs):
    with torch.device("meta"):
        network = build(name)
    size = 224 if name in IMAGENET else 32
    assert round(cost_of(network, (3, size, size)).macs / 1e9, 2) == gmacs


def test_the_networks_compared_in_notebook_09_cost_as_much_as_resnet20():
    names = ("resnet20", "preresnet20", "wrn10_2", "narrow_resnext20", "seresnet20", "resnet20d", "sdresnet20")
    costs = {name: cost_of(build(name)).macs for name in names}
    assert all(0.98 < macs / costs["resnet20"] < 1.1 for macs in costs.values()), costs


@pytest.mark.parametrize("name", SMALL)
def test_every_member_computes_learns_and_can_be_copied(name):
    network = build(name, seed=0)
    logits = network(pictures(4))
    assert logits.shape == (4, 10)
    F.cross_entropy(logits, torch.arange(4)).backward()
    assert all(p.grad is not None or "residual" in key for key, p in network.named_parameters())
    again = build(network.spec["name"], seed=network.spec["seed"], **network.spec["options"])
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(network.eval()(pictures()), again.eval()(pictures()))


@pytest.mark.parametrize("name", SMALL)
def test_every_member_can_start_as_the_identity(name):
    network = build(name, zero_init_residual=True).eval()
    x = network.stem(pictures())
    for block in [block for stage in network.stages for block in stage]:
        before = block.before(x) if hasattr(block, "before") else x
        assert not block.residual(before).any()
        x = block(x)


@pytest.mark.parametrize(
    "name, hint",
    [("preresnet21", "6n \\+ 2.*8, 14, 26"), ("wrn28_0", "6n \\+ 4.*10, 16, 28"), ("wrn27_2", "6n \\+ 4"),
     ("resnext30_8x4d", "9n \\+ 2.*11, 20, 38"), ("seresnet7", "6n \\+ 2"), ("resnet21d", "6n \\+ 2")],
)  # fmt: skip
def test_a_depth_that_does_not_exist_is_told_in_words(name, hint):
    with pytest.raises(ValueError, match=f"no network '{name}'.*{hint}"):
        build(name)


# Pre-activation


def preact(block, in_channels, width, stride=1, **options):
    torch.manual_seed(0)
    return block(in_channels, width, stride, **options).eval()


@pytest.mark.parametrize("block", [PreActBlock, PreActBottleneck])
def test_where_the_shape_stays_y_is_x_plus_f_of_x_and_nothing_comes_after_the_addition(block):
    made = preact(block, 4 * block.expansion, 4)
    x = torch.randn(2, 4 * block.expansion, 6, 6)
    kinds = [type(layer) for layer in made.residual]
    assert kinds == [nn.BatchNorm2d, nn.ReLU, nn.Conv2d] * (2 if block is PreActBlock else 3)
    assert torch.equal(made(x), made.residual(x) + x) and (made(x) < 0).any()


@pytest.mark.parametrize("block", [PreActBlock, PreActBottleneck])
@pytest.mark.parametrize("shortcut", "AB")
def test_where_the_shape_changes_bn_and_relu_come_before_the_paths_part(block, shortcut):
    made = preact(block, 4, 8, 2, shortcut=shortcut)
    x = torch.randn(2, 4, 6, 6)
    active = F.relu(made.before.bn1(x))
    assert torch.equal(made(x), made.residual(active) + made.shortcut(active))
    assert isinstance(made.residual[0], nn.Conv2d) and made(x).shape == (2, 8 * block.expansion, 3, 3)
    if shortcut == "B":
        assert len(list(made.shortcut.parameters())) == 1  # no BN in the projection


def test_a_preactivation_network_is_an_exact_sum_and_an_ordinary_one_is_not():
    for name, exact in (("preresnet20", True), ("resnet20", False)):
        network = build(name, seed=0).eval()
        passes = measures.block_passes(network, pictures())[:3]  # the first stage keeps its shape
        total = passes[0].x + sum(p.residual for p in passes)
        assert torch.allclose(total, passes[-1].output, atol=1e-5) == exact


def test_the_stem_is_a_convolution_alone_and_bn_and_relu_come_once_more_at_the_end():
    network = build("preresnet8", seed=0).eval()
    x = pictures()
    assert [type(layer) for layer in network.stem] == [nn.Conv2d]
    expected = network.fc(F.relu(network.pool.bn(network.stages(network.stem(x)))).mean((2, 3)))
    torch.testing.assert_close(network(x), expected)


def test_with_option_a_preactivation_moves_layers_and_adds_none():
    assert parameters(build("preresnet20")) == parameters(build("resnet20"))


@pytest.mark.parametrize("options", [{"groups": 2}, {"dilation": 2}, {"stride_in": "1x1"}, {"width_per_group": 32}])
@pytest.mark.parametrize("block", [PreActBlock, PreActBottleneck])
def test_options_of_the_bottleneck_are_refused(block, options):
    with pytest.raises(ValueError, match=f"{block.__name__}.*{next(iter(options))}.*need the Bottleneck"):
        block(16, 16, **options)


# Squeeze-and-excitation, ResNet-D


@pytest.mark.parametrize("channels, reduction", [(64, 16), (16, 16), (8, 2), (8, 16)])
def test_squeeze_and_excitation_is_torchvisions(channels, reduction):
    ours = SqueezeExcitation(channels, reduction)
    theirs = torchvision.ops.SqueezeExcitation(channels, max(1, channels // reduction))
    for mine, other in ((ours.excite[0], theirs.fc1), (ours.excite[2], theirs.fc2)):
        other.weight.data.copy_(mine.weight.data[:, :, None, None])
        other.bias.data.copy_(mine.bias.data)
    x = torch.randn(3, channels, 5, 4)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("name", ["seresnet18", "seresnet50", "seresnet8"])
def test_it_comes_last_in_every_residual_function(name):
    blocks = [module for module in build(name).modules() if hasattr(module, "residual")]
    assert blocks and all(isinstance(block.residual[-1], SqueezeExcitation) for block in blocks)


def test_resnet_d_takes_means_where_resnet_skips_pixels():
    ours, theirs = build("resnet20d", seed=0).eval(), build("resnet20", shortcut="B", seed=0).eval()
    block, other = ours.stages[1][0], theirs.stages[1][0]
    x = torch.randn(2, 16, 8, 8)
    other.load_state_dict({key.replace(".conv.", ".0.").replace(".bn.", ".1."): value
                           for key, value in block.state_dict().items()})  # fmt: skip
    flat = F.avg_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(block.shortcut(x), other.shortcut(flat))
    assert not torch.allclose(block.shortcut(x), other.shortcut(x))
    assert [type(module) for module in ours.stages[0][0].shortcut.modules()] == [nn.Identity]


def test_resnet_d_has_three_convolutions_in_its_stem_and_keeps_odd_maps():
    network = build("resnet18d").eval()
    convolutions = [layer for layer in network.stem if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size, c.stride[0]) for c in convolutions] == [
        (3, 32, (3, 3), 2), (32, 32, (3, 3), 1), (32, 64, (3, 3), 1)]  # fmt: skip
    with torch.no_grad():
        assert network(pictures(1, 75)).shape == (1, 1000)


# Stochastic depth


def test_in_evaluation_stochastic_depth_changes_nothing_and_its_weights_keep_their_names():
    ours, plain = build("sdresnet8", seed=3), build("resnet8", seed=3)
    assert ours.state_dict().keys() == plain.state_dict().keys()
    with torch.no_grad():
        assert torch.equal(ours.eval()(pictures()), plain.eval()(pictures()))


def test_survival_falls_in_equal_steps_to_the_last_blocks():
    network = build("sdresnet20", survival=0.4)
    shares = [module.survival for module in network.modules() if isinstance(module, StochasticResidual)]
    assert shares == pytest.approx([1 - 0.6 * i / 9 for i in range(1, 10)])
    assert build("sdresnet20").stages[2][2].residual.survival == 0.5


def test_a_block_is_left_out_as_often_as_it_should_and_divided_otherwise():
    torch.manual_seed(0)
    residual = StochasticResidual({"conv": nn.Conv2d(2, 2, 1)}, 0.3).train()
    x = torch.randn(4, 2, 3, 3)
    outputs = [residual(x) for _ in range(2000)]
    left_out = [output.dim() == 0 for output in outputs]
    assert abs(sum(left_out) / 2000 - 0.7) < 0.04
    stays = outputs[left_out.index(False)]
    torch.testing.assert_close(stays, residual.conv(x) / 0.3)
    # torchvision's does the same to a whole batch: F(x) / survival, or 0
    theirs = {bool(torchvision.ops.stochastic_depth(residual.conv(x), 0.7, "batch").any()) for _ in range(50)}
    assert theirs == {True, False}


def test_what_is_left_out_is_not_computed():
    residual = StochasticResidual({"conv": nn.Conv2d(2, 2, 1)}, 1e-9).train()
    calls = []
    residual.conv.register_forward_hook(lambda *_: calls.append(1))
    residual(torch.ones(1, 2, 3, 3))
    assert calls == []


def test_training_with_it_repeats_with_the_seed_and_leaves_torchs_random_state(tmp_path):
    sets, weights = (shapes10(256, seed=0), shapes10(64, seed=1)), []
    for seed in (0, 0, 1):
        network = build("sdresnet8", seed=0)
        torch.manual_seed(len(weights))  # the reader's own state must not matter
        before = torch.get_rng_state()
        train(network, *sets, recipe("demo").scaled(4), seed=seed, progress=False)
        assert torch.equal(torch.get_rng_state(), before)
        weights.append(network.fc.weight.detach())
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("survival", [0, -0.5, 1.5])
def test_survival_is_a_probability(survival):
    with pytest.raises(ValueError, match=f"not {survival}"):
        build("sdresnet8", survival=survival)


def test_a_plain_network_has_nothing_to_leave_out():
    with pytest.raises(ValueError, match="plain"):
        stochastic_depth(build("plain8"))


# Dilation


@pytest.mark.parametrize("name", ["resnet20", "plain20", "resnet20-B", "preresnet20", "lab10_6", "resnet50"])
@pytest.mark.parametrize("stages", [(1,), (2,), (1, 2), (1, 2, 3)])
def test_at_every_second_pixel_the_dilated_network_computes_what_the_other_does(name, stages):
    name, _, shortcut = name.partition("-")
    network = build(name, seed=0, **({"shortcut": shortcut} if shortcut else {})).eval()
    stages = [stage for stage in stages if stage < len(network.stages)]
    dilated, images = dilate(network, stages), pictures(1, 64)
    assert dilated.state_dict().keys() == network.state_dict().keys()
    with torch.no_grad():
        x, y = (n.stages(n.stem(images)) for n in (network, dilated))
    strides = [network.stages[stage][0] for stage in stages]
    step = y.shape[2] // x.shape[2]
    assert step == 2 ** sum(block_stride(block) == 2 for block in strides)
    torch.testing.assert_close(y[:, :, ::step, ::step], x, atol=1e-4, rtol=1e-4)


def block_stride(block):
    return max(m.stride[0] for m in block.modules() if isinstance(m, nn.Conv2d))


def test_dilating_a_bottleneck_network_is_torchvisions_replace_stride_with_dilation():
    theirs = torchvision.models.resnet50(replace_stride_with_dilation=[False, True, True]).eval()
    ours = build("resnet50")
    ours.load_state_dict(from_torchvision(theirs.state_dict()))
    x = pictures(1, 64)
    with torch.no_grad():
        torch.testing.assert_close(dilate(ours.eval(), (2, 3))(x), theirs(x))


def test_the_network_itself_stays():
    network = build("resnet8", seed=0)
    before = copy.deepcopy(network)
    dilate(network, (1, 2))
    assert [m.stride for m in network.modules() if isinstance(m, nn.Conv2d)] == [
        m.stride for m in before.modules() if isinstance(m, nn.Conv2d)]  # fmt: skip


def test_a_stage_that_does_not_exist_and_a_pooling_are_refused():
    with pytest.raises(ValueError, match="stages 0 to 2"):
        dilate(build("resnet8"), (3,))
    with pytest.raises(ValueError, match="pooling cannot be dilated"):
        dilate(build("resnet8d"), (1,))


# ResNeXt


def test_groups_are_independent_paths():
    """Cardinality: a bottleneck with 4 groups is the sum of 4 bottlenecks a quarter as wide (ResNeXt, figure 3)."""
    torch.manual_seed(0)
    block = Bottleneck(16, 4, groups=4, width_per_group=16, norm_layer=lambda _: nn.Identity()).residual
    x, paths = torch.randn(2, 16, 5, 5), []
    for k in range(4):
        down, up = block.conv1.weight[k : k + 1], block.conv3.weight[:, k : k + 1]
        inner = F.relu(F.conv2d(F.relu(F.conv2d(x, down)), block.conv2.weight[k : k + 1], padding=1))
        paths.append(F.conv2d(inner, up))
    torch.testing.assert_close(block(x), sum(paths))


# The rest of the course takes the family, too


def test_probes_and_lesions_know_the_family():
    data = shapes10(8, size=16, seed=0)
    images, labels = next(iter(Batches(data, 8, Normalisation.of(data))))
    some, whole = build("sdresnet8", seed=0), build("resnet8", seed=0)
    for sizes in zip(
        *(measures.residual_sizes(n, images, batch_statistics=True).values() for n in (some, whole)), strict=True
    ):
        assert sizes[0] == pytest.approx(sizes[1])
    assert some.stages[2][0].residual.survival == 0.5 and some.training
    network = build("preresnet8", seed=0).eval()
    start = x = network.stem(images).detach().requires_grad_()
    for block in [block for stage in network.stages for block in stage]:  # around every F
        x = block.shortcut(block.before(x)) + block.residual(block.before(x)).detach()
    loss = F.cross_entropy(network.fc(network.pool(x).flatten(1)), labels)
    expected = torch.autograd.grad(loss, start)[0].norm().item()
    assert lesions.path_gradients(network, images, labels, [0, 3], draws=1)[0] == pytest.approx(expected)


@pytest.mark.parametrize("recomputed", [False, True])
def test_recompute_draws_the_same_blocks_again(recomputed):
    network = build("sdresnet20", seed=0).train()
    if recomputed:
        recompute(network)
    torch.manual_seed(3)
    F.cross_entropy(network(pictures(8)), torch.arange(8)).backward()
    GRADIENTS[recomputed] = [None if p.grad is None else p.grad.clone() for p in network.parameters()]
    if len(GRADIENTS) == 2:
        for one, other in zip(*GRADIENTS.values(), strict=True):
            assert (one is None) == (other is None) and (one is None or torch.equal(one, other))


GRADIENTS = {}


def test_only_a_network_that_draws_and_recomputes_nothing_and_has_no_hooks_repeats_itself():
    watched = build("resnet8")
    watched.fc.register_forward_hook(lambda *_: None)
    networks = build("resnet8"), build("preresnet8"), build("sdresnet8"), recompute(build("resnet8")), watched
    assert [repeats_itself(network) for network in networks] == [True, True, False, False, False]


def test_a_diagram_of_squeeze_and_excitation_draws_the_convolutions_only():
    assert (
        network_anatomy(build("seresnet20"), (3, 32, 32)).boxes == network_anatomy(build("resnet20"), (3, 32, 32)).boxes
    )


def test_a_block_with_squeeze_and_excitation_is_drawn_with_one_more_box():
    block = SEBasicBlock(16, 16)
    block.residual.se.squeeze.register_forward_hook(lambda module, inputs, output: output.mean().item())
    steps = block_anatomy(block, (16, 8, 8)).path
    assert [step[1] for step in steps[-2:]] == ["BN", "squeeze, excite, scale"] and steps[-1][2] == (16, 8, 8)
    assert [step[1] for step in block_anatomy(PreActBlock(16, 16), (16, 8, 8)).path[:2]] == ["BN", "ReLU"]
    assert "avg pool, /2" in block_text(BasicBlockD(16, 32, 2), (16, 8, 8))


def test_what_cannot_be_is_refused_in_words():
    with pytest.raises(ValueError, match="shortcut='B'"):
        build("resnet20d", shortcut="A")
    with pytest.raises(ValueError, match="family.dilate"):
        build("resnet50", stride_in="1x1", replace_stride_with_dilation=(False, True, True))
