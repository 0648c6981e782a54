"""Stopping and resuming: Ctrl-C between two steps, and checkpoints."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import torch
from torch import nn

from ..errors import LessonError
from ..files import replace_file
from .identity import OtherNetwork, put_state, state_of
from .loop import Meter
from .runs import Run, load, writing

SAME = ("network", "recipe", "data", "seed", "precision", "processes")  # what makes it the same run


@contextmanager
def stop_requests() -> Iterator[Event]:
    """Inside, Ctrl-C only sets the event, so that no step is left half done; a second Ctrl-C stops at once."""
    stop = Event()

    def ask(signum, frame):
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def save_checkpoint(run: Run, network: nn.Module, optimiser: torch.optim.Optimizer, **more) -> None:
    """Write run.json, history.csv and checkpoint.pt, each replaced atomically.

    more: iteration and seconds so far; answer, as `answer_of` gives it; sums of loss, wrong answers and images since
        the last row.
    Raises LessonError if they cannot be written.
    """
    state = {"network": state_of(network), "optimiser": optimiser.state_dict()}
    content = {**state, "history": run.history, "started": run.started, **more}
    run.save()
    with writing(run.folder):
        replace_file(run.folder / "checkpoint.pt", lambda file: torch.save(content, file))


def resume(run: Run, network: nn.Module, optimiser: torch.optim.Optimizer, meter: Meter) -> tuple[int, float]:
    """Resume the run in `run.folder`, if there is one; return its iteration and seconds so far.

    Fills in `run`, network, optimiser and meter. Raises LessonError if the folder contains a different run, or an
    unfinished one without its checkpoint.
    """
    if run.folder is None or not os.path.exists(run.folder / "run.json"):
        return 0, 0.0
    old = load(run.folder)
    _refuse_another(run, old)
    if old.status == "finished":
        run.__dict__.update(old.__dict__)
        run.load_weights(network)
        return run.recipe["iterations"], run.seconds
    path = run.folder / "checkpoint.pt"
    if not path.exists():
        if old.status == "interrupted":  # a record from somebody else: training from the start would overwrite it
            raise LessonError(
                f"{run.folder} has the record of an unfinished run, but not its checkpoint, so the run cannot go on: "
                "choose another folder, or delete that one."
            )
        return 0, 0.0
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        put_state(network, saved["network"], saved["answer"])
        optimiser.load_state_dict(saved["optimiser"])
        meter.reset(saved["sums"])
    except OtherNetwork:
        raise
    except Exception as error:
        raise LessonError(
            f"{path} cannot be read ({type(error).__name__}): delete {run.folder} and train again."
        ) from error
    run.history, run.started, run.earlier = saved["history"], saved["started"], old.earlier
    if (old.machine, old.commit) != (run.machine, run.commit):  # a run may begin on a GPU and end on a laptop
        part = {key: getattr(old, key) for key in ("machine", "commit", "threads", "captured")}
        run.earlier = [*old.earlier, {"until": saved["iteration"], **part}]
    return saved["iteration"], saved["seconds"]


def _refuse_another(run: Run, old: Run) -> None:
    """Raise LessonError if the record in the folder belongs to a different run from the one that is about to begin."""
    here = json.loads(json.dumps({key: getattr(run, key) for key in SAME}))  # tuples become lists, as in the file
    different = [key for key in SAME if here[key] != getattr(old, key)]
    if different:
        names = [f"precision ({old.precision})" if key == "precision" else key for key in different]
        raise LessonError(
            f"{run.folder} holds another run, with another {' and '.join(names)}. "
            "Choose another folder, or delete that one."
        )
