"""Right and wrong answers to the exercise `training_loop` of notebook 06: see tests/exercises/test_exercises.py."""

import torch
import torch.nn.functional as F
from torch import nn

from resnet_lesson.training import loop


def clears_at_the_end(network, batches, optimiser, lr_at, epochs=1):
    """network.zero_grad() after the step, the iteration computed, sums under no_grad, lists instead of tuples."""
    history = []
    for epoch in range(epochs):
        sums, seen = torch.zeros(2), 0
        for i, (x, y) in enumerate(batches.epoch(epoch)):
            network.train()
            z = network(x)
            loss = F.nll_loss(F.log_softmax(z, dim=1), y)
            loss.backward()
            for group in optimiser.param_groups:
                group["lr"] = lr_at(epoch * len(batches) + i)
            optimiser.step()
            network.zero_grad()
            with torch.no_grad():
                sums += torch.stack([loss * len(y), 1.0 * (z.softmax(1).argmax(1) != y).sum()])
                seen += len(y)
        history += [[number / seen for number in sums.tolist()]]
    return history


def with_a_closure(network, batches, optimiser, lr_at, epochs=1):
    """optimiser.step(closure); all logits of an epoch kept, without their graphs."""
    rows, iteration = [], 0
    network.train()
    for epoch in range(epochs):
        logits, truth = [], []
        for images, labels in batches.epoch(epoch):

            def closure(images=images, labels=labels, logits=logits):
                optimiser.zero_grad()
                z = network(images)
                logits.append(z.detach())
                loss = F.cross_entropy(z, labels)
                loss.backward()
                return loss

            for group in optimiser.param_groups:
                group.update(lr=lr_at(iteration))
            optimiser.step(closure)
            truth.append(labels)
            iteration += 1
        logits, truth = torch.cat(logits), torch.cat(truth)
        rows.append((F.cross_entropy(logits, truth).item(), 1 - (logits.argmax(1) == truth).float().mean().item()))
    return rows


def with_a_scheduler(network, batches, optimiser, lr_at, epochs=1):
    """A LambdaLR whose factors are divided by the first rate; gradients cleared by hand."""
    factors = [lambda i, first=group["lr"]: lr_at(i) / first for group in optimiser.param_groups]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, factors)
    history = []
    for epoch in range(epochs):
        network.train()
        losses, wrong, sizes = [], [], []
        for images, labels in batches.epoch(epoch):
            for parameter in network.parameters():
                parameter.grad = None
            logits = network(images)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimiser.step()
            scheduler.step()
            losses.append(loss.item() * len(images))
            wrong.append((logits.argmax(dim=1) != labels).sum())
            sizes.append(len(images))
        history.append((sum(losses) / sum(sizes), int(sum(wrong)) / sum(sizes)))
    return tuple(history)


def in_bfloat16(network, batches, optimiser, lr_at, epochs=1):
    """The loop of machines with tensor cores: autocast around the forward pass, device and memory format."""
    device = next(network.parameters()).device
    means, i = [], 0
    for epoch in range(epochs):
        network.train()
        total = torch.zeros(3, dtype=torch.float64)
        for x, y in batches.epoch(epoch):
            x, y = x.to(device, non_blocking=True).to(memory_format=torch.channels_last), y.to(device)
            with torch.autocast(device.type, dtype=torch.bfloat16):
                z = network(x)
                loss = F.cross_entropy(z.float(), y)
            loss.backward()
            for group in optimiser.param_groups:
                group["lr"] = lr_at(i)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            total += torch.tensor([loss.item() * len(y), len(y) - (z.argmax(1) == y).sum().item(), len(y)])
            i += 1
        means.append(tuple((total[:2] / total[2]).tolist()))
    return means


def enumerated(rate_of=lambda e, i, n: e * n + i, changed=lambda z, y: F.cross_entropy(z, y), row=lambda *row: row):
    """Another style, with a mistake handed in: the iteration, the loss, and what is kept of an epoch."""

    def fit(net, loader, opt, lr_at, epochs=1):
        rows = []
        for e in range(epochs):
            net.train()
            losses, hits, sizes = [], [], []
            for i, (x, y) in enumerate(loader.epoch(e)):
                opt.param_groups[0]["lr"] = opt.param_groups[1]["lr"] = lr_at(rate_of(e, i, len(loader)))
                opt.zero_grad()
                z = net(x)
                value = changed(z, y)
                value.backward()
                opt.step()
                losses.append(value.item())
                hits.append((z.argmax(1) == y).sum().item())
                sizes.append(len(y))
            mean = sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / sum(sizes)
            rows.append(row(mean, 1 - sum(hits) / sum(sizes)))
        return rows

    return fit


def adds_up_tensors(network, batches, optimiser, lr_at, epochs=1):
    """Three mistakes: loss and misses are added up as tensors, and divided by the number of batches."""
    history, i = [], 0
    for e in range(epochs):
        network.train()
        total = misses = n = 0
        for x, y in batches.epoch(e):
            for group in optimiser.param_groups:
                group["lr"] = lr_at(i)
            z = network(x)
            loss = F.cross_entropy(z, y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss
            misses += (z.argmax(1) != y).sum()
            n += len(y)
            i += 1
        history.append((total / len(batches), misses / n))
    return history


def clears_too_late(network, batches, optimiser, lr_at, epochs=1):
    """The step of an optimiser whose gradients are cleared first."""
    step = optimiser.step
    optimiser.step = lambda: (optimiser.zero_grad(), step())
    return loop.fit(network, batches, optimiser, lr_at, epochs)


def remembers(network, batches, optimiser, lr_at, epochs=1, history=[]):  # noqa: B006
    history += loop.fit(network, batches, optimiser, lr_at, epochs)
    return history


def after(change):
    """The right loop, and then something with what it returns."""
    return lambda *arguments: change(loop.fit(*arguments))


def under_no_grad(*arguments):
    with torch.no_grad():
        return loop.fit(*arguments)


def own_optimiser(network, batches, optimiser, lr_at, epochs=1):
    return loop.fit(network, batches, torch.optim.SGD(network.parameters(), lr=0.1), lr_at, epochs)


RIGHT = {
    "training_loop": {
        "the course's": loop.fit,
        "gradients cleared after the step": clears_at_the_end,
        "a closure": with_a_closure,
        "a scheduler": with_a_scheduler,
        "bfloat16": in_bfloat16,
        "enumerate": enumerated(),
    },
}

AVERAGED = "averaged over batches instead of images"

WRONG = {
    "training_loop": {
        "an optimiser of its own": (own_optimiser, "the weights change without the given optimiser"),
        "a sum": (
            enumerated(changed=nn.CrossEntropyLoss(reduction="sum")),
            "",
        ),
        "the error first, iterations from 1": (
            enumerated(lambda e, i, n: e * n + i + 1, row=lambda loss, error: [error, loss]),
            ["the iterations are counted from 1", "loss and error are swapped"],
        ),
        "the accuracy in percent": (
            after(lambda rows: [(a, 100 - 100 * b) for a, b in rows]),
            "the accuracy instead of the error",
        ),
        "three mistakes": (
            adds_up_tensors,
            ["the graphs of earlier batches are kept", "tensors instead of numbers", AVERAGED],
        ),
        "zero_grad between backward and step": (clears_too_late, "the gradients are cleared before the step"),
        "two arrays": (after(lambda rows: torch.tensor(rows).T.numpy()), "two lists instead of pairs"),
        "no_grad": (under_no_grad, "your code stopped with RuntimeError"),
        "a default that is a list": (remembers, "the second run is not like the first"),
    },
}
