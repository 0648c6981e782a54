"""The training loop in its shortest form: `step` against a step by hand, and `fit` against many of them."""

import pytest
import torch
import torch.nn.functional as F
from support.training import TRAIN, assert_same_weights
from torch import nn

from resnet_lesson import exercises
from resnet_lesson.datasets.batches import Batches, Normalisation
from resnet_lesson.models.networks import build
from resnet_lesson.training.loop import fit, step

LOADED = Batches(TRAIN, 16, Normalisation.of(TRAIN), shuffle=True, seed=2)  # batches of 16, 16 and 8


def tiny():
    network = build("resnet8", seed=0)
    return network, torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)


def test_the_exercise_s_solution_is_the_same_loop_bit_for_bit():
    (one, optimiser), (other, others), shown = tiny(), tiny(), {}
    exec(exercises.training_loop.solution(), shown)
    ours = fit(one, LOADED, optimiser, lambda i: 0.01 * (i + 1), 2)
    theirs = shown["fit"](other, LOADED, others, lambda i: 0.01 * (i + 1), 2)
    assert_same_weights(one, other)
    assert [error for _, error in ours] == [error for _, error in theirs]
    assert [loss for loss, _ in ours] == pytest.approx([loss for loss, _ in theirs])


def test_fit_asks_for_the_rate_of_each_iteration_and_sets_it_in_every_group():
    network = build("resnet8", seed=0)
    *body, weight, bias = network.parameters()
    optimiser = torch.optim.SGD([{"params": body}, {"params": [weight, bias]}], lr=1.0)
    used = []
    optimiser.register_step_pre_hook(lambda opt, *_: used.append([group["lr"] for group in opt.param_groups]))
    fit(network, LOADED, optimiser, lambda i: 0.001 * (i + 1), epochs=2)
    assert used == [[0.001 * (i + 1)] * 2 for i in range(6)]


def test_fit_puts_the_network_in_training_mode_before_every_epoch():
    network, optimiser = tiny()
    modes = []
    network.eval().register_forward_pre_hook(lambda module, _: modes.append(module.training))
    # Somebody evaluates at the end of each epoch.
    optimiser.register_step_post_hook(lambda *_: network.eval() if len(modes) % 3 == 0 else None)
    fit(network, LOADED, optimiser, lambda i: 0.05, epochs=2)
    assert modes == [True] * 6


def test_fit_takes_a_list_or_a_data_loader_too():
    one, optimiser = tiny()
    fit(one, list(LOADED.epoch(0)), optimiser, lambda i: 0.05, epochs=2)
    other, others = tiny()
    loader = torch.utils.data.DataLoader(list(LOADED.epoch(0)), batch_size=None)
    fit(other, loader, others, lambda i: 0.05, epochs=2)
    assert_same_weights(one, other)


def test_fit_says_that_an_epoch_had_no_batches():
    network, optimiser = tiny()
    with pytest.raises(ValueError, match="Epoch 0 has no batches"):
        fit(network, [], optimiser, lambda i: 0.05)
    with pytest.raises(ValueError, match="Epoch 1 has no batches.*generator"):
        fit(network, LOADED.epoch(0), optimiser, lambda i: 0.05, epochs=2)


def test_fit_with_another_loss():
    def twice(logits, labels):
        return 2 * F.cross_entropy(logits, labels)

    histories = []
    for loss in (F.cross_entropy, nn.CrossEntropyLoss(), twice):
        network, optimiser = tiny()
        histories += fit(network, LOADED, optimiser, lambda i: 0.0, loss=loss)
    one, same, double = histories
    assert one == same and double == (pytest.approx(2 * one[0], rel=1e-6), one[1])


def test_step_returns_the_loss_and_the_logits_from_before_it_and_forgets_older_gradients():
    (network, optimiser), (other, others) = tiny(), tiny()
    images, labels = next(LOADED.epoch(0))
    with torch.no_grad():
        expected = build("resnet8", seed=0).train()(images)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    loss, logits = step(network, images, labels, optimiser)
    assert torch.equal(logits, expected) and torch.equal(loss, F.cross_entropy(expected, labels))
    assert not loss.requires_grad and not logits.requires_grad
    step(other, images, labels, others)
    assert_same_weights(network, other)


def test_step_in_bfloat16_has_a_float32_loss_and_float32_weights_near_those_of_float32():
    (one, optimiser), (other, others) = tiny(), tiny()
    images, labels = next(LOADED.epoch(0))
    seen = []
    one.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    loss, _ = step(one, images, labels, optimiser, precision="bfloat16")
    exact, _ = step(other, images, labels, others)
    assert seen == [torch.bfloat16] and loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.05)
    assert {parameter.dtype for parameter in one.parameters()} == {torch.float32}
