"""Training: it computes what it should, records what it did, and goes on after any interruption as if without it."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
import torch
import torch.nn.functional as F
from support.commands import call
from support.paths import REPO
from support.training import RECIPE, TEST, TRAIN, assert_same_weights, ctrl_c, go, hooked
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
from resnet_lesson.training.runs import COLUMNS, claimed, load

PATH = os.pathsep.join(filter(None, [str(REPO), str(REPO / "tests"), os.environ.get("PYTHONPATH")]))
ENVIRONMENT = os.environ | {"PYTHONPATH": PATH, "OMP_NUM_THREADS": "1"}
FINISHED = ["history.csv", "predictions.safetensors", "run.json", "weights.safetensors"]  # what a run leaves


def without_seconds(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


def assert_same_end(result, expected):
    """Weights, BN statistics and history are the same to the last bit."""
    assert_same_weights(result[0], expected[0])
    assert result[1].status == expected[1].status == "finished"
    assert without_seconds(result[1].history) == without_seconds(expected[1].history)
    seconds = result[1].column("seconds")
    assert seconds == sorted(seconds) and seconds[0] > 0


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def uninterrupted():
    return go()


# --- what it computes

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


def test_the_network_is_trained_in_place_and_tested_once_per_epoch_in_evaluation_mode_without_gradients():
    network, calls = build("resnet8", seed=0).eval(), []
    weights = list(network.parameters())
    network.register_forward_hook(
        lambda module, inputs, logits: calls.append((module.training, logits.requires_grad, len(logits)))
    )
    _, run = go(network=network)
    step, test = (lambda n: (True, True, n)), [(False, False, 16), (False, False, 4)]
    epoch = [step(16), step(16), step(8), *test]
    tried_out = (False, False, 1)  # before the first step
    assert calls == [tried_out, *epoch, *epoch, step(16), step(16), *test]
    assert network.training and int(network.stem.bn1.num_batches_tracked) == 8
    assert all(new is old for new, old in zip(network.parameters(), weights, strict=True))
    # What the last row says is what anyone measures afterwards.
    loss, error = evaluate(network, Batches(TEST, 7, Normalisation.of(TRAIN)))
    assert run.final("test_loss") == pytest.approx(loss, rel=1e-5)
    assert run.final("test_error") == pytest.approx(error, abs=1e-9)


# --- what it says and writes


def test_the_record_says_what_was_trained_how_and_on_what(tmp_path):
    network, run = go(tmp_path / "runs" / "one", network=build("resnet8", seed=5, shortcut="B"))
    named = {"name": "resnet8", "seed": 5, "options": {"shortcut": "B"}}
    assert run.network == named | {"digest": digest_of(network)}
    assert run.recipe == asdict(RECIPE)
    assert run.data == {
        "name": "shapes10",
        "train": {"images": 40, "sha256": TRAIN.sha256},
        "test": {"images": 20, "sha256": TEST.sha256},
    }
    assert (run.seed, run.precision, run.captured, run.threads) == (3, "float32", False, 1)
    assert (run.machine, run.commit) == (machine.describe(torch.device("cpu")), machine.commit())
    assert run.command is None  # this is no `python -m resnet_lesson`
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(run.started) < timedelta(minutes=5)
    assert sorted(content_of(run.folder)) == FINISHED
    recorded = load(run.folder)
    assert recorded.recipe.pop("milestones") == list(run.recipe.pop("milestones"))
    for name in ("network", "recipe", "data", "seed", "precision", "captured", "threads", "machine", "status"):
        assert getattr(recorded, name) == getattr(run, name)
    assert_same_weights(recorded.load_weights(build("resnet8", shortcut="B")), network)
    logits, labels = recorded.predictions()
    expected, truth = predict(network, Batches(TEST, 8, Normalisation.of(TRAIN)))
    assert torch.equal(labels, truth) and score(expected, truth) == (run.final("test_loss"), run.final())
    assert torch.allclose(logits.log_softmax(1), expected.log_softmax(1), atol=1e-2)  # half precision


def test_a_network_of_ones_own_is_recorded_by_its_class():
    class Tiny(nn.Sequential):
        pass

    network, run = go(network=Tiny(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)))
    assert run.network == {"name": "Tiny", "seed": None, "options": {}, "digest": digest_of(network)}


def test_a_row_an_epoch_or_every_few_steps_has_the_means_since_the_row_before_and_observers_see_it(uninterrupted):
    seen = []
    observers = [lambda run: seen.append(("a", len(run.history))), lambda run: seen.append(("b", len(run.history)))]
    network, by_step = go(record_every=1, observers=observers)
    assert seen == [(name, row) for row in range(1, 9) for name in "ab"] and by_step.column("iteration")[-1] == 8
    assert_same_weights(network, uninterrupted[0])  # looking more often changes nothing
    _, run = uninterrupted
    assert [(row["epoch"], row["iteration"]) for row in run.history] == [(1, 3), (2, 6), (3, 8)]
    images = [16, 16, 8, 16, 16, 8, 16, 16]  # an epoch is 40 images
    for first, last, row in zip((0, 3, 6), (3, 6, 8), run.history, strict=True):
        assert {key: type(value) for key, value in row.items()} == COLUMNS
        for name in ("train_loss", "train_error"):
            sums = [one * n for one, n in zip(by_step.column(name)[first:last], images[first:last], strict=True)]
            assert row[name] == pytest.approx(sum(sums) / sum(images[first:last]))


def test_precision_and_device_are_picked_and_recorded(monkeypatch):
    monkeypatch.setattr(machine, "pick_device", lambda name: torch.device("cpu"))
    monkeypatch.setattr(machine, "pick_precision", lambda device: "bfloat16")
    recipe = replace(RECIPE, iterations=1, batch_size=4)
    _, run = go(recipe=recipe, device=None, precision=None, captured=None, test_set=TEST.take(2))
    assert (run.precision, run.machine["device"], run.captured) == ("bfloat16", "cpu", False)


def test_the_bar_shows_loss_error_speed_and_can_be_switched_off(capfd):
    go(progress=True)
    shown = capfd.readouterr()
    assert re.search(r"resnet8: .*\d+:\d\d<.*step/s, loss \d\.\d+, error \d+\.\d%", shown.err), shown.err
    go()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "options, says",
    [
        ({"recipe": "demos"}, "There is no recipe 'demos'. Did you mean 'demo'?"),
        ({"precision": "bfloat"}, "precision is one of float32, bfloat16, not 'bfloat'"),
        ({"captured": True}, "captured only on a GPU"),
    ],
)
def test_a_wrong_argument_is_answered_before_anything_is_written(tmp_path, options, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        go(**{"out": tmp_path / "run"} | options)
    assert list(tmp_path.iterdir()) == []


# --- stopping with Ctrl-C


def test_ctrl_c_finishes_the_step_and_saves_and_the_same_call_goes_on(tmp_path, capsys, uninterrupted):
    folder = tmp_path / "run"
    network, run = go(folder, network=hooked(5, ctrl_c))
    assert network.steps == 5  # the step is finished, and no other one begun
    assert run.status == load(folder).status == "interrupted"
    assert run.column("epoch") == load(folder).column("epoch") == [1]
    said = capsys.readouterr().out
    assert said.startswith("Stopped after 5 of 8 iterations. Everything is saved in ")
    assert str(folder) in said
    assert sorted(content_of(folder)) == ["checkpoint.pt", "history.csv", "run.json"]

    started = load(folder).started
    again, run = result = go(folder, network=hooked(0, None))
    assert_same_end(result, uninterrupted)
    assert (again.steps, run.started) == (3, started)
    assert sorted(content_of(folder)) == FINISHED and load(folder).column("epoch") == [1, 2, 3]


def test_stopped_at_every_single_step_and_moved_it_ends_as_if_never_interrupted_and_says_where_it_was(
    tmp_path, monkeypatch, uninterrupted
):
    for name in ["GPU"] * 2 + ["laptop"] * 5 + ["desk"]:  # in the last step it finishes the run
        monkeypatch.setattr(machine, "describe", lambda device, name=name: {"hardware": name})
        monkeypatch.setattr(machine, "commit", lambda name=name: f"commit of the {name}")
        result = go(tmp_path / "run", network=hooked(1, ctrl_c))
    assert_same_end(result, uninterrupted)
    record = load(tmp_path / "run")
    assert record.machine == {"hardware": "desk"} and record.commit == "commit of the desk"
    assert [(part["until"], part["machine"]["hardware"]) for part in record.earlier] == [(2, "GPU"), (7, "laptop")]
    assert record.earlier[1]["commit"] == "commit of the laptop"
    assert record.hardware == "GPU, then laptop, then desk"


def test_ctrl_c_while_the_test_error_is_measured_loses_nothing(tmp_path, uninterrupted):
    network = build("resnet8", seed=0)
    network.register_forward_pre_hook(  # with one image it is only tried out
        lambda module, inputs: ctrl_c() if not module.training and len(inputs[0]) > 1 else None
    )
    # There are two test batches: the first Ctrl-C asks, the second one stops in the middle of the evaluation.
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", network=network)
    assert_same_end(go(tmp_path / "run"), uninterrupted)


def test_without_a_folder_nothing_is_written_and_ctrl_c_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, run = go(network=hooked(4, ctrl_c))
    assert (run.status, run.folder, len(run.history)) == ("interrupted", None, 1)
    said = capsys.readouterr().out
    assert said.startswith(
        "Stopped after 4 of 8 iterations. It was not recorded: to be able to resume, give a folder (out=...)"
    )
    assert list(tmp_path.iterdir()) == []


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
        go(network=hooked(2, ctrl_c))
        assert signal.getsignal(signal.SIGINT) is own
        with pytest.raises(KeyboardInterrupt):
            go(network=hooked(2, lambda: (ctrl_c(), ctrl_c())))
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


# --- killed

KILLED = """
import os, signal, sys
from pathlib import Path
from resnet_lesson import build
from support.training import go

def killed(folder, where, at, every):
    "Train, until the moment `where` comes the `at`th time."
    counts = {}

    def here(name):
        counts[name] = counts.get(name, 0) + 1
        if name == where and counts[name] == int(at):
            os.kill(os.getpid(), signal.SIGKILL)

    def replace(old, new, replace=os.replace):  # just before a file, written in full beside its place, is put there
        here(Path(new).name)
        replace(old, new)

    def unlink(path, missing_ok=False, unlink=Path.unlink):
        here("unlink")
        unlink(path, missing_ok)

    os.replace, Path.unlink = replace, unlink
    network = build("resnet8", seed=0)
    network.register_forward_pre_hook(lambda module, _: here("step") if module.training else None)
    go(folder, network=network, checkpoint_every=float(every))

go()  # what is imported and made at the first step, is
for line in sys.argv[1:]:
    if os.fork() == 0:  # a process of its own, in which all is imported already
        killed(*line.split("|"))
        os._exit(1)
    assert os.wait()[1] == signal.SIGKILL, line
"""
MOMENTS = {  # where, at, seconds from one checkpoint to the next, steps left
    "before the first checkpoint": ("step", 2, 60, 8),
    "while the first checkpoint is written": ("checkpoint.pt", 1, 60, 8),
    "in a step": ("step", 6, 0, 3),
    "while a checkpoint is written, the record being ahead": ("checkpoint.pt", 5, 0, 4),
    "while the weights are written": ("weights.safetensors", 1, 0, 1),
    "before the record says finished": ("run.json", 9, 0, 1),
    "when all is done but the tidying": ("unlink", 1, 0, 0),
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A folder with a run for each moment, killed at it."""
    folder = tmp_path_factory.mktemp("killed")
    lines = [f"{folder / name}|{where}|{at}|{every}" for name, (where, at, every, _) in MOMENTS.items()]
    subprocess.run([sys.executable, "-c", KILLED, *lines], env=ENVIRONMENT, check=True, timeout=300)
    return folder


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no kill -9")
@pytest.mark.parametrize("moment", MOMENTS)
def test_after_kill_9_the_same_call_ends_as_if_never_interrupted(killed, uninterrupted, moment):
    folder, steps_left = killed / moment, MOMENTS[moment][-1]
    assert (folder / "checkpoint.pt").exists() == (steps_left < 8)
    network, run = go(folder, network=hooked(0, None))
    assert network.steps == steps_left
    if steps_left:
        assert_same_end((network, run), uninterrupted)
        assert sorted(content_of(folder)) == FINISHED
    else:
        assert_same_weights(network, uninterrupted[0])
        assert run.status == "finished"


@pytest.mark.parametrize(
    "damage, says",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:10_000]), "checkpoint.pt cannot be read .* train again"),
        (lambda path: path.unlink(), "but not its checkpoint.*choose another folder"),
    ],
)
def test_a_damaged_or_missing_checkpoint_is_named_and_nothing_is_touched(tmp_path, damage, says):
    folder = tmp_path / "run"
    go(folder, network=hooked(4, ctrl_c))
    damage(folder / "checkpoint.pt")
    before, network = content_of(folder), build("resnet8", seed=0)
    with pytest.raises(LessonError, match=f"^{re.escape(str(folder))}.*{says}"):
        go(folder, network=network)
    assert content_of(folder) == before
    assert_same_weights(network, build("resnet8", seed=0))


# --- what is in the folder already


def test_another_run_in_the_folder_is_left_alone_and_what_differs_is_named(tmp_path):
    folder, recipe = tmp_path / "run", replace(RECIPE, iterations=2)
    go(folder, recipe=recipe, network=hooked(1, ctrl_c))
    before = content_of(folder)
    for differs, options in (
        ("seed", {"seed": 4}),
        ("recipe", {"recipe": replace(recipe, lr=0.06)}),
        ("network", {"network": build("plain8", seed=0)}),
        ("network", {"network": build("resnet8", seed=0, shortcut="B")}),
        ("data", {"test_set": shapes10(20, 8, seed=2)}),
        ("seed and precision (float32)", {"seed": 4, "precision": "bfloat16"}),
    ):
        says = f"{folder} holds another run, with another {differs}. Choose another folder, or delete that one."
        with pytest.raises(LessonError, match=f"^{re.escape(says)}$"):
            go(folder, **{"recipe": recipe} | options)
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
    assert run.final() == pytest.approx(first.final(), abs=1e-6)
    assert (run.commit, run.started) == (first.commit, first.started)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_only_one_process_trains_into_a_folder_and_the_others_do_not_even_read_it(tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "run.json").write_text("half a rec")
    with claimed(out), pytest.raises(LessonError, match="already training .* another folder"):
        go(out)
    (out / "run.json").unlink()
    assert go(out)[1].status == "finished"


# --- divergence


def test_divergence_stops_with_a_sentence_and_can_be_tried_again(tmp_path):
    folder, wild = tmp_path / "run", replace(RECIPE, lr=1e6)
    for _ in range(2):  # asked again, it says the same
        with pytest.raises(Diverged) as error:
            go(folder, recipe=wild)
        said = (
            r"Training diverged: the loss was .* at iteration 3, with learning rate 1e\+06. Try a lower one .*'tiny'."
        )
        assert re.fullmatch(said, str(error.value))
        assert load(folder).status == "diverged" and sorted(content_of(folder)) == ["history.csv", "run.json"]
    with pytest.raises(LessonError, match="holds another run, with another recipe. Choose another folder"):
        go(folder, recipe=replace(RECIPE, lr=0.01))


@pytest.mark.parametrize("broken", ["the loss was nan", "the weights were no longer numbers"])
@pytest.mark.parametrize("step", [2, 8])
def test_what_is_no_number_is_noticed_before_it_is_kept(tmp_path, uninterrupted, step, broken):
    folder, network = tmp_path / "run", hooked(0, None)
    if broken == "the loss was nan":
        network.register_forward_hook(
            lambda module, _, logits: logits * float("nan") if module.training and module.steps == step else None
        )
    else:
        network.fc.weight.register_hook(lambda gradient: gradient * (float("inf") if network.steps == step else 1))
    with pytest.raises(Diverged, match=f"{broken} at iteration {step}, "):
        go(folder, network=network, checkpoint_every=0)
    assert load(folder).status == "diverged"
    # Had it been a passing fault of the machine, the same call would go on from the last good step.
    again = hooked(0, None)
    assert_same_end(go(folder, network=again), uninterrupted)
    assert again.steps == 9 - step


def test_in_a_notebook_divergence_shows_as_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell_module = pytest.importorskip("IPython.core.interactiveshell")
    from traitlets.config import Config

    shell = shell_module.InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    shell.push({"go": go, "recipe": replace(RECIPE, lr=1e6)})
    capsys.readouterr()
    shell.run_cell("go(recipe=recipe)")
    shown = capsys.readouterr()
    (line,) = (shown.out + shown.err).strip().splitlines()
    assert line.startswith("Diverged: Training diverged: the loss was ")


# --- as a program

WITHOUT_JUPYTER = """
import importlib, pkgutil, sys

BLOCKED = {"IPython", "ipykernel", "ipywidgets", "notebook", "visdom", "nbval", "nbformat", "nbconvert", "nbclient"}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in BLOCKED or top.startswith("jupyter"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
import resnet_lesson
for module in pkgutil.walk_packages(resnet_lesson.__path__, "resnet_lesson."):
    if not module.name.endswith(("__main__", "explorers")) and ".grade" not in module.name:
        importlib.import_module(module.name)
from support.training import go
assert BLOCKED.isdisjoint(sys.modules)
print(go(progress=True)[1].status)
"""


def test_it_imports_and_trains_where_jupyter_is_not_installed():
    command = [sys.executable, "-c", WITHOUT_JUPYTER]
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert (result.returncode, result.stdout) == (0, "finished\n"), result.stderr
    assert "Warning" not in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a whole console, not to one process")
def test_ctrl_c_at_the_command_line_and_the_same_command_again(tmp_path, capsys):
    folder = tmp_path / "run"
    words = "train --network resnet8 --recipe demo --dataset shapes10 --iterations 8 --precision float32 --device cpu"
    words = [*words.split(), "--out", str(folder)]
    command = [sys.executable, "-m", "resnet_lesson", *words]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    shown = b""
    while not re.search(rb" [1-9]\d*%", shown):  # the bar has begun to move
        more = os.read(process.stderr.fileno(), 4096)
        assert more, shown.decode()
        shown += more
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=300)
    assert process.returncode == 130 and b"Traceback" not in shown + rest, (out, shown + rest)
    assert re.fullmatch(rf"Stopped after \d of 8 iterations. .*{re.escape(str(folder))}.*\n", out.decode())
    begun = load(folder)
    assert begun.status == "interrupted"
    assert begun.command == "python -m resnet_lesson " + " ".join(words[:-2])  # without the folder of this machine
    status, printed, _ = call(capsys, *words)
    assert status == 0 and "test error" in printed and load(folder).status == "finished"


# --- captured, on a GPU


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


# The two ways choose other kernels. At a low rate and in float32, what they round differently stays small in 16 steps.
LONGER = replace(RECIPE, iterations=16, milestones=(8, 13), lr=0.01)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
class TestOnAGPU:
    """Of 16 steps 11 have full batches: three warm-ups, then one recorded and replayed, then seven replays."""

    CAPTURED = dict(device="cuda", captured=None, record_every=1, recipe=LONGER)
    EXACT = CAPTURED | dict(precision="float32")

    def test_captured_steps_are_those_of_eager_ones(self):
        runs = [go(**self.EXACT | dict(captured=captured))[1] for captured in (False, None)]
        assert [run.captured for run in runs] == [False, True]
        for column in ("train_loss", "lr"):  # not the error: rounding may turn one of an epoch's 16 answers
            assert runs[0].column(column) == pytest.approx(runs[1].column(column), rel=1e-2, abs=1e-3)

    @pytest.mark.parametrize("first, then", [(None, None), (False, None), (None, False)])
    def test_a_training_goes_on_where_it_was_stopped_captured_or_not(self, tmp_path, first, then):
        _, expected = go(**self.EXACT)
        stop = [lambda run: ctrl_c() if len(run.history) == 5 else None]
        begun = go(tmp_path / "run", observers=stop, **self.EXACT | dict(captured=first))[1]
        network, run = go(tmp_path / "run", **self.EXACT | dict(captured=then))
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
