"""The first exercise of notebook 06: the training loop.

The network, the batches and the optimiser that a loop is given record what happens to them, so that loops in any style
are judged alike. The optimiser leaves the weights as they are: then a mistake in one iteration changes nothing in the
next, and several mistakes in one loop can be told apart.
"""

import weakref
from collections import Counter
from collections.abc import Callable
from functools import cache, lru_cache
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from ..datasets.batches import Batches, Normalisation
from ..datasets.shapes10 import shapes10
from .kit.exercise import Exercise, Wrong
from .kit.outcomes import agree, words


def fit(network, batches, optimiser, lr_at, epochs=1):
    """Train the network in place; return (mean loss, error) of each epoch."""
    history, iteration = [], 0
    for epoch in range(epochs):
        network.train()
        loss_sum, wrong, seen = 0.0, 0, 0
        for images, labels in batches.epoch(epoch):
            for group in optimiser.param_groups:
                group["lr"] = lr_at(iteration)
            logits = network(images)
            loss = cross_entropy(logits, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss_sum += loss.item() * len(labels)
            wrong += (logits.argmax(1) != labels).sum().item()
            seen += len(labels)
            iteration += 1
        history.append((loss_sum / seen, wrong / seen))
    return history


training_loop = Exercise(
    "training_loop",
    "Write the loop that trains a network and returns the mean loss and the error of each epoch.",
    solution=(fit,),
    hints=(
        "You need two loops, one inside the other: over the epochs, and over the batches of batches.epoch(epoch). "
        "Count the iterations in a variable of your own that no epoch resets.",
        "For each batch: set the rate, then logits, loss, optimiser.zero_grad(), loss.backward(), optimiser.step().",
        'Set the rate in every group: for group in optimiser.param_groups: group["lr"] = lr_at(iteration).',
        "The last batch is smaller than the others. So add up loss.item() * len(labels), the wrong answers and "
        "len(labels), and divide when the epoch is over.",
        "A batch has (logits.argmax(1) != labels).sum().item() wrong answers. And do not forget network.train(), "
        "before the batches of an epoch.",
    ),
    read="notebook 06, section 4; paper, section 3.4",
)


EPOCHS = 3


class Record:
    """What a loop did, in lists with one entry per forward pass or per step, and what it returned."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.batches: list[tuple[int, int] | None] = []  # epoch and number of the batch; None for other images
        self.modes: list[str] = []
        self.gradients: list[Tensor] = []
        self.rates: list[list[float]] = []  # of each group
        self.graphs: list[weakref.ref] = []
        self.kept = 0  # the largest number of graphs that were still kept without need
        self.moved = False
        self.returned: object = None


class Backward:
    """A hook on the logits: it lives as long as their graph, and is called when a backward pass goes through it."""

    def __init__(self, record: Record):
        self.record = record

    def __call__(self, gradient: Tensor) -> None:
        self.record.events.append("backward")


class WatchedNetwork(nn.Module):
    def __init__(self, record: Record):
        super().__init__()
        self.record = record
        self.layers = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(12, 10))

    @torch.autocast("cpu", enabled=False)
    def forward(self, images: Tensor) -> Tensor:
        record, logits = self.record, self.layers(images)
        # The batch before may still be in the loop's variables; those before it should be forgotten.
        record.kept = max(record.kept, sum(graph() is not None for graph in record.graphs[:-1]))
        record.events.append("forward")
        same = [(epoch, n) for epoch, n, known in batches()[1] if torch.equal(known, images)]
        record.batches.append(same[0] if same else None)
        record.modes.append("training mode" if self.layers.training else "evaluation mode")
        if logits.requires_grad:
            hook = Backward(record)
            logits.register_hook(hook)
            record.graphs.append(weakref.ref(hook))
        return logits


class WatchedSGD(torch.optim.SGD):
    record: Record

    def step(self, closure: Callable | None = None):
        with torch.enable_grad():
            loss = closure() if closure else None
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
        self.record.events.append("step")
        self.record.gradients.append(torch.cat([gradient.flatten() for gradient in gradients]))
        self.record.rates.append([float(group["lr"]) for group in self.param_groups])
        return loss


@cache
def batches() -> tuple[Batches, list[tuple[int, int, Tensor]]]:
    """Fourteen images in four batches; and a list of the batches of all epochs, with the epoch and their number."""
    data = shapes10(14, 8, seed=0)
    made = Batches(data, 4, Normalisation.of(data), padding=2, flip=True, shuffle=True)
    return made, [(epoch, n, x) for epoch in range(EPOCHS + 1) for n, (x, _) in enumerate(made.epoch(epoch))]


def lr_at(iteration: int) -> float:
    """A different rate at every iteration, to show whether a loop sets it too early or too late."""
    return 0.01 + 0.001 * iteration


def watch(loop: Callable) -> Record:
    """The record of a loop, with a network that is in evaluation mode at first."""
    record = Record()
    torch.default_generator.manual_seed(0)  # torch.manual_seed would seed the GPUs too
    network = WatchedNetwork(record).eval()
    before = nn.utils.parameters_to_vector(network.parameters()).detach()
    optimiser = WatchedSGD([{"params": [p]} for p in network.parameters()], lr=0.05, momentum=0.9)
    optimiser.record = record
    record.returned = as_lists(loop(network, batches()[0], optimiser, lr_at, EPOCHS))
    record.kept = max(record.kept, sum(graph() is not None for graph in record.graphs))
    record.moved = not torch.equal(nn.utils.parameters_to_vector(network.parameters()), before)
    return record


record_of = lru_cache(maxsize=1)(watch)


def as_lists(result: object) -> object:
    """NumPy arrays as lists, since they print and plot like lists."""
    if isinstance(result, np.ndarray):
        return result.tolist()
    return [as_lists(row) for row in result] if isinstance(result, (list, tuple)) else result


# --- The cases. Each looks at a different side of the same record.


@training_loop.case("the same training twice", "the same result both times")
def repeats(answer):
    record_of.cache_clear()
    if not alike(watch(answer), record_of(answer)):
        why = "The same network, batches and rates should give the same result. Is there a default such as history=[], "
        why += "a random number, or a variable outside the function that your code changes?"
        raise Wrong("the second run is not like the first", "a different result", why)


LOOKS: list[Callable[[Record], object]] = []  # all cases except the one above and the last one


def alike(one: Record, other: Record) -> bool:
    return all(agree(see(one), see(other)) for see in LOOKS)


def look(tried: str, expected: str) -> Callable:
    """Make a function of a record a case."""

    def add(see: Callable[[Record], object]) -> Callable:
        training_loop.case(tried, expected)(lambda answer: see(record_of(answer)))
        LOOKS.append(see)
        return see

    return add


@look("the batches that the network is trained with", "all of each epoch, in the order of batches.epoch(epoch)")
def batches_seen(record):
    if None in record.batches:
        why = "Give the network the images as they are: they have already been cropped, flipped and normalised."
        raise Wrong("the network gets other images", "images that are in no batch", why)
    seen: dict[str, list[int]] = {f"epoch {epoch}": [] for epoch in range(EPOCHS)}
    for epoch, number in record.batches:
        seen.setdefault(f"epoch {epoch}", []).append(number)
    return {epoch: f"batches {words(numbers)}" if numbers else "no batch" for epoch, numbers in seen.items()}


@look("what happens to each batch", "one forward pass, one backward pass and one step, in this order")
def order_of_events(record):
    parts = ", ".join(record.events).replace("forward", "|forward").split("|")
    found = Counter(part.strip(", ") for part in parts if part)
    return {events: f"{count} times" for events, count in found.items()} or "nothing"


@look("a network that is in evaluation mode at first", "training mode in every batch: BN uses the batch's statistics")
def mode(record):
    return {mode: f"{count} batches" for mode, count in Counter(record.modes).items()}


@look("the gradients in each step", "those of the mean cross-entropy of this batch alone")
def gradients(record):
    if not record.gradients:
        return "no step"
    return {
        "their lengths": [gradient.norm().item() for gradient in record.gradients],
        "their directions": normalize(torch.stack(record.gradients)),
    }


@look("the learning rate at each step", "lr_at(iteration), where the count goes on from epoch to epoch")
def rates(record):
    return [rates[0] for rates in record.rates]


@look("an optimiser with two groups of parameters", "the same learning rate in both")
def every_group(record):
    other = [rates for rates in record.rates if len(set(rates)) > 1]
    return f"{' and '.join(f'{rate:g}' for rate in other[0])} in the same step" if other else "the same rate"


@look("the graphs of earlier batches", "forgotten, so that their memory is free again")
def graphs(record):
    return "still in memory" if record.kept > 1 else "forgotten"


@look("what the function returns", "a list with one pair of numbers (mean loss, error) for each epoch")
def form(record):
    rows = record.returned
    if not isinstance(rows, list):
        return rows if rows is None else type(rows).__name__
    return ", ".join(f"{count} x {kind}" for kind, count in Counter(map(kind_of, rows)).items()) or "an empty list"


def kind_of(value: object) -> str:
    """ "(number, number)" """
    if isinstance(value, list):
        return f"({', '.join(map(kind_of, value))})"
    return "number" if isinstance(value, Real) else type(value).__name__


def column(record: Record, i: int) -> object:
    """The first or the second numbers; everything that was returned if it is not one pair per epoch."""
    rows = floats(record.returned)
    pairs = isinstance(rows, list) and all(isinstance(row, list) and len(row) == 2 for row in rows)
    return [row[i] for row in rows] if pairs and len(rows) == EPOCHS else rows


def floats(value: Any) -> Any:
    if isinstance(value, list):
        return [floats(one) for one in value]
    value = value.detach() if isinstance(value, Tensor) else value
    return float(value) if isinstance(value, (Real, Tensor)) else "none"


@look("the first number of each pair", "the mean cross-entropy over the images of the epoch")
def mean_loss(record):
    return column(record, 0)


@look("the second number of each pair", "the error: the share of wrong answers in the epoch, from 0 to 1")
def error(record):
    return column(record, 1)


@training_loop.case("the weights between the steps", "nothing but optimiser.step() changes them")
def weights(answer):
    record = record_of(answer)
    if record.moved:
        why = "Only optimiser.step() changes the weights. Do you write into a parameter, or make another optimiser? "
        why += "The one that you are given keeps the momentum, and works at the rate that you set."
        raise Wrong("the weights change without the given optimiser", "different weights", why)


# --- The mistakes, each as an edit of `fit`.

# fmt: off
mistake = training_loop.mistake
BEFORE, TRAIN, BATCHES = "history, iteration = [], 0", "network.train()", "batches.epoch(epoch)"
RESET, RATE, COUNT = "loss_sum, wrong, seen = 0.0, 0, 0", "lr_at(iteration)", "iteration += 1"
SET = '            for group in optimiser.param_groups:\n                group["lr"] = lr_at(iteration)\n'
CROSS, CLEAR, BACK = "cross_entropy(logits, labels)", "optimiser.zero_grad()", "loss.backward()"
STEP, LOSS, MISSES = "optimiser.step()", "loss.item() * len(labels)", "(logits.argmax(1) != labels)"
MEAN, ERROR = "loss_sum / seen", "wrong / seen"
END, NEXT = f"        history.append(({MEAN}, {ERROR}))", "\n            "


def lines(*several: str) -> str:
    """Lines of the inner loop."""
    return NEXT.join(several)


mistake("the same order in every epoch", {BATCHES: "batches"},
        "`for ... in batches` is epoch 0 every time. batches.epoch(epoch) gives each epoch its own order.")
mistake("it ends after the first epoch", {END: "        return [(loss_sum / seen, wrong / seen)]"},
        "Is the `return` inside the outer loop, or is there no loop over range(epochs)?")
mistake("the optimiser makes no step", {STEP: "pass"},
        "backward() only computes the gradients. optimiser.step() changes the weights.")
mistake("no backward pass", {BACK: "pass"}, "loss.backward() computes what optimiser.step() then uses.")
mistake("not in training mode", {TRAIN: "pass"},
        "The network may come in evaluation mode, as an evaluation leaves it. Call network.train() in each epoch, "
        "before its batches.")
for wrong in ({CLEAR: "pass"}, {NEXT + CLEAR: "", TRAIN: f"{TRAIN}\n        {CLEAR}"}):
    mistake("the gradients pile up", wrong,
            "backward() adds to what .grad holds. optimiser.zero_grad() clears it, once for every batch.")
for text in (lines(CLEAR, STEP, BACK), lines(STEP, CLEAR, BACK)):
    mistake("the step comes before the backward pass", {lines(CLEAR, BACK, STEP): text},
            "In this order the step uses the gradients of the batch before, or none. Call loss.backward() first.")
mistake("the gradients are cleared before the step", {lines(CLEAR, BACK, STEP): lines(BACK, CLEAR, STEP)},
        "In this order the step finds no gradients. Call optimiser.zero_grad() before loss.backward().")
mistake("softmax before the cross-entropy", {CROSS: "cross_entropy(logits.softmax(1), labels)"},
        "cross_entropy takes the logits: it already includes a softmax, and a second one shrinks the gradients.")

mistake("the learning rate is never set", {'group["lr"] = lr_at(iteration)': "pass"}, "The optimiser keeps it in its "
        'groups: for group in optimiser.param_groups: group["lr"] = lr_at(iteration). Setting optimiser.lr has no '
        "effect.")
mistake("the iterations are counted from 1", {BEFORE: "history, iteration = [], 1"},
        "The first iteration is number 0: count up at the end of the inner loop, or use enumerate.")
mistake("the epoch instead of the iteration", {RATE: "lr_at(epoch)"},
        "lr_at takes the iteration: the number of batches before this one, over all epochs.")
mistake("the iterations start again in each epoch", {RATE: "lr_at(iteration - epoch * len(batches))"},
        "An enumerate over the batches starts again at 0 in each epoch. Keep a count that starts before both loops.")
mistake("only one group gets the learning rate", {"param_groups:": "param_groups[:1]:"},
        "An optimiser may have several groups, and param_groups[0] is only the first: set the rate in all of them.")

mistake("the graphs of earlier batches are kept", {LOSS: "loss * len(labels)", MEAN: "(loss_sum / seen).item()"},
        "A loss tensor that you keep or add up keeps the graph of its batch, so memory grows. Use loss.item() or "
        "loss.detach().")
for what in ((MEAN,), (ERROR,), (MEAN, ERROR)):
    mistake("tensors instead of numbers", {one: f"torch.tensor({one})" for one in what},
            "Turn them into numbers when the epoch is over: float(x) or x.item().")
PAIRS = "Append each epoch's pair (loss, error) to a list that you make before both loops, and return the list."
for result, name in (("history", "nothing is returned"), ("return history[-1]", "the last epoch's numbers only"),
                     ("return list(zip(*history))", "two lists instead of pairs")):
    mistake(name, {"return history": result}, PAIRS)
mistake("a pair for every batch", {END: f"    {END}"},
        "Append to the list after the inner loop: one pair for each epoch.")

mistake("loss and error are swapped", {f"({MEAN}, {ERROR})": f"({ERROR}, {MEAN})"},
        "The loss comes first: history.append((loss, error)).")
for text in ("1 - wrong / seen", "100 * (1 - wrong / seen)"):
    mistake("the accuracy instead of the error", {ERROR: text},
            "The error is the share of wrong answers: 1 minus the accuracy, or count with != instead of ==.")
mistake("percent instead of a fraction", {ERROR: "100 * wrong / seen"},
        "The error goes from 0 to 1: wrong answers divided by images, and no factor of 100.")
for wrong in ({LOSS: "loss.item()", MEAN: "loss_sum / len(batches)"},
              {f"{MISSES}.sum()": f"{MISSES}.double().mean()", ERROR: "wrong / len(batches)"}):
    mistake("averaged over batches instead of images", wrong, "The last batch is smaller, but here it counts as much "
            "as the others. Add up loss * len(labels), and divide by the number of images.")
for wrong in ({MEAN: "loss_sum"}, {LOSS: "loss.item()", MEAN: "loss_sum"}, {ERROR: "wrong"}):
    mistake("a sum instead of a mean", wrong, "Divide by the number of images when the epoch is over.")
for wrong in ({"loss_sum +=": "loss_sum ="}, {MEAN: "loss.item()"}, {"wrong +=": "wrong ="}):
    mistake("the last batch only", wrong, "Add up over all batches of the epoch: += instead of =.")
mistake("the sums are not reset", {BEFORE: f"{BEFORE}; loss_sum = wrong = seen = 0", RESET: "pass"},
        "Each epoch has its own numbers: set the sums to 0 inside the outer loop.")
# fmt: on
