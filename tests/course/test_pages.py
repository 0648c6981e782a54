"""The pages of `make course`: offline and without a script, on a phone, on paper, and for those who hear them."""

import re
from functools import cache

import course
import nbformat
import pytest
from support.lab import chromium
from support.paths import REPO

from resnet_lesson import exercises

NAMES = ["03_residual_block", "06_cifar10_training"]  # exercises, an explorer and tables; formulas
PATHS = [REPO / "notebooks" / f"{name}.ipynb" for name in NAMES]
each = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("build")
    course.main(["--out", str(out), *map(str, PATHS)])
    return out


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def visit(browser, folder):
    """Open a page once, offline, as wide as a phone and without scripts; what it asks for is noted."""
    asked = []

    @cache
    def open_(name, width=360):
        shape = {"width": width, "height": 800}
        page = browser.new_context(viewport=shape, offline=True, java_script_enabled=False).new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto((folder / f"{name}.html").as_uri())
        return page

    yield open_
    assert asked and [url for url in asked if not url.startswith(("file:", "data:"))] == []


def cells(name):
    return nbformat.read(REPO / "notebooks" / f"{name}.ipynb", as_version=4).cells


@pytest.mark.parametrize("name", [*NAMES, "index", "glossary"])
def test_on_a_phone_nothing_reaches_beyond_the_edge(visit, name):
    page = visit(name)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    # What is wider is in a box that scrolls.
    assert page.evaluate("""() => [...document.querySelectorAll("main *")].filter(element =>
        element.getBoundingClientRect().right > innerWidth && !element.closest("pre, .scroll, table, .output")
    ).map(element => element.outerHTML.slice(0, 200))""") == []  # fmt: skip


@each
def test_every_figure_is_drawn_and_its_caption_is_its_text(visit, name):
    page, outputs = visit(name), [output for cell in cells(name) for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    images = page.evaluate("""() => [...document.images].map(image =>
        [image.alt, image.complete && image.naturalWidth, image.getBoundingClientRect().right])""")
    assert len(images) == len(pictures) > 5
    assert all(len(alt) > 15 and "*" not in alt and drawn > 100 and right <= 360 for alt, drawn, right in images)


@each
def test_answers_hints_and_solutions_are_folded(visit, name):
    page, source = visit(name), "\n".join(cell.source for cell in cells(name))
    found = [getattr(exercises, one) for one in re.findall(r"^ex = exercises\.(\w+)$", source, re.M)]
    folds = page.evaluate("""() => [...document.querySelectorAll("details")].map(details =>
        [details.textContent, [...details.children].map(part => part.checkVisibility())])""")
    quiz = source.count("<details>")
    assert len(folds) == quiz + sum(len(one.hints) + 1 for one in found) > quiz > 5
    assert all(visible == [True] + [False] * (len(visible) - 1) and len(visible) > 1 for _, visible in folds)
    text = "".join(text for text, _ in folds)
    for one in found:
        assert all(hint.replace("`", "") in text for hint in one.hints)
        assert one.solution().strip().splitlines()[-1] in text


@pytest.mark.parametrize("name", [*NAMES, "index", "glossary"])
def test_it_has_a_title_headings_in_order_and_landmarks(visit, name):
    page = visit(name)
    assert page.title() == page.locator("h1").inner_text()  # fails where there are two
    assert page.locator("html").get_attribute("lang") == "en" and page.locator("main").count() == 1
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(tag => +tag.tagName[1])")
    assert levels[0] == 1 and all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the text"


@each
def test_by_keyboard_every_box_that_scrolls_can_be_reached(visit, name):
    page = visit(name)
    reached = page.evaluate("""() => [...document.querySelectorAll("main *")].filter(box => box.scrollWidth >
        box.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(box).overflowX)).map(box => box.outerHTML.match(
        /^[^>]* tabindex="0"( role="group" aria-label="(Code|Output|Table)")?/) !== null)""")
    assert len(reached) > 20 and all(reached)


@each
def test_every_table_has_headers_and_none_is_empty(visit, name):
    tables = visit(name).evaluate("""() => [...document.querySelectorAll("table")].map(table =>
        [...table.querySelectorAll("th")].map(header => header.textContent.trim()))""")
    assert len(tables) > 2 and all(headers and all(headers) for headers in tables)


# The lowest contrast of a text with its ground (WCAG asks for 4.5), and which text that is.
CONTRAST = """() => {
    const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255).map(part =>
        part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    ).reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0.05);
    const ground = element => {
        const colour = getComputedStyle(element).backgroundColor;
        return colour === "rgba(0, 0, 0, 0)" ? ground(element.parentElement) : colour;
    };
    document.querySelectorAll("details").forEach(details => { details.open = true; });
    const found = [...document.querySelectorAll("body *")].filter(element => element.checkVisibility() &&
        [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim())
    ).map(element => {
        const [more, less] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
        return [more / less, element.outerHTML.slice(0, 100)];
    });
    return found.sort((one, other) => one[0] - other[0])[0];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_code_stand_out_from_their_ground(visit, scheme):
    page = visit("03_residual_block", 1000)
    page.emulate_media(color_scheme=scheme)
    lowest, where = page.evaluate(CONTRAST)
    assert 4.5 <= lowest < 21, where


def test_pages_lead_to_each_other(visit, folder):
    page = visit("03_residual_block")
    links = page.evaluate("[...document.links].map(link => link.getAttribute('href'))")
    assert links[1:4] == ["index.html", "02_residual_learning.html", "04_bottleneck.html"]
    assert all(re.match(r"https?://|#main$|index\.html$|glossary\.html#|0\d_\w+\.html$", link) for link in links)
    assert not any("colab" in link for link in links)
    terms = visit("glossary").evaluate("[...document.querySelectorAll('h2')].map(heading => heading.id)")
    used = {link.partition("#")[2] for link in links if link.startswith("glossary.html#")}
    assert used and used <= set(terms) and len(terms) >= 50


def test_the_index_says_what_each_notebook_asks_and_takes(visit, folder):
    page = visit("index")
    assert page.title() == "Residual networks, by experiment" and page.locator("h2").count() == len(NAMES)
    text = page.locator("main").inner_text()
    assert "How is the block built when shapes change? You will be able to write the basic block" in text
    size = (folder / "03_residual_block.html").stat().st_size / 1e6
    assert f"Time: about 70 minutes. Download: none. This page: {size:.1f} MB." in text
    page.get_by_role("link", name="06 · CIFAR-10 training").click()
    assert page.title() == "06 · CIFAR-10 training"


def test_formulas_need_no_script(visit):
    page = visit("06_cifar10_training")
    assert page.locator("math").count() == 6 and page.locator("math").last.bounding_box()["width"] > 5
    text = page.evaluate("[...document.querySelectorAll('main p')].map(p => p.textContent).join()")
    assert "$" not in text and "\\" not in text


def test_on_paper_nothing_is_dark_cut_off_or_for_clicking(visit):
    page = visit("03_residual_block", 680)  # as wide as A4 between its margins
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("""() => [...document.querySelectorAll("nav, details > :not(summary)")].filter(part =>
        part.checkVisibility()).length""") == 0  # fmt: skip
    assert page.evaluate("""() => [...document.querySelectorAll("pre")].filter(pre =>
        pre.scrollWidth > pre.clientWidth + 1).length""") == 0  # fmt: skip


@pytest.mark.parametrize("text", [
    "![elsewhere](https://example.org/a.png)",
    "<script>alert(1)</script>",
    "<img src='data:image/png;base64,'>",  # without a text
])  # fmt: skip
def test_a_page_that_would_load_something_or_say_nothing_is_not_written(tmp_path, text):
    cells = [nbformat.v4.new_markdown_cell(one) for one in ("# A title", text)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "trial.ipynb")
    with pytest.raises(SystemExit, match="must hold all that it needs, and a text for each picture"):
        course.main(["--out", str(tmp_path), str(tmp_path / "trial.ipynb")])
    assert not (tmp_path / "trial.html").exists()
