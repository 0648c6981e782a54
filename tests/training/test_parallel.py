"""Several processes that train one network: the same steps as one process would take, and one record."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import torch.nn.functional as F
from support.paths import REPO
from support.training import RECIPE, TEST, TRAIN

from resnet_lesson import Batches, LessonError, Normalisation, build, evaluate, shapes10
from resnet_lesson.training import parallel
from resnet_lesson.training.runs import load

SEVERAL = """
import os, sys, time
from dataclasses import replace
from pathlib import Path
from torch.distributed import barrier
from support.training import RECIPE, ctrl_c, go, hooked
from resnet_lesson import LessonError
from resnet_lesson.training import parallel

folder = Path(sys.argv[1])
with parallel.processes("cpu"):
    go(folder / "whole", network=hooked(0, None))
    go(folder / "stopped", network=hooked(5 if parallel.rank() == 1 else 0, ctrl_c))
    barrier()  # until process 0 has saved
    go(folder / "stopped", network=hooked(0, None))
    if parallel.rank() == 1:
        time.monotonic = lambda clock=time.monotonic: 1000 * clock()  # a second is over at every step
    try:
        go(folder / "wild", recipe=replace(RECIPE, lr=1e9), record_every=8)
    except LessonError as error:
        print(f"Process {parallel.rank()}: {error}\\n", end="", flush=True)
"""


def torchrun(*program: str) -> subprocess.Popen:
    alone = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    environment = {key: value for key, value in os.environ.items() if key not in alone}
    path = os.pathsep.join([str(REPO), str(REPO / "tests")])
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *program],
        env=environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def by_hand() -> tuple[list[float], float]:
    """What two processes should compute, in one: each of two equal networks sees half of every batch, and both take
    the step of the mean gradient. Returns the loss of each step, and the test loss of the first network."""
    norm = Normalisation.of(TRAIN)
    networks = [build("resnet8", seed=0) for _ in range(2)]
    options = dict(padding=1, flip=True, shuffle=True, seed=3)
    halves = [Batches(TRAIN, 16, norm, share=(k, 2), **options).steps(0, 8) for k in range(2)]
    optimisers = [torch.optim.SGD(network.parameters(), momentum=0.9, weight_decay=1e-4) for network in networks]
    losses = []
    for pair in zip(*halves, strict=True):
        both = []
        for network, (_, images, labels) in zip(networks, pair, strict=True):
            network.zero_grad()
            both.append(F.cross_entropy(network(images), labels))
            both[-1].backward()
        for first, second in zip(*(network.parameters() for network in networks), strict=True):
            first.grad = second.grad = (first.grad + second.grad) / 2
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] = RECIPE.lr_at(len(losses))
            optimiser.step()
        losses.append(sum(both).item() / 2)
    return losses, evaluate(networks[0], Batches(TEST, 20, norm))[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of what two processes trained one after another, and what they printed."""
    folder = tmp_path_factory.mktemp("parallel")
    (folder / "several.py").write_text(SEVERAL)
    job = torchrun(str(folder / "several.py"), str(folder))
    try:
        out, err = job.communicate(timeout=200)
    finally:
        job.terminate()
    assert job.returncode == 0, err
    return folder, out


def test_two_processes_take_the_steps_of_one_and_record_it_once(trained):
    run, (losses, test_loss) = load(trained[0] / "whole"), by_hand()
    assert (run.status, run.processes) == ("finished", 2) and run.column("iteration") == [3, 6, 8]
    means = [(2 * losses[k] + 2 * losses[k + 1] + losses[k + 2]) / 5 for k in (0, 3)]  # of 16, 16 and 8 images
    assert run.column("train_loss")[:2] == pytest.approx(means, rel=1e-3)
    assert run.final("test_loss") == pytest.approx(test_loss, rel=2e-2)  # differences in rounding grow
    files = ["history.csv", "predictions.safetensors", "run.json", "weights.safetensors"]
    assert sorted(path.name for path in run.folder.iterdir()) == files


def test_two_processes_stop_together_and_go_on_as_if_nothing_had_happened(trained):
    folder, printed = trained
    assert printed.count("Stopped after 5 of 8 iterations") == 1
    whole, stopped = load(folder / "whole"), load(folder / "stopped")
    weights = [one.load_weights(build("resnet8")).state_dict() for one in (whole, stopped)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert stopped.column("train_loss") == whole.column("train_loss")


def test_divergence_is_said_by_all_and_recorded_once(trained):
    """Both processes stop at the same iteration, though each looks at the clock for itself."""
    folder, printed = trained
    said = sorted(line for line in printed.splitlines() if "Training diverged" in line)
    assert [line[:10] for line in said] == ["Process 0:", "Process 1:"] and said[0][10:] == said[1][10:]
    assert load(folder / "wild").status == "diverged"


def test_ctrl_c_at_the_command_line_of_torchrun_stops_both_processes(tmp_path):
    words = "train --network resnet8 --recipe demo --iterations 2000 --dataset shapes10".split()
    job = torchrun("-m", "resnet_lesson", *words, "--out", str(tmp_path / "run"))
    history = tmp_path / "run" / "history.csv"
    while not (history.exists() and history.read_text().count("\n") > 1):
        assert job.poll() is None
        time.sleep(0.02)
    job.send_signal(signal.SIGINT)
    out, err = job.communicate(timeout=100)
    run = load(tmp_path / "run")
    assert run.status == "interrupted" and out.count("Stopped after") == 1, (out, err)
    assert run.command == f"torchrun --nproc-per-node 2 -m resnet_lesson {' '.join(words)}"


@pytest.mark.parametrize("processes, images", [(3, 384), (32, 50_000)])
def test_unequal_shares_of_a_batch_and_of_the_last_one_are_refused(monkeypatch, processes, images):
    monkeypatch.setattr(parallel, "size", lambda: processes)
    with pytest.raises(LessonError, match=f"{processes} processes cannot share batches of 128"):
        parallel.check_shares(images, 128)


def test_one_process_is_left_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # set by a cluster, not by torchrun
    with parallel.processes("cpu") as device:
        assert (device, parallel.size(), parallel.rank()) == ("cpu", 1, 0)


def test_shares_of_a_batch_are_the_batch_and_every_image_comes_once():
    data = shapes10(100, size=8)
    options = dict(normalisation=Normalisation.of(data), padding=1, flip=True, shuffle=True, seed=3)
    whole = Batches(data, 32, **options)
    shares = [Batches(data, 32, share=(k, 2), **options) for k in range(2)]
    for (images, labels), *parts in zip(whole.epoch(1), *(share.epoch(1) for share in shares), strict=True):
        for k, (share, share_labels) in enumerate(parts):
            assert torch.equal(share, images[k::2]) and torch.equal(share_labels, labels[k::2])
