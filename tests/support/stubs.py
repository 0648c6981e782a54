"""The exercises as they stand in the notebooks: their stubs, and a solution pasted in."""

import ast
import re
import symtable

from resnet_lesson import exercises


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
    """The names that a cell defines, and those that it takes from cells before it."""
    tree = ast.parse("\n".join(line for line in source.splitlines() if line[:1] not in "%!"))
    defined: set[str] = set()
    taken: set[str] = set()
    for statement in tree.body:
        scopes = [symtable.symtable(ast.unparse(statement), "a cell", "exec")]
        own = {name.get_name() for name in scopes[0].get_symbols() if name.is_assigned() or name.is_imported()}
        used = {name.get_name() for name in scopes[0].get_symbols() if name.is_referenced()}
        for scope in scopes:  # the functions, classes and comprehensions inside
            scopes += scope.get_children()
            used |= {name.get_name() for name in scope.get_symbols() if name.is_global() and name.is_referenced()}
        if isinstance(statement, (ast.For, ast.With)):  # its own name, in its own body
            used -= own
        taken |= used - defined
        defined |= own
    return defined, taken


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
