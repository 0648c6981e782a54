"""The doctor names the usual trouble of a class's machines, and what to do about it."""

import errno
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple

import numpy as np
import pytest
import torch
from jupyter_client import kernelspec
from support.commands import call
from support.paths import REPO

from resnet_lesson.commands import doctor
from resnet_lesson.datasets import cifar10
from resnet_lesson.datasets.quickdraw import STUDY


def test_an_old_python_is_told_so_before_anything_else():
    code = "import sys; sys.version_info = (3, 9, 2); import resnet_lesson"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: This course needs Python 3.11") and "this is Python 3.9" in last


def found(words, root):
    """The row whose finding has these words."""
    return next(row for row in doctor.checks(root) if words in row.found)


@pytest.mark.parametrize("trouble, status", [(False, 0), (True, 1)])
def test_it_prints_a_line_for_each_check_and_exits_by_what_is_needed(capsys, tmp_path, monkeypatch, trouble, status):
    monkeypatch.setattr(doctor, "_kernel", lambda: doctor.Check("ok", "a kernel"))
    monkeypatch.setattr(doctor, "_device", lambda: [doctor.Check("BAD" if trouble else "ok", "the GPU", "a driver")])
    code, out, _ = call(capsys, "doctor", "--root", str(tmp_path))
    assert code == status
    assert ("\nBAD the GPU. To fix it: a driver\n" if trouble else "\nok  the GPU\n") in out
    assert f"\n--  CIFAR-10 is not in {os.path.relpath(tmp_path)} (not needed for the notebooks; " in out
    assert "Cells marked 'full scale'" in out


@pytest.mark.parametrize(
    "name, missing, broken", [("torch", "BAD", "BAD"), ("ipywidgets", "--", "BAD"), ("visdom", "--", "--")]
)
def test_packages_that_are_missing_or_broken(monkeypatch, tmp_path, name, missing, broken):
    def raising(name):
        raise RuntimeError("two versions at once")

    monkeypatch.setattr(doctor.importlib, "import_module", raising)
    for version, level, words in (
        (None, missing, "is not installed"),
        ("1.0", broken, "1.0 cannot be imported: two ver"),
    ):
        monkeypatch.setattr(doctor.machine, "versions", lambda *names, version=version: dict.fromkeys(names, version))
        row = found(f"{name} {words}", tmp_path)
        assert row.level == level and "make lab" in row.fix


def test_a_gpu_that_torch_cannot_use(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.machine, "pick_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    row = found("NVIDIA GPU", tmp_path)
    assert row.level == "BAD" and torch.__version__ in row.found and "CUDA build" in row.fix


@pytest.mark.parametrize("python, level", [("/elsewhere/bin/python", "BAD"), (sys.executable, "ok"), ("python", "ok")])
def test_the_kernel_is_this_python_or_another(python, level, monkeypatch, tmp_path):
    spec = namedtuple("Spec", "argv")([python, "-m", "ipykernel_launcher"])
    monkeypatch.setattr(kernelspec.KernelSpecManager, "get_kernel_spec", lambda self, name: spec)
    row = found("notebooks run with", tmp_path)
    assert row.level == level and (level == "ok" or python in row.found and "make lab" in row.fix)


def test_no_kernel_at_all(monkeypatch, tmp_path):
    def none(self, name):
        raise kernelspec.NoSuchKernel(name)

    monkeypatch.setattr(kernelspec.KernelSpecManager, "get_kernel_spec", none)
    assert found("no kernel", tmp_path).level == "BAD"


def test_a_full_disk_and_a_folder_of_somebody_else(monkeypatch, tmp_path):
    def refuse(*args, dir=None, **options):
        raise OSError(errno.EACCES, "Permission denied")

    usage = namedtuple("Usage", "total used free")(10**9, 10**9 - 5, 5)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    root = tmp_path / "not" / "yet"
    assert found("of disk free", root).level == "BAD"
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    row = found("cannot write to", root)
    assert row.level == "BAD" and "Permission denied" in row.found and "--root" in row.fix


def test_data_that_is_missing_damaged_or_there(tmp_path, monkeypatch):
    assert found("CIFAR-10", tmp_path).level == "--"
    (tmp_path / cifar10.CIFAR10_FOLDER).mkdir()
    (tmp_path / cifar10.CIFAR10_FOLDER / "data_batch_1").write_bytes(b"half")
    row = found("CIFAR-10", tmp_path)
    assert row.level == "BAD" and row.found.endswith("data_batch_1 is damaged") and "resnet_lesson data" in row.fix
    monkeypatch.setattr(cifar10, "read", lambda folder: None)
    assert found("CIFAR-10", tmp_path).level == "ok"

    one = io.BytesIO()
    np.save(one, np.zeros((1, 784), np.uint8))
    (tmp_path / "quickdraw").mkdir()
    for name in ("apple", "zebra"):
        (tmp_path / "quickdraw" / f"{name}.npy").write_bytes(one.getvalue())
    row = found("QuickDraw", tmp_path)
    assert row.level == "--" and "1 of the 10 classes" in row.found and "data --quickdraw" in row.fix
    for name in STUDY:
        (tmp_path / "quickdraw" / f"{name}.npy").write_bytes(one.getvalue())
    assert found("QuickDraw", tmp_path).level == "ok"


@pytest.mark.parametrize("name", ["paper-plain20-seed0/run.json", "doses/study.json"])
def test_a_damaged_record_is_counted(tmp_path, monkeypatch, name):
    for record in doctor.shipped().glob("*/*.[jc]s*"):  # run.json, history.csv and study.json
        copy = tmp_path / record.parent.name / record.name
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(record, copy)
    monkeypatch.setattr(doctor, "shipped", lambda: tmp_path)
    assert found("recorded runs in", tmp_path).level == "ok"
    (tmp_path / name).write_text("{")
    row = found("cannot be read", tmp_path)
    assert row.level == "BAD" and row.found.startswith("1 of the records in") and "git checkout" in row.fix
