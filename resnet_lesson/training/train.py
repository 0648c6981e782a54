"""Training: the loop of the paper's section 4.2, and what it takes to stop it and resume it safely."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

from .. import machine
from ..datasets.dataset import Dataset
from . import parallel
from .captured import repeats_itself
from .checkpoints import stop_requests
from .checks import check_sets
from .identity import digest_of, plain
from .recipes import Recipe
from .recipes import recipe as recipe_by_name
from .runs import Run, claimed, refuse_shipped
from .session import Session


def train(
    network: nn.Module,
    train_set: Dataset,
    test_set: Dataset,
    recipe: Recipe | str = "demo",
    *,
    seed: int = 0,
    out: Path | str | None = None,
    device: torch.device | str | None = None,
    precision: str | None = None,
    captured: bool | None = None,
    progress: bool = True,
    observers: Iterable[Callable[[Run], None]] = (),
    record_every: int | None = None,
    checkpoint_every: float = 60.0,
) -> Run:
    """Train a network in place by a recipe; return the run's record.

    seed: fixes the order, crops and flips of the images. If the network is built from a seed too, the same machine
        gives the same weights, bit for bit on a CPU.
    out: a folder for the record, the weights, the logits for the test images and, during training, a checkpoint
        every `checkpoint_every` seconds. The same call with the same folder goes on where the last one stopped.
    device, precision ("float32" or "bfloat16"): by default chosen for this machine; recorded.
    captured: whether a step is one CUDA graph (captured.py). This is possible on a GPU, in a single process, if every
        step performs the same operations; by default it is done for networks made by `build`; recorded.
    observers: each is called with the run whenever its history has a new row, and once if the run was already finished.
    record_every: iterations from one row of the history, with its evaluation, to the next (default: an epoch).

    Ctrl-C (or the notebook's stop button) finishes the step, saves, and returns the run so far.
    Under `torchrun`, several processes share each batch (see parallel.py); process 0 evaluates, records and prints.
    Raises ValueError or LessonError before the first step if something cannot work (`check_sets`, an unknown recipe or
    precision, a step that cannot be captured, a folder with a different run or without write access), and Diverged as
    soon as the loss is no longer a useful number.
    """
    recipe = recipe_by_name(recipe) if isinstance(recipe, str) else recipe
    device, seed = machine.pick_device(device), machine.checked_seed(seed)
    precision = precision or machine.pick_precision(device)
    machine.autocast(device, precision)  # an unknown precision is reported before anything starts
    captured = _is_captured(captured, network, device)
    parallel.check_shares(len(train_set), recipe.batch_size)
    check_sets(network, train_set, test_set, recipe)
    folder = None if out is None else Path(out)
    refuse_shipped(folder)

    how = dict(seed=seed, precision=precision, captured=captured, folder=folder)
    run = _record(network, train_set, test_set, recipe, device, **how)
    first, observers = parallel.rank() == 0, list(observers)
    with claimed(run.folder if first else None), stop_requests() as stop:
        sets = train_set, test_set
        session = Session(run, network, sets, recipe, device, stop, observers, record_every, checkpoint_every)
        if run.status == "finished":
            for observer in observers if first else ():
                observer(run)
            return run
        session.take_steps(progress and first)
        if first:
            session.end()
    return run


def _is_captured(asked: bool | None, network: nn.Module, device: torch.device) -> bool:
    """Whether a step will be one CUDA graph. Raises ValueError if that was asked for but is not possible."""
    possible = device.type == "cuda" and parallel.size() == 1 and repeats_itself(network)
    if asked and not possible:
        raise ValueError(
            "A step can be captured only on a GPU, in a single process, and only if the network leaves out no blocks "
            "at random and has no hooks: leave `captured` out."
        )
    return possible and getattr(network, "spec", None) is not None if asked is None else asked


def _record(
    network: nn.Module, train_set: Dataset, test_set: Dataset, recipe: Recipe, device: torch.device, **how
) -> Run:
    """The record of a training that is about to begin; `how`: its seed and the other choices of `train`."""
    spec = getattr(plain(network), "spec", None)
    return Run(
        network={
            **(spec or {"name": type(plain(network)).__name__, "seed": None, "options": {}}),
            "digest": digest_of(network),
        },
        recipe=asdict(recipe),
        data={
            "name": train_set.name,
            "train": train_set.identity,
            "test": test_set.identity,
        },
        threads=torch.get_num_threads(),
        machine=machine.describe(device),
        processes=parallel.size(),
        command=machine.command(),
        commit=machine.commit(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        live=True,
        **how,
    )
