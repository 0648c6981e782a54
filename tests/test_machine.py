"""The machine: what is picked for it, and how a record describes it."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from resnet_lesson import LessonError, build, machine

CPU = torch.device("cpu")
QUESTIONS = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")


@pytest.mark.parametrize(
    "answers, picked",
    [
        ((False, False), "float32"),
        ((True, False), "bfloat16"),
        ((False, True), "bfloat16"),
        ((None, None), "float32"),  # a torch that has not these questions
    ],
)
def test_a_cpu_gets_bfloat16_only_where_its_hardware_has_it(monkeypatch, answers, picked):
    for question, answer in zip(QUESTIONS, answers, strict=True):
        if answer is None:
            monkeypatch.delattr(torch.cpu, question, raising=False)
        else:
            monkeypatch.setattr(torch.cpu, question, lambda answer=answer: answer, raising=False)
    assert machine.pick_precision(CPU) == picked


def test_a_gpu_gets_bfloat16_only_where_it_is_not_emulated(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert machine.pick_precision(torch.device("cuda")) == "float32"


@pytest.fixture
def fresh():
    """What was found out about this machine's devices is forgotten, before and after."""
    machine._problem.cache_clear()
    machine._gpu_works.cache_clear()
    yield
    machine._problem.cache_clear()
    machine._gpu_works.cache_clear()


@pytest.fixture
def gpu(monkeypatch, fresh):
    """`gpu(problem)` makes this a machine whose GPU works (None), or where each operation on it fails."""

    def make(problem=None):
        def ones(*shape, device):
            if problem:
                raise RuntimeError(f"{problem}\nCUDA kernel errors might be reported later.")
            return torch.zeros(shape)

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch, "ones", ones)

    return make


TOO_OLD = "CUDA error: no kernel image is available for execution on the device"


def test_a_gpu_that_does_not_work_is_left_for_the_cpu_and_a_line_says_once_why(gpu, capsys, monkeypatch):
    monkeypatch.delenv("RESNET_LESSON_FULL", raising=False)
    gpu(TOO_OLD)
    assert [machine.pick_device().type for _ in range(3)] == ["cpu"] * 3 and machine.full_scale() is False
    said = capsys.readouterr().err
    assert TOO_OLD in said and said.count("\n") == 1 and "using the CPU" in said
    with pytest.raises(LessonError, match=f"'cuda' cannot be used here: {TOO_OLD}. Choose cpu"):
        machine.pick_device("cuda")


@pytest.mark.parametrize(
    "name, why", [("gpu", "There is no device 'gpu'"), ("cuda:3", "no CUDA GPU"), ("mps", "Apple")]
)
def test_a_device_that_is_not_here_is_one_line(monkeypatch, fresh, name, why):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(LessonError, match=f"{why}.*[cC]hoose cpu"):
        machine.pick_device(name)
    assert machine.pick_device().type == machine.pick_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", [None, "cuda:0", torch.device("cuda")])
def test_a_gpu_that_computes_is_picked_and_makes_full_scale(gpu, capsys, monkeypatch, name):
    monkeypatch.delenv("RESNET_LESSON_FULL", raising=False)
    gpu()
    assert machine.pick_device(name).type == "cuda" and machine.full_scale() is True
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="needs Apple's GPU")
def test_apples_gpu_is_named_used_by_choice_and_agrees_with_the_cpu():
    assert machine.pick_device().type == "cpu" and "Apple's GPU is here" in machine.here()
    images, labels = torch.rand(16, 3, 16, 16), torch.arange(16) % 10
    losses = []
    for device in (CPU, machine.pick_device("mps")):
        logits = build("resnet8", seed=0).to(device)(images.to(device))
        losses.append(torch.nn.functional.cross_entropy(logits, labels.to(device)).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_description_has_hardware_and_versions_and_no_path():
    described = machine.describe(CPU)
    assert list(described) == ["device", "hardware", "cores", "cpu_capability", "system", "versions"]
    assert described["device"] == "cpu" and described["hardware"] and described["cores"] == os.cpu_count()
    assert described["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert described["versions"]["torch"].startswith(torch.__version__.partition("+")[0])
    assert str(Path.home()) not in str(described) and machine.versions("no-such-package") == {"no-such-package": None}


@pytest.mark.parametrize("value, full", [(None, False), ("0", False), ("1", True)])
def test_full_scale_is_asked_for_by_the_environment(monkeypatch, value, full):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("RESNET_LESSON_FULL", raising=False)
    if value is not None:
        monkeypatch.setenv("RESNET_LESSON_FULL", value)
    assert machine.full_scale() is full


@pytest.mark.parametrize(
    "argv, command",
    [
        (
            ["/x/resnet_lesson/__main__.py", "train", "--root", "/home/a b", "--seed", "a b", "--out=/home/a/run"],
            "python -m resnet_lesson train --seed 'a b'",
        ),
        (["/x/resnet_lesson/__main__.py", "inside", "/home/a/run/", "one"], "python -m resnet_lesson inside run one"),
        (["resnet_lesson/__main__.py", "inside", "C:\\Users\\a\\run"], "python -m resnet_lesson inside run"),
        (["/x/site-packages/ipykernel_launcher.py", "-f", "kernel.json"], None),
    ],
)
def test_the_command_is_recorded_without_any_path_of_this_machine(monkeypatch, argv, command):
    monkeypatch.setattr(sys, "argv", argv)
    assert machine.command() == command


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    result = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return result.stdout.strip()


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A copy of machine.py in a new clone, as which the module believes to be running."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)  # as set inside a git hook
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    file = tmp_path / "clone" / "resnet_lesson" / "machine.py"
    file.parent.mkdir(parents=True)
    shutil.copy(machine.__file__, file)
    monkeypatch.setattr(machine, "__file__", str(file))
    git(tmp_path / "clone", "init", "--quiet")
    return file


@needs_git
def test_the_commit_is_that_of_the_clone_with_a_plus_when_the_package_was_changed_since(elsewhere):
    clone = elsewhere.parent.parent
    assert machine.commit() is None  # no commit yet
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "one")
    commit = git(clone, "rev-parse", "HEAD")
    assert len(commit) == 40 and machine.commit() == commit
    (clone / "notes.txt").write_text("not the package")
    (elsewhere.parent / "stray.txt").write_text("not tracked")
    assert machine.commit() == commit
    elsewhere.write_text("changed")
    assert machine.commit() == commit + "+"


@needs_git
def test_installed_inside_another_project_it_does_not_take_that_ones_commit(elsewhere):
    clone = elsewhere.parent.parent
    (clone / ".gitignore").write_text("resnet_lesson\n")
    git(clone, "add", ".gitignore")
    git(clone, "commit", "--quiet", "-m", "another project")
    assert machine.commit() is None


FAULTS = """
import resource, torch
from resnet_lesson import machine
torch.set_num_threads(1)
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for step in range(10):
        torch.ones(20_000_000)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert machine.keep_freed_memory()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's memory can be told to stay")
def test_kept_memory_is_not_asked_for_again():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    usual, kept = map(int, done.stdout.split())
    assert kept < usual / 2  # 80 MB are 19,531 pages, each time or the first few times
