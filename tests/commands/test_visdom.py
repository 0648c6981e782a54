"""Live views in visdom: the real server, started as a student starts it, but without a network; and all that can lack.

The tests that need the server share one, because starting it takes seconds.
"""

import http.server
import importlib
import io
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
import torch
from support.paths import REPO

from resnet_lesson.commands import visdom_server
from resnet_lesson.datasets.shapes10 import shapes10
from resnet_lesson.errors import LessonError
from resnet_lesson.figures import visdom_windows
from resnet_lesson.figures.visdom_windows import VisdomWindows, windows
from resnet_lesson.models.networks import build
from resnet_lesson.training.recipes import Recipe
from resnet_lesson.training.runs import load, recorded
from resnet_lesson.training.train import train

# A proxy that nobody runs: whatever is not on this machine cannot be reached.
OFFLINE = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
OFFLINE |= {"no_proxy": "", "NO_PROXY": "", "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
SETS = shapes10(32, 8, seed=0), shapes10(16, 8, seed=1)
CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)


def go(*observers, out=None):
    """Train a tiny network, a row of the history each of six iterations; return it and its run."""
    network = build("resnet8", seed=0)
    recipe = Recipe("tiny", 6, batch_size=16, lr=0.05, padding=1)
    options = dict(device="cpu", precision="float32", captured=False, progress=False)
    return network, train(network, *SETS, recipe, out=out, record_every=1, observers=observers, **options)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """`python -m resnet_lesson visdom` in a process of its own."""

    def __init__(self, folder):
        self.folder, self.port, self.log, self.process = folder, free_port(), folder / "server.log", None

    def start(self):
        command = [sys.executable, "-m", "resnet_lesson", "visdom", f"--port={self.port}", f"--folder={self.folder}"]
        with self.log.open("wb") as log:
            environment = os.environ | OFFLINE
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        end = time.monotonic() + 120
        while "visdom runs" not in self.log.read_text():
            assert time.monotonic() < end and self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def stop(self, how):
        """Its exit status and the lines it has printed."""
        self.process.send_signal(how)
        status = self.process.wait(60)
        self.process = None
        return status, self.log.read_text().splitlines()


@pytest.fixture(scope="module")
def only_server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("visdom"))
    yield server
    if server.process:
        server.process.kill()
        server.process.wait(60)


@pytest.fixture
def server(only_server):
    pytest.importorskip("visdom", reason="visdom is not installed")
    if only_server.process is None:
        only_server.start()
    return only_server


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(visdom_windows, "PATIENCE", 30)  # a busy machine must not look like a stuck server


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of visdom 0.2.4
def test_windows_while_training_and_after_the_server_was_gone(server, tmp_path, capsys):
    client = pytest.importorskip("visdom").Visdom(port=server.port, raise_exceptions=True, use_incoming_socket=False)
    curves, seen = VisdomWindows(port=server.port, share=math.inf, retry_seconds=0), []

    def read(name):
        content = json.loads(client.get_window_data(win=name, env="resnet_lesson"))["content"]
        return {line["name"]: (line["x"], line["y"]) for line in content["data"]}, content["layout"]["title"]

    def drama(run):
        if len(run.history) == 2:
            seen.append(read("my-run loss"))
            assert server.stop(signal.SIGTERM)[0] == 0
        if len(run.history) == 4:
            shutil.rmtree(next(server.folder.glob("*/environments")))  # what is seen later was drawn again, not kept
            server.start()

    run = go(curves, drama, out=tmp_path / "my-run")[1]
    assert seen[0][0]["test"] == ([1, 2], run.column("test_loss")[:2])
    for name in ("loss", "error"):
        lines, title = read(f"my-run {name}")
        assert lines == {
            "training": (run.column("iteration"), run.column(f"train_{name}")),
            "test": (run.column("iteration"), run.column(f"test_{name}")),
        }
        assert title == f"ResNet-8 {name} · tiny · live" and len(run.history) == 6
    said = capsys.readouterr()
    assert said.out.count("\n") == 1 and "no longer answers" in said.out
    assert [line for line in said.err.splitlines() if "Setting up a new session" not in line] == []  # by the client


def test_without_a_server_training_costs_one_line_and_changes_nothing(capsys, monkeypatch):
    tries = []
    send = VisdomWindows._send
    monkeypatch.setattr(VisdomWindows, "_send", lambda self, *window: (tries.append(1), send(self, *window)))
    port = free_port()
    with_windows, run = go(VisdomWindows(port=port))
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and f"`python -m resnet_lesson visdom --port {port}`" in said
    assert len(tries) == 2  # at the first row and the last: every attempt at every row would be 6
    without, plain_run = go()
    assert run.column("test_loss") == plain_run.column("test_loss")
    for a, b in zip(with_windows.state_dict().values(), without.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_stuck_server_is_left_alone(capsys, monkeypatch):
    monkeypatch.setattr(visdom_windows, "PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as stuck:  # takes connections and never answers
        curves = VisdomWindows(port=stuck.getsockname()[1])
        before = time.monotonic()
        go(curves)
        assert capsys.readouterr().out.count("\n") == 1
        assert curves._next >= before + 10  # though it took but 0.05 s: such a wait comes rarely


@pytest.fixture
def stranger():
    """The port of some other web server."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_error(404)

        do_GET = do_POST

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        yield other.server_port
        other.shutdown()


def test_another_program_at_that_port_is_told_from_visdom(stranger, capsys):
    go(VisdomWindows(port=stranger))
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "is not visdom" in said
    with pytest.raises(LessonError, match=f"Port {stranger} cannot be used.*--port"):
        visdom_server.serve(stranger)


def test_a_wrong_port_and_a_missing_visdom_are_said(monkeypatch):
    with pytest.raises(ValueError, match="1 to 65535, not 70000"):
        visdom_server.serve(70000)
    monkeypatch.setattr(visdom_server, "versions", lambda name: {name: None})
    with pytest.raises(LessonError, match="not installed: .*requirements.txt"):
        visdom_server.serve(free_port())


def test_scripts_are_fetched_whole_or_given_up_at_the_first(tmp_path, monkeypatch):
    visdom = pytest.importorskip("visdom", reason="visdom is not installed")
    build = importlib.import_module("visdom.server.build")
    shutil.copytree(Path(visdom.__file__).parent / "static", tmp_path / "static")
    before, asked, network = build.URLError, [], []

    class Opener:
        def open(self, request):
            asked.append(request.full_url)
            if not network:
                raise urllib.error.URLError("no network")
            return io.BytesIO(b"a script")

    answer = SimpleNamespace(content=b"a script", raise_for_status=lambda: None)
    monkeypatch.setattr(urllib.request, "build_opener", lambda *_: Opener())
    monkeypatch.setattr(urllib.request, "install_opener", lambda _: None)
    monkeypatch.setattr(requests, "request", lambda *_, timeout: answer)
    visdom_server._fetch_scripts(tmp_path)
    assert len(asked) == 1 and visdom_server.missing_scripts(tmp_path / "static")
    network.append("is back")
    visdom_server._fetch_scripts(tmp_path)
    assert visdom_server.missing_scripts(tmp_path / "static") == []
    assert build.URLError is before and requests.get is requests.api.get and socket.getdefaulttimeout() is None


def test_what_is_not_a_number_leaves_a_gap(tmp_path):
    run = go(out=tmp_path / "run")[1]
    run.history[2]["test_loss"] = math.inf
    run.history[3]["test_loss"] = math.nan
    loss = windows(run)["run loss"]
    json.dumps(loss, allow_nan=False)  # the page's JSON has no word for them
    assert [y is None for y in loss["data"][1]["y"]] == [False, False, True, True, False, False]
    assert windows(load(run.folder))["run error"]["opts"]["title"] == "ResNet-8 error · tiny · recorded"


# Where visdom fetches its page's scripts cannot be reached everywhere; npm's packages hold the same ones. What the page
# needs for formulas and graphs alone may be empty.
SCRIPTS = {
    "jquery@3.1.1": {"dist/jquery.min.js": "js/jquery.min.js"},
    "bootstrap@3.3.7": {
        "dist/fonts/glyphicons-halflings-regular.woff2": "fonts/glyphicons-halflings-regular.woff2",
        "dist/js/bootstrap.min.js": "js/bootstrap.min.js",
        "dist/css/bootstrap.min.css": "css/bootstrap.min.css",
    },
    "react@16.2.0": {"umd/react.production.min.js": "js/react-react.min.js"},
    "react-dom@16.2.0": {"umd/react-dom.production.min.js": "js/react-dom.min.js"},
    "plotly.js-dist-min@2.11.1": {"plotly.min.js": "js/plotly-plotly.min.js"},
    "layout-bin-packer@1.4.0": {"dist/layout-bin-packer.js": "js/layout_bin_packer.js"},
    "react-grid-layout@0.16.3": {"css/styles.css": "css/react-grid-layout-styles.css"},
    "react-resizable@1.4.6": {"css/styles.css": "css/react-resizable-styles.css"},
}


def put_scripts(page, scratch):
    """Fill visdom's static folder `page` from npm packages."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm, which would fetch the scripts of visdom's page")
    scratch.mkdir()
    done = subprocess.run(
        [npm, "pack", "--silent", "--prefer-offline", *SCRIPTS],
        cwd=scratch,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        pytest.skip(f"npm could not fetch the scripts of visdom's page: {done.stderr.strip()[-200:] or 'no network?'}")
    for package, files in SCRIPTS.items():
        with tarfile.open(scratch / f"{package.replace('@', '-')}.tgz") as archive:
            for name, place in files.items():
                (page / place).parent.mkdir(parents=True, exist_ok=True)
                (page / place).write_bytes(archive.extractfile(f"package/{name}").read())
    for name in visdom_server.missing_scripts(page):
        (page / name).parent.mkdir(parents=True, exist_ok=True)
        (page / name).touch()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the PATH")
def test_curves_are_seen_in_the_page(server, tmp_path):
    playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    put_scripts(next(server.folder.glob("*/static")), tmp_path / "npm")
    run = recorded("short-resnet20-seed0")
    VisdomWindows(port=server.port, env="seen")(run)
    with playwright_api.sync_playwright() as playwright:
        # --no-sandbox: see test_browser.py. No proxy, since the page is on this machine.
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-proxy-server"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=120_000)
        page = browser.new_page(viewport={"width": 1200, "height": 500})
        page.set_default_timeout(120_000)  # of milliseconds: a busy machine takes its time
        page.goto(f"http://localhost:{server.port}/env/seen")
        page.wait_for_function("() => document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length == 4")
        titles = page.locator(".js-plotly-plot .gtitle").all_text_contents()
        lines = [line.get_attribute("d") for line in page.locator(".scatterlayer .trace path.js-line").all()]
        page.screenshot(path=tmp_path / "visdom.png")
        browser.close()
    assert titles == ["ResNet-20 loss · short · recorded", "ResNet-20 error · short · recorded"]
    assert [len(re.findall("[ML]", line)) for line in lines] == [len(run.history)] * 4  # a corner each row


def test_the_server_says_where_to_look_keeps_the_windows_and_stops_cleanly(server, capsys, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, OFFLINE[name])  # a proxy must not be asked for what is on this computer
    assert visdom_server.serve(server.port) == 0
    assert f"visdom runs already: open http://localhost:{server.port}" in capsys.readouterr().out
    with pytest.raises(OSError):  # the computer's other addresses are closed, as they are to other computers
        socket.create_connection(("127.0.0.2", server.port), timeout=5)
    VisdomWindows(port=server.port, env="kept")(recorded("short-resnet20-seed0"))
    status, lines = server.stop(signal.SIGINT)
    assert status == 0
    assert "this computer only" in lines[-2] and f"http://localhost:{server.port}/env/resnet_lesson" in lines[-2]
    assert lines[-1] == "visdom has stopped."
    # Without a network the page's scripts cannot be fetched: said in one line, and no traceback.
    assert [line.split()[0] for line in lines[:-2]] == ["Fetching", "Training"] and "stays empty" in lines[1]
    kept = json.loads(next(server.folder.glob("*/environments/kept.json")).read_text())
    assert set(kept["jsons"]) == {"short-resnet20-seed0 loss", "short-resnet20-seed0 error"}
