"""The pages of `make course`: offline and without a script, on a phone, on paper, and for those who hear them."""

import importlib.util
import re

import nbclient
import nbformat
import pytest
from support.lab import REPO, SCREENSHOTS, chromium

from resnet_lesson import exercises

NAMES = ["03_residual_block", "06_cifar10_training"]  # exercises, an explorer and tables; formulas
PATHS = [REPO / "notebooks" / f"{name}.ipynb" for name in NAMES]
FOLDED = re.compile(r"^<details>|# ex\.hint\(\)", re.M)


spec = importlib.util.spec_from_file_location("course", REPO / "tools" / "course.py")
course = importlib.util.module_from_spec(spec)
spec.loader.exec_module(course)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("build")
    for option in ("--stored", "--contents"):
        course.main([option, "--out", str(out), *map(str, PATHS)])
    return out


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def visit(browser, folder):
    """Open a page without a network and without scripts; what it asks for is noted."""
    contexts, asked = [], []

    def open_(name, width=1366, script=False, **options):
        shape = {"width": width, "height": 800}
        contexts.append(browser.new_context(viewport=shape, offline=True, java_script_enabled=script, **options))
        page = contexts[-1].new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto((folder / f"{name}.html").as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def outputs(name):
    notebook = nbformat.read(REPO / "notebooks" / f"{name}.ipynb", as_version=4)
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def source(name):
    return "\n".join(cell.source for cell in nbformat.read(REPO / "notebooks" / f"{name}.ipynb", as_version=4).cells)


@pytest.mark.parametrize("name", [*NAMES, "index"])
@pytest.mark.parametrize("width", [360, 1366], ids=["phone", "laptop"])
def test_nothing_makes_the_page_scroll_sideways(visit, name, width):
    page = visit(name, width)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"page-{name}-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # What is wider stands in a box that scrolls; nothing else reaches beyond the edge, which text could not be read at.
    assert page.evaluate("""() => [...document.querySelectorAll("main *")].filter(element =>
        element.getBoundingClientRect().right > innerWidth && !element.closest("pre, .scroll, .output")
    ).map(element => element.outerHTML.slice(0, 200))""") == []  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_drawn_and_described(visit, name):
    page = visit(name, 360)
    images = page.evaluate("""() => [...document.images].map(image =>
        [image.alt, image.complete && image.naturalWidth, image.getBoundingClientRect().right])""")
    assert len(images) == sum("image/png" in output.get("data", {}) for output in outputs(name)) > 5
    for alt, drawn, right in images:
        assert len(alt) > 15 and "*" not in alt and alt != "No description has been provided for this image"
        assert drawn > 100 and right <= 360, alt
    assert page.locator("figure figcaption").count() == len(images)


@pytest.mark.parametrize("name", NAMES)
def test_answers_hints_and_solutions_are_folded(visit, name):
    page = visit(name)
    found = re.findall(r"^ex = exercises\.(\w+)$", source(name), re.M)
    quiz = source(name).count("<details>")
    folded = page.locator("details")
    assert folded.count() == quiz + sum(len(getattr(exercises, one).hints) + 1 for one in found) > quiz > 5
    inside = folded.locator(":scope > :not(summary)")
    assert inside.count() >= folded.count()
    assert not any(part.is_visible() for part in inside.all())
    for summary in page.locator("summary").all():  # by keyboard, and without a script
        summary.focus()
        page.keyboard.press("Enter")
    assert all(part.is_visible() for part in inside.all())
    text = page.locator("main").inner_text()
    for one in found:
        assert all(hint.replace("`", "") in text for hint in getattr(exercises, one).hints)
        assert getattr(exercises, one).solution().strip().splitlines()[-1] in text


@pytest.mark.parametrize("name", NAMES)
def test_it_has_a_title_headings_in_order_and_landmarks(visit, name):
    page = visit(name)
    title = page.locator("h1").inner_text()  # fails where there are two
    assert page.title() == title and page.locator("html").get_attribute("lang") == "en"
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(tag => +tag.tagName[1])")
    assert levels[0] == 1 and all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the text"
    assert page.locator("main").count() == 1
    labels = [nav.get_attribute("aria-label") for nav in page.locator("nav").all()]
    assert len(set(labels)) == 2
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("th[scope=row]", has_text="Question").count() == 1


def test_pages_lead_to_each_other(visit):
    page = visit("03_residual_block")
    links = [link.get_attribute("href") for link in page.locator("nav").first.locator("a").all()]
    assert links == ["index.html", "02_residual_learning.html", "04_bottleneck.html"]
    links = {link.get_attribute("href") for link in page.locator("a").all()}
    assert all(re.match(r"https?://|#main$|index\.html$|glossary\.html#|0\d_\w+\.html$", link) for link in links)
    assert not any("colab" in link for link in links)
    page = visit("index")
    page.get_by_role("link", name="06 · CIFAR-10 training").click()
    assert page.title() == "06 · CIFAR-10 training"


def test_the_index_says_what_each_notebook_asks_and_takes(visit, folder):
    page = visit("index")
    assert page.title() == "Residual networks, by experiment"
    rows = page.locator("tbody tr")
    assert rows.count() == len(NAMES)
    cells = rows.first.locator("td").all_inner_texts()
    assert cells[0] == "How is the block built when shapes change?" and cells[2] == "about 70 minutes"
    assert cells[3] == "none" and cells[1].startswith("write the basic block")
    assert cells[4] == f"{(folder / '03_residual_block.html').stat().st_size / 1e6:.1f} MB"


def test_formulas_need_no_script(visit):
    page = visit("06_cifar10_training", 360)
    assert page.locator("math").count() == 7
    assert page.locator("math").last.bounding_box()["width"] > 5
    text = page.evaluate("[...document.querySelectorAll('main p')].map(p => p.textContent).join()")
    assert "$" not in text and "\\" not in text


@pytest.mark.parametrize("name", NAMES)
def test_it_prints(visit, name):
    # As wide as A4 between its margins. Chromium writes no PDF where scripts are forbidden.
    page = visit(name, 680, script=True, color_scheme="dark")
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF") and 10 < len(re.findall(rb"/Type\s*/Page\b", pdf)) < 40
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not any(part.is_visible() for part in page.locator("nav, details > :not(summary)").all())
    assert page.evaluate("""() => [...document.querySelectorAll("pre")].filter(pre =>
        pre.scrollWidth > pre.clientWidth + 1).length""") == 0  # fmt: skip
    assert page.evaluate("getComputedStyle(document.querySelector('figure')).breakInside") == "avoid"


def test_a_figure_keeps_its_white_ground_in_the_dark(visit):
    page = visit("03_residual_block", color_scheme="dark")
    ground = "element => getComputedStyle(element).backgroundColor"
    assert page.locator("body").evaluate(ground) == "rgb(13, 17, 23)"
    assert page.locator("img").first.evaluate(ground) == "rgb(255, 255, 255)"


CARD = "# A title\n\n| | |\n|---|---|\n" + "\n".join(
    f"| **{name}** | none |" for name in ("Question", "You will be able to", "Time", "Download")
)
EXPLORER = """from resnet_lesson.figures.explorers import explorer
explorer(lambda n=3: f"<b>nine is {n ** 2}</b>", n=(0, 9, 1))"""


def trial(path, *sources):
    kinds = {True: nbformat.v4.new_code_cell, False: nbformat.v4.new_markdown_cell}
    cells = [kinds["\n" in one](one) for one in sources]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=[kinds[False](CARD), *cells], metadata={"kernelspec": kernel})
    nbformat.write(notebook, path)
    return path


def test_without_stored_the_notebook_is_executed(tmp_path):
    course.main(["--out", str(tmp_path), str(trial(tmp_path / "trial.ipynb", EXPLORER))])
    page = (tmp_path / "trial.html").read_text()
    assert "<b>nine is 9</b>" in page and "widget" not in page.lower()


def test_an_error_in_a_cell_leaves_no_page(tmp_path):
    path = trial(tmp_path / "trial.ipynb", "1 /\\\n0")
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="ZeroDivisionError"):
        course.main(["--out", str(tmp_path), str(path)])
    assert not (tmp_path / "trial.html").exists()


@pytest.mark.parametrize("cell, complaint", [
    ("![elsewhere](https://example.org/a.png)", "lies outside"),
    ("<img src='https://example.org/a.png' alt='elsewhere'>", "lies outside"),
    ("<script>alert(1)</script>", "lies outside"),
    ("<img src='data:image/png;base64,'>", "no alt text"),
])  # fmt: skip
def test_a_page_that_would_load_something_or_say_nothing_is_not_written(tmp_path, cell, complaint):
    with pytest.raises(SystemExit, match=complaint):
        course.main(["--stored", "--out", str(tmp_path), str(trial(tmp_path / "trial.ipynb", cell))])
    assert not (tmp_path / "trial.html").exists()


def test_the_glossary_is_a_page_and_links_meet_their_terms(visit, folder):
    page = visit("glossary")
    terms = page.evaluate("[...document.querySelectorAll('h3')].map(heading => heading.id)")
    assert len(terms) >= 50
    for name in NAMES:
        links = re.findall(r'href="glossary\.html#([^"]+)"', (folder / f"{name}.html").read_text(encoding="utf-8"))
        assert links and set(links) <= set(terms)
        assert "docs/glossary.md" not in (folder / f"{name}.html").read_text(encoding="utf-8")
    page.locator("a[href='03_residual_block.html']").first.click()
    assert page.title().startswith("03")
