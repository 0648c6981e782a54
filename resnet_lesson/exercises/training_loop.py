"""The first exercise of notebook 06: the training loop. The probes read what loop_record.py writes down."""

from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy

from ..training import loop
from .kit.exercise import Exercise, Wrong
from .kit.loop_checks import error, mean_loss, pairs, right_gradients, right_rates
from .kit.loop_record import Record, record_of, watch


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
        "Two loops, one inside the other: over the epochs, and over the batches of batches.epoch(epoch). Count the "
        "iterations in a variable of your own that no epoch resets.",
        "For each batch: set the rate, then logits, loss, optimiser.zero_grad(), loss.backward(), optimiser.step().",
        'The rate is in every group: for group in optimiser.param_groups: group["lr"] = lr_at(iteration).',
        "The last batch is smaller. Add up loss.item() * len(labels), the wrong answers and len(labels); divide when "
        "the epoch is over.",
        "The wrong answers of a batch: (logits.argmax(1) != labels).sum().item(). And network.train() at the start.",
    ),
    read="notebook 06, section 5; paper, section 3.4",
)

CHECKS: list[Callable[[Record], None]] = []


def recorded(answer: object) -> Record:
    """The record of the answer at three epochs of 40 images in batches of 12."""
    if not callable(answer):
        raise Wrong("not a function", type(answer).__name__, "Give check() the function itself, without calling it.")
    return record_of(answer)


def watched(tried: str, expected: str) -> Callable:
    """Make a check of a `Record` a probe. The first one lets the answer run, the others read the same record."""

    def add(check: Callable[[Record], None]) -> Callable:
        first = not CHECKS

        @training_loop.probe(tried, expected)
        def probe(answer):
            if first:
                record_of.cache_clear()
            check(recorded(answer))

        CHECKS.append(check)
        return check

    return add


def sound(record: Record, checks: list[Callable[[Record], None]]) -> bool:
    """Whether none of these checks finds anything in a record."""
    try:
        for check in checks:
            check(record)
    except Wrong:
        return False
    return True


@watched("the batches that the network is trained with", "all of each epoch, in the order of batches.epoch(epoch)")
def right_batches(record):
    trained = record.trained or record.forwards
    seen, expected = [forward.batch for forward in trained], record.expected
    got = f"{len(seen)} batches, where {record.epochs} x {record.per_epoch} are expected"
    full = [one for one in expected if one[1] < record.per_epoch - 1]
    if seen == expected:
        return
    if not seen:
        why = "For each batch call network(images), and go back from the loss. Do the loops run at all?"
        raise Wrong("nothing is trained", got, why)
    if None in seen:
        why = "Give the network the images as they come: they are cropped, flipped and normalised already."
        raise Wrong("the network gets other images", "images that are in no batch", why)
    if len(seen) == len(expected) and {epoch for epoch, _ in seen} == {0}:
        why = "`for ... in batches` is epoch 0 each time. batches.epoch(epoch) has another order in each epoch."
        raise Wrong("the same order in every epoch", "epoch 0 each time", why)
    if seen == [(epoch + 1, number) for epoch, number in expected]:
        raise Wrong("the epochs are counted from 1", "epochs 1 to 3", "range(epochs) begins with 0, as batches do.")
    if seen == expected[:1]:
        raise Wrong("it ends after the first batch", got, "Is the `return` inside a loop? It belongs after both.")
    if seen == expected[: record.per_epoch]:
        why = "Is the `return` inside the outer loop, or is there no loop over range(epochs)?"
        raise Wrong("it ends after the first epoch", got, why)
    if seen == full:
        raise Wrong("the last batch is left out", got, "It is smaller, but its images belong to the epoch too.")
    raise Wrong("other batches", f"{got}: {seen[:4]} ...", "Each batch of each epoch comes once.")


@watched("how often the network and the optimiser are called", "once for each batch")
def one_step_a_batch(record):
    trained, steps = len(record.trained), len(record.steps)
    if not record.forwards:
        return  # the check of the batches says so
    got = f"{steps} steps for {trained} batches"
    if not steps:
        if record.moved:
            why = "Use the one that fit is given: it holds the momentum, and its rate is the one that lr_at sets."
            raise Wrong("another optimiser", "changed weights without a step of the optimiser that was given", why)
        why = "backward() only computes the gradients. optimiser.step() changes the weights."
        raise Wrong("the optimiser makes no step", got, why)
    if trained and steps == record.epochs < trained:
        why = "Is optimiser.step() indented with the inner loop? It comes after every batch, not after every epoch."
        raise Wrong("one step an epoch", got, why)
    if trained and steps != trained:
        raise Wrong("not one step a batch", got, "Each batch has one backward() and one optimiser.step().")
    if len(record.forwards) > trained > 0:
        why = "It costs time, and in training mode it moves BN's statistics. The first one's logits show the mistakes."
        raise Wrong("a second forward pass", f"{len(record.forwards)} forward passes for {trained} batches", why)


@watched("a network that comes in evaluation mode", "training mode for every batch: BN uses the batch's statistics")
def training_mode(record):
    wrong = [forward for forward in record.trained if not forward.training]
    if wrong:
        why = "Whoever evaluated before has left it so. Call network.train() before the batches of an epoch."
        raise Wrong("not in training mode", f"evaluation mode for {len(wrong)} of {len(record.trained)} batches", why)


watched("the gradients in each step", "those of the mean cross-entropy of this batch alone")(right_gradients)
watched("the learning rate at each step", "lr_at(iteration), with iterations counted on from epoch to epoch")(
    right_rates
)


@watched("an optimiser with two groups of parameters", "the same learning rate in both")
def every_group(record):
    if any(len(set(step.rates)) > 1 for step in record.steps):
        rates = next(step.rates for step in record.steps if len(set(step.rates)) > 1)
        why = "An optimiser may have several groups, param_groups[0] is only the first: set it in a loop over all."
        raise Wrong("only one group gets the learning rate", " and ".join(f"{rate:g}" for rate in rates), why)


@watched("the graphs of earlier batches", "forgotten, so that their memory is free again")
def no_graph_is_kept(record):
    if record.kept > 1 or record.alive() > 1:
        why = "A loss that is kept or added up keeps its batch's graph: memory grows. Use loss.item() or loss.detach()."
        raise Wrong("the losses keep their graphs", f"{max(record.kept, record.alive())} graphs alive", why)


@watched("what the function returns", "a list with one pair of numbers (mean loss, error) for each epoch")
def right_form(record):
    if record.alive() <= 1:  # otherwise the check of the graphs says so
        pairs(record)


watched("the first number of each pair", "the mean cross-entropy over the images of the epoch")(mean_loss)
watched("the second number of each pair", "the share of wrong answers in the epoch, from 0 to 1")(error)


@watched("the weights in the end", "those of the course's loop")
def right_weights(record):
    if not sound(record, CHECKS[: CHECKS.index(right_weights)]):
        return  # another probe says so
    expected = watch(loop.fit, record.epochs, record.count, record.batch_size).weights
    # A loop in bfloat16 ends within half of this, another momentum or weight decay outside of it.
    wrong = [name for name, value in record.weights.items() if not torch.allclose(value, expected[name], 0, 0.01)]
    if wrong:
        why = "Only optimiser.step() changes the weights, and only the network's BN its statistics."
        raise Wrong("other weights", f"another {wrong[0]}", why)


@training_loop.probe("one epoch of ten images in batches of four", "three steps, one pair")
def another_size(answer):
    if not sound(recorded(answer), CHECKS):
        return  # another probe says so
    other = watch(answer, 1, 10, 4)
    try:
        for check in CHECKS:
            check(other)
    except Wrong as wrong:
        why = "With other numbers of epochs, batches and images all was right. Is one of them written into your code?"
        raise Wrong("right for one size only", f"{wrong.mistake}: {wrong.got}", why) from wrong
