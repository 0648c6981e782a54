"""The doctor names the usual trouble of a class's machines, and what to do about it."""

import errno
import http.server
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections import namedtuple

import pytest
import torch
from jupyter_client import kernelspec

import resnet_lesson
from resnet_lesson.commands import doctor


def found(words, root):
    """The row whose finding has these words: fine, finding, what to do."""
    return next(row for row in doctor.checks(root) if words in row[1])


def test_an_old_python_is_told_so_before_anything_else():
    code = "import sys; sys.version_info = (3, 9, 2); import resnet_lesson"
    where = os.path.dirname(os.path.dirname(resnet_lesson.__file__))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=where)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: This course needs Python 3.11") and "this is Python 3.9" in last


def test_a_gpu_that_torch_cannot_use(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    fine, what, mend = found("NVIDIA GPU", tmp_path)
    assert fine is False and torch.__version__ in what and "CUDA build" in mend


@pytest.mark.parametrize("python, fine", [("/elsewhere/bin/python", False), (sys.executable, True), ("python", True)])
def test_the_kernel_is_this_python_or_another(python, fine, monkeypatch, tmp_path):
    spec = namedtuple("Spec", "argv")([python, "-m", "ipykernel_launcher"])
    monkeypatch.setattr(kernelspec.KernelSpecManager, "get_kernel_spec", lambda self, name: spec)
    said = found("notebooks run with", tmp_path)
    assert said[0] is fine and (fine or python in said[1] and "make lab" in said[2])


def test_no_kernel_at_all(monkeypatch, tmp_path):
    def none(self, name):
        raise kernelspec.NoSuchKernel(name)

    monkeypatch.setattr(kernelspec.KernelSpecManager, "get_kernel_spec", none)
    assert found("no kernel", tmp_path)[0] is False


def test_a_port_that_is_taken(monkeypatch, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        monkeypatch.setattr(doctor, "PORT", other.getsockname()[1])
        fine, _, mend = found("is taken", tmp_path)
    assert fine is None and "--port" in mend
    assert found("is free for visdom", tmp_path)[0] is True


def test_a_full_disk_and_a_folder_of_somebody_else(monkeypatch, tmp_path):
    def refuse(*args, dir=None, **options):
        raise OSError(errno.EACCES, "Permission denied")

    usage = namedtuple("Usage", "total used free")(10**9, 10**9 - 5, 5)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    root = tmp_path / "not" / "yet"
    assert found("of disk free", root)[0] is False
    fine, what, mend = found("cannot be written", root)
    assert fine is False and "Permission denied" in what and "--root" in mend


class Mirror(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/gone":
            return self.send_error(404)
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"0" * (10_000 if self.path == "/slow" else 1_000_000))
                if self.path == "/slow" and done.wait(0.2):
                    return None
        except OSError:
            return None

    def log_message(self, *args):
        pass


done = threading.Event()


def test_mirrors_fast_slow_and_gone(monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        start = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("RESNET_LESSON_CIFAR10_URL", f"{start}/fast {start}/slow {start}/gone http://127.0.0.1:9/x")
        fast, slow, gone, dead = doctor.mirrors(seconds=1)
        done.set()
        server.shutdown()
    assert fast[0] is True and "MB/s" in fast[1]
    assert slow[0] is None and "minutes" in slow[2] and "data --from" in slow[2]
    assert gone[0] is None and "404" in gone[1]
    assert dead[0] is None and "no connection" in dead[1]
