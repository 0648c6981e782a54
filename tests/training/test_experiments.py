"""The course's experiments: what each trial trains, and what it returns."""

import json
import signal
from dataclasses import replace

import pytest
import torch

from resnet_lesson import build, shapes10
from resnet_lesson.training import experiments
from resnet_lesson.training.experiments import EXPERIMENTS, ON_SHAPES, outcome
from resnet_lesson.training.recipes import recipe
from resnet_lesson.training.runs import shipped
from resnet_lesson.training.study import list_studies, recorded_study
from resnet_lesson.training.train import train

SETS = shapes10(64, 8, seed=0), shapes10(32, 8, seed=1)
SHORT = recipe("demo").scaled(3)


def test_an_outcome_is_the_errors_of_a_training_by_epoch():
    found = outcome(build("resnet8", seed=1), *SETS, SHORT, seed=1, precision="float32")
    run = train(build("resnet8", seed=1), *SETS, SHORT, seed=1, precision="float32", progress=False)
    assert len(found["train_errors"]) == 3 and found["diverged"] is None
    assert found["train_errors"] == [round(error, 5) for error in run.column("train_error")]
    assert found["test_errors"] == [round(error, 5) for error in run.column("test_error")]


def test_a_training_that_diverges_is_an_outcome_too():
    found = outcome(build("resnet8", seed=1), *SETS, replace(SHORT, lr=1e12), seed=1, precision="float32")
    assert 1 <= found["diverged"] <= 3 and len(found["train_errors"]) < 3


def test_a_training_that_was_stopped_is_no_outcome():
    network = build("resnet8", seed=1)
    stop_after = iter([False, False, True])  # the check, a step, and Ctrl-C in the evaluation after it
    network.register_forward_hook(lambda *_: signal.raise_signal(signal.SIGINT) if next(stop_after, False) else None)
    with pytest.raises(KeyboardInterrupt):
        outcome(network, *SETS, SHORT, seed=1, precision="float32")


@pytest.mark.parametrize("name", ON_SHAPES)
def test_each_trial_trains_its_network_at_its_rate_with_its_seed(name, monkeypatch):
    seen = []
    monkeypatch.setattr(experiments, "outcome", lambda *args: seen.append(args) or {})
    plan = EXPERIMENTS[name](None)
    assert plan.name == name and len({str(settings) for settings in plan.settings}) == len(plan.settings)
    first, last = plan.settings[0], plan.settings[-1]
    for settings in (first, last):
        plan.trial(**settings)
    (network, train_set, _, chosen, seed, precision), (other, *_) = seen
    assert (
        chosen == replace(ON_SHAPES[name].chosen, lr=first["lr"]) and seed == first["seed"] and precision == "float32"
    )
    assert plan.shared["data"]["train"]["sha256"] == train_set.sha256 and "lr" not in plan.shared["recipe"]
    x = torch.randn(2, 3, 16, 16)
    assert network(x).shape == (2, 10) and not torch.equal(network(x), other(x))


@pytest.mark.parametrize("study", list_studies(shipped()), ids=lambda study: study.name)
def test_the_courses_studies_are_those_that_the_command_makes(study):
    if study.name in ON_SHAPES:
        plan = EXPERIMENTS[study.name](None)
        names = set(plan.settings[0])
        made = [{name: trial[name] for name in names} for trial in study.trials]
        assert all(settings in made for settings in plan.settings) and len(made) == len(plan.settings)
        assert study.shared == json.loads(json.dumps(plan.shared))


@pytest.mark.parametrize("mistake", experiments.MISTAKES)
def test_each_mistake_changes_one_thing_about_the_right_way(mistake):
    """As recorded: what concerns the test alone leaves the training as it is."""
    study = recorded_study("mistakes")
    right, wrong = (study.where(mistake=name) for name in ("none", mistake))
    same = [a["train_losses"] == b["train_losses"] for a, b in zip(right, wrong, strict=True)]
    assert all(same) == (mistake in ("none", "pixels", "labels"))
    tested = [a["test_errors"] == b["test_errors"] for a, b in zip(right, wrong, strict=True)]
    assert any(tested) == (mistake == "none")
