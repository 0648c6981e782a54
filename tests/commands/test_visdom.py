"""Live views in visdom: the real server, started as a student starts it, but offline; and all that can be missing."""

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
from dataclasses import replace

import pytest
from support.paths import REPO

from resnet_lesson.commands import visdom_server
from resnet_lesson.errors import LessonError
from resnet_lesson.figures import visdom_windows
from resnet_lesson.figures.visdom_windows import VisdomWindows, windows
from resnet_lesson.training.runs import recorded

# A proxy that nobody runs: whatever is not on this machine cannot be reached.
OFFLINE = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
OFFLINE |= {"no_proxy": "", "NO_PROXY": "", "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
RUN = recorded("short-resnet20-seed0")
BEGUN = replace(RUN, history=RUN.history[:1])


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of visdom 0.2.4
def test_the_server_is_for_this_computer_only_shows_runs_offline_and_stops_cleanly(tmp_path, capsys, monkeypatch):
    visdom = pytest.importorskip("visdom", reason="visdom is not installed")
    monkeypatch.setattr(visdom_windows, "PATIENCE", 30)  # a busy machine must not look like a stuck server
    port, log = free_port(), tmp_path / "log"
    draw = VisdomWindows(port)
    draw(BEGUN)  # before there is a server
    assert f"`python -m resnet_lesson visdom --port {port}`." in capsys.readouterr().out

    command = [sys.executable, "-m", "resnet_lesson", "visdom", f"--port={port}", f"--folder={tmp_path}"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=os.environ | OFFLINE, stdout=file, stderr=file)
    try:
        end = time.monotonic() + 120
        while "visdom is running" not in log.read_text():
            assert time.monotonic() < end and process.poll() is None, log.read_text()
            time.sleep(0.05)
        draw(RUN)
        with pytest.raises(OSError):  # the computer's other addresses are closed, as they are to other computers
            socket.create_connection(("127.0.0.2", port), timeout=5)
        with pytest.raises(LessonError, match=f"Port {port} cannot be used.*open http://localhost.*--port"):
            visdom_server.serve(port, tmp_path)
        client = visdom.Visdom(port=port, raise_exceptions=True, use_incoming_socket=False)
        for name in ("loss", "error"):
            shown = json.loads(client.get_window_data(win=f"{RUN.name} {name}", env="resnet_lesson"))["content"]
            assert {line["name"]: (line["x"], line["y"]) for line in shown["data"]} == {
                "training": (RUN.column("iteration"), RUN.column(f"train_{name}")),
                "test": (RUN.column("iteration"), RUN.column(f"test_{name}")),
            }
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
    *said, running, last = log.read_text().splitlines()
    assert f"http://localhost:{port}/env/resnet_lesson" in running and last == "visdom has stopped."
    # Offline the page's scripts cannot be fetched: said in one line, and no traceback.
    assert [line.split()[0] for line in said] == ["Fetching", "Training"]


@pytest.mark.parametrize("server", ["none", "stuck", "another program"])
def test_without_a_server_training_costs_one_line_and_two_tries(server, capsys, monkeypatch):
    monkeypatch.setattr(visdom_windows, "PATIENCE", 0.05 if server == "stuck" else 30)
    with (
        socket.create_server(("127.0.0.1", 0)) as stuck,  # takes connections and never answers
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other,
    ):
        threading.Thread(target=other.serve_forever, daemon=True).start()
        draw = VisdomWindows({"none": free_port(), "stuck": stuck.getsockname()[1]}.get(server, other.server_port))
        tries, send = [], draw._send
        draw._send = lambda *window: (tries.append(1), send(*window))
        for run in (BEGUN, BEGUN, RUN):
            draw(run)
        other.shutdown()
    said = capsys.readouterr().out
    assert said.startswith("No visdom at") and said.count("\n") == 1
    assert len(tries) == 2  # at the first row and the last


def test_a_missing_visdom_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "visdom", None)
    with pytest.raises(LessonError, match=r"not installed: .*requirements.txt"):
        visdom_server.serve(free_port())


def test_what_is_not_a_number_leaves_a_gap():
    history = [{**RUN.history[0], "test_loss": loss} for loss in (1.0, math.inf, math.nan)]
    loss = windows(replace(RUN, history=history))[f"{RUN.name} loss"]
    json.dumps(loss, allow_nan=False)  # the page's JSON has no word for them
    assert loss["data"][1]["y"] == [1.0, None, None]
