"""Has the student written anything yet in an exercise's cell?"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable

from torch import nn


def is_unattempted(answer: object) -> bool:
    """Whether nothing is there yet but None, `...`, "", or code that is only `...`, pass or NotImplementedError."""
    if answer is None or answer is ... or isinstance(answer, str) and not answer:
        return True
    if isinstance(answer, dict):
        return all(is_unattempted(part) for part in answer.values())
    if inspect.isclass(answer):
        functions = [value for value in vars(answer).values() if inspect.isfunction(value)]
        return all(map(_is_stub, functions)) and (bool(functions) or answer.__bases__ in ((object,), (nn.Module,)))
    return inspect.isfunction(answer) and _is_stub(answer)


def _is_stub(function: Callable) -> bool:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # no source, or a lambda inside an expression: somebody wrote it
        return False
    definition = tree.body[0]
    return isinstance(definition, ast.FunctionDef) and all(map(_says_nothing, definition.body))


def _says_nothing(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant()):  # `...` or a docstring
            return True
        case ast.Assign(targets=[ast.Attribute()], value=ast.Name() | ast.Constant()):  # self.width = width
            return True
    # super().__init__ with arguments is an answer: the class may inherit from nn.Sequential and pass the layers to it.
    code = ast.unparse(statement)
    nothing = r"pass|return( None| \.\.\.)?|super\((\w+, self)?\)\.__init__\(\)|(nn\.)?Module\.__init__\(self\)"
    return re.fullmatch(nothing, code) is not None or code.startswith("raise NotImplementedError")
