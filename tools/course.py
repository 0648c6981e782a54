"""The notebooks as pages that need nothing else: no network, no JavaScript, no other file.

tools/course.py notebooks/03_residual_block.ipynb     executes it, and writes build/03_residual_block.html
tools/course.py --stored notebooks/*.ipynb            with the outputs that are stored
tools/course.py --contents                            build/index.html, over the pages there, and the glossary

`make course` does what is needed of it. nbconvert makes HTML of the cells (pages/cells.html.j2), this file the page
around them: captions, tables, hints and solutions, formulas. pages/style.css says how it looks, on screen and on paper.
"""

import argparse
import re
import time
from html import escape
from pathlib import Path

import nbclient
import nbformat
from bs4 import BeautifulSoup
from latex2mathml.converter import convert as mathml
from nbconvert import TemplateExporter
from nbconvert.filters import Highlight2HTML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

from resnet_lesson import exercises

REPO = Path(__file__).resolve().parent.parent
COURSE = (REPO / "README.md").read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
PAGES = REPO / "tools" / "pages"
CARD = ("Question", "You will be able to", "Time", "Download")
# Of an output's formats, the first of these is shown: an explorer's picture, as no page has its widgets.
FORMATS = ["image/png", "text/html", "text/markdown", "text/plain"]
CONFIG = Config(NbConvertBase=Config(display_data_priority=FORMATS))
FOLDED = "<details><summary>{}</summary>\n\n{}\n\n</details>"


class Renderer(IPythonRenderer):
    """nbconvert's, but formulas as MathML, which browsers draw without a script, and <details> that stay whole."""

    def inline_math(self, body: str) -> str:
        return mathml(body)

    def block_math(self, body: str) -> str:
        return f'<span class="scroll">{mathml(body, display="block")}</span>'

    def _html_embed_images(self, html: str) -> str:
        return html  # nbconvert's would close each tag of a piece, and leave what is to be folded outside its fold


def markdown2html(source: str, folder: Path = PAGES) -> str:
    """HTML of Markdown; its pictures, by their paths from `folder`, come along inside of it."""
    renderer = Renderer(escape=False, embed_images=True, exclude_anchor_links=True, path=str(folder))
    return MarkdownWithMath(renderer).render(source)


def style() -> str:
    """style.css, with Pygments' colours of code for a light and a dark page."""
    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("default", "github-dark"))
    css = (PAGES / "style.css").read_text(encoding="utf-8")
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n{css}"


def card(path: Path) -> dict[str, str]:
    """A notebook's title and the rows of its card, as Markdown."""
    first = nbformat.read(path, as_version=4).cells[0].source
    rows = dict(re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \|$", first, re.M))
    return {"title": re.search(r"^# (.+)$", first, re.M)[1], **{name: rows[name] for name in CARD}}


def navigation(path: Path, label: str) -> str:
    """Links to the course's first page and to the notebooks before and after this one."""
    notebooks = sorted(path.resolve().parent.glob("*.ipynb"))
    i = notebooks.index(path.resolve())
    links = ['<a href="index.html">All notebooks</a>']
    for text, rel, others in (("← {}", "prev", notebooks[:i][-1:]), ("{} →", "next", notebooks[i + 1 :][:1])):
        for other in others:
            links.append(f'<a rel="{rel}" href="{other.stem}.html">{text.format(escape(card(other)["title"]))}</a>')
    return f'<nav aria-label="{label}">{" ".join(links)}</nav>'


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


def add_captions(soup: BeautifulSoup) -> None:
    """The *caption* after a cell becomes its figure's, and also the text of a picture that has none of its own."""
    for cell in soup.select(".cell:has(figure)"):
        paragraph = (cell.find_next_sibling() or cell).find("p", recursive=False)
        if paragraph and paragraph.contents[0].name == "em":
            paragraph.contents[0].unwrap()
            paragraph.name = "figcaption"
            bare = cell.select("img:not([alt])")
            for image in bare:
                image["alt"] = " ".join(paragraph.text.split())
            if bare and not paragraph.a:
                paragraph["aria-hidden"] = "true"  # those who hear the page hear it once
            cell.find_all("figure")[-1].append(paragraph)


def mend_tables(soup: BeautifulSoup) -> None:
    """Each table in a box that scrolls, with scopes for its headers: a row's is the first cell where it is bold."""
    for table in soup.find_all("table"):
        table.wrap(soup.new_tag("div", attrs={"class": "scroll"}))
        if table.thead and not table.thead.text.strip():
            table.thead.decompose()
        for header in table.select("thead th"):
            if header.text.strip():
                header["scope"] = "col"
            else:
                header.name = "td"
        for first in table.select("tr > td:first-child:has(> strong:only-child)"):
            first.name, first["scope"] = "th", "row"


def check(soup: BeautifulSoup, name: str) -> None:
    """Stop where a page would load something from elsewhere, or show a picture without words."""
    outside = [tag for tag in soup.find_all(src=True) if not tag["src"].startswith("data:")]
    outside += soup.find_all(["script", "link", "iframe"])
    if outside:
        raise SystemExit(f"{name}: a page must hold all that it needs, and this lies outside: {str(outside[0])[:200]}")
    if soup.select("img:not([alt])"):
        raise SystemExit(f"{name}: a figure has no caption after its cell, and no alt text: a page cannot describe it.")


def bring_home(soup: BeautifulSoup) -> None:
    """Links to notebooks and to the glossary lead to pages; anchors are GitHub's, in small letters."""
    for heading in soup.select("h2, h3"):
        heading["id"] = re.sub(r"[^\w -]", "", heading.text.lower()).replace(" ", "-")
    for link in soup.find_all(href=True):
        link["href"] = re.sub(r"^(?:\.\./notebooks/)?(\d\d_\w+)\.ipynb", r"\1.html", link["href"])
        link["href"] = re.sub(r"^https://github\.com/.+/docs/glossary\.md", "glossary.html", link["href"])


def write(target: Path, title: str, body: str, before: str = "", after: str = "") -> None:
    page = (PAGES / "page.html").read_text(encoding="utf-8")
    page = page.format(title=escape(title), style=style(), body=body, before=before, after=after)
    soup = BeautifulSoup(page, "html.parser")
    add_captions(soup)
    mend_tables(soup)
    bring_home(soup)
    check(soup, target.stem)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(str(soup), encoding="utf-8")


def write_page(path: Path, out: Path, stored: bool) -> None:
    """out/NAME.html for a notebook, which is executed first if its stored outputs are not to do."""
    start = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    if not stored:  # without the widgets' state, an explorer leaves its picture
        where = {"metadata": {"path": str(path.resolve().parent)}}
        nbclient.NotebookClient(notebook, timeout=600, store_widget_state=False, resources=where).execute()
    adapt(notebook)
    # Not nbconvert's HTMLExporter, which gives a picture "No description has been provided" before there is one.
    exporter = TemplateExporter(template_name="base", template_file=str(PAGES / "cells.html.j2"), config=CONFIG)
    exporter.register_filter("markdown2html", lambda source: markdown2html(source, path.parent))
    exporter.register_filter("highlight_code", Highlight2HTML(pygments_lexer="ipython3"))
    body, _ = exporter.from_notebook_node(notebook)
    target = out / f"{path.stem}.html"
    write(target, card(path)["title"], body, navigation(path, "Course"), navigation(path, "Where to go on"))
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, {time.monotonic() - start:.0f} s")


def write_index(paths: list[Path], out: Path) -> None:
    """out/index.html: what each notebook asks, teaches and takes; and out/glossary.html."""
    rows = ["| Notebook | Question | You will be able to | Time | Download | Size |", "|---|---|---|---|---|---|"]
    for path in paths:
        found, page = card(path), out / f"{path.stem}.html"
        found["Time"] = re.split(r"[,;]| with ", found["Time"])[0]  # of a reader; the machine's stands on the card
        link = f"**[{found.pop('title')}]({page.name})**"
        rows.append(f"| {' | '.join([link, *found.values(), f'{page.stat().st_size / 1e6:.1f} MB'])} |")
    text = (PAGES / "index.md").read_text(encoding="utf-8").format(course=COURSE, table="\n".join(rows))
    write(out / "index.html", COURSE, markdown2html(text))
    glossary = (REPO / "docs" / "glossary.md").read_text(encoding="utf-8")
    home = '<nav aria-label="Course"><a href="index.html">All notebooks</a></nav>'
    write(out / "glossary.html", "Glossary", markdown2html(glossary), home)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(REPO.glob("notebooks/*.ipynb")))
    parser.add_argument("--stored", action="store_true", help="take the outputs stored in the notebooks")
    parser.add_argument("--contents", action="store_true", help="only index.html, for pages that are there")
    parser.add_argument("--out", type=Path, default=Path("build"), help="the folder for the pages (build)")
    given = parser.parse_args(arguments)
    if given.contents:
        return write_index(given.notebooks, given.out)
    for path in given.notebooks:
        write_page(path, given.out, given.stored)


if __name__ == "__main__":
    main()
