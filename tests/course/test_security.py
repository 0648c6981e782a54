"""What comes from outside runs no code here, and what the course starts listens to this computer alone."""

import re

import pytest
import torch
from support.hostile import Hostile
from support.paths import REPO

from resnet_lesson import LessonError, build, recipe, shapes10, train

SOURCES = {path: path.read_text(encoding="utf-8") for path in sorted((REPO / "resnet_lesson").rglob("*.py"))}


def resume(folder):
    sets = shapes10(64, 8, seed=0), shapes10(32, 8, seed=1)
    short = recipe("demo").scaled(4)
    return train(build("resnet8", seed=0), *sets, short, out=folder, progress=False, captured=False, device="cpu")


def test_a_hostile_checkpoint_runs_nothing(tmp_path):
    folder = tmp_path / "run"
    resume(folder)
    record = (folder / "run.json").read_text()
    (folder / "run.json").write_text(record.replace('"finished"', '"running"'))  # and now it would go on
    torch.save({"network": Hostile()}, folder / "checkpoint.pt")
    with pytest.raises(LessonError, match="cannot be read"):
        resume(folder)
    assert (folder / "checkpoint.pt").exists()  # the reader decides what becomes of it


def test_only_checked_bytes_are_unpickled():
    calls = [
        (path.name, call)
        for path, text in SOURCES.items()
        for call in re.findall(r"\b(?:pickle|torch)\.loads?\(.*", text)
    ]
    assert [name for name, call in calls if call.startswith("pickle.")] == ["cifar10.py"]  # after its checksum
    assert [call for _, call in calls if call.startswith("torch.") and "weights_only=True" not in call] == []
    unsafe = r"allow_pickle=True|extractall\(|np\.load\("
    assert [path.name for path, text in SOURCES.items() if re.search(unsafe, text)] == []


def test_servers_are_for_this_computer_alone():
    (lab,) = re.findall(r"-m jupyterlab .*", (REPO / "Makefile").read_text())
    assert "--ip 127.0.0.1" in lab and "token" not in lab
    assert [path for path, text in SOURCES.items() if "0.0.0.0" in text] == []
