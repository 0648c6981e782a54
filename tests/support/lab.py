"""What opens pages here: Chromium, and JupyterLab over a copy of the notebooks."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

from .paths import REPO

SCREENSHOTS = REPO / "build" / "screenshots"
CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
TOKEN = "only-for-this-test"
CALM = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
SETTINGS = {
    # No pop-up over the page that asks whether to show news.
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    # Draw every cell, not only those in view.
    "notebook-extension/tracker": {"windowingMode": "none"},
}


@contextmanager
def chromium():
    """The machine's Chromium, without a window; skips the tests where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on the PATH")
    playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright_api.sync_playwright() as playwright:
        # --no-sandbox: Chromium's sandbox refuses root, who runs CI. It opens nothing here but our own pages.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *CALM.split()])
        yield browser
        browser.close()


@contextmanager
def jupyterlab(home, notebooks="notebooks"):
    """JupyterLab's address, over a copy of notebooks/ (or students/): the repository's are never written."""
    folder = home / "notebooks"
    shutil.copytree(REPO / notebooks, folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
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
