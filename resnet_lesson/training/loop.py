"""The training loop in its shortest form: `train` of training.py puts around the same `step` what makes a run safe."""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import machine


def step(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    optimiser: torch.optim.Optimizer,
    *,
    precision: str = "float32",
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> tuple[Tensor, Tensor]:
    """One iteration: forward, loss, backward, and a step of the optimiser.

    images: what the network takes, (B, ...); labels: (B,) class numbers. loss: from float32 logits and labels to a
        number, their mean over the batch.
    precision: "float32" or "bfloat16"; the loss is float32 in both. Raises ValueError for another one.

    Returns the loss and the logits (B, classes) from before the step, without their graph.
    """
    with machine.autocast(images.device, precision):
        logits = network(images)
    value = loss(logits.float(), labels)
    optimiser.zero_grad()
    value.backward()
    optimiser.step()
    return value.detach(), logits.detach()


def fit(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimiser: torch.optim.Optimizer,
    lr_at: Callable[[int], float],
    epochs: int = 1,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> list[tuple[float, float]]:
    """Train a network in place; return (mean loss, error from 0 to 1) of each epoch's images, as met in training.

    batches: `Batches`, of which each epoch has its own order, crops and flips; or anything that can be gone through
        again every epoch, such as a list or a DataLoader.
    lr_at: the learning rate as a function of the iteration; the first is 0, and epochs do not restart the count.
    """
    history, iteration = [], 0
    for epoch in range(epochs):
        network.train()
        loss_sum = wrong = seen = 0
        for images, labels in batches.epoch(epoch) if hasattr(batches, "epoch") else batches:
            for group in optimiser.param_groups:
                group["lr"] = lr_at(iteration)
            value, logits = step(network, images, labels, optimiser, loss=loss)
            # Tensors are added up, not numbers: a number would make a GPU's program wait for the GPU at every step.
            loss_sum = loss_sum + value * len(labels)
            wrong = wrong + (logits.argmax(1) != labels).sum()
            seen += len(labels)
            iteration += 1
        history.append((float(loss_sum) / seen, float(wrong) / seen))
    return history
