"""The exercises as they stand in the notebooks: their stubs, and a solution pasted in."""

import ast
import re

from resnet_lesson import exercises

from .paths import REPO

PATHS = sorted((REPO / "notebooks").glob("*.ipynb"))


def exercise_in(cell):
    """The name of the exercise whose stub the cell is, or None."""
    found = re.search(r"^ex = exercises\.(\w+)$", cell.source, re.M) if cell.cell_type == "code" else None
    return found[1] if found and re.search(r"^ex\.check\(", cell.source, re.M) else None


def stubs(notebook):
    return [cell for cell in notebook.cells if exercise_in(cell)]


def paste_solution(cell):
    name = exercise_in(cell)
    solution = getattr(exercises, name).solution()
    head = cell.source[: cell.source.index(f"ex = exercises.{name}")]
    check = "" if "ex.check(" in solution else cell.source[cell.source.index("\nex.check(") :]
    cell.source = f"{head}ex = exercises.{name}\n\n{solution}\n{check}"


def text_of(cell):
    return "".join(output.get("data", {}).get("text/plain", "") for output in cell.outputs)


def names_in(source: str) -> tuple[set[str], set[str]]:
    """The names that a cell defines, and those that it uses."""
    tree = ast.parse("\n".join(line for line in source.splitlines() if line[:1] not in "%!"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return set(_defined(tree)), used


def _defined(node: ast.AST):
    """The names that stay after a cell: not those inside a function or a comprehension."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            yield child.name
        elif isinstance(child, ast.alias):
            yield child.asname or child.name.split(".")[0]
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.id
        elif not isinstance(child, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            yield from _defined(child)


def about_the_exercises(cells: list) -> list:
    """Of a notebook's code cells those with exercises, after each the first one that uses what was written there, and
    all before them that define what these need: experiments, which are not compared either, need not run for that."""
    code = [cell for cell in cells if cell.cell_type == "code"]
    names = [names_in(cell.source) for cell in code]
    waiting = []
    for i, cell in enumerate(code):
        if exercise_in(cell):
            written = names[i][0] - {"ex", "exercises"}
            later = [k for k in range(i + 1, len(code)) if "NBVAL_IGNORE_OUTPUT" not in code[k].source]
            waiting += [i, *[k for k in later if names[k][1] & written and not exercise_in(code[k])][:1]]
    kept: set[int] = set()
    while waiting:
        i = waiting.pop()
        if i not in kept:
            kept.add(i)
            for name in names[i][1]:
                waiting += [k for k in range(i) if name in names[k][0]][-1:]  # where it was last defined
    return [code[i] for i in sorted(kept)]
