"""A student's notebook as a file: its code cells, the exercises that it should hold, and whose code an answer is."""

import ast
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import nbformat

from ... import exercises
from ...errors import LessonError

LARGEST = 100 * 10**6  # bytes; stored pictures may take some
MOST_CODE = 10**6  # characters; the longest notebook of the course has 25,000


@dataclass(frozen=True)
class Submission:
    """What was handed in.

    cells: the sources of its code cells, without any stored output; exercises: the names of those that count, in the
    course's order; problem: why it cannot be graded, or "".
    """

    path: Path
    cells: tuple[str, ...] = ()
    exercises: tuple[str, ...] = ()
    problem: str = ""


def find(paths: Iterable[Path]) -> list[Path]:
    """The notebooks among files and in folders. Raises LessonError where a path does not exist, or none is found."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = (one for one in sorted(path.rglob("*.ipynb")) if ".ipynb_checkpoints" not in one.parts)
            found |= dict.fromkeys(one for one in inside if one.is_file())
        elif path.is_file():
            found[path] = None
        else:
            raise LessonError(f"There is no file or folder {path}: give a notebook, or a folder of notebooks.")
    if not found:
        raise LessonError(f"No notebook (*.ipynb) in {', '.join(map(str, paths))}: give the folder that holds them.")
    return list(found)


def read(path: Path) -> Submission:
    """The notebook in a file. Whatever the file holds, it raises nothing: `problem` says it."""
    try:
        if path.stat().st_size > LARGEST:
            return Submission(path, problem=f"larger than {LARGEST // 10**6} MB: clear its outputs and save it again")
        with warnings.catch_warnings(action="ignore"):
            notebook = nbformat.read(path, as_version=4, capture_validation_error={})
        cells = tuple("" + cell.source for cell in notebook.cells if cell.cell_type == "code")
        if sum(map(len, cells)) > MOST_CODE:
            return Submission(path, problem=f"more than {MOST_CODE:,} characters of code: nobody writes as much")
    except Exception as error:  # whatever it is, it must not stop the class
        kind = type(error).__name__
        return Submission(path, problem=f"not a notebook that can be read ({kind}): save it again in JupyterLab")
    names = expected(path.stem, cells)
    problem = "" if names else "no exercise of the course in it: is it the right notebook?"
    return Submission(path, cells, names, problem)


def chapter(name: str) -> str:
    """ "03", the number of the notebook that an exercise belongs to: its module's name says it."""
    prefix = f"{exercises.__name__}.n"
    modules = {key: vars(module) for key, module in sys.modules.items() if key.startswith(prefix)}
    return next(key.removeprefix(prefix)[:2] for key, held in modules.items() if name in held)


def expected(stem: str, cells: Iterable[str]) -> tuple[str, ...]:
    """The exercises that count in a notebook: those of the course's notebook whose number the file's name has, if any
    of them is mentioned; otherwise all that are mentioned."""
    text = "\n".join(cells)
    mentioned = [name for name in exercises.names() if re.search(rf"\bexercises\.{name}\b", text)]
    numbers = re.findall(r"(?<!\d)(\d\d)(?=_[a-z])", stem) + re.findall(r"(?<!\d)\d\d(?!\d)", stem)
    for number in numbers:
        if any(chapter(name) == number for name in mentioned):
            return tuple(name for name in exercises.names() if chapter(name) == number)
    return tuple(mentioned)


def likeness(submission: Submission, name: str) -> list[str]:
    """Remarks on where an answer comes from: the same as the course's solution, or a call of it. For the teacher: short
    code may be the same by chance."""
    with suppress(RecursionError):  # of an expression nested a thousand times
        return _likeness(list(_parsed(submission.cells)), name)
    return []


def _likeness(trees: list[ast.Module], name: str) -> list[str]:
    solution = definitions(ast.parse(getattr(exercises, name).solution()))
    answer = list(solution)[-1] if solution else ""
    if any(answer in (found := definitions(tree)) and found[answer] == solution[answer] for tree in trees):
        return ["the same as ex.solution()"]
    courses, used = _from_the_course(trees), []
    for tree in trees:
        if any(isinstance(node, ast.Attribute) and ast.unparse(node) == f"exercises.{name}" for node in ast.walk(tree)):
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and node.attr in solution and _root(node) in courses:
                    used.append(ast.unparse(node))
                if isinstance(node, ast.Name) and courses.get(node.id) in solution and node.id not in definitions(tree):
                    used.append(node.id)
    return [f"its cell names the course's {', '.join(dict.fromkeys(used))}"] if used else []


def _from_the_course(trees: Iterable[ast.Module]) -> dict[str, str]:
    """The names that cells import from the course: what each is called there."""
    found = {}
    for node in (node for tree in trees for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))):
        for alias in node.names:
            if (getattr(node, "module", None) or alias.name).split(".")[0] == "resnet_lesson":
                found[(alias.asname or alias.name).split(".")[0]] = alias.name
    return found


def _parsed(cells: Iterable[str]) -> Iterator[ast.Module]:
    """The cells as syntax trees, without lines for IPython; a cell that is no Python is left out."""
    for cell in cells:
        try:
            yield ast.parse(re.sub(r"^[ \t]*[%!].*", "", cell, flags=re.M))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue


def definitions(tree: ast.Module) -> dict[str, str]:
    """The functions and classes that a module defines: name and syntax, docstrings left out."""
    found = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            for part in ast.walk(node):
                if isinstance(part, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(part, clean=False):
                    part.body = part.body[1:]
            found[node.name] = ast.dump(node)
    return found


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
