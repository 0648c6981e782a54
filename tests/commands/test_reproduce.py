"""`reproduce table6`: what it starts, in which order, what it survives, and what it says."""

import json
import os
import re
import shutil
import signal
import sys
import threading
import time

import pytest
import torch
from support.commands import call

from resnet_lesson.commands import cli, reproduce, shared
from resnet_lesson.training.runs import load, name_of, shipped

posix = pytest.mark.skipif(os.name != "posix", reason="Windows sends Ctrl-C to the whole console")

# Stands in for `python -m resnet_lesson train`: starts in no time and behaves as the file `behaviour.json` says.
TRAINER = """
import json, os, signal, sys, time
from pathlib import Path

words, data = dict(zip(sys.argv[1::2], sys.argv[2::2])), Path(__file__).parent
name = f"{words['--recipe']}-{words['--network']}-seed{words['--seed']}"
folder = data / "my-runs" / name
record = json.loads((data / "record.json").read_text())
behaviour = json.loads((data / "behaviour.json").read_text()).get(name, "")

def log(what):
    with open(data / "log", "a") as file:
        print(what, name, os.environ["OMP_NUM_THREADS"], os.getpid(), getattr(os, "getpgrp", int)(), file=file)

def write(status):
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "history.csv").write_text(
        "epoch,iteration,lr,train_loss,train_error,test_loss,test_error,seconds\\n"
        f"1,256,0.1,1,0.5,1,{0.1 * (1 + int(words['--seed'])):.1f},2.0\\n"
    )
    record["network"] = {"name": words["--network"], "options": {}}
    record["seed"], record["status"], record["data"]["name"] = int(words["--seed"]), status, "cifar10"
    record["recipe"] = {"name": words["--recipe"], "iterations": 256}
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
    while (data / "log").read_text().count("begin") < 2 and time.monotonic() < end:
        time.sleep(0.01)
if behaviour in ("stops", "deaf") and not (folder / "run.json").exists():
    write("running")
    while (behaviour == "deaf" or not stops) and time.monotonic() < end:
        time.sleep(0.01)
    if not stops:
        sys.exit("nobody stopped it")
    write("interrupted")
    log("end")
    sys.exit(130)
write("finished")
log("end")
"""


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Trainings that the stand-in does; returns the folder of the data."""
    (tmp_path / "trainer.py").write_text(TRAINER)
    shutil.copy(shipped() / "short-resnet20-seed0" / "run.json", tmp_path / "record.json")
    behave(tmp_path)
    monkeypatch.setattr(reproduce, "TRAIN", (sys.executable, str(tmp_path / "trainer.py")))
    monkeypatch.setattr(reproduce, "own", lambda: tmp_path / "my-runs")
    monkeypatch.setitem(shared.DATASETS, "cifar10", lambda root: None)
    return tmp_path


def behave(folder, **how):
    (folder / "behaviour.json").write_text(json.dumps({key.replace("_", "-"): value for key, value in how.items()}))


def words(networks="plain20,resnet20", seeds=1):
    return ["reproduce", "table6", "--recipe", "demo", "--networks", networks, "--seeds", str(seeds)]


def log(folder):
    return [line.split() for line in (folder / "log").read_text().splitlines()] if (folder / "log").exists() else []


def begun(folder):
    return [name for what, name, *_ in log(folder) if what == "begin"]


def status_of(folder, name):
    return load(folder / "my-runs" / name).status


def soon(condition, action):
    """Do something in another thread when a condition holds."""

    def wait():
        end = time.monotonic() + 100
        while not condition() and time.monotonic() < end:
            time.sleep(0.02)
        action()

    threading.Thread(target=wait).start()


def test_the_list_says_what_is_done_and_the_rest_most_telling_first_and_starts_nothing(capsys, fake):
    status, printed, _ = call(capsys, "reproduce", "table6", "--list")
    done = [line for line in printed.splitlines() if line.startswith("done")]
    lines = [line for line in printed.splitlines() if line.startswith("to do")]
    assert status == 0 and len(lines) + len(done) == 9 * 5 and begun(fake) == []
    assert "done   paper-resnet20-seed0: test error 8.33%" in done and len(done) == 4  # these come with the course
    found = [re.search(r"train.* --network (\w+) --recipe (\w+) --seed (\d)$", line).groups() for line in lines]
    assert {network for network, _, _ in found[:8]} == {"plain20", "plain56", "resnet20", "resnet56"}
    assert [seed for _, _, seed in found[:8]] == [*"11112222"]  # each seed gives the comparison at once
    assert found[8:13] == [("resnet110", "paper110", str(seed)) for seed in range(5)] and len(set(found)) == 41


@pytest.mark.parametrize("network, recipe", [("plain20", "short"), ("resnet110", "paper")])
def test_what_it_starts_is_the_train_command_and_it_looks_where_that_one_records(network, recipe):
    job = reproduce.Job(network, recipe, seed=3)
    assert reproduce.TRAIN[:3] == (sys.executable, "-m", "resnet_lesson")
    args = cli.parser().parse_args([*reproduce.TRAIN[3:], *job.words])
    assert job.name == name_of(args.network, args.recipe, args.seed)


def test_a_network_that_the_table_has_not_is_said_before_anything_starts(capsys, fake):
    status, _, error = call(capsys, "reproduce", "table6", "--networks", "plain20,resnet65")
    assert status == 2 and "Did you mean 'resnet56'" in error and error.count("\n") == 1 and begun(fake) == []


def test_what_is_done_is_skipped_and_more_seeds_add_only_theirs(capsys, fake):
    status, printed, _ = call(capsys, *words())
    assert status == 0 and begun(fake) == ["demo-plain20-seed0", "demo-resnet20-seed0"]
    assert "demo-plain20-seed0: started\ndemo-plain20-seed0: test error 10.00%" in printed
    status, printed, _ = call(capsys, *words(seeds=2))
    assert status == 0 and begun(fake)[2:] == ["demo-plain20-seed1", "demo-resnet20-seed1"]
    assert re.search(r"plain-20 .* 15\.00 ± 7\.07 \|\s+2 ", printed)
    call(capsys, *words(seeds=2))
    assert len(begun(fake)) == 4


def test_jobs_run_side_by_side_on_their_share_of_the_cores(capsys, fake, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    behave(fake, demo_plain20_seed0="meets", demo_resnet20_seed0="meets")
    assert call(capsys, *words(seeds=2), "--jobs", "2")[0] == 0
    open_now = [sum(1 if what == "begin" else -1 for what, *_ in log(fake)[:k]) for k in range(1, 9)]
    assert max(open_now) == 2 and open_now[-1] == 0
    assert {threads for _, _, threads, *_ in log(fake)} == {"3"}


@posix
def test_a_training_that_fails_is_reported_and_the_others_go_on(capsys, fake):
    behave(fake, demo_plain20_seed0="fails", demo_resnet20_seed0="killed")
    status, printed, _ = call(capsys, *words("plain20,resnet20,resnet32"))
    assert status == 1 and status_of(fake, "demo-resnet32-seed0") == "finished"
    assert "plain20-seed0: failed: RuntimeError: CUDA out of memory." in printed
    assert "resnet20-seed0: failed: killed by the system" in printed


@pytest.fixture
def in_the_background():
    """Where SIGINT is ignored, as by `&` in a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@posix
@pytest.mark.usefixtures("in_the_background")
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "--minutes"])
def test_when_it_is_stopped_the_children_save_and_the_same_command_goes_on(capsys, fake, how):
    behave(fake, demo_plain20_seed0="stops", demo_resnet20_seed0="stops")
    if how != "--minutes":
        soon(lambda: len(list(fake.glob("my-runs/*/run.json"))) == 2, lambda: os.kill(os.getpid(), signal.Signals[how]))
    began, handler = time.monotonic(), signal.getsignal(signal.SIGTERM)
    limit = ["--minutes", "0.04"] if how == "--minutes" else []
    status, printed, _ = call(capsys, *words(seeds=2), "--jobs", "2", *limit)
    assert time.monotonic() - began < 2.4 or not limit
    assert (
        status == 130 and "Stopping: " in printed and "0 of 4 trainings done. To go on, repeat the command" in printed
    )
    assert [status_of(fake, f"demo-{name}20-seed0") for name in ("plain", "resnet")] == ["interrupted"] * 2
    assert len(begun(fake)) == 2 and "failed" not in printed and signal.getsignal(signal.SIGTERM) == handler
    assert call(capsys, *words(seeds=2), "--list")[1].count("go on") == 2
    assert call(capsys, *words(seeds=2))[0] == 0 and len(begun(fake)) == 6


@posix
@pytest.mark.parametrize("how", ["Ctrl-C", "--minutes"])
def test_a_child_that_does_not_stop_is_ended_by_a_second_ctrl_c_or_when_the_time_is_over(capsys, fake, how):
    behave(fake, demo_plain20_seed0="deaf")

    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    if how == "Ctrl-C":
        soon((fake / "my-runs" / "demo-plain20-seed0" / "run.json").exists, twice)
    assert call(capsys, *words(), *(["--minutes", "0.03"] if how == "--minutes" else []))[0] == 130
    ((what, _, _, process, group),) = log(fake)
    with pytest.raises(ProcessLookupError):
        os.kill(int(process), 0)
    assert int(group) != os.getpgrp()  # a terminal's Ctrl-C would reach it there, and so twice, which kills
    assert status_of(fake, "demo-plain20-seed0") == "running"  # as it was when it was killed
