"""Each notebook in a real JupyterLab, in a headless Chromium, as a class uses it: run all cells, see every figure, move
every explorer and open every answer by keyboard, fail every exercise, and lose nothing at the edge of the screen.

nbval compares outputs without a browser; this sees what a student sees. Screenshots go to build/screenshots/.
"""

import re

import nbformat
import pytest
from support.lab import SCREENSHOTS, TOKEN, chromium, jupyterlab
from support.paths import NOTEBOOKS
from support.stubs import exercise_in

# A common laptop (1366x768) and the old projector (1024x768), the harder of the two that are about: a page that it does
# not cut off has more room on a new one (1920x1080). The window is made as tall as the notebook; only widths matter.
SCREENS = {"laptop": 1366, "projector": 1024}
WRONG = "ex.check(lambda *given, **options: None)"
pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

# Runs in the page: waits for the kernel, runs every cell, and returns the notebook with its new outputs.
RUN_ALL = """async () => {
    const app = window.jupyterapp;
    await app.restored;
    const { context } = app.shell.currentWidget;
    await context.sessionContext.ready;
    await app.commands.execute("notebook:run-all-cells");
    return context.model.toJSON();
}"""
NOTEBOOK = "() => window.jupyterapp.shell.currentWidget.context.model.toJSON()"
HEIGHT = "() => document.querySelector('.jp-NotebookPanel .jp-WindowedPanel-inner').scrollHeight"
TO_THE_TOP = "() => { document.querySelector('.jp-NotebookPanel .jp-WindowedPanel-outer').scrollTop = 0; }"
IMAGES = """() => [...document.querySelectorAll(".jp-RenderedImage img")].map(image => image.naturalWidth)"""
# What reaches beyond the right edge of a box that does not scroll, and images wider than the output they stand in.
CUT_OFF = """() => {
    const notebook = document.querySelector(".jp-NotebookPanel .jp-WindowedPanel-outer");
    const boxes = [...notebook.querySelectorAll(":not(.cm-editor *)")].filter(box => box.clientWidth > 1
        && box.scrollWidth > box.clientWidth + 1 && /hidden|clip/.test(getComputedStyle(box).overflowX));
    const images = [...notebook.querySelectorAll("img")].filter(image => image.getBoundingClientRect().right
        > image.closest(".jp-OutputArea-output, .jp-MarkdownOutput").getBoundingClientRect().right + 1);
    if (notebook.scrollWidth > notebook.clientWidth + 1) boxes.push(notebook);
    return [...boxes, ...images].map(element => element.outerHTML.slice(0, 300));
}"""
CONTROLS = ".noUi-handle, .widget-toggle-button, input[type=checkbox], select"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with jupyterlab(tmp_path_factory.mktemp("lab")) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


def run_all(page, lab, name):
    page.set_viewport_size({"width": SCREENS["laptop"], "height": 1000})
    page.goto(f"{lab}/{name}?reset&token={TOKEN}")
    page.wait_for_function("() => window.jupyterapp && window.jupyterapp.shell.currentWidget", timeout=60_000)
    return nbformat.from_dict(page.evaluate(RUN_ALL))


def tab_to(page, control):
    for _ in range(3):  # a slider has its number as a stop, too
        if control.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"Tab does not reach {control.evaluate('element => element.outerHTML')}")


def move_explorers(page):
    """Go through the controls of each explorer by Tab, move each by a key, and wait until what it shows has changed."""
    explorers = page.locator(".jp-OutputArea-output .widget-vbox:not(.prediction)").all()
    for view in explorers:
        shown, controls = view.locator(".widget-html-content"), view.locator(CONTROLS).all()
        before = shown.inner_html()
        controls[0].focus()
        for control in controls:  # all of them: one alone may change nothing, as a weight that is multiplied by 0
            tab_to(page, control)
            kind = control.evaluate("element => element.tagName + element.className")
            page.keyboard.press("ArrowRight" if "noUi" in kind else "ArrowDown" if "SELECT" in kind else "Space")
        page.wait_for_function("([view, before]) => view.innerHTML !== before", arg=[shown.element_handle(), before])
    return len(explorers)


def commit_predictions(page, notebook):
    """Press the last answer to each question, run the cell that shows it beside the result, and read it there."""
    answers, shown = [], []
    for group in page.locator(".prediction .widget-toggle-buttons").all():
        button = group.locator(".widget-toggle-button").last
        button.click()
        answers.append(button.inner_text().strip())
    cells = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and ".beside(" in cell.source]
    for i in cells:
        cell = page.locator(".jp-Notebook-cell").nth(i)
        cell.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        cell.locator("td:nth-child(2)").filter(has_not_text="–").first.wait_for(timeout=60_000)
        shown += cell.locator("td:nth-child(2)").all_inner_texts()
    assert sorted(shown) == sorted(answers)
    return len(cells)


def open_answers(page):
    """Open what is folded in the text by Enter; it was hidden before, and is seen after."""
    folded = page.locator(".jp-RenderedMarkdown details").all()
    for details in folded:
        answer = details.locator(":scope > :not(summary)").first
        assert not answer.is_visible()
        details.locator("summary").focus()
        page.keyboard.press("Enter")
        assert answer.is_visible()
    return len(folded)


def answer_wrongly(page, notebook):
    """Add a wrong answer to each exercise's cell, run it, and read the report (not each mistake has a name)."""
    stubs = [i for i, cell in enumerate(notebook.cells) if exercise_in(cell)]
    for i in stubs:
        cell = page.locator(".jp-Notebook-cell").nth(i)
        cell.locator(".cm-content").click()
        page.keyboard.press("Control+End")
        page.keyboard.insert_text(f"\n{WRONG}")
        page.keyboard.press("Shift+Enter")
        cell.get_by_role("rowheader", name="Expected").first.wait_for(timeout=60_000)
        assert "checks passed" in cell.locator(".jp-OutputArea").inner_text()
    return len(stubs)


def look(page, name):
    """Take a picture of the whole notebook on each screen, and return what is cut off there."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    found = {}
    for screen, width in SCREENS.items():
        page.set_viewport_size({"width": width, "height": 1000})
        # As tall as the notebook, so that one picture holds all of it (16,384 is the most that Chromium draws).
        page.set_viewport_size({"width": width, "height": min(page.evaluate(HEIGHT) + 300, 16_000)})
        page.evaluate(TO_THE_TOP)  # running left the notebook scrolled to its end
        page.wait_for_function("() => [...document.images].every(image => image.complete)", timeout=30_000)
        page.screenshot(path=SCREENSHOTS / f"{name}-{screen}.png", animations="disabled")
        found[screen] = page.evaluate(CUT_OFF)
    return found


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and "".join(cell.source).strip()]


def errors(notebook):
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [f"{output.ename}: {output.evalue}" for output in outputs if output.output_type == "error"]


def count_images(notebook):
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in outputs)


USUAL = "04_bottleneck"  # has exercises, diagrams and a slider, and is the quickest of those
marked = [pytest.param(path, id=path.stem, marks=[] if path.stem == USUAL else pytest.mark.every_notebook)
          for path in NOTEBOOKS]  # fmt: skip


@pytest.mark.parametrize("path", marked)
def test_notebook_works_in_jupyterlab(path, browser, lab):
    stored = nbformat.read(path, as_version=4)
    code = "\n".join(cell.source for cell in code_cells(stored))
    explorers = len(re.findall(r"^(?:\w+\.)?(?:\w+_)?explorer\(", code, re.M))
    page = browser.new_page()
    try:
        ran = run_all(page, lab, path.name)
        assert errors(ran) == []
        assert [cell.source for cell in code_cells(ran) if cell.execution_count is None] == []
        widths = page.evaluate(IMAGES)
        assert len(widths) >= count_images(stored) - explorers  # these show their picture inside the widget
        assert all(width > 0 for width in widths)
        assert move_explorers(page) == explorers
        assert commit_predictions(page, ran) == len(re.findall(r"= predict\(\s*\{", code))
        assert open_answers(page) == sum(cell.source.count("<details>") for cell in stored.cells)
        assert answer_wrongly(page, ran) == len(re.findall(r"^ex = exercises\.", code, re.M))
        assert errors(nbformat.from_dict(page.evaluate(NOTEBOOK))) == []
        assert look(page, path.stem) == {screen: [] for screen in SCREENS}
    finally:
        page.close()
