"""Training: the loop of the paper's section 4.2, with what makes it safe to stop and start again."""

import math
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import machine
from ..datasets.batches import Batches, Normalisation
from ..datasets.dataset import Dataset
from ..errors import LessonError
from . import parallel
from .captured import Captured, repeats_itself
from .checkpoints import resume, stop_requests
from .checks import check_sets
from .identity import digest_of, plain
from .listeners import Checkpoints, Clock, Measure, Progress, Rows, Training
from .loop import Meter, iterate, step
from .recipes import Recipe
from .recipes import recipe as recipe_by_name
from .runs import Run, claimed

TEST_PIXELS = 1000 * 32 * 32  # in a batch of test images on a GPU


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
    Raises ValueError or LessonError for what cannot go well (`check_sets`, an unknown recipe or precision, a step that
    cannot be captured here, a folder that holds another run or cannot be written), before the first step; and Diverged
    when the loss is no longer a useful number.
    """
    recipe = recipe_by_name(recipe) if isinstance(recipe, str) else recipe
    device, seed = machine.pick_device(device), machine.checked_seed(seed)
    precision = precision or machine.pick_precision(device)
    machine.autocast(device, precision)  # an unknown precision is said before anything is started
    captured = _is_captured(captured, network, device)
    if record_every is not None and record_every < 1:
        raise ValueError(f"record_every is a number of iterations, at least 1, not {record_every}.")
    parallel.check_shares(len(train_set), recipe.batch_size)
    check_sets(network, train_set, test_set, recipe.batch_size)

    how = dict(seed=seed, precision=precision, captured=captured, folder=Path(out) if out else None)
    run = _record(network, train_set, test_set, recipe, device, **how)
    with claimed(run.folder if parallel.rank() == 0 else None), stop_requests() as stop:
        training = _begin(run, network, train_set, test_set, recipe, device)
        if run.status == "finished":
            for observer in observers if parallel.rank() == 0 else ():
                observer(run)
            return run
        clock = Clock(training, stop, record_every, checkpoint_every)
        progress_bar = Progress(training, shown=progress and parallel.rank() == 0)
        rows = Rows(training, list(observers))
        listeners = [Measure(training), progress_bar, rows, Checkpoints(training)]

        def after_each_step(done: int, loss: Tensor) -> bool:
            moment = clock.moment(done, loss)
            for listener in listeners:
                listener(moment)
            return run.status != "running"

        with progress_bar, machine.chosen_kernels(captured):
            _take_steps(training, after_each_step)
        if parallel.rank() == 0:
            _end(training, rows.predictions)
    return run


def _is_captured(asked: bool | None, network: nn.Module, device: torch.device) -> bool:
    """Whether a step will be one CUDA graph. Raises ValueError where that was asked for and cannot be."""
    possible = device.type == "cuda" and parallel.size() == 1 and repeats_itself(network)
    if asked and not possible:
        raise ValueError(
            "A step can be captured only on a GPU, in a single process, and where the network leaves out no blocks at "
            "random, recomputes none and has no hooks: leave `captured` out."
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
            "train": {"images": len(train_set), "sha256": train_set.sha256},
            "test": {"images": len(test_set), "sha256": test_set.sha256},
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


def _begin(
    run: Run, network: nn.Module, train_set: Dataset, test_set: Dataset, recipe: Recipe, device: torch.device
) -> Training:
    """Put everything on the device, and take up what `run.folder` holds of this run."""
    network.to(device, memory_format=torch.channels_last)
    batches, test_batches = _batches(train_set, test_set, recipe, run.seed, device)
    # A captured step reads its learning rate from a place on the GPU, and needs other kernels.
    rate = torch.tensor(recipe.lr, device=device) if run.captured else recipe.lr
    kernels = {"fused": run.captured or None, "foreach": not run.captured or None}
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        **kernels,
    )
    meter = Meter(device)
    first, seconds = resume(run, network, optimiser, meter)
    optimiser.param_groups[0].update(lr=rate, **kernels)  # a checkpoint, perhaps of another machine, brings its own
    if parallel.rank():  # all read the checkpoint before process 0 writes the next one: a step takes all of them
        run.folder = None
        meter.reset()
    elif run.folder and run.status != "finished":
        _try_folder(run, network)
    return Training(run, recipe, network, optimiser, meter, batches, test_batches, first, seconds)


def _batches(
    train_set: Dataset, test_set: Dataset, recipe: Recipe, seed: int, device: torch.device
) -> tuple[Batches, Batches]:
    """The batches of the training, and those of the test images."""
    normalisation = Normalisation.of(train_set, recipe.normalisation)
    batches = Batches(
        train_set,
        recipe.batch_size,
        normalisation,
        padding=recipe.padding,
        flip=recipe.flip,
        shuffle=True,
        seed=seed,
        share=(parallel.rank(), parallel.size()),
        device=device,
    )
    test_batch = recipe.batch_size
    if device.type != "cpu":  # few launches
        test_batch = max(test_batch, TEST_PIXELS // math.prod(batches.size))
    return batches, Batches(test_set, test_batch, normalisation, device=device)


def _try_folder(run: Run, network: nn.Module) -> None:
    """Write the record of what begins. Raises LessonError where it cannot be written, or the disk has too little room
    for weights and momentum, and for both once more while a checkpoint takes the place of the one before."""
    run.save()
    needed = 4 * sum(tensor.nbytes for tensor in network.state_dict().values())
    free = shutil.disk_usage(run.folder).free
    if free < needed:
        raise LessonError(
            f"{run.folder} has {free / 1e6:,.0f} MB free, and the checkpoints of this training need "
            f"{needed / 1e6:,.0f} MB: free some space there, or choose another folder."
        )


def _take_steps(training: Training, after_each_step: Callable[[int, Tensor], bool]) -> None:
    """The steps from where the training is to the recipe's end, or until `after_each_step` returns True."""
    network, optimiser, batches = training.network, training.optimiser, training.batches
    run, recipe = training.run, training.recipe
    model = parallel.wrap(network.train())

    def take_step(choice: Tensor) -> Tensor:
        images, labels = batches.take(choice)
        loss, logits = step(model, images, labels, optimiser, precision=run.precision)
        training.meter.add(loss, logits, labels)
        return loss

    graph = Captured(take_step) if run.captured else take_step

    def full_or_last(choice: Tensor) -> Tensor:
        """The last batch of an epoch may be smaller, and a graph is of one size."""
        return graph(choice) if choice.shape[1] == recipe.batch_size else take_step(choice)

    steps = batches.choices_of_steps(training.first, recipe.iterations)
    iterate(full_or_last, steps, optimiser, recipe.lr_at, listeners=[after_each_step], seed=run.seed)


def _end(training: Training, predictions: tuple[Tensor, Tensor] | None) -> None:
    """Keep the results of a finished run, or say how an interrupted one goes on."""
    run = training.run
    if run.status == "interrupted":
        where = "It was not recorded: give a folder (out=...) to be able to go on."
        if run.folder:
            where = f"The same call or command goes on from here: {run.folder} has everything."
        print(f"Stopped after {training.done} of {training.recipe.iterations} iterations. {where}")
    elif run.folder:
        run.save_weights(training.network, training.batches.shape)
        run.save_predictions(*predictions)
        run.save()  # after the weights: a run that says "finished" has them
        (run.folder / "checkpoint.pt").unlink(missing_ok=True)
