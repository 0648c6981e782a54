"""What the probes of a training loop look for in its record: gradients, learning rates, and the numbers it returns."""

from itertools import accumulate
from math import isclose
from numbers import Real
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnF

from .exercise import Wrong
from .loop_record import EARLY_STEP, Gradients, Record, lr_at

SOFTMAX = (
    "softmax before the cross-entropy",
    "the loss of probabilities, as if they were logits",
    "nnF.cross_entropy takes the logits: it has the softmax inside, and a second one flattens the gradients.",
)
ANOTHER_LOSS = (SOFTMAX[0], "the loss is a sum over the batch", "other gradients")


def close(some: Gradients, others: Gradients) -> bool:
    """Whether two lists of gradients are equal; None is zero."""
    if len(some) != len(others):
        return False
    pairs = [(a, b) for a, b in zip(some, others, strict=True) if a is not None or b is not None]
    pairs = [(torch.zeros_like(b) if a is None else a, torch.zeros_like(a) if b is None else b) for a, b in pairs]
    largest = max((b.abs().max().item() for _, b in pairs), default=0.0)
    return all((a - b).abs().max().item() <= 1e-4 * largest + 1e-9 for a, b in pairs)


def added(gradients: list[Gradients], per_epoch: int) -> list[Gradients]:
    """Each batch's gradients with those of the batches before it in every `per_epoch`."""
    starts = [i - i % per_epoch for i in range(len(gradients))]
    return [[sum(parts) for parts in zip(*gradients[s : i + 1], strict=True)] for i, s in enumerate(starts)]


def gradient_mistake(record: Record) -> Wrong | None:
    """What is wrong with the gradients that the optimiser stepped with."""
    steps, trained = record.steps, record.trained
    if not trained and steps:
        return Wrong("no backward pass", "no gradient", "loss.backward() computes what optimiser.step() then uses.")
    if not steps or len(steps) != len(trained) or any(forward.batch is None for forward in trained):
        return None  # other checks say so
    if all(step.backwards == i for i, step in enumerate(steps)):
        return Wrong(*EARLY_STEP)
    got, right = [step.gradients for step in steps], [forward.gradients for forward in trained]

    def fits(others: list[Gradients]) -> bool:
        return all(map(close, got, others))

    if fits(right):
        return None
    if all(close(gradients, [None] * len(gradients)) for gradients in got):
        why = "zero_grad() comes before loss.backward(), or after optimiser.step(), but not between them."
        return Wrong("the gradients are cleared before the step", "gradients of zero", why)
    softmaxed = [forward.softmaxed for forward in trained]
    if any(fits(added(one, n)) for one in (right, softmaxed) for n in (len(got), record.per_epoch)):
        why = "backward() adds to what .grad holds. optimiser.zero_grad() clears it, once for every batch."
        return Wrong("the gradients pile up", "in each step also the gradients of the batches before", why)
    if fits(softmaxed):
        return Wrong(*SOFTMAX)
    if fits([[g * len(f.labels) for g in f.gradients] for f in trained]):
        why = "A sum over the batch makes the step larger than the rate says, 128 times in a batch of 128."
        return Wrong("the loss is a sum over the batch", "gradients times the size of the batch", why)
    why = "The loss is nnF.cross_entropy(logits, labels) of this batch, with nothing added to it or to its gradients."
    return Wrong("other gradients", "not those of the batch's mean cross-entropy", why)


def right_gradients(record: Record) -> None:
    if mistake := gradient_mistake(record):
        raise mistake


def same(some: list[float], others: list[float]) -> bool:
    return len(some) == len(others) and all(
        isclose(a, b, rel_tol=1e-4, abs_tol=1e-6) for a, b in zip(some, others, strict=True)
    )


def right_rates(record: Record) -> None:
    if not record.in_step:
        return
    got, n = [step.rates[0] for step in record.steps], record.per_epoch
    count = range(len(got))
    words = ", ".join(f"{rate:.3f}" for rate in got[: n + 2])
    words = f"{words} ... where lr_at says {', '.join(f'{lr_at(i):.3f}' for i in range(min(n + 2, len(got))))} ..."
    if same(got, [lr_at(i) for i in count]):
        return
    if record.attribute and set(got) == {0.05}:
        why = 'Nothing reads that. The rate is in the groups: for group in optimiser.param_groups: group["lr"] = ...'
        raise Wrong("optimiser.lr instead of the groups", words, why)
    if set(got) == {0.05}:
        why = (
            'The optimiser keeps it in its groups: for group in optimiser.param_groups: group["lr"] = lr_at(iteration).'
        )
        raise Wrong("the learning rate is never set", words, why)
    if same(got[1:], [lr_at(i) for i in count[:-1]]):
        why = "Set it before optimiser.step(): the first step should have lr_at(0) already."
        raise Wrong("the learning rate is set too late", words, why)
    if same(got, [lr_at(i + 1) for i in count]):
        why = "The first iteration is number 0: count up at the end of the inner loop, or use enumerate."
        raise Wrong("the iterations are counted from 1", words, why)
    if same(got, [lr_at(i // n) for i in count]):
        raise Wrong(
            "the epoch instead of the iteration", words, "lr_at takes the iteration: the number of batches so far."
        )
    if same(got, [lr_at(i - i % n) for i in count]):
        raise Wrong("the learning rate is set once an epoch", words, "Set it inside the inner loop, for every batch.")
    if same(got, [lr_at(i % n) for i in count]):
        why = "An enumerate of the batches starts again at 0. Keep a count that begins before both loops."
        raise Wrong("the iterations start again in each epoch", words, why)
    raise Wrong("another learning rate", words, "Set lr_at(iteration) itself, before each step.")


def as_lists(result: Any) -> Any:
    """NumPy's arrays as lists, since they print and plot like them."""
    if isinstance(result, np.ndarray):
        return result.tolist()
    return [as_lists(row) for row in result] if isinstance(result, (list, tuple)) else result


def pairs(record: Record) -> list[tuple[float, float]]:
    """What the loop returned, which must be one pair of numbers for each epoch."""
    result, epochs = as_lists(record.result), record.epochs
    if result is None:
        why = "The function ends in `return`, after both loops."
        raise Wrong("nothing is returned", "None", why)
    rows = list(result) if isinstance(result, (list, tuple)) else [result]
    values = [value for row in rows for value in (row if isinstance(row, (list, tuple)) else [row])]
    if any(isinstance(value, torch.Tensor) for value in values) or isinstance(result, torch.Tensor):
        why = "Make numbers of them when the epoch is over: float(x) or x.item()."
        raise Wrong("tensors instead of numbers", "a tensor", why)
    if len(rows) == 2 != epochs and all(isinstance(row, Real) for row in rows):
        why = "Append each epoch's pair to a list that begins before both loops, and return the list."
        raise Wrong("the last epoch's numbers only", "one pair", why)
    if len(rows) == 2 != epochs and all(isinstance(row, (list, tuple)) and len(row) == epochs for row in rows):
        why = "One list, with a pair (loss, error) for each epoch: history.append((loss, error))."
        raise Wrong("two lists instead of pairs", f"two lists of {epochs}", why)
    good = [isinstance(row, (list, tuple)) and len(row) == 2 and all(isinstance(v, Real) for v in row) for row in rows]
    if not isinstance(result, (list, tuple)) or not all(good):
        what = type(result).__name__ if not isinstance(result, (list, tuple)) else f"{len(rows)} x {rows[:1]}"
        raise Wrong("not pairs of numbers", what, "Return a list with a pair (mean loss, error) for each epoch.")
    if len(rows) != epochs and record.in_step:
        why = "Append to the list after the inner loop: one pair for each epoch."
        what = "a pair for every batch" if len(rows) == len(record.expected) else "not one pair for each epoch"
        raise Wrong(what, f"{len(rows)} pairs for {epochs} epochs", why)
    return rows


def mean_loss(record: Record) -> None:
    numbers = _numbers(record, 0)
    mistake = gradient_mistake(record)
    if numbers is None or mistake and mistake.mistake in ANOTHER_LOSS:
        return
    logits, labels = [f.logits.double() for f in record.trained], [f.labels for f in record.trained]
    softmaxed = [nnF.cross_entropy(z.softmax(1), y).item() for z, y in zip(logits, labels, strict=True)]
    if same(numbers, _means(softmaxed, record)[0]):
        raise Wrong(*SOFTMAX)
    _compare(numbers, list(map(float, map(nnF.cross_entropy, logits, labels))), record, "loss")


def error(record: Record) -> None:
    numbers = _numbers(record, 1)
    if numbers is None:
        return
    values = [(f.logits.argmax(1) != f.labels).double().mean().item() for f in record.trained]
    right = _means(values, record)[0]
    got = f"{listed(numbers)} where {listed(right)} is right"
    accuracy = [1 - value for value in right]
    if any(same(numbers, [factor * value for value in accuracy]) for factor in (1, 100)):
        why = "The error is the share of wrong answers: 1 minus the accuracy, or count with != instead of ==."
        raise Wrong("the accuracy instead of the error", got, why)
    if same(numbers, [100 * value for value in right]):
        raise Wrong("percent instead of a share", got, "A share is between 0 and 1: nothing is multiplied by 100.")
    if same(numbers, _means([1 - value for value in values], record)[1]["a sum instead of a mean"][0]):
        raise Wrong("right answers are counted", got, "Count the wrong ones, and divide by the number of images.")
    _compare(numbers, values, record, "error")


def _numbers(record: Record, column: int) -> list[float] | None:
    """The returned losses (0) or errors (1), or None where another check has more to say."""
    try:
        rows = pairs(record)
    except Wrong:
        return None
    if not record.in_step or len(record.forwards) > len(record.trained) or any(f.batch is None for f in record.trained):
        return None
    return [float(row[column]) for row in rows]


def _means(values: list[float], record: Record) -> tuple[list[float], dict[str, list[list[float]]]]:
    """Each epoch's mean over its images, and what comes of adding up or dividing in another way."""
    n, sizes = record.per_epoch, [len(forward.labels) for forward in record.trained]
    starts = range(0, len(values), n)
    plain = [sum(values[s : s + n]) for s in starts]
    weighted = [sum(v * size for v, size in zip(values[s : s + n], sizes[s : s + n], strict=True)) for s in starts]
    images = sum(sizes[:n])
    since_start, plain_since_start = list(accumulate(weighted)), list(accumulate(plain))
    epochs = range(1, len(starts) + 1)
    return [w / images for w in weighted], {
        "averaged over batches instead of images": [[p / n for p in plain]],
        "a sum instead of a mean": [weighted, plain],
        "the last batch only": [values[n - 1 :: n], [v / n for v in values[n - 1 :: n]]],
        "the wrong divisor": [
            [p / images for p in plain],
            [w / n for w in weighted],
            [w / (n * record.batch_size) for w in weighted],
            [p * record.batch_size / images for p in plain],
        ],
        "the sums are not reset": [
            [w / (images * e) for w, e in zip(since_start, epochs, strict=True)],
            [w / images for w in since_start],
            [w / (images * e) for w, e in zip(weighted, epochs, strict=True)],
            [p / (n * e) for p, e in zip(plain_since_start, epochs, strict=True)],
            [p / n for p in plain_since_start],
        ],
    }


WHY = {
    "averaged over batches instead of images": "The last batch is smaller and counts as much as the others here. Add "
    "up loss * len(labels), and divide by the number of images.",
    "a sum instead of a mean": "Divide by the number of images when the epoch is over.",
    "the last batch only": "Add up over all batches of the epoch: += instead of =.",
    "the wrong divisor": "A sum over images is divided by the number of images: add up len(labels) as well.",
    "the sums are not reset": "Each epoch has its own numbers: set the sums to 0 inside the outer loop.",
}


def _compare(got: list[float], values: list[float], record: Record, what: str) -> None:
    right, others = _means(values, record)
    if same(got, right):
        return
    words = f"a {what} of {listed(got)} where {listed(right)} is right"
    for mistake, candidates in others.items():
        if any(same(got, candidate) for candidate in candidates):
            raise Wrong(mistake, words, WHY[mistake])
    swapped = [float(row[1 if what == "loss" else 0]) for row in pairs(record)]
    if same(swapped, right):
        raise Wrong("loss and error are swapped", words, "The loss comes first: history.append((loss, error)).")
    why = "It is the mean over all images of the epoch, from the logits that the steps were made with."
    raise Wrong(f"another {what}", words, why)


def listed(numbers: list[float]) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers)
