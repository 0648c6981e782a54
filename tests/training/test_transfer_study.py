"""The comparison of notebook 08: what is trained, on what, in which order; its record; its table and figure."""

import dataclasses
import json
import re
import sys
from itertools import product

import numpy as np
import pytest
import torch

from resnet_lesson import LessonError, build, doodles10, machine, shapes10
from resnet_lesson.commands import cli
from resnet_lesson.training import runs, transfer_study
from resnet_lesson.training.pretrained import as_photographs, pretrained
from resnet_lesson.training.recipes import Recipe
from resnet_lesson.training.transfer import FINE_TUNING
from resnet_lesson.training.transfer_study import (
    SEEDS,
    SIZES,
    WAYS,
    Study,
    Trial,
    compare,
    draw,
    load,
    one_trial,
    record,
    recorded_study,
    table,
)

POOL, TEST = as_photographs(doodles10(60, seed=0)), as_photographs(doodles10(20, seed=1))
TINY = FINE_TUNING.scaled(2)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(machine, "pick_device", lambda: torch.device("cpu"))


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


# ---------------------------------------------------------------------------------------------------- trials


@pytest.mark.parametrize("per_class", [1, 3])
def test_examples_are_drawn_of_each_class_alike_and_by_the_seed(per_class):
    drawn = [draw(POOL, per_class, seed) for seed in (0, 0, 1)]
    pool = {image.numpy().tobytes(): label.item() for image, label in zip(POOL.images, POOL.labels, strict=True)}
    for data in drawn:
        assert data.labels.bincount().tolist() == [per_class] * 10
        assert (data.name, data.classes) == (POOL.name, POOL.classes)
        bytes_of = [image.numpy().tobytes() for image in data.images]
        assert len(set(bytes_of)) == 10 * per_class
        assert [pool[one] for one in bytes_of] == data.labels.tolist()
    assert drawn[0].sha256 == drawn[1].sha256
    assert {i.numpy().tobytes() for i in drawn[0].images} != {i.numpy().tobytes() for i in drawn[2].images}


def test_a_pool_too_small_says_so():
    with pytest.raises(LessonError, match="doodles10 has 6 of envelope"):
        list(compare("resnet8", POOL, TEST, sizes=(6,), seeds=(0,), recipe=TINY))


def test_all_combinations_come_in_order_one_when_it_is_asked_for(trained):
    assert len(WAYS) == 3 and (SIZES, SEEDS) == ((10, 50, 500), (0, 1, 2))
    trials = compare("resnet8", POOL, TEST)
    assert trained == []
    next(trials)
    assert trained == [(10, "from scratch", 0)]
    rest = list(trials)
    assert trained == list(product((10, 50, 500), ("from scratch", "new head", "all layers"), (0, 1, 2)))
    assert [(t.per_class, t.way, t.seed) for t in rest] == trained[1:]


def test_the_comparison_gives_its_arguments_to_each_trial_and_repeats():
    first, again = (list(compare("resnet8", POOL, TEST, (1, 2), (0, 1), TINY)) for _ in range(2))
    assert without_time(first) == without_time(again) and len(first) == 12
    alone = one_trial("resnet8", POOL, TEST, 2, "new head", 1, TINY)
    assert without_time([alone]) == without_time(t for t in first if (t.per_class, t.way, t.seed) == (2, "new head", 1))
    assert all(trial.seconds >= 0 for trial in first)


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
    assert examples.sha256 == draw(POOL, 2, 4).sha256 and test_set is TEST and norm is start.normalisation
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


# ---------------------------------------------------------------------------------------------------- the record


def test_a_record_says_what_was_trained_on_what_and_where(tmp_path, trained):
    study = record("one", "resnet8", POOL, TEST, TINY, tmp_path)
    written = json.loads((tmp_path / "one" / "transfer.json").read_text())
    about = written["about"]
    assert about == study.about and [path.name for path in (tmp_path / "one").iterdir()] == ["transfer.json"]
    assert about.pop("machine") == machine.describe(machine.pick_device())
    assert about == {
        "network": pretrained("resnet8").source,
        "data": {"name": "doodles10", "classes": list(POOL.classes)},
        "pool": {"images": 60, "sha256": POOL.sha256},
        "test": {"images": 20, "sha256": TEST.sha256},
        "recipe": {**vars(TINY), "milestones": []},
        "learning_rates": {"from scratch": 0.3, "new head": 1.0, "all layers": 0.1},
        "precision": machine.pick_precision(machine.pick_device()),
        "threads": torch.get_num_threads(),
        "command": machine.command(),
        "commit": machine.commit(),
    }
    assert study.name == "one" and study == load(tmp_path / "one")
    assert [(t.per_class, t.way, t.seed) for t in study.trials] == trained and len(set(trained)) == 27
    assert [t.test_error for t in study.trials] == [0.5 - i / 100 for i in range(1, 28)]
    assert written["trials"][0] == vars(study.trials[0])


def test_an_interrupted_record_goes_on_without_repeating(tmp_path, trained, monkeypatch):
    train = transfer_study.one_trial

    def stop_at(network, *rest):
        if len(trained) == 5:
            raise KeyboardInterrupt
        return train(network, *rest)

    monkeypatch.setattr(transfer_study, "one_trial", stop_at)
    with pytest.raises(KeyboardInterrupt):
        record("one", "resnet8", POOL, TEST, TINY, tmp_path)
    assert [t.test_error for t in load(tmp_path / "one").trials] == [0.49, 0.48, 0.47, 0.46, 0.45]
    monkeypatch.setattr(transfer_study, "one_trial", train)
    study = record("one", "resnet8", POOL, TEST, TINY, tmp_path)
    assert trained == list(product(SIZES, WAYS, SEEDS)) and len(study.trials) == 27
    assert record("one", "resnet8", POOL, TEST, TINY, tmp_path) == study and len(trained) == 27


def test_a_write_that_fails_leaves_the_trials_before(tmp_path, trained, monkeypatch):
    def full(file):
        if len(trained) == 3:
            raise OSError("No space left on device")

    monkeypatch.setattr(runs.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        record("one", "resnet8", POOL, TEST, TINY, tmp_path)
    assert len(load(tmp_path / "one").trials) == 2


def test_another_comparison_is_not_mixed_in(tmp_path, trained, monkeypatch):
    record("one", "resnet8", POOL, TEST, TINY, tmp_path)
    before = (tmp_path / "one" / "transfer.json").read_bytes()
    colours = shapes10(60, 32), shapes10(20, 32, seed=1)
    for other in (
        ("resnet20", POOL, TEST, TINY),
        ("resnet8", as_photographs(doodles10(60, seed=5)), TEST, TINY),
        ("resnet8", POOL, as_photographs(doodles10(20, seed=5)), TINY),
        ("resnet8", *colours, TINY),
        ("resnet8", POOL, TEST, FINE_TUNING.scaled(3)),
    ):
        with pytest.raises(LessonError, match=f"{re.escape(str(tmp_path / 'one'))} holds another comparison, "):
            record("one", *other, tmp_path)
    with monkeypatch.context() as patch:
        patch.setitem(WAYS, "new head", 2.0)
        with pytest.raises(LessonError, match="holds another comparison"):
            record("one", "resnet8", POOL, TEST, TINY, tmp_path)
    assert (tmp_path / "one" / "transfer.json").read_bytes() == before and len(trained) == 27


def test_records_lie_beside_the_runs_unless_another_folder_is_given(tmp_path, trained, monkeypatch):
    monkeypatch.setattr(machine, "DATA", tmp_path)
    assert record("one", "resnet8", POOL, TEST) == load(tmp_path / "runs" / "one")
    assert load(tmp_path / "runs" / "one").about["recipe"]["iterations"] == FINE_TUNING.iterations


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"about": {}}', '{"about": {}, "trials": [{"way": "x"}]}', "3", "\xff"]
)
def test_a_damaged_record_is_named(text, tmp_path, trained):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "transfer.json").write_bytes(text.encode("latin-1"))
    for read in (load, lambda folder: record(folder.name, "resnet8", POOL, TEST, TINY, folder.parent)):
        with pytest.raises(
            LessonError, match=r"transfer\.json cannot be read \(.+\): delete it and record it again\.$"
        ):
            read(tmp_path / "one")
    assert trained == []


def test_a_record_that_is_not_there_is_looked_for_among_the_others(tmp_path, trained):
    with pytest.raises(LessonError, match="no recorded comparison 'one'. There is none yet"):
        load(tmp_path / "one")
    record("two", "resnet8", POOL, TEST, TINY, tmp_path)
    with pytest.raises(LessonError, match="no recorded comparison 'twoo'. Did you mean 'two'"):
        load(tmp_path / "twoo")


def test_the_courses_record_is_whole():
    study = recorded_study("transfer-resnet20-quickdraw6")
    assert isinstance(study, Study) and study.about["network"] == pretrained("resnet20").source
    assert {(t.per_class, t.way, t.seed) for t in study.trials} == set(product(SIZES, WAYS, SEEDS))
    assert len(study.trials) == 27 and study.about["learning_rates"] == WAYS
    assert all(0 <= error <= 1 for t in study.trials for error in (t.train_error, t.test_error))
    assert study.about["commit"] and study.about["machine"]["hardware"] and "transfer" in study.about["command"]


# ---------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Runs the command in an empty folder, on fewer examples; returns its exit status."""
    monkeypatch.setattr(machine, "DATA", tmp_path / "data")
    monkeypatch.setattr(transfer_study, "SIZES", (1, 2))
    monkeypatch.setattr(transfer_study, "SEEDS", (0, 1))
    monkeypatch.setenv("RESNET_LESSON_QUICKDRAW_URL", "http://127.0.0.1:9")

    def main(*words):
        argv = ["transfer", *words]
        monkeypatch.setattr(sys, "argv", ["/somewhere/resnet_lesson/__main__.py", *argv])
        with pytest.raises(SystemExit) as end:
            cli.main(argv)
        return end.value.code

    return main


def test_the_command_trains_on_generated_drawings_without_a_download(small, capsys, monkeypatch):
    made = []
    monkeypatch.setattr(
        transfer_study, "doodles10", lambda n, seed: made.append((n, seed)) or doodles10(n // 100, seed)
    )
    words = "--network", "resnet8", "--iterations", "2"
    assert small(*words) == 0
    assert made == [(10_000, 0), (2_000, 1)]
    study = load(machine.DATA / "runs" / "transfer-resnet8-doodles10-2steps")
    assert capsys.readouterr().out == f"{study.name}:\n{table(study.trials)}\n"
    about = study.about
    assert (about["pool"]["images"], about["test"]["images"]) == (100, 20)
    assert about["pool"]["sha256"] == as_photographs(doodles10(100, seed=0)).sha256
    assert about["recipe"]["iterations"] == 2 and about["network"].startswith("short-resnet8-seed0")
    assert about["command"] == "python -m resnet_lesson transfer --network resnet8 --iterations 2"
    monkeypatch.setattr(transfer_study, "one_trial", None)
    assert small(*words) == 0, "all is there: nothing is trained"


def test_the_command_trains_on_drawings_of_people_that_are_here(small, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer_study, "SIZES", (1,))
    monkeypatch.setattr(transfer_study, "SEEDS", (0,))
    (tmp_path / "usb" / "quickdraw").mkdir(parents=True)
    for i, name in enumerate(("apple", "wine bottle")):
        drawings = np.random.RandomState(i).randint(0, 256, (1500, 784)).astype(np.uint8)
        np.save(tmp_path / "usb" / "quickdraw" / f"{name}.npy", drawings)
    words = "--data", "quickdraw", "--root", str(tmp_path / "usb"), "--network", "resnet8", "--iterations", "1"
    assert small(*words, "--classes", "apple, wine bottle") == 0
    about = load(machine.DATA / "runs" / "transfer-resnet8-quickdraw2-1steps").about
    assert about["data"] == {"name": "quickdraw", "classes": ["apple", "wine bottle"]}
    assert (about["pool"]["images"], about["test"]["images"]) == (2000, 1000)
    assert small(*words, "--classes", "apple,wine botle") == 2
    assert "Did you mean 'wine bottle'" in capsys.readouterr().err
    assert small("--data", "quickdraw", "--root", str(tmp_path)) == 2
    assert "apple.npy could not be fetched" in capsys.readouterr().err


def test_by_default_it_is_resnet20_and_300_steps_and_what_is_wrong_is_one_line(small, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(transfer_study, "doodles10", lambda n, seed: doodles10(n // 100, seed))
    monkeypatch.setattr(transfer_study, "record", lambda *args: asked.append(args) or Study("x", {}, ()))
    assert small() == 0
    assert asked[0][:2] == ("transfer-resnet20-doodles10", "resnet20") and asked[0][4] == FINE_TUNING.scaled(300)
    assert small("--iterations", "0") == 2 and small("--data", "mnist") == 2
    monkeypatch.setattr(transfer_study, "quickdraw", lambda classes, n, root: asked.append((classes, n, root)))
    with pytest.raises(AttributeError):  # what is asked for is enough here
        small("--data", "quickdraw")
    study_post = "apple,wine bottle,spoon,rainbow,panda,hospital,scissors,toothpaste,baseball,hourglass".split(",")
    assert (list(asked[-1][0]), asked[-1][1]) == (study_post, 1500)
    monkeypatch.undo()
    capsys.readouterr()


def test_an_unknown_network_is_one_line(small, capsys, monkeypatch):
    monkeypatch.setattr(transfer_study, "doodles10", lambda n, seed: doodles10(n // 100, seed))
    assert small("--network", "resnet21") == 2
    error = capsys.readouterr().err
    assert error.startswith("There is no trained network 'resnet21'. Did you mean") and error.count("\n") == 1


def test_each_commit_at_which_a_comparison_went_on_is_named_once(tmp_path, trained, monkeypatch):
    for commit in ("a", "a", "b", "a", "b", "c"):
        monkeypatch.setattr(machine, "commit", lambda commit=commit: commit)
        about = record("one", "resnet8", POOL, TEST, TINY, tmp_path).about
        path = tmp_path / "one" / "transfer.json"
        found = json.loads(path.read_text())
        path.write_text(json.dumps({**found, "trials": found["trials"][:-1]}))
    assert about["commit"] == "a and b and c"


def test_another_machine_or_number_format_is_another_comparison(tmp_path, trained, monkeypatch):
    record("one", "resnet8", POOL, TEST, TINY, tmp_path)
    monkeypatch.setattr(machine, "commit", lambda: "later")
    about = record("one", "resnet8", POOL, TEST, TINY, tmp_path).about  # everything is done: nothing is written
    assert about["commit"] != "later"
    path = tmp_path / "one" / "transfer.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "trials": found["trials"][:-1]}))
    both = record("one", "resnet8", POOL, TEST, TINY, tmp_path).about["commit"]
    assert both == f"{about['commit']} and later"
    monkeypatch.setattr(machine, "describe", lambda device: {"hardware": "another"})
    with pytest.raises(LessonError, match="another machine: choose another --out"):
        record("one", "resnet8", POOL, TEST, TINY, tmp_path)


def test_the_command_takes_a_name_and_refuses_classes_without_quickdraw(small, trained, monkeypatch, capsys):
    monkeypatch.setattr(transfer_study, "doodles10", lambda n, seed: doodles10(n // 100, seed))
    assert small("--network", "resnet8", "--classes", "apple") == 2 and not trained
    assert "--classes are QuickDraw's: add --data quickdraw" in capsys.readouterr().err
    assert small("--network", "resnet8", "--iterations", "1", "--out", "mine") == 0
    assert load(machine.DATA / "runs" / "mine").about["recipe"]["iterations"] == 1


def test_drawings_are_made_as_large_as_the_network_expects(small, trained, monkeypatch):
    seen, found = [], pretrained("resnet8")
    monkeypatch.setattr(transfer_study, "doodles10", lambda n, seed: doodles10(n // 100, seed))
    monkeypatch.setattr(transfer_study, "pretrained", lambda name, otherwise: dataclasses.replace(found, size=40))
    monkeypatch.setattr(transfer_study, "record", lambda *args: seen.append(args[2:4]) or Study("x", {}, ()))
    assert small("--network", "resnet8") == 0
    assert [data.images.shape[1:] for data in seen[0]] == [(40, 40, 3)] * 2
