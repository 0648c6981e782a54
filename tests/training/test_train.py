"""Training: it learns, says what it did, and goes on after any interruption as if there had been none."""

import copy
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
import torch
import torch.nn.functional as F
from support.paths import REPO
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from resnet_lesson import machine
from resnet_lesson.datasets.batches import Batches, Normalisation
from resnet_lesson.datasets.shapes10 import shapes10
from resnet_lesson.errors import LessonError
from resnet_lesson.models.networks import build
from resnet_lesson.training.evaluation import evaluate, predict, score
from resnet_lesson.training.identity import digest_of
from resnet_lesson.training.loop import Diverged
from resnet_lesson.training.recipes import RECIPES, Recipe
from resnet_lesson.training.runs import COLUMNS, load
from resnet_lesson.training.train import train

PACKAGE = REPO
PATH = os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH")]))
ENVIRONMENT = os.environ | {"PYTHONPATH": PATH, "OMP_NUM_THREADS": "1"}

# 40 images in batches of 16, 16 and 8: an epoch has 3 iterations, and 8 of them end in the middle of the third.
TRAIN, TEST = shapes10(40, 8, seed=0), shapes10(20, 8, seed=1)
RECIPE = Recipe("tiny", 8, batch_size=16, lr=0.05, milestones=(5,), padding=1)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def go(out=None, recipe=RECIPE, network=None, seed=3, train_set=TRAIN, test_set=TEST, **options):
    """Train the tiny network; return it and its run."""
    network = build("resnet8", seed=0) if network is None else network
    options = dict(device="cpu", precision="float32", captured=False, progress=False) | options
    return network, train(network, train_set, test_set, recipe, seed=seed, out=out, **options)


def hooked(at, action):
    """A tiny network that calls `action` in the forward pass of its training step `at` (the first is 1).

    Its `steps` counts them.
    """
    network = build("resnet8", seed=0)
    network.steps = 0

    def before_forward(module, inputs):
        if module.training:
            module.steps += 1
            if module.steps == at:
                action()

    network.register_forward_pre_hook(before_forward)
    return network


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def without_seconds(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


FINISHED = ["history.csv", "predictions.safetensors", "run.json", "weights.safetensors"]  # what a run leaves


def assert_same_weights(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


def assert_same_end(result, expected):
    """Weights, BN statistics and history are the same to the last bit."""
    assert_same_weights(result[0], expected[0])
    assert result[1].status == expected[1].status == "finished"
    assert without_seconds(result[1].history) == without_seconds(expected[1].history)
    seconds = result[1].column("seconds")
    assert seconds == sorted(seconds) and seconds[0] > 0


def assert_finite_checkpoint(folder, iteration=None):
    content = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert all(tensor.isfinite().all() for tensor in content["network"].values())
    assert all(state["momentum_buffer"].isfinite().all() for state in content["optimiser"]["state"].values())
    assert iteration in (None, content["iteration"])


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def uninterrupted():
    torch.set_num_threads(1)
    return go()


# --- what it computes


def test_resnet8_learns_shapes10_clearly_better_than_chance():
    train_set, test_set = shapes10(320, 16, seed=0), shapes10(200, 16, seed=1)
    recipe = Recipe("learn", 50, batch_size=64, lr=0.1, milestones=(40,), padding=0, flip=False)
    _, run = go(recipe=recipe, train_set=train_set, test_set=test_set)
    assert run.history[0]["train_error"] > 0.6  # chance: 0.9
    assert run.final("train_error") < 0.3
    assert run.final("test_error") < 0.6
    assert run.final("test_loss") < 2.0 < run.history[0]["train_loss"]


SCHEDULES = [
    replace(RECIPE, milestones=(2, 6), warmup=1, weight_decay=3e-4),
    replace(RECIPE, schedule="one-cycle", milestones=(), warmup=3, nesterov=True, weight_decay=5e-4, momentum=0.8),
]


@pytest.mark.parametrize("recipe", SCHEDULES, ids=lambda recipe: recipe.schedule)
def test_the_weights_are_those_of_sgd_written_by_hand(recipe):
    network, run = go(recipe=recipe)
    by_hand = build("resnet8", seed=0)
    weights = list(by_hand.parameters())
    velocities = [torch.zeros_like(weight) for weight in weights]
    batches = Batches(TRAIN, 16, Normalisation.of(TRAIN), padding=1, flip=True, shuffle=True, seed=3)
    losses, sizes = [], []
    for iteration in range(8):
        images, labels = list(batches.epoch(iteration // 3))[iteration % 3]
        loss = F.cross_entropy(by_hand(images), labels)
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient, velocity in zip(weights, gradients, velocities, strict=True):
                gradient = gradient + recipe.weight_decay * weight
                velocity.mul_(recipe.momentum).add_(gradient)
                step = gradient + recipe.momentum * velocity if recipe.nesterov else velocity
                weight -= recipe.lr_at(iteration) * step
        losses.append(loss.item())
        sizes.append(len(labels))
    for (name, ours), theirs in zip(network.state_dict().items(), by_hand.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    assert sizes == [16, 16, 8, 16, 16, 8, 16, 16]
    # The mean is over images, not over batches: the smaller batch counts for less.
    for row, steps in zip(run.history, (slice(0, 3), slice(3, 6), slice(6, 8)), strict=True):
        mean = sum(a * b for a, b in zip(losses[steps], sizes[steps], strict=True)) / sum(sizes[steps])
        assert row["train_loss"] == pytest.approx(mean, rel=1e-4)
    assert run.column("lr") == [recipe.lr_at(iteration) for iteration in (2, 5, 7)]


def test_the_same_seed_gives_the_same_weights_and_history_to_the_last_bit(uninterrupted):
    assert_same_end(go(), uninterrupted)


def test_another_seed_gives_another_order_and_so_other_weights(uninterrupted):
    network, run = go(seed=4)
    assert run.seed == 4
    assert not torch.equal(network.fc.weight, uninterrupted[0].fc.weight)


def test_the_history_has_a_complete_row_an_epoch_and_one_for_the_last_partial_epoch(uninterrupted):
    _, run = uninterrupted
    assert [(row["epoch"], row["iteration"]) for row in run.history] == [(1, 3), (2, 6), (3, 8)]
    for row in run.history:
        assert list(row) == list(COLUMNS)
        assert all(type(row[key]) is kind for key, kind in COLUMNS.items())
        assert row["train_loss"] > 0 and row["test_loss"] > 0
        # Errors are shares of the images seen: 40 an epoch, 32 in the last; 20 test images.
        images = 32 if row["epoch"] == 3 else 40
        assert (row["train_error"] * images) % 1 == pytest.approx(0, abs=1e-9)
        assert (row["test_error"] * 20) % 1 == pytest.approx(0, abs=1e-9)
    assert run.column("lr") == pytest.approx([0.05, 0.005, 0.005])


def test_the_test_error_is_measured_once_an_epoch_in_evaluation_mode_without_gradients():
    network, calls = build("resnet8", seed=0), []
    network.register_forward_hook(
        lambda module, inputs, logits: calls.append((module.training, logits.requires_grad, len(logits)))
    )
    _, run = go(network=network)
    step, test = (lambda n: (True, True, n)), [(False, False, 16), (False, False, 4)]
    epoch = [step(16), step(16), step(8), *test]
    tried_out = (False, False, 1)  # before the first step
    assert calls == [tried_out, *epoch, *epoch, step(16), step(16), *test]
    # What the last row says is what anyone measures afterwards.
    batches = Batches(TEST, 7, Normalisation.of(TRAIN))
    loss, error = evaluate(network, batches)
    assert run.final("test_loss") == pytest.approx(loss, rel=1e-5)
    assert run.final("test_error") == pytest.approx(error, abs=1e-9)


def test_the_network_is_trained_in_place_and_stays_in_training_mode():
    network = build("resnet8", seed=0).eval()
    before = copy.deepcopy(network)
    weights = list(network.parameters())
    go(network=network)
    assert all(new is old for new, old in zip(network.parameters(), weights, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(weights, before.parameters(), strict=True))
    assert network.training
    assert int(network.stem.bn1.num_batches_tracked) == 8


def test_observers_see_the_run_after_every_epoch():
    seen, order = [], []
    go(observers=[lambda run: (order.append("a"), seen.append(len(run.history))), lambda run: order.append("b")])
    assert seen == [1, 2, 3]
    assert order == ["a", "b"] * 3


def test_bfloat16_runs_on_a_cpu_and_is_recorded(tmp_path):
    network, dtypes = build("resnet8", seed=0), set()
    network.register_forward_hook(lambda module, inputs, logits: dtypes.add(logits.dtype) if len(logits) > 1 else None)
    recipe = replace(RECIPE, iterations=2, batch_size=8)
    _, run = go(tmp_path / "run", recipe=recipe, network=network, precision="bfloat16", test_set=TEST.take(4))
    assert dtypes == {torch.bfloat16}
    assert run.precision == load(tmp_path / "run").precision == "bfloat16"
    assert run.status == "finished"
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in network.parameters())


# --- what it says and writes


def test_the_record_says_what_was_trained_how_and_on_what(tmp_path):
    network, run = go(tmp_path / "runs" / "one", network=build("resnet8", seed=5, shortcut="B"))
    assert run.network == {
        "name": "resnet8", "seed": 5, "options": {"shortcut": "B"}, "digest": digest_of(network)
    }  # fmt: skip
    assert run.recipe == asdict(RECIPE)
    assert run.data == {
        "name": "shapes10",
        "train": {"images": 40, "sha256": TRAIN.sha256},
        "test": {"images": 20, "sha256": TEST.sha256},
    }
    assert (run.seed, run.precision, run.captured, run.threads) == (3, "float32", False, 1)
    assert run.machine == machine.describe(torch.device("cpu"))
    assert run.command is None  # this is no `python -m resnet_lesson`
    assert run.commit == machine.commit()
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(run.started) < timedelta(minutes=5)
    assert run.status == "finished"
    assert run.folder == tmp_path / "runs" / "one"
    assert sorted(content_of(run.folder)) == FINISHED
    recorded = load(run.folder)
    assert recorded.recipe.pop("milestones") == list(run.recipe.pop("milestones"))
    for name in ("network", "recipe", "data", "seed", "precision", "captured", "threads", "machine", "status"):
        assert getattr(recorded, name) == getattr(run, name)
    assert_same_weights(recorded.load_weights(build("resnet8", shortcut="B")), network)


def test_a_network_of_ones_own_is_recorded_by_its_class():
    class Tiny(nn.Sequential):
        pass

    network = Tiny(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    _, run = go(network=network)
    assert run.network == {"name": "Tiny", "seed": None, "options": {}, "digest": digest_of(network)}
    assert run.status == "finished"


def test_a_row_every_few_steps_has_the_means_since_the_row_before(tmp_path):
    seen = []
    _, by_step = go(record_every=1)
    network, run = go(tmp_path / "run", record_every=3, observers=[lambda run: seen.append(len(run.history))])
    assert run.column("iteration") == [3, 6, 8] and run.column("epoch") == [1, 2, 3] and seen == [1, 2, 3]
    assert by_step.column("iteration") == list(range(1, 9))
    images = [16, 16, 8, 16, 16, 8, 16, 16]  # an epoch is 40 images
    for first, last, row in zip((0, 3, 6), (3, 6, 8), run.history, strict=True):
        losses = by_step.column("train_loss")[first:last]
        mean = sum(loss * n for loss, n in zip(losses, images[first:last], strict=True)) / sum(images[first:last])
        assert row["train_loss"] == pytest.approx(mean)
        assert row["test_loss"] == by_step.history[last - 1]["test_loss"]
    assert load(run.folder).column("iteration") == [3, 6, 8]
    assert_same_weights(network, go()[0])  # looking more often changes nothing


@pytest.mark.parametrize("every", [0, -5])
def test_a_row_needs_at_least_one_step(every):
    with pytest.raises(ValueError, match=f"at least 1, not {every}"):
        go(record_every=every)


def test_the_predictions_are_recorded_and_give_the_final_error(tmp_path):
    network, run = go(tmp_path / "run")
    logits, labels = load(run.folder).predictions()
    batches = Batches(TEST, 8, Normalisation.of(TRAIN))
    expected, truth = predict(network, batches)
    assert torch.equal(labels, truth)
    assert torch.allclose(logits.log_softmax(1), expected.log_softmax(1), atol=1e-2)  # half precision
    assert score(expected, truth) == (run.final("test_loss"), run.final())


def test_precision_and_device_are_picked_and_recorded(monkeypatch):
    monkeypatch.setattr(machine, "pick_device", lambda name: torch.device("cpu"))
    monkeypatch.setattr(machine, "pick_precision", lambda device: "bfloat16")
    recipe = replace(RECIPE, iterations=1, batch_size=4)
    _, run = go(recipe=recipe, device=None, precision=None, captured=None, test_set=TEST.take(2))
    assert (run.precision, run.machine["device"], run.captured) == ("bfloat16", "cpu", False)


def test_the_bar_shows_loss_error_speed_and_can_be_switched_off(capfd):
    go(progress=True)
    shown = capfd.readouterr()
    assert re.search(r"resnet8: .*img/s, loss \d\.\d+, error \d+\.\d%", shown.err), shown.err
    assert re.search(r"\d+:\d\d<", shown.err)  # time gone < time left
    go()
    assert capfd.readouterr() == ("", "")


def test_nothing_is_written_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, run = go()
    assert run.folder is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options, says",
    [
        ({"recipe": "demos"}, "There is no recipe 'demos'. Did you mean 'demo'?"),
        ({"recipe": "quick"}, ", ".join(RECIPES)),
        ({"precision": "bfloat"}, "precision is one of float32, bfloat16, not 'bfloat'"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones_before_anything_is_written(tmp_path, options, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        go(tmp_path / "run", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_may_be_given_by_name():
    _, run = go(recipe="demo", network=hooked(2, ctrl_c))
    assert run.recipe == asdict(RECIPES["demo"])


# --- stopping with Ctrl-C


@pytest.mark.parametrize("step", [2, 6])
def test_after_ctrl_c_the_same_call_ends_as_if_never_interrupted(tmp_path, capsys, uninterrupted, step):
    folder = tmp_path / "run"
    network, run = go(folder, network=hooked(step, ctrl_c))
    assert network.steps == step  # the step is finished, and no other one begun
    assert run.status == load(folder).status == "interrupted"
    assert len(run.history) == len(load(folder).history) == step // 3
    said = capsys.readouterr().out
    assert said.startswith(f"Stopped after {step} of 8 iterations. The same call or command goes on from here: ")
    assert str(folder) in said
    assert sorted(content_of(folder)) == ["checkpoint.pt", "history.csv", "run.json"]

    started = load(folder).started
    again, run = result = go(folder, network=hooked(0, None))
    assert_same_end(result, uninterrupted)
    assert again.steps == 8 - step
    assert run.started == started
    assert sorted(content_of(folder)) == FINISHED
    assert load(folder).status == "finished"
    assert len(load(folder).history) == 3


def test_a_run_that_went_on_elsewhere_says_where_it_began(tmp_path, monkeypatch, uninterrupted):
    for k, (name, stop) in enumerate([("GPU", 2), ("laptop", 5), ("laptop", 7), ("desk", 99)]):
        monkeypatch.setattr(machine, "describe", lambda device, name=name: {"hardware": name})
        monkeypatch.setattr(machine, "commit", lambda name=name: f"commit of the {name}")
        network = build("resnet8", seed=0) if k == 3 else hooked(stop - [0, 2, 5][k], ctrl_c)
        result = go(tmp_path / "run", network=network)
    assert_same_end(result, uninterrupted)
    record = load(tmp_path / "run")
    assert record.machine == {"hardware": "desk"} and record.commit == "commit of the desk"
    assert [(part["until"], part["machine"]["hardware"]) for part in record.earlier] == [(2, "GPU"), (7, "laptop")]
    assert record.earlier[1]["commit"] == "commit of the laptop"
    assert record.hardware == "GPU, then laptop, then desk"


@pytest.mark.parametrize("recipe", SCHEDULES, ids=lambda recipe: recipe.schedule)
def test_a_training_stopped_at_every_single_step_ends_as_if_never_interrupted(tmp_path, recipe):
    calls = 0
    while True:
        calls += 1
        result = go(tmp_path / "run", recipe=recipe, network=hooked(1, ctrl_c))
        if result[1].status == "finished":
            break
        assert calls < 20
    assert calls == 8
    assert_same_end(result, go(recipe=recipe))


def test_ctrl_c_in_the_last_step_finishes_the_run(tmp_path, uninterrupted):
    assert_same_end(go(tmp_path / "run", network=hooked(8, ctrl_c)), uninterrupted)


def test_ctrl_c_while_the_test_error_is_measured_loses_nothing(tmp_path, uninterrupted):
    network = build("resnet8", seed=0)

    def stop_while_testing(module, inputs):
        if not module.training and len(inputs[0]) > 1:  # with one image it is only tried out
            ctrl_c()

    # There are two test batches: the first Ctrl-C asks, the second one stops in the middle of the evaluation.
    network.register_forward_pre_hook(stop_while_testing)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", network=network)
    assert_same_end(go(tmp_path / "run"), uninterrupted)
    # With one test batch, the evaluation and the next step are finished.
    network = build("resnet8", seed=0)
    network.register_forward_pre_hook(stop_while_testing)
    _, run = go(tmp_path / "one", network=network, test_set=TEST.take(10))
    assert (run.status, run.column("epoch")) == ("interrupted", [1])
    assert_same_end(go(tmp_path / "one", test_set=TEST.take(10)), go(test_set=TEST.take(10)))


def test_without_a_folder_ctrl_c_says_that_nothing_was_recorded(capsys):
    network, run = go(network=hooked(4, ctrl_c))
    assert (run.status, len(run.history), network.steps) == ("interrupted", 1, 4)
    said = capsys.readouterr().out
    assert said.startswith("Stopped after 4 of 8 iterations. It was not recorded: give a folder (out=...)")


def test_a_second_ctrl_c_stops_at_once_and_the_same_call_still_ends_the_same(tmp_path, uninterrupted):
    network = hooked(5, lambda: (ctrl_c(), ctrl_c()))
    reached = []
    network.fc.register_forward_pre_hook(lambda module, inputs: reached.append(network.steps))
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", network=network)
    assert network.steps == 5 and reached.count(5) == 0  # not even the forward pass was finished
    assert_same_end(go(tmp_path / "run"), uninterrupted)


def test_the_old_signal_handler_is_back_however_the_training_ends():
    def own(signum, frame):
        raise AssertionError("not meant to be called while training")

    before = signal.signal(signal.SIGINT, own)
    try:
        go()
        assert signal.getsignal(signal.SIGINT) is own
        go(network=hooked(2, ctrl_c))
        assert signal.getsignal(signal.SIGINT) is own
        with pytest.raises(KeyboardInterrupt):
            go(network=hooked(2, lambda: (ctrl_c(), ctrl_c())))
        assert signal.getsignal(signal.SIGINT) is own
        with pytest.raises(Diverged):
            go(recipe=replace(RECIPE, lr=1e6))
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_it_trains_in_another_thread_where_no_signal_can_be_handled(tmp_path, uninterrupted):
    before, results = signal.getsignal(signal.SIGINT), []
    thread = threading.Thread(target=lambda: results.append(go(tmp_path / "run")))
    thread.start()
    thread.join()
    assert_same_end(results[0], uninterrupted)
    assert signal.getsignal(signal.SIGINT) is before


def test_after_an_error_in_an_observer_the_same_call_goes_on(tmp_path, uninterrupted):
    def breaks(run):
        if len(run.history) == 2:
            raise RuntimeError("the plot broke")

    with pytest.raises(RuntimeError, match="the plot broke"):
        go(tmp_path / "run", observers=[breaks])
    again, _ = result = go(tmp_path / "run", network=hooked(0, None))
    assert_same_end(result, uninterrupted)
    assert again.steps == 5  # from the end of the first epoch


# --- killed


KILLED = """
import os, signal, sys, time
from pathlib import Path
from resnet_lesson.training.train import train
from resnet_lesson.datasets.shapes10 import shapes10
from resnet_lesson.models.networks import build
from resnet_lesson.training.recipes import Recipe

folder, where, at, every, iterations = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
counts = {}

def here(name):
    counts[name] = counts.get(name, 0) + 1
    if name == where and counts[name] == at:
        os.kill(os.getpid(), signal.SIGKILL)

def step(module, inputs):
    if module.training:
        here("step")
        if where == "outside":
            time.sleep(0.03)

def replace(old, new, replace=os.replace):  # just before a file, written in full beside its place, is put there
    here(Path(new).name)
    replace(old, new)

def unlink(path, missing_ok=False, unlink=Path.unlink):
    here("unlink")
    unlink(path, missing_ok)

os.replace, Path.unlink = replace, unlink
network = build("resnet8", seed=0)
network.register_forward_pre_hook(step)
recipe = Recipe("tiny", iterations, batch_size=16, lr=0.05, milestones=(5,), padding=1)
train(network, shapes10(40, 8, seed=0), shapes10(20, 8, seed=1), recipe, seed=3, out=folder, device="cpu",
               precision="float32", captured=False, progress=False, checkpoint_every=every)
"""


def training_process(folder, where, at=0, every=0.0, iterations=8):
    arguments = [sys.executable, "-c", KILLED, folder, where, at, every, iterations]
    return subprocess.Popen([str(a) for a in arguments], env=ENVIRONMENT, stderr=subprocess.PIPE)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no kill -9")
@pytest.mark.parametrize(
    "where, at, every, steps_left",
    [
        pytest.param("step", 2, 60, 8, id="before the first checkpoint"),
        pytest.param("checkpoint.pt", 1, 60, 8, id="while the first checkpoint is written"),
        pytest.param("step", 6, 0, 3, id="in a step"),
        pytest.param("checkpoint.pt", 5, 0, 4, id="while a checkpoint is written, the record being ahead"),
        pytest.param("weights.safetensors", 1, 0, 1, id="while the weights are written"),
        pytest.param("run.json", 9, 0, 1, id="before the record says finished"),
        pytest.param("unlink", 1, 0, 0, id="when all is done but the tidying"),
    ],
)
def test_after_kill_9_the_same_call_ends_as_if_never_interrupted(tmp_path, uninterrupted, where, at, every, steps_left):
    folder = tmp_path / "run"
    process = training_process(folder, where, at, every)
    errors = process.communicate(timeout=300)[1].decode()
    assert process.returncode == -signal.SIGKILL, errors
    assert (folder / "checkpoint.pt").exists() == (steps_left < 8)
    network, run = go(folder, network=hooked(0, None))
    assert network.steps == steps_left
    if steps_left:
        assert_same_end((network, run), uninterrupted)
        assert sorted(content_of(folder)) == FINISHED
    else:
        assert_same_weights(network, uninterrupted[0])
        assert run.status == "finished"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no kill -9")
def test_after_kill_9_from_outside_at_any_moment_the_same_call_ends_the_same(tmp_path):
    folder = tmp_path / "run"
    process = training_process(folder, "outside", iterations=60)
    try:
        deadline = time.monotonic() + 300
        while not ((folder / "checkpoint.pt").exists() and len((folder / "history.csv").read_text().splitlines()) > 1):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert load(folder).status == "running"
    network, run = go(folder, recipe=replace(RECIPE, iterations=60), network=hooked(0, None))
    assert 0 < network.steps < 60
    assert_same_end((network, run), go(recipe=replace(RECIPE, iterations=60)))


def test_half_written_files_are_never_read(tmp_path, uninterrupted):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("run.json", "history.csv", "checkpoint.pt", "weights.safetensors"):
        (folder / f"{name}.partial").write_bytes(b"half a fi")
    network, run = go(folder, network=hooked(4, ctrl_c))
    assert (network.steps, run.status) == (4, "interrupted")
    for name in ("run.json", "history.csv", "checkpoint.pt", "weights.safetensors"):
        (folder / f"{name}.partial").write_bytes(b"half a fi")
    network, run = go(folder, network=hooked(0, None))
    assert network.steps == 4
    assert_same_end((network, run), uninterrupted)


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_checkpoint_is_named_and_nothing_is_touched(tmp_path, damage):
    folder = tmp_path / "run"
    go(folder, network=hooked(4, ctrl_c))
    path = folder / "checkpoint.pt"
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "other": b"not a checkpoint at all"}[damage])
    before, network = content_of(folder), build("resnet8", seed=0)
    with pytest.raises(LessonError, match=re.escape(str(path))) as error:
        go(folder, network=network)
    assert "\n" not in str(error.value) and "train again" in str(error.value)
    assert content_of(folder) == before
    assert_same_weights(network, build("resnet8", seed=0))


# --- what is in the folder already


def other_network():
    return {"network": build("plain8", seed=0)}


def other_train_set():
    images = TRAIN.images.clone()
    images[7, 3, 2, 1] += 1
    return {"train_set": replace(TRAIN, images=images)}


@pytest.mark.parametrize(
    "options, differs",
    [
        (lambda: {"seed": 4}, "seed"),
        (lambda: {"recipe": replace(RECIPE, lr=0.06)}, "recipe"),
        (lambda: {"recipe": replace(RECIPE, iterations=9)}, "recipe"),
        (other_network, "network"),
        (lambda: {"network": build("resnet8", seed=1)}, "network"),
        (lambda: {"network": build("resnet8", seed=0, shortcut="B")}, "network"),
        (other_train_set, "data"),
        (lambda: {"test_set": shapes10(20, 8, seed=2)}, "data"),
        (lambda: {"seed": 4, "precision": "bfloat16"}, "seed and precision"),
        (lambda: {"seed": 4, "recipe": replace(RECIPE, flip=False)}, "recipe and seed"),
    ],
)
@pytest.mark.parametrize("status", ["interrupted", "finished"])
def test_another_run_in_the_folder_is_left_alone_and_what_differs_is_named(tmp_path, options, differs, status):
    folder = tmp_path / "run"
    go(folder, recipe=replace(RECIPE, iterations=2), network=hooked(1 if status == "interrupted" else 0, ctrl_c))
    assert load(folder).status == status
    before = content_of(folder)
    asked = {"recipe": RECIPE} | options()
    if "recipe" not in differs:
        asked["recipe"] = replace(RECIPE, iterations=2)
    says = re.escape(f"{folder} holds another run, with another {differs}. Choose another folder, or delete that one.")
    with pytest.raises(LessonError, match=f"^{says}$"):
        go(folder, **asked)
    assert content_of(folder) == before


def test_an_unfinished_record_without_its_checkpoint_is_left_alone(tmp_path):
    folder = tmp_path / "run"
    go(folder, network=hooked(5, ctrl_c))
    (folder / "checkpoint.pt").unlink()
    before = content_of(folder)
    with pytest.raises(LessonError, match="without its checkpoint.*choose another folder"):
        go(folder)
    assert content_of(folder) == before


def test_a_finished_run_is_returned_at_once_with_its_weights(tmp_path, uninterrupted):
    folder = tmp_path / "run"
    _, first = go(folder)
    assert first.live
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    seen = []
    network, run = go(folder, network=hooked(1, lambda: pytest.fail("it trained")), observers=[seen.append])
    assert seen == [run]  # a picture of it is still wanted
    assert_same_weights(network, uninterrupted[0])
    assert run.status == "finished" and run.folder == folder and not run.live
    assert [row["iteration"] for row in run.history] == [3, 6, 8]
    assert run.final() == pytest.approx(first.final(), abs=1e-6)
    assert (run.command, run.commit, run.started) == (first.command, first.commit, first.started)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_finished_run_without_its_weights_says_so(tmp_path):
    folder = tmp_path / "run"
    go(folder)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(LessonError, match="without weights"):
        go(folder)


# --- divergence


def assert_one_sentence(error):
    text = str(error)
    assert text.startswith("Training diverged: ") and "\n" not in text and "Traceback" not in text
    assert len(text) < 250


@pytest.mark.parametrize("every", [0.0, 60.0])
def test_divergence_stops_with_a_sentence_and_leaves_no_broken_checkpoint(tmp_path, every):
    folder, options = tmp_path / "run", {"recipe": replace(RECIPE, lr=1e6)}
    with pytest.raises(Diverged) as error:
        go(folder, checkpoint_every=every, **options)
    assert isinstance(error.value, LessonError)
    assert_one_sentence(error.value)
    assert "lower" in str(error.value) and "'tiny'" in str(error.value)
    assert load(folder).status == "diverged"
    assert not (folder / "weights.safetensors").exists()
    if (folder / "checkpoint.pt").exists():
        assert_finite_checkpoint(folder)
    # Asked again, it says the same; with another recipe, it asks for another folder.
    with pytest.raises(Diverged):
        go(folder, checkpoint_every=every, **options)
    with pytest.raises(LessonError, match="holds another run, with another recipe. Choose another folder"):
        go(folder, **options | {"recipe": replace(RECIPE, lr=0.01)})


def test_divergence_without_a_folder_is_said_too():
    with pytest.raises(Diverged, match=r"the loss was .* at iteration 3, with learning rate 1e\+06"):
        go(recipe=replace(RECIPE, lr=1e6))


def test_in_bfloat16_the_sentence_also_proposes_float32():
    with pytest.raises(Diverged, match="or precision='float32'"):
        go(recipe=replace(RECIPE, lr=1e6), precision="bfloat16")


@pytest.mark.parametrize("step", [2, 5, 8])
def test_a_loss_that_is_no_number_is_noticed_before_it_is_kept(tmp_path, step):
    folder, network = tmp_path / "run", build("resnet8", seed=0)
    network.calls = 0

    def spoil(module, inputs, logits):
        module.calls += module.training
        return logits * float("nan") if module.training and module.calls == step else None

    network.register_forward_hook(spoil)
    with pytest.raises(Diverged, match=f"the loss was nan at iteration {step}, "):
        go(folder, network=network, checkpoint_every=0)
    assert load(folder).status == "diverged"
    assert_finite_checkpoint(folder, iteration=step - 1)


@pytest.mark.parametrize("step", [2, 5, 8])
def test_a_step_that_breaks_the_weights_is_noticed_before_they_are_kept(tmp_path, uninterrupted, step):
    folder, network = tmp_path / "run", hooked(0, None)
    network.fc.weight.register_hook(lambda gradient: gradient * (float("inf") if network.steps == step else 1))
    with pytest.raises(Diverged, match=f"the weights were no longer numbers at iteration {step}, ") as error:
        go(folder, network=network, checkpoint_every=0)
    assert_one_sentence(error.value)
    assert load(folder).status == "diverged"
    assert_finite_checkpoint(folder, iteration=step - 1)
    # Had it been a passing fault of the machine, the same call would go on from the last good step.
    assert_same_end(go(folder), uninterrupted)


def test_in_a_notebook_divergence_shows_as_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell_module = pytest.importorskip("IPython.core.interactiveshell")
    from traitlets.config import Config

    shell = shell_module.InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    shell.push({"go": go, "recipe": replace(RECIPE, lr=1e6)})
    capsys.readouterr()
    shell.run_cell("go(recipe=recipe)")
    shown = capsys.readouterr()
    lines = (shown.out + shown.err).strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("Diverged: Training diverged: the loss was ")


# --- as a program


def test_it_imports_and_trains_where_jupyter_is_not_installed():
    script = """
import sys

BLOCKED = {"IPython", "ipykernel", "ipywidgets", "notebook", "visdom", "nbval", "nbformat", "nbconvert", "nbclient"}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in BLOCKED or top.startswith("jupyter"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
try:
    import ipywidgets
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("the test does not block")

import importlib, pkgutil
import resnet_lesson
for module in pkgutil.walk_packages(resnet_lesson.__path__, "resnet_lesson."):
    if not module.name.endswith(("__main__", "explorers")) and ".grade" not in module.name:
        importlib.import_module(module.name)
recipe = resnet_lesson.Recipe("three", 3, batch_size=8, lr=0.1)
run = resnet_lesson.train(
    resnet_lesson.build("resnet8", seed=0), resnet_lesson.shapes10(24, 8, 0), resnet_lesson.shapes10(8, 8, 1), recipe,
    precision="float32", device="cpu",
)
print(run.status, len(run.history))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "finished 1\n"
    assert "Warning" not in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a whole console, not to one process")
def test_ctrl_c_at_the_command_line_and_the_same_command_again_end_as_if_never_interrupted(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "resnet_lesson", "train", "--network", "resnet8", "--recipe", "demo"]
    command += ["--dataset", "shapes10", "--seed", "0", "--iterations", "16", "--precision", "float32"]
    command += ["--device", "cpu", "--out", str(folder)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    shown = b""
    while not re.search(rb" [1-9]\d*%", shown):  # the bar has begun to move
        more = os.read(process.stderr.fileno(), 4096)
        assert more, shown.decode()
        shown += more
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=300)
    assert process.returncode == 130, (out, shown + rest)
    assert b"Traceback" not in shown + rest
    assert re.fullmatch(rf"Stopped after \d+ of 16 iterations. .*{re.escape(str(folder))}.*\n", out.decode())
    assert load(folder).status == "interrupted"

    again = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert again.returncode == 0, again.stderr
    run = load(folder)
    assert run.status == "finished"
    assert run.command == "python -m resnet_lesson " + " ".join(command[3:-2])  # without the folder of this machine
    train_set, test_set = shapes10(4096, seed=0), shapes10(1024, seed=1)
    network, expected = go(
        recipe=RECIPES["demo"].scaled(16), seed=0, train_set=train_set, test_set=test_set,
    )  # fmt: skip
    assert_same_weights(run.load_weights(build("resnet8")), network)
    for row, wanted in zip(without_seconds(run.history), without_seconds(expected.history), strict=True):
        assert row == pytest.approx(wanted, abs=1e-6)


def test_on_a_cpu_nothing_is_captured():
    with pytest.raises(ValueError, match="captured only on a GPU"):
        go(captured=True)


def test_a_checkpoint_of_a_captured_training_goes_on_elsewhere(tmp_path, uninterrupted):
    """Its optimiser has other kernels and a learning rate on the GPU; here both are as `train` wants them."""
    go(tmp_path / "run", network=hooked(4, ctrl_c))
    path = tmp_path / "run" / "checkpoint.pt"
    saved = torch.load(path, weights_only=True)
    saved["optimiser"]["param_groups"][0].update(lr=torch.tensor(7.0), fused=True, foreach=None)
    torch.save(saved, path)
    groups = []
    hook = register_optimizer_step_pre_hook(lambda optimiser, *_: groups.append(dict(optimiser.param_groups[0])))
    result = go(tmp_path / "run")
    hook.remove()
    assert_same_end(result, uninterrupted)
    assert {(group["fused"], group["foreach"], type(group["lr"])) for group in groups} == {(None, True, float)}


def test_a_run_in_another_precision_is_told_how_to_go_on(tmp_path):
    go(tmp_path / "run", network=hooked(4, ctrl_c), precision="bfloat16")
    with pytest.raises(LessonError, match="was trained in bfloat16: precision='bfloat16' goes on"):
        go(tmp_path / "run")


LONGER = replace(RECIPE, iterations=16, milestones=(8, 13))
gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


class TestOnAGPU:
    """Of 16 steps 11 have full batches: three warm-ups, then one recorded and replayed, then seven replays."""

    pytestmark = gpu
    CAPTURED = dict(device="cuda", captured=None, record_every=1, recipe=LONGER)

    def test_captured_steps_are_those_of_eager_ones(self):
        runs = [go(**self.CAPTURED | dict(captured=captured))[1] for captured in (False, None)]
        assert [run.captured for run in runs] == [False, True]
        for column in ("train_loss", "lr"):  # rounding may turn one of an epoch's 16 answers
            assert runs[0].column(column) == pytest.approx(runs[1].column(column), rel=1e-2, abs=1e-3)

    @pytest.mark.parametrize("first, then", [(None, None), (False, None), (None, False)])
    def test_a_training_goes_on_where_it_was_stopped_captured_or_not(self, tmp_path, first, then):
        _, expected = go(**self.CAPTURED)
        stop = [lambda run: ctrl_c() if len(run.history) == 5 else None]
        begun = go(tmp_path / "run", observers=stop, **self.CAPTURED | dict(captured=first))[1]
        network, run = go(tmp_path / "run", **self.CAPTURED | dict(captured=then))
        assert (begun.status, run.status) == ("interrupted", "finished")
        assert run.column("train_loss") == pytest.approx(expected.column("train_loss"), rel=2e-2, abs=1e-3)
        error = evaluate(network, Batches(TEST, 20, Normalisation.of(TRAIN), device="cuda"))[1]
        assert error == pytest.approx(run.final())

    def test_a_network_that_reads_a_number_back_is_told_how_to_train_and_the_next_one_trains(self):
        class Reads(nn.Sequential):
            def forward(self, x):
                return super().forward(x) if x.sum().item() != 0.5 else x

        def network():
            return Reads(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 10))

        with pytest.raises(LessonError, match="captured=False"):
            go(network=network(), **self.CAPTURED | dict(captured=True))
        assert go(network=network(), **self.CAPTURED)[1].captured is False  # not made by `build`
        assert go(**self.CAPTURED)[1].captured is True

    @pytest.mark.parametrize("make", [lambda: build("sdresnet8", seed=0), lambda: hooked(1, lambda: None)])
    def test_what_does_not_repeat_itself_is_not_captured(self, make):
        assert go(network=make(), **self.CAPTURED)[1].captured is False


def test_two_processes_do_not_train_into_one_folder(tmp_path):
    """Two students on one machine: the second is told at once, and the first one's record stays whole."""
    out = tmp_path / "mine"
    code = "import sys, time; from pathlib import Path; from resnet_lesson.training.runs import claimed\n"
    code += "with claimed(Path(sys.argv[1])): print('has it', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        assert other.stdout.readline() == "has it\n"
        with pytest.raises(LessonError, match="already training .* another folder"):
            go(out)
        assert not (out / "run.json").exists()
    finally:
        other.kill()
        other.wait()
    assert go(out)[1].status == "finished"  # the lock went with the process that had it
