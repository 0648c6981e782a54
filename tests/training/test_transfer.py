"""Transfer: heads are exchanged, what is frozen stays to the bit, rates fall towards the stem, and training is that of
the recipe."""

import copy
import dataclasses
import pickle

import pytest
import torch
import torchvision
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from resnet_lesson import Batches, Normalisation, build, evaluate, machine, shapes10
from resnet_lesson.inside.measures import relative_gradients
from resnet_lesson.training.evaluation import predict
from resnet_lesson.training.loop import Diverged, step
from resnet_lesson.training.recipes import Recipe
from resnet_lesson.training.transfer import FINE_TUNING, fine_tune, freeze, head_of, parameter_groups, replace_head

TINY = Recipe("tiny", 5, batch_size=16, lr=0.1, schedule="one-cycle", warmup=2, nesterov=True, weight_decay=5e-3,
              padding=1, flip=True)  # fmt: skip
TRAIN, TEST = shapes10(40, 12, seed=0), shapes10(300, 12, seed=1)
NORM = Normalisation.of(TRAIN)


def random_images(n=8, size=8, seed=0):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def state(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def changed(network, before):
    """The names of the weights and statistics that are not bit for bit what they were."""
    return {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}


def steps(network, n=2, **options):
    """Train as anybody would: all parameters in the optimiser, momentum, weight decay."""
    options = dict(lr=0.1, momentum=0.9, weight_decay=5e-2) | options
    optimiser = torch.optim.SGD(network.parameters(), **options)
    for i in range(n):
        network.train()
        step(network, random_images(seed=i), torch.arange(8) % 10, optimiser)
    return optimiser


def below(network, *names):
    """The weights and statistics of these modules."""
    return {key for key in network.state_dict() if any(name == "" or key.startswith(f"{name}.") for name in names)}


def learning(network):
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


# --- the head


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "preresnet20"])
def test_a_network_of_the_course_gets_a_head_of_the_old_ones_kind(name):
    network = build(name, seed=0).to(torch.float64).eval()
    before, held = state(network), network.spec
    assert replace_head(network, 3, seed=0) is network
    assert network(random_images(2, 32).double()).shape == (2, 3) and not network.fc.training
    assert changed(network, before) == {"fc.weight", "fc.bias"}
    assert network.spec == {"name": name, "seed": 0, "options": {"num_classes": 3}} and held["options"] == {}


@pytest.mark.parametrize("name, head, inputs", [("resnet18", "fc", 512), ("mobilenet_v3_small", "classifier.3", 1024)])
def test_torchvisions_networks_get_one_too_however_deep_it_is(name, head, inputs):
    with torch.device("meta"):
        network = torchvision.models.get_model(name, num_classes=9)
    assert head_of(network) == (head, network.get_submodule(head))
    replace_head(network, 4)
    new = network.get_submodule(head)
    assert (type(new), new.in_features, new.out_features) == (nn.Linear, inputs, 4)
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}


def test_a_seed_always_gives_the_same_head_and_leaves_torchs_random_state():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    heads = [replace_head(build("resnet8", seed=0), 3, seed=seed).fc.weight for seed in (1, 1, 2)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])
    torch.manual_seed(1)
    assert torch.equal(nn.Linear(64, 3).weight, heads[0]), "as torch makes a layer"


def test_a_network_without_a_head_is_refused():
    with pytest.raises(ValueError, match="Sequential has no linear layer, so it has no head"):
        replace_head(nn.Sequential(nn.Conv2d(3, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 3)


# --- freezing


@pytest.mark.parametrize(
    "names, learns",
    [
        ("fc", ["fc"]),
        (("stages.2", "fc"), ["stages.2", "fc"]),
        (("stages.1.0.residual.bn2", "stem.bn1"), ["stages.1.0.residual.bn2", "stem.bn1"]),
        (["fc", ""], [""]),
        ((), []),
    ],
)
def test_training_moves_all_of_what_is_trainable_and_no_bit_of_the_rest(names, learns):
    network = freeze(build("resnet14", seed=0), "stages.0")  # what an earlier call froze can learn, and the other way
    before = state(network)
    assert freeze(network, trainable=names) is network
    if learns:
        steps(network)
    else:
        network.train()(random_images())
    assert changed(network, before) == below(network, *learns)
    training = {name for name, part in network.named_modules() if part.training}
    assert all(name in training for one in learns for name in dict(network.named_modules()) if name.startswith(one))
    assert ("stem" in training) == any("stem" in one or one == "" for one in learns)
    with_gradient = {name for name, p in network.named_parameters() if p.grad is not None}
    assert learning(network) == with_gradient == dict(network.named_parameters()).keys() & below(network, *learns)


def test_by_default_the_head_learns_and_a_name_is_not_the_beginning_of_another():
    network = freeze(build("resnet8", seed=0))
    assert learning(network) == {"fc.weight", "fc.bias"}
    network = freeze(nn.Sequential(*(nn.Linear(2, 2) for _ in range(12))), "1")
    assert learning(network) == {"1.weight", "1.bias"}


def test_it_lasts_through_copies_measurements_and_modes():
    network = freeze(build("resnet8", seed=0), ("stages.2", "fc"))
    learns, before, data = below(network, "stages.2", "fc"), state(network), Batches(TRAIN, 20, NORM)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert twin.stem.train() is twin.stem, "its own, not the first one's"
        steps(twin)
        assert changed(twin, before) == learns and changed(network, before) == set()
    modes = [part.training for part in network.modules()]
    evaluate(network, data)
    predict(network.eval().train(), data)
    relative_gradients(network, random_images(), torch.arange(8))
    assert [part.training for part in network.modules()] == modes and changed(network, before) == set()
    steps(network)
    assert changed(network, before) == learns


def test_a_name_that_does_not_exist_changes_nothing():
    network = freeze(build("resnet8", seed=0), "stem")
    with pytest.raises(ValueError, match=r"no module 'layer4'.*There are: stem, .*fc\. Nothing was frozen\.$"):
        freeze(network, ("fc", "layer4"))
    assert learning(network) == dict(network.named_parameters()).keys() & below(network, "stem")


# --- groups of rates


class Backwards(nn.Module):
    """The head is made before the body."""

    def __init__(self):
        super().__init__()
        self.fc, self.body = nn.Linear(4, 2), nn.Conv2d(3, 4, 1)


@pytest.mark.parametrize(
    "make, trainable, names",
    [
        (lambda: build("resnet14"), "", ["fc", "stages.2", "stages.1", "stages.0", "stem"]),
        (lambda: build("resnet14"), ("stages.1", "fc"), ["fc", "stages.1"]),
        (torchvision.models.resnet18, "", ["fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1"]),
        (torchvision.models.mobilenet_v3_small, "classifier", ["classifier"]),
        (Backwards, "", ["fc", "body"]),
    ],
)
def test_each_part_is_a_group_the_head_first_and_the_stem_last(make, trainable, names):
    network = freeze(make(), trainable)
    groups = parameter_groups(network, 0.5)
    assert [group["name"] for group in groups] == names
    assert [group["scale"] for group in groups] == pytest.approx([0.5**i for i in range(len(names))])
    assert {group["scale"] for group in parameter_groups(network)} == {1}
    named = {id(p): name for name, p in network.named_parameters() if p.requires_grad}
    assert sorted(id(p) for group in groups for p in group["params"]) == sorted(named)
    assert all(named[id(p)].startswith(f"{group['name']}.") for group in groups for p in group["params"])


def test_nothing_to_train_and_a_frozen_head_are_refused():
    network = freeze(build("resnet8"), ())
    with pytest.raises(ValueError, match=r"nothing would be trained\. freeze\(network, 'fc'\) lets the head learn"):
        parameter_groups(network)
    with pytest.raises(ValueError, match=r"The head fc is frozen.* freeze\(network, 'fc'\) lets it learn\.$"):
        parameter_groups(freeze(network, ("stem", "stages.2")))


# --- fine-tuning


def test_rates_follow_the_recipe_times_the_scale_of_each_part():
    network, seen = freeze(build("resnet8", seed=0), ("stages.2", "fc", "stem")), []
    handle = register_optimizer_step_pre_hook(
        lambda optimiser, *_: seen.append([{**g} for g in optimiser.param_groups])
    )
    fine_tune(network, TRAIN, TEST, NORM, TINY, decay=0.5, device="cpu")
    handle.remove()
    for i, groups in enumerate(seen):
        rate = TINY.lr_at(i)
        assert {g["name"]: g["lr"] for g in groups} == pytest.approx(
            {"fc": rate, "stages.2": rate / 2, "stem": rate / 4}
        )
        assert all((g["momentum"], g["nesterov"], g["weight_decay"]) == (0.9, True, 5e-3) for g in groups)


def test_without_decay_it_is_plain_training_step_by_step_and_so_are_its_errors():
    plain, tuned, wrong = build("resnet8", seed=0).train(), build("resnet8", seed=0), 0
    optimiser = torch.optim.SGD(plain.parameters(), lr=1, momentum=0.9, nesterov=True, weight_decay=5e-3)
    precision = machine.pick_precision(torch.device("cpu"))
    for i, images, labels in Batches(TRAIN, 16, NORM, padding=1, flip=True, shuffle=True, seed=3).steps(0, 5):
        optimiser.param_groups[0]["lr"] = TINY.lr_at(i)
        _, logits = step(plain, images, labels, optimiser, precision=precision)
        wrong += (logits.argmax(1) != labels).sum().item()
    train_error, test_error = fine_tune(tuned, TRAIN, TEST, NORM, TINY, seed=3, device="cpu")
    assert changed(tuned, state(plain)) == set() and changed(tuned, state(build("resnet8", seed=0)))
    assert train_error == wrong / 72 and 0 < train_error < 1  # of 16, 16, 8, 16 and 16 images
    assert test_error == pytest.approx(evaluate(tuned, Batches(TEST, 300, NORM))[1], abs=0.004)


@pytest.mark.parametrize("name", ["resnet8", "sdresnet8"])  # the second one draws by itself, too
def test_a_seed_repeats_everything_and_another_does_not(name):
    def tuned(seed, start):
        torch.manual_seed(start)
        network = build(name, seed=0)
        errors = fine_tune(network, TRAIN, TEST, NORM, TINY, seed=seed, device="cpu")
        assert torch.initial_seed() == start
        return errors, state(network)

    (errors, weights), (again, same), (_, other) = tuned(1, 10), tuned(1, 11), tuned(2, 10)
    assert errors == again and all(torch.equal(weights[key], same[key]) for key in weights)
    assert not torch.equal(weights["fc.weight"], other["fc.weight"])


def test_it_learns_what_is_new_by_the_courses_recipe_ends_in_evaluation_mode_and_says_where_it_diverged():
    network, few = build("resnet8", seed=0), TRAIN.take(20)
    fine_tune(network, few, TEST, NORM, FINE_TUNING.scaled(30), device="cpu")
    assert not any(module.training for module in network.modules())
    assert evaluate(network, Batches(few, 20, NORM))[1] < 0.2
    with pytest.raises(Diverged, match="lower rate than 1e"):
        fine_tune(network, few, TEST, NORM, dataclasses.replace(TINY, lr=1e8))


def test_the_head_has_to_fit_the_classes():
    network = build("resnet8", seed=0, num_classes=11)
    said = r"The head fc has 11 outputs, but shapes10 has 10 classes: call replace_head\(network, 10\) first\."
    with pytest.raises(ValueError, match=said):
        fine_tune(network, TRAIN, TEST, NORM, TINY)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_frozen_body_stays_too():
    network = freeze(build("resnet8", seed=0))
    before = state(network)
    fine_tune(network, TRAIN, TEST, NORM, TINY, device="cuda")
    assert next(network.parameters()).device.type == "cuda"
    assert changed(network.cpu(), before) == {"fc.weight", "fc.bias"}


def test_a_network_in_evaluation_mode_stays_so_until_it_is_trained():
    network = freeze(freeze(build("resnet8", seed=0).eval(), "stem"))
    assert not any(part.training for part in network.modules())
    network.train()
    assert network.training and network.fc.training and not network.stem.training


def test_an_optimiser_that_is_under_way_does_not_move_what_is_frozen():
    network = build("resnet8", seed=0)
    optimiser = steps(network)  # has momentum, and the gradients are still there
    before = state(freeze(network))
    optimiser.step()
    network.train()
    step(network, random_images(), torch.arange(8), optimiser)
    assert changed(network, before) == {"fc.weight", "fc.bias"}
