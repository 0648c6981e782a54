"""From objects to their source: a solution that can be pasted into a cell, and the student's line behind an error."""

import ast
import inspect
import linecache
import sys
import textwrap
from collections.abc import Sequence
from types import ModuleType


def code_of(objects: Sequence) -> str:
    """The source of the package's objects, after the imports that it needs to run by itself."""
    body = "\n\n\n".join(textwrap.dedent(inspect.getsource(one)).rstrip() for one in objects)
    defined = {one.__name__ for one in objects}
    used = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)} - defined
    imports: dict[str, None] = {}
    for one in objects:
        module = sys.modules[one.__module__]
        imports |= dict.fromkeys(_imports(module, used))
    first = "# The course's own code, with options that other notebooks use.\n"
    return first + "\n".join(sorted(imports, key=lambda line: ("resnet_lesson" in line, line))) + f"\n\n\n{body}\n"


def _imports(module: ModuleType, used: set[str]) -> list[str]:
    """The lines that import what of `used` this module has: as the module itself imports it, or from the module."""
    lines, imported = [], set()
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            node.names = [alias for alias in node.names if (alias.asname or alias.name.split(".")[0]) in used]
            imported |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node.level:
                node.module, node.level = f"{module.__package__}.{node.module}", 0
            lines += [ast.unparse(node)] if node.names else []
    own = sorted(name for name in used - imported if name in vars(module) and not name.startswith("__"))
    return lines + ([f"from {module.__name__} import {', '.join(own)}"] if own else [])


def student_line(error: BaseException, answer: object) -> str:
    """ "line 7: `x = self.conv(x)`": the last line of the student's own code that `error` went through; or ""."""
    files = {code.co_filename for code in _codes(answer)}
    found = ""
    step = error.__traceback__
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        if name in files:
            found = f"line {step.tb_lineno}: `{linecache.getline(name, step.tb_lineno).strip()}`"
        step = step.tb_next
    return found


def _codes(answer: object) -> list:
    """The code objects that belong to an answer: a function's, or those of a class's own functions."""
    if isinstance(answer, dict):
        return [code for part in answer.values() for code in _codes(part)]
    functions = vars(answer).values() if inspect.isclass(answer) else [answer]
    return [inspect.unwrap(function).__code__ for function in functions if inspect.isfunction(function)]
