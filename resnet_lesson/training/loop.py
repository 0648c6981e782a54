"""The loop behind every training here. `fit`, `train` and `fine_tune` are this loop with different listeners."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .. import machine
from ..datasets.batches import Batches, Normalisation
from ..datasets.dataset import Dataset
from ..errors import LessonError
from ..machine import seeded
from .recipes import Recipe

Listener = Callable[[int, Tensor], object]
"""Called after each step with the number of iterations done and the step's loss; if it returns True, the loop ends."""


class Diverged(LessonError):
    """The loss is no longer a useful number. iteration: how many steps had been done when that was noticed."""

    def __init__(self, message: str, iteration: int | None = None):
        super().__init__(message)
        self.iteration = iteration


def step(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    optimiser: torch.optim.Optimizer,
    *,
    precision: str = "float32",
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
) -> tuple[Tensor, Tensor]:
    """One iteration: forward, loss, backward, and a step of the optimiser.

    images: what the network takes, (B, ...); labels: (B,) class numbers. loss: computes the mean loss of the batch from
        float32 logits and labels.
    precision: "float32" or "bfloat16"; the loss is float32 in both. Raises ValueError for another one.

    Returns the loss and the logits (B, classes) from before the step, detached from their graph.
    """
    with machine.autocast(images.device, precision):
        logits = network(images)
    value = loss(logits.float(), labels)
    optimiser.zero_grad()
    value.backward()
    optimiser.step()
    return value.detach(), logits.detach()


def iterate(
    take_step: Callable[..., Tensor],
    batches: Iterable[tuple],
    optimiser: torch.optim.Optimizer,
    lr_at: Callable[[int], float],
    *,
    listeners: Sequence[Listener] = (),
    seed: int | None = None,
) -> None:
    """Take one step for each batch, at the learning rate of its iteration, and tell the listeners.

    take_step: called with a batch; returns the loss. batches: pairs of an iteration number and a batch.
    lr_at: the learning rate as a function of the iteration.
    seed: fixes what the network itself draws at random in each step, as stochastic depth does.
    """
    for iteration, batch in batches:
        set_rate(optimiser, lr_at(iteration))
        with nullcontext() if seed is None else seeded(seed, iteration):
            loss = take_step(batch)
        if any([listener(iteration + 1, loss) for listener in listeners]):
            return


def sgd(parameters: Iterable, recipe: Recipe, **options) -> torch.optim.SGD:
    """The optimiser of a recipe; `options` go to torch's SGD, and take precedence over the recipe's."""
    usual = dict(lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, **{**usual, **options})


def training_batches(train_set: Dataset, normalisation: Normalisation, recipe: Recipe, **options) -> Batches:
    """The shuffled, augmented batches of a recipe; `options` go to `Batches`."""
    return Batches(
        train_set, recipe.batch_size, normalisation, padding=recipe.padding, flip=recipe.flip, shuffle=True, **options
    )


def set_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give every group of the optimiser this learning rate, times the group's "scale" if it has one."""
    for group in optimiser.param_groups:
        rate = lr * group.get("scale", 1)
        if isinstance(group["lr"], Tensor):  # a captured step reads its rate from this memory on the GPU
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


class Meter:
    """Mean loss and error since the last reset.

    The sums are always the same tensor on the device: reading a number at each step would make the program wait for the
    GPU, and a captured step (captured.py) writes to the memory that it was recorded with.
    """

    def __init__(self, device: torch.device | str = "cpu"):
        exact = torch.float32 if torch.device(device).type == "mps" else torch.float64  # Apple's GPU has no float64
        self.sums = torch.zeros(3, dtype=exact, device=device)  # of the loss, of the wrong answers, of images

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        wrong, images = (logits.argmax(1) != labels).sum(), torch.full_like(loss, len(labels))
        self.sums += torch.stack([loss.detach() * images, wrong, images])

    def means(self) -> tuple[float, float]:
        """Mean loss and error (0 to 1) of the images seen."""
        loss, wrong, images = self.sums.tolist()
        return loss / images, wrong / images

    def reset(self, sums: Sequence[float] = (0.0, 0.0, 0.0)) -> None:
        self.sums.copy_(torch.tensor(sums, dtype=self.sums.dtype))


def fit(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimiser: torch.optim.Optimizer,
    lr_at: Callable[[int], float],
    epochs: int = 1,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
) -> list[tuple[float, float]]:
    """Train a network in place; return (mean loss, error from 0 to 1) of each epoch's images, as met in training.

    batches: `Batches`, in which each epoch has its own order, crops and flips; or anything that you can loop over again
        in every epoch, such as a list or a DataLoader.
    lr_at: the learning rate as a function of the iteration; the first is 0, and epochs do not restart the count.

    Raises ValueError for an epoch without any batch.
    """
    meter = Meter(optimiser.param_groups[0]["params"][0].device)
    history: list[tuple[float, float]] = []
    done = 0

    def take_step(batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        value, logits = step(network, images, labels, optimiser, loss=loss)
        meter.add(value, logits, labels)
        return value

    def count(iterations: int, loss: Tensor) -> None:
        nonlocal done
        done = iterations

    for epoch in range(epochs):
        first = done
        network.train()
        of_epoch = batches.epoch(epoch) if hasattr(batches, "epoch") else batches
        iterate(take_step, enumerate(of_epoch, first), optimiser, lr_at, listeners=[count])
        if done == first:
            raise ValueError(
                f"Epoch {epoch} has no batches: give a list, Batches or a DataLoader, over which you can loop again in "
                "every epoch (a generator is empty after the first)."
            )
        history.append(meter.means())
        meter.reset()
    return history
