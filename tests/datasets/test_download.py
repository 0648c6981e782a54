"""Fetching CIFAR-10 from mirrors that work, stall, drip, truncate, lie or refuse: a server right here plays them."""

import hashlib
import io
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch
from support.paths import REPO

from resnet_lesson import files
from resnet_lesson.datasets import cifar10 as module
from resnet_lesson.datasets import download
from resnet_lesson.datasets.cifar10 import cifar10
from resnet_lesson.datasets.download import Patience, fetch, unpack
from resnet_lesson.errors import LessonError
from resnet_lesson.files import private_folder

NAME = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
FILES = [*BATCHES, "batches.meta"]
QUICK = Patience(rate=250_000, after=0.7, connect=1, stall=0.5)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def names(folder: Path) -> list[str]:
    """Everything below `folder`, hidden or not."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def tar_gz(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


# ---------------------------------------------------------------------------------------------------- the mirrors


def small_batch(number: int) -> bytes:
    """A batch in the published layout, of 20 images instead of 10,000."""
    pixels = np.random.default_rng(number).integers(0, 256, (20, 3072), dtype=np.uint8)
    return pickle.dumps({b"data": pixels, b"labels": [(number + i) % 10 for i in range(20)]}, protocol=2)


SMALL = {**{name: small_batch(i) for i, name in enumerate(BATCHES)}, "batches.meta": pickle.dumps({b"label_names": []})}
PAYLOAD = tar_gz({f"{FOLDER}/{name}": content for name, content in SMALL.items()})  # about 370 kB
SIZE = len(PAYLOAD)


class Mirror(BaseHTTPRequestHandler):
    """Does what the path says; `asked` of its server lists the paths in the order they came."""

    def do_GET(self):
        self.server.asked.append(self.path)
        with suppress(ConnectionError):  # the client may well leave
            getattr(self, self.path.strip("/").rstrip("0123456789"))()

    def start(self, length=SIZE, kind="application/gzip", status=200, **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()

    def good(self):
        self.start()
        self.wfile.write(PAYLOAD)

    def together(self):
        """Like `good`, but only once two have asked."""
        self.start()
        self.wfile.write(PAYLOAD[:1000])
        self.server.two.wait(20)
        self.wfile.write(PAYLOAD[1000:])

    def mislabelled(self):
        """As servers do that take .gz for a way of sending a .tar."""
        self.start(Content_Encoding="gzip")
        self.wfile.write(PAYLOAD)

    def unmeasured(self):
        self.start(length=None)
        self.wfile.write(PAYLOAD)

    def moved(self):
        self.start(length=0, status=302, Location="/good")

    def silent(self):
        self.server.over.wait(20)

    def stalls(self):
        self.start()
        self.wfile.write(PAYLOAD[:100_000])
        self.server.over.wait(20)

    def drips(self):
        """2 kB/s: never 0.5 s without anything, but the whole would take three minutes. Gives up after six seconds."""
        self.start()
        for i in range(0, 12_000, 100):
            self.wfile.write(PAYLOAD[i : i + 100])
            if self.server.over.wait(0.05):
                return

    def pour(self, rate, upto=SIZE):
        self.start()
        begin, step = time.monotonic(), rate // 50
        for i in range(0, upto, step):
            self.wfile.write(PAYLOAD[i : min(i + step, upto)])
            time.sleep(max(0, begin + (i + step) / rate - time.monotonic()))

    def slow(self):
        self.pour(200_000)

    def slower(self):
        self.pour(120_000)

    def tires(self):
        """The fastest of the slow, but the second time it breaks off."""
        self.pour(220_000, SIZE if self.server.asked.count(self.path) == 1 else 1000)

    def truncates(self):
        self.start()
        self.wfile.write(PAYLOAD[:-1000])

    def short(self):
        self.start(length=SIZE - 1000)
        self.wfile.write(PAYLOAD[:-1000])

    def lies(self):
        self.start()
        self.wfile.write(b"x" * SIZE)

    def page(self):
        self.start(length=22, kind="text/html; charset=utf-8")
        self.wfile.write(b"<html>Log in!</html>\r\n")

    def missing(self):
        self.send_error(404)

    def broken(self):
        self.send_error(500)

    def hangs(self):
        """Up, without a word."""

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.daemon_threads, server.block_on_close = True, False
    server.asked, server.over, server.two = [], threading.Event(), threading.Barrier(2)
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No address and no proxy from outside."""
    monkeypatch.delenv("RESNET_LESSON_CIFAR10_URL", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def refusing():
    """The address of a port at which nobody listens."""
    with socket.socket() as taken:  # bound, so that nobody else gets it; not listening, so that it refuses
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/good"


@pytest.fixture
def small(monkeypatch):
    """`cifar10` with the checksums of the small archive."""
    monkeypatch.setattr(module, "CIFAR10_ARCHIVE_MD5", md5(PAYLOAD))
    monkeypatch.setattr(module, "CIFAR10_MD5", {name: md5(content) for name, content in SMALL.items()})


def get(mirrors, path, patience=QUICK):
    return fetch(mirrors, md5(PAYLOAD), path, otherwise="Do this.", patience=patience)


# ---------------------------------------------------------------------------------------------------- fetch


@pytest.mark.parametrize("behaviour", ["good", "mislabelled", "unmeasured"])
def test_the_first_mirror_that_works_is_the_only_one_asked(server, tmp_path, capfd, monkeypatch, behaviour):
    monkeypatch.setattr(pooch.get_logger(), "level", logging.INFO)
    monkeypatch.setattr(pooch.get_logger().handlers[0], "stream", sys.stderr)
    get([f"{server.url}/{behaviour}", f"{server.url}/good2"], tmp_path / NAME)
    assert server.asked == [f"/{behaviour}"]
    assert (tmp_path / NAME).read_bytes() == PAYLOAD
    assert names(tmp_path) == [NAME]
    out, err = capfd.readouterr()
    assert out == ""
    assert f"127.0.0.1:{server.server_port}" in err  # the bar, with the host ...
    assert "B/s" in err  # ... and the rate
    assert str(tmp_path) not in err  # nothing of this machine gets into a notebook


def test_redirects_are_followed(server, tmp_path):
    get([f"{server.url}/moved"], tmp_path / NAME)
    assert server.asked == ["/moved", "/good"]
    assert (tmp_path / NAME).read_bytes() == PAYLOAD


BAD = {
    "silent": "stalled, nothing came for 0.5 s",
    "stalls": "stalled, nothing came for 0.5 s",
    "drips": "slow, 2 kB/s over 1 s (under 250)",
    "truncates": "broke off before the end of the file",
    "short": "sent something else than the published file (wrong checksum)",
    "lies": "sent something else than the published file (wrong checksum)",
    "page": "sent a web page instead of the file (a login page?)",
    "missing": "answered 404 Not Found",
    "broken": "answered 500 Internal Server Error",
    "hangs": "no connection",
}


@pytest.mark.parametrize("behaviour", BAD)
def test_a_bad_mirror_is_left_for_the_next_with_a_line_that_says_why(server, tmp_path, capsys, behaviour):
    start = time.monotonic()
    get([f"{server.url}/{behaviour}", f"{server.url}/good"], tmp_path / NAME)
    assert time.monotonic() - start < 5
    assert server.asked == [f"/{behaviour}", "/good"]
    assert (tmp_path / NAME).read_bytes() == PAYLOAD
    assert names(tmp_path) == [NAME]
    assert capsys.readouterr().out == f"127.0.0.1:{server.server_port}: {BAD[behaviour]}.\n"


@pytest.mark.parametrize("behaviour", sorted(BAD.keys() - {"drips"}))  # that one would get a second try
def test_with_bad_mirrors_only_nothing_changes(server, tmp_path, behaviour):
    (tmp_path / NAME).write_bytes(b"half a file of somebody else")
    with pytest.raises(LessonError, match=rf"^{NAME} could not be downloaded: no mirror .*\. Do this\.$"):
        get([f"{server.url}/{behaviour}"], tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == b"half a file of somebody else"
    assert names(tmp_path) == [NAME]


def test_a_mirror_that_refuses_or_has_no_address_is_left(server, refusing, tmp_path, capsys, monkeypatch):
    lookup = socket.getaddrinfo

    def no_such_host(host, *args, **kwargs):
        if host == "mirror.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    get([refusing, "http://user:secret@mirror.example/x", "nonsense", f"{server.url}/good"], tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == PAYLOAD
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(": no connection.")
    assert lines[1] == "mirror.example: no connection."
    assert lines[2].startswith("nonsense: Invalid URL")
    assert len(lines) == 3


def test_offline_says_so_at_once(refusing, tmp_path):
    start = time.monotonic()
    with pytest.raises(LessonError) as caught:
        get([refusing] * 4, tmp_path / NAME)
    assert str(caught.value) == f"{NAME} could not be downloaded: no mirror can be reached. Do this."
    assert time.monotonic() - start < 2
    assert names(tmp_path) == []


def test_where_all_are_slow_the_fastest_may_take_its_time(server, tmp_path, capsys):
    mirrors = ["slower", "missing", "slow", "lies"]
    get([f"{server.url}/{name}" for name in mirrors], tmp_path / NAME)
    assert server.asked == ["/slower", "/missing", "/slow", "/lies", "/slow"]
    assert (tmp_path / NAME).read_bytes() == PAYLOAD
    assert names(tmp_path) == [NAME]
    assert "is the fastest and may take its time" in capsys.readouterr().out.splitlines()[-1]


def test_when_the_fastest_of_the_slow_breaks_off_the_next_gets_its_turn(server, tmp_path):
    get([f"{server.url}/{name}" for name in ["slow", "tires"]], tmp_path / NAME)
    assert server.asked == ["/slow", "/tires", "/tires", "/slow"]
    assert (tmp_path / NAME).read_bytes() == PAYLOAD


def test_without_the_limit_a_stall_is_still_noticed(server, tmp_path, capsys):
    with pytest.raises(LessonError):
        get([f"{server.url}/stalls"], tmp_path / NAME, Patience(rate=0, stall=0.3))
    assert "nothing came for 0.3 s" in capsys.readouterr().out


def test_a_file_that_is_there_is_used_if_right_and_replaced_if_wrong(server, tmp_path):
    path = tmp_path / NAME
    path.write_bytes(PAYLOAD)
    get([f"{server.url}/good"], path)
    assert server.asked == []
    path.write_bytes(PAYLOAD[:5000])
    get([f"{server.url}/good"], path)
    assert server.asked == ["/good"]
    assert path.read_bytes() == PAYLOAD
    assert names(tmp_path) == [NAME]


def test_defaults_are_those_the_documentation_states():
    assert (download.PATIENCE.rate, download.PATIENCE.after) == (200_000, 20)
    assert len(module.CIFAR10_MIRRORS) == 4
    assert "toronto" in module.CIFAR10_MIRRORS[-1]  # slow since June 2026
    torchvision = pytest.importorskip("torchvision").datasets.CIFAR10
    published = dict([*torchvision.train_list, *torchvision.test_list])
    assert published == {name: module.CIFAR10_MD5[name] for name in BATCHES}
    assert torchvision.meta["md5"] == module.CIFAR10_MD5["batches.meta"]
    assert (torchvision.filename, torchvision.tgz_md5) == (module.CIFAR10_ARCHIVE, module.CIFAR10_ARCHIVE_MD5)


# ---------------------------------------------------------------------------------------------------- interruptions


class Interrupting(download.tqdm):
    def update(self, n=1):
        raise KeyboardInterrupt


def test_ctrl_c_leaves_nothing(server, small, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(download, "tqdm", Interrupting)
        with pytest.raises(KeyboardInterrupt):
            get([f"{server.url}/good", f"{server.url}/good2"], tmp_path / NAME)
        with pytest.raises(KeyboardInterrupt):
            cifar10(tmp_path, [f"{server.url}/good"])
    assert server.asked == ["/good", "/good"]  # and it does not go on to the next mirror
    assert names(tmp_path) == []


def test_ctrl_c_while_unpacking_leaves_whole_files_only(server, small, tmp_path, monkeypatch):
    replace, calls = os.replace, []

    def interrupted(source, target):
        calls.append(target)
        if len(calls) == 3:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(download.os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cifar10(tmp_path, [f"{server.url}/good"])
    assert names(tmp_path) == [FOLDER, f"{FOLDER}/data_batch_1", f"{FOLDER}/data_batch_2"]
    assert len(cifar10(tmp_path, [f"{server.url}/good"])[0]) == 100
    assert names(tmp_path) == sorted([FOLDER, *(f"{FOLDER}/{name}" for name in FILES)])


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_a_killed_process_leaves_is_not_trusted_and_goes_later(server, small, tmp_path, number):
    code = (
        "import signal, sys; from pathlib import Path; from resnet_lesson.datasets.download import fetch\n"
        "from resnet_lesson.files import private_folder\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "with private_folder(Path(sys.argv[2]) / 'cifar-10-batches-py') as folder:\n"
        "    fetch([sys.argv[1]], '0' * 32, folder / 'cifar-10-python.tar.gz', otherwise='')\n"
    )
    command = [sys.executable, "-c", code, f"{server.url}/stalls", str(tmp_path)]
    with open(tmp_path.with_suffix(".log"), "wb") as log:
        process = subprocess.Popen(command, cwd=REPO, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while not any(p.is_file() and p.stat().st_size for p in tmp_path.rglob("*")):
                assert process.poll() is None and time.monotonic() < deadline, log.name
                time.sleep(0.02)
            process.send_signal(number)
            assert process.wait(20) != 0
        finally:
            process.kill()
            process.wait()
    left = names(tmp_path)
    assert (left == []) == (number == signal.SIGINT)  # nobody can clean up after SIGKILL at once ...

    assert len(cifar10(tmp_path, [f"{server.url}/good"])[0]) == 100  # ... but what is left does no harm
    whole = [FOLDER, *(f"{FOLDER}/{name}" for name in FILES)]
    assert names(tmp_path) == sorted([*whole, *left])  # it might be another process at work, ...
    for path in [*tmp_path.glob("*.partial"), *tmp_path.glob("*.partial/*")]:
        old = time.time() - 2 * files.ABANDONED
        os.utime(path, (old, old))
    with private_folder(tmp_path / FOLDER):
        pass
    assert names(tmp_path) == sorted(whole)  # ... until it is old


# ---------------------------------------------------------------------------------------------------- cifar10


def put(root: Path, **changed: bytes) -> Path:
    """torchvision's layout under `root`, with some files changed."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**SMALL, **changed}.items():
        (folder / name).write_bytes(content)
    return folder


def assert_right(pair):
    train, test = pair
    assert train.images.shape == (100, 32, 32, 3)
    assert test.images.shape == (20, 32, 32, 3)
    for images, labels, batches in [(train.images, train.labels, BATCHES[:5]), (test.images, test.labels, BATCHES[5:])]:
        parts = [pickle.loads(SMALL[name]) for name in batches]
        pixels = np.concatenate([part[b"data"] for part in parts]).reshape(-1, 3, 32, 32)
        assert images.dtype == torch.uint8
        assert np.array_equal(images.permute(0, 3, 1, 2).numpy(), pixels)
        assert labels.tolist() == [label for part in parts for label in part[b"labels"]]


def test_from_nothing(server, small, tmp_path):
    root = tmp_path / "deep" / "data"
    assert_right(cifar10(str(root), [f"{server.url}/missing", f"{server.url}/good"]))
    assert names(root) == sorted([FOLDER, *(f"{FOLDER}/{name}" for name in FILES)])  # the archive is not kept
    assert_right(cifar10(root, [f"{server.url}/good"]))
    assert server.asked == ["/missing", "/good"]


def test_what_torchvision_has_put_there_is_taken_without_asking_anybody(server, small, tmp_path, monkeypatch):
    put(tmp_path / "data")
    (tmp_path / "data" / FOLDER / "batches.meta").unlink()  # not needed here
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert_right(cifar10(tmp_path / "data", [f"{server.url}/good"]))
    monkeypatch.chdir(tmp_path)
    assert_right(cifar10(mirrors=[f"{server.url}/good"]))  # the default root
    assert server.asked == []
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_an_archive_that_was_there_is_used_and_stays(server, small, tmp_path):
    (tmp_path / NAME).write_bytes(PAYLOAD)
    assert_right(cifar10(tmp_path, [f"{server.url}/good"]))
    assert server.asked == []
    assert names(tmp_path) == sorted([NAME, FOLDER, *(f"{FOLDER}/{name}" for name in FILES)])


def test_half_an_archive_is_replaced(server, small, tmp_path):
    (tmp_path / NAME).write_bytes(PAYLOAD[: SIZE // 2])
    assert_right(cifar10(tmp_path, [f"{server.url}/good"]))
    assert server.asked == ["/good"]
    assert (tmp_path / NAME).read_bytes() == PAYLOAD
    assert names(tmp_path) == sorted([NAME, FOLDER, *(f"{FOLDER}/{name}" for name in FILES)])


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("damage", ["changed", "cut", "empty", "gone"])
def test_a_damaged_file_is_fetched_again_and_the_others_stay(server, small, tmp_path, name, damage):
    whole = SMALL[name]
    folder = put(tmp_path, **{name: {"changed": whole[:-1] + b"!", "cut": whole[:99]}.get(damage, b"")})
    if damage == "gone":
        (folder / name).unlink()
    (folder / "my notes.txt").write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != name}
    assert_right(cifar10(tmp_path, [f"{server.url}/good"]))
    assert server.asked == ["/good"]
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != name}
    assert (folder / name).read_bytes() == whole
    assert names(tmp_path) == sorted([FOLDER, f"{FOLDER}/my notes.txt", *(f"{FOLDER}/{name}" for name in FILES)])


def test_offline_in_one_line(small, refusing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    advice = (
        f": copy {NAME} from somebody (a USB stick will do) to data, or use shapes10(), which needs no download, "
        "or run this again when online."
    )
    lead = f"{NAME} could not be downloaded: no mirror can be reached. data/{FOLDER}/"
    with pytest.raises(LessonError) as caught:
        cifar10(mirrors=[refusing])
    assert str(caught.value).replace(os.sep, "/") == f"{lead}data_batch_1 is missing{advice}"
    assert names(tmp_path) == ["data"]
    put(tmp_path / "data", data_batch_3=b"oh")
    with pytest.raises(LessonError) as caught:
        cifar10(mirrors=[refusing])
    assert str(caught.value).replace(os.sep, "/") == f"{lead}data_batch_3 is damaged{advice}"
    assert (tmp_path / "data" / FOLDER / "data_batch_3").read_bytes() == b"oh"


class Hostile:
    """Unpickling this makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_4", "test_batch"])
def test_nothing_is_unpickled_unchecked(server, refusing, small, tmp_path, name):
    executed = tmp_path / "executed"
    bomb = pickle.dumps(Hostile(executed))
    pickle.loads(bomb)
    assert executed.exists()  # it would
    executed.unlink()
    put(tmp_path / "data", **{name: bomb})
    with pytest.raises(LessonError, match=f"{name} is damaged"):
        cifar10(tmp_path / "data", [refusing])
    assert not executed.exists()
    assert_right(cifar10(tmp_path / "data", [f"{server.url}/good"]))
    assert not executed.exists()


def test_a_hostile_batch_in_an_archive_is_not_even_written(small, refusing, tmp_path, monkeypatch):
    bomb = pickle.dumps(Hostile(tmp_path / "executed"))
    archive = tar_gz({f"{FOLDER}/{name}": bomb if name == "data_batch_2" else SMALL[name] for name in FILES})
    monkeypatch.setattr(module, "CIFAR10_ARCHIVE_MD5", md5(archive))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / NAME).write_bytes(archive)
    with pytest.raises(LessonError, match="data_batch_2 is missing"):
        cifar10(tmp_path / "data", [refusing])
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "data" / FOLDER / "data_batch_2").exists()


def test_an_archive_cannot_write_anywhere_else(tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    link = tarfile.TarInfo(FOLDER)  # first the folder itself becomes a link to the outside ...
    link.type, link.linkname = tarfile.SYMTYPE, str(outside)
    batch_link = tarfile.TarInfo(f"{FOLDER}/data_batch_1")  # ... and a batch a link to what is elsewhere
    batch_link.type, batch_link.linkname = tarfile.SYMTYPE, str(outside / "evil")
    members = {
        "link": link,
        "batch": batch_link,
        f"{FOLDER}/test_batch": SMALL["test_batch"],
        "../outside/evil": b"evil",
        f"{FOLDER}/../../outside/evil": b"evil",
        str(outside / "evil"): b"evil",
        f"{FOLDER}/stranger": b"not asked for",
        "data_batch_2": SMALL["data_batch_2"],  # not where it belongs
    }
    (tmp_path / NAME).write_bytes(tar_gz(members))
    unpack(tmp_path / NAME, root / FOLDER, {name: md5(content) for name, content in SMALL.items()})
    assert names(root) == [FOLDER, f"{FOLDER}/test_batch"]
    assert names(outside) == []
    assert names(tmp_path) == sorted([NAME, "outside", "root", f"root/{FOLDER}", f"root/{FOLDER}/test_batch"])


def test_a_class_may_serve_the_archive_itself(server, refusing, small, tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_LESSON_CIFAR10_URL", f"{server.url}/missing  {server.url}/good2")
    assert_right(cifar10(tmp_path, [f"{server.url}/good1"]))
    assert server.asked == ["/missing", "/good2"]


def test_two_at_once_do_not_meet(server, small, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        for pair in pool.map(lambda _: cifar10(tmp_path, [f"{server.url}/together"]), range(2)):
            assert_right(pair)
    assert server.asked == ["/together"] * 2
    assert names(tmp_path) == sorted([FOLDER, *(f"{FOLDER}/{name}" for name in FILES)])


def test_where_it_cannot_write_it_says_so(server, small, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(LessonError, match=r"cannot be written to .*file.*free 400 MB there or name another folder"):
        cifar10(tmp_path / "file" / "data", [f"{server.url}/good"])

    class Full(download.tqdm):
        def update(self, n=1):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "tqdm", Full)
    with pytest.raises(LessonError, match=r"\(No space left on device\)"):
        cifar10(tmp_path / "data", [f"{server.url}/good", f"{server.url}/good"])
    assert server.asked == ["/good"]  # no mirror can help there
    assert names(tmp_path) == ["data", "file"]


# ---------------------------------------------------------------------------------------------------- the real one


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    """A root with the published files: those in data/, or restored from beside the repository."""
    if (REPO / "data" / FOLDER / "test_batch").exists():
        return REPO / "data"
    restore = REPO.parent / "shared" / "cifar10" / "restore.py"
    if not restore.exists():
        pytest.skip(f"CIFAR-10 is neither in data/{FOLDER}/ nor in {restore.parent}, and tests download nothing")
    root = tmp_path_factory.mktemp("real")
    subprocess.run([sys.executable, str(restore), str(root)], check=True, capture_output=True)
    return root


@pytest.mark.slow
def test_the_real_set(real):
    pair = cifar10(real, mirrors=[])
    sums = (
        "67e12c2a5906880a4fe5595fe6d768185ad7ca587f35d3a7ece3c3b8b85035d2",
        "e54a434ec35094516eacbaac0f2f9550358d985e9d1f71b47d41d333c15ba304",
    )
    for ours, n, checksum in zip(pair, (50_000, 10_000), sums, strict=True):
        assert ours.images.shape == (n, 32, 32, 3)
        assert ours.images.dtype == torch.uint8
        assert ours.labels.dtype == torch.int64
        assert ours.labels.bincount().tolist() == [n // 10] * 10
        assert ours.classes == tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
        assert ours.sha256 == checksum


@pytest.mark.slow
def test_torchvision_sees_the_same_images(real):
    torchvision = pytest.importorskip("torchvision")
    for ours, training in zip(cifar10(real, mirrors=[]), (True, False), strict=True):
        theirs = torchvision.datasets.CIFAR10(str(real), train=training, download=False)
        assert np.array_equal(ours.images.numpy(), theirs.data)
        assert ours.labels.tolist() == theirs.targets
        assert list(ours.classes) == theirs.classes
