"""The exercise `freeze` of notebook 08: all but the head stays as it is, weights and BN's statistics, also in training.

Each probe looks at one network that the answer has frozen and that was then trained for three steps.
"""

import copy
import functools
from collections.abc import Callable, Set
from dataclasses import dataclass

import torch
import torch.nn.functional as nnF
from torch import Tensor, nn

from ..models.blocks import BasicBlock
from ..models.resnet import ResNet
from ..training import transfer
from .filter_direction import sound
from .kit.exercise import Exercise, Wrong
from .kit.probing import run, same, shake
from .replace_head import answered

freeze = Exercise(
    "freeze",
    "Write a function after which only the head, network.fc, learns: the weights of all the rest stay as they are, and "
    "so do BN's statistics, also after network.train(). It returns the network.",
    solution=(transfer._stay, transfer.freeze),
    hints=(
        "Two things change a network in training. The optimiser changes parameters; what changes BN's running mean "
        "and variance, and in which mode?",
        'for name, parameter in network.named_parameters(): the head\'s names begin with "fc.". All the others get '
        "parameter.requires_grad_(False): no gradient, no step, no weight decay.",
        "In evaluation mode BN uses its statistics and leaves them alone: module.eval(). But whoever trains calls "
        "network.train() first, and that calls train(mode) of every module.",
        "An attribute of an object comes before the method of its class: for a frozen module, module.train can be a "
        "function of your own, which takes `mode` and changes nothing.",
        "In a loop over the modules outside of fc: module.eval(), then module.train = partial(stay, module), with "
        "def stay(module, mode=True): return module. Or let network.train do what it did, and then the body's eval().",
    ),
    read="notebook 08, section 5",
)

BATCH = "In training mode BN normalises by the batch, whatever it keeps: the frozen body needs evaluation mode, eval()."


def small() -> nn.Module:
    """In training mode, with BN in the stem, in the blocks and in two shortcuts."""
    return shake(ResNet(BasicBlock, (1, 1, 1), (4, 8, 8), (1, 2, 2), "cifar", 5, shortcut="B")).train()


def switch(network: nn.Module, training: bool) -> object:
    """What network.train() or network.eval() returns."""
    try:
        return network.train() if training else network.eval()
    except TypeError as error:
        why = "network.eval() calls train(False), and train() has True as its default: def train(mode=True)."
        raise Wrong("your train() takes no mode", f"{'train' if training else 'eval'}(): {error}", why) from error


def features(network: nn.Module, x: Tensor) -> Tensor:
    """What comes out of the body: the head's inputs, (N, features)."""
    seen = []
    handle = network.fc.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach().clone()))
    with torch.no_grad():
        run(network, x)
    handle.remove()
    return seen[0]


@dataclass(frozen=True)
class Trained:
    """A network that the answer has frozen, after three steps in training mode.

    names: all parameters, before; learning: those with requires_grad; moved: the entries of state_dict() that have
    another value; silent: parameters with a gradient of zeros; evaluated: whether BN was in evaluation mode at first.
    features: what came out of the body in evaluation mode before all this, and in training mode in the end.
    """

    network: nn.Module
    names: Set[str]
    learning: Set[str]
    moved: Set[str]
    silent: Set[str]
    evaluated: bool
    features: tuple[Tensor, Tensor]


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def trained(answer: Callable, all_parameters: bool = True) -> Trained:
    """The answer's network, trained: the optimiser gets all parameters, or those that require a gradient."""
    # What is not callable, answered() says so; the cache would stop at a list.
    return record_of(answer, all_parameters) if callable(answer) else answered(answer, small())


@functools.cache  # emptied by the first probe
def record_of(answer: Callable, all_parameters: bool) -> Trained:
    network, x, labels = small(), torch.randn(12, 3, 8, 8), torch.arange(12) % 5
    names, expected = {name for name, _ in network.named_parameters()}, features(copy.deepcopy(network).eval(), x)
    before = copy.deepcopy(answered(answer, network).state_dict())
    evaluated = not any(norm.training for norm in norms(network))
    parameters = dict(network.named_parameters())
    learning = {name for name, p in parameters.items() if p.requires_grad}
    chosen = [p for name, p in parameters.items() if all_parameters or name in learning]
    optimiser = torch.optim.SGD(chosen or [torch.zeros(1)], lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        switch(network, True)
        loss = nnF.cross_entropy(network(x), labels)
        if loss.requires_grad:
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    now = network.state_dict()
    moved = {name for name in before if not torch.equal(now[name], before[name])}
    silent = {name for name, p in parameters.items() if p.grad is not None and not p.grad.any()}
    switch(network, True)
    return Trained(network, names, learning, moved, silent, evaluated, (expected, features(network, x)))


def check_body(seen: Trained, wrong: Set[str]) -> None:
    """Raise `Wrong` if these parameters, which learn or have moved, are any of the body's."""
    body = {name for name in seen.names if not name.startswith("fc.")}
    of_bn = {name for name in body if isinstance(small().get_submodule(name.rpartition(".")[0]), nn.BatchNorm2d)}
    stem = {name for name in body if name.startswith("stem.")}
    wrong = wrong & body
    if not wrong:
        return
    got = f"{len(wrong)} of the body's {len(body)} parameters, the first one {sorted(wrong)[0]}"
    if any("requires_grad" in vars(module) for module in seen.network.modules()):
        why = "module.requires_grad = ... makes a new attribute that nobody reads: module.requires_grad_(False)."
        raise Wrong("a module's requires_grad is set", got, why)
    if wrong <= seen.silent:
        why = "Weight decay moves a weight also where its gradient is 0, and so does momentum: requires_grad_(False)."
        raise Wrong("the gradients are only set to zero", got, why)
    if not seen.moved & body:
        why = "They do not move, but whoever counts or picks what learns goes by requires_grad: requires_grad_(False)."
        raise Wrong("only the way to the body is cut", got, why)
    kinds = {
        "nothing is frozen": (body, "Do the names in your code occur? Ours begin with stem., stages. and fc."),
        "BN's weight and bias still learn": (of_bn, "They are parameters as the convolutions' weights are."),
        "only BN is frozen": (body - of_bn, "The convolutions' weights are to stay as well."),
        "only the stem is frozen": (body - stem, "All but network.fc is the body: the stages too."),
        "only the stages are frozen": (stem, "All but network.fc is the body: the stem too."),
    }
    for mistake, (names, why) in kinds.items():
        if wrong == names:
            raise Wrong(mistake, got, why)
    raise Wrong("a part of the body still learns", got, "All but network.fc is the body: go through all of it.")


def check_head(wrong: Set[str]) -> None:
    """Raise `Wrong` if these parameters, which do not learn, are any of the head's."""
    if wrong := {name for name in wrong if name.startswith("fc.")}:
        mistake = "the head is frozen too" if len(wrong) == 2 else "a part of the head is frozen"
        why = "Ours is called network.fc: leave out what begins with fc., or free it afterwards, requires_grad_(True)."
        raise Wrong(mistake, ", ".join(sorted(wrong)), why)


@freeze.probe("what the function returns", "the network that was given")
def returned(answer):
    record_of.cache_clear()
    answered(answer, small())


@freeze.probe("the logits in evaluation mode, before any step", "those of before")
def nothing_yet(answer):
    network, x = small(), torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        expected = run(copy.deepcopy(network).eval(), x)
        switch(answered(answer, network), False)
        found = run(network, x)
    if any(norm.running_mean is None for norm in norms(network)):
        why = "Without them BN normalises by the batch, in evaluation mode too. Keep them, and keep BN in eval()."
        raise Wrong("BN's statistics are deleted", "running_mean is None", why)
    if not same(found, expected):
        why = "What takes BN's place must take its weight, bias, mean and variance; and a forward pass moves those two."
        raise Wrong("freezing changes the network", "other logits", why)


@freeze.probe("requires_grad of the body", "False for every parameter outside of network.fc")
def body_gradients(answer):
    seen = trained(answer)
    check_body(seen, seen.learning)


@freeze.probe("requires_grad of the head", "True for the weight and the bias of network.fc")
def head_gradients(answer):
    seen = trained(answer)
    check_head(seen.names - seen.learning)


@freeze.probe("the body's weights after three steps of SGD, with momentum and weight decay", "the same, bit for bit")
def body_weights(answer):
    seen = trained(answer)
    check_body(seen, seen.moved)


@freeze.probe("the head's weights after three steps, the optimiser with the trainable parameters", "other ones")
def head_weights(answer):
    seen = trained(answer, all_parameters=False)
    if seen.network.fc.weight.grad is None and "fc.weight" in seen.learning:
        why = "The head has requires_grad = True, but its output has no gradient. Is there a no_grad around it?"
        raise Wrong("no gradient reaches the head", "a loss that requires no gradient", why)
    check_head(seen.names - seen.moved)


@freeze.probe("BN's running statistics after these steps in training mode", "the same, bit for bit")
def statistics(answer):
    seen = trained(answer)
    running = {name for name, _ in small().named_buffers() if "running" in name}
    moved = sorted(running & seen.moved)
    if not moved:
        return
    got = f"{len(moved)} of {len(running)} have moved, the first one {moved[0]}"
    if seen.evaluated:
        why = "Your eval() has worked, until network.train() set every module back to training, as each epoch does."
        raise Wrong("the evaluation mode is undone by network.train()", got, why)
    if len(moved) < len(running):
        why = "BN is in the stem, in every block and in the projections of the shortcuts: go through network.modules()."
        raise Wrong("some of BN's statistics still move", got, why)
    why = "requires_grad = False stops the optimiser only. In training mode each forward pass moves them: eval()."
    raise Wrong("BN's statistics still move", got, why)


@freeze.probe("what the body computes in training mode, in the end", "what it computed before, in evaluation mode")
def body_outputs(answer):
    seen = trained(answer)
    if same(*seen.features) or not sound(answer, nothing_yet, body_weights, statistics):
        return  # it is right, or their probes say what is wrong
    got = "other features for the same images: they depend on the others in the batch"
    if any(not norm.track_running_stats for norm in norms(seen.network)):
        raise Wrong("BN with track_running_stats = False instead of evaluation mode", got, BATCH)
    if any(norm.momentum == 0 for norm in norms(seen.network)):
        raise Wrong("BN with momentum = 0 instead of evaluation mode", got, BATCH)
    raise Wrong("the body is still in training mode", got, BATCH)


@freeze.probe("network.train() and network.eval(), and what they return", "the head follows; both return the network")
def modes(answer):
    network = answered(answer, small())
    for training, name in ((False, "eval"), (True, "train"), (False, "eval")):
        given = switch(network, training)
        if given is not network:
            why = "build(...).eval() is written in one line: what you put in the place of train ends in return network."
            raise Wrong("your train() does not return the network", type(given).__name__, why)
        if network.fc.training != training:
            why = "Only the body stays in evaluation mode. train(mode) of the head, and of the network, go on as ever."
            raise Wrong("the head's mode does not follow", f"fc.training is {not training} after network.{name}()", why)
