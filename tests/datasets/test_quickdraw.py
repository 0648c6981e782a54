"""QuickDraw: the first drawings of a class and no more, from servers that know ranges or not, fail, cut or lie."""

import io
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import requests
import torch
from support.paths import REPO

from resnet_lesson import LessonError, files, quickdraw
from resnet_lesson.commands import cli, data_command, doctor
from resnet_lesson.datasets.download import MirrorFailed, Patience
from resnet_lesson.datasets.quickdraw import STUDY, names

module = import_module("resnet_lesson.datasets.quickdraw")
SHARED = REPO.parent / "shared" / "quickdraw"
ROWS = 700
FULL = 392_128  # bytes: a header of 128 and 500 drawings


def drawings(name: str, n: int = ROWS) -> np.ndarray:
    """Noise in the published layout, other noise for each class."""
    return np.random.RandomState(names().index(name)).randint(0, 256, (n, 784)).astype(np.uint8)


def npy(array: np.ndarray, header: int = 128, version: tuple[int, int] = (1, 0), shape: str | None = None) -> bytes:
    """The array as a .npy whose header has that many bytes."""
    size = 2 if version == (1, 0) else 4
    text = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {shape or array.shape}, }}"
    text = text.ljust(header - 9 - size) + "\n"
    return b"\x93NUMPY" + bytes(version) + len(text).to_bytes(size, "little") + text.encode() + array.tobytes()


# ---------------------------------------------------------------------------------------------------- the server


class Server(BaseHTTPRequestHandler):
    """/BEHAVIOUR/CLASS.npy; its server's `asked` holds (class, Range), `sent` the bytes of each class that left."""

    def do_GET(self):
        _, behaviour, file = self.path.split("/")
        self.name = unquote(file.removesuffix(".npy"))
        with self.server.lock:
            self.server.asked.append((self.name, self.headers.get("Range")))
            self.server.paths.append(self.path)
        self.content = self.server.files.get(self.name) or npy(drawings(self.name))
        first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups()
        self.first, self.last = int(first), min(int(last), len(self.content) - 1)
        with suppress(ConnectionError):  # the client may well leave
            getattr(self, behaviour)()

    def start(self, status, length=None, **headers):
        self.send_response(status)
        headers = {"Content_Type": "application/octet-stream", "Content_Length": length, **headers}
        for key, value in headers.items():
            if value is not None:
                self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()

    def send(self, content):
        for i in range(0, len(content), 16384):
            self.wfile.write(content[i : i + 16384])
            with self.server.lock:
                self.server.sent[self.name] += len(content[i : i + 16384])

    def good(self, last=None, said=None, sent=None, **headers):
        last = self.last if last is None else last
        if self.first > last:
            return self.send_error(416)
        content = self.content[self.first : last + 1]
        said = said or f"bytes {self.first}-{last}/{len(self.content)}"
        self.start(206, **{"length": len(content), "Content_Range": said, **headers})
        self.send(content[:sent])

    def whole(self):
        """As servers do that know no ranges."""
        self.start(200, len(self.content))
        self.send(self.content)

    def unmeasured(self):
        self.start(200)
        self.send(self.content)

    def pieces(self):
        """Never more than 50,000 bytes an answer."""
        self.good(last=min(self.last, self.first + 49_999))

    def unknown_total(self):
        self.good(said=f"bytes {self.first}-{self.last}/*")

    def together(self):
        self.server.two.wait(20)
        self.good()

    def second(self):
        """The first class comes, the others do not."""
        self.good() if len(self.server.asked) == 1 else self.send_error(503)

    def page(self):
        content = b"<html>Log in!</html>"
        self.start(200, len(content), Content_Type="text/html; charset=utf-8")
        self.wfile.write(content)

    def missing(self):
        self.send_error(404)

    def broken(self):
        self.send_error(500)

    def elsewhere(self):
        self.good(said=f"bytes {self.first + 784}-{self.last + 784}/{len(self.content)}")

    def later(self):
        self.good(said=f"bytes {self.first + 784}-{self.last}/{len(self.content)}")

    def unsaid(self):
        self.good(said="nothing that one understands")

    def cut(self):
        self.good(sent=100_000)

    def cut_unmeasured(self):
        self.good(sent=100_000, length=None)

    def stalls(self):
        self.start(206, FULL, Content_Range=f"bytes {self.first}-{self.last}/{len(self.content)}")
        self.send(self.content[:100_000])
        self.wfile.flush()
        self.server.over.wait(20)

    def silent(self):
        self.server.over.wait(20)

    def hangs(self):
        """Up, without a word."""

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    class Small(ThreadingHTTPServer):
        def get_request(self):
            connection, address = super().get_request()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # so that what left has nearly arrived
            return connection, address

    server = Small(("127.0.0.1", 0), Server)
    server.daemon_threads, server.block_on_close = True, False
    server.files, server.asked, server.paths, server.sent = {}, [], [], Counter()
    server.lock, server.over, server.two = threading.Lock(), threading.Event(), threading.Barrier(2)
    server.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()

    def behave(behaviour):
        monkeypatch.setenv("RESNET_LESSON_QUICKDRAW_URL", f"http://{server.host}/{behaviour}")
        return server

    server.behave = behave
    behave("good")
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No proxy from outside, and little patience."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(module, "PATIENCE", Patience(connect=1, stall=0.5))


@pytest.fixture
def offline(monkeypatch):
    with socket.socket() as taken:  # bound, so that nobody else gets it; not listening, so that it refuses
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RESNET_LESSON_QUICKDRAW_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        yield


def listing(folder: Path) -> list[str]:
    """Everything below `folder`, hidden or not."""
    return sorted(str(path.relative_to(folder)).replace(os.sep, "/") for path in folder.rglob("*"))


def put(root: Path, **contents: bytes | np.ndarray) -> Path:
    folder = root / "quickdraw"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.npy").write_bytes(npy(content) if isinstance(content, np.ndarray) else content)
    return folder


def assert_right(data, classes, n):
    assert data.images.shape == (len(classes) * n, 28, 28, 1) and data.images.dtype == torch.uint8
    assert data.labels.dtype == torch.int64 and data.labels.tolist() == [
        k for k in range(len(classes)) for _ in range(n)
    ]
    assert (data.name, data.classes) == ("quickdraw", tuple(classes))
    for k, name in enumerate(classes):
        assert np.array_equal(data.images[data.labels == k].numpy().reshape(n, 784), drawings(name)[:n])


# ---------------------------------------------------------------------------------------------------- what is fetched


def test_the_study_comes_with_one_request_of_392_kb_a_class_and_is_kept(server, tmp_path, capfd):
    assert_right(quickdraw(root=tmp_path), STUDY, 500)
    assert server.asked == [(name, f"bytes=0-{FULL - 1}") for name in STUDY]
    assert server.paths[1] == "/good/wine%20bottle.npy"
    assert dict(server.sent) == dict.fromkeys(STUDY, FULL) and FULL < 393_000
    assert listing(tmp_path) == sorted(["quickdraw", *(f"quickdraw/{name}.npy" for name in STUDY)])
    for name in STUDY:
        kept = tmp_path / "quickdraw" / f"{name}.npy"
        assert np.array_equal(np.load(kept), drawings(name)[:500]) and kept.stat().st_size == FULL
    out, err = capfd.readouterr()
    last = err.split("\r")[-1]
    assert out == "" and "100%" in last and "3.92M/3.92M" in last and "hourglass" in last

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert_right(quickdraw(root=str(tmp_path)), STUDY, 500)
    assert_right(quickdraw(["spoon", "apple"], 20, tmp_path), ["spoon", "apple"], 20)
    assert len(server.asked) == len(STUDY), "nothing is asked for twice"
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert capfd.readouterr() == ("", ""), "no bar"


def test_the_default_folder_is_data_here(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quickdraw(["apple"], 1)
    assert listing(tmp_path) == ["data", "data/quickdraw", "data/quickdraw/apple.npy"]


def test_the_address_is_googles_unless_the_environment_names_another(monkeypatch, tmp_path):
    asked = []

    def get(self, url, **options):
        asked.append(url)
        raise requests.ConnectionError

    monkeypatch.setattr(requests.Session, "get", get)
    google = "https://storage.googleapis.com/quickdraw_dataset/full/numpy_bitmap"
    for given, base in [(None, google), ("", google), ("http://here/a", "http://here/a"), ("http://b/", "http://b")]:
        monkeypatch.delenv("RESNET_LESSON_QUICKDRAW_URL", raising=False)
        if given is not None:
            monkeypatch.setenv("RESNET_LESSON_QUICKDRAW_URL", given)
        with pytest.raises(LessonError):
            quickdraw(["The Eiffel Tower"], root=tmp_path)
        assert asked.pop() == f"{base}/The%20Eiffel%20Tower.npy" and asked == []


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("header", [80, 96, 128, 144, 3968])
@pytest.mark.parametrize("behaviour", ["good", "whole", "unmeasured", "pieces", "unknown_total"])
def test_headers_of_any_length(server, tmp_path, version, header, behaviour):
    server.behave(behaviour).files["apple"] = npy(drawings("apple"), header, version)
    assert_right(quickdraw(["apple"], 500, tmp_path), ["apple"], 500)
    if behaviour in ("good", "unknown_total"):
        assert len(server.asked) == (2 if header > 128 else 1)
        assert server.sent["apple"] == max(FULL, header + 392_000), "no byte too many, and none twice"


def test_a_file_with_a_short_header_and_exactly_the_drawings_asked_for(server, tmp_path):
    server.files["apple"] = npy(drawings("apple", 10), 80)
    assert_right(quickdraw(["apple"], 10, tmp_path), ["apple"], 10)
    assert len(server.asked) == 1


@pytest.mark.parametrize("behaviour", ["whole", "unmeasured"])
@pytest.mark.parametrize("header", [128, 3968])
def test_a_server_without_ranges_is_cut_off_early(server, tmp_path, behaviour, header):
    big = np.zeros((40_000, 784), np.uint8)  # 31 MB
    big[:ROWS] = drawings("apple")
    server.behave(behaviour).files["apple"] = npy(big, header)
    assert_right(quickdraw(["apple"], 500, tmp_path), ["apple"], 500)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        before = server.sent["apple"]
        time.sleep(0.1)
        if server.sent["apple"] == before:
            break
    limit = 8_000_000 * (2 if header > 128 else 1)  # the sockets' buffers hold several MB
    assert server.sent["apple"] < limit < len(server.files["apple"])
    assert len(server.asked) == (2 if header > 128 else 1)


def test_a_header_by_python_2(server, tmp_path, recwarn):
    server.files["apple"] = npy(drawings("apple"), 80, shape="(700L, 784L)")
    assert_right(quickdraw(["apple"], 500, tmp_path), ["apple"], 500)


# ---------------------------------------------------------------------------------------------------- failures


class Hostile:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


SERVERS = {
    "page": "sent a web page instead of the file (a login page?)",
    "missing": "answered 404 Not Found",
    "broken": "answered 500 Internal Server Error",
    "elsewhere": "sent another part than bytes 0-392127 (bytes 784-392911/548928)",
    "later": "sent another part than bytes 0-392127 (bytes 784-392127/548928)",
    "unsaid": "sent another part than bytes 0-392127 (nothing that one understands)",
    "cut": "broke off before the end of the file",
    "cut_unmeasured": "breaks off before the last drawing asked for",
    "stalls": "stalled, nothing came for 0.5 s",
    "silent": "stalled, nothing came for 0.5 s",
    "hangs": "no connection",
}


@pytest.mark.parametrize("behaviour", SERVERS)
def test_a_bad_server_ends_in_one_line_and_leaves_what_is_whole(server, tmp_path, behaviour):
    server.behave("good")
    quickdraw(["spoon"], 500, tmp_path)
    server.behave(behaviour)
    start = time.monotonic()
    with pytest.raises(LessonError) as caught:
        quickdraw(["spoon", "apple", "panda"], 500, tmp_path)
    assert time.monotonic() - start < 4
    folder = tmp_path / "quickdraw"
    assert str(caught.value) == (
        f"QuickDraw's apple.npy could not be fetched: {server.host}: {SERVERS[behaviour]}. In {folder}, apple.npy is "
        f"missing, panda.npy is missing. Copy such files there from somebody who has them (a USB stick will do), run "
        f"this again when online, or use doodles10(), generated drawings that need no download."
    )
    assert listing(tmp_path) == ["quickdraw", "quickdraw/spoon.npy"]


def bad_files() -> dict[str, tuple[bytes, str]]:
    good = drawings("apple")
    columns, archive = io.BytesIO(), io.BytesIO()
    np.save(columns, np.asfortranarray(good))
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("apple.npy", npy(good))
    endless = bytearray(npy(good, 128, (2, 0)))
    endless[8:12] = (4_000_000_000).to_bytes(4, "little")
    no_file, held = "is no .npy file of drawings", "not uint8 (drawings, 784) by rows"
    return {
        "archive": (archive.getvalue(), no_file),
        "text": (b"This is no drawing. " * 50_000, no_file),
        "short": (b"\x93NUMPY\x01", no_file),
        "later": (npy(good, 128, (3, 0)), no_file),
        "endless": (bytes(endless), no_file),
        "cut-header": (npy(good)[:70], no_file),
        "no-header": (npy(good).replace(b"'shape'", b"'shope'"), no_file),
        "floats": (npy(good.astype(np.float32)), f"holds float32 (700, 784), {held}"),
        "signed": (npy(good.astype(np.int8)), f"holds int8 (700, 784), {held}"),
        "columns": (columns.getvalue(), f"holds uint8 (700, 784) by columns, {held}"),
        "narrow": (npy(good[:, :783].copy()), f"holds uint8 (700, 783), {held}"),
        "flat": (npy(good.ravel()), f"holds uint8 (548800,), {held}"),
        "deep": (npy(good.reshape(700, 784, 1)), f"holds uint8 (700, 784, 1), {held}"),
        "single": (npy(good[0], shape="()"), f"holds uint8 (), {held}"),
        "cut-file": (npy(good)[:200_000], "breaks off before the last drawing asked for"),
    }


@pytest.mark.parametrize("kind", bad_files())
@pytest.mark.parametrize("behaviour", ["good", "whole"])
def test_a_file_that_is_not_drawings_is_refused_and_not_kept(server, tmp_path, kind, behaviour):
    server.behave(behaviour).files["apple"], why = bad_files()[kind]
    with pytest.raises(LessonError) as caught:
        quickdraw(["apple"], 500, tmp_path)
    assert f": {server.host}: {why}. In " in str(caught.value)
    assert listing(tmp_path) == []
    assert server.sent["apple"] <= (420_000 if behaviour == "good" else 1_400_000), "whatever its header claims"


def test_nothing_is_unpickled_neither_from_the_server_nor_from_the_folder(server, tmp_path):
    executed = tmp_path / "executed"
    content = io.BytesIO()
    np.save(content, np.array([Hostile(executed)] * 700, dtype=object), allow_pickle=True)
    for bomb in (content.getvalue(), pickle.dumps(Hostile(executed))):
        server.files["apple"] = bomb
        put(tmp_path, apple=bomb)
        with pytest.raises(LessonError, match=r"(holds object \(700,\), not uint8|is no \.npy file)"):
            quickdraw(["apple"], 500, tmp_path)
        assert not executed.exists()
    np.load(io.BytesIO(content.getvalue()), allow_pickle=True)
    assert executed.exists(), "it would have"


def test_more_drawings_than_there_are(server, tmp_path):
    with pytest.raises(LessonError) as caught:
        quickdraw(["apple"], 701, tmp_path)
    assert (
        str(caught.value)
        == f"QuickDraw's apple.npy at {server.host} holds 700 drawings, not 701: ask for fewer of each."
    )
    assert listing(tmp_path) == []
    assert_right(quickdraw(["apple"], 700, tmp_path), ["apple"], 700)


def test_a_failure_in_the_middle_keeps_the_classes_before(server, tmp_path):
    server.behave("second")
    with pytest.raises(LessonError, match=r"panda\.npy could not .* 503 .*, panda\.npy is missing, spoon") as caught:
        quickdraw(["apple", "panda", "spoon"], 500, tmp_path)
    assert "apple" not in str(caught.value)
    assert listing(tmp_path) == ["quickdraw", "quickdraw/apple.npy"]
    server.behave("good")
    assert_right(quickdraw(["apple", "panda", "spoon"], 500, tmp_path), ["apple", "panda", "spoon"], 500)
    assert [name for name, _ in server.asked] == ["apple", "panda", "panda", "spoon"]


@pytest.mark.parametrize("address", ["nonsense", "http://", "ftp://somewhere/x"])
def test_an_address_that_is_none_is_named(monkeypatch, tmp_path, address):
    monkeypatch.setenv("RESNET_LESSON_QUICKDRAW_URL", address)
    with pytest.raises(LessonError, match=r"^QuickDraw's apple\.npy could not be fetched: .*(URL|adapters)"):
        quickdraw(["apple"], 500, tmp_path)


# ---------------------------------------------------------------------------------------------------- without a network


def test_offline_says_at_once_what_to_do(offline, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = time.monotonic()
    with pytest.raises(LessonError) as caught:
        quickdraw()
    message = str(caught.value).replace(os.sep, "/")
    assert time.monotonic() - start < 2
    assert re.fullmatch(
        r"QuickDraw's apple\.npy could not be fetched: 127\.0\.0\.1:\d+: no connection\. In data/quickdraw, apple\.npy "
        r"is missing, .*, hourglass\.npy is missing\. Copy such files there from .*, run this again when online, or "
        r"use doodles10\(\), generated drawings that need no download\.",
        message,
    )
    assert message.count("is missing") == 10 and listing(tmp_path) == []
    with pytest.raises(LessonError, match=r"zebra\.npy|\(and 335 more\)") as caught:
        quickdraw(names())
    assert str(caught.value).count("is missing") == 10 and "(and 335 more)" in str(caught.value)


def test_offline_a_file_with_fewer_says_how_many_and_they_can_be_had(offline, tmp_path):
    put(tmp_path, apple=drawings("apple", 100), spoon=drawings("spoon"))
    with pytest.raises(LessonError, match=r"apple\.npy holds 100 drawings, not 500\. Copy") as caught:
        quickdraw(["spoon", "apple"], 500, tmp_path)
    assert "spoon" not in str(caught.value)
    assert_right(quickdraw(["spoon", "apple"], 100, tmp_path), ["spoon", "apple"], 100)


@pytest.mark.parametrize("header", [80, 128, 3968])
def test_a_whole_published_file_is_used_as_it_is_and_read_no_further_than_needed(offline, tmp_path, header):
    content = npy(drawings("apple"), header)
    put(tmp_path, apple=content)
    assert_right(quickdraw(["apple"], 20, tmp_path), ["apple"], 20)
    assert (tmp_path / "quickdraw" / "apple.npy").read_bytes() == content
    file = io.BytesIO(content)
    assert module._read(file, 20).shape == (20, 784) and file.tell() == header + 20 * 784


@pytest.mark.parametrize("kind", [*bad_files(), "empty", "fewer"])
def test_a_damaged_or_smaller_file_is_fetched_again(server, tmp_path, kind):
    small = {"empty": b"", "fewer": npy(drawings("apple", 499))}
    folder = put(tmp_path, apple=small[kind] if kind in small else bad_files()[kind][0], spoon=drawings("spoon"))
    (folder / "my notes.txt").write_text("mine")
    assert_right(quickdraw(["apple", "spoon"], 500, tmp_path), ["apple", "spoon"], 500)
    assert [name for name, _ in server.asked] == ["apple"]
    assert np.array_equal(np.load(folder / "apple.npy"), drawings("apple")[:500])
    assert listing(folder) == ["apple.npy", "my notes.txt", "spoon.npy"]


@pytest.mark.parametrize("kind", [*bad_files(), "empty", "fewer"])
def test_offline_a_damaged_or_smaller_file_stays(offline, tmp_path, kind):
    small = {"empty": b"", "fewer": npy(drawings("apple", 499))}
    content = small[kind] if kind in small else bad_files()[kind][0]
    folder = put(tmp_path, apple=content)
    with pytest.raises(LessonError, match=r"In .*, apple\.npy (is no|holds|breaks off)"):
        quickdraw(["apple"], 500, tmp_path)
    assert (folder / "apple.npy").read_bytes() == content and listing(folder) == ["apple.npy"]


# ---------------------------------------------------------------------------------------------------- interruptions


def test_ctrl_c_leaves_whole_files_only(server, tmp_path, monkeypatch):
    class Interrupting(module.tqdm):
        def update(self, n=1):
            if len(server.asked) == 2:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "tqdm", Interrupting)
        with pytest.raises(KeyboardInterrupt):
            quickdraw(["apple", "spoon"], 500, tmp_path)
    assert listing(tmp_path) == ["quickdraw", "quickdraw/apple.npy"]

    def interrupted(source, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            quickdraw(["apple", "spoon"], 500, tmp_path)
    assert listing(tmp_path) == ["quickdraw", "quickdraw/apple.npy"]
    assert_right(quickdraw(["apple", "spoon"], 500, tmp_path), ["apple", "spoon"], 500)


def test_the_file_in_place_is_never_half_written(server, tmp_path, monkeypatch):
    put(tmp_path, apple=drawings("apple", 100))
    seen, save = [], np.save

    def watching(path, array):
        save(path, array)
        Path(path).write_bytes(Path(path).read_bytes()[:-1])  # nearly there ...
        seen.append(np.load(tmp_path / "quickdraw" / "apple.npy").shape)
        save(path, array)

    monkeypatch.setattr(module.np, "save", watching)
    quickdraw(["apple"], 500, tmp_path)
    assert seen == [(100, 784)]  # ... and the old one is still in place
    assert np.load(tmp_path / "quickdraw" / "apple.npy").shape == (500, 784)


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_what_a_killed_process_leaves_does_no_harm(server, tmp_path):
    code = (
        "import sys, time, numpy as np\nfrom resnet_lesson import quickdraw\n"
        "save = np.save\n"
        "def slow(path, array):\n    save(path, array[:7])\n    print('now', flush=True)\n    time.sleep(60)\n"
        "np.save = slow\nquickdraw(['apple'], 500, sys.argv[1])\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == b"now\n"
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    left = listing(tmp_path)
    assert len(left) == 3 and "quickdraw/apple.npy" not in left and left[1].endswith(".partial")
    assert_right(quickdraw(["apple"], 500, tmp_path), ["apple"], 500)
    old = time.time() - 2 * files.ABANDONED
    for path in [tmp_path / left[1], tmp_path / left[2]]:
        os.utime(path, (old, old))
    quickdraw(["apple"], 501, tmp_path)
    assert listing(tmp_path) == ["quickdraw", "quickdraw/apple.npy"]


def test_two_at_once_do_not_meet(server, tmp_path):
    server.behave("together")
    with ThreadPoolExecutor(2) as pool:
        for data in pool.map(lambda _: quickdraw(["apple", "spoon"], 500, tmp_path), range(2)):
            assert_right(data, ["apple", "spoon"], 500)
    assert len(server.asked) == 4
    assert listing(tmp_path) == ["quickdraw", "quickdraw/apple.npy", "quickdraw/spoon.npy"]


def test_two_processes_at_once_do_not_meet(server, tmp_path):
    server.behave("together")
    code = (
        "import sys; from resnet_lesson import quickdraw\n"
        "print(quickdraw(['apple'], int(sys.argv[2]), sys.argv[1]).sha256)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), n], cwd=REPO, stdout=subprocess.PIPE, text=True)
        for n in ("200", "200")
    ]
    sums = {process.communicate(timeout=120)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0] and len(server.asked) == 2
    assert sums == {quickdraw(["apple"], 200, tmp_path).sha256 + "\n"}
    assert listing(tmp_path) == ["quickdraw", "quickdraw/apple.npy"]


def test_one_that_asks_for_fewer_does_not_take_the_drawings_of_one_that_asked_for_more(server, tmp_path, monkeypatch):
    keep = module._keep

    def late(path, fetched):
        """Meanwhile another process has fetched more."""
        put(tmp_path, apple=drawings("apple", 600))
        keep(path, fetched)

    monkeypatch.setattr(module, "_keep", late)
    assert_right(quickdraw(["apple"], 20, tmp_path), ["apple"], 20)
    assert np.load(tmp_path / "quickdraw" / "apple.npy").shape == (600, 784)
    assert listing(tmp_path) == ["quickdraw", "quickdraw/apple.npy"]


def test_where_it_cannot_write_it_says_so(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(LessonError, match=r"cannot be written to .*file.*free 0\.4 MB there or name another folder"):
        quickdraw(["apple"], 500, tmp_path / "file")

    def full(path, array):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.np, "save", full)
    with pytest.raises(LessonError, match=r"\(No space left on device\): free 3\.9 MB there"):
        quickdraw(STUDY, 500, tmp_path / "data")
    assert listing(tmp_path / "data") == ["quickdraw"]


# ---------------------------------------------------------------------------------------------------- what is asked for


def test_the_345_published_classes_are_known_and_the_study_is_of_them():
    assert len(names()) == len(set(names())) == 345
    assert STUDY == tuple(
        "apple,wine bottle,spoon,rainbow,panda,hospital,scissors,toothpaste,baseball,hourglass".split(",")
    )
    assert set(STUDY) < set(names()) and {"The Mona Lisa", "t-shirt", "zigzag"} < set(names())
    assert not any(re.search(r"[/\\.]|^\s|\s$", name) for name in names()), "each is a file's name"


@pytest.mark.parametrize(
    "classes, n, message",
    [
        ("apple", 500, r"^quickdraw takes a list of classes: quickdraw\(\['apple'\]\)\.$"),
        ([], 500, "1 drawing or more of 1 class or more, not 500 of 0"),
        (["apple"], 0, "1 drawing or more of 1 class or more, not 0 of 1"),
        (["apple"], -5, "not -5 of 1"),
        (["apple", "spoon", "apple"], 500, "takes each class once; 'apple' is there twice"),
        (
            ["wine-bottle"],
            500,
            r"no QuickDraw class 'wine-bottle'\. Did you mean 'wine bottle'.* There are 345\. .*names\(\)",
        ),
        (["../apple"], 500, r"no QuickDraw class '\.\./apple'"),
        (
            ["xyzzy"],
            500,
            r"^There is no QuickDraw class 'xyzzy'\. There are 345\. `from resnet_lesson.*names\(\)` lists them\.$",
        ),
    ],
)
def test_wrong_wishes_are_refused_in_words_before_anything_is_asked(server, tmp_path, classes, n, message):
    with pytest.raises(ValueError, match=message) as caught:
        quickdraw(classes, n, tmp_path)
    assert len(str(caught.value)) < 250
    assert server.asked == [] and listing(tmp_path) == []


@pytest.mark.slow
def test_the_names_are_installed_with_the_package(tmp_path):
    pytest.importorskip("setuptools")
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(REPO / "resnet_lesson", source / "resnet_lesson")
    (source / "data" / "runs").mkdir(parents=True)  # without the records, which are large
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, source)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(target)]
    subprocess.run([*pip, str(source)], check=True, capture_output=True)
    code = (
        "from resnet_lesson.datasets.quickdraw import names as n; print(n.__wrapped__.__code__.co_filename, len(n()))"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [str(target / "resnet_lesson" / "datasets" / "quickdraw.py"), "345"], done.stderr


# ---------------------------------------------------------------------------------------------------- the command line


def call(capsys, *words):
    """Exit status, and what was printed to stdout and to stderr."""
    with pytest.raises(SystemExit) as end:
        cli.main(list(words))
    printed = capsys.readouterr()
    return end.value.code, printed.out, printed.err


def test_data_quickdraw_puts_the_study_in_place(server, tmp_path, capsys):
    status, out, _ = call(capsys, "data", "--quickdraw", "--root", str(tmp_path))
    assert status == 0 and out == f"QuickDraw is in {tmp_path}: 500 drawings of each of {', '.join(STUDY)}.\n"
    assert [name for name, _ in server.asked] == list(STUDY) and len(listing(tmp_path)) == 11
    assert np.load(tmp_path / "quickdraw" / "apple.npy").shape == (500, 784)


def test_data_quickdraw_takes_classes_and_a_number(server, tmp_path, capsys):
    words = ["data", "--quickdraw", "wine bottle, panda", "--per-class", "20", "--root", str(tmp_path)]
    status, out, _ = call(capsys, *words)
    assert status == 0 and out.endswith(": 20 drawings of each of wine bottle, panda.\n")
    assert np.load(tmp_path / "quickdraw" / "wine bottle.npy").shape == (20, 784)
    assert [name for name, _ in server.asked] == ["wine bottle", "panda"]


def test_data_says_in_one_line_what_is_wrong(offline, tmp_path, capsys, monkeypatch):
    for words, message in [
        (["--quickdraw", "aple"], "Did you mean 'apple'"),
        (["--quickdraw", "apple", "--per-class", "0"], "1 drawing or more"),
        (["--per-class", "20"], "--per-class belongs to --quickdraw"),
        (["--quickdraw"], "no connection"),
    ]:
        status, out, error = call(capsys, "data", *words, "--root", str(tmp_path))
        assert status == 2 and message in error and out == "" and "Traceback" not in error
    asked = []
    monkeypatch.setattr(data_command, "cifar10", lambda root: asked.append(root) or (range(3), range(2)))
    status, out, _ = call(capsys, "data", "--root", str(tmp_path))
    assert status == 0 and asked == [tmp_path] and out.startswith(f"CIFAR-10 is in {tmp_path}: 3 training and 2 test")


def test_the_doctor_counts_the_classes_of_the_study(tmp_path):
    def row():
        return next(row for row in doctor.checks(tmp_path) if row[1].startswith("QuickDraw"))

    put(tmp_path, apple=drawings("apple", 1), zebra=drawings("zebra", 1))
    fine, found, mend = row()
    assert fine is None and "1 of the 10 classes" in found and "data --quickdraw" in mend and "doodles10" in mend
    put(tmp_path, **{name: drawings(name, 1) for name in STUDY})
    assert row()[0] is True


# ---------------------------------------------------------------------------------------------------- real drawings


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real drawings in {SHARED}, and tests download nothing")
def test_real_drawings_come_as_they_were_published(server, tmp_path):
    server.files = {path.stem: path.read_bytes() for path in SHARED.glob("*.npy")}
    classes = sorted(server.files)
    data = quickdraw(classes, root=tmp_path)
    assert all(sent <= 393_000 for sent in server.sent.values()) and len(server.sent) == len(classes) == 6
    for k, name in enumerate(classes):
        images = data.images[data.labels == k]
        assert np.array_equal(images.reshape(-1, 784).numpy(), np.load(SHARED / f"{name}.npy")[:500])
        ink = (images > 0).float().mean()
        assert 0.2 < ink < 0.4, "white is 0, and most of it"
    (tmp_path / "copied").mkdir()
    (tmp_path / "copied" / "quickdraw").symlink_to(SHARED)
    assert quickdraw(classes, 3000, tmp_path / "copied").images.shape == (18_000, 28, 28, 1)
    assert len(server.asked) == 6


def test_failures_of_a_file_are_those_of_a_mirror():
    with pytest.raises(MirrorFailed, match="is missing"):
        module.kept(Path("nowhere") / "apple.npy", 1)
