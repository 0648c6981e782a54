"""The exercise `lesion` of notebook 07: residual blocks without their F, for as long as a `with` lasts."""

import contextlib
import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..inside import lesions
from ..models.blocks import BasicBlock
from ..models.resnet import ResNet
from .filter_direction import sound
from .kit.exercise import Exercise, Wrong
from .kit.probing import run, same, shake

lesion = Exercise(
    "lesion",
    "Write a context manager inside which the residual blocks of the given names add nothing.",
    solution=(lesions.Nothing, lesions.lesion),
    hints=(
        "A block computes relu(residual(x) + shortcut(x)). Which of its parts has to give zero, so that only the "
        "shortcut stays?",
        'network.get_submodule("stages.1.2") is the block of that name. A small module whose forward returns '
        "torch.zeros(()) can take the place of its residual: added to a tensor of any shape, that changes nothing.",
        "With @contextmanager (from contextlib) over `def lesion`, what stands before its `yield` happens on entering "
        "`with`, what stands after it on leaving.",
        "Keep each block with its residual in a list before you take it out. And let the `yield` stand in `try:`, and "
        "what puts them back in `finally:`. That happens after an exception too.",
        "kept = [(block, block.residual) for block in blocks]; in a loop block.residual = Nothing(); then try: yield "
        "network, and finally: for block, residual in kept: block.residual = residual.",
    ),
    read="notebook 07, section 7",
)

ONE, SEVERAL = ["stages.1.1"], ["stages.2.2", "stages.0.0", "stages.2.0"]


def small(shortcut: str = "A") -> ResNet:
    """Three stages of three blocks, in evaluation mode; in the second and third the first block changes the shape."""
    return shake(ResNet(BasicBlock, (3, 3, 3), (4, 8, 12), (1, 2, 2), "cifar", 5, shortcut=shortcut)).eval()


def inside(answer: Callable, network: nn.Module, drop: Sequence[str], body: Callable) -> Any:
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
    try:
        with made as given:
            return body(given)
        # Here it comes only after an exception that did not get out of the `with`.
        why = "Whoever uses lesion has to see it: after `yield` no `except`, and in __exit__ no `return True`."
        raise Wrong("the exception is swallowed", "no exception outside of the `with`", why)
    except RuntimeError as error:
        if not str(error).startswith("generator didn't"):
            raise
        why = "For any number of blocks, also none, it comes to `yield` once. Is it in a loop, or after a `return`?"
        raise Wrong("not one yield", str(error), why) from error


def without_f(block: nn.Module, x: Tensor) -> Tensor:
    return block.shortcut(x).relu()


def by_hand(network: nn.Module, x: Tensor, drop: Sequence[str], instead: Callable = without_f) -> Tensor:
    """The network's logits, where the blocks `drop` compute instead(block, x)."""
    with torch.no_grad():
        x = network.stem(x)
        for name, block in lesions.blocks_of(network).items():
            x = instead(block, x) if name in drop else block(x)
        return network.fc(network.pool(x).flatten(1))


CONSTANT = "F is a constant instead of 0", "BN comes last in F, and adds its bias also to zeros: take out all of F."
SHORTCUT = "the shortcut is taken out too", "Only F goes. The block puts out zeros now: what came before it is lost."
RELU = "the ReLU is taken out too", "A projection has negative numbers. Without F the block is ReLU(0 + shortcut(x))."
INSTEAD = (  # what else a block may compute: F alone, 0, F of BN's shifts only (conv2 or bn2 has zeros), the shortcut
    (lambda block, x: block.residual(x).relu(), "the shortcut is taken out instead of F", "F(x) goes, and x stays."),
    (lambda block, x: 0 * block.residual(x), *SHORTCUT),
    (lambda block, x: (block.shortcut(x) + block.residual.bn2(0 * block.residual(x))).relu(), *CONSTANT),
    (lambda block, x: (block.shortcut(x) + block.residual.bn2.bias[:, None, None]).relu(), *CONSTANT),
    (lambda block, x: block.shortcut(x), *RELU),
)


def lesioned(answer: Callable, drop: Sequence[str], shortcut: str = "A") -> None:
    """Raise `Wrong` unless the network computes inside what it computes by hand without these blocks' F."""
    network, x = small(shortcut), torch.randn(2, 3, 8, 8)
    intact = copy.deepcopy(network)
    expected = by_hand(intact, x, drop)

    def body(given):
        try:
            with torch.no_grad():
                return run(network, x), run(given, x) if isinstance(given, nn.Module) else None
        except RuntimeError as error:
            return error, None

    found, of_given = inside(answer, network, drop, body)
    if isinstance(found, RuntimeError):
        check_shapes(found)
    if same(found, expected) or drop != ONE and not sound(answer, one_block):
        return  # it is right, or the probe of one block says what is wrong
    got = f"other logits than without F in {', '.join(drop)}"
    if of_given is not None and same(of_given, expected):
        raise Wrong("a copy is changed", got, "The network that is given loses its F, and gets it back at the end.")
    for compute, mistake, why in INSTEAD:
        if same(found, by_hand(intact, x, drop, compute)):
            raise Wrong(mistake, got, why)
    for mistake, taken, why in other_blocks(drop, list(lesions.blocks_of(intact))):
        if same(found, by_hand(intact, x, taken)):
            raise Wrong(mistake, f"the logits without F in {', '.join(taken) or 'no block'}", why)
    raise Wrong("other logits", got, "Only F of these blocks is 0; their shortcuts and all other blocks stay.")


def check_shapes(error: RuntimeError) -> None:
    """Raise `Wrong` for an addition or a convolution that fails, and any other error as it is."""
    got = str(error).splitlines()[0]
    if "must match the size" in got:
        why = "Where the shape changes, F(x) has another shape than x. torch.zeros(()) can be added to any."
        raise Wrong("the zeros have the shape of x", got, why) from error
    if "channels" in got:
        why = "The shortcut of this block changes the shape, and it has to stay: only F goes, not the whole block."
        raise Wrong("the next block gets another shape", got, why) from error
    raise error


def other_blocks(drop: Sequence[str], names: Sequence[str]) -> list[tuple[str, Sequence[str], str]]:
    """Mistakes in which blocks are taken out: the mistake, the blocks, how to see it."""
    whole = [name for name in names if name.startswith(tuple(one[: len("stages.1.")] for one in drop))]
    each, count = "Go through all of `drop` in a loop, and come to `yield` after it.", "1.2 is network.stages[1][2]."
    return [
        ("nothing is taken out", [], "The network computes as before. What you change, does forward use it?"),
        ("only the first of the blocks is taken out", drop[:1], each),
        ("only the last of the blocks is taken out", drop[-1:], each),
        ("the whole stage is taken out", whole, f"One block of it is meant: stages.{count}"),
        ("all blocks are taken out", names, "Only the blocks of the names in `drop` lose their F."),
        *(("another block is taken out", [name], f"Stages and blocks count from 0: stages.{count}") for name in names),
    ]


@lesion.probe("the logits without stages.1.1, a block that keeps the shape", "those of the network with F(x) = 0 there")
def one_block(answer):
    lesioned(answer, ONE)


@lesion.probe("the logits without stages.1.0, where the shape changes", "F(x) = 0, and the shortcut (option A) stays")
def new_shape(answer):
    lesioned(answer, ["stages.1.0"])


@lesion.probe("the same with a projection as the shortcut (option B)", "ReLU(0 + shortcut(x))")
def projection(answer):
    lesioned(answer, ["stages.1.0"], shortcut="B")


@lesion.probe("three blocks of two stages at once", "none of the three adds anything")
def several_blocks(answer):
    lesioned(answer, SEVERAL)


@lesion.probe("an empty list", "the logits of the whole network")
def no_block(answer):
    lesioned(answer, [])


def restored(answer: Callable, drop: Sequence[str], interrupt: bool = False) -> None:
    """Raise `Wrong` unless the network is as before after the `with`, or after an exception in it."""
    network, x = small(), torch.randn(2, 3, 8, 8)
    before, expected, parameters = copy.deepcopy(network.state_dict()), run(network, x), list(network.parameters())

    def body(given):
        if interrupt:
            raise InterruptedError

    with contextlib.suppress(InterruptedError):
        inside(answer, network, drop, body)
    now = network.state_dict()
    if any(module._forward_hooks or module._forward_pre_hooks for module in network.modules()):
        why = "Keep every handle that register_forward_hook returns, and call handle.remove() for each."
        raise Wrong("a hook is left", "a hook on a block", why)
    if now.keys() == before.keys() and (other := [name for name in now if not torch.equal(now[name], before[name])]):
        why = "Keep copies, made by weight.clone(): state_dict() and weight.data are the weights themselves."
        raise Wrong("the weights are not put back", f"other values in {other[0]}", why)
    if now.keys() != before.keys() or not same(run(network.eval(), x), expected):
        why = "What you exchange, keep it in a variable, and put it back after the `yield` (or in __exit__)."
        raise Wrong("the blocks are not put back", "a network that is still without them", why)
    if set(map(id, network.parameters())) != set(map(id, parameters)):
        raise Wrong("a copy is put back", "other parameter objects", "An optimiser still has the old: put them back.")


@lesion.probe("the network after `with`", "as before: its logits, its weights, no hooks")
def put_back(answer):
    restored(answer, ONE)


def also_restored(answer: Callable, mistake: str, why: str, *how) -> None:
    """As `restored`; where one block is put back without an exception, there is one mistake: that it is not here."""
    try:
        restored(answer, *how)
    except Wrong as wrong:
        if wrong.mistake in ("not one yield", "the exception is swallowed") or not sound(answer, put_back):
            raise
        raise Wrong(mistake, f"{wrong.mistake}: {wrong.got}", why) from wrong


@lesion.probe("the network after `with` and three blocks", "as before")
def all_put_back(answer):
    why = "Is a variable overwritten in the loop? Keep what you take out in a list, one entry for each block."
    also_restored(answer, "not all of the blocks are put back", why, SEVERAL)


@lesion.probe("an exception inside of `with`", "it comes out, and the network is as before")
def after_an_exception(answer):
    why = "An exception leaves the function at the `yield`. try: yield, and finally: put everything back."
    also_restored(answer, "not put back after an exception", why, ONE, True)


@lesion.probe("a network in training, afterwards", "as before: modes, BN's statistics, .grad and requires_grad")
def training_goes_on(answer):
    network = small().train()
    network.stages[2].eval()
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
    if (changed := [what for what, value in state().items() if value != before[what]]) and sound(answer, put_back):
        why = "Somebody goes on with it: put back whatever you change beside F, or leave it as it is."
        raise Wrong(f"{changed[0]} not as before", f"another {changed[0]} of the network", why)
