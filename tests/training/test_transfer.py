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

from resnet_lesson import Batches, Normalisation, build, doodles10, evaluate, machine, shapes10, train
from resnet_lesson.inside.measures import gradient_norms, unchanged
from resnet_lesson.models.family import stochastic_depth
from resnet_lesson.training.evaluation import predict
from resnet_lesson.training.loop import Diverged, step
from resnet_lesson.training.pretrained import as_photographs, pretrained
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


# --- the head


@pytest.mark.parametrize("name", ["resnet8", "plain8", "resnet18", "seresnet20", "preresnet20", "wrn10_1", "resnet20d"])
def test_a_network_of_the_course_gets_a_head(name):
    network = build(name, seed=0)
    before, held = state(network), network.spec
    assert replace_head(network, 3, seed=0) is network
    assert network.eval()(random_images(2, 32)).shape == (2, 3)
    assert changed(network, before) == {"fc.weight", "fc.bias"}
    assert network.spec == {"name": name, "seed": 0, "options": {"num_classes": 3}} and held["options"] == {}
    network = replace_head(build("resnet8", seed=4, shortcut="C", num_classes=7), 2)
    assert network.spec == {"name": "resnet8", "seed": 4, "options": {"shortcut": "C", "num_classes": 2}}


@pytest.mark.parametrize(
    "name, head, inputs",
    [("resnet18", "fc", 512), ("mobilenet_v3_small", "classifier.3", 1024), ("vgg11", "classifier.6", 4096)],
)
def test_torchvisions_networks_get_one_too_however_deep_it_is(name, head, inputs):
    with torch.device("meta"):
        network = torchvision.models.get_model(name, num_classes=9)
    assert head_of(network) == (head, network.get_submodule(head))
    replace_head(network, 4)
    new = network.get_submodule(head)
    assert (type(new), new.in_features, new.out_features) == (nn.Linear, inputs, 4)
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
    with torch.device("meta"):
        assert network(torch.empty(2, 3, 64, 64)).shape == (2, 4)


def test_a_seed_always_gives_the_same_head_and_leaves_torchs_random_state():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    heads = [replace_head(build("resnet8", seed=0), 3, seed=seed).fc.weight for seed in (1, 1, 2)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])
    without = [replace_head(build("resnet8", seed=0), 3).fc.weight for _ in range(2)]
    assert not torch.equal(*without)
    torch.manual_seed(1)
    assert torch.equal(nn.Linear(64, 3).weight, heads[0]), "as torch makes a layer"


@pytest.mark.parametrize("training", [True, False])
def test_the_new_head_is_of_the_old_ones_kind(training):
    network = replace_head(build("resnet8", seed=0).to(torch.float64).train(training), 3)
    assert network.fc.weight.dtype == network.fc.bias.dtype == torch.float64
    assert {part.training for part in network.modules()} == {training}


@pytest.mark.parametrize("number", [1, -3, True, 2.5, "10", None])
def test_heads_that_make_no_sense(number):
    network = build("resnet8", seed=0)
    before = state(network)
    with pytest.raises(ValueError, match=rf"num_classes is a whole number of at least 2 classes, not {number!r}"):
        replace_head(network, number)
    assert changed(network, before) == set() and network.spec["options"] == {}


def test_a_network_without_a_head_or_without_a_body_is_refused():
    for use in (lambda n: replace_head(n, 3), head_of, parameter_groups, lambda n: fine_tune(n, TRAIN, TEST, NORM)):
        with pytest.raises(ValueError, match="Sequential has no linear layer, so it has no head"):
            use(nn.Sequential(nn.Conv2d(3, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    with pytest.raises(ValueError, match="a head without a body"):
        replace_head(nn.Linear(3, 4), 5)


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
    network = build("resnet14", seed=0)
    before = state(network)
    assert freeze(network, trainable=names) is network
    if learns:
        steps(network)
    else:
        network.train()(random_images())
    assert changed(network, before) == below(network, *learns)
    ways = [(one, name) for name in dict(network.named_modules()) for one in learns]
    assert {name for name, part in network.named_modules() if part.training} == {  # what learns, and what holds it
        name
        for one, name in ways
        if name == "" or one in ("", name) or name.startswith(f"{one}.") or one.startswith(f"{name}.")
    }
    learning = {name for name, _ in network.named_parameters()} & below(network, *learns)
    assert {name for name, p in network.named_parameters() if p.requires_grad} == learning
    assert {name for name, p in network.named_parameters() if p.grad is not None} == learning


def test_by_default_the_head_learns_and_a_name_is_not_the_beginning_of_another():
    network = freeze(build("resnet8", seed=0))
    assert [name for name, p in network.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]
    network = freeze(nn.Sequential(*(nn.Linear(2, 2) for _ in range(12))), "1")
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {"1.weight", "1.bias"}


def test_what_was_frozen_can_learn_again_and_the_other_way():
    network = build("resnet14", seed=0)
    for names in ("fc", "stages.1", ""):
        before = state(freeze(network, names))
        steps(network)
        assert changed(network, before) == below(network, names), names
    network.eval()
    assert not any(part.training for part in network.modules())
    network.train()
    assert all(part.training for part in network.modules())


def test_a_network_in_evaluation_mode_stays_so_until_it_is_trained():
    network = freeze(build("resnet8", seed=0).eval(), ("stages.2", "fc"))
    assert not any(part.training for part in network.modules())
    network.train()
    assert network.training and network.stages.training and network.stages[2][0].residual.bn1.training
    network.eval()
    assert not any(part.training for part in network.modules())


def test_it_lasts_through_copies_measurements_and_modes():
    network = freeze(build("resnet8", seed=0), ("stages.2", "fc"))
    learns, before, data = below(network, "stages.2", "fc"), state(network), Batches(TRAIN, 20, NORM)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network)), copy.deepcopy(copy.deepcopy(network))):
        assert twin.stem.train() is twin.stem, "its own, not the first one's"
        steps(twin)
        assert changed(twin, before) == learns and changed(network, before) == set()
    modes = [part.training for part in network.modules()]
    evaluate(network, data)
    predict(network.eval().train(), data)
    with unchanged(network):
        network.train()
        steps(network)
    gradient_norms(network, random_images(), torch.arange(8))
    assert [part.training for part in network.modules()] == modes and changed(network, before) == set()
    steps(network)
    assert changed(network, before) == learns


def test_an_optimiser_that_is_under_way_does_not_move_what_is_frozen():
    network = build("resnet8", seed=0)
    optimiser = steps(network)  # has momentum, and the gradients are still there
    before = state(freeze(network))
    optimiser.step()
    network.train()
    step(network, random_images(), torch.arange(8), optimiser)
    assert changed(network, before) == {"fc.weight", "fc.bias"}


def test_dropout_and_stochastic_depth_do_not_act_in_frozen_parts():
    network = stochastic_depth(build("resnet8", seed=0), survival=0.2)
    network.stages[1].add_module("dropout", nn.Dropout(0.5))
    images = random_images()
    with torch.no_grad():
        expected = network.eval()(images)
        freeze(network)
        assert all(torch.equal(network.train()(images), expected) for _ in range(5))
        freeze(network, ("stages.1", "fc"))
        assert len({network.train()(images).sum().item() for _ in range(5)}) > 1


@pytest.mark.parametrize("names, said", [(("fc", "layer4"), "'layer4'"), ("stages.3", r"'stages\.3'\. Did you mean")])
def test_a_name_that_does_not_exist_changes_nothing(names, said):
    network = freeze(build("resnet8", seed=0), "stem")
    before = [(p.requires_grad, "train" in vars(m)) for m in network.modules() for p in m.parameters(recurse=False)]
    with pytest.raises(ValueError, match=rf"^There is no module {said}.*There are: stem, .*fc\. Nothing was frozen\.$"):
        freeze(network, names)
    after = [(p.requires_grad, "train" in vars(m)) for m in network.modules() for p in m.parameters(recurse=False)]
    assert after == before


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
        (lambda: nn.Sequential(*(nn.Linear(2, 2) for _ in range(12))), "", [str(i) for i in reversed(range(12))]),
        (Backwards, "", ["fc", "body"]),
    ],
)
def test_each_part_is_a_group_the_head_first_and_the_stem_last(make, trainable, names):
    network = freeze(make(), trainable)
    groups = parameter_groups(network, 0.5)
    assert [group["name"] for group in groups] == names
    assert [group["scale"] for group in groups] == pytest.approx([0.5**i for i in range(len(names))])
    assert {group["scale"] for group in parameter_groups(network)} == {1}
    parameters = [parameter for group in groups for parameter in group["params"]]
    assert len({id(p) for p in parameters}) == len(parameters)
    assert {id(p) for p in parameters} == {id(p) for p in network.parameters() if p.requires_grad}
    named = {id(p): name for name, p in network.named_parameters()}
    assert all(named[id(p)].startswith(f"{group['name']}.") for group in groups for p in group["params"])


@pytest.mark.parametrize(
    "make, head, others",
    [
        (lambda: build("resnet8"), "fc", ("stem", "stages.2")),
        (torchvision.models.mobilenet_v3_small, "classifier.3", ("features", "classifier.0")),
    ],
)
def test_nothing_to_train_and_a_frozen_head_are_refused(make, head, others):
    network = freeze(make(), ())
    with pytest.raises(ValueError, match=rf"nothing would be trained\. freeze\(network, '{head}'\) leaves the head"):
        parameter_groups(network)
    with pytest.raises(ValueError, match=rf"The head {head} is frozen.* freeze\(network, '{head}'\)\.$"):
        parameter_groups(freeze(network, others))


@pytest.mark.parametrize("decay", [0, 1.5, -1, float("nan")])
def test_a_decay_that_makes_no_sense(decay):
    with pytest.raises(ValueError, match=f"decay is a factor above 0 and up to 1, not {decay}"):
        parameter_groups(build("resnet8", seed=0), decay)


# --- fine-tuning


@pytest.fixture
def watched():
    """Each step's rates by group, and the groups."""
    seen = []

    def look(optimiser, *_):
        seen.append(({group["name"]: group["lr"] for group in optimiser.param_groups}, optimiser.param_groups))

    handle = register_optimizer_step_pre_hook(look)
    yield seen
    handle.remove()


def test_rates_follow_the_recipe_times_the_scale_of_each_part(watched):
    network = freeze(build("resnet8", seed=0), ("stages.2", "fc", "stem"))
    fine_tune(network, TRAIN, TEST, NORM, TINY, decay=0.5, device="cpu")
    rates = [TINY.lr_at(i) for i in range(5)]
    assert [seen for seen, _ in watched] == [
        pytest.approx({"fc": rate, "stages.2": rate / 2, "stem": rate / 4}) for rate in rates
    ]
    for group in watched[0][1]:
        assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, True, 5e-3)


def test_without_decay_it_is_plain_training_step_by_step():
    plain, tuned = build("resnet8", seed=0), build("resnet8", seed=0)
    optimiser = torch.optim.SGD(plain.parameters(), lr=1, momentum=0.9, nesterov=True, weight_decay=5e-3)
    cpu = torch.device("cpu")
    plain.train()
    for i, images, labels in Batches(TRAIN, 16, NORM, padding=1, flip=True, shuffle=True, seed=3).steps(0, 5):
        optimiser.param_groups[0]["lr"] = TINY.lr_at(i)
        step(plain, images, labels, optimiser, precision=machine.pick_precision(cpu))
    fine_tune(tuned, TRAIN, TEST, NORM, TINY, seed=3, device=cpu)
    assert changed(tuned, state(plain)) == set() and changed(tuned, state(build("resnet8", seed=0)))


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


def test_the_errors_are_those_met_in_training_and_of_the_test_images():
    network, seen = build("resnet8", seed=0), []
    network.register_forward_hook(lambda module, _, logits: seen.append(logits.detach()) if module.training else None)
    train_error, test_error = fine_tune(network, TRAIN, TEST, NORM, TINY, seed=3, device="cpu")
    data = Batches(TRAIN, 16, NORM, padding=1, flip=True, shuffle=True, seed=3)
    labels = [labels for _, _, labels in data.steps(0, 5)]
    assert [len(logits) for logits in seen] == [16, 16, 8, 16, 16]  # 2.5 batches in an epoch
    wrong = sum((logits.argmax(1) != y).sum().item() for logits, y in zip(seen, labels, strict=True))
    assert train_error == wrong / 72 and 0 < train_error < 1
    assert test_error == pytest.approx(evaluate(network, Batches(TEST, 300, NORM))[1], abs=0.004)


def test_few_images_make_one_small_batch():
    network, seen = build("resnet8", seed=0), []
    network.register_forward_hook(lambda module, _, logits: seen.append(len(logits)) if module.training else None)
    fine_tune(network, TRAIN.take(6), TEST, NORM, TINY, device="cpu")
    assert seen == [6] * 5


def test_it_learns_what_is_new_by_the_courses_recipe():
    assert (FINE_TUNING.padding, FINE_TUNING.flip, FINE_TUNING.batch_size) == (0, False, 32)
    network, few = build("resnet8", seed=0), TRAIN.take(20)
    fine_tune(network, few, TEST, NORM, FINE_TUNING.scaled(30), device="cpu")
    assert evaluate(network, Batches(few, 20, NORM))[1] < 0.2


@pytest.mark.parametrize("outputs", [9, 11, 1000])
def test_the_head_has_to_fit_the_classes(outputs):
    network = build("resnet8", seed=0, num_classes=outputs)
    said = rf"The head fc has {outputs} outputs, and shapes10 has 10 classes: replace_head\(network, 10\) first\."
    with pytest.raises(ValueError, match=said):
        fine_tune(network, TRAIN, TEST, NORM, TINY)


def test_a_gpu_is_taken_if_there_is_one_unless_another_device_is_given(monkeypatch):
    asked = []
    monkeypatch.setattr(machine, "pick_device", lambda name: asked.append(name) or torch.device("cpu"))
    network = build("resnet8", seed=0)
    with monkeypatch.context() as patch:
        patch.setattr(machine, "pick_precision", lambda device: asked.append(device.type) or "bfloat16")
        seen = []
        network.fc.register_forward_hook(lambda _, inputs, out: seen.append(out.dtype) if len(out) > 1 else None)
        fine_tune(network, TRAIN.take(4), TEST.take(4), NORM, TINY.scaled(1))
    assert asked == [None, "cpu"] and seen == [torch.bfloat16] * 2
    fine_tune(network, TRAIN.take(4), TEST.take(4), NORM, TINY.scaled(1), device="cpu")
    assert asked == [None, "cpu", "cpu"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_frozen_body_stays_too():
    network = freeze(build("resnet8", seed=0))
    before = state(network)
    fine_tune(network, TRAIN, TEST, NORM, TINY, device="cuda")
    assert next(network.parameters()).device.type == "cuda"
    assert changed(network.cpu(), before) == {"fc.weight", "fc.bias"}


def test_grey_images_are_named_as_such():
    for use in (
        lambda data: fine_tune(build("resnet8"), data, data, NORM, TINY),
        lambda data: train(build("resnet8"), data, data),
    ):
        with pytest.raises(ValueError, match=r"doodles10 has 1 channel\(s\), and the network takes 3: as_photographs"):
            use(doodles10(20))


def test_a_diverged_fine_tuning_says_so_and_a_good_one_ends_in_evaluation_mode():
    data = as_photographs(doodles10(40))
    network = replace_head(pretrained("resnet8").network, 10, seed=0)
    fine_tune(network, data, data, NORM, TINY)
    assert not any(module.training for module in network.modules())
    with pytest.raises(Diverged, match="lower rate than 1e"):
        fine_tune(network, data, data, NORM, dataclasses.replace(FINE_TUNING, lr=1e8).scaled(10))
