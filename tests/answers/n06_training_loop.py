"""Right and wrong answers to the exercise `training_loop` of notebook 06: see tests/test_exercises.py."""

import torch
import torch.nn.functional as F
from torch import nn

from resnet_lesson.training import loop


def numbers_each_step(network, batches, optimiser, lr_at, epochs=1):
    """Python numbers with .item(), zero_grad(set_to_none=False), CrossEntropyLoss."""
    criterion = nn.CrossEntropyLoss()
    network.train()
    history = []
    iteration = 0
    for epoch in range(epochs):
        running_loss, wrong, total = 0.0, 0, 0
        for images, labels in batches.epoch(epoch):
            for group in optimiser.param_groups:
                group["lr"] = lr_at(iteration)
            optimiser.zero_grad(set_to_none=False)
            outputs = network(images)
            loss = criterion(outputs, labels)
            loss.backward()
            optimiser.step()
            running_loss += loss.item() * labels.size(0)
            _, predicted = outputs.max(1)
            wrong += predicted.ne(labels).sum().item()
            total += labels.size(0)
            iteration += 1
        history.append((running_loss / total, wrong / total))
    return history


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


def slip(*kinds):
    """The loop with these mistakes in it."""

    def fit(network, batches, optimiser, lr_at, epochs=1):
        def has(kind):
            return kind in kinds

        history, iteration, loss_sum, wrong, seen = [], int(has("from 1")), 0.0, 0, 0
        losses, errors = [], []
        if not has("eval"):
            network.train()
        for epoch in range(epochs):
            order = batches if has("same order") else batches.epoch(epoch + int(has("epochs from 1")))
            if not has("not reset"):
                loss_sum, wrong, seen = 0.0, 0, 0
            unweighted = count = 0
            for i, (images, labels) in enumerate(order):
                if has("no small batch") and len(labels) < batches.batch_size:
                    continue
                rate = lr_at(
                    epoch
                    if has("epoch")
                    else i
                    if has("restart")
                    else epoch * len(batches)
                    if has("once an epoch")
                    else iteration
                )
                if has("own attribute"):
                    optimiser.lr = rate
                elif not has("late") and not has("no rate"):
                    for group in optimiser.param_groups[: 1 if has("one group") else None]:
                        group["lr"] = rate / 2 if has("half") else rate
                if has("step first, cleared"):
                    optimiser.zero_grad()
                if has("clear each epoch") and i == 0:
                    optimiser.zero_grad()
                if has("changed"):
                    images = images / 255
                logits = network(images)
                z = logits.softmax(1) if has("softmax") else logits
                options = {"reduction": "sum"} if has("sum") else {}
                if has("smooth"):
                    options["label_smoothing"] = 0.1
                loss = F.cross_entropy(z, labels, **options)
                if has("step first") or has("step first, cleared"):
                    optimiser.step()
                if not any(map(has, ("no clearing", "clear each epoch", "cleared late", "step first, cleared"))):
                    optimiser.zero_grad()
                if not has("no backward"):
                    loss.backward()
                if has("cleared late"):
                    optimiser.zero_grad()
                if not any(map(has, ("step first", "step first, cleared", "no step", "step each epoch"))):
                    optimiser.step()
                if has("by hand"):
                    with torch.no_grad():
                        network.layers[-1].weight.clamp_(-0.05, 0.05)
                if has("late"):
                    for group in optimiser.param_groups:
                        group["lr"] = rate
                if has("second pass"):
                    logits = network(images)
                n = len(labels)
                if has("graph"):
                    loss_sum = loss_sum + loss * n
                elif has("graph in a list"):
                    losses.append(loss)
                    loss_sum += loss.item() * n
                elif has("last batch"):
                    loss_sum = loss.item() * 40
                else:
                    loss_sum += loss.item() * n
                matches = logits.argmax(1) == labels
                wrong += matches.sum().item() if has("accuracy") or has("right") else (~matches).sum().item()
                unweighted, count, seen, iteration = unweighted + loss.item(), count + 1, seen + n, iteration + 1
                if has("row a batch"):
                    history.append((loss.item(), (~matches).float().mean().item()))
                if has("return in the loop"):
                    return [(loss_sum / seen, wrong / seen)]
            if has("step each epoch"):
                optimiser.step()
            divisor = 40 if has("40") else seen
            mean = loss_sum.item() / divisor if has("graph") else loss_sum / divisor
            if has("batch means"):
                mean = unweighted / count
            if has("loss per image"):
                mean = unweighted / seen
            if has("no division"):
                mean = loss_sum
            error = wrong if has("right") else wrong / seen * (100 if has("percent") else 1)
            if has("tensors"):
                mean, error = torch.tensor(mean), torch.tensor(error)
            if has("noise"):
                mean *= 1.01
            losses.append(mean)
            errors.append(error)
            if not has("row a batch"):
                history.append((error, mean) if has("swapped") else (mean, error))
            if has("return after an epoch"):
                return history
        if has("printed"):
            return print(history)
        if has("flat"):
            return losses
        if has("two lists"):
            return losses, errors
        return history[-1] if has("last epoch") else history

    return fit


def under_no_grad(*arguments):
    with torch.no_grad():
        return loop.fit(*arguments)


def yields(network, batches, optimiser, lr_at, epochs=1):
    yield from loop.fit(network, batches, optimiser, lr_at, epochs)


def loss_as_a_number(network, batches, optimiser, lr_at, epochs=1):
    for images, labels in batches.epoch(0):
        loss = F.cross_entropy(network(images), labels).item()
        loss.backward()


def labels_first(network, batches, optimiser, lr_at, epochs=1):
    for images, labels in batches.epoch(0):
        F.cross_entropy(labels, network(images)).backward()


def one_sum(network, batches, optimiser, lr_at, epochs=1):
    """The loss that goes back is the sum so far."""
    total = 0.0
    for images, labels in batches.epoch(0):
        total = total + F.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        total.backward()


def used_up(network, batches, optimiser, lr_at, epochs=1):
    data, history = batches.epoch(0), []
    for _ in range(epochs):
        losses = [loop.step(network, images, labels, optimiser)[0].item() for images, labels in data]
        history.append((sum(losses) / len(losses), 0.5))
    return history


def own_optimiser(network, batches, optimiser, lr_at, epochs=1):
    return loop.fit(network, batches, torch.optim.SGD(network.parameters(), lr=0.1), lr_at, epochs)


def nothing_runs(network, batches, optimiser, lr_at, epochs=1):
    return [(0.0, 0.0) for _ in range(epochs)]


def one_batch_twice(network, batches, optimiser, lr_at, epochs=1):
    history = []
    for epoch in range(epochs):
        first = next(batches.epoch(epoch))
        history += loop.fit(network, [first] * len(batches), optimiser, lambda i, e=epoch: lr_at(len(batches) * e + i))
    return history


def two_steps(network, batches, optimiser, lr_at, epochs=1):
    network.train()
    for epoch in range(epochs):
        for images, labels in batches.epoch(epoch):
            loop.step(network, images, labels, optimiser)
            optimiser.step()
    return [(1.0, 0.5)] * epochs


RIGHT = {
    "training_loop": {
        "the course's": loop.fit,
        "numbers each step": numbers_each_step,
        "gradients cleared after the step": clears_at_the_end,
        "a closure": with_a_closure,
        "a scheduler": with_a_scheduler,
        "the factory of the wrong ones, without a mistake": slip(),
    },
}

PILE, EARLY = "the gradients pile up", "the step comes before the backward pass"
GRAPHS = "the losses keep their graphs"

WRONG = {
    "training_loop": {
        "no zero_grad": (slip("no clearing"), PILE),
        "zero_grad once an epoch": (slip("clear each epoch"), PILE),
        "step before backward": (slip("step first"), EARLY),
        "zero_grad, step, backward": (slip("step first, cleared"), EARLY),
        "zero_grad after backward": (slip("cleared late"), "the gradients are cleared before the step"),
        "no backward": (slip("no backward"), "no backward pass"),
        "no step": (slip("no step"), "the optimiser makes no step"),
        "an optimiser of its own": (own_optimiser, "another optimiser"),
        "step once an epoch": (slip("step each epoch"), "one step an epoch"),
        "two steps a batch": (two_steps, "not one step a batch"),
        "no train()": (slip("eval"), "not in training mode"),
        "no learning rate": (slip("no rate"), "the learning rate is never set"),
        "optimiser.lr": (slip("own attribute"), "optimiser.lr instead of the groups"),
        "learning rate after the step": (slip("late"), "the learning rate is set too late"),
        "iterations from 1": (slip("from 1"), "the iterations are counted from 1"),
        "lr_at(epoch)": (slip("epoch"), "the epoch instead of the iteration"),
        "learning rate once an epoch": (slip("once an epoch"), "the learning rate is set once an epoch"),
        "enumerate": (slip("restart"), "the iterations start again in each epoch"),
        "half the rate": (slip("half"), "another learning rate"),
        "param_groups[0]": (slip("one group"), "only one group gets the learning rate"),
        "softmax": (slip("softmax"), "softmax before the cross-entropy"),
        "reduction sum": (slip("sum"), "the loss is a sum over the batch"),
        "label smoothing": (slip("smooth"), "other gradients"),
        "mean of the batches": (slip("batch means"), "averaged over batches instead of images"),
        "no division": (slip("no division"), "a sum instead of a mean"),
        "means divided by images": (slip("loss per image"), "the wrong divisor"),
        "not reset": (slip("not reset"), "the sums are not reset"),
        "last batch's loss": (slip("last batch"), "the last batch only"),
        "another loss": (slip("noise"), "another loss"),
        "accuracy": (slip("accuracy"), "the accuracy instead of the error"),
        "percent": (slip("percent"), "percent instead of a share"),
        "number of right answers": (slip("right"), "right answers are counted"),
        "swapped": (slip("swapped"), "loss and error are swapped"),
        "losses with graphs": (slip("graph"), GRAPHS),
        "a list of losses": (slip("graph in a list"), GRAPHS),
        "tensors": (slip("tensors"), "tensors instead of numbers"),
        "printed": (slip("printed"), "nothing is returned"),
        "last epoch": (slip("last epoch"), "the last epoch's numbers only"),
        "two lists": (slip("two lists"), "two lists instead of pairs"),
        "losses only": (slip("flat"), "not pairs of numbers"),
        "a row a batch": (slip("row a batch"), "a pair for every batch"),
        "yield": (yields, "a generator instead of a list"),
        "return in the inner loop": (slip("return in the loop"), "it ends after the first batch"),
        "return in the outer loop": (slip("return after an epoch"), "it ends after the first epoch"),
        "no small batch": (slip("no small batch"), "the last batch is left out"),
        "for ... in batches": (slip("same order"), "the same order in every epoch"),
        "range(1, epochs + 1)": (slip("epochs from 1"), "the epochs are counted from 1"),
        "images / 255": (slip("changed"), "the network gets other images"),
        "one batch again and again": (one_batch_twice, "other batches"),
        "nothing runs": (nothing_runs, "nothing is trained"),
        "two forward passes": (slip("second pass"), "a second forward pass"),
        "no_grad": (under_no_grad, "the forward pass is under no_grad"),
        "loss.item().backward()": (loss_as_a_number, "the loss has no graph"),
        "cross_entropy(labels, logits)": (labels_first, "logits and labels are swapped"),
        "the sum goes back": (one_sum, "backward through earlier batches again"),
        "batches.epoch(0) before the loops": (used_up, "the batches are used up"),
        "weights changed by hand": (slip("by hand"), "other weights"),
        "40 images": (slip("40"), "right for one size only"),
        "no function": ([(2.3, 0.9)], "not a function"),
    },
}
