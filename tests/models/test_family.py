"""The family: published counts, torchvision's layers, and what each change is meant to do."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from resnet_lesson import build, recipe, shapes10, train
from resnet_lesson.models.family import (
    PreActBlock,
    SqueezeExcitation,
    StochasticResidual,
    dilate,
)

# Trainable parameters of the same networks in osmr/imgclsmob (https://github.com/osmr/imgclsmob), with projections as
# shortcuts, and of resnet50d in timm.
COUNTS = {
    "preresnet20": 272_282,
    "preresnet110": 1_730_522,
    "wrn16_10": 17_116_634,
    "wrn28_10": 36_479_194,
    "resnext29_32x4d": 4_775_754,
    "resnext29_16x64d": 68_155_210,
    "seresnet18": 11_778_592,
    "seresnet50": 28_088_024,
    "seresnet152": 66_821_848,
    "resnet50d": 25_576_264,
}
LATER = ["preresnet8", "seresnet8", "resnet8d", "sdresnet8", "wrn10_1", "resnext11_2x8d", "narrow_resnext20"]


def pictures(n=2, size=32):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_the_published_ones(name):
    with torch.device("meta"):
        assert parameters(build(name, shortcut="B")) == COUNTS[name]


@pytest.mark.parametrize("name", ["resnet8", "lab10_6", *LATER])
def test_every_member_learns_and_can_start_as_the_identity(name):
    network = build(name, seed=0, zero_init_residual=True)
    logits = network(pictures(4))
    assert logits.shape == (4, 10)
    F.cross_entropy(logits, torch.arange(4)).backward()
    assert all(p.grad is not None or "residual" in key for key, p in network.named_parameters())
    with torch.no_grad():
        x = network.eval().stem(pictures())
        for block in [block for stage in network.stages for block in stage]:
            assert not block.residual(block.before(x) if hasattr(block, "before") else x).any()
            x = block(x)


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: build("preresnet21"), r"no network 'preresnet21'.*6n \+ 2.*8, 14, 26"),
        (lambda: build("wrn28_0"), r"no network 'wrn28_0'.*6n \+ 4.*10, 16"),
        (lambda: build("resnext30_8x4d"), r"no network 'resnext30_8x4d'.*9n \+ 2.*11, 20"),
        (lambda: build("resnet20d", shortcut="A"), "shortcut='B'"),
        (lambda: build("sdresnet8", survival=0), "not 0"),
        (lambda: build("sdresnet8", survival=1.5), "not 1.5"),
        (lambda: dilate(build("resnet8"), (3,)), "stages 0 to 2"),
        (lambda: dilate(build("resnet8d"), (1,)), "pooling cannot be dilated"),
    ],
)
def test_what_cannot_be_made_is_refused_in_words(make, said):
    with pytest.raises(ValueError, match=said):
        make()


# Pre-activation


def test_where_the_shape_stays_y_is_x_plus_f_of_x_and_nothing_comes_after_the_addition():
    made, x = PreActBlock(4, 4).eval(), torch.randn(2, 4, 6, 6)
    assert [type(layer) for layer in made.residual] == [nn.BatchNorm2d, nn.ReLU, nn.Conv2d] * 2
    assert torch.equal(made(x), made.residual(x) + x) and (made(x) < 0).any()


@pytest.mark.parametrize("shortcut", "AB")
def test_where_the_shape_changes_bn_and_relu_come_before_the_paths_part(shortcut):
    made, x = PreActBlock(4, 8, 2, shortcut=shortcut).eval(), torch.randn(2, 4, 6, 6)
    active = F.relu(made.before.bn1(x))
    assert torch.equal(made(x), made.residual(active) + made.shortcut(active))
    assert isinstance(made.residual[0], nn.Conv2d) and made(x).shape == (2, 8, 3, 3)
    assert list(made.shortcut.state_dict()) == (["0.weight"] if shortcut == "B" else [])  # no BN in the projection


def test_the_stem_is_a_convolution_alone_and_bn_and_relu_come_once_more_at_the_end():
    network = build("preresnet8", seed=0).eval()
    x = pictures()
    assert [type(layer) for layer in network.stem] == [nn.Conv2d]
    expected = network.fc(F.relu(network.pool.bn(network.stages(network.stem(x)))).mean((2, 3)))
    torch.testing.assert_close(network(x), expected)
    assert parameters(network) == parameters(build("resnet8")), "layers move, none is added"


# Squeeze-and-excitation, ResNet-D, ResNeXt


@pytest.mark.parametrize("channels, reduction", [(64, 16), (8, 2), (8, 16)])
def test_squeeze_and_excitation_is_torchvisions(channels, reduction):
    ours = SqueezeExcitation(channels, reduction)
    theirs = torchvision.ops.SqueezeExcitation(channels, max(1, channels // reduction))
    for mine, other in ((ours.excite[0], theirs.fc1), (ours.excite[2], theirs.fc2)):
        other.weight.data.copy_(mine.weight.data[:, :, None, None])
        other.bias.data.copy_(mine.bias.data)
    x = torch.randn(3, channels, 5, 4)
    torch.testing.assert_close(ours(x), theirs(x))


def test_resnet_d_takes_means_where_resnet_skips_pixels():
    ours, theirs = build("resnet20d", seed=0).eval(), build("resnet20", shortcut="B", seed=0).eval()
    block, other = ours.stages[1][0], theirs.stages[1][0]
    x = torch.randn(2, 16, 8, 8)
    renamed = {k.replace(".conv.", ".0.").replace(".bn.", ".1."): v for k, v in block.state_dict().items()}
    other.load_state_dict(renamed)
    flat = F.avg_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(block.shortcut(x), other.shortcut(flat))
    assert not torch.allclose(block.shortcut(x), other.shortcut(x))
    assert type(ours.stages[0][0].shortcut) is nn.Identity
    with torch.no_grad():
        assert build("resnet18d").eval()(pictures(1, 75)).shape == (1, 1000)  # three convolutions in the stem; odd maps


# Stochastic depth


def test_in_evaluation_stochastic_depth_changes_nothing_and_its_weights_keep_their_names():
    ours, plain = build("sdresnet8", seed=3), build("resnet8", seed=3)
    assert ours.state_dict().keys() == plain.state_dict().keys()
    with torch.no_grad():
        assert torch.equal(ours.eval()(pictures()), plain.eval()(pictures()))


def test_survival_falls_in_equal_steps_to_the_last_block():
    network = build("sdresnet20", survival=0.4)
    shares = [module.survival for module in network.modules() if isinstance(module, StochasticResidual)]
    assert shares == pytest.approx([1 - 0.6 * i / 9 for i in range(1, 10)])
    assert build("sdresnet20").stages[2][2].residual.survival == 0.5


def test_a_block_is_left_out_as_often_as_it_should_uncomputed_and_divided_otherwise():
    torch.manual_seed(0)
    residual, calls = StochasticResidual({"conv": nn.Conv2d(2, 2, 1)}, 0.3).train(), []
    residual.conv.register_forward_hook(lambda *_: calls.append(1))
    x = torch.randn(4, 2, 3, 3)
    outputs = [residual(x) for _ in range(2000)]
    left_out = [output.dim() == 0 for output in outputs]
    assert abs(sum(left_out) / 2000 - 0.7) < 0.04 and len(calls) == 2000 - sum(left_out)
    torch.testing.assert_close(outputs[left_out.index(False)], residual.conv(x) / 0.3)


def test_training_with_it_repeats_with_the_seed_and_leaves_torchs_random_state():
    sets, weights = (shapes10(256, seed=0), shapes10(64, seed=1)), []
    for seed in (0, 0, 1):
        network = build("sdresnet8", seed=0)
        torch.manual_seed(len(weights))  # the reader's own state must not matter
        before = torch.get_rng_state()
        train(network, *sets, recipe("demo").scaled(4), seed=seed, progress=False)
        assert torch.equal(torch.get_rng_state(), before)
        weights.append(network.fc.weight.detach())
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


# Dilation (tests/models/test_weights.py compares it with torchvision's)


@pytest.mark.parametrize("name", ["resnet20", "plain20", "preresnet20", "lab10_6"])
@pytest.mark.parametrize("stages", [(1,), (1, 2)])
def test_at_every_second_pixel_the_dilated_network_computes_what_the_other_does(name, stages):
    network = build(name, seed=0).eval()
    dilated, images = dilate(network, stages), pictures(1)
    assert dilated.state_dict().keys() == network.state_dict().keys()
    with torch.no_grad():
        x, y = (n.stages(n.stem(images)) for n in (network, dilated))
    step = y.shape[2] // x.shape[2]
    assert step == 2 ** len(set(stages) & {2} if name == "lab10_6" else stages)  # its second stage has no stride
    torch.testing.assert_close(y[:, :, ::step, ::step], x, atol=1e-4, rtol=1e-4)
