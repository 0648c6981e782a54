"""The exercise `replace_head` of notebook 08: a new linear layer with other classes, on a network that stays."""

import copy
import functools
from collections.abc import Callable
from math import log

import torch
import torchvision
from torch import Tensor, nn

from ..models.blocks import BasicBlock, Bottleneck
from ..models.resnet import ResNet
from ..training import transfer
from .kit.calls import numbers
from .kit.exercise import Exercise, Wrong
from .kit.outcomes import agree, shape

replace_head = Exercise(
    "replace_head",
    "Write a function that replaces the head, network.fc, by a new linear layer with `num_classes` outputs, and "
    "returns the network. The new layer is random, and has the device and the dtype of the old one.",
    solution=(transfer.head_of, transfer.replace_head),
    hints=(
        "print(network.fc) shows the old head: in_features and out_features. Which of the two stays as it is?",
        "network.fc.in_features is the number of features in any network with such a head, so there is no need to "
        "count them. nn.Linear(in_features, num_classes) is a new layer with random weights.",
        "A module that you assign to network.fc replaces the old one: forward calls it, and parameters() includes it.",
        "A new layer is float32 and on the CPU. Keep the old one in a variable: new.to(old.weight.device, "
        "old.weight.dtype) moves the new one to where the rest of the network is.",
        "old = network.fc; network.fc = nn.Linear(old.in_features, num_classes, device=old.weight.device, "
        "dtype=old.weight.dtype); return network. Nothing else changes.",
    ),
    read="notebook 08, section 4",
)

OLD = 5  # classes before


def small(block: type[nn.Module] = BasicBlock, width: int = 64) -> nn.Module:
    """A network with 64 features, as ResNet-20 has; BN is not as at the start. A bottleneck has 4 * width."""
    network = ResNet(block, (1, 1, 1), (4, 4, width), (1, 2, 2), "cifar", OLD, shortcut="B")
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5)
    return network


def call(answer: Callable, network: nn.Module, *arguments: object) -> object:
    """What the answer returns for this network; raises `Wrong` if it is not a function."""
    if isinstance(answer, nn.Module):
        raise Wrong("not a function", type(answer).__name__, "Give check() the function itself, without calling it.")
    return answer(network, *arguments)


def in_words(given: object, network: nn.Module) -> str | None:
    """In words, what was returned by a function that has to return the network."""
    if given is not None and not isinstance(given, type(network)):
        raise Wrong(
            "not the network", type(given).__name__, "Return the network that you were given: `return network`."
        )
    return given if given is None else "the network" if given is network else "another network"


def replaced(answer: Callable, num_classes: int = 12, network: nn.Module | None = None) -> nn.Module:
    """The network with its new head; a lazy layer in it has already learned its shape."""
    network = network or small()
    features = network.fc.weight.new_zeros(1, network.fc.in_features)
    call(answer, network, num_classes)
    if not hasattr(network.fc, "weight"):
        why = (
            "The head is one nn.Linear, from the features to the classes. Its outputs are logits, which cross_entropy "
            "takes as they are."
        )
        raise Wrong("other layers than one linear one", type(network.fc).__name__, why)
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in network.parameters()):
        network.fc(features)
    return network


@replace_head.case("what the function returns", "the network that was given")
def returned(answer):
    network = small()
    return in_words(call(answer, network, 12), network)


@replace_head.case(
    "a head for 12 classes, and then one for 3 on the same network", "12 logits, then 3; from 64 features"
)
def two_heads(answer):
    network, found = small(), {}
    for num_classes in (12, 3):
        logits = replaced(answer, num_classes, network)(torch.zeros(2, 3, 8, 8))
        named = (getattr(network.fc, name, "missing") for name in ("in_features", "out_features"))
        found[f"{num_classes} classes"] = "logits {}, in_features {}, out_features {}".format(shape(logits), *named)
    return found


@replace_head.case(
    "network.parameters(), if all were frozen before", "among them a new weight and a new bias that learn"
)
def parameters(answer):
    network = small().requires_grad_(False)
    before = dict(network.named_parameters())
    now = dict(replaced(answer, network=network).named_parameters())
    kept = [name for name, p in now.items() if p is before["fc.weight"] or p is before["fc.bias"]]
    head = {name: p for name, p in now.items() if name not in before or name.startswith("fc.")}
    body = [name for name in before if name[:2] != "fc" and now.get(name) is not before[name]]
    return {
        "the new head": sorted(shape(p) for p in head.values()),
        "of these learn": [name for name, p in head.items() if p.requires_grad],
        "parameters of the old head": kept,
        "the body's parameters are": "copies" if body else "the same ones",
    }


@replace_head.case("what the new head computes from the features", "weight · features + bias, and nothing after it")
def linear(answer):
    network = replaced(answer).train()
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(numbers(*p.shape) / p[0].numel() ** 0.5)
    logits, again = (network(numbers(4, 3, 8, 8)) for _ in range(2))
    if not agree(logits, again):
        why = "Is there a dropout? The head is one nn.Linear and no more."
        raise Wrong("more than a linear layer", "two different outputs for the same images", why)
    return logits


def loss_of(weight: Tensor) -> float:
    """The mean cross-entropy of a head with this weight, for features that say nothing about the labels."""
    logits = numbers(32, weight.shape[1]).relu() @ weight.T
    return (logits.logsumexp(1).mean() - logits.mean()).item()


@replace_head.case(
    "the new head's weights, for more classes, fewer, or the same number",
    "random and small, and different at the next call",
)
def new_weights(answer):
    network, found = small(), {}

    def new_weight(old, n):
        network.fc = old
        return replaced(answer, n, network).fc.weight.detach()

    for n in (12, 3, OLD):
        heads = nn.Linear(64, OLD), nn.Linear(64, OLD)
        old = heads[0].weight.detach().clone()
        new, again = (new_weight(head, n) for head in heads)
        kept = (torch.cdist(new, old) < 1e-4).any(1) if new.shape[1:] == old.shape[1:] else torch.zeros(1)
        found[f"{n} classes"] = [
            f"{kept.sum():.0f} rows of the old head",
            "different numbers" if len(new.unique()) > 0.9 * new.numel() else "equal numbers",
            "the same again at the next call" if torch.equal(new, again) else "different at the next call",
            "as small as a new layer's"
            if loss_of(new) < 2 * log(len(new))
            else "so large that its loss is far from ln n",
        ]
    return found


@replace_head.case("a network in float64, on another device (torch's meta)", "a head in float64, on that device")
def dtype_and_device(answer):
    network = replaced(answer, network=small().double().to("meta"))
    parts = {"the head": network.fc, "the body": nn.ModuleList([network.stem, *network.stages])}
    return {
        part: sorted({f"{p.dtype} on {p.device}".removeprefix("torch.") for p in module.parameters()})
        for part, module in parts.items()
    }


@replace_head.case("the rest of the network", "as before: weights, BN's statistics, requires_grad, mode")
def rest(answer):
    network = small().train()
    network.stages[1].eval()
    network.stem.conv1.weight.requires_grad_(False)

    def state():
        every = {
            "the body's weights": {name: p.detach().clone() for name, p in network.named_parameters()},
            "BN's statistics": {name: buffer.clone() for name, buffer in network.named_buffers()},
            "the body's requires_grad": {name: p.requires_grad for name, p in network.named_parameters()},
            "the mode of a part": {
                name or "the whole network": module.training for name, module in network.named_modules()
            },
        }
        return {what: {name: v for name, v in of.items() if name.split(".")[0] != "fc"} for what, of in every.items()}

    before = state()
    replaced(answer, network=network)
    for what, now in state().items():
        if other := [name for name in before[what] if not agree(now.get(name), before[what][name])]:
            why = "Change only network.fc: whatever uses the body next needs it as it was."
            raise Wrong(f"{what} changed", f"something else in {other[0]}", why)


@functools.cache
def torchvisions() -> nn.Module:
    with torch.device("meta"):  # drawing its weights would take most of the check's time
        return torchvision.models.resnet.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], OLD)


@replace_head.case("networks with 32 features, and torchvision's with 512, whose head is also called fc", "2 x 12")
def other_networks(answer):
    of_bottlenecks, theirs = small(Bottleneck, 8), copy.deepcopy(torchvisions())
    return {
        "32 features": shape(replaced(answer, network=of_bottlenecks)(torch.zeros(2, 3, 8, 8))),
        "512 features": shape(replaced(answer, network=theirs).fc(torch.zeros(2, 512, device="meta"))),
    }


# --- The mistakes, as edits of this answer.


def by_hand(network: nn.Module, num_classes: int) -> nn.Module:
    old = network.fc
    layer = nn.Linear(old.in_features, num_classes)
    network.fc = layer.to(old.weight.device, old.weight.dtype)
    return network


replace_head.right(by_hand)
mistake = replace_head.mistake
NEW, TO = "nn.Linear(old.in_features, num_classes)", "layer.to(old.weight.device, old.weight.dtype)"
FIRST, SET, END = f"layer = {NEW}", f"network.fc = {TO}", "return network"


def before(line: str, added: str) -> dict[str, str]:
    return {line: f"{added}\n    {line}"}


# fmt: off
for lines in ({SET: "pass"}, {SET: "old.out_features = num_classes"}, {SET: f"network.head = {TO}"}):
    mistake("the head is still the old one", lines, "forward calls network.fc: assign the new layer to that name. "
            "A layer under another name is not called, and setting out_features on the old layer changes no weights.")
for n in (10, "old.out_features"):
    mistake("the wrong number of outputs", {NEW: f"nn.Linear(old.in_features, {n})"},
            "Each image gets num_classes logits, whatever that number is: use the argument.")
mistake("inputs and outputs are swapped", {NEW: "nn.Linear(num_classes, old.in_features)"},
        "nn.Linear(in_features, out_features): the features first. Its weight is (out, in).")
for n in (64, 512, "old.out_features"):
    mistake("the number of inputs does not fit", {NEW: f"nn.Linear({n}, num_classes)"},
            "The number of features differs from network to network: network.fc.in_features.")
mistake("for the course's networks only", before(END, "network.stages"),
        "network.fc.in_features is everything you need; names such as stages exist only in our networks.")
mistake("a softmax behind the head",
        before(END, "network.fc.register_forward_hook(lambda fc, x, y: y.softmax(1))"),
        "The head is a single nn.Linear. Its outputs are logits, which cross_entropy takes as they are.")
mistake("rows of the old head", before(END, "n = min(num_classes, old.out_features)\n    "
        "for name in ('weight', 'bias'):\n        getattr(network.fc, name).data[:n] = getattr(old, name).data[:n]"),
        "Each old row belongs to an old class, and the new class 0 is not an aeroplane. Keep the new layer's random "
        "rows.")
mistake("the new head does not learn", before(SET, "layer.requires_grad_(old.weight.requires_grad)"),
        "It is random and has to learn, even if everything else is frozen.")
for parts in ("layer.weight", "layer.weight, layer.bias"):
    mistake("the new head is not random", before(SET, f"for p in [{parts}]:\n        nn.init.zeros_(p)"),
            "The task asks for the random numbers that a new nn.Linear comes with. Leave them as they are.")
mistake("the new head's weights are too large", before(SET, "nn.init.normal_(layer.weight)"),
        "A new head should give all classes about the same probability, a loss of ln(num_classes). The weights that "
        "nn.Linear comes with do that.")
mistake("the same head each time", before(FIRST, "torch.manual_seed(0)"),
        "Is there a seed inside the function, or a single layer that every call uses? Draw new numbers at each call.")
for to, name, why in (
        ("layer", "another device and dtype", "A new layer is float32 and on the CPU."),
        ("layer.to(old.weight.device)", "another dtype", "A new layer is float32, but the network may not be."),
        ("layer.to(old.weight.dtype)", "another device", "A new layer is on the CPU, but the network may not be.")):
    mistake(name, {TO: to}, why + " new.to(old.weight) sets both to the old layer's.")
# fmt: on
