"""The committed notebooks: executed, in order, clean. That their cells still run and give the same is nbval's part."""

import json
import re

import nbconvert
import nbformat
import pytest
from support.paths import NOTEBOOKS
from support.stubs import names_in

from notebooks import caption

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def test_every_cell_was_executed_once_and_in_order(path):
    # nbval does not compare a cell without a number: an unexecuted notebook would pass.
    assert [cell.execution_count for cell in code_cells(path)] == list(range(1, len(code_cells(path)) + 1))


def test_no_cell_is_skipped_or_may_fail_and_none_needs_a_magic(path):
    """A command after an exclamation mark can fail without an error, and so can a magic."""
    for cell in code_cells(path):
        assert not re.search(r"^\s*([%!]|# *(NBVAL_SKIP|NBVAL_RAISES_EXCEPTION)\b)", cell.source, re.M), cell.source
        assert "tags" not in cell.metadata or not {"nbval-skip", "raises-exception"} & set(cell.metadata.tags)


def test_no_error_is_stored_and_nothing_on_stderr(path):
    outputs = [output for cell in code_cells(path) for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []


def test_no_timestamps_widget_state_or_machine_paths_are_stored(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    assert not any("execution" in cell.metadata for cell in notebook.cells)
    outputs = json.dumps([[{**output, "data": {k: v for k, v in output.get("data", {}).items() if "image" not in k}}
                           for output in cell.outputs] for cell in code_cells(path)])  # fmt: skip
    assert re.findall(r"/(?:root|home|work|Users|tmp)/[^\"]*", path.read_text()) == []
    assert re.findall(r"\x1b\[|\\u001b", outputs) == [], "terminal colour codes"
    assert re.findall(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\d+%\|", outputs) == [], "a date or a progress bar"


def test_nbconvert_writes_a_python_script(path):
    script, resources = nbconvert.ScriptExporter().from_filename(path)
    assert resources["output_extension"] == ".py" and compile(script, path.name, "exec")


def test_a_prediction_can_be_shown_again_after_the_last_cell(path):
    """Who pressed too late runs that cell again: no later cell may give one of its names to something else."""
    cells = [cell.source for cell in code_cells(path)]
    for i, source in enumerate(cells):
        if ".beside(" in source:
            rebound = names_in(source)[1] & set().union(*(names_in(later)[0] for later in cells[i + 1 :]))
            assert rebound == set(), source


def test_cells_are_short_and_have_one_idea(path):
    lengths = {cell.source: len(cell.source.splitlines()) for cell in code_cells(path)}
    assert [source for source, length in lengths.items() if length > 15] == []


def test_it_has_the_parts_of_a_lesson(path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    card = read(path).cells[0].source
    for part in ("**Question**", "**You will be able to**", "**You need**", "**Time**", "**Download**", path.name):
        assert part in card, f"the card lacks {part}"
    hosted = read(path).metadata
    assert hosted["accelerator"] == "GPU" and hosted["kaggle"]["isInternetEnabled"]
    assert "import resnet_lesson" in code_cells(path)[0].source
    assert text.count("<details>") == text.count("</details>") == text.count("<summary>")
    assert "@" not in re.sub(r"https?://\S+", "", text), "a place holder"
    assert not re.search("[!\U0001f300-\U0001faff]", re.sub(r"!\[|<!--", "", text)), "exclamation mark or emoji"


def test_pictures_have_a_text(path):
    for cell in (cell for cell in read(path).cells if cell.cell_type == "markdown"):
        assert all(text.strip() for text in re.findall(r"!\[([^]]*)\]\(", cell.source)), cell.source[:200]
        assert not re.search(r"<(?:img|table|font|b|i)\b", cell.source), "write Markdown, which keeps texts and headers"


def test_every_figure_has_a_caption(path):
    cells = read(path).cells
    for cell, following in zip(cells, cells[1:], strict=False):
        pictures = [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
        for picture in pictures:
            assert following.source.startswith("*"), f"no caption after: {cell.source}"
            # tools/notebooks.py writes it: where a picture is not seen, its text is read out.
            alternative = picture.metadata.get("image/png", {}).get("alt", "")
            assert alternative == caption(following) and len(alternative) > 40
