"""The comparison of notebook 08: what is trained, on what, in which order; its plan; its table."""

import json
from types import SimpleNamespace

import pytest
import torch

from resnet_lesson import LessonError, build, doodles10, machine
from resnet_lesson.training import transfer_study
from resnet_lesson.training.pretrained import as_photographs, pretrained
from resnet_lesson.training.recipes import Recipe
from resnet_lesson.training.study import recorded_study
from resnet_lesson.training.transfer import FINE_TUNING
from resnet_lesson.training.transfer_study import on_quickdraw, one_trial, sample, table

POOL, TEST = as_photographs(doodles10(60, seed=0)), as_photographs(doodles10(20, seed=1))
TINY = FINE_TUNING.scaled(2)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(machine, "pick_device", lambda name=None: torch.device("cpu"))


def test_examples_are_drawn_of_each_class_alike_and_by_the_seed():
    one, same, other = (sample(POOL, 3, seed) for seed in (0, 0, 1))
    pool = {image.numpy().tobytes(): label.item() for image, label in zip(POOL.images, POOL.labels, strict=True)}
    assert one.labels.bincount().tolist() == other.labels.bincount().tolist() == [3] * 10
    assert [pool[image.numpy().tobytes()] for image in one.images] == one.labels.tolist()
    assert one.sha256 == same.sha256 != other.sha256


def test_a_pool_too_small_says_so():
    with pytest.raises(LessonError, match="doodles10 has 6 of envelope"):
        one_trial("resnet8", POOL, TEST, 6, "new head", 0, TINY)


@pytest.mark.parametrize("way, rate", [("from scratch", 0.3), ("new head", 1.0), ("all layers", 0.1)])
def test_each_way_trains_its_network_at_its_rate(way, rate, monkeypatch):
    seen = []

    def fine_tune(network, *rest, **options):
        seen.append((network, rest, options))
        return 0.25, 0.75

    monkeypatch.setattr(transfer_study, "fine_tune", fine_tune)
    trials = [one_trial("resnet8", POOL, TEST, 2, way, seed, TINY) for seed in (4, 4, 5)]
    assert trials == [{"train_error": 0.25, "test_error": 0.75}] * 3
    start = pretrained("resnet8")
    (network, (examples, test_set, norm, recipe), options), (twin, _, _), (other, _, _) = seen
    assert examples.sha256 == sample(POOL, 2, 4).sha256 and test_set is TEST and norm is start.normalisation
    assert recipe == Recipe(**{**vars(TINY), "lr": rate}) and options == {"seed": 4}
    body = (build("resnet8", seed=4) if way == "from scratch" else start.network).state_dict()
    assert all(torch.equal(value, body[key]) for key, value in network.state_dict().items() if key[:2] != "fc")
    assert torch.equal(network.fc.weight, twin.fc.weight) and not torch.equal(network.fc.weight, other.fc.weight)
    assert not torch.equal(network.fc.weight, body["fc.weight"]) and network.fc.out_features == 10
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    assert (learning == {"fc.weight", "fc.bias"}) == (way == "new head") and "fc.weight" in learning


def test_the_table_is_mean_and_standard_deviation():
    errors = [("new head", 10, error) for error in (0.1, 0.2, 0.3)]
    errors += [("new head", 500, 0.125), ("from scratch", 10, 0.9), ("from scratch", 10, 0.8)]
    trials = [{"way": way, "per_class": size, "test_error": error} for way, size, error in errors]
    assert table(trials).splitlines() == [
        "test error         10 per class     500 per class",
        "new head          20.0% ± 10.0%             12.5%",
        "from scratch      85.0% ±  7.1%                 -",
    ]


def test_the_courses_record_is_whole_and_is_what_the_plan_makes(monkeypatch):
    asked = []

    def quickdraw(*what):
        asked.append(what)
        return SimpleNamespace(split=lambda per_class: (doodles10(60), doodles10(20)))

    monkeypatch.setattr(transfer_study, "quickdraw", quickdraw)
    monkeypatch.setattr(transfer_study, "one_trial", lambda *args, recipe, **settings: (args[0], settings))
    study, made = recorded_study("transfer-resnet20-quickdraw6"), on_quickdraw(None)
    assert asked == [(tuple(study.shared["data"]["classes"]), 1500, None)] and made.name == study.name
    for part in ("network", "recipe", "learning_rates"):
        assert json.loads(json.dumps(made.shared[part])) == study.shared[part]
    assert made.shared["pool"]["images"] == 60 and made.shared.keys() == study.shared.keys()
    recorded = sorted((t["per_class"], t["way"], t["seed"]) for t in study.trials)
    assert recorded == sorted(tuple(settings.values()) for settings in made.settings)
    assert made.trial(**made.settings[0]) == ("resnet20", made.settings[0])
    assert all(0 <= error <= 1 for t in study.trials for error in (t["train_error"], t["test_error"]))
