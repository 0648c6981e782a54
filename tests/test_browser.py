"""Each notebook in a real JupyterLab, in a headless Chromium: run all cells, see no error, see the figures drawn.

nbval compares outputs without a browser; this sees what a student sees. Screenshots go to build/screenshots/.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

REPO = Path(__file__).resolve().parent.parent
SCREENSHOTS = REPO / "build" / "screenshots"
NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))
CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
TOKEN = "only-for-this-test"
CALM = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"

if CHROMIUM is None:
    pytest.skip("no chromium, chromium-browser or google-chrome on the PATH", allow_module_level=True)
playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
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
IMAGES = """() => [...document.querySelectorAll(".jp-RenderedImage img")].map(image => image.naturalWidth)"""
SETTINGS = {
    # No pop-up over the page that asks whether to show news.
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    # Draw every cell, not only those in view.
    "notebook-extension/tracker": {"windowingMode": "none"},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab over a copy of notebooks/, so that the files in the repository are never written."""
    home = tmp_path_factory.mktemp("lab")
    folder = home / "notebooks"
    shutil.copytree(REPO / "notebooks", folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    write_trial(folder / "trial.ipynb")
    for name, values in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values))
    # Settings of whoever runs this test must not change its result, nor the test their settings.
    own = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
    command += [f"--IdentityProvider.token={TOKEN}", "--LabApp.expose_app_in_browser=True"]
    command += ["--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}", "--allow-root"]
    with (home / "lab.log").open("wb") as log:
        environment = os.environ | {name: str(home / place) for name, place in own.items()}
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until_it_answers(f"http://127.0.0.1:{port}/api", server, home / "lab.log")
            yield f"http://127.0.0.1:{port}/lab/tree"
        finally:
            server.terminate()  # shuts its kernels down too
            server.wait(30)


def wait_until_it_answers(address, server, log, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5)
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def browser():
    with playwright_api.sync_playwright() as playwright:
        # --no-sandbox: Chromium's sandbox refuses root, who runs CI. It opens nothing here but our own server.
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *CALM.split()])
        yield chromium
        chromium.close()


def move_controls(page):
    """Move the sliders of each explorer by keyboard, or else choose by mouse, and wait until what it shows changes."""
    explorers = page.locator(".jp-OutputArea-output .widget-vbox")
    for i in range(explorers.count()):
        view = explorers.nth(i)
        shown, handles = view.locator(".widget-html-content"), view.locator(".noUi-handle").all()
        before = shown.inner_html()
        for handle in handles:  # all of them: one alone may change nothing, as a weight that is multiplied by 0
            handle.focus()
            page.keyboard.press("ArrowRight")
        if not handles:
            view.locator(".widget-toggle-button:not(.mod-active)").first.click()
        page.wait_for_function("([view, before]) => view.innerHTML !== before", arg=[shown.element_handle(), before])
    return explorers.count()


def run_in_browser(browser, lab, name):
    """The notebook after Run All Cells, the widths of the images on the page, and how many explorers were moved."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    try:
        page.goto(f"{lab}/{name}?reset&token={TOKEN}")
        page.wait_for_function("() => window.jupyterapp && window.jupyterapp.shell.currentWidget", timeout=60_000)
        notebook = page.evaluate(RUN_ALL)
        # As tall as the notebook, so that one picture holds all of it (16,384 is the most that Chromium draws).
        height = page.evaluate("() => document.querySelector('.jp-NotebookPanel .jp-WindowedPanel-inner').scrollHeight")
        page.set_viewport_size({"width": 1400, "height": min(height + 300, 16_000)})
        # Running left the notebook scrolled to its end.
        page.evaluate("() => { document.querySelector('.jp-NotebookPanel .jp-WindowedPanel-outer').scrollTop = 0; }")
        page.wait_for_function("() => [...document.images].every(image => image.complete)", timeout=30_000)
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{Path(name).stem}.png", animations="disabled")
        return nbformat.from_dict(notebook), page.evaluate(IMAGES), move_controls(page)
    finally:
        page.close()


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and "".join(cell.source).strip()]


def errors(notebook):
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [f"{output.ename}: {output.evalue}" for output in outputs if output.output_type == "error"]


def count_images(notebook):
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in outputs)


USUAL = ("00_start_here", "03_residual_block")  # the first one, and one with exercises, diagrams and a slider
marked = [pytest.param(path, id=path.stem, marks=[] if path.stem in USUAL else pytest.mark.every_notebook)
          for path in NOTEBOOKS]  # fmt: skip


@pytest.mark.parametrize("path", marked)
def test_notebook_runs_in_jupyterlab(path, browser, lab):
    ran, widths, moved = run_in_browser(browser, lab, path.name)
    assert errors(ran) == []
    assert [cell.source for cell in code_cells(ran) if cell.execution_count is None] == []
    stored = nbformat.read(path, as_version=4)
    code = "\n".join(cell.source for cell in code_cells(stored))
    explorers = len(re.findall(r"^(?:\w+\.)?(?:\w+_)?explorer\(", code, re.M))
    assert moved == explorers
    assert len(widths) >= count_images(stored) - explorers  # these show their picture inside the widget
    assert all(width > 0 for width in widths)


def write_trial(path):
    figure = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    slider = "import ipywidgets\nipywidgets.IntSlider(description='depth')"
    cells = [nbformat.v4.new_code_cell(source) for source in [figure, slider, "1 / 0", "print('not reached')"]]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def test_an_error_and_a_figure_are_seen(browser, lab):
    """What the test above relies on: a notebook with a figure and an error is found to have just these."""
    ran, widths, _ = run_in_browser(browser, lab, "trial.ipynb")
    assert errors(ran) == ["ZeroDivisionError: division by zero"]
    assert code_cells(ran)[-1].execution_count is None
    assert count_images(ran) == len(widths) == 1 and widths[0] > 100
