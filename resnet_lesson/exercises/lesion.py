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
        "A block computes relu(residual(x) + shortcut(x)). Which part has to become zero, so that only the shortcut "
        "is left?",
        'network.get_submodule("stages.1.2") is the block of that name. A small module whose forward returns '
        "torch.zeros(()) can take the place of its residual: adding that to a tensor of any shape changes nothing.",
        "With @contextmanager (from contextlib) above `def lesion`, the lines before its `yield` run on entering "
        "`with`, and the lines after it on leaving.",
        "Before you take a residual out, store it in a list together with its block. Put the `yield` into `try:`, and "
        "put the residuals back in `finally:`, which also runs after an exception.",
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
    """What `body` returns inside the answer's `with`; it gets what the answer yields."""
    if isinstance(answer, contextlib.AbstractContextManager):  # one of contextlib's is callable
        raise Wrong("not a function", type(answer).__name__, "Give check() lesion itself, without calling it.")
    made = answer(network, list(drop))
    if inspect.isgenerator(made):
        why = "A function with `yield` gives a generator. `with` accepts it once @contextmanager is above the `def`."
        raise Wrong("@contextmanager is forgotten", "a generator", why)
    if hasattr(made, "gen") and not inspect.isgenerator(made.gen):  # made by @contextmanager
        why = (
            "The body of the `with` runs at the `yield`: take the residuals out before it, and put them back after it."
        )
        raise Wrong("no yield", f"a function that returns {type(made.gen).__name__}", why)
    if not (hasattr(made, "__enter__") and hasattr(made, "__exit__")):
        why = "`with` needs __enter__ and __exit__. @contextmanager, above a function with a `yield`, provides both."
        raise Wrong("not a context manager", type(made).__name__, why)
    with made as given:
        return body(given)
    return "no exception outside the `with`"


def logits(network: nn.Module) -> Tensor:
    with torch.no_grad():
        return run(network, numbers(1, 3, 8, 8))


def lesioned(answer: Callable, drop: Sequence[str], shortcut: str = "A") -> object:
    """The network's logits inside; and, if the answer yields another network, those of that one."""
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


@exercise.case("the logits without stages.1.0, where the shape changes", "ReLU(0 + shortcut(x)), with options A and B")
def new_shape(answer):
    return {f"option {option}": attempt(lesioned, answer, ["stages.1.0"], option) for option in "AB"}


@exercise.case(
    "three blocks of two stages at once, and none", "none of the three adds anything; then the whole network"
)
def several_blocks(answer):
    return {"three": lesioned(answer, SEVERAL), "none": attempt(lesioned, answer, [])}


def afterwards(answer: Callable, drop: Sequence[str], error: bool = False) -> dict[str, str]:
    """What is different about the network after the `with`, or after an exception in it."""
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
    return {part: "not as before" for part, kept in found.items() if not kept} or AS_BEFORE


@exercise.case("the network after `with`", "as before: its logits, its weights, no hooks")
def put_back(answer):
    return afterwards(answer, ONE)


@exercise.case("the network after `with`, three blocks", "as before")
def all_put_back(answer):
    return "as before" if afterwards(answer, SEVERAL) == AS_BEFORE else "not as before"


@exercise.case("the network after an exception inside `with`", "as before")
def after_an_exception(answer):
    return "as before" if afterwards(answer, ONE, error=True) == AS_BEFORE else "not as before"


@exercise.case("an exception inside `with`", "the caller sees it")
def lets_errors_through(answer):
    def body(given):
        raise InterruptedError("the exception")

    try:
        return inside(answer, small(), ONE, body)
    except InterruptedError:
        return "the caller sees it"


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


# --- The mistakes, as edits of the solution.

# fmt: off
mistake = exercise.mistake
OUT, BACK, KEPT, YIELD = "block.residual = Nothing()", "block.residual = residual", "kept = [", "yield network"
BLOCK, F = "network.get_submodule(name)", "block.residual"


def instead(forward: str, of: str = "block") -> dict[str, str]:
    """The lines by which `of`, the block or its residual, computes something else."""
    return {OUT: f"{of}.forward = lambda x, b=block, f=block.residual: {forward}", BACK: f"del {of}.forward"}


mistake("the next block gets another shape", instead("x"),
        "The shortcut of this block changes the shape, so it has to stay: take out only F, not the whole block.")
mistake("the zeros have the shape of x", instead("torch.zeros_like(x)", F),
        "Where the shape changes, F(x) does not have the shape of x. torch.zeros(()) can be added to any shape.")
mistake("the shortcut is taken out too", instead("0 * f(x)"),
        "Take out only F. Your block returns zeros, so everything that came before it is lost.")
for constant in ("f.bn2(0 * f[:-1](x))", "0 * f[:-1](x) + f.bn2.bias[:, None, None]"):
    mistake("F is a constant instead of 0", instead(constant, F),
            "BN is the last layer of F, and it adds its bias even to zeros: take out all of F.")
mistake("F is the identity", instead("x", F), "This way the block computes ReLU(x + shortcut(x)). F has to be zero.")
mistake("the wrong block is taken out",
        {BLOCK: "network.stages[int(name.split('.')[1]) - 1][int(name.split('.')[2]) - 1]"},
        "Stages and blocks are counted from 0: stages.1.2 is network.stages[1][2].")
mistake("a copy is changed", {KEPT: f"network = copy.deepcopy(network)\n    {KEPT}"},
        "Change the network that you are given, and restore it at the end.")

for out in (OUT, instead("b.shortcut(x).relu()")[OUT]):
    mistake("the blocks are not put back", {OUT: out, BACK: "pass"},
            "Keep what you replace in a variable, and put it back after the `yield` (or in __exit__).")
mistake("a hook is left",
        {OUT: "block.residual.register_forward_hook(lambda module, given, made: 0 * made)", BACK: "pass"},
        "Keep every handle that register_forward_hook returns, and call remove() on each at the end.")
for parts in ("block.residual.parameters()", "block.residual.bn2.parameters()"):
    mistake("the weights are not put back", {OUT: f"[p.data.zero_() for p in {parts}]"},
            "Keep copies made with weight.clone(): state_dict() and weight.data are the weights themselves.")
mistake("not all of the blocks are put back", {"residual in kept:": "residual in kept[-1:]:"},
        "Does the loop overwrite a variable? Keep what you take out in a list, with one entry per block.")
mistake("not put back after an exception", {"try:": "if True:", "finally:": "if True:"},
        "An exception leaves your function at the `yield`. Put the `yield` into `try:`, and restore the network in "
        "`finally:`.")
mistake("the exception is swallowed", {"    finally:": "    except Exception:\n        pass\n    finally:"},
        "The caller has to see it: use no `except` around the `yield`, and do not return True from __exit__.")
for wrong in ({YIELD: f"for _ in drop:\n            {YIELD}"}, {KEPT: f"if not drop:\n        return\n    {KEPT}"}):
    mistake("not exactly one yield", wrong,
            "For any number of blocks, even none, `yield` must run once. Is it in a loop, or after a `return`?")
mistake("the mode is not as before", {KEPT: f"network.eval()\n    {KEPT}"},
        "The training goes on afterwards: leave everything except F alone, or restore it.")
# fmt: on

lesion = exercise  # type: ignore[assignment]
