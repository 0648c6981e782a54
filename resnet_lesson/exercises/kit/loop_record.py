"""Watching a student's training loop at work: what the network is given, what the optimiser steps with, what is kept.

The network, the batches and the optimiser that the loop is given write down themselves what happens to them, so that
any style of loop is judged alike.
"""

import inspect
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache

import torch
import torch.nn.functional as nnF
from torch import Tensor, nn

from ...datasets.batches import Batches, Normalisation
from ...datasets.dataset import Dataset
from ...datasets.shapes10 import shapes10
from .exercise import Wrong

Gradients = list[Tensor | None]
EARLY_STEP = (
    "the step comes before the backward pass",
    "a step without this batch's gradients",
    "So the step uses the gradients of the batch before, or none. First loss.backward(), then optimiser.step().",
)


@dataclass
class Forward:
    """One forward pass. batch: (epoch, number) of the batch whose images it got, or None for other images."""

    batch: tuple[int, int] | None
    labels: Tensor
    logits: Tensor
    training: bool
    recorded: bool
    gradients: Gradients  # of the cross-entropy
    softmaxed: Gradients  # of the cross-entropy of the softmax's probabilities, as if they were logits
    backward: bool = False  # whether a backward pass came back through it


@dataclass
class Step:
    """One step of the optimiser: the .grad of all parameters, each group's rate, the backward passes before it."""

    gradients: Gradients
    rates: list[float]
    backwards: int


@dataclass
class Record:
    """All that happened in one call of a loop: `epochs` of `count` images, in `per_epoch` batches of `batch_size`."""

    epochs: int
    per_epoch: int
    count: int
    batch_size: int
    given: list[tuple[tuple[int, int], Tensor, Tensor]] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    graphs: list[weakref.ref] = field(default_factory=list)
    kept: int = 0  # the most graphs of earlier batches that were still alive when a new one was made
    moved: bool = False  # whether any parameter has changed
    attribute: bool = False  # whether the optimiser was given an attribute `lr`, which nothing reads
    result: object = None
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def trained(self) -> list[Forward]:
        """The forward passes that were followed by a backward pass."""
        return [forward for forward in self.forwards if forward.backward]

    @property
    def expected(self) -> list[tuple[int, int]]:
        return [(epoch, number) for epoch in range(self.epochs) for number in range(self.per_epoch)]

    @property
    def in_step(self) -> bool:
        """Whether there is one forward pass, one backward pass and one step for each batch that should come."""
        return len(self.trained) == len(self.steps) == len(self.expected)

    def alive(self) -> int:
        return sum(graph() is not None for graph in self.graphs)

    def __deepcopy__(self, memo: dict) -> "Record":
        return self  # a copy of the network writes into the same record


class Mark:
    """A hook on the logits: it lives as long as their graph, and is called when a backward pass comes through."""

    def __init__(self, forward: Forward):
        self.forward = forward

    def __call__(self, gradient: Tensor) -> None:
        self.forward.backward = True


class WatchedNetwork(nn.Module):
    """A convolution with BN, a ReLU and a linear layer, for images of 8x8."""

    def __init__(self, record: Record):
        super().__init__()
        self.record = record
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(54, 10)
        )

    def forward(self, images: Tensor) -> Tensor:
        record, logits = self.record, self.layers(images)
        # The batch before may still be in the loop's variables; those before it should be forgotten.
        record.kept = max(record.kept, sum(graph() is not None for graph in record.graphs[:-1]))
        same = [(batch, labels) for batch, given, labels in record.given[::-1] if torch.equal(given, images)]
        batch, labels = same[0] if same else (None, torch.zeros(len(logits), dtype=torch.int64))
        gradients = softmaxed = []
        if logits.requires_grad and same:
            parameters = list(self.parameters())
            gradients, softmaxed = (
                list(torch.autograd.grad(nnF.cross_entropy(z, labels), parameters, retain_graph=True))
                for z in (logits, logits.softmax(1))
            )
        mode = self.layers[1].training
        done = Forward(batch, labels, logits.detach().clone(), mode, logits.requires_grad, gradients, softmaxed)
        record.forwards.append(done)
        if logits.requires_grad:
            mark = Mark(done)
            logits.register_hook(mark)
            record.graphs.append(weakref.ref(mark))
        return logits


class WatchedBatches(Batches):
    """Batches that write down what they give."""

    record: Record

    def epoch(self, epoch: int = 0, first: int = 0):
        for number, (images, labels) in enumerate(super().epoch(epoch, first), first):
            self.record.given.append(((epoch, number), images.clone(), labels.clone()))
            yield images, labels


class WatchedSGD(torch.optim.SGD):
    """SGD that writes down what it steps with."""

    def watch(self, record: Record, network: nn.Module) -> "WatchedSGD":
        self.record, self.network = record, network
        return self

    def step(self, closure: Callable | None = None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = [None if p.grad is None else p.grad.clone() for p in self.network.parameters()]
        rates = [float(group["lr"]) for group in self.param_groups]
        self.record.steps.append(Step(gradients, rates, len(self.record.trained)))
        super().step()
        return loss


@cache
def images_of(count: int) -> tuple[Dataset, Normalisation]:
    data = shapes10(count, 8, seed=0)
    return data, Normalisation.of(data)


def lr_at(iteration: int) -> float:
    """Another rate at every iteration, so that one that is late or early shows."""
    return 0.01 + 0.001 * iteration


@lru_cache(maxsize=1)
def record_of(loop: Callable) -> Record:
    """The record of three epochs of 40 images in batches of 12. Clear the cache before a new check."""
    return watch(loop)


def watch(loop: Callable, epochs: int = 3, count: int = 40, batch_size: int = 12) -> Record:
    """Call a loop on a tiny network in evaluation mode; return what happened."""
    data, normalisation = images_of(count)
    batches = WatchedBatches(data, batch_size, normalisation, shuffle=True)
    record = batches.record = Record(epochs, len(batches), count, batch_size)
    torch.default_generator.manual_seed(0)  # torch.manual_seed would seed the GPUs too
    network = WatchedNetwork(record).eval()
    *body, weight, bias = network.parameters()
    groups = [{"params": body}, {"params": [weight, bias]}]
    optimiser = WatchedSGD(groups, lr=0.05, momentum=0.9, weight_decay=0.1).watch(record, network)
    before, threads = [p.detach().clone() for p in network.parameters()], torch.get_num_threads()
    torch.set_num_threads(1)  # so little is computed that several would only wait for each other
    try:
        record.result = loop(network, batches, optimiser, lr_at, epochs)
    except (RuntimeError, AttributeError, ZeroDivisionError) as error:
        if wrong := _diagnosis(error, record):
            raise wrong from error
        raise
    finally:
        torch.set_num_threads(threads)
    if inspect.isgenerator(record.result):
        why = "A function with `yield` runs only when somebody goes through it. Collect the pairs in a list to return."
        raise Wrong("a generator instead of a list", "a generator", why)
    record.moved = any(not torch.equal(p, was) for p, was in zip(network.parameters(), before, strict=True))
    record.attribute = "lr" in vars(optimiser)
    record.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return record


def _diagnosis(error: Exception, record: Record) -> Wrong | None:
    """What an error in the loop means, if that is known."""
    got = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
    if record.forwards and not any(forward.recorded for forward in record.forwards):
        why = "Without a graph there is nothing to go back through. Only the counting of mistakes may be under no_grad."
        return Wrong("the forward pass is under no_grad", got, why)
    if "does not require grad" in got or "'backward'" in got:
        why = "backward() needs the loss as cross_entropy returns it. .item(), detach() and argmax leave a mere number."
        return Wrong("the loss has no graph", got, why)
    if "not implemented for 'Long'" in got:
        why = "nnF.cross_entropy(logits, labels): first what the network computed, then the right classes."
        return Wrong("logits and labels are swapped", got, why)
    if "second time" in got:
        why = "Is the loss that goes back the sum over several batches? Go back from this batch's own loss."
        return Wrong("backward through earlier batches again", got, why)
    if isinstance(error, ZeroDivisionError) and len(record.forwards) == record.per_epoch:
        why = "What batches.epoch() returns can be gone through once. Call it again in each epoch."
        return Wrong("the batches are used up", got, why)
    if "inplace" in got and record.steps and record.steps[-1].backwards < len(record.forwards):
        return Wrong(*EARLY_STEP)
    return None
