"""The predictions of a trained network, and what they say about it and about several networks together."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as nnF
from torch import Tensor, nn

from .. import machine
from ..errors import LessonError


@contextmanager
def modes_kept(network: nn.Module) -> Iterator[None]:
    """Afterwards, put each module back into the mode, training or evaluation, in which it was before."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@torch.no_grad()
def predict(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], precision: str = "float32"
) -> tuple[Tensor, Tensor]:
    """The network's logits (N, classes), float32, and the labels (N,) over `batches`, both on the CPU.

    In evaluation mode; each module's mode is restored afterwards. Raises ValueError if there is no batch, and
    LessonError if the network returns something other than a tensor.
    """
    logits, labels = [], []
    with modes_kept(network):
        network.eval()
        for images, truth in batches:
            with machine.autocast(images.device, precision):
                answer = network(images)
            if not isinstance(answer, Tensor):
                kind = type(answer).__name__
                raise LessonError(f"A network must return a tensor of logits, but this one returns a {kind}.")
            logits.append(answer.float())
            labels.append(truth)
    if not logits:
        raise ValueError("There are no batches: give a list of them, or Batches, either of which can be used again.")
    return torch.cat(logits).cpu(), torch.cat(labels).cpu()


def score(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and share of wrong answers (0 to 1)."""
    wrong = (logits.argmax(1) != labels).double().mean()
    return float(nnF.cross_entropy(logits, labels)), float(wrong)


def evaluate(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], precision: str = "float32"
) -> tuple[float, float]:
    """Mean cross-entropy and share of wrong answers (0 to 1) over `batches`, in evaluation mode."""
    return score(*predict(network, batches, precision))


def ensemble(predictions: Sequence[Tensor]) -> Tensor:
    """The mean of several networks' softmax probabilities, (N, classes), from the logits of each, (N, classes)."""
    return torch.stack([logits.softmax(1) for logits in predictions]).mean(0)


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """How many images of each class (row) were given each answer (column): (classes, classes), int64."""
    classes = logits.shape[1]
    pairs = labels * classes + logits.argmax(1)
    return pairs.bincount(minlength=classes**2).reshape(classes, classes)
