"""Whether what a verdict rests on is still what it was before a student's code ran: for `child`.

Kept, and compared by identity: the names in the course's modules that the checks reach, and in those modules of torch
and Python that they call; what the classes there define; the code, defaults and closures of the functions; the contents
of the course's own lists, dictionaries and objects. A mode of torch, a hook on every module, a kind of Tensor, and a
trace function change what a call does without changing a name: these are looked at, too.
"""

import builtins

# Bound here: a student's code may exchange them there.
from builtins import all, dict, enumerate, getattr, hasattr, isinstance, len, map, set, str, type, vars  # noqa: UP029
from collections.abc import Iterator
from itertools import repeat
from operator import is_
from sys import getprofile, gettrace, modules
from types import BuiltinFunctionType, FunctionType, ModuleType

import torch
from torch.nn.modules import module as hooks
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

OURS = "resnet_lesson"
ROOTS = (f"{OURS}.exercises", "torch.nn.modules")  # with all that is in them
CALLED = (
    *("torch._C", "torch._C._nn", "torch._VF", "torch._tensor", "torch.functional", "torch.nn.functional"),
    *("torch.nn.init", "torch.nn.parameter", "torch.autograd", "torch.random", "torch.overrides"),
)
UNWATCHED = ("sys", "matplotlib", "builtins")  # their functions change when they are used
PASSING = {"_shown", "__builtins__", "__doc__", "__annotations__", "__annotations_cache__", "__abstractmethods__"}
ABSENT = object()


class Guard:
    """Takes stock when it is made, of modules that are imported by then."""

    def __init__(self):
        self._kept: dict[int, tuple[str, object, dict]] = {}  # by id: where it was found, the thing, its state
        for name, module in sorted(modules.items()):
            if name in CALLED or name.startswith(ROOTS):
                self._keep(name, module)
        self._builtins = {name: value for name, value in vars(builtins).items() if _called(value)}
        self._tensors = set(subclasses(torch.Tensor))

    def _keep(self, where: str, thing: object) -> None:
        stack = [(where, thing)]
        while stack:
            where, thing = stack.pop()
            if id(thing) in self._kept or (state := _state(thing)) is None:
                continue
            if isinstance(thing, (FunctionType, type)):
                where = f"{thing.__module__}.{thing.__qualname__}"
            self._kept[id(thing)] = where, thing, state
            if isinstance(thing, FunctionType) and _ours(thing):
                module = modules[thing.__module__]
                stack.append((module.__name__, module))
            for name, value in state.items():
                value = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
                stack.append((value.__name__ if isinstance(value, ModuleType) else f"{where}.{name}", value))

    def changes(self) -> list[str]:
        """What is different now, by name; nothing, if all is as it was."""
        return list(dict.fromkeys(self._changes()))

    def _changes(self) -> Iterator[str]:
        for where, thing, before in self._kept.values():
            now = _state(thing)
            if isinstance(thing, ModuleType):
                if modules.get(thing.__name__, thing) is not thing:
                    yield where
                # Other new names are harmless, such as submodules that were imported since.
                now = {name: value for name, value in now.items() if name in before or name in self._builtins}
            if len(now) != len(before) or not all(map(is_, map(now.get, before, repeat(ABSENT)), before.values())):
                names = [n for n in before | now if before.get(n, ABSENT) is not now.get(n, ABSENT)]
                yield from (f"{where}.{name}" for name in names)
        for name, value in self._builtins.items():
            if getattr(builtins, name, ABSENT) is not value:
                yield f"builtins.{name}"
        modes = [*_get_current_function_mode_stack(), *_get_current_dispatch_mode_stack()]
        for made in [*map(type, modes), *(set(subclasses(torch.Tensor)) - self._tensors)]:
            if made.__module__.partition(".")[0] != "torch":
                yield f"{made.__qualname__}, which steps between torch and the check"
        for name, value in vars(hooks).items():
            if name.startswith("_global_") and value and isinstance(value, dict):
                yield f"{name[1:]} of torch"
        if gettrace() or getprofile():
            yield "sys.settrace"


def _state(thing: object) -> dict | None:
    """What must stay the same of a thing, by name; None where nothing can change."""
    if isinstance(thing, ModuleType):
        if thing.__name__.partition(".")[0] in UNWATCHED:
            return None
        own = thing.__name__.partition(".")[0] == OURS
        return {n: v for n, v in vars(thing).items() if n not in PASSING and (own or _called(v))}
    if isinstance(thing, type):
        own = _ours(thing)
        state = {n: v for n, v in vars(thing).items() if n not in PASSING and (own or hasattr(v, "__get__"))}
        return state | {"__bases__": thing.__bases__}
    if isinstance(thing, FunctionType):
        state = {"code": thing.__code__, "defaults": thing.__defaults__, **(thing.__kwdefaults__ or {})}
        for number, cell in enumerate(thing.__closure__ or ()):
            state[f"cell {number}"] = cell.cell_contents
        return state
    if isinstance(thing, dict):
        return dict(thing)
    if isinstance(thing, (list, tuple)):
        return dict(enumerate(thing))
    if _ours(type(thing)) and hasattr(thing, "__dict__"):
        return {name: value for name, value in vars(thing).items() if name not in PASSING}
    return None


def _ours(thing: object) -> bool:
    module = str(getattr(thing, "__module__", ""))
    return module.startswith(OURS) and module != f"{OURS}.grading.child"  # it keeps count of the answers


def _called(value: object) -> bool:
    return isinstance(value, (FunctionType, BuiltinFunctionType, type))


def subclasses(cls: type) -> Iterator[type]:
    for made in type.__subclasses__(cls):
        yield made
        yield from subclasses(made)
