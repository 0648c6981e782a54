"""`transfer`: which drawings it trains on, and where it records them."""

import pytest
from support.commands import call

from resnet_lesson import doodles10
from resnet_lesson.commands import transfer
from resnet_lesson.training.study import Study
from resnet_lesson.training.transfer import FINE_TUNING
from resnet_lesson.training.transfer_study import table

TRIALS = [{"way": "new head", "per_class": 10, "test_error": 0.5}]


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The arguments of `record`, which records nothing, from ever fewer drawings than the command asks for."""
    seen = []
    monkeypatch.setattr(transfer, "own", lambda: tmp_path)
    monkeypatch.setattr(transfer, "plan", lambda *args: args)
    monkeypatch.setattr(
        transfer, "record", lambda plan, out: seen.append((out, *plan)) or Study("", "", {}, [], TRIALS, out)
    )
    monkeypatch.setattr(transfer, "doodles10", lambda n, seed: doodles10(n // 100, seed))
    monkeypatch.setattr(transfer, "quickdraw", lambda classes, n, root: seen.append((*classes, n, root)) or Pool())
    return seen


class Pool:
    def split(self, per_class):
        assert per_class == 1000
        return doodles10(30), doodles10(10)


def test_by_default_it_is_resnet20_on_generated_drawings_in_the_readers_folder(capsys, asked, tmp_path):
    status, printed, _ = call(capsys, "transfer")
    ((folder, network, pool, test_set, recipe),) = asked
    assert status == 0 and printed == f"transfer-resnet20-doodles10:\n{table(TRIALS)}\n"
    assert (folder, network, recipe) == (tmp_path / "transfer-resnet20-doodles10", "resnet20", FINE_TUNING.scaled(300))
    assert (len(pool), len(test_set), pool.images.shape[1:]) == (100, 20, (32, 32, 3))


def test_people_s_drawings_another_network_length_and_folder_are_asked_for(capsys, asked, tmp_path):
    words = ["transfer", "--data", "quickdraw", "--root", str(tmp_path), "--network", "resnet8", "--iterations", "1"]
    assert call(capsys, *words)[0] == 0
    study_post = "apple,wine bottle,spoon,rainbow,panda,hospital,scissors,toothpaste,baseball,hourglass".split(",")
    assert asked[0] == (*study_post, 1500, tmp_path)
    assert asked[1][:2] == (tmp_path / "transfer-resnet8-quickdraw10-1steps", "resnet8") and asked[1][4].iterations == 1
    assert call(capsys, *words, "--classes", "apple, zebra", "--out", str(tmp_path / "mine"))[0] == 0
    assert asked[2] == ("apple", "zebra", 1500, tmp_path) and asked[3][0] == tmp_path / "mine"


def test_classes_are_refused_without_quickdraw(capsys, asked):
    status, _, error = call(capsys, "transfer", "--classes", "apple")
    assert status == 2 and "--classes are QuickDraw's: add --data quickdraw" in error and asked == []


def test_a_network_that_is_not_the_courses_is_refused_before_any_drawing_is_made(capsys, asked):
    status, _, error = call(capsys, "transfer", "--network", "resnet18", "--data", "quickdraw")
    assert status == 2 and "no trained network of the course 'resnet18'" in error and asked == []
