"""The record of a training: what was trained, how, on what data, and with what result. One folder per run.

run.json                 network, recipe, data, seed, hardware, versions, command, commit, time, status
history.csv              a row per epoch, or more
weights.safetensors      the network at the end (for runs whose weights are worth keeping)
predictions.safetensors  the network's logits for the test images, and the images' labels
"""

import csv
import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from .. import machine
from ..datasets.dataset import Dataset
from ..errors import LessonError, unknown
from ..files import replace_file
from .identity import answer_of, put_state, state_of

T = TypeVar("T")
COLUMNS = {  # of history.csv, in order
    "epoch": int,
    "iteration": int,  # steps done
    "lr": float,  # of the last step
    "train_loss": float,  # mean since the row before, in training mode, on the augmented images
    "train_error": float,  # share of wrong answers, 0 to 1, likewise
    "test_loss": float,
    "test_error": float,
    "seconds": float,  # of training so far, evaluation included
}


@contextmanager
def claimed(folder: Path | None) -> Iterator[None]:
    """Reserve the folder for this process. Raises LessonError while another process has it.

    The system releases the lock when its process ends, however that happens.
    """
    if folder is None:
        yield
        return
    key = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    lock = FileLock(Path(tempfile.gettempdir()) / f"resnet-lesson-{key}.lock", timeout=0, mode=0o666)
    try:
        lock.acquire()
    except Timeout:
        raise LessonError(
            f"Another process is already training into {folder}: wait for it, or choose another folder."
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Inside, a failure to write into a run's folder becomes a LessonError of one line."""
    try:
        yield
    except OSError as error:
        raise LessonError(
            f"The run cannot be recorded in {folder} ({error.strerror or error}): free some space there, or choose "
            "another folder (out=..., or --out at the command line)."
        ) from error


@dataclass
class Run:
    """A training, still running or finished. `history` has one dict per row, with the keys of `COLUMNS`.

    machine, commit, threads, captured: of the process that trained last. earlier: the same for each machine or commit
    that trained before it, with the iteration (`until`) at which it stopped.
    status: "running", "interrupted", "diverged" or "finished". folder: where it is recorded, or None.
    live: trained in this session, not read from a record.
    """

    network: dict
    recipe: dict
    data: dict
    seed: int
    precision: str
    threads: int
    machine: dict
    processes: int = 1
    captured: bool = False
    command: str | None = None
    commit: str | None = None
    started: str | None = None
    earlier: list[dict] = field(default_factory=list)
    status: str = "running"
    history: list[dict] = field(default_factory=list)
    folder: Path | None = None
    live: bool = False

    @property
    def name(self) -> str:
        return self.folder.name if self.folder else f"{self.network['name']} {self.recipe['name']}"

    @property
    def hardware(self) -> str:
        """What it was trained on; if it was continued elsewhere, all machines in order."""
        machines = [*(part["machine"] for part in self.earlier), self.machine]
        return ", then ".join(name for name, _ in groupby(machine["hardware"] for machine in machines))

    @property
    def seconds(self) -> float:
        """Wall time of the training so far, without the pauses between interruption and resumption."""
        return self.history[-1]["seconds"] if self.history else 0.0

    def column(self, name: str) -> list:
        """One column of the history."""
        return [row[name] for row in self.history]

    def final(self, name: str = "test_error") -> float:
        """A column's value in the last row: the result. Choosing the best epoch would mean looking at the test set."""
        return self.history[-1][name]

    def save(self) -> None:
        """Write run.json and history.csv into `folder`, each atomically."""
        table = io.StringIO()
        writer = csv.DictWriter(table, list(COLUMNS), lineterminator="\n")
        writer.writeheader()
        for row in self.history:
            writer.writerow({key: f"{row[key]:.7g}" if kind is float else row[key] for key, kind in COLUMNS.items()})
        record = {key: value for key, value in asdict(self).items() if key not in ("history", "folder", "live")}
        text = json.dumps(record, indent=2) + "\n"
        with writing(self.folder):
            replace_file(self.folder / "history.csv", lambda file: file.write(table.getvalue().encode()))
            replace_file(self.folder / "run.json", lambda file: file.write(text.encode()))

    def save_weights(self, network: nn.Module, image: tuple[int, ...]) -> None:
        """Write weights.safetensors: weights and BN statistics, and the network's output for a fixed image of that
        size, (C, H, W), so that the weights are never loaded into a network that computes something else."""
        weights = {name: tensor.contiguous() for name, tensor in state_of(network).items()}
        content = save(weights, metadata={"answer": json.dumps(answer_of(network, image))})
        with writing(self.folder):
            replace_file(self.folder / "weights.safetensors", lambda file: file.write(content))

    def load_weights(self, network: nn.Module) -> nn.Module:
        """Load the recorded weights into a network that was built in the same way, and return it.

        Raises LessonError if the file is missing or damaged, or if its network had other weights or another forward.
        """
        path = self._kept("weights")
        try:
            with safe_open(path, "pt") as file:
                answer = json.loads((file.metadata() or {}).get("answer", "null"))
            put_state(network, load_file(path), answer)
        except (SafetensorError, RuntimeError, ValueError) as error:
            why = f"{path} is damaged, or does not belong to this {type(network).__name__} ({type(error).__name__})"
            raise LessonError(f"{why}: build the network that run.json names, or copy the file again.") from error
        return network

    def _kept(self, what: str) -> Path:
        """The file of the weights or of the predictions. Raises LessonError if it is missing."""
        path = (self.folder or Path("no folder")) / f"{what}.safetensors"
        if not path.exists():
            raise LessonError(
                f"The run {self.name} was recorded without {what}: {path} does not exist. "
                "Copy it there, or train again in another folder."
            )
        return path

    def check_data(self, train_set: Dataset, test_set: Dataset) -> None:
        """Raise LessonError if these are not the images that the run was trained and tested on."""
        if (train_set.sha256, test_set.sha256) != tuple(self.data[part]["sha256"] for part in ("train", "test")):
            raise LessonError(f"{self.name} was trained on other images: use the data set that its run.json names.")

    def save_predictions(self, logits: Tensor, labels: Tensor) -> None:
        """Write the logits (N, classes) and labels (N,) as predictions.safetensors.

        Each image's logits are shifted so that the largest is 0, which changes no probability. Half precision, which is
        finest near 0, then neither overflows nor mistakes the second-best answer for the best.
        """
        shifted = (logits - logits.amax(1, keepdim=True)).clamp(min=-60_000)
        tensors = {"logits": shifted.half(), "labels": labels.to(torch.int16)}
        with writing(self.folder):
            replace_file(self.folder / "predictions.safetensors", lambda file: file.write(save(tensors)))

    def predictions(self) -> tuple[Tensor, Tensor]:
        """The recorded logits (N, classes) of the test images in order, with 0 as the largest of each image, and the
        labels (N,). Raises LessonError if the file is missing or damaged."""
        path = self._kept("predictions")
        try:
            tensors = load_file(path)
            return tensors["logits"].float(), tensors["labels"].long()
        except (SafetensorError, KeyError) as error:
            raise LessonError(f"{path} is damaged ({error}): copy it again, or train again.") from error


def name_of(network: str, recipe: str, seed: int, dataset: str = "cifar10", iterations: int | None = None) -> str:
    """The name of a run's folder: recipe, network and seed, and anything else that is unusual."""
    name = f"{recipe}-{network}-seed{seed}"
    if dataset != "cifar10":
        name += f"-{dataset}"
    return f"{name}-{iterations}steps" if iterations else name


def load(folder: Path | str) -> Run:
    """Read a recorded run. Raises LessonError if the record is missing or incomplete."""
    folder = Path(folder)
    if not os.path.exists(folder / "run.json"):
        there = sorted(path.parent.name for path in folder.parent.glob("*/run.json"))
        raise LessonError(unknown("recorded run", folder.name, there))
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        with open(folder / "history.csv", encoding="utf-8", newline="") as file:
            rows = [{key: kind(row[key]) for key, kind in COLUMNS.items()} for row in csv.DictReader(file)]
        known = {f.name for f in fields(Run)}
        run = Run(**{key: value for key, value in record.items() if key in known}, history=rows, folder=folder)
        shown = [run.network["name"], run.recipe["name"], run.data["name"], run.hardware]  # in every list
        if not all(isinstance(one, str) for one in shown):
            raise ValueError("a name in run.json is not text")
        if run.status == "finished" and not rows:
            raise ValueError("history.csv has no rows")
        return run
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        again = "delete it and train again"
        if shipped() in folder.parents:
            again = "it comes with the course, so get it from there again (git checkout, or pip install)"
        raise LessonError(f"The record in {folder} cannot be read ({error}): {again}.") from error


def shipped() -> Path:
    """The folder of the runs that come with the course: in a clone data/runs, else in the installed package."""
    here = machine.DATA / "runs"
    spec = None if here.exists() else find_spec("resnet_lesson_runs")
    return Path(spec.submodule_search_locations[0]) if spec else here


def refuse_shipped(folder: Path | None) -> None:
    """Raise LessonError if a new record would end up among those that come with the course."""
    courses = shipped().resolve()
    if folder and courses in (folder.resolve(), *folder.resolve().parents):
        raise LessonError(f"{folder} belongs to the course's own records: choose another folder, or give none.")


def recorded(name: str) -> Run:
    """The run of that name that comes with the course. Raises LessonError with the nearest name if there is none."""
    return load(shipped() / name)


def own() -> Path:
    """The folder of the runs that you train with the commands, apart from those that come with the course."""
    return machine.DATA / "my-runs"


def list_runs(root: Path | str | None = None) -> list[Run]:
    """All recorded runs under `root`, sorted by name; by default those of the course.

    A run that cannot be read is left out, and a line on stderr says so.
    """
    return readable(load, Path(root or shipped()).glob("*/run.json"))


def readable(read: Callable[[Path], T], files: Iterable[Path]) -> list[T]:
    """What `read` returns for the folders of these files, by name; a line on stderr for each that it cannot read."""
    found = []
    for path in sorted(files):
        try:
            found.append(read(path.parent))
        except LessonError as error:
            print(error, file=sys.stderr)
    return found
