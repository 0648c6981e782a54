"""Training: the loop of the paper's section 4.2, with what makes it safe to stop and start again."""

import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from . import machine
from .batches import Batches, Normalisation
from .datasets import Dataset
from .errors import LessonError
from .recipes import Recipe
from .recipes import recipe as recipe_by_name
from .runs import Run, load


class Diverged(LessonError):
    """The loss is no longer a useful number."""


@torch.no_grad()
def evaluate(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], precision: str = "float32") -> tuple[float, float]:
    """Mean cross-entropy and share of wrong answers (0 to 1), in evaluation mode.

    The network's mode is put back afterwards.
    """
    was_training = network.training
    network.eval()
    loss = wrong = seen = 0
    for images, labels in batches:
        with machine.autocast(images.device, precision):
            logits = network(images).float()
        loss = loss + F.cross_entropy(logits, labels, reduction="sum")
        wrong = wrong + (logits.argmax(1) != labels).sum()
        seen += len(labels)
    network.train(was_training)
    return float(loss) / seen, float(wrong) / seen


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
    compiled: bool | None = None,
    progress: bool = True,
    observers: Iterable[Callable[[Run], None]] = (),
    checkpoint_every: float = 60.0,
    keep_weights: bool = True,
) -> Run:
    """Train a network in place by a recipe; return the run's record.

    seed: fixes the order, crops and flips of the images. With the network built from a seed, the
        same machine gives the same weights, bit for bit on a CPU.
    out: a folder for the record and, while training goes on, a checkpoint every `checkpoint_every`
        seconds. The same call with the same folder goes on where the last one stopped.
    device, precision, compiled: picked for this machine unless given, and recorded.
    observers: called with the run after every epoch.

    Ctrl-C (or the notebook's stop button) finishes the step, saves, and returns the run so far.
    Raises Diverged when the loss is no longer a number, ValueError for an unknown recipe, and
    LessonError when `out` holds another run.
    """
    recipe = recipe_by_name(recipe) if isinstance(recipe, str) else recipe
    device = torch.device(device) if device else machine.pick_device()
    precision = precision or machine.pick_precision(device)
    compiled = machine.pick_compile(device, recipe.iterations) if compiled is None else compiled
    machine.autocast(device, precision)  # raises for an unknown precision before anything is started

    network.to(device, memory_format=torch.channels_last)
    normalisation = Normalisation.of(train_set, recipe.normalisation)
    common = dict(batch_size=recipe.batch_size, normalisation=normalisation, device=device)
    batches = Batches(train_set, padding=recipe.padding, flip=recipe.flip, shuffle=True, seed=seed, **common)
    test_batches = Batches(test_set, **common)
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        foreach=True,
    )
    run = Run(
        network=getattr(network, "spec", None) or {"name": type(network).__name__, "seed": None, "options": {}},
        recipe=asdict(recipe),
        data={
            "name": train_set.name,
            "train": {"images": len(train_set), "sha256": train_set.sha256},
            "test": {"images": len(test_set), "sha256": test_set.sha256},
        },
        seed=seed,
        precision=precision,
        compiled=compiled,
        threads=torch.get_num_threads(),
        machine=machine.describe(device),
        command=" ".join(["python -m resnet_lesson", *sys.argv[1:]]) if "resnet_lesson" in sys.argv[0] else None,
        commit=commit(),
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        folder=Path(out) if out else None,
    )
    state = {"iteration": 0, "loss": 0.0, "wrong": 0.0, "seen": 0, "seconds": 0.0}
    if run.folder:
        state = resume(run, network, optimiser, state)
        if run.status == "finished":
            return run
        run.save()
    model = torch.compile(network) if compiled else network
    _loop(run, state, recipe, network, model, optimiser, batches, test_batches, progress, observers, checkpoint_every)
    if run.folder and run.status == "finished":
        if keep_weights:
            run.save_weights(network)
        run.save()
        (run.folder / "checkpoint.pt").unlink(missing_ok=True)
    return run


def _loop(run, state, recipe, network, model, optimiser, batches, test_batches, progress, observers, checkpoint_every):
    per_epoch, device = len(batches), batches.device
    sums = torch.tensor([state["loss"], state["wrong"]], device=device, dtype=torch.float64)
    iteration, seen, before = state["iteration"], state["seen"], state["seconds"]
    start = checked = saved = time.monotonic()

    def checkpoint() -> None:
        loss, wrong = sums.tolist()
        seconds = before + time.monotonic() - start
        save_checkpoint(
            run, network, optimiser, dict(iteration=iteration, loss=loss, wrong=wrong, seen=seen, seconds=seconds)
        )

    total = _images(recipe.iterations, batches)
    bar = tqdm(
        total=total, initial=_images(iteration, batches), unit="img", unit_scale=True, disable=not progress, leave=False,
        desc=run.network["name"],
    )  # fmt: skip
    with _stop_requests() as stop, bar:
        network.train()
        while iteration < recipe.iterations:
            epoch, first = divmod(iteration, per_epoch)
            for images, labels in batches.epoch(epoch, first):
                lr = optimiser.param_groups[0]["lr"] = recipe.lr_at(iteration)
                with machine.autocast(device, run.precision):
                    logits = model(images)
                loss = F.cross_entropy(logits.float(), labels)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                iteration += 1
                seen += len(labels)
                # Sums stay on the device: reading a number each step would make a GPU wait for it.
                sums += torch.stack([loss.detach() * len(labels), (logits.argmax(1) != labels).sum()])
                bar.update(len(labels))

                now = time.monotonic()
                done = iteration % per_epoch == 0 or iteration == recipe.iterations
                if done or stop.requested or now - checked > 1:
                    checked = now
                    _check(sums, seen, loss, run, iteration, lr)
                    bar.set_postfix_str(f"loss {sums[0] / seen:.3f}, error {sums[1] / seen:.1%}", refresh=False)
                if done:
                    test_loss, test_error = evaluate(network, test_batches, run.precision)
                    run.history.append(
                        dict(
                            epoch=epoch + 1,
                            iteration=iteration,
                            lr=lr,
                            train_loss=float(sums[0]) / seen,
                            train_error=float(sums[1]) / seen,
                            test_loss=test_loss,
                            test_error=test_error,
                            seconds=before + time.monotonic() - start,
                        )
                    )
                    sums.zero_()
                    seen = 0
                    if iteration == recipe.iterations:
                        run.status = "finished"
                    if run.folder:
                        checkpoint()
                        saved = now
                    for observer in observers:
                        observer(run)
                elif run.folder and now - saved > checkpoint_every:
                    checkpoint()
                    saved = now
                if stop.requested and run.status != "finished":
                    run.status = "interrupted"
                    if run.folder:
                        checkpoint()
                    how = "The same call with the same folder goes on from here." if run.folder else (
                        "Nothing was written, because no folder was given (out=...)."
                    )  # fmt: skip
                    print(f"Stopped after {iteration} of {recipe.iterations} iterations. {how}")
                    return
                if iteration == recipe.iterations:
                    return


def _images(iterations: int, batches: Batches) -> int:
    """How many images that many iterations see (the last batch of an epoch may be smaller)."""
    epochs, rest = divmod(iterations, len(batches))
    return epochs * len(batches.dataset) + rest * batches.batch_size


def _check(sums: Tensor, seen: int, loss: Tensor, run: Run, iteration: int, lr: float) -> None:
    value = float(loss.detach())
    if math.isfinite(value) and math.isfinite(float(sums[0])) and value < 1000:
        return
    run.status = "diverged"
    if run.folder:
        run.save()
    raise Diverged(
        f"The loss became {value:.3g} by iteration {iteration}, at learning rate {lr:.3g}: training diverged. "
        f"Try a lower learning rate (the recipe '{run.recipe['name']}' goes up to {run.recipe['lr']:g})"
        + (", or precision='float32'." if run.precision != "float32" else ".")
    )


class _Stop:
    requested = False


@contextmanager
def _stop_requests():
    """Ctrl-C only asks, and the loop stops between two steps; a second Ctrl-C stops at once."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield stop
        return

    def ask(signum, frame):
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    old = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, old)


def save_checkpoint(run: Run, network: nn.Module, optimiser: torch.optim.Optimizer, state: dict) -> None:
    """Write all that is needed to go on; the record first, so that it is never ahead of the weights."""
    run.save()
    partial = run.folder / "checkpoint.pt.partial"
    content = {
        "state": state,
        "history": run.history,
        "started": run.started,
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    torch.save(content, partial)
    partial.replace(run.folder / "checkpoint.pt")


SAME = ("network", "recipe", "data", "seed", "precision", "compiled")


def resume(run: Run, network: nn.Module, optimiser: torch.optim.Optimizer, state: dict) -> dict:
    """Continue the run in `run.folder`, if there is one: fill in `run`, network and optimiser.

    Returns the state of the loop. Raises LessonError if the folder holds a different run.
    """
    if not (run.folder / "run.json").exists():
        return state
    old = load(run.folder)
    new_record, old_record = (_plain({key: getattr(r, key) for key in SAME}) for r in (run, old))
    different = [key for key in SAME if new_record[key] != old_record[key]]
    if different:
        raise LessonError(
            f"{run.folder} holds another run: its {' and '.join(different)} differ"
            f"{'s' if len(different) == 1 else ''}. Choose another folder, or delete that one."
        )
    if old.status == "finished":
        run.__dict__.update(old.__dict__)
        if (run.folder / "weights.safetensors").exists():
            run.load_weights(network)
        return state
    path = run.folder / "checkpoint.pt"
    if not path.exists():
        return state
    saved = torch.load(path, weights_only=True, map_location="cpu")
    network.load_state_dict(saved["network"])
    optimiser.load_state_dict(saved["optimiser"])
    run.history, run.started = saved["history"], saved["started"]
    return saved["state"]


def _plain(record: dict) -> dict:
    """As it comes back from JSON: tuples are lists."""
    import json

    return json.loads(json.dumps(record))


def commit() -> str | None:
    """The git commit of the code, with "+" after it if files were changed since; None outside a clone."""
    here = Path(__file__).parent
    try:
        ask = dict(cwd=here, capture_output=True, text=True, timeout=10, check=True)
        revision = subprocess.run(["git", "rev-parse", "HEAD"], **ask).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no", "."], **ask).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return revision + ("+" if changed else "")
