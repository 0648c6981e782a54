"""Stopping and going on: Ctrl-C between two steps, checkpoints, resuming."""

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event

import torch
from torch import nn

from ..errors import LessonError
from ..files import replace_file
from .identity import Answer, OtherNetwork, put_state, state_of
from .loop import Meter
from .runs import Run, load, writing

SAME = ("network", "recipe", "data", "seed", "precision", "processes")  # what makes it the same run


@contextmanager
def stop_requests() -> Iterator[Event]:
    """Within it, Ctrl-C only sets the event, so that a step is never left half done; a second one stops at once."""
    stop = Event()
    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield stop
        return

    def ask(signum, frame):
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def try_folder(run: Run, network: nn.Module) -> None:
    """Write the record of the training that begins.

    Raises LessonError where it cannot be written, or the disk has too little room for weights and momentum, and for
    both once more while a checkpoint takes the place of the one before.
    """
    new = not (run.folder / "run.json").exists()
    run.save()
    needed = 4 * sum(tensor.nbytes for tensor in network.state_dict().values())
    free = shutil.disk_usage(run.folder).free
    if free < needed:
        if new:  # a record of a training that never began
            (run.folder / "run.json").unlink()
            (run.folder / "history.csv").unlink()
        raise LessonError(
            f"{run.folder} has {free / 1e6:,.0f} MB free, and the checkpoints of this training need "
            f"{needed / 1e6:,.0f} MB: free some space there, or choose another folder."
        )


def save_checkpoint(
    run: Run,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    *,
    answer: Answer | None,
    sums: Sequence[float],
    iteration: int,
    seconds: float,
) -> None:
    """Write run.json, history.csv and checkpoint.pt, each replaced atomically.

    answer: as `answer_of` gives it. sums: of loss, wrong answers and images since the last row.
    Raises LessonError where they cannot be written.
    """
    content = {
        "network": state_of(network),
        "answer": answer,
        "optimiser": optimiser.state_dict(),
        "history": run.history,
        "started": run.started,
        "iteration": iteration,
        "seconds": seconds,
        "sums": list(sums),
    }
    run.save()
    with writing(run.folder):
        replace_file(run.folder / "checkpoint.pt", lambda file: torch.save(content, file))


def resume(run: Run, network: nn.Module, optimiser: torch.optim.Optimizer, meter: Meter) -> tuple[int, float]:
    """Take up the run in `run.folder`, if there is one; return its iteration and seconds so far.

    Fills in `run`, network, optimiser and meter. Raises LessonError if the folder holds another run, or an unfinished
    one without its checkpoint.
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
        if old.status == "interrupted":  # a record that was passed on: training anew would write over it
            raise LessonError(
                f"{run.folder} holds the record of an unfinished run without its checkpoint, so it cannot go on: "
                "choose another folder, or delete that one."
            )
        return 0, 0.0
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        put_state(network, saved["network"], saved.get("answer"))
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
    """Raise LessonError where the record in the folder is of another run than the one that is about to begin."""
    here = json.loads(json.dumps({key: getattr(run, key) for key in SAME}))  # tuples become lists, as in the file
    if "digest" not in old.network:  # recorded before there was one
        here["network"].pop("digest")
    different = [key for key in SAME if here[key] != getattr(old, key)]
    if different == ["precision"]:
        raise LessonError(
            f"{run.folder} was trained in {old.precision}: precision={old.precision!r} goes on with it "
            f"(--precision {old.precision} at the command line)."
        )
    if different:
        raise LessonError(
            f"{run.folder} holds another run, with another {' and '.join(different)}. "
            "Choose another folder, or delete that one."
        )
