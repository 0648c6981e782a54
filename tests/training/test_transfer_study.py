"""The comparison of notebook 08: what is trained, on what, in which order; its record; its table."""

import re
from itertools import product

import pytest
import torch

from resnet_lesson import LessonError, build, doodles10, machine
from resnet_lesson.training import runs, transfer_study
from resnet_lesson.training.pretrained import as_photographs, pretrained
from resnet_lesson.training.recipes import Recipe
from resnet_lesson.training.transfer import FINE_TUNING
from resnet_lesson.training.transfer_study import (
    SEEDS,
    SIZES,
    WAYS,
    Trial,
    compare,
    load,
    one_trial,
    record,
    recorded_study,
    sample,
    table,
)

POOL, TEST = as_photographs(doodles10(60, seed=0)), as_photographs(doodles10(20, seed=1))
OTHERS = as_photographs(doodles10(60, seed=5))
TINY = FINE_TUNING.scaled(2)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(machine, "pick_device", lambda name=None: torch.device("cpu"))


@pytest.fixture
def trained(monkeypatch):
    """What would be trained, in order: nothing is, and the test error of the first is 0.5, then a little less."""
    seen = []

    def fake(network, pool, test_set, per_class, way, seed, recipe=FINE_TUNING):
        seen.append((per_class, way, seed))
        return Trial(way, per_class, seed, 0.25, 0.5 - len(seen) / 100, 1.5)

    monkeypatch.setattr(transfer_study, "one_trial", fake)
    return seen


def without_time(trials):
    return [(t.way, t.per_class, t.seed, t.train_error, t.test_error) for t in trials]


def test_examples_are_drawn_of_each_class_alike_and_by_the_seed():
    one, same, other = (sample(POOL, 3, seed) for seed in (0, 0, 1))
    pool = {image.numpy().tobytes(): label.item() for image, label in zip(POOL.images, POOL.labels, strict=True)}
    assert one.labels.bincount().tolist() == other.labels.bincount().tolist() == [3] * 10
    assert [pool[image.numpy().tobytes()] for image in one.images] == one.labels.tolist()
    assert one.sha256 == same.sha256 != other.sha256


def test_a_pool_too_small_says_so():
    with pytest.raises(LessonError, match="doodles10 has 6 of envelope"):
        list(compare("resnet8", POOL, TEST, sizes=(6,), seeds=(0,), recipe=TINY))


def test_all_combinations_follow_in_order_one_when_it_is_asked_for(trained):
    trials = compare("resnet8", POOL, TEST)
    assert trained == []
    next(trials)
    assert trained == [(10, "from scratch", 0)]
    rest = list(trials)
    assert trained == list(product((10, 50, 500), ("from scratch", "new head", "all layers"), (0, 1, 2)))
    assert [(t.per_class, t.way, t.seed) for t in rest] == trained[1:]


@pytest.mark.parametrize("way, rate", [("from scratch", 0.3), ("new head", 1.0), ("all layers", 0.1)])
def test_each_way_trains_its_network_at_its_rate(way, rate, monkeypatch):
    seen = []

    def fine_tune(network, *rest, **options):
        seen.append((network, rest, options))
        return 0.25, 0.75

    monkeypatch.setattr(transfer_study, "fine_tune", fine_tune)
    trials = [one_trial("resnet8", POOL, TEST, 2, way, seed, TINY) for seed in (4, 4, 5)]
    assert without_time(trials) == [(way, 2, seed, 0.25, 0.75) for seed in (4, 4, 5)]
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
    trials = [Trial("new head", 10, seed, 0.0, error, 1.0) for seed, error in enumerate((0.1, 0.2, 0.3))]
    trials += [Trial("new head", 500, 0, 0.0, 0.125, 1.0), Trial("from scratch", 10, 0, 0.0, 0.9, 1.0)]
    trials += [Trial("from scratch", 10, 1, 0.9, 0.8, 1.0)]
    assert table(trials).splitlines() == [
        "test error           10 a class       500 a class",
        "new head          20.0% ± 10.0%             12.5%",
        "from scratch      85.0% ±  7.1%                 -",
    ]


def test_a_record_says_what_was_trained_on_what_and_where(tmp_path, trained):
    study = record(tmp_path / "one", "resnet8", POOL, TEST, TINY)
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["transfer.json"]
    assert study.about["network"] == pretrained("resnet8").source
    assert study.about["data"] == {"name": "doodles10", "classes": list(POOL.classes)}
    assert study.about["pool"] == {"images": 60, "sha256": POOL.sha256}
    assert study.about["test"] == {"images": 20, "sha256": TEST.sha256}
    assert study.about["recipe"] == {**vars(TINY), "milestones": []} and study.about["learning_rates"] == WAYS
    assert study.about["machine"] == machine.describe(machine.pick_device())
    assert study.name == "one" and study == load(tmp_path / "one")
    assert [(t.per_class, t.way, t.seed) for t in study.trials] == trained == list(product(SIZES, WAYS, SEEDS))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError("No space left on device")])
def test_a_record_that_was_stopped_goes_on_without_repeating(tmp_path, trained, monkeypatch, stop):
    def full(file):
        if len(trained) == 6:
            raise stop

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, OSError)):
        patch.setattr(runs.os, "fsync", full)
        record(tmp_path / "one", "resnet8", POOL, TEST, TINY)
    assert [t.test_error for t in load(tmp_path / "one").trials] == [0.49, 0.48, 0.47, 0.46, 0.45]
    monkeypatch.setattr(machine, "commit", lambda: "another")
    study = record(tmp_path / "one", "resnet8", POOL, TEST, TINY)
    assert study.about["commit"].endswith(" and another")
    assert trained[6:] == list(product(SIZES, WAYS, SEEDS))[5:]
    assert record(tmp_path / "one", "resnet8", POOL, TEST, TINY) == study and len(trained) == 6 + 22


@pytest.mark.parametrize(
    "other",
    [
        ("resnet20", POOL, TEST, TINY),
        ("resnet8", OTHERS, TEST, TINY),
        ("resnet8", POOL, TEST, FINE_TUNING.scaled(3)),
    ],
    ids=["network", "pool", "recipe"],
)
def test_another_comparison_is_not_mixed_in(tmp_path, trained, other):
    record(tmp_path / "one", "resnet8", POOL, TEST, TINY)
    before = (tmp_path / "one" / "transfer.json").read_bytes()
    with pytest.raises(LessonError, match=f"{re.escape(str(tmp_path / 'one'))} holds another comparison, "):
        record(tmp_path / "one", *other)
    assert (tmp_path / "one" / "transfer.json").read_bytes() == before and len(trained) == 27


@pytest.mark.parametrize("text", ["{", "[]", '{"about": {}}', '{"about": {}, "trials": [{"way": "x"}]}'])
def test_a_damaged_record_is_named(text, tmp_path, trained):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "transfer.json").write_bytes(text.encode("latin-1"))
    for read in (load, lambda folder: record(folder, "resnet8", POOL, TEST, TINY)):
        with pytest.raises(
            LessonError, match=r"transfer\.json cannot be read \(.+\): delete it and record it again\.$"
        ):
            read(tmp_path / "one")
    assert trained == []


def test_a_record_that_is_not_there_is_looked_for_among_the_others(tmp_path, trained):
    record(tmp_path / "two", "resnet8", POOL, TEST, TINY)
    with pytest.raises(LessonError, match="no recorded comparison 'twoo'. Did you mean 'two'"):
        load(tmp_path / "twoo")


def test_the_courses_record_is_whole():
    study = recorded_study("transfer-resnet20-quickdraw6")
    assert study.about["network"] == pretrained("resnet20").source and study.about["learning_rates"] == WAYS
    assert sorted((t.per_class, t.way, t.seed) for t in study.trials) == sorted(product(SIZES, WAYS, SEEDS))
    assert all(0 <= error <= 1 for t in study.trials for error in (t.train_error, t.test_error))
    assert study.about["commit"] and study.about["machine"]["hardware"] and "transfer" in study.about["command"]
