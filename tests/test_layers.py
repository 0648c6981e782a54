"""The house: each folder of the package imports only from those below it, and the ground from no folder."""

import ast
from importlib.util import resolve_name

import pytest
from support.paths import REPO

PACKAGE = REPO / "resnet_lesson"
FLOORS = ("models", "datasets", "training", "inside", "figures", "exercises", "commands")
GROUND, FACADE = {"errors.py", "machine.py", "files.py"}, {"__init__.py", "__main__.py"}


def floor_of(module: str) -> int:
    """0 for the ground, from 1 on for a folder."""
    folder = module.split(".")[1] if "." in module else ""
    return FLOORS.index(folder) + 1 if folder in FLOORS else 0


def imports(path):
    """The modules of the package that a file imports, with their full names."""
    package = ".".join(path.relative_to(REPO).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def test_the_top_holds_the_folders_the_ground_and_the_facade():
    there = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert there == {*FLOORS, *GROUND, *FACADE}


@pytest.mark.parametrize("folder", ["", *FLOORS])
def test_imports_run_one_way(folder):
    files = [PACKAGE / name for name in GROUND] if not folder else sorted((PACKAGE / folder).rglob("*.py"))
    upwards = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in files
        for module in imports(path)
        if floor_of(module) > floor_of(f"resnet_lesson.{folder}")
    ]
    assert upwards == []
