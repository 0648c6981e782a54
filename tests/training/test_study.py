"""Recorded studies: what is made, how it is kept, what happens when it is stopped, and several processes at once."""

import re
from dataclasses import replace

import pytest

from resnet_lesson import LessonError, machine
from resnet_lesson.training import study as study_module
from resnet_lesson.training.runs import claimed, shipped
from resnet_lesson.training.study import Plan, grid, list_studies, load, record

SETTINGS = grid(seed=(0, 1), lr=(0.3, 0.003))


class Lab:
    """A plan whose trials only note that they were made."""

    def __init__(self):
        self.made, self.stop_at = [], None
        self.plan = Plan("toy", "Does it work?", {"data": {"name": "none"}, "sizes": (1, 2)}, SETTINGS, self.trial)

    def trial(self, seed, lr):
        if len(self.made) == self.stop_at:
            raise KeyboardInterrupt
        self.made.append((seed, lr))
        return {"error": seed + lr}


@pytest.fixture
def lab():
    return Lab()


def test_a_grid_is_all_combinations_the_last_name_fastest():
    assert grid(a=(1, 2), b="xy") == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]


def test_every_trial_is_made_once_and_recorded_with_who_made_it(lab, tmp_path):
    study = record(lab.plan, tmp_path / "toy")
    assert lab.made == [(0, 0.3), (0, 0.003), (1, 0.3), (1, 0.003)]
    assert study == load(tmp_path / "toy") == record(lab.plan, tmp_path / "toy") and len(lab.made) == 4
    assert (study.name, study.question, study.shared) == (
        "toy",
        "Does it work?",
        {"data": {"name": "none"}, "sizes": [1, 2]},
    )
    (session,) = study.sessions
    assert session["machine"] == machine.describe(machine.pick_device()) and session["commit"] == machine.commit()
    assert study.trials[3] == {"seed": 1, "lr": 0.003, "error": 1.003, "seconds": 0.0, "session": 0}
    assert study.hardware == session["machine"]["hardware"]
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["study.json"]


def test_results_are_found_by_their_settings(lab, tmp_path):
    study = record(lab.plan, tmp_path / "toy")
    assert study.values("error", lr=0.3) == [0.3, 1.3] and len(study.where()) == 4
    with pytest.raises(LessonError, match="toy has no trial with {'lr': 0.1}"):
        study.values("error", lr=0.1)


def test_a_study_that_was_stopped_goes_on_and_says_who_did(lab, tmp_path, monkeypatch):
    lab.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        record(lab.plan, tmp_path / "toy")
    assert len(load(tmp_path / "toy").trials) == 3
    lab.stop_at = None
    monkeypatch.setattr(machine, "commit", lambda: "another")
    study = record(lab.plan, tmp_path / "toy")
    assert len(lab.made) == 4 and [trial["session"] for trial in study.trials] == [0, 0, 0, 1]
    assert study.sessions[1]["commit"] == "another"


def test_a_plan_may_grow_and_its_question_with_it(lab, tmp_path):
    record(lab.plan, tmp_path / "toy")
    more = replace(lab.plan, question="With 3 seeds?", settings=grid(seed=(0, 1, 2), lr=(0.3, 0.003)))
    study = record(more, tmp_path / "toy")
    assert len(study.trials) == 6 and lab.made[4:] == [(2, 0.3), (2, 0.003)]
    assert study.question == "With 3 seeds?"


def test_one_process_records_at_a_time(lab, tmp_path):
    with claimed(tmp_path / "toy"), pytest.raises(LessonError, match="Another process"):
        record(lab.plan, tmp_path / "toy")
    assert lab.made == []


def test_another_study_is_not_mixed_in(lab, tmp_path):
    record(lab.plan, tmp_path / "toy")
    before = (tmp_path / "toy" / "study.json").read_bytes()
    others = {
        "contains a different study, toy": replace(lab.plan, name="tyo"),
        "was recorded with a different data: choose": replace(lab.plan, shared={"data": {"name": "others"}}),
    }
    for says, other in others.items():
        with pytest.raises(LessonError, match=f"{re.escape(str(tmp_path / 'toy'))} {says}"):
            record(other, tmp_path / "toy")
    assert (tmp_path / "toy" / "study.json").read_bytes() == before and len(lab.made) == 4


@pytest.mark.parametrize("text", ["{", '{"name": "toy"}'])
def test_a_damaged_record_is_named_and_does_not_hide_the_others(lab, tmp_path, text, capsys):
    record(lab.plan, tmp_path / "good")
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "study.json").write_text(text)
    for read in (load, lambda folder: record(lab.plan, folder)):
        with pytest.raises(LessonError, match=r"study\.json cannot be read \(.+\): delete it and record it again\.$"):
            read(tmp_path / "toy")
    assert [study.folder.name for study in list_studies(tmp_path)] == ["good"]
    assert "cannot be read" in capsys.readouterr().err


def test_one_that_is_not_there_is_looked_for_among_the_others(lab, tmp_path):
    record(lab.plan, tmp_path / "two")
    with pytest.raises(LessonError, match="no recorded study 'twoo'. Did you mean 'two'"):
        load(tmp_path / "twoo")


SHIPPED = sorted(path.parent.name for path in shipped().glob("*/study.json"))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_courses_studies_say_where_they_come_from(name):
    study = study_module.recorded_study(name)
    assert study.trials and study.question.endswith(("?", "."))
    for session in study.sessions:
        assert re.fullmatch("[0-9a-f]{40}", session["commit"]) and session["machine"]["hardware"]
        assert session["command"].startswith("python -m resnet_lesson ") and "/" not in session["command"]
    assert {trial["session"] for trial in study.trials} <= set(range(len(study.sessions)))
    parts = [part for part in (study.shared.get("pool"), study.shared["data"].get("train")) if part]
    assert parts and all(len(part["sha256"]) == 64 for part in parts)


def test_where_nothing_can_be_written_no_trial_is_made(lab, tmp_path):
    (tmp_path / "toy").write_text("a file")
    with pytest.raises(LessonError, match="cannot be recorded in"):
        record(lab.plan, tmp_path / "toy")
    assert lab.made == []
