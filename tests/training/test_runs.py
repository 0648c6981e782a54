"""The record of a run: written whole or not at all, read back as it was; and the recorded runs of the course."""

import math
import re
from dataclasses import asdict

import pytest
import torch
from support.paths import REPO

from resnet_lesson.commands import cli
from resnet_lesson.datasets.batches import Batches, Normalisation
from resnet_lesson.datasets.cifar10 import CIFAR10_MD5, cifar10
from resnet_lesson.errors import LessonError
from resnet_lesson.inside.record import SURFACES
from resnet_lesson.models.networks import build
from resnet_lesson.training import runs
from resnet_lesson.training.evaluation import evaluate, score
from resnet_lesson.training.runs import COLUMNS, Run, load


def row(epoch, test_error=0.5):
    own = {"epoch": epoch, "iteration": 3 * epoch, "test_error": test_error, "seconds": 1.5 * epoch}
    return dict.fromkeys(COLUMNS, 0.1) | own


def a_run(folder=None, **changes):
    values = dict(
        network={"name": "resnet8", "seed": 0, "options": {}},
        recipe={"name": "tiny", "iterations": 9, "milestones": [3, 6]},
        data={"name": "shapes10", "train": {"images": 40, "sha256": "a"}, "test": {"images": 20, "sha256": "b"}},
        seed=7,
        precision="float32",
        threads=1,
        machine={"device": "cpu", "hardware": "a", "versions": {"torch": "2.6.0"}},
        command="python -m resnet_lesson train",
        commit="0" * 40,
        started="2026-01-02T03:04:05+00:00",
        status="finished",
        history=[row(1, 0.5), row(2, 0.25), row(3, 0.375)],
        folder=folder,
    )
    return Run(**values | changes)


# --- the record


def test_a_run_is_read_back_as_it_was_written_but_not_live(tmp_path):
    run = a_run(tmp_path / "runs" / "one", live=True)
    run.save()
    assert asdict(load(str(run.folder))) == asdict(run) | {"live": False}
    assert sorted(path.name for path in run.folder.iterdir()) == ["history.csv", "run.json"]
    run.history, run.status = [], "running"  # one that has not begun; saving again replaces the record
    run.save()
    assert (load(run.folder).history, load(run.folder).status, load(run.folder).seconds) == ([], "running", 0.0)


def test_numbers_keep_six_decimals_and_their_kind(tmp_path):
    run = a_run(tmp_path / "one", history=[row(1) | {"train_loss": 1.23456789, "lr": 3e-7, "test_loss": math.nan}])
    run.save()
    (read,) = load(run.folder).history
    assert (read["train_loss"], read["lr"]) == (1.234568, 3e-7)
    assert math.isnan(read["test_loss"])
    assert {key: type(value) for key, value in read.items()} == COLUMNS


# --- missing and broken records


def test_a_missing_run_is_answered_with_a_near_name(tmp_path):
    with pytest.raises(LessonError, match="^There is no recorded run 'one'. There is none yet.$"):
        load(tmp_path / "not-there" / "one")
    a_run(tmp_path / "two").save()
    with pytest.raises(LessonError, match="no recorded run 'twoo'. Did you mean 'two'"):
        load(tmp_path / "twoo")


@pytest.mark.parametrize(
    "name, content",
    [
        ("run.json", "{}"),
        ("run.json", b"\xff\xfe\x00"),
        ("run.json", '{"network": {"name": 5}, "recipe": null, "data": [], "machine": [], "earlier": 3}'),
        ("history.csv", ""),  # a finished run has rows
        ("history.csv", ",".join(COLUMNS) + "\n1,3,0.1,2.2,0.8,2.3,x,4\n"),
        ("history.csv", None),
    ],
)
def test_a_broken_record_is_named_with_what_to_do(tmp_path, name, content):
    run = a_run(tmp_path / "one")
    run.save()
    path = run.folder / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(LessonError, match=rf"^The record in {re.escape(str(run.folder))} cannot be read .*delete it"):
        load(run.folder)


def test_a_run_without_weights_says_so(tmp_path):
    run = a_run(tmp_path / "one")
    run.save()
    with pytest.raises(
        LessonError, match="The run one was recorded without weights: .*weights.safetensors .*Copy it there"
    ):
        run.load_weights(build("resnet8"))


# --- the recorded runs of the course

FOLDERS = sorted(path.parent for path in (REPO / "data" / "runs").glob("*/run.json"))
recorded = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
MACHINE_PATH = re.compile(r"/(home|root|tmp|work|mnt|Users|content|opt|usr|var)\b|[A-Za-z]:\\|site-packages|~/")


def built(run):
    """The untrained network of a recorded run."""
    return build(run.network["name"], seed=run.network["seed"], **run.network["options"])


@recorded
def test_recorded_run_is_complete_and_names_no_path_of_a_machine(folder):
    run = load(folder)
    assert run.status in ("finished", "interrupted")
    assert [name for name, value in vars(run).items() if value is None] == []
    assert all(run.machine[key] for key in ("device", "hardware", "cores", "cpu_capability", "system"))
    assert all(run.machine["versions"][package] for package in ("python", "torch", "torchvision", "numpy"))
    assert re.fullmatch(r"[0-9a-f]{40}\+?", run.commit)
    assert MACHINE_PATH.findall((folder / "run.json").read_text()) == []
    measured = {"inside.json", *(f"{name}.safetensors" for name in SURFACES)}
    files = {"run.json", "history.csv", "weights.safetensors", "predictions.safetensors"}
    assert {path.name for path in folder.iterdir()} <= files | measured


@recorded
def test_recorded_run_can_be_repeated_by_its_command(folder):
    run = load(folder)
    program, words = run.command.split(" train ")
    assert program == "python -m resnet_lesson"
    args = cli.parser().parse_args(["train", *words.split()])
    assert (args.network, args.recipe, args.seed) == (run.network["name"], run.recipe["name"], run.seed)
    assert args.dataset == "cifar10"
    assert args.iterations in (None, run.recipe["iterations"])
    assert run.network["seed"] == run.seed


@recorded
def test_recorded_weights_fit_the_network_of_the_record(folder):
    run = load(folder)
    if not (folder / "weights.safetensors").exists():
        pytest.skip(f"{run.name} was recorded without weights")
    network = run.load_weights(built(run))
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())
    assert not torch.equal(network.fc.weight, built(run).fc.weight)
    counts = [int(value) for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")]
    assert max(counts) == run.recipe["iterations"]  # less in blocks that stochastic depth left out
    assert min(counts) == max(counts) or run.network["name"].startswith("sd")


@pytest.fixture(scope="module")
def cifar():
    """The real training and test set, read once; only if it is there, so nothing is fetched."""
    folder = REPO / "data" / "cifar-10-batches-py"
    if not all((folder / name).exists() for name in CIFAR10_MD5):
        pytest.skip(f"CIFAR-10 is not in {folder}: `python -m resnet_lesson data` puts it there")
    return cifar10(REPO / "data")


@pytest.mark.slow
@recorded
def test_recorded_weights_reproduce_the_recorded_test_error(folder, cifar):
    """On the first 1,000 test images of CIFAR-10; what the record says of the other 9,000, its predictions tell."""
    run = load(folder)
    train_set, test_set = cifar
    if run.data["name"] != "cifar10" or not (folder / "weights.safetensors").exists():
        pytest.skip(f"{run.name} has no weights trained on CIFAR-10")
    assert run.data["train"] == {"images": 50_000, "sha256": train_set.sha256}
    assert run.data["test"] == {"images": 10_000, "sha256": test_set.sha256}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = run.load_weights(built(run)).to(device, memory_format=torch.channels_last)
    norm = Normalisation.of(train_set, run.recipe["normalisation"])
    batches = Batches(test_set.take(1000), 250, norm, device=device)
    loss, error = evaluate(network, batches)
    logits, labels = run.predictions()
    recorded_loss, recorded_error = score(logits[:1000], labels[:1000])
    # Another order of adding up moves an image across the border; a record in bfloat16 moves more.
    assert error == pytest.approx(recorded_error, abs=0.0015 if run.precision == "float32" else 0.006)
    assert loss == pytest.approx(recorded_loss, rel=0.005 if run.precision == "float32" else 0.02)
    assert score(logits, labels)[1] == pytest.approx(run.final("test_error"), abs=0.0005)


FOUR = ("plain20", "plain56", "resnet20", "resnet56")


@pytest.mark.parametrize("recipe", ["paper", "short"])
def test_in_the_recorded_runs_depth_harms_the_plain_network_and_not_the_residual_one(recipe):
    runs = {name: load(REPO / "data" / "runs" / f"{recipe}-{name}-seed0") for name in FOUR}
    error = {name: runs[name].final("train_error") for name in FOUR}
    assert error["plain56"] > error["plain20"], error
    assert error["resnet56"] < error["plain56"], error
    for name in ("data", "recipe", "precision"):
        assert all(getattr(runs[network], name) == getattr(runs["plain20"], name) for network in FOUR), name


def test_nobody_is_told_to_delete_a_record_of_the_course(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "shipped", lambda: tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "run.json").write_text("{")
    with pytest.raises(LessonError, match="get it from there again"):
        load(tmp_path / "one")
