"""The exercise `lesion` of notebook 07: residual blocks without their F, for as long as a `with` lasts."""

import contextlib
import copy
import inspect
import operator
from collections.abc import Callable, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..inside.lesions import Nothing
from ..models.blocks import BasicBlock
from ..models.resnet import ResNet
from .kit.calls import numbers, run
from .kit.exercise import Exercise, Wrong
from .kit.outcomes import attempt


@contextmanager
def lesion(network, drop):
    """Inside, the residual blocks of the names in `drop` add nothing; afterwards the network is as it was."""
    kept = [(block, block.residual) for block in (network.get_submodule(name) for name in drop)]
    for block, _ in kept:
        block.residual = Nothing()
    try:
        yield network
    finally:
        for block, residual in kept:
            block.residual = residual


exercise = Exercise(
    "lesion",
    "Write a context manager inside which the residual blocks of the given names add nothing.",
    solution=(Nothing, lesion),
    hints=(
        "A block computes relu(residual(x) + shortcut(x)). Which of its parts has to give zero, so that only the "
        "shortcut stays?",
        'network.get_submodule("stages.1.2") is the block of that name. A small module whose forward returns '
        "torch.zeros(()) can take the place of its residual: added to a tensor of any shape, that changes nothing.",
        "With @contextmanager (from contextlib) over `def lesion`, the lines before its `yield` run on entering "
        "`with`, and the lines after it on leaving.",
        "Keep each block with its residual in a list before you take it out. Put the `yield` into `try:`, and put the "
        "blocks back in `finally:`, which runs after an exception too.",
        "kept = [(block, block.residual) for block in blocks]; in a loop block.residual = Nothing(); then try: yield "
        "network, and finally: for block, residual in kept: block.residual = residual.",
    ),
    read="notebook 07, section 7",
)

AS_BEFORE = {"the network": "as before"}
ONE, SEVERAL = ["stages.1.1"], ["stages.1.1", "stages.0.0", "stages.1.0"]


def small(shortcut: str = "A") -> ResNet:
    """Two stages of two blocks, in evaluation mode; the first block of the second stage changes the shape."""
    network = ResNet(BasicBlock, (2, 2), (2, 3), (1, 2), "cifar", 5, shortcut=shortcut).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if tensor.is_floating_point():
                tensor.normal_(generator=generator)
                tensor.copy_(0.5 + tensor.abs() if "var" in name else tensor)
    return network


def inside(answer: Callable, network: nn.Module, drop: Sequence[str], body: Callable) -> object:
    """What `body` returns inside of the answer's `with`; it gets what the answer yields."""
    if not callable(answer) or isinstance(answer, contextlib.AbstractContextManager):  # one of contextlib's is callable
        raise Wrong("not a function", type(answer).__name__, "Give check() lesion itself, without calling it.")
    made = answer(network, list(drop))
    if inspect.isgenerator(made):
        why = "A function with `yield` gives a generator. With @contextmanager in the line over `def`, `with` takes it."
        raise Wrong("@contextmanager is forgotten", "a generator", why)
    if hasattr(made, "gen") and not inspect.isgenerator(made.gen):  # made by @contextmanager
        why = "The body of the `with` runs at the `yield`: take the blocks out before it, put them back after it."
        raise Wrong("no yield", f"a function that returns {type(made.gen).__name__}", why)
    if not (hasattr(made, "__enter__") and hasattr(made, "__exit__")):
        why = "`with` calls __enter__ and __exit__. @contextmanager, over a function with a `yield`, gives both."
        raise Wrong("no context manager", type(made).__name__, why)
    with made as given:
        return body(given)
    return "no exception outside of the `with`"


def logits(network: nn.Module) -> Tensor:
    with torch.no_grad():
        return run(network, numbers(1, 3, 8, 8))


def lesioned(answer: Callable, drop: Sequence[str], shortcut: str = "A") -> object:
    """The network's logits inside; and those of another one, if that is what the answer yields."""
    network = small(shortcut)

    def body(given):
        also = isinstance(given, nn.Module) and given is not network
        return {"the network": logits(network)} | ({"what you yield": logits(given)} if also else {})

    return inside(answer, network, drop, body)


@exercise.case(
    "the logits without stages.1.1, a block that keeps the shape", "those of the network with F(x) = 0 there"
)
def one_block(answer):
    return lesioned(answer, ONE)


@exercise.case("the logits without stages.1.0, where the shape changes", "ReLU(0 + shortcut(x)), by option A and B")
def new_shape(answer):
    return {f"option {option}": attempt(lesioned, answer, ["stages.1.0"], option) for option in "AB"}


@exercise.case("three blocks of two stages at once, and none", "none of the three adds anything; the whole network")
def several_blocks(answer):
    return {"three": lesioned(answer, SEVERAL), "none": attempt(lesioned, answer, [])}


def afterwards(answer: Callable, drop: Sequence[str], error: bool = False) -> dict[str, str]:
    """What is left of the network after the `with`, or after an exception in it."""
    network = small()
    before, expected, parameters = copy.deepcopy(network.state_dict()), logits(network), [*network.parameters()]

    def body(given):
        if error:
            raise InterruptedError

    with contextlib.suppress(InterruptedError):
        inside(answer, network, drop, body)
    now = network.state_dict()
    if now.keys() != before.keys():
        return {"the network": "still without F"}
    hooks = [module for module in network.modules() if module._forward_hooks or module._forward_pre_hooks]
    found = {
        "the logits": torch.equal(logits(network.eval()), expected),
        "the weights": all(torch.equal(now[name], before[name]) for name in now),
        "the parameters": all(map(operator.is_, network.parameters(), parameters)),
        "the hooks": not hooks,
    }
    return {part: "other than before" for part, kept in found.items() if not kept} or AS_BEFORE


@exercise.case("the network after `with`", "as before: its logits, its weights, no hooks")
def put_back(answer):
    return afterwards(answer, ONE)


@exercise.case("the network after `with` and three blocks", "as before")
def all_put_back(answer):
    return "as before" if afterwards(answer, SEVERAL) == AS_BEFORE else "not as before"


@exercise.case("the network after an exception inside of `with`", "as before")
def after_an_exception(answer):
    return "as before" if afterwards(answer, ONE, error=True) == AS_BEFORE else "not as before"


@exercise.case("an exception inside of `with`", "it comes out of the `with`")
def lets_errors_through(answer):
    def body(given):
        raise InterruptedError("the exception")

    try:
        return inside(answer, small(), ONE, body)
    except InterruptedError:
        return "it comes out"


@exercise.case("a network in training, afterwards", "as before: modes, BN's statistics, .grad and requires_grad")
def training_goes_on(answer):
    network = small().train()
    network.stages[1].eval()
    network.stem.conv1.weight.requires_grad_(False)
    network.fc.weight.grad = torch.ones_like(network.fc.weight)

    def state():
        parameters = dict(network.named_parameters())
        return {
            "mode": [module.training for module in network.modules()],
            "BN's statistics": [buffer.sum().item() for buffer in network.buffers()],
            ".grad": [name for name in parameters if parameters[name].grad is not None],
            "requires_grad": [name for name in parameters if parameters[name].requires_grad],
        }

    before = state()
    inside(answer, network, ONE, lambda given: None)
    return {part: "as before" if now == before[part] else "changed" for part, now in state().items()}


# --- The mistakes, as other lines of the solution.

# fmt: off
mistake = exercise.mistake
OUT, BACK, KEPT, YIELD = "block.residual = Nothing()", "block.residual = residual", "kept = [", "yield network"
BLOCK, DROP, F = "network.get_submodule(name)", "in drop)", "block.residual"


def instead(forward: str, of: str = "block") -> dict[str, str]:
    """The lines by which `of`, the block or its residual, computes something else."""
    return {OUT: f"{of}.forward = lambda x, b=block, f=block.residual: {forward}", BACK: f"del {of}.forward"}


mistake("the next block gets another shape", instead("x"),
        "The shortcut of this block changes the shape, and it has to stay: only F goes, not the whole block.")
mistake("the zeros have the shape of x", instead("torch.zeros_like(x)", F),
        "Where the shape changes, F(x) has another shape than x. torch.zeros(()) can be added to any.")
mistake("the shortcut is taken out too", instead("0 * f(x)"),
        "Only F goes. The block puts out zeros now: what came before it is lost.")
for constant in ("f.bn2(0 * f[:-1](x))", "0 * f[:-1](x) + f.bn2.bias[:, None, None]"):
    mistake("F is a constant instead of 0", instead(constant, F),
            "BN is the last layer of F, and adds its bias also to zeros: take out all of F.")
mistake("F is the identity", instead("x", F), "Then the block computes ReLU(x + shortcut(x)). F has to give zero.")
mistake("another block is taken out",
        {BLOCK: "network.stages[int(name.split('.')[1]) - 1][int(name.split('.')[2]) - 1]"},
        "Stages and blocks count from 0: stages.1.2 is network.stages[1][2].")
mistake("a copy is changed", {KEPT: f"network = copy.deepcopy(network)\n    {KEPT}"},
        "The network that is given loses its F, and gets it back at the end.")

for out in (OUT, instead("b.shortcut(x).relu()")[OUT]):
    mistake("the blocks are not put back", {OUT: out, BACK: "pass"},
            "What you exchange, keep it in a variable, and put it back after the `yield` (or in __exit__).")
mistake("a hook is left",
        {OUT: "block.residual.register_forward_hook(lambda module, given, made: 0 * made)", BACK: "pass"},
        "Keep every handle that register_forward_hook returns, and call handle.remove() for each.")
for parts in ("block.residual.parameters()", "block.residual.bn2.parameters()"):
    mistake("the weights are not put back", {OUT: f"[p.data.zero_() for p in {parts}]"},
            "Keep copies, made by weight.clone(): state_dict() and weight.data are the weights themselves.")
mistake("not all of the blocks are put back", {"residual in kept:": "residual in kept[-1:]:"},
        "Is a variable overwritten in the loop? Keep what you take out in a list, one entry for each block.")
mistake("not put back after an exception", {"try:": "if True:", "finally:": "if True:"},
        "An exception leaves the function at the `yield`. try: yield, and finally: put everything back.")
mistake("the exception is swallowed", {"    finally:": "    except Exception:\n        pass\n    finally:"},
        "Whoever uses lesion has to see it: after `yield` no `except`, and in __exit__ no `return True`.")
for wrong in ({YIELD: f"for _ in drop:\n            {YIELD}"}, {KEPT: f"if not drop:\n        return\n    {KEPT}"}):
    mistake("not one yield", wrong,
            "For any number of blocks, also none, `yield` is reached once. Is it in a loop, or after a `return`?")
mistake("mode not as before", {KEPT: f"network.eval()\n    {KEPT}"},
        "Somebody goes on with it: put back whatever you change beside F, or leave it as it is.")
# fmt: on

lesion = exercise  # type: ignore[assignment]
