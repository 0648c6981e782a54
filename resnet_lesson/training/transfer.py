"""Transfer learning: a trained network as the starting point for another task.

Its last linear layer (the head) is replaced by one for the new classes; the rest (the body) is kept, and either frozen
or trained further. Source: Yosinski et al., *How transferable are features in deep neural networks?*,
https://arxiv.org/abs/1411.1792.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from .. import machine
from ..datasets.batches import Batches, Normalisation
from ..datasets.dataset import Dataset
from ..errors import unknown
from .checks import check_sets
from .evaluation import evaluate
from .loop import Diverged, Meter, iterate, sgd, step, training_batches
from .recipes import Recipe


def head_of(network: nn.Module) -> tuple[str, nn.Linear]:
    """The name and module of the last linear layer. Raises ValueError if there is none."""
    linear = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(f"{type(network).__name__} has no linear layer, so it has no head to replace or to train.")
    return linear[-1]


def replace_head(network: nn.Module, num_classes: int, *, seed: int | None = None) -> nn.Module:
    """Replace the head by a new one with `num_classes` outputs, in place, and return the network.

    Takes the course's networks and torchvision's. With a `seed`, the head is always the same, and torch's own random
    state is left as it was. Raises ValueError for a network without a linear layer.
    """
    name, old = head_of(network)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(machine.checked_seed(seed))
        new = nn.Linear(old.in_features, num_classes)
    network.set_submodule(name, new.to(old.weight.device, old.weight.dtype).train(old.training))
    if getattr(network, "spec", None):
        network.spec = {**network.spec, "options": {**network.spec["options"], "num_classes": num_classes}}
    return network


def freeze(network: nn.Module, trainable: str | Sequence[str] = ("fc",)) -> nn.Module:
    """Freeze all of the network except the `trainable` modules, given by name; in place, and return the network.

    Frozen parameters get no gradient. Frozen modules stay in evaluation mode even after `network.train()`: otherwise
    BN's running statistics would still change, in spite of requires_grad = False. Modules named here learn again even
    if an earlier call froze them; `freeze(network, "")` frees everything, and `freeze(network, ())` nothing.
    Raises ValueError for a name that the network does not have.
    """
    names, modules = [trainable] if isinstance(trainable, str) else list(trainable), dict(network.named_modules())
    for name in names:
        if name not in modules:
            near = [one for one in modules if one.count(".") < 2 and one]
            raise ValueError(f"{unknown('module', name, near)} Nothing was frozen.")
    for name, module in modules.items():
        learns = any(one in ("", name) or name.startswith(f"{one}.") for one in names)
        holds = any(one.startswith(f"{name}.") or name == "" for one in names)  # has a part that learns
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(learns)
            if not learns:
                parameter.grad = None  # an optimiser changes whatever still has a gradient
        if learns or holds:
            module.__dict__.pop("train", None)
            module.training = network.training
        else:
            module.training = False
            module.train = partial(_stay, module)  # what network.train() calls on each of its modules
    return network


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    return module


def parameter_groups(network: nn.Module, decay: float = 1.0) -> list[dict]:
    """The trainable parameters for an optimiser, one group per part of the network, the head first.

    Each group has a `name` and a `scale`: 1 for the head, multiplied by `decay` for each part further away from it
    (discriminative learning rates, Howard and Ruder, https://arxiv.org/abs/1801.06146). `fine_tune` multiplies the
    learning rate by it. Raises ValueError if nothing is trainable, or if the head is frozen.
    """
    head, layer = head_of(network)
    parts: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            words = name.split(".")
            parts.setdefault(".".join(words[: 2 if words[0] == "stages" else 1]), []).append(parameter)
    if not parts:
        raise ValueError(
            f"Every parameter is frozen, so nothing would be trained. freeze(network, '{head}') lets the head learn."
        )
    if not layer.weight.requires_grad:
        raise ValueError(
            f"The head {head} is frozen, so a new one would stay random. freeze(network, '{head}') lets it learn."
        )
    backwards = sorted(reversed(parts.items()), key=lambda part: not f"{head}.".startswith(f"{part[0]}."))
    return [{"params": ours, "name": name, "scale": decay**i} for i, (name, ours) in enumerate(backwards)]


FINE_TUNING = Recipe(
    "fine-tuning",
    64,
    batch_size=32,
    schedule="one-cycle",
    warmup=6,
    nesterov=True,
    weight_decay=5e-4,
    padding=0,
    flip=False,
)


def fine_tune(
    network: nn.Module,
    train_set: Dataset,
    test_set: Dataset,
    normalisation: Normalisation,
    recipe: Recipe = FINE_TUNING,
    *,
    decay: float = 1.0,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> tuple[float, float]:
    """Train what is not frozen; return the training error, as measured during training, and the test error, 0 to 1.

    decay: as in `parameter_groups`. seed: fixes the order of the images and what the network itself draws. device: by
    default a GPU if there is one. The network ends in evaluation mode. Raises ValueError if the number of the head's
    outputs is not that of the classes, or if the head is frozen; Diverged if the loss is no longer a useful number.
    """
    name, head = head_of(network)
    if head.out_features != len(train_set.classes):
        raise ValueError(
            f"The head {name} has {head.out_features} outputs, but {train_set.name} has {len(train_set.classes)} "
            f"classes: call replace_head(network, {len(train_set.classes)}) first."
        )
    check_sets(network, train_set, test_set, recipe)
    optimiser = sgd(parameter_groups(network, decay), recipe)
    device = machine.pick_device(device)
    precision = machine.pick_precision(device)
    network.to(device).train()
    batches, meter = training_batches(train_set, normalisation, recipe, seed=seed, device=device), Meter(device)

    def take_step(choice: Tensor) -> Tensor:
        images, labels = batches.take(choice)
        loss, logits = step(network, images, labels, optimiser, precision=precision)
        meter.add(loss, logits, labels)
        return loss

    def diverged(done: int, loss: Tensor) -> None:
        if done == recipe.iterations and not loss < 1000:
            raise Diverged(f"Fine-tuning diverged: the loss was {loss:.3g}. Try a lower rate than {recipe.lr:g}.")

    steps = batches.choices_of_steps(0, recipe.iterations)
    iterate(take_step, steps, optimiser, recipe.lr_at, listeners=[diverged], seed=seed)
    _, train_error = meter.means()
    _, test_error = evaluate(network, Batches(test_set, 250, normalisation, device=device), precision)
    network.eval()
    return train_error, test_error
