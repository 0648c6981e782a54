"""docs/: links lead somewhere, the glossary and the notebooks name each other, what is read aloud makes sense."""

import re

import nbformat
import pytest
from support import paths
from support.paths import REPO

from resnet_lesson import exercises

DOCS = sorted((REPO / "docs").glob("*.md"))
PAGES = [*DOCS, *sorted(REPO.glob("*.md")), REPO / "data" / "README.md"]
NOTEBOOKS = {path.name: nbformat.read(path, as_version=4) for path in paths.NOTEBOOKS}
GLOSSARY = (REPO / "docs" / "glossary.md").read_text(encoding="utf-8")
TEACHING = (REPO / "docs" / "teaching.md").read_text(encoding="utf-8")


def each(pages):
    return pytest.mark.parametrize("path", pages, ids=lambda path: str(path.relative_to(REPO)))


def prose(path):
    """The text of a page or of a notebook, without code."""
    text = words(NOTEBOOKS[path.name]) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def anchors(text):
    """The anchors of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return [re.sub(r"[^\w\- ]", "", re.sub(r"[*`]", "", heading).lower()).replace(" ", "-") for heading in headings]


def words(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@each(PAGES)
def test_links_and_anchors_lead_somewhere(path):
    for link in re.findall(r"(?<!!)\]\((?!https?:)([^)\s]+)\)", prose(path)):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@each([*PAGES, *paths.NOTEBOOKS])
def test_headings_are_in_order_and_tables_have_headers(path):
    levels = [len(mark) for mark in re.findall(r"^(#+) ", prose(path), re.M)]
    assert levels[0] == 1 and levels.count(1) == 1
    deeper = 2 if path.suffix == ".md" else 1
    assert all(after <= before + deeper for before, after in zip(levels, levels[1:], strict=False))
    lines = prose(path).splitlines()
    for before, rule in zip(lines, lines[1:], strict=False):
        if re.fullmatch(r"\|(?:\s*:?-+:?\s*\|)+", rule):
            assert before.startswith("|") and before.count("|") == rule.count("|"), rule


def test_terms_are_in_order_and_each_names_its_place():
    parts = re.split(r"^## ", GLOSSARY, flags=re.M)[1:]
    terms = [part.splitlines()[0] for part in parts]
    assert len(terms) >= 50 and terms == sorted(terms, key=str.lower)
    for part in parts:
        place = re.search(
            r"Introduced in \[notebook \d\d\]\(\.\./notebooks/(.+?)\), (section \d+|Going deeper)\.", part
        )
        name, heading = place.groups()
        heading = heading.replace("section ", "") + ("" if heading == "Going deeper" else r"\. ")
        assert re.search(rf"^## {heading}", words(NOTEBOOKS[name]), re.M), part.splitlines()[0]


def test_each_term_is_linked_once_from_the_notebook_that_introduces_it():
    linked = {}
    for name, notebook in NOTEBOOKS.items():
        for anchor in re.findall(r"/docs/glossary\.md#([\w-]+)\)", words(notebook)):
            assert anchor in anchors(GLOSSARY), f"{name}: {anchor}"
            linked.setdefault(anchor, []).append(name)
    assert set(linked) == set(anchors(GLOSSARY)[1:])
    assert {anchor: names for anchor, names in linked.items() if len(names) > 1} == {}


def test_the_guide_names_mistakes_as_the_reports_do():
    code = "".join(path.read_text() for path in (REPO / "resnet_lesson" / "exercises").rglob("*.py"))
    known = {mistake.name for name in exercises.names() for mistake in getattr(exercises, name).mistakes}
    paragraphs = re.findall(r"^\*\*Exercises?\.\*\* .*", TEACHING, re.M)
    quoted = [name for text in paragraphs for name in re.findall(r'"([a-z@][^"]*)"', text)]
    assert len(quoted) > 50
    assert [name for name in quoted if name not in known and f'"{name}"' not in code] == []


def seen_in(notebook):
    """All text of a notebook, with what its cells printed, without the commas of thousands."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = [output.get("text", "") + str(output.get("data", {}).get("text/html", "")) for output in outputs]
    plain = [str(output.get("data", {}).get("text/plain", "")) for output in outputs]
    return "\n".join([*(cell.source for cell in notebook.cells), *printed, *plain]).replace(",", "")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_measured_numbers_of_the_guide_are_those_of_the_notebook(name):
    """Percentages and decimals in the guide's part on a notebook are in that notebook, rounded perhaps."""
    assert f"(../notebooks/{name})" in TEACHING
    part = TEACHING.split(f"## Notebook {name[:2]}: ")[1].split("\n## ")[0].replace(",", "")
    decimals = set(re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", seen_in(NOTEBOOKS[name])))
    percentages = set(re.findall(r"(?<![\w.])\d+(?=%)", seen_in(NOTEBOOKS[name])))
    percentages |= {f"{float(number):.0f}" for number in decimals}
    assert sorted(set(re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", part)) - decimals) == []
    assert sorted(set(re.findall(r"(?<![\w.])\d+(?=%)", part)) - percentages) == []


def test_sections_that_the_guide_names_exist():
    named = re.findall(r"\b(0\d), sections? (\d+)(?: (?:to|and) (\d+))?", TEACHING)
    assert len(named) > 40
    for number, *sections in named:
        text = words(next(notebook for name, notebook in NOTEBOOKS.items() if name.startswith(number)))
        for section in filter(None, sections):
            assert re.search(rf"^## {section}\. ", text, re.M), f"{number}, section {section}"
