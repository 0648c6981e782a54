"""The exercises as they stand in the notebooks: their stubs, and a solution pasted in."""

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
