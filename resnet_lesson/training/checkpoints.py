"""Stopping and going on: Ctrl-C between two steps, checkpoints, resuming."""

import json
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import LessonError
from ..files import replace_file
from .runs import Run, load

SAME = ("network", "recipe", "data", "seed", "precision", "processes")  # what makes it the same run


class Meter:
    """Loss and error so far in an epoch. The sums are one tensor on the device, always the same one: a number read at
    each step would make a GPU wait, and a captured step (captured.py) writes to the place that it was recorded with."""

    def __init__(self, device: torch.device):
        self.sums = torch.zeros(3, dtype=torch.float64, device=device)  # of the loss, of the wrong answers, of images

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        wrong, images = (logits.argmax(1) != labels).sum(), torch.full_like(loss, len(labels))
        self.sums += torch.stack([loss.detach() * images, wrong, images])

    def means(self) -> tuple[float, float]:
        """Mean loss and error (0 to 1) of the images seen."""
        loss, wrong, images = self.sums.tolist()
        return loss / images, wrong / images

    def reset(self, sums: Sequence[float] = (0.0, 0.0, 0.0)) -> None:
        self.sums.copy_(torch.tensor(sums, dtype=torch.float64))


@dataclass
class Stop:
    requested: bool = False


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """Within it, Ctrl-C only asks to stop, so that a step is never left half done; a second one
    stops at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield stop
        return

    def ask(signum, frame):
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def save_checkpoint(
    run: Run, network: nn.Module, optimiser: torch.optim.Optimizer, meter: Meter, iteration: int, seconds: float
) -> None:
    """Write run.json, history.csv and checkpoint.pt: all that is needed to go on, replaced atomically."""
    run.save()
    content = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "history": run.history,
        "started": run.started,
        "iteration": iteration,
        "seconds": seconds,
        "sums": meter.sums.tolist(),
    }
    replace_file(run.folder / "checkpoint.pt", lambda file: torch.save(content, file))


def resume(run: Run, network: nn.Module, optimiser: torch.optim.Optimizer, meter: Meter) -> tuple[int, float]:
    """Take up the run in `run.folder`, if there is one; return its iteration and seconds so far.

    Fills in `run`, network, optimiser and meter. Raises LessonError if the folder holds another run, or an unfinished
    one without its checkpoint.
    """
    if not (run.folder / "run.json").exists():
        return 0, 0.0
    old = load(run.folder)
    here = json.loads(json.dumps({key: getattr(run, key) for key in SAME}))  # tuples become lists, as in the file
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
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        meter.reset(saved["sums"])
    except Exception as error:
        raise LessonError(
            f"{path} cannot be read ({type(error).__name__}): delete {run.folder} and train again."
        ) from error
    run.history, run.started, run.earlier = saved["history"], saved["started"], old.earlier
    if (old.machine, old.commit) != (run.machine, run.commit):  # a run may begin on a GPU and end on a laptop
        part = {key: getattr(old, key) for key in ("machine", "commit", "threads", "captured")}
        run.earlier = [*old.earlier, {"until": saved["iteration"], **part}]
    return saved["iteration"], saved["seconds"]
