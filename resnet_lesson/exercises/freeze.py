"""The exercise `freeze` of notebook 08: only the head learns; the rest stays, weights and BN's statistics."""

import copy
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from ..training import transfer
from .kit.calls import numbers
from .kit.exercise import Exercise, Wrong
from .replace_head import call, in_words, small

freeze = Exercise(
    "freeze",
    "Write a function that freezes the network except for its head, network.fc, and returns it. The weights of all the "
    "rest stay as they are, and so do BN's statistics, even after network.train().",
    solution=(transfer._stay, transfer.freeze),
    hints=(
        "Two things change a network during training. The optimiser changes the parameters. What changes BN's running "
        "mean and variance, and in which mode?",
        'for name, parameter in network.named_parameters(): the names of the head begin with "fc.". All the others get '
        "parameter.requires_grad_(False), which means no gradient, no step and no weight decay.",
        "In evaluation mode, set by module.eval(), BN uses its statistics and leaves them alone. But a training loop "
        "calls network.train() first, and that calls train(mode) on every module.",
        "An attribute of an object takes precedence over a method of its class. So module.train, for a frozen module, "
        "can be a function of your own, which takes `mode` and changes nothing.",
        "In a loop over the modules outside fc: module.eval(), then module.train = partial(stay, module), with "
        "def stay(module, mode=True): return module. Or let your own network.train do what the usual one does, and "
        "then call eval() on the body.",
    ),
    read="notebook 08, section 6",
)


def frozen(answer: Callable) -> nn.Module:
    """A network that was in training mode until the answer froze it."""
    network = small().train()
    call(answer, network)
    return network


def switch(network: nn.Module, training: bool) -> object:
    """What network.train() or network.eval() returns."""
    try:
        return network.train() if training else network.eval()
    except TypeError as error:
        if "argument" not in str(error) or "missing" in str(error):
            raise
        why = "network.eval() calls train(False), and the default is True: def train(mode=True)."
        raise Wrong("your train() takes no mode", f"{'train' if training else 'eval'}(): {error}", why) from error


def counted(chosen: Collection[str], groups: Callable[[str], str], every: Iterable[str]) -> dict[str, str]:
    """ "2 of 3" for each group of names: how many of them are chosen."""
    total = Counter(map(groups, every))
    found = Counter(groups(name) for name in chosen)
    return {group: f"{found[group]} of {n}" for group, n in total.items()}


def parameters_of(chosen: Collection[str]) -> dict[str, str]:
    kinds = {name: "BN" if p.ndim == 1 else "convolutions" for name, p in small().named_parameters()}

    def group(name: str) -> str:
        part = name.split(".")[0]
        return "the head" if part == "fc" else f"{kinds[name]} of the {part}"

    return counted(chosen, group, kinds)


def moved(network: nn.Module, before: dict[str, Tensor]) -> list[str]:
    """The entries of state_dict() whose value has changed."""
    now = network.state_dict()
    return [name for name, value in before.items() if name in now and not torch.equal(now[name], value)]


@freeze.case("what the function returns", "the network that was given")
def returned(answer):
    network = small()
    return in_words(call(answer, network), network)


@freeze.case("the logits in evaluation mode, before any step", "as before")
def nothing_yet(answer):
    network = frozen(answer)
    switch(network, False)
    return network(numbers(4, 3, 8, 8))


@freeze.case("what has requires_grad = True, part by part", "only the weight and the bias of network.fc")
def learning(answer):
    network = frozen(answer)
    kept = {"parameter": network.parameters(), "module": network.modules()}
    set_by_name = {f"{kind}.{name}" for kind, of in kept.items() for one in of for name in vars(one) if "_grad" in name}
    names = [name for name, p in network.named_parameters() if p.requires_grad]
    return parameters_of(names) | {"new attributes": sorted(set_by_name)}


@freeze.case("what changes in three steps of SGD with momentum and weight decay", "only the head's weight and bias")
def weights(answer):
    network, x, labels = frozen(answer), numbers(12, 3, 8, 8), torch.arange(12) % 5
    before = copy.deepcopy(network.state_dict())
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        switch(network, True)
        loss = nn.functional.cross_entropy(network(x), labels)
        if loss.requires_grad:
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    names = dict(small().named_parameters())
    return parameters_of([n for n in moved(network, before) if n in names])


@freeze.case("which of BN's running statistics a batch changes in training mode", "none, not even in the last bit")
def statistics(answer):
    network = frozen(answer)
    mode = "training" if any(m.training for m in network.modules() if isinstance(m, nn.BatchNorm2d)) else "evaluation"
    before = copy.deepcopy(network.state_dict())
    switch(network, True)
    network(numbers(12, 3, 8, 8))
    running = [name for name, _ in small().named_buffers() if "running" in name]
    found = [name for name in moved(network, before) if name in running]
    of = counted(found, lambda name: "projections" if "shortcut" in name else name.split(".")[0], running)
    return of | ({"mode before network.train()": mode} if found else {})


@freeze.case("what the body computes in training mode", "what it computes in evaluation mode")
def body_outputs(answer):
    network, seen = frozen(answer), []
    switch(network, True)
    network.fc.register_forward_pre_hook(lambda fc, given: seen.append(given[0].detach().clone()))
    network(numbers(12, 3, 8, 8))
    return seen[0]


@freeze.case("network.train() and network.eval(), and what they return", "the head follows; each returns its module")
def modes(answer):
    network, found = frozen(answer), {}
    for training, name in ((False, "eval()"), (True, "train()")):
        found[f"network.{name} returns"] = in_words(switch(network, training), network) or "None"
        found[f"fc.training after {name}"] = str(network.fc.training)
    parts = [(module, module.train()) for name, module in network.named_modules() if name]
    kinds = {"itself" if got is part else "None" if got is None else "something else" for part, got in parts}
    return found | {"module.train() of its parts returns": sorted(kinds)}


# --- The mistakes, as edits of this answer.


def stay(module: nn.Module, mode: bool = True) -> nn.Module:
    return module


def by_hand(network: nn.Module) -> nn.Module:
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name.startswith("fc.")
    for path, module in network.named_modules():
        if path != "fc" and isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = partial(stay, module)
    return network


freeze.right(by_hand)
mistake = freeze.mistake
HEAD, LEARNS = 'name.startswith("fc.")', 'parameter.requires_grad = name.startswith("fc.")'
NORM, KEEP = "isinstance(module, nn.BatchNorm2d)", "module.train = partial(stay, module)"
EVAL, END = "module.eval()", "return network"


def ending(*lines: str) -> dict[str, str]:
    return {END: "\n    ".join((*lines, END))}


# fmt: off
# What learns.
BODY = "All but network.fc is the body: the stem, all stages, and BN's weight and bias in them."
for name, condition, why in (
        ("nothing is frozen", "True", "Do the names in your code exist? They begin with stem., stages. and fc."),
        ("the head is frozen too", "False", "The head is network.fc: skip the names that begin with fc."),
        ("a part of the head is frozen", 'name == "fc.weight"', "The head has a weight and a bias, and both learn."),
        ("BN's weight and bias still learn", f"{HEAD} or parameter.ndim == 1", BODY),
        ("only BN is frozen", f"{HEAD} or parameter.ndim == 4", BODY),
        ("only the stages are frozen", 'not name.startswith("stages")', BODY)):
    mistake(name, {HEAD: condition}, why)
MODULES = {"for name, parameter in network.named_parameters()": "for name, module in network.named_children()"}
mistake("a module's requires_grad is set", MODULES | {LEARNS: 'module.requires_grad = name == "fc"'},
        "module.requires_grad = ... makes a new attribute that nothing reads. Call module.requires_grad_(False).")
mistake("an attribute that nobody reads", {"parameter.requires_grad": "parameter.require_grad"},
        "It is called requires_grad. With any other name, Python silently makes a new attribute.")
# BN and the modes.
for lines in ({EVAL: "pass", KEEP: "pass"}, {EVAL: "pass"}):
    mistake("BN's statistics still move", lines,
            "requires_grad = False only stops the optimiser. In training mode, each forward pass changes the "
            "statistics. Call eval() on the frozen modules.")
mistake("the evaluation mode is undone by network.train()", {KEEP: "pass"},
        "Your eval() worked until network.train(), which every epoch calls, set all modules back to training mode.")
mistake("BN still normalises by the batch", {EVAL: "module.momentum = 0", KEEP: "pass"},
        "The statistics stay, but in training mode BN does not use them. Only evaluation mode does both: call eval().")
for part in ("shortcut", "stem"):
    mistake("some of BN's statistics still move", {NORM: f'{NORM} and "{part}" not in path'},
            "BN is in the stem, in every block and in the projections of the shortcuts: go through network.modules().")
mistake("a method is replaced by False", {KEEP: "module.train = False"},
        "module.train is a method, which network.train() calls. The mode is in module.training, and eval() sets it.")
mistake("the head's mode does not follow", ending("network.eval()", "network.train = lambda mode=True: network"),
        "Only the body stays in evaluation mode. The head and the network itself still follow train() and eval().")
for lines in (ending("usual = network.train", "network.train = lambda mode=True: usual(mode) and None"),
              {KEEP: "module.train = lambda mode=True: None"}):
    mistake("your train() returns nothing", lines,
            "People write network = build(...).eval(), so whatever replaces train must return the module.")
mistake("your train() returns another module", {KEEP: "module.train = lambda mode=True: module"},
        "A function made in a loop looks up the loop's variable only when it is called, and then finds the last "
        "module. partial(stay, module) keeps the right one, and so does def train(mode=True, module=module).")
# fmt: on
