"""The command line, as a person types it."""

import io
import json
import os
import re
import shutil
import sys
from types import SimpleNamespace
from unicodedata import normalize

import pytest
from support.commands import call
from support.paths import REPO

from resnet_lesson.commands import cli, inside, runs, shared, study, train
from resnet_lesson.datasets.shapes10 import shapes10
from resnet_lesson.training.runs import load, own, shipped
from resnet_lesson.training.study import Plan

FIRST = "short-resnet20-seed0"
TINY = ["train", "--network", "resnet8", "--recipe", "demo", "--dataset", "shapes10", "--iterations", "3"]


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    sets = shapes10(128, seed=0), shapes10(64, seed=1)
    monkeypatch.setitem(shared.DATASETS, "shapes10", lambda root: sets)


@pytest.fixture
def mine(monkeypatch, tmp_path):
    """The folder of the reader's own runs."""
    for module in (train, runs, inside, study):
        monkeypatch.setattr(module, "own", lambda: tmp_path / "my-runs")
    return tmp_path / "my-runs"


def test_train_records_the_run(capsys, tmp_path):
    out = tmp_path / "run"
    status, printed, _ = call(capsys, *TINY, "--seed", "5", "--out", str(out))
    assert status == 0 and "training error" in printed and "after 3 iterations" in printed
    run = load(out)
    assert (run.status, run.seed, run.network["name"], run.network["seed"]) == ("finished", 5, "resnet8", 5)


def test_visdom_is_asked_for(capsys, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(train, "VisdomWindows", lambda port: lambda run: drawn.append((port, run.final("iteration"))))
    assert call(capsys, *TINY, "--visdom", "9000", "--out", str(tmp_path / "run"))[0] == 0
    assert drawn[-1] == (9000, 3)


def test_the_lines_of_the_readme_and_contributing_train_into_the_readers_folder(capsys, mine, monkeypatch):
    """CONTRIBUTING then moves the folder by hand: no command writes among the course's own records."""
    asked = []
    monkeypatch.setitem(shared.DATASETS, "cifar10", shared.DATASETS["shapes10"])
    monkeypatch.setattr(train, "train", lambda *_, out, **rest: asked.append(out.name) or load(shipped() / FIRST))
    text = (REPO / "CONTRIBUTING.md").read_text()
    line = re.search(r"^python -m resnet_lesson (train .*)", text, re.M)[1]
    assert call(capsys, "train", "--network", "resnet20")[0] == call(capsys, *line.split())[0] == 0
    moved = re.search(r"^mv data/my-runs/(\S+) data/runs/$", text, re.M)[1]
    assert asked == [FIRST, moved] and shipped().parent == own().parent and shipped() != own()


def test_a_trial_does_not_take_the_folder_of_the_whole_run(capsys, mine):
    assert call(capsys, *TINY)[0] == 0
    assert [path.name for path in mine.iterdir()] == ["demo-resnet8-seed0-shapes10-3steps"]


def test_an_imagenet_network_gets_as_many_classes_as_the_data(capsys, tmp_path):
    # In bfloat16 oneDNN reads memory that nobody wrote, for a stride of 2 on the 1x1 maps that 16x16 images end in.
    words = [*TINY, "--precision", "float32", "--out", str(tmp_path / "run")]
    words[words.index("resnet8")] = "resnet18"
    status, _, error = call(capsys, *words)
    assert status == 0, error
    assert load(tmp_path / "run").network["options"] == {"num_classes": 10}


@pytest.mark.parametrize(
    "words, says",
    [
        ("", "required: COMMAND"),
        ("train --network plian20", "Did you mean 'plain20'?"),
        ("train --network plain20 --device gpu", "choose cpu, cuda or mps"),
        (f"train --network resnet8 --dataset shapes10 --out {shipped()}/mine", "belongs to the course's own records"),
        ("runs --figure curves.bmp", "not supported"),
        ("runs --figure /dev/null/curves.png", "/dev/null/curves.png: Not a directory"),
        ("inside paper-resnet2O-seed0", "Did you mean 'paper-resnet20-seed0'?"),
        ("visdom --port 0", "from 1 to 65535"),
        ("grade -- -x.ipynb", "-x.ipynb"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_what_is_right(capsys, mine, words, says):
    status, printed, error = call(capsys, *words.split())
    assert status == 2 and says in error and error.count("\n") == 1 and "Traceback" not in printed + error


@pytest.mark.parametrize("command", [[], *([name] for name in cli.COMMANDS)])
def test_help_says_what_each_command_does(capsys, command):
    status, printed, _ = call(capsys, *command, "--help")
    assert status == 0 and len(printed) > 100 and "None" not in printed


def test_runs_lists_a_run_with_its_final_errors_and_draws_it(capsys, tmp_path):
    folder = tmp_path / normalize("NFD", "김민지의 실험")  # as macOS spells it; the second command, as people type it
    call(capsys, *TINY, "--out", str(folder))
    status, printed, _ = call(capsys, "runs", "--root", str(tmp_path))
    assert status == 0 and folder.name in printed and f"{load(folder).final():.2%}" in printed
    figure = tmp_path / "curves.png"
    assert call(capsys, "runs", "김민지의 실험", "--root", str(tmp_path), "--figure", str(figure))[0] == 0
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "No recorded runs" in call(capsys, "runs", "--root", str(tmp_path / "nothing"))[1]


def test_runs_says_which_are_the_courses_and_which_the_readers_and_names_a_damaged_one(capsys, mine):
    assert "Your runs" not in call(capsys, "runs")[1]
    call(capsys, *TINY)
    for name, content in (("damaged", "{"), ("empty", "{}")):
        shutil.copytree(mine / "demo-resnet8-seed0-shapes10-3steps", mine / name)
        (mine / name / "run.json").write_text(content)
    status, printed, error = call(capsys, "runs")
    course, yours = printed.split("Your runs, in ")
    assert status == 0 and course.startswith("Runs that come with the course, in ")
    assert "paper-resnet20-seed0" in course and "demo-resnet8-seed0-shapes10-3steps" in yours
    said = error.splitlines()
    assert len(said) == 2 and str(mine / "damaged") in said[0] and str(mine / "empty") in said[1]


FOUND = SimpleNamespace(
    folder="folder",
    error=0.5,
    about={"lesion_images": "some images"},
    drop_each={"one": 0.25, "two": 0.75, "three": 0.5},
    surface=lambda: SimpleNamespace(centre=0.1),
)


def test_inside_measures_runs_by_name_or_folder_and_names_the_worst_block(capsys, mine, monkeypatch):
    seen = []
    monkeypatch.setattr(
        inside, "measure", lambda run, *sets, device: seen.append((run.folder, sets[0].name, device)) or FOUND
    )
    monkeypatch.setitem(shared.DATASETS, "cifar10", shared.DATASETS["shapes10"])
    call(capsys, *TINY)
    name = "demo-resnet8-seed0-shapes10-3steps"
    folders = [shipped() / "paper-resnet20-seed0", mine / name, mine / name]
    status, printed, _ = call(capsys, "inside", folders[0].name, name, str(mine / name), "--device", "cpu")
    assert status == 0 and printed.count("without two 75.0%") == 3
    assert seen == [(folder, "shapes10", "cpu") for folder in folders]
    assert f"Did you mean '{name}'?" in call(capsys, "inside", name.replace("8", "B"))[2]


@pytest.mark.parametrize("change", [{"data": {"name": "quickdraw"}}, {"status": "interrupted"}])
def test_what_cannot_be_measured_is_said(capsys, tmp_path, change):
    call(capsys, *TINY, "--out", str(tmp_path / "run"))
    file = tmp_path / "run" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    status, _, error = call(capsys, "inside", str(tmp_path / "run"))
    assert status == 2 and error.count("\n") == 1 and "measures finished runs on cifar10 or shapes10" in error


def test_cost_prints_the_layers_and_the_total(capsys):
    status, printed, _ = call(capsys, "cost", "resnet20")
    assert status == 0 and "stages.2.2.residual.conv2" in printed
    assert printed.splitlines()[-1].split() == ["total", "269,722", "40,551,040"]


def test_who_reads_only_the_first_line_sees_no_traceback(capsys, monkeypatch):
    null = os.open(os.devnull, os.O_WRONLY)

    class Closed(io.StringIO):
        """As the output is in `runs | head -1`."""

        def flush(self):
            raise BrokenPipeError

        def fileno(self):
            return null

    monkeypatch.setattr(sys, "stdout", Closed())
    assert call(capsys, "runs")[0] == 0


def test_a_study_is_recorded_trial_by_trial_and_listed(capsys, mine, monkeypatch):
    made = []
    toy = Plan("toy", "Is it listed?", {}, [{"seed": 0}, {"seed": 1}], lambda seed: made.append(seed) or {"error": 0.5})
    monkeypatch.setitem(study.PLANS, "toy", lambda root: toy)
    for _ in range(2):
        status, printed, _ = call(capsys, "study", "toy")
        assert status == 0 and printed == "toy: 2 of 2 trials. Is it listed?\n" and made == [0, 1]
    status, printed, _ = call(capsys, "runs")
    assert status == 0 and re.search(r"^toy +2  Is it listed\?$", printed, re.M)
    assert re.search(r"^transfer-resnet20-quickdraw6 +27  From scratch", printed, re.M)
    where = str(shipped() / "toy")
    assert call(capsys, "study", "toy", "--out", where)[0] == 2 and not (shipped() / "toy").exists()
