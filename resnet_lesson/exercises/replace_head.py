"""The exercise `replace_head` of notebook 08: a new linear layer with other classes, on a network that stays."""

import contextlib
import copy
from collections.abc import Callable

import torch
import torch.nn.functional as nnF
import torchvision
from torch import Tensor, nn

from ..models.blocks import BasicBlock, Bottleneck
from ..models.resnet import ResNet
from ..training import transfer
from .filter_direction import sound
from .kit.exercise import Exercise, Wrong
from .kit.probing import run, same, shake, shape

replace_head = Exercise(
    "replace_head",
    "Write a function that gives the network a new linear layer, network.fc, with `num_classes` outputs, as random as "
    "a new layer is, and on the device and of the dtype of the old one; it returns the network.",
    solution=(transfer.head_of, transfer.replace_head),
    hints=(
        "print(network.fc) shows the old head: in_features and out_features. Which of the two stays as it is?",
        "network.fc.in_features is the number of features, in every network that has a head: no need to count them. "
        "nn.Linear(in_features, num_classes) is a new layer with random weights.",
        "A module that is assigned to network.fc takes the old one's place: forward calls it, and parameters() has it.",
        "A new layer is float32 and on the CPU. Keep the old one in a variable: new.to(old.weight.device, "
        "old.weight.dtype) puts the new one beside the rest of the network.",
        "old = network.fc; network.fc = nn.Linear(old.in_features, num_classes, device=old.weight.device, "
        "dtype=old.weight.dtype); return network. Nothing else changes.",
    ),
    read="notebook 08, section 3",
)

OLD = 5  # classes before


def small() -> nn.Module:
    """With 64 features, as ResNet-20 has."""
    return shake(ResNet(BasicBlock, (1, 1, 1), (4, 8, 64), (1, 2, 2), "cifar", OLD))


def answered(answer: Callable, network: nn.Module, *arguments: object) -> nn.Module:
    """The network, which the answer was called with and has to return."""
    if isinstance(answer, nn.Module) or not callable(answer):
        raise Wrong("not a function", type(answer).__name__, "Give check() the function itself, without calling it.")
    given = answer(network, *arguments)
    if given is None:
        raise Wrong("nothing is returned", "None", "Does your code end in `return network`?")
    if not isinstance(given, type(network)):
        raise Wrong("not the network", type(given).__name__, "Return the network that was given: `return network`.")
    if given is not network:
        why = "Change the network that is given, and return it: who calls the function may hold it under another name."
        raise Wrong("a copy is returned", "another network than the given one", why)
    return network


def replaced(answer: Callable, network: nn.Module, num_classes: int) -> nn.Module:
    """The network with its new head, in which a lazy layer has learned its shape."""
    features = network.fc.weight.new_zeros(1, network.fc.in_features)
    answered(answer, network, num_classes)
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in network.parameters()):
        with torch.no_grad(), contextlib.suppress(RuntimeError):  # of another dtype: the probe of float64 says so
            network.fc(features)
    return network


def check_outputs(answer: Callable, network: nn.Module, num_classes: int, size: int = 8) -> None:
    """Raise `Wrong` unless the network with its new head takes images, and gives that many logits for each."""
    old, x = network.fc, torch.randn(2, 3, size, size)
    replaced(answer, network, num_classes)
    try:
        with torch.no_grad():
            logits = run(network, x)
    except RuntimeError as error:
        if "mat1 and mat2" not in str(error):
            raise
        inputs = ([p.shape[1] for p in network.fc.parameters() if p.ndim == 2] or [None])[-1]
        got = f"a layer with {inputs} inputs, where {old.in_features} features come"
        if inputs == num_classes:
            why = "nn.Linear(in_features, out_features): the features first. Its weight is (out, in)."
            raise Wrong("inputs and outputs are swapped", got, why) from error
        why = "network.fc.in_features is the number of features, in each network another one. Does your code take it?"
        raise Wrong("the number of inputs does not fit", got, why) from error
    if network.fc is old and logits.shape == (2, OLD):
        why = "forward calls network.fc: assign the new layer to that name. Another name, or another out_features on "
        raise Wrong("the head is still the old one", shape(logits), why + "the old layer, changes no weights.")
    if logits.shape != (2, num_classes):
        raise Wrong("another number of outputs", shape(logits), f"Each image gets num_classes = {num_classes} of them.")
    if (says := getattr(network.fc, "out_features", num_classes)) != num_classes:
        why = "The weights are right, but whoever asks the layer is told another number. Make a new nn.Linear."
        raise Wrong("the old number in out_features", f"{says}, where {num_classes} logits come", why)


def new_parameters(answer: Callable, num_classes: int) -> tuple[nn.Module, nn.Linear, Tensor, Tensor]:
    """The network, a copy of its old head, and the weight and bias that have taken the place of the old ones."""
    network = small().requires_grad_(False)
    old, copied, before = network.fc, copy.deepcopy(network.fc), dict(network.named_parameters())
    named = dict(replaced(answer, network, num_classes).named_parameters())
    kept = [name for name, p in named.items() if p is before["fc.weight"] or p is before["fc.bias"]]
    new = {name: p for name, p in named.items() if name not in before or name.startswith("fc.")}
    if kept and network.fc is old:
        why = "An optimiser may hold these parameters, and momentum in their old shape. Assign a new layer, nn.Linear."
        raise Wrong("the old layer is written into", ", ".join(kept), why)
    if kept:
        why = "The new head takes the old one's place, network.fc = ..., and gets the features, not the old logits."
        raise Wrong("the old head is still there", ", ".join(kept), why)
    weights = [p for p in new.values() if p.shape == (num_classes, old.in_features)]
    biases = [p for p in new.values() if p.shape == (num_classes,)]
    got = ", ".join(f"{name} ({shape(p)})" for name, p in new.items()) or "none but the body's"
    if len(new) == len(weights) == 1:
        raise Wrong("the head has no bias", got, "The old one has a bias for each class: leave bias=True as it is.")
    if not len(new) / 2 == len(weights) == len(biases) == 1:
        why = "network.fc = nn.Linear(...) brings one weight and one bias, from the features to the classes."
        raise Wrong("other layers than one linear one", got, why)
    if frozen := [name for name, p in new.items() if not p.requires_grad]:
        why = "It is random and has to learn, also where all that was there before is frozen."
        raise Wrong("the new head does not learn", f"requires_grad = False: {', '.join(frozen)}", why)
    return network, copied, weights[0].detach(), biases[0].detach()


@replace_head.probe("what the function returns", "the network that was given")
def returned(answer):
    answered(answer, small(), 12)


def settled(answer: Callable) -> bool:
    """Whether the head has the right outputs and parameters; otherwise their probes say so."""
    return sound(answer, outputs, parameters)


@replace_head.probe("the logits of 2 images: 5 classes before, then 12", "2 x 12")
def outputs(answer):
    check_outputs(answer, small(), 12)


@replace_head.probe("a bottleneck network, which has 32 features instead of 64", "a head that takes 32")
def bottleneck(answer):
    check_outputs(answer, ResNet(Bottleneck, (1, 1), (4, 8), (1, 2), "cifar", OLD), 12)


@replace_head.probe("torchvision's ResNet, with 512 features", "the same there: its head is called fc too")
def torchvisions(answer):
    with torch.device("meta"):  # its weights are any numbers: drawing them would take most of the check's time
        network = torchvision.models.resnet.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1])
    try:
        if sound(answer, bottleneck):  # otherwise its probe says so
            check_outputs(answer, network.to_empty(device="cpu"), 12, 32)
    except AttributeError as error:
        why = "All that is needed is in network.fc: its in_features. The other names are only those of our networks."
        raise Wrong("for the course's networks only", f"AttributeError: {error}", why) from error


@replace_head.probe("network.parameters(), which an optimiser gets", "the new weight and bias; the old ones are gone")
def parameters(answer):
    if sound(answer, outputs):
        new_parameters(answer, 12)


@replace_head.probe("what the new head computes from the features", "weight · features + bias, and nothing after it")
def linear(answer):
    if not settled(answer):
        return
    network, _, weight, bias = new_parameters(answer, 12)
    x = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        logits = run(network.train(), x)
        expected = nnF.linear(network.pool(network.stages(network.stem(x))).flatten(1), weight, bias)
    got = f"logits from {logits.min():.2g} to {logits.max():.2g}, not those of its weight and bias"
    if same(logits, expected.softmax(1)) or same(logits, expected.log_softmax(1)):
        raise Wrong("a softmax behind the head", got, "cross_entropy does the softmax itself: it wants logits.")
    if not same(logits, expected):
        raise Wrong("more than a linear layer", got, "No ReLU, no dropout: the head is one nn.Linear and no more.")


@replace_head.probe("the new head's weights, for more classes and for fewer", "new ones: no row of the old head")
def new_weights(answer):
    for num_classes in (12, 3) if settled(answer) else ():
        _, old, weight, _ = new_parameters(answer, num_classes)
        if (torch.cdist(weight, old.weight) < 1e-4).any():
            why = "A row belongs to an old class: aeroplane is not the new class 0. Leave the new layer's random rows."
            raise Wrong("rows of the old head", f"some of its rows, for {num_classes} classes", why)


@replace_head.probe("as many classes as before", "a new head all the same: they are other classes")
def as_many_classes(answer):
    if sound(answer, outputs, new_weights):  # otherwise their probes say so
        network = small()
        old = [p.detach().clone() for p in network.fc.parameters()]
        new = list(replaced(answer, network, OLD).fc.parameters())
        if len(new) == len(old) and all(map(torch.equal, new, old)):
            why = "The number of classes says nothing about which they are. Replace the head in any case."
            raise Wrong("the old head is kept where the number is the same", "the old weights", why)


@replace_head.probe("a network in float64, on another device (torch's meta)", "a head in float64 and there too")
def dtype_and_device(answer):
    named = dict(replaced(answer, small().double().to("meta"), 12).named_parameters())
    if not sound(answer, outputs):
        return  # its probe says so
    if other := [name for name, p in named.items() if p.dtype != torch.float64]:
        why = "A new layer is float32, and torch multiplies no two dtypes: new.to(old.weight) sets dtype and device."
        raise Wrong("another dtype", f"float32: {', '.join(other[:2])}", why)
    if other := [name for name, p in named.items() if p.device.type != "meta"]:
        why = "A new layer is on the CPU; a network on the GPU stops there. new.to(old.weight.device) moves it."
        raise Wrong("another device", f"on the CPU: {', '.join(other[:2])}", why)


@replace_head.probe("the rest of the network", "as before: weights, BN's statistics, requires_grad, mode")
def rest(answer):
    network = small().train()
    network.stages[1].eval()
    network.stem.conv1.weight.requires_grad_(False)

    def of_body(named):
        return {name: thing for name, thing in named if name.split(".")[0] != "fc"}

    def state():
        named = dict(network.named_parameters())
        return {
            "the body's weights": of_body((name, p.detach().clone()) for name, p in named.items()),
            "BN's statistics": of_body((name, buffer.clone()) for name, buffer in network.named_buffers()),
            "the body's requires_grad": of_body((name, torch.tensor(p.requires_grad)) for name, p in named.items()),
            "a mode": of_body((name, torch.tensor(module.training)) for name, module in network.named_modules()),
        }

    before, body = state(), of_body(network.named_parameters())
    replaced(answer, network, 12)
    for what, now in state().items():
        other = [name for name in before[what] if name not in now or not torch.equal(now[name], before[what][name])]
        if other:
            why = "Only network.fc changes here. Whoever uses the body next finds it as it was."
            raise Wrong(f"{what} changed", f"another {other[0] or 'network.training'}", why)
    if any(p is not body.get(name, p) for name, p in of_body(network.named_parameters()).items()):
        why = "The numbers are the same, but an optimiser, or whoever has one of them, holds those of before."
        raise Wrong("other parameter objects in the body", "copies of them", why)


@replace_head.probe("a second new head on the same network, with 3 classes after 12", "it works as the first time")
def twice(answer):
    if settled(answer):
        network = replaced(answer, small(), 12)
        try:
            check_outputs(answer, network, 3)
        except Exception as error:  # whatever a student's code may raise
            why = "What stands in network.fc must be a head again, with in_features: an nn.Linear, without a wrapper."
            raise Wrong("it works only once", f"{type(error).__name__}: {error}", why) from error
