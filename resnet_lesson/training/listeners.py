"""What listens to the steps of `train`: progress, divergence, the history's rows, checkpoints, and the end."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..datasets.batches import Batches
from . import parallel
from .checkpoints import Stop, save_checkpoint
from .evaluation import predict, score
from .identity import answer_of
from .loop import Diverged, Meter
from .recipes import Recipe
from .runs import Run


@dataclass
class Training:
    """A training under way: what its listeners share.

    first, seconds_before: iterations and seconds of earlier sessions; done: iterations so far.
    """

    run: Run
    recipe: Recipe
    network: nn.Module
    optimiser: torch.optim.Optimizer
    meter: Meter
    batches: Batches
    test_batches: Batches
    first: int = 0
    seconds_before: float = 0.0
    done: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Wall time so far, pauses between sessions left out."""
        return self.seconds_before + time.monotonic() - self.began


@dataclass
class Moment:
    """The end of a step, and what is due there.

    done: iterations so far. sums, mean_loss, mean_error: over all processes since the last row, where they were asked
    for (`measured`).
    """

    done: int
    loss: Tensor
    row: bool
    save: bool
    stop: bool
    measured: bool
    sums: Sequence[float] = ()
    mean_loss: float = math.nan
    mean_error: float = math.nan


class Clock:
    """Says after each step what is due: a row of the history, a checkpoint, a look at the loss, or the end.

    The processes of a training agree on it, because each of them has to take part.
    """

    def __init__(self, training: Training, stop: Stop, record_every: int | None, checkpoint_every: float):
        self.training, self.stop = training, stop
        self.record_every = record_every or len(training.batches)
        self.checkpoint_every = checkpoint_every
        self.looked = self.saved = time.monotonic()

    def moment(self, done: int, loss: Tensor) -> Moment:
        now, last = time.monotonic(), done == self.training.recipe.iterations
        row = last or done % self.record_every == 0
        save_due = self.training.run.folder is not None and now - self.saved > self.checkpoint_every
        stop, save, look = parallel.agreed(done, self.stop.requested, save_due, now - self.looked > 1)
        save = save or row or stop
        if save:
            self.saved = now
        if save or look:  # nothing is kept unmeasured
            self.looked = now
        return Moment(done, loss, row, save, stop, measured=save or look)


class Measure:
    """Loss and error since the last row. Raises Diverged where they, or the weights, are no longer useful numbers."""

    def __init__(self, training: Training):
        self.training = training

    def __call__(self, moment: Moment) -> None:
        self.training.done = moment.done
        if not moment.measured:
            return
        moment.sums, last_loss = parallel.total(self.training.meter, moment.loss)
        loss, wrong, images = moment.sums
        moment.mean_loss, moment.mean_error = loss / images, wrong / images
        # With n classes, guessing costs ln(n): 2.3 for ten. A loss of 1000 learns nothing any more.
        if not math.isfinite(moment.mean_loss) or not last_loss < 1000:
            self.diverged(moment, f"the loss was {last_loss:.3g}")
        # The loss is from before the last step, and that step may have broken the weights.
        sums = torch.stack([weight.detach().sum() for weight in self.training.network.parameters()])
        if not sums.isfinite().all():
            self.diverged(moment, "the weights were no longer numbers")

    def diverged(self, moment: Moment, what: str) -> None:
        run, recipe = self.training.run, self.training.recipe
        run.status = "diverged"
        if run.folder:
            run.save()
        raise Diverged(
            f"Training diverged: {what} at iteration {moment.done}, with learning rate "
            f"{recipe.lr_at(moment.done - 1):.3g}. Try a lower one than the {recipe.lr:g} of the recipe '{recipe.name}'"
            + (", or precision='float32'." if run.precision != "float32" else ".")
        )


class Progress:
    """The bar: images so far and per second, loss and error since the last row."""

    def __init__(self, training: Training, shown: bool):
        self.training = training
        self.bar = tqdm(
            total=self.images(training.recipe.iterations),
            initial=self.images(training.first),
            desc=training.run.network["name"],
            unit="img",
            unit_scale=True,
            disable=not shown,
            leave=False,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error) -> None:
        self.bar.close()

    def images(self, iterations: int) -> int:
        """How many images that many iterations see (the last batch of an epoch may be smaller)."""
        batches = self.training.batches
        epochs, rest = divmod(iterations, len(batches))
        return epochs * len(batches.dataset) + rest * batches.batch_size

    def __call__(self, moment: Moment) -> None:
        self.bar.update(self.images(moment.done) - self.images(moment.done - 1))
        if moment.measured:
            text = f"loss {moment.mean_loss:.3f}, error {moment.mean_error:.1%}"
            self.bar.set_postfix_str(text, refresh=moment.row)


class Rows:
    """The rows of the history. Process 0 evaluates the network, adds the row and tells the observers."""

    def __init__(self, training: Training, observers: Sequence[Callable[[Run], object]]):
        self.training, self.observers = training, observers
        self.predictions: tuple[Tensor, Tensor] | None = None

    def __call__(self, moment: Moment) -> None:
        if not moment.row:
            return
        if parallel.rank() == 0:
            self.add(moment)
        self.training.meter.reset()
        moment.sums = (0.0, 0.0, 0.0)

    def add(self, moment: Moment) -> None:
        training, run = self.training, self.training.run
        self.predictions = predict(training.network, training.test_batches, run.precision)
        test_loss, test_error = score(*self.predictions)
        run.history.append(
            dict(
                epoch=-(-moment.done // len(training.batches)),
                iteration=moment.done,
                lr=training.recipe.lr_at(moment.done - 1),
                train_loss=moment.mean_loss,
                train_error=moment.mean_error,
                test_loss=test_loss,
                test_error=test_error,
                seconds=training.seconds,
            )
        )
        for observer in self.observers:
            observer(run)


class Checkpoints:
    """Saves all that is needed to go on, unless the training has just reached its end."""

    def __init__(self, training: Training):
        self.training = training

    def __call__(self, moment: Moment) -> None:
        training, run = self.training, self.training.run
        if moment.done == training.recipe.iterations:
            run.status = "finished"
        elif moment.stop:
            run.status = "interrupted"
        if run.folder and moment.save and run.status != "finished":
            save_checkpoint(
                run,
                training.network,
                training.optimiser,
                answer=answer_of(training.network, training.batches.shape),
                sums=moment.sums,
                iteration=moment.done,
                seconds=training.seconds,
            )
