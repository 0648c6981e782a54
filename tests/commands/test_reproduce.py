"""`reproduce table6`: what it starts, in which order, what it survives, and what it says."""

import json
import os
import re
import shlex
import signal
import sys
import threading
import time

import pytest
import torch
from support.commands import call

from resnet_lesson import build, shapes10
from resnet_lesson.commands import reproduce, shared
from resnet_lesson.training.recipes import recipe
from resnet_lesson.training.runs import load
from resnet_lesson.training.train import train

SETS = shapes10(40, 8, seed=0), shapes10(20, 8, seed=1)
TRIAL = "-shapes10-4steps"  # at the end of a folder's name: neither the usual data nor the usual length
posix = pytest.mark.skipif(os.name != "posix", reason="Windows sends Ctrl-C to the whole console")

# Stands in for `python -m resnet_lesson train`: starts in no time and behaves as the file `behaviour.json` says.
TRAINER = """
import json, os, signal, sys, time
from pathlib import Path

words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
folder = Path(words["--out"])
name = folder.name.removesuffix("-shapes10-4steps")
record = json.loads((folder.parent / "record.json").read_text())
behaviour = json.loads((folder.parent / "behaviour.json").read_text()).get(name, "")

def log(what):
    with open(folder.parent / "log", "a") as file:
        print(what, name, os.environ["OMP_NUM_THREADS"], os.getpid(), getattr(os, "getpgrp", int)(), file=file)

def write(iteration, status):
    folder.mkdir(exist_ok=True)
    (folder / "history.csv").write_text(
        "epoch,iteration,lr,train_loss,train_error,test_loss,test_error,seconds\\n"
        f"1,{iteration},0.1,1,0.5,1,{0.1 * (1 + int(words['--seed'])):.1f},2.0\\n"
    )
    record["network"]["name"], record["seed"] = words["--network"], int(words["--seed"])
    record["recipe"]["name"], record["status"] = words["--recipe"], status
    record["recipe"]["iterations"] = int(words["--iterations"])
    (folder / "run.json.partial").write_text(json.dumps(record))
    os.replace(folder / "run.json.partial", folder / "run.json")

stops = []
signal.signal(signal.SIGINT, lambda *_: stops.append(1))
log("begin")
end = time.monotonic() + 60
if behaviour == "fails":
    sys.exit("bar 12%\\rRuntimeError: CUDA out of memory.")
if behaviour == "killed":
    os.kill(os.getpid(), 9)
if behaviour == "meets":  # waits for one more to begin
    while (folder.parent / "log").read_text().count("begin") < 2 and time.monotonic() < end:
        time.sleep(0.01)
if behaviour in ("stops", "deaf") and not (folder / "run.json").exists():
    write(2, "running")
    while (behaviour == "deaf" or not stops) and time.monotonic() < end:
        time.sleep(0.01)
    if not stops:
        sys.exit("nobody stopped it")
    write(2, "interrupted")
    log("end")
    sys.exit(130)
write(4, "finished")
log("end")
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A real, tiny run."""
    folder = tmp_path_factory.mktemp("real") / "demo-resnet8-seed0"
    return train(build("resnet8", seed=0), *SETS, recipe("demo").scaled(4), out=folder, device="cpu", progress=False)


@pytest.fixture
def fake(monkeypatch, tmp_path, real):
    """Trainings that the stand-in does; returns the folder of their records."""
    (tmp_path / "trainer.py").write_text(TRAINER)
    (tmp_path / "record.json").write_bytes((real.folder / "run.json").read_bytes())
    behave(tmp_path)
    monkeypatch.setattr(reproduce, "TRAIN", (sys.executable, str(tmp_path / "trainer.py")))
    monkeypatch.setitem(shared.DATASETS, "shapes10", lambda root: SETS)
    return tmp_path


def behave(folder, **how):
    (folder / "behaviour.json").write_text(json.dumps({key.replace("_", "-"): value for key, value in how.items()}))


def words(folder, networks="plain20,resnet20", seeds=1, iterations=4):
    fixed = ["reproduce", "table6", "--recipe", "demo", "--dataset", "shapes10", "--out", str(folder)]
    return [*fixed, "--iterations", str(iterations), "--networks", networks, "--seeds", str(seeds)]


def log(folder):
    return [line.split() for line in (folder / "log").read_text().splitlines()] if (folder / "log").exists() else []


def begun(folder):
    return [name for what, name, *_ in log(folder) if what == "begin"]


def soon(condition, action):
    """Do something in another thread when a condition holds."""

    def wait():
        end = time.monotonic() + 100
        while not condition() and time.monotonic() < end:
            time.sleep(0.02)
        action()

    threading.Thread(target=wait).start()


def test_the_list_has_the_commands_most_telling_first_and_starts_nothing(capsys, fake):
    status, printed, _ = call(capsys, "reproduce", "table6", "--list", "--out", str(fake))
    lines = [line for line in printed.splitlines() if line.startswith("to do")]
    assert status == 0 and len(lines) == 9 * 5 and begun(fake) == []
    found = [re.search(r"train --network (\w+) --recipe (\w+) --seed (\d)", line).groups() for line in lines]
    assert {network for network, _, _ in found[:12]} == {"plain20", "plain56", "resnet20", "resnet56"}
    assert [seed for _, _, seed in found[:12]] == [*"000011112222"]  # each seed gives the comparison at once
    assert found[12:17] == [("resnet110", "paper110", str(seed)) for seed in range(5)] and len(set(found)) == 45


def test_what_comes_with_the_course_is_done_and_the_rest_goes_to_the_readers_own_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "own", lambda: tmp_path)
    printed = call(capsys, "reproduce", "table6", "--list", "--networks", "resnet20,resnet20", "--seeds", "2")[1]
    done, todo = printed.splitlines()[:2]
    assert done.startswith("done   paper-resnet20-seed0: test error 8.33%")
    assert todo == "to do  python -m resnet_lesson train --network resnet20 --recipe paper --seed 1"


@pytest.mark.parametrize(
    "wrong, message",
    [
        (["--networks", "plain20,resnet65"], "Did you mean 'resnet56'"),
        (["--networks", "plain20,resnet18"], "such as resnet20, not resnet18"),
        (["--seeds", "0"], "a whole number from 1, not 0"),
        (["--minutes", "nan"], "a number from 0.01, not nan"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(capsys, fake, wrong, message):
    status, _, error = call(capsys, "reproduce", "table6", *wrong, "--out", str(fake))
    assert status == 2 and message in error and error.count("\n") == 1 and begun(fake) == []


def test_what_is_done_is_skipped_and_more_seeds_add_only_theirs(capsys, fake):
    status, printed, _ = call(capsys, *words(fake))
    assert status == 0 and begun(fake) == ["demo-plain20-seed0", "demo-resnet20-seed0"]
    assert f"demo-plain20-seed0{TRIAL}: started\ndemo-plain20-seed0{TRIAL}: test error 10.00%" in printed
    status, printed, _ = call(capsys, *words(fake, seeds=2))
    assert status == 0 and begun(fake)[2:] == ["demo-plain20-seed1", "demo-resnet20-seed1"]
    assert re.search(r"plain-20 .* 15\.00 ± 7\.07 \|\s+2 ", printed)
    call(capsys, *words(fake, seeds=2))
    assert len(begun(fake)) == 4


def test_jobs_run_side_by_side_on_their_share_of_the_cores(capsys, fake, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    behave(fake, demo_plain20_seed0="meets", demo_resnet20_seed0="meets")
    assert call(capsys, *words(fake, seeds=2), "--jobs", "2")[0] == 0
    open_now = [sum(1 if what == "begin" else -1 for what, *_ in log(fake)[:k]) for k in range(1, 9)]
    assert max(open_now) == 2 and open_now[-1] == 0
    assert {threads for _, _, threads, *_ in log(fake)} == {"3"}


@posix
def test_a_training_that_fails_is_reported_and_the_others_go_on(capsys, fake):
    behave(fake, demo_plain20_seed0="fails", demo_resnet20_seed0="killed")
    status, printed, _ = call(capsys, *words(fake, "plain20,resnet20,resnet32"))
    assert status == 1 and load(fake / f"demo-resnet32-seed0{TRIAL}").status == "finished"
    assert f"plain20-seed0{TRIAL}: failed: RuntimeError: CUDA out of memory." in printed
    assert f"resnet20-seed0{TRIAL}: failed: killed by the system" in printed


@posix
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "--minutes"])
def test_when_it_is_stopped_the_children_save_and_the_same_command_goes_on(capsys, fake, how):
    behave(fake, demo_plain20_seed0="stops", demo_resnet20_seed0="stops")
    if how != "--minutes":
        number = signal.SIGINT if how == "Ctrl-C" else signal.SIGTERM
        soon(lambda: len(list(fake.glob("*/run.json"))) == 2, lambda: os.kill(os.getpid(), number))
    began, handler = time.monotonic(), signal.getsignal(signal.SIGTERM)
    limit = ["--minutes", "0.04"] if how == "--minutes" else []
    status, printed, _ = call(capsys, *words(fake, seeds=2), "--jobs", "2", *limit)
    assert time.monotonic() - began < 2.4 or not limit
    assert status == 130 and "Stopping: " in printed and "0 of 4 trainings done: the same command goes on" in printed
    assert [load(fake / f"demo-{name}20-seed0{TRIAL}").status for name in ("plain", "resnet")] == ["interrupted"] * 2
    assert len(begun(fake)) == 2 and "failed" not in printed and signal.getsignal(signal.SIGTERM) == handler
    assert call(capsys, *words(fake, seeds=2), "--list")[1].count("go on") == 2
    assert call(capsys, *words(fake, seeds=2))[0] == 0 and len(begun(fake)) == 6


@posix
@pytest.mark.parametrize("how", ["Ctrl-C", "--minutes"])
def test_a_child_that_does_not_stop_is_ended_by_a_second_ctrl_c_or_when_the_time_is_over(capsys, fake, how):
    behave(fake, demo_plain20_seed0="deaf")

    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    if how == "Ctrl-C":
        soon((fake / f"demo-plain20-seed0{TRIAL}" / "run.json").exists, twice)
    assert call(capsys, *words(fake), *(["--minutes", "0.03"] if how == "--minutes" else []))[0] == 130
    ((what, _, _, process, group),) = log(fake)
    with pytest.raises(ProcessLookupError):
        os.kill(int(process), 0)
    assert int(group) != os.getpgrp()  # a terminal's Ctrl-C would reach it there, and so twice, which kills
    assert load(fake / f"demo-plain20-seed0{TRIAL}").status == "running"  # as it was when it was killed


SMALL = """
import sys
from resnet_lesson.commands import cli, shared
from resnet_lesson import shapes10

shared.DATASETS["shapes10"] = lambda root: (shapes10(2048, 8, seed=0), shapes10(64, 8, seed=1))
sys.argv = ["resnet_lesson/__main__.py", "train", *sys.argv[1:]]
cli.main()
"""


@posix
def test_a_real_training_is_interrupted_and_its_command_goes_on(capsys, monkeypatch, tmp_path):
    """With the real `train`, on few images, started where SIGINT is ignored, as by `&` in a script."""
    folder = tmp_path / "demo-resnet8-seed0-shapes10-200steps"
    command = words(tmp_path, "resnet8", iterations=200)  # of them 32 an epoch
    listed = shlex.split(call(capsys, *command, "--list")[1].splitlines()[0].removeprefix("to do"))
    assert tuple(listed[:4]) == ("python", *reproduce.TRAIN[1:])
    monkeypatch.setattr(reproduce, "TRAIN", (sys.executable, "-c", SMALL))
    monkeypatch.setitem(shared.DATASETS, "shapes10", lambda root: (shapes10(2048, 8, seed=0), shapes10(64, 8, seed=1)))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        history = folder / "history.csv"
        soon(lambda: history.exists() and len(history.read_text().splitlines()) > 1, lambda: os.kill(os.getpid(), 2))
        assert call(capsys, *command)[0] == 130
    finally:
        signal.signal(signal.SIGINT, before)
    first = load(folder)
    assert first.status == "interrupted" and 32 <= first.history[-1]["iteration"] < 200
    assert call(capsys, *listed[3:])[0] == 0
    last = load(folder)
    assert last.status == "finished" and last.started == first.started and last.history[0] == first.history[0]
