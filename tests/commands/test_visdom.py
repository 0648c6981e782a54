"""Live views in visdom: the real server, started as a student starts it, but offline; and all that can be missing.

The tests that need the server share one, because starting it takes seconds.
"""

import http.server
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
import torch
from support.paths import REPO

from resnet_lesson.commands import visdom_server
from resnet_lesson.datasets.shapes10 import shapes10
from resnet_lesson.errors import LessonError
from resnet_lesson.figures import visdom_windows
from resnet_lesson.figures.visdom_windows import VisdomWindows, windows
from resnet_lesson.models.networks import build
from resnet_lesson.training.recipes import Recipe
from resnet_lesson.training.runs import recorded
from resnet_lesson.training.train import train

# A proxy that nobody runs: whatever is not on this machine cannot be reached.
OFFLINE = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
OFFLINE |= {"no_proxy": "", "NO_PROXY": "", "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
SETS = shapes10(32, 8, seed=0), shapes10(16, 8, seed=1)


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

    def start_once(self):
        if self.process:
            return
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
def server(tmp_path_factory):
    pytest.importorskip("visdom", reason="visdom is not installed")
    server = Server(tmp_path_factory.mktemp("visdom"))
    yield server
    if server.process:
        server.process.kill()
        server.process.wait(60)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(visdom_windows, "PATIENCE", 30)  # a busy machine must not look like a stuck server


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of visdom 0.2.4
def test_a_server_that_starts_late_shows_everything(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(visdom_windows, "PAUSE", -math.inf)  # every row is tried
    run = go(VisdomWindows(port=server.port), lambda run: server.start_once(), out=tmp_path / "my-run")[1]
    assert capsys.readouterr().out.count("No visdom at") == 1 and len(run.history) == 6
    client = pytest.importorskip("visdom").Visdom(port=server.port, raise_exceptions=True, use_incoming_socket=False)
    for name in ("loss", "error"):
        content = json.loads(client.get_window_data(win=f"my-run {name}", env="resnet_lesson"))["content"]
        assert {line["name"]: (line["x"], line["y"]) for line in content["data"]} == {
            "training": (run.column("iteration"), run.column(f"train_{name}")),
            "test": (run.column("iteration"), run.column(f"test_{name}")),
        }
        assert content["layout"]["title"] == f"ResNet-8 {name} · tiny · live"


def test_the_server_is_for_this_computer_only_keeps_the_windows_and_stops_cleanly(server):
    server.start_once()
    with pytest.raises(OSError):  # the computer's other addresses are closed, as they are to other computers
        socket.create_connection(("127.0.0.2", server.port), timeout=5)
    with pytest.raises(LessonError, match=f"Port {server.port} cannot be used.*open http://localhost.*--port"):
        visdom_server.serve(server.port, server.folder)
    script = next(server.folder.glob("*/static")) / "js" / "main.js"
    no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    served = no_proxy.open(f"http://localhost:{server.port}/static/js/main.js", timeout=30).read()
    assert served == script.read_bytes(), "the page's scripts are those of the folder"
    VisdomWindows(port=server.port, env="kept")(recorded("short-resnet20-seed0"))
    status, lines = server.stop(signal.SIGTERM)
    assert status == 0
    assert "this computer only" in lines[-2] and f"http://localhost:{server.port}/env/resnet_lesson" in lines[-2]
    assert lines[-1] == "visdom has stopped."
    # Offline the page's scripts cannot be fetched: said in one line, and no traceback.
    assert [line.split()[0] for line in lines[:-2]] == ["Fetching", "Training"] and "stays empty" in lines[1]
    kept = json.loads(next(server.folder.glob("*/environments/kept.json")).read_text())
    assert set(kept["jsons"]) == {"short-resnet20-seed0 loss", "short-resnet20-seed0 error"}


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


def test_a_stuck_server_and_another_program_are_left_alone(capsys, monkeypatch):
    monkeypatch.setattr(visdom_windows, "PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as stuck:  # takes connections and never answers
        go(VisdomWindows(port=stuck.getsockname()[1]))
    assert capsys.readouterr().out.count("No visdom at") == 1

    monkeypatch.setattr(visdom_windows, "PATIENCE", 30)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        go(VisdomWindows(port=other.server_port))
        assert capsys.readouterr().out.count("No visdom at") == 1
        other.shutdown()


def test_a_wrong_port_and_a_missing_visdom_are_said(monkeypatch):
    with pytest.raises(ValueError, match="1 to 65535, not 70000"):
        visdom_server.serve(70000)
    monkeypatch.setitem(sys.modules, "visdom", None)
    with pytest.raises(LessonError, match=r'not installed: .*pip install "resnet-lesson\[visdom\]"'):
        visdom_server.serve(free_port())


def test_what_is_not_a_number_leaves_a_gap(tmp_path):
    run = go(out=tmp_path / "run")[1]
    run.history[2]["test_loss"] = math.inf
    run.history[3]["test_loss"] = math.nan
    loss = windows(run)["run loss"]
    json.dumps(loss, allow_nan=False)  # the page's JSON has no word for them
    assert [y is None for y in loss["data"][1]["y"]] == [False, False, True, True, False, False]
