"""Training: the loop of the paper's section 4.2, with what makes it safe to stop and start again."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .. import machine
from ..datasets.batches import Batches, Normalisation, check_channels
from ..datasets.dataset import Dataset
from ..errors import LessonError
from . import parallel
from .captured import Captured, repeats_itself
from .checkpoints import Meter, resume, save_checkpoint, stop_requests
from .evaluation import predict, score
from .loop import step
from .recipes import Recipe
from .recipes import recipe as recipe_by_name
from .runs import Run, claimed

TEST_PIXELS = 1000 * 32 * 32  # in a batch of test images on a GPU


class Diverged(LessonError):
    """The loss is no longer a useful number."""


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

    seed: fixes the order, crops and flips of the images. With the network built from a seed too, the
        same machine gives the same weights, bit for bit on a CPU.
    out: a folder for the record, the weights, the test images' logits and, while training goes on, a checkpoint
        every `checkpoint_every` seconds. The same call with the same folder goes on where the last one stopped.
    device, precision ("float32" or "bfloat16"): picked for this machine unless given; recorded.
    captured: whether a step is one CUDA graph (captured.py): possible on a GPU, in a single process, and only where
        every step does the same operations. By default networks made by `build` are; recorded.
    observers: each is called with the run whenever its history has a new row, and once if the run was finished before.
    record_every: iterations from one row of the history, with its evaluation, to the next (default: an epoch).

    Ctrl-C (or the notebook's stop button) finishes the step, saves, and returns the run so far.
    Under `torchrun`, several processes share each batch (see parallel.py); process 0 evaluates, records and speaks.
    Raises Diverged when the loss is no longer a useful number, ValueError for an unknown recipe or precision, a
    `record_every` below 1 or a step that cannot be captured here, and LessonError when `out` holds another run or the
    network cannot be captured.
    """
    recipe = recipe_by_name(recipe) if isinstance(recipe, str) else recipe
    device = torch.device(device) if device else machine.pick_device()
    precision = precision or machine.pick_precision(device)
    machine.autocast(device, precision)  # an unknown precision is said before anything is started
    can_capture = device.type == "cuda" and parallel.size() == 1 and repeats_itself(network)
    if captured is None:
        captured = can_capture and getattr(network, "spec", None) is not None
    if captured and not can_capture:
        raise ValueError(
            "A step can be captured only on a GPU, in a single process, and where the network leaves out no blocks at "
            "random, recomputes none and has no hooks: leave `captured` out."
        )
    if record_every is not None and record_every < 1:
        raise ValueError(f"record_every is a number of iterations, at least 1, not {record_every}.")
    check_channels(network, train_set)
    rank, processes = parallel.rank(), parallel.size()
    parallel.check_shares(len(train_set), recipe.batch_size)
    if device.type == "cpu":
        machine.keep_freed_memory()

    network.to(device, memory_format=torch.channels_last)
    model = parallel.wrap(network)
    normalisation = Normalisation.of(train_set, recipe.normalisation)
    batches = Batches(
        train_set,
        recipe.batch_size,
        normalisation,
        padding=recipe.padding,
        flip=recipe.flip,
        shuffle=True,
        seed=seed,
        share=(rank, processes),
        device=device,
    )
    test_batch = recipe.batch_size
    if device.type != "cpu":  # few launches
        test_batch = max(test_batch, TEST_PIXELS // math.prod(batches.size))
    test_batches = Batches(test_set, test_batch, normalisation, device=device)
    # A captured step reads its learning rate from a place on the GPU.
    rate = torch.tensor(recipe.lr, device=device) if captured else recipe.lr
    kernels = {"fused": captured or None, "foreach": not captured or None}
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        **kernels,
    )
    how = dict(
        seed=seed, precision=precision, captured=captured, processes=processes, folder=Path(out) if out else None
    )
    run = _record(network, train_set, test_set, recipe, device, **how)
    meter = Meter(device)
    first, seconds_before = resume(run, network, optimiser, meter) if run.folder else (0, 0.0)
    if run.status == "finished":
        for observer in observers if rank == 0 else ():
            observer(run)
        return run
    if rank:  # all have read the checkpoint before process 0 writes the next one: a step takes all of them
        run.folder = None
        meter.reset()

    optimiser.param_groups[0].update(lr=rate, **kernels)  # a checkpoint, perhaps of another machine, brings its own

    def take_step(draw: Tensor) -> Tensor:
        images, labels = batches.take(draw)
        loss, logits = step(model, images, labels, optimiser, precision=precision)
        meter.add(loss, logits, labels)
        return loss

    full_step = Captured(take_step) if captured else take_step

    begin = checked = saved = time.monotonic()

    def seconds() -> float:
        return seconds_before + time.monotonic() - begin

    bar = tqdm(
        total=_images(recipe.iterations, batches),
        initial=_images(first, batches),
        desc=run.network["name"],
        unit="img",
        unit_scale=True,
        disable=not progress or rank > 0,
        leave=False,
    )
    network.train()
    with claimed(run.folder), stop_requests() as stop, machine.chosen_kernels(captured), bar:
        for iteration, draw in batches.draws_of_steps(first, recipe.iterations):
            lr = recipe.lr_at(iteration)
            if captured:
                rate.fill_(lr)
            else:
                optimiser.param_groups[0]["lr"] = lr
            images = draw.shape[1] * processes
            with torch.random.fork_rng(devices=[]):  # what a network itself draws (stochastic depth) is the seed's, too
                torch.default_generator.manual_seed(seed * 1_000_003 + iteration)
                # The last batch of an epoch may be smaller, and a graph is of one size.
                loss = full_step(draw) if images == recipe.batch_size else take_step(draw)
            bar.update(images)

            done, now = iteration + 1, time.monotonic()
            row_due = done == recipe.iterations or (
                done % len(batches) == 0 if record_every is None else done % record_every == 0
            )
            save_due = run.folder is not None and now - saved > checkpoint_every
            stopping, save_due, check_due = parallel.agreed(done, stop.requested, save_due, now - checked > 1)
            keep = row_due or stopping or save_due
            if keep or check_due:  # nothing is kept unchecked
                checked = now
                last_loss = parallel.gather(meter, loss)
                train_loss, train_error = meter.means()
                _check(train_loss, last_loss, network, run, done, lr)
                bar.set_postfix_str(f"loss {train_loss:.3f}, error {train_error:.1%}", refresh=row_due)
            if row_due and rank == 0:
                predictions = predict(network, test_batches, precision)
                test_loss, test_error = score(*predictions)
                run.history.append(
                    dict(
                        epoch=-(-done // len(batches)),
                        iteration=done,
                        lr=lr,
                        train_loss=train_loss,
                        train_error=train_error,
                        test_loss=test_loss,
                        test_error=test_error,
                        seconds=seconds(),
                    )
                )
                for observer in observers:
                    observer(run)
            if row_due or (rank and (keep or check_due)):  # what was gathered is process 0's now
                meter.reset()
            if done == recipe.iterations:
                run.status = "finished"
                break
            if stopping:
                run.status = "interrupted"
            if run.folder and keep:
                saved = now
                save_checkpoint(run, network, optimiser, meter, done, seconds())
            if stopping:
                break
    if rank:
        return run
    if run.status == "interrupted":
        where = f"The same call or command goes on from here: {run.folder} has everything." if run.folder else (
            "It was not recorded: give a folder (out=...) to be able to go on."
        )  # fmt: skip
        print(f"Stopped after {done} of {recipe.iterations} iterations. {where}")
    elif run.folder:
        run.save_weights(network)
        run.save_predictions(*predictions)
        run.save()  # after the weights: a run that says "finished" has them
        (run.folder / "checkpoint.pt").unlink(missing_ok=True)
    return run


def _record(
    network: nn.Module, train_set: Dataset, test_set: Dataset, recipe: Recipe, device: torch.device, **how
) -> Run:
    """The record of a training that is about to begin; `how`: its seed and the other choices of `train`."""
    return Run(
        network=getattr(network, "spec", None) or {"name": type(network).__name__, "seed": None, "options": {}},
        recipe=asdict(recipe),
        data={
            "name": train_set.name,
            "train": {"images": len(train_set), "sha256": train_set.sha256},
            "test": {"images": len(test_set), "sha256": test_set.sha256},
        },
        threads=torch.get_num_threads(),
        machine=machine.describe(device),
        command=machine.command(),
        commit=machine.commit(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        live=True,
        **how,
    )


def _images(iterations: int, batches: Batches) -> int:
    """How many images that many iterations see (the last batch of an epoch may be smaller)."""
    epochs, rest = divmod(iterations, len(batches))
    return epochs * len(batches.dataset) + rest * batches.batch_size


def _check(mean_loss: float, last_loss: float, network: nn.Module, run: Run, iteration: int, lr: float) -> None:
    # With n classes, guessing costs ln(n): 2.3 for ten. A loss of 1000 learns nothing any more.
    learns = math.isfinite(mean_loss) and last_loss < 1000
    # The loss is from before the last step; that step may have broken the weights.
    if learns and torch.stack([weight.detach().sum() for weight in network.parameters()]).isfinite().all():
        return
    what = "the weights were no longer numbers" if learns else f"the loss was {last_loss:.3g}"
    run.status = "diverged"
    if run.folder:
        run.save()
    raise Diverged(
        f"Training diverged: {what} at iteration {iteration}, with learning rate {lr:.3g}. "
        f"Try a lower one than the {run.recipe['lr']:g} of the recipe '{run.recipe['name']}'"
        + (", or precision='float32'." if run.precision != "float32" else ".")
    )
