"""Several processes that train one network: the same steps as one process would take, and one record."""

import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from resnet_lesson import Batches, LessonError, Normalisation, build, evaluate, recipe, shapes10
from resnet_lesson.commands.shared import DATASETS
from resnet_lesson.training import parallel
from resnet_lesson.training.runs import Run, load

STEPS = 60
TRAIN = f"train --network resnet8 --recipe demo --iterations {STEPS} --record-every 10 --dataset shapes10".split()
ALONE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


WILD = """
import os, time
from dataclasses import replace
from resnet_lesson.commands import cli
from resnet_lesson.training.recipes import RECIPES

RECIPES["demo"] = replace(RECIPES["demo"], lr=1e9)
if os.environ["RANK"] == "1":
    time.monotonic = lambda clock=time.monotonic: 1000 * clock()  # a second is over at every step
cli.main()
"""


def torchrun(out: Path, *program: str) -> subprocess.Popen:
    environment = {key: value for key, value in os.environ.items() if key not in ALONE} | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [*command, *(program or ("-m", "resnet_lesson")), *TRAIN, "--out", str(out)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def by_hand(steps: int) -> tuple[float, float]:
    """What two processes should compute, in one: each of two equal networks sees half of every batch, and both take
    the step of the mean gradient. Returns the mean training loss, and the test loss of the first."""
    train_set, test_set = DATASETS["shapes10"](None)
    chosen, options = recipe("demo").scaled(STEPS), dict(normalisation=Normalisation.of(train_set))
    networks = [build("resnet8", seed=0) for _ in range(2)]
    halves = [Batches(train_set, chosen.batch_size, share=(k, 2), shuffle=True, **options).epoch(0) for k in range(2)]
    optimisers = [
        torch.optim.SGD(network.parameters(), lr=chosen.lr, momentum=chosen.momentum, weight_decay=chosen.weight_decay)
        for network in networks
    ]
    losses = []
    for pair in islice(zip(*halves, strict=True), steps):
        for network, (images, labels) in zip(networks, pair, strict=True):
            network.zero_grad()
            loss = F.cross_entropy(network(images), labels)
            loss.backward()
            losses.append(loss.item())
        for first, second in zip(*(network.parameters() for network in networks), strict=True):
            first.grad = second.grad = (first.grad + second.grad) / 2
        for optimiser in optimisers:
            optimiser.step()
    return sum(losses) / len(losses), evaluate(networks[0], Batches(test_set, 64, **options))[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Run, str]:
    """A training by two processes, and what it printed."""
    folder = tmp_path_factory.mktemp("parallel") / "whole"
    job = torchrun(folder)
    out, err = job.communicate(timeout=200)
    assert job.returncode == 0, err
    return load(folder), out


def test_two_processes_take_the_steps_of_one(whole):
    row, (train_loss, test_loss) = whole[0].history[0], by_hand(10)
    assert row["iteration"] == 10
    assert row["train_loss"] == pytest.approx(train_loss, rel=1e-3)
    assert row["test_loss"] == pytest.approx(test_loss, rel=2e-2)  # of the last weights: differences in rounding grow


def test_one_of_the_processes_records_and_speaks(whole):
    run, printed = whole
    assert printed.count("test error") == 1
    assert (run.status, run.processes, len(run.history)) == ("finished", 2, STEPS // 10)
    assert run.command.startswith("torchrun --nproc-per-node 2 -m resnet_lesson train --network resnet8")
    files = ["history.csv", "predictions.safetensors", "run.json", "weights.safetensors"]
    assert sorted(path.name for path in run.folder.iterdir()) == files


def test_two_processes_stop_together_and_go_on_as_if_nothing_had_happened(whole, tmp_path):
    job = torchrun(tmp_path / "stopped")
    started, history = time.monotonic(), tmp_path / "stopped" / "history.csv"
    while not (history.exists() and history.read_text().count("\n") > 1) and time.monotonic() - started < 100:
        time.sleep(0.02)
    job.send_signal(signal.SIGINT)
    out, err = job.communicate(timeout=100)
    assert load(tmp_path / "stopped").status == "interrupted", (out, err)
    assert out.count("Stopped after") == 1
    again = torchrun(tmp_path / "stopped")
    assert again.wait(200) == 0, again.communicate()
    run = load(tmp_path / "stopped")
    weights = [one.load_weights(build("resnet8")).state_dict() for one in (run, whole[0])]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert run.column("train_error") == whole[0].column("train_error")


def test_shares_of_a_batch_are_the_batch_and_every_image_comes_once():
    data = shapes10(100, size=8)
    options = dict(normalisation=Normalisation.of(data), padding=1, flip=True, shuffle=True, seed=3)
    whole = Batches(data, 32, **options)
    shares = [Batches(data, 32, share=(k, 2), **options) for k in range(2)]
    for (images, labels), *parts in zip(whole.epoch(1), *(share.epoch(1) for share in shares), strict=True):
        for k, (share, share_labels) in enumerate(parts):
            assert torch.equal(share, images[k::2]) and torch.equal(share_labels, labels[k::2])


@pytest.mark.parametrize("processes, images, fine", [(2, 50_000, True), (4, 50_000, True), (3, 384, False),
                                                     (32, 50_000, False), (3, 50_000, False)])  # fmt: skip
def test_unequal_shares_are_refused(monkeypatch, processes, images, fine):
    monkeypatch.setattr(parallel, "size", lambda: processes)
    if fine:
        parallel.check_shares(images, 128)
    else:
        with pytest.raises(LessonError, match=f"{processes} processes cannot share batches of 128"):
            parallel.check_shares(images, 128)


def test_divergence_is_said_by_all_and_recorded_once(tmp_path):
    """Both processes stop at the same iteration, though each looks at the clock for itself."""
    (tmp_path / "wild.py").write_text(WILD)
    job = torchrun(tmp_path / "run", str(tmp_path / "wild.py"))
    out, err = job.communicate(timeout=200)
    assert job.returncode and err.count("Training diverged") == 2 and "Connection closed" not in err, err
    assert load(tmp_path / "run").status == "diverged"


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(parallel.dist, "is_torchelastic_launched", lambda: True)
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(LessonError, match="2 processes need 2 GPUs, and there are 1"), parallel.processes("cuda"):
        pass


def test_one_process_is_left_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # set by a cluster, not by torchrun
    with parallel.processes("cpu") as device:
        assert (device, parallel.size(), parallel.rank()) == ("cpu", 1, 0)
    network = build("resnet8")
    assert parallel.wrap(network) is network
    assert parallel.agreed(7, True, False) == [True, False]
    assert parallel.first_alone(lambda: "made") == "made"
