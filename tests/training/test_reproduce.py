"""`reproduce table6`: what it starts, in which order, what it survives, what it says, and the table's arithmetic."""

import io
import json
import os
import re
import shlex
import signal
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from resnet_lesson import build, shapes10
from resnet_lesson.commands import cli
from resnet_lesson.datasets.batches import Batches, Normalisation
from resnet_lesson.errors import LessonError
from resnet_lesson.training import runs
from resnet_lesson.training.evaluation import predict
from resnet_lesson.training.recipes import RECIPES, Recipe
from resnet_lesson.training.reproduce import add_predictions, table6
from resnet_lesson.training.reproduce import job as job_module
from resnet_lesson.training.reproduce.job import Job
from resnet_lesson.training.reproduce.many import Progress
from resnet_lesson.training.reproduce.table import NETWORKS, recipe_of
from resnet_lesson.training.runs import Run, load
from resnet_lesson.training.train import train

TRAIN, TEST = shapes10(40, 8, seed=0), shapes10(20, 8, seed=1)
TRIAL = "-shapes10-4steps"  # at the end of a folder's name: neither the usual data nor the usual length
TINY = Recipe("tiny", 4, batch_size=20, lr=0.05, padding=1)
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
    folder = tmp_path_factory.mktemp("real") / "tiny-resnet8-seed0"
    network = build("resnet8", seed=0)
    return train(network, TRAIN, TEST, TINY, out=folder, device="cpu", precision="float32", progress=False)


@pytest.fixture
def fake(monkeypatch, tmp_path, real):
    """Trainings that the stand-in does; returns the folder of their records."""
    (tmp_path / "trainer.py").write_text(TRAINER)
    (tmp_path / "record.json").write_bytes((real.folder / "run.json").read_bytes())
    behave(tmp_path)
    monkeypatch.setattr(job_module, "PROGRAM", (sys.executable, str(tmp_path / "trainer.py")))
    monkeypatch.setitem(cli.DATASETS, "shapes10", lambda root: (TRAIN, TEST))
    return tmp_path


def behave(folder, **how):
    (folder / "behaviour.json").write_text(json.dumps({key.replace("_", "-"): value for key, value in how.items()}))


def words(folder, networks="plain20,resnet20", seeds=1, *more):
    return ["reproduce", "table6", "--recipe", "demo", "--dataset", "shapes10", "--iterations", "4", "--out",
            str(folder), "--networks", networks, "--seeds", str(seeds), *more]  # fmt: skip


def call(capsys, *arguments):
    """Exit status, and what was printed to stdout and stderr."""
    with pytest.raises(SystemExit) as end:
        cli.main(list(arguments))
    printed = capsys.readouterr()
    return end.value.code, printed.out, printed.err


def log(folder):
    return [line.split() for line in (folder / "log").read_text().splitlines()] if (folder / "log").exists() else []


def begun(folder):
    return [name for what, name, *_ in log(folder) if what == "begin"]


# --- which trainings, in which order


def test_dry_run_lists_the_commands_most_telling_first_and_starts_nothing(capsys, fake):
    status, printed, _ = call(capsys, "reproduce", "table6", "--dry-run", "--out", str(fake))
    lines = [line for line in printed.splitlines() if line.startswith("to do")]
    assert status == 0 and len(lines) == 9 * 5 and begun(fake) == []
    assert all(line.startswith("to do  python -m resnet_lesson train --network ") for line in lines)
    found = [re.search(r"--network (\w+) --recipe (\w+) --seed (\d)", line).groups() for line in lines]
    telling, deep, rest = found[:12], found[12:17], found[17:]
    assert {network for network, _, _ in telling} == {"plain20", "plain56", "resnet20", "resnet56"}
    assert [seed for _, _, seed in telling] == [*"000011112222"]  # each seed gives the comparison as soon as can be
    assert deep == [("resnet110", "paper110", str(seed)) for seed in range(5)]
    assert {recipe for _, recipe, _ in telling + rest} == {"paper"} and len(set(found)) == 45


def test_the_default_command_names_no_folder_and_no_option_that_train_does_not_need(capsys):
    printed = call(capsys, "reproduce", "table6", "--list", "--networks", "resnet26", "--seeds", "1")[1]
    assert "python -m resnet_lesson train --network resnet26 --recipe paper --seed 0\n" in printed


def test_110_layers_get_the_papers_warm_up_with_the_papers_recipe_only():
    assert recipe_of("resnet110", RECIPES["paper"]) == RECIPES["paper110"]
    assert recipe_of("resnet110", RECIPES["paper"].scaled(640)).warmup == 4
    assert recipe_of("resnet110", RECIPES["short"]) == RECIPES["short"]
    assert recipe_of("resnet56", RECIPES["paper"]) == RECIPES["paper"]


@pytest.mark.parametrize(
    "wrong, message",
    [
        (["table7"], "Did you mean 'table6'"),
        (["table6", "--networks", "plain20,resnet65"], "Did you mean 'resnet56'"),
        (["table6", "--networks", "plain20,resnet18"], "such as resnet20, not resnet18"),
        (["table6", "--recipe", "papr"], "Did you mean 'paper'"),
        (["table6", "--dataset", "cifar"], "Did you mean 'cifar10'"),
        (["table6", "--seeds", "0"], "--seeds is a number, at least 1, not 0"),
        (["table6", "--jobs", "0"], "--jobs is a number, at least 1, not 0"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(capsys, fake, wrong, message):
    status, _, error = call(capsys, "reproduce", *wrong, "--out", str(fake))
    assert status == 2 and message in error and error.count("\n") == 1 and begun(fake) == []


def test_help_says_what_it_does(capsys):
    status, printed, _ = call(capsys, "reproduce", "--help")
    assert status == 0 and "plain20,resnet20" in printed and "None" not in printed


# --- what happens to them


def test_what_is_done_is_skipped_and_more_seeds_add_only_theirs(capsys, fake):
    assert call(capsys, *words(fake))[0] == 0
    assert begun(fake) == ["demo-plain20-seed0", "demo-resnet20-seed0"]
    status, printed, _ = call(capsys, *words(fake, seeds=2))
    assert status == 0 and begun(fake)[2:] == ["demo-plain20-seed1", "demo-resnet20-seed1"]
    assert re.search(r"plain-20 .* 15\.00 ± 7\.07 \|\s+2 ", printed)
    call(capsys, *words(fake, seeds=2))
    assert len(begun(fake)) == 4


def test_a_finished_run_by_a_shorter_recipe_does_not_count(capsys, fake):
    call(capsys, *words(fake, "plain20"))
    printed = call(capsys, *words(fake, "plain20"), "--iterations", "8", "--dry-run")[1]
    assert printed.startswith("to do") and re.search(r"plain-20 .* — \|\s+0 ", printed)


def test_jobs_run_side_by_side_on_their_share_of_the_cores(capsys, fake, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    behave(fake, demo_plain20_seed0="meets", demo_resnet20_seed0="meets")
    assert call(capsys, *words(fake, seeds=2), "--jobs", "2")[0] == 0
    assert [what for what, *_ in log(fake)[:2]] == ["begin", "begin"]
    open_now = [sum(1 if what == "begin" else -1 for what, *_ in log(fake)[:k]) for k in range(1, 9)]
    assert max(open_now) == 2 and open_now[-1] == 0
    assert {threads for _, _, threads, *_ in log(fake)} == {"3"}


@posix
def test_a_training_that_fails_is_reported_and_the_others_go_on(capsys, fake):
    behave(fake, demo_plain20_seed0="fails", demo_resnet20_seed0="killed")
    status, printed, _ = call(capsys, *words(fake, "plain20,resnet20,resnet32"))
    assert status == 1 and load(fake / f"demo-resnet32-seed0{TRIAL}").status == "finished"
    assert f"plain20-seed0{TRIAL}: failed: RuntimeError: CUDA out of memory. (use fewer --jobs)" in printed
    assert f"resnet20-seed0{TRIAL}: failed: killed by the system" in printed
    assert "Alone, with all it says: python -m resnet_lesson train --network plain20" in printed
    behave(fake)
    assert call(capsys, *words(fake, "plain20,resnet20,resnet32"))[0] == 0
    assert begun(fake).count("demo-resnet32-seed0") == 1


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_lets_the_children_save_and_the_same_command_goes_on(capsys, fake, number):
    behave(fake, demo_plain20_seed0="stops", demo_resnet20_seed0="stops")
    with when(lambda: len(list(fake.glob("*/run.json"))) == 2, lambda: os.kill(os.getpid(), number)):
        status, printed, error = call(capsys, *words(fake, seeds=2), "--jobs", "2")
    assert status == 130 and "Stopping: " in printed and "The same command goes on: python -m resnet_lesson" in error
    assert [load(fake / f"demo-{name}20-seed0{TRIAL}").status for name in ("plain", "resnet")] == ["interrupted"] * 2
    assert len(begun(fake)) == 2 and "failed" not in printed
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert call(capsys, *words(fake, seeds=2), "--dry-run")[1].count("go on") == 2
    assert call(capsys, *words(fake, seeds=2))[0] == 0
    assert len(begun(fake)) == 6


@posix
def test_a_second_ctrl_c_ends_the_children_at_once(capsys, fake):
    behave(fake, demo_plain20_seed0="deaf")
    heard = []

    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)
        heard.append(len(log(fake)))
        os.kill(os.getpid(), signal.SIGINT)

    with when((fake / f"demo-plain20-seed0{TRIAL}" / "run.json").exists, twice):
        assert call(capsys, *words(fake))[0] == 130
    ((what, _, _, process, group),) = log(fake)
    assert what == "begin" and heard == [1]
    with pytest.raises(ProcessLookupError):
        os.kill(int(process), 0)
    assert int(group) != os.getpgrp()  # a terminal's Ctrl-C would reach it there, and so twice, which kills
    assert load(fake / f"demo-plain20-seed0{TRIAL}").status == "running"  # as it was when it was killed


class when:
    """Within it, another thread waits for a condition and then acts."""

    def __init__(self, condition, action):
        def wait():
            end = time.monotonic() + 200
            while not condition() and time.monotonic() < end:
                time.sleep(0.02)
            action()

        self.thread = threading.Thread(target=wait)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *error):
        self.thread.join()


SMALL = """
import sys
from resnet_lesson.commands import cli
from resnet_lesson import shapes10

cli.DATASETS["shapes10"] = lambda root: (shapes10(2048, 8, seed=0), shapes10(64, 8, seed=1))
sys.argv = ["resnet_lesson/__main__.py", "train", *sys.argv[1:]]
cli.main()
"""


@posix
def test_a_real_training_is_interrupted_and_its_command_goes_on(capsys, monkeypatch, tmp_path):
    """With the real `train`, on few images, started where SIGINT is ignored, as by `&` in a script."""
    assert job_module.PROGRAM == (sys.executable, "-m", "resnet_lesson", "train")
    monkeypatch.setattr(job_module, "PROGRAM", (sys.executable, "-c", SMALL))
    monkeypatch.setitem(cli.DATASETS, "shapes10", lambda root: (shapes10(2048, 8, seed=0), shapes10(64, 8, seed=1)))
    folder = tmp_path / "demo-resnet8-seed0-shapes10-200steps"
    command = words(tmp_path, "resnet8")
    command[command.index("4")] = "200"  # of them 32 an epoch
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with when((folder / "run.json").exists, lambda: os.kill(os.getpid(), signal.SIGINT)):
            status, printed, error = call(capsys, *command)
    finally:
        signal.signal(signal.SIGINT, before)
    assert status == 130 and "goes on" in error and "\x1b" not in printed
    first = load(folder)
    assert first.status == "interrupted" and 32 <= first.history[-1]["iteration"] < 200
    assert first.command.startswith("python -m resnet_lesson train --network resnet8 --recipe demo --seed 0")
    python, *listed = shlex.split(call(capsys, *command, "--dry-run")[1].splitlines()[0].removeprefix("go on"))
    assert python == "python" and listed[:3] == ["-m", "resnet_lesson", "train"]
    assert call(capsys, *listed[2:])[0] == 0
    last = load(folder)
    assert last.status == "finished" and last.started == first.started and last.history[0] == first.history[0]
    status, printed, _ = call(capsys, *command)
    assert status == 0 and re.search(rf"ResNet-8 .* {100 * last.final():.2f} \|\s+1 ", printed)


def test_a_record_that_is_being_replaced_is_looked_at_later(monkeypatch):
    started = job(iteration=2)
    before = started.run
    monkeypatch.setattr(job_module.Path, "exists", lambda path: True)

    def load(folder):
        raise PermissionError  # as Windows does

    monkeypatch.setattr(job_module, "load", load)
    assert started.look().run is before


# --- what is said meanwhile


def job(network="plain20", seed=0, iteration=0, status="running", **changes):
    made = Job(network, TINY, "shapes10", seed, Path(f"tiny-{network}-seed{seed}"), ())
    if iteration:
        made.run = run(network, seed, 0.25, iteration=iteration, status=status)
    made.__dict__.update(changes)
    return made


class Alive:
    def poll(self):
        return None


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_without_a_terminal_each_tenth_is_a_line_and_nothing_else():
    said = io.StringIO()
    one = job(iteration=1)
    progress = Progress([one], 1, said)
    one.process = Alive()
    for iteration in (1, 2, 2, 4):
        one.run = run("plain20", 0, 0.25, iteration=iteration, status="finished" if iteration == 4 else "running")
        progress.look(one)
        progress.draw()
    progress.close()
    first, last = said.getvalue().splitlines()
    assert first == "tiny-plain20-seed0: 50% (epoch 1), test error 25.00%, 00:20 left"
    assert last == "tiny-plain20-seed0: finished, test error 25.00%"


def test_on_a_terminal_a_table_is_drawn_again_in_its_place(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    screen = Terminal()
    done, running, failed = job(iteration=4, status="finished"), job(seed=1), job("resnet110", failure="no memory")
    progress = Progress([done, running, failed], 1, screen)
    progress.draw()
    progress.draw()  # nothing new: nothing drawn
    assert screen.getvalue().count("\n") == 4 and "\x1b" not in screen.getvalue()
    running.process, running.run = Alive(), run("plain20", 1, 0.5, iteration=1, status="running")
    progress.look(failed)
    progress.draw()
    lines = emulate(screen.getvalue())
    assert lines == [
        "tiny-resnet110-seed0: failed: no memory",
        "network    done    test error  now",
        "plain20    1 of 2  25.00%      seed 1: 25% (epoch 1), test error 50.00%, 00:30 ",
        "resnet110  0 of 1              seed 0 failed",
        "1 of 3 trainings done, about 00:30 left",
    ]
    progress.close()
    assert emulate(screen.getvalue()) == lines[:1]


def emulate(text):
    """What a terminal shows: ESC [ n F goes up n lines, ESC [ J clears from there."""
    lines = []
    for part in re.split(r"(\x1b\[\d+F\x1b\[J)", text):
        if up := re.fullmatch(r"\x1b\[(\d+)F\x1b\[J", part):
            del lines[len(lines) - int(up[1]) :]
        else:
            lines += part.splitlines()
    return lines


# --- the table


def run(name, seed, test_error, train_error=0.1, recipe=TINY, data="shapes10", folder=None, iteration=4, **changes):
    row = dict.fromkeys(runs.COLUMNS, 0.0) | {"epoch": 1, "iteration": iteration, "seconds": 10.0 * iteration}
    row |= {"test_error": test_error, "train_error": train_error}
    made = dict(
        network={"name": name, "seed": seed, "options": {}},
        recipe=asdict(recipe),
        data={"name": data},
        seed=seed,
        precision="float32",
        captured=False,
        threads=1,
        machine={"hardware": "Abacus"},
        status="finished",
        history=[row | {"test_error": 0.01}, row],  # the best epoch is not the last one
        folder=folder,
    )
    return Run(**(made | changes))


def test_mean_and_deviation_are_of_the_last_epoch_over_the_seeds():
    ours = [run("resnet20", seed, error, error / 2) for seed, error in enumerate((0.10, 0.12, 0.17))]
    ours += [run("plain20", 0, 0.2)]
    table = table6(ours, TINY, ["plain20", "resnet20", "resnet32"], "shapes10")
    plain, residual, none = table.rows
    assert residual.mean == pytest.approx(0.13) and residual.std == pytest.approx(0.0013**0.5)  # (9 + 1 + 16) / 2
    assert residual.parameters == 269_722 and residual.paper == (0.0875, None)
    assert residual.cells() == ("ResNet-20", "269,722", "8.75", "13.00 ± 3.61", "3", "6.50", "—")
    assert plain.std is None and plain.cells()[2:] == ("—", "20.00", "1", "10.00", "—")
    assert none.mean is None and none.cells()[2:] == ("7.51", "—", "0", "—", "—")


def test_only_whole_runs_by_the_recipe_with_option_a_count_and_each_seed_once():
    good = run("resnet20", 0, 0.1)
    others = [
        run("resnet20", 1, 0.2, status="interrupted"),
        run("resnet20", 2, 0.2, recipe=replace(TINY, name="other")),
        run("resnet20", 3, 0.2, recipe=replace(TINY, iterations=5)),
        run("resnet20", 4, 0.2, data="cifar10"),
        run("resnet20", 5, 0.2, network={"name": "resnet20", "seed": 5, "options": {"shortcut": "B"}}),
        run("resnet32", 6, 0.2),
    ]
    explicit = run("resnet20", 7, 0.3, network={"name": "resnet20", "seed": 7, "options": {"shortcut": "A"}})
    table = table6([*others, good, explicit, good], TINY, ["resnet20"], "shapes10")
    assert table.rows[0].test_errors == (0.1, 0.3)


def test_the_ensemble_is_the_error_of_the_mean_of_the_softmax(tmp_path):
    labels = torch.tensor([0, 0, 1, 2])
    one = [[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.7, 0.25, 0.05]]
    other = [[0.3, 0.7, 0.0], [0.9, 0.1, 0.0], [0.4, 0.6, 0.0], [0.01, 0.25, 0.74]]
    # Together wrong about the third image only. The mean of the logits would answer 1 to the last one as well.
    chances = [one, other]
    ours = []
    for seed, chance in enumerate(chances):
        ours.append(run("resnet20", seed, 0.25, folder=tmp_path / str(seed)))
        ours[-1].save_predictions(torch.tensor(chance).log(), labels)
    table = table6(ours[:1], TINY, ["resnet20"], "shapes10")
    assert (table.rows[0].ensemble, table.rows[0].ensemble_of) == (None, 1)
    ours.append(run("resnet20", 2, 0.25, folder=tmp_path / "2"))  # one recorded without predictions
    row = table6(ours, TINY, ["resnet20"], "shapes10").rows[0]
    assert (row.ensemble, row.ensemble_of) == (0.25, 2) and row.cells()[-1] == "25.00 (of 2)"


def test_as_text_and_in_a_notebook_it_is_one_markdown_table_with_an_honest_note():
    table = table6([run("resnet110", 0, 0.1, precision="bfloat16")], TINY, NETWORKS, "shapes10")
    text = str(table)
    assert text == table._repr_markdown_() == repr(table)
    lines = text.split("\n\n")[0].splitlines()
    assert len(lines) == 2 + 9 and len({len(line) for line in lines}) == 1
    assert lines[1].count("-:") == 6 and {line.count("|") for line in lines} == {8}
    assert lines[-1].split(" | ")[2].strip() == "6.61 ± 0.16"
    note = " ".join(text.split("\n\n")[1].split())
    assert "recipe tiny, 1 epochs of shapes10, Abacus, bfloat16" in note and "not the paper's recipe" in note
    paper = table6([run("resnet20", 0, 0.1, recipe=RECIPES["paper"], data="cifar10")], "paper")
    assert "not the paper's recipe" not in paper.note and paper.rows[4].test_errors == (0.1,)
    assert "no finished run by the recipe paper yet" in table6([], "paper").note


# --- predictions of runs that were recorded without


@pytest.fixture
def without(real, tmp_path):
    """The real run, as if recorded before predictions were."""
    folder = tmp_path / real.name
    folder.mkdir()
    for name in ("run.json", "history.csv", "weights.safetensors"):
        (folder / name).write_bytes((real.folder / name).read_bytes())
    return load(folder)


def test_predictions_come_from_the_weights(real, without):
    assert add_predictions(without, TRAIN, TEST, device="cpu") == pytest.approx(real.final())
    logits, labels = without.predictions()
    assert torch.equal(labels, TEST.labels) and torch.equal(logits, real.predictions()[0])
    network = real.load_weights(build("resnet8"))
    batches = Batches(TEST, batch_size=20, normalisation=Normalisation.of(TRAIN), device="cpu")
    logits, expected = logits.log_softmax(1), predict(network, batches)[0].log_softmax(1)
    assert torch.allclose(logits, expected, atol=2e-3)  # recorded in half precision


def test_predictions_are_refused_where_images_or_weights_are_others(without):
    with pytest.raises(LessonError, match="trained on other images"):
        add_predictions(without, TRAIN, shapes10(20, 8, seed=2), device="cpu")
    without.history[-1]["test_error"] += 0.05
    with pytest.raises(LessonError, match="its record says"):
        add_predictions(without, TRAIN, TEST, device="cpu")
    assert not (without.folder / "predictions.safetensors").exists()


def test_the_command_adds_missing_predictions_by_itself(capsys, fake, without, monkeypatch):
    monkeypatch.setitem(RECIPES, "tiny", TINY)
    without.folder = without.folder.rename(f"{without.folder}{TRIAL}")
    status, printed, _ = call(capsys, *words(fake, "resnet8", 1, "--recipe", "tiny"))
    assert status == 0 and f"tiny-resnet8-seed0{TRIAL}: predictions computed from its weights" in printed
    assert len(without.predictions()[1]) == 20 and begun(fake) == []
