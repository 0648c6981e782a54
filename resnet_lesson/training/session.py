"""A training in progress: where it begins, its steps, what happens after each step, and its end."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .. import machine
from ..datasets.batches import Batches, Normalisation
from ..datasets.dataset import Dataset
from . import parallel
from .captured import Captured
from .checkpoints import resume, save_checkpoint
from .evaluation import predict, score
from .identity import answer_of
from .loop import Diverged, Meter, iterate, sgd, step, training_batches
from .recipes import Recipe
from .runs import Run

TEST_PIXELS = 1000 * 32 * 32  # in a batch of test images on a GPU


@dataclass
class Session:
    """From where the record in `run.folder` ends (or from the first step) to the end of the recipe, or until `stop`.

    run: filled in as training goes on. If the record is of a finished run, `run.status` says so at once.
    sets: the training images and the test images.
    observers, record_every, checkpoint_every: as in `train`.
    Raises LessonError if the folder contains a different run, or cannot be written to.
    """

    run: Run
    network: nn.Module
    sets: tuple[Dataset, Dataset]
    recipe: Recipe
    device: torch.device
    stop: Event
    observers: Sequence[Callable[[Run], object]]
    record_every: int | None
    checkpoint_every: float

    def __post_init__(self):
        run, network, recipe, device = self.run, self.network, self.recipe, self.device
        network.to(device, memory_format=torch.channels_last)
        self._make_batches(*self.sets)
        self.record_every = self.record_every or len(self.batches)
        self.bar: tqdm = None  # while steps are taken
        self.predictions: tuple[Tensor, Tensor] = None  # of the last row
        # A captured step reads its learning rate from the GPU's memory, and needs other kernels.
        rate = torch.tensor(recipe.lr, device=device) if run.captured else recipe.lr
        kernels = {"fused": run.captured or None, "foreach": not run.captured or None}
        self.optimiser = sgd(network.parameters(), recipe, lr=rate, **kernels)
        self.meter = Meter(device)
        self.done, seconds = resume(run, network, self.optimiser, self.meter)
        # A checkpoint, perhaps from a GPU, comes with a rate and kernels of its own.
        self.optimiser.param_groups[0].update(lr=rate, **kernels)
        self.began = time.monotonic() - seconds  # pauses between sessions do not count
        self.looked = self.saved = time.monotonic()
        if parallel.rank():  # all read the checkpoint before process 0 writes the next one: a step takes all of them
            run.folder = None
            self.meter.reset()
        elif run.folder and run.status != "finished":
            run.save()  # if this cannot be written, it is better to know before the first step

    def _make_batches(self, train_set: Dataset, test_set: Dataset) -> None:
        recipe, device = self.recipe, self.device
        normalisation = Normalisation.of(train_set, recipe.normalisation)
        share = (parallel.rank(), parallel.size())
        self.batches = training_batches(
            train_set, normalisation, recipe, seed=self.run.seed, share=share, device=device
        )
        test_batch = recipe.batch_size
        if device.type != "cpu":  # few launches
            test_batch = max(test_batch, TEST_PIXELS // math.prod(self.batches.size))
        self.test_batches = Batches(test_set, test_batch, normalisation, device=device)

    def take_steps(self, progress: bool) -> None:
        """Take the steps that are left."""
        model = parallel.wrap(self.network.train())

        def take_step(choice: Tensor) -> Tensor:
            images, labels = self.batches.take(choice)
            loss, logits = step(model, images, labels, self.optimiser, precision=self.run.precision)
            self.meter.add(loss, logits, labels)
            return loss

        graph = Captured(take_step) if self.run.captured else take_step

        def full_or_last(choice: Tensor) -> Tensor:
            """The last batch of an epoch may be smaller, but a graph has a single size."""
            return graph(choice) if choice.shape[1] == self.recipe.batch_size else take_step(choice)

        self.bar = tqdm(
            total=self.recipe.iterations,
            initial=self.done,
            desc=self.run.network["name"],
            unit="step",
            disable=not progress,
            leave=False,
        )
        steps = self.batches.choices_of_steps(self.done, self.recipe.iterations)
        with self.bar, machine.chosen_kernels(self.run.captured):
            iterate(
                full_or_last,
                steps,
                self.optimiser,
                self.recipe.lr_at,
                listeners=[self._after_step],
                seed=self.run.seed,
            )

    def _after_step(self, done: int, loss: Tensor) -> bool:
        """Measure, record and save whatever is due after `done` steps; return whether the training is over.

        The processes of a training agree on what is due, because all of them have to take part.
        """
        run, now, last = self.run, time.monotonic(), done == self.recipe.iterations
        self.done = done
        row = last or done % self.record_every == 0
        save_due = run.folder is not None and now - self.saved > self.checkpoint_every
        stop, save, look = parallel.agreed(done, self.stop.is_set(), save_due, now - self.looked > 1)
        save = save or row or stop
        self.bar.update()
        sums = [0.0, 0.0, 0.0]
        if save or look:  # nothing is saved unmeasured
            self.looked = now
            sums = self._measure(loss, show=row)
        if row:
            if parallel.rank() == 0:
                self._add_row(sums)
            self.meter.reset()
            sums = [0.0, 0.0, 0.0]
        if last:
            run.status = "finished"
        elif stop:
            run.status = "interrupted"
        if save:
            self.saved = now
            if run.folder and not last:
                answer, seconds = answer_of(self.network, self.batches.shape), time.monotonic() - self.began
                now_at = dict(iteration=done, seconds=seconds, answer=answer, sums=sums)
                save_checkpoint(run, self.network, self.optimiser, **now_at)
        return last or stop

    def _measure(self, loss: Tensor, show: bool) -> list[float]:
        """The sums since the last row, over all processes: loss, wrong answers, images. The bar shows their means.

        Raises Diverged if they, or the weights, are no longer useful numbers.
        """
        sums, last_loss = parallel.total(self.meter, loss)
        mean_loss, mean_error = sums[0] / sums[2], sums[1] / sums[2]
        # With n classes, guessing costs ln(n): 2.3 for ten. A loss of 1000 learns nothing any more.
        if not math.isfinite(mean_loss) or not last_loss < 1000:
            self._diverged(f"the loss was {last_loss:.3g}")
        # The loss is from before the last step, and that step may have broken the weights.
        weights = torch.stack([weight.detach().sum() for weight in self.network.parameters()])
        if not weights.isfinite().all():
            self._diverged("the weights were no longer numbers")
        self.bar.set_postfix_str(f"loss {mean_loss:.3f}, error {mean_error:.1%}", refresh=show)
        return sums

    def _diverged(self, what: str) -> None:
        run, recipe = self.run, self.recipe
        run.status = "diverged"
        if run.folder:
            run.save()
        raise Diverged(
            f"Training diverged: {what} at iteration {self.done}, with learning rate "
            f"{recipe.lr_at(self.done - 1):.3g}. Try a lower one than the {recipe.lr:g} of the recipe '{recipe.name}'"
            + (", or precision='float32'." if run.precision != "float32" else "."),
            self.done,
        )

    def _add_row(self, sums: Sequence[float]) -> None:
        """Evaluate the network, add a row to the history, and tell the observers."""
        self.predictions = predict(self.network, self.test_batches, self.run.precision)
        test_loss, test_error = score(*self.predictions)
        self.run.history.append(
            dict(
                epoch=-(-self.done // len(self.batches)),
                iteration=self.done,
                lr=self.recipe.lr_at(self.done - 1),
                train_loss=sums[0] / sums[2],
                train_error=sums[1] / sums[2],
                test_loss=test_loss,
                test_error=test_error,
                seconds=time.monotonic() - self.began,
            )
        )
        for observer in self.observers:
            observer(self.run)

    def end(self) -> None:
        """Keep the results of a finished run, or say how an interrupted one goes on."""
        run = self.run
        if run.status == "interrupted":
            where = "It was not recorded: to be able to resume, give a folder (out=...)."
            if run.folder:
                where = f"Everything is saved in {run.folder}: to go on from here, repeat the call or command."
            print(f"Stopped after {self.done} of {self.recipe.iterations} iterations. {where}")
        elif run.folder:
            run.save_weights(self.network, self.batches.shape)
            run.save_predictions(*self.predictions)
            run.save()  # after the weights: a run that says "finished" has them
            (run.folder / "checkpoint.pt").unlink(missing_ok=True)
