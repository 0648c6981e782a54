"""From objects to their source: a solution that can be pasted into a cell, and the student's line behind an error."""

import ast
import importlib.util
import inspect
import linecache
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType, TracebackType


def code_of(objects: Sequence) -> str:
    """The source of the package's objects, preceded by the imports that it needs to run by itself."""
    body = "\n\n\n".join(textwrap.dedent(inspect.getsource(one)).rstrip() for one in objects)
    defined = {one.__name__ for one in objects}
    used = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)} - defined
    imports: dict[str, None] = {}
    for one in objects:
        module = sys.modules[one.__module__]
        imports |= dict.fromkeys(_imports(module, used))
    first = "# The course's own code.\n"
    return first + "\n".join(sorted(imports, key=lambda line: ("resnet_lesson" in line, line))) + f"\n\n\n{body}\n"


def _imports(module: ModuleType, used: set[str]) -> list[str]:
    """The lines that import what of `used` this module has: as the module itself imports it, or from the module."""
    lines, imported = [], set()
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            node.names = [alias for alias in node.names if (alias.asname or alias.name.split(".")[0]) in used]
            imported |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node.level:
                relative = "." * node.level + (node.module or "")
                node.module, node.level = importlib.util.resolve_name(relative, module.__package__), 0
            lines += [ast.unparse(node)] if node.names else []
    own = sorted(name for name in used - imported if name in vars(module) and not name.startswith("__"))
    return lines + ([f"from {module.__name__} import {', '.join(own)}"] if own else [])


NOT_THE_STUDENTS = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}) + (
    str(Path(__file__).parents[2]),
    "<",  # code without a file
)


def student_line(error: BaseException) -> str:
    """ "line 7: `x = self.conv(x)`": the last line that `error` went through outside of packages; or ""."""
    frames = [(step.tb_frame.f_code.co_filename, step.tb_lineno) for step in _steps(error.__traceback__)]
    own = [(file, number) for file, number in frames if not file.startswith(NOT_THE_STUDENTS)]
    return f"line {own[-1][1]}: `{linecache.getline(*own[-1]).strip()}`" if own else ""


def _steps(step: TracebackType | None) -> Iterator[TracebackType]:
    while step is not None:
        yield step
        step = step.tb_next


def edited(answer: Callable, lines: Mapping[str, str]) -> Callable | None:
    """The function or class with some of its source text replaced; or None if that is not possible.

    It is not possible if a key of `lines` is not in the source exactly once. The new source is kept, so that the result
    can be edited again.
    """
    if answer not in SOURCES:
        SOURCES[answer] = textwrap.dedent(inspect.getsource(answer))  # slow: for a class, it reads the whole file
    source = SOURCES[answer]
    for right, wrong in lines.items():
        if source.count(right) != 1:
            return None
        source = source.replace(right, wrong)
    names = dict(vars(sys.modules[answer.__module__]))
    exec(compile(source, f"<{answer.__name__} with a mistake>", "exec"), names)
    made = names[answer.__name__]
    SOURCES[made] = source
    return made


SOURCES: dict[Callable, str] = {}  # of everything that `edited` was given or has made
