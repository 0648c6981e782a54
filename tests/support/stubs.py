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
    nodes = list(ast.walk(ast.parse("\n".join(line for line in source.splitlines() if line[:1] not in "%!"))))
    defined = {alias.asname or alias.name.split(".")[0] for node in nodes for alias in getattr(node, "names", ())
               if isinstance(alias, ast.alias)}  # fmt: skip
    defined |= {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    named = [node for node in nodes if isinstance(node, ast.Name)]
    defined |= {node.id for node in named if isinstance(node.ctx, ast.Store)}
    return defined, {node.id for node in named if not isinstance(node.ctx, ast.Store)}


def about_the_exercises(cells: list) -> list:
    """Of a notebook's code cells those with exercises, those that use what the student writes there, and all before
    them that define what these need: so that experiments which have nothing to do with an exercise need not run."""
    code = [cell for cell in cells if cell.cell_type == "code"]
    names = [names_in(cell.source) for cell in code]
    written = {name for cell, (defined, _) in zip(code, names, strict=True) if exercise_in(cell) for name in defined}
    written -= {"ex", "exercises"} | {name for name in written if name.islower() and len(name) == 1}
    waiting = [i for i, cell in enumerate(code) if exercise_in(cell) or names[i][1] & written]
    kept: set[int] = set()
    while waiting:
        i = waiting.pop()
        if i not in kept:
            kept.add(i)
            waiting += [k for name in names[i][1] for k in range(i) if name in names[k][0]]
    return [code[i] for i in sorted(kept)]
