"""The notebooks as pages that need nothing else: no network, no JavaScript, no other file.

`make course` writes a page to build/ for each notebook, with the outputs that are stored in it, the glossary, and an
index. nbconvert writes the HTML with the template in pages/. This file folds hints and solutions, turns formulas into
MathML, and makes links lead to pages. pages/style.css says how a page looks, on screen and on paper.
"""

import argparse
import re
from html import escape
from pathlib import Path

import nbformat
from latex2mathml.converter import convert as mathml
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

from notebooks import COURSE, NOTEBOOKS, address
from resnet_lesson import exercises

TITLE = (COURSE / "README.md").read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
# Of an output's formats, the first of these is shown: an explorer's picture, as no page has its widgets.
FORMATS = ["image/png", "text/html", "text/markdown", "text/plain"]
CONFIG = Config(NbConvertBase=Config(display_data_priority=FORMATS))
FOLDED = "<details><summary>{}</summary>\n\n{}\n\n</details>"
# What a page would load from elsewhere, or show without words (the text is nbconvert's).
UNFIT = r"<(?:script|link|iframe)\b.*?>|<[^>]* src=[\"'](?!data:).*?>|No description has been provided for this image"


class Renderer(IPythonRenderer):
    """nbconvert's, but formulas as MathML, which browsers draw without a script, and links that lead to pages."""

    def inline_math(self, body: str) -> str:
        return mathml(body)

    def block_math(self, body: str) -> str:
        return f'<span class="scroll" tabindex="0">{mathml(body, display="block")}</span>'

    def heading(self, text: str, level: int, **attributes) -> str:
        anchor = re.sub(r"[^\w -]", "", re.sub(r"<.*?>", "", text).lower()).replace(" ", "-")  # as on GitHub
        return f'<h{level} id="{anchor}">{text}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        url = re.sub(r"^(?:\.\./notebooks/)?(\d\d_\w+)\.ipynb", r"\1.html", url)
        url = re.sub(r"^https://github\.com/.+/docs/glossary\.md", "glossary.html", url)
        return super().link(text, url, title)


def markdown2html(source: str) -> str:
    return MarkdownWithMath(Renderer(escape=False)).render(source)


def card(path: Path) -> dict[str, str]:
    """A notebook's title and the rows of its card, as Markdown."""
    first = nbformat.read(path, as_version=4).cells[0].source
    rows = dict(re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \|$", first, re.M))
    return {"title": re.search(r"^# (.+)$", first, re.M)[1], **rows}


def links(path: Path) -> str:
    """Markdown: the course's first page, and the notebooks before and after this one."""
    notebooks = sorted(path.resolve().parent.glob("*.ipynb"))
    i = notebooks.index(path.resolve())
    before = [f"[← {card(other)['title']}]({other.name})" for other in notebooks[:i][-1:]]
    after = [f"[{card(other)['title']} →]({other.name})" for other in notebooks[i + 1 :][:1]]
    return " ".join(["[All notebooks](index.html)", *before, *after])


def help_with(exercise) -> str:
    """Markdown: an exercise's hints, one by one, and its solution, all folded."""
    hints = [re.sub("`([^`]+)`", r"<code>\1</code>", escape(hint)) for hint in exercise.hints]
    folded = [FOLDED.format(f"Hint {i} of {len(hints)}", f"<p>{hint}</p>") for i, hint in enumerate(hints, start=1)]
    return "\n".join([*folded, FOLDED.format("Solution", f"```python\n{exercise.solution()}\n```")])


def adapt(notebook) -> None:
    """Leave out Colab's badge and nbval's marks; put help below each cell that offers it to those who can run it."""
    notebook.cells[0].source = re.sub(r"^\[!\[.*\n", "", notebook.cells[0].source, flags=re.M)
    name, cells = "", []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "code":
            cell.source = cell.source.removeprefix("# NBVAL_IGNORE_OUTPUT\n")
            name = (re.findall(r"^ex = exercises\.(\w+)$", cell.source, re.M) or [name])[-1]
            if re.match(r"# ex\.hint\(\)", cell.source):
                cells.append(nbformat.v4.new_markdown_cell(help_with(getattr(exercises, name))))
    notebook.cells = cells


def table(found: re.Match) -> str:
    """The table in a box that scrolls, without empty headers. In a card's, which has no others, each row has one."""
    bare = re.sub(r"<thead>\s*<tr>(\s*<th></th>)+\s*</tr>\s*</thead>", "", found[0])
    if bare != found[0]:
        bare = re.sub(r"(<tr>\s*)<td>(?:<strong>)?(.*?)(?:</strong>)?</td>", r'\1<th scope="row">\2</th>', bare)
    bare = bare.replace("<th></th>", "<td></td>")  # the corner
    return f'<div class="scroll" tabindex="0" role="group" aria-label="Table">{bare}</div>'


def reachable(page: str) -> str:
    """The page, with each box that may scroll sideways as a stop for Tab; not every browser makes it one."""
    page = re.sub(r"<table\b.*?</table>", table, page, flags=re.S)
    page = re.sub(r'(<div class="highlight[^>]*>)<pre\b', r'\1<pre tabindex="0" role="group" aria-label="Code"', page)
    return re.sub(r"<pre\b(?! tabindex)", '<pre tabindex="0" role="group" aria-label="Output"', page)


def write(notebook, target: Path, title: str, links: str) -> None:
    """Write the page; stop where it would load something from elsewhere, or show a picture without words."""
    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("default", "github-dark"))
    exporter = HTMLExporter(
        config=CONFIG,
        template_name="pages",
        extra_template_basedirs=[str(COURSE / "tools")],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        filters={"markdown2html": markdown2html},
    )
    links = markdown2html(links)
    page, _ = exporter.from_notebook_node(notebook, {"title": title, "links": links, "light": light, "dark": dark})
    page = reachable(page)
    unfit = re.search(UNFIT, page)
    if unfit:
        raise SystemExit(f"{target.stem}: a page must hold all that it needs, and a text for each picture: {unfit[0]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8")


def write_page(path: Path, out: Path) -> None:
    """out/NAME.html for a notebook."""
    notebook = nbformat.read(path, as_version=4)
    adapt(notebook)
    target = out / f"{path.stem}.html"
    write(notebook, target, card(path)["title"], links(path))
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


def write_contents(paths: list[Path], out: Path) -> None:
    """out/index.html: what each notebook asks, teaches and takes; and out/glossary.html."""
    parts = []
    for path in paths:
        of = card(path)
        minutes = re.split(r"[,;]| with ", of["Time"])[0]  # of a reader; the machine's are on the card
        size = (out / f"{path.stem}.html").stat().st_size / 1e6
        parts.append(
            f"## [{of['title']}]({path.name})\n\n"
            f"**{of['Question']}** You will be able to {of['You will be able to']}.\n\n"
            f"Time: {minutes}. Download: {of['Download']}. This page: {size:.1f} MB."
        )
    index = (COURSE / "tools" / "pages" / "index.md").read_text(encoding="utf-8")
    pages = {TITLE: ("index", index.format(course=TITLE, repository=address()[0], parts="\n\n".join(parts)))}
    pages["Glossary"] = ("glossary", (COURSE / "docs" / "glossary.md").read_text(encoding="utf-8"))
    for title, (name, source) in pages.items():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(source)])
        write(notebook, out / f"{name}.html", title, "[All notebooks](index.html) [Glossary](glossary.html)")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, default=NOTEBOOKS, help="their paths (default: all)")
    parser.add_argument("--out", type=Path, default=Path("build"), help="the folder for the pages (default: build)")
    given = parser.parse_args(arguments)
    for path in given.notebooks:
        write_page(path, given.out)
    write_contents(given.notebooks, given.out)


if __name__ == "__main__":
    main()
