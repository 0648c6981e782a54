"""QuickDraw: the first drawings of a class and no more, from servers that know ranges or not, fail, cut or lie."""

import fnmatch
import io
import pickle
import re
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from support.commands import call
from support.paths import REPO
from support.web import listing

from resnet_lesson import LessonError, quickdraw
from resnet_lesson.datasets.quickdraw import STUDY, names

FULL = 392_128  # bytes: a header of 128 and 500 drawings


def drawings(name, n=700):
    """Noise in the published layout, other noise for each class."""
    return np.random.RandomState(names().index(name)).randint(0, 256, (n, 784)).astype(np.uint8)


def npy(array, header=None, **options):
    """The array as a .npy; with `header`, one of that many bytes, as older versions of numpy wrote it."""
    out = io.BytesIO()
    np.save(out, array, **options)
    if header is None:
        return out.getvalue()
    text = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}".ljust(header - 11)
    return b"\x93NUMPY\x01\x00" + (header - 10).to_bytes(2, "little") + text.encode() + b"\n" + array.tobytes()


@pytest.fixture
def serve(server, monkeypatch):
    """Let the server behave in some way, with other files than the noise if given."""

    def serve(behaviour, **files):
        server.files.update({f"{name}.npy": content for name, content in files.items()})
        monkeypatch.setenv("RESNET_LESSON_QUICKDRAW_URL", f"{server.url}/{behaviour}/")

    serve("good", **{name: npy(drawings(name)) for name in STUDY})
    return serve


@pytest.fixture
def offline(refusing, monkeypatch):
    monkeypatch.setenv("RESNET_LESSON_QUICKDRAW_URL", refusing)


def put(root, **contents):
    folder = root / "quickdraw"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.npy").write_bytes(content)
    return folder


def assert_right(data, classes, n):
    assert data.images.shape == (len(classes) * n, 28, 28, 1) and data.images.dtype == torch.uint8
    assert (data.name, data.classes) == ("quickdraw", tuple(classes))
    assert data.labels.tolist() == [k for k in range(len(classes)) for _ in range(n)]
    for k, name in enumerate(classes):
        assert np.array_equal(data.images[data.labels == k].numpy().reshape(n, 784), drawings(name)[:n])


# --- what is fetched


def test_the_study_is_one_request_of_392_kb_per_class_and_is_kept(serve, server, tmp_path, capfd):
    assert_right(quickdraw(root=tmp_path), STUDY, 500)
    assert server.asked == [("good", f"{name}.npy", f"bytes=0-{FULL - 1}") for name in STUDY]
    assert listing(tmp_path) == sorted(["quickdraw", *(f"quickdraw/{name}.npy" for name in STUDY)])
    for name in STUDY:
        kept = tmp_path / "quickdraw" / f"{name}.npy"
        assert np.array_equal(np.load(kept), drawings(name)[:500]) and kept.stat().st_size == FULL
    out, err = capfd.readouterr()
    assert out == "" and "10/10" in err

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert_right(quickdraw(root=str(tmp_path)), STUDY, 500)
    assert_right(quickdraw(["spoon", "apple"], 20, tmp_path), ["spoon", "apple"], 20)
    assert len(server.asked) == len(STUDY), "nothing is asked for twice"
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert capfd.readouterr() == ("", ""), "no bar"


def test_the_default_folder_is_data_and_the_default_address_googles(monkeypatch, tmp_path):
    def send(self, request, **options):
        assert request.url.startswith("https://storage.googleapis.com/quickdraw_dataset/full/numpy_bitmap/The%20Eiffel")
        raise requests.ConnectionError

    monkeypatch.setattr(requests.Session, "send", send)
    monkeypatch.setenv("RESNET_LESSON_QUICKDRAW_URL", "")
    with pytest.raises(LessonError, match=r"storage\.googleapis\.com: no connection\. In data.quickdraw it is missing"):
        quickdraw(["The Eiffel Tower"])


@pytest.mark.parametrize("header", [80, 96, 128])
@pytest.mark.parametrize("behaviour", ["good", "whole", "unmeasured"])
@pytest.mark.parametrize("n", [500, 700])
def test_headers_as_numpy_has_written_them_and_servers_without_ranges(serve, tmp_path, header, behaviour, n):
    serve(behaviour, apple=npy(drawings("apple"), header))
    assert_right(quickdraw(["apple"], n, tmp_path), ["apple"], n)


def test_a_server_without_ranges_is_cut_off_early(serve, server, tmp_path):
    serve("endless")
    assert_right(quickdraw(["apple"], 500, tmp_path), ["apple"], 500)
    assert server.left.wait(10)


# --- failures


class Hostile:
    """Whoever unpickles this fails the test."""

    def __reduce__(self):
        return pytest.fail, ("this was unpickled",)


SERVERS = {
    "page": "sent a web page instead of the file (a login page?)",
    "missing": "answered 404 Not Found",
    "lies": "is no .npy file of drawings",
    "truncates": "breaks off before the last drawing asked for",
    "stalls": "stalled, nothing arrived for 0.5 s",
    "silent": "stalled, nothing arrived for 0.5 s",
    "hangs": "no connection",
}


@pytest.mark.parametrize("behaviour", SERVERS)
def test_a_bad_server_ends_in_one_line_and_leaves_what_is_whole(serve, server, tmp_path, behaviour):
    quickdraw(["spoon"], 700, tmp_path)
    serve(behaviour)
    start = time.monotonic()
    with pytest.raises(LessonError) as caught:
        quickdraw(["spoon", "apple", "panda"], 700, tmp_path)
    assert time.monotonic() - start < 3
    assert str(caught.value) == (
        f"QuickDraw's apple.npy could not be fetched: {server.host}: {SERVERS[behaviour]}. In {tmp_path / 'quickdraw'} "
        f"it is missing. Copy such files there from somebody who has them (a USB stick will do), run this again when "
        f"online, or use doodles10(), generated drawings that need no download."
    )
    assert listing(tmp_path) == ["quickdraw", "quickdraw/spoon.npy"]


GOOD = drawings("apple")
BAD_FILES = {
    "empty": (b"", "is no .npy file of drawings"),
    "text": (b"This is no drawing. " * 50_000, "is no .npy file of drawings"),
    "no header": (npy(GOOD).replace(b"'shape'", b"'shope'"), "is no .npy file of drawings"),
    "no Python": (npy(GOOD).replace(b"False", b"F(l)["), "is no .npy file of drawings"),
    "a pickle": (pickle.dumps(Hostile()), "is no .npy file of drawings"),
    "objects": (npy(np.array([Hostile()] * 700), allow_pickle=True), "holds object (700,), not uint8 (drawings, 784)"),
    "floats": (npy(GOOD.astype(np.float32)), "holds float32 (700, 784), not uint8"),
    "columns": (npy(np.asfortranarray(GOOD)), "holds uint8 (700, 784) by columns, not uint8"),
    "narrow": (npy(GOOD[:, :783].copy()), "holds uint8 (700, 783), not uint8"),
    "fewer": (npy(GOOD[:499]), "holds 499 drawings, not 500"),
    "cut": (npy(GOOD)[:200_000], "breaks off before the last drawing asked for"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_what_is_not_the_drawings_is_neither_kept_from_a_server_nor_taken_from_the_folder(
    serve, server, refusing, tmp_path, monkeypatch, kind
):
    content, why = BAD_FILES[kind]
    serve("good", apple=content)
    with pytest.raises(LessonError, match=re.escape(f"could not be fetched: {server.host}: {why}")):
        quickdraw(["apple"], 500, tmp_path)
    assert listing(tmp_path) == []

    folder = put(tmp_path, apple=content, spoon=npy(drawings("spoon")))
    monkeypatch.setenv("RESNET_LESSON_QUICKDRAW_URL", refusing)  # offline it stays, ...
    with pytest.raises(LessonError, match=f"no connection. In .* it {re.escape(why)}"):
        quickdraw(["apple", "spoon"], 500, tmp_path)
    assert (folder / "apple.npy").read_bytes() == content
    serve("good", apple=npy(GOOD))  # ... and online it is fetched again
    assert_right(quickdraw(["apple", "spoon"], 500, tmp_path), ["apple", "spoon"], 500)
    assert np.array_equal(np.load(folder / "apple.npy"), GOOD[:500]) and listing(folder) == ["apple.npy", "spoon.npy"]


def test_a_failure_in_the_middle_keeps_the_classes_before(serve, server, tmp_path):
    panda = server.files.pop("panda.npy")
    server.files["panda.npy"] = b"not yet"
    with pytest.raises(LessonError, match=r"^QuickDraw's panda\.npy could not"):
        quickdraw(["apple", "panda", "spoon"], 500, tmp_path)
    assert listing(tmp_path) == ["quickdraw", "quickdraw/apple.npy"]
    serve("good", panda=panda)
    assert_right(quickdraw(["apple", "panda", "spoon"], 500, tmp_path), ["apple", "panda", "spoon"], 500)
    assert [name for _, name, _ in server.asked] == ["apple.npy", "panda.npy", "panda.npy", "spoon.npy"]


@pytest.mark.parametrize("address", ["nonsense", "http://", "ftp://somewhere/x"])
def test_an_address_that_is_none_is_named(monkeypatch, tmp_path, address):
    monkeypatch.setenv("RESNET_LESSON_QUICKDRAW_URL", address)
    with pytest.raises(LessonError, match=r"^QuickDraw's apple\.npy could not be fetched: .*(URL|adapters)"):
        quickdraw(["apple"], 500, tmp_path)


def test_a_whole_published_file_is_used_as_it_is(offline, tmp_path):
    folder = put(tmp_path, apple=npy(drawings("apple"), 80))
    assert_right(quickdraw(["apple"], 20, tmp_path), ["apple"], 20)
    assert (folder / "apple.npy").read_bytes() == npy(drawings("apple"), 80)


# --- interruptions


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_the_file_in_place_is_never_half_written(serve, tmp_path, monkeypatch, error):
    folder = put(tmp_path, apple=npy(drawings("apple", 100)))

    def half(path, array):
        Path(path).write_bytes(b"half")
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(np, "save", half)
        with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else LessonError) as caught:
            quickdraw(["apple"], 500, tmp_path)
    assert isinstance(error, KeyboardInterrupt) or "(No space left on device): free 0.4 MB there" in str(caught.value)
    assert np.load(folder / "apple.npy").shape == (100, 784) and listing(folder) == ["apple.npy"]
    assert_right(quickdraw(["apple"], 500, tmp_path), ["apple"], 500)


def test_two_at_once_do_not_meet(serve, server, tmp_path):
    serve("together")
    with ThreadPoolExecutor(2) as pool:
        for data in pool.map(lambda n: quickdraw(["apple", "spoon"], n, tmp_path), (200, 300)):
            assert_right(data, ["apple", "spoon"], len(data) // 2)
    assert len(server.asked) == 4
    assert listing(tmp_path) == ["quickdraw", "quickdraw/apple.npy", "quickdraw/spoon.npy"]


def test_a_folder_that_cannot_be_is_said(serve, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(LessonError, match=r"cannot be written to .*file.*free 0\.4 MB there or name another folder"):
        quickdraw(["apple"], 500, tmp_path / "file")


# --- what is asked for


def test_the_345_published_classes_are_known_and_installed_with_the_package():
    assert len(names()) == len(set(names())) == 345
    assert set(STUDY) < set(names()) and {"The Mona Lisa", "t-shirt", "zigzag"} < set(names())
    assert not any(re.search(r"[/\\.#?%]|^\s|\s$", name) for name in names()), "each is a file's name and an address"
    data = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    (list_of_names,) = (REPO / "resnet_lesson" / "datasets").glob("*.txt")
    assert any(fnmatch.fnmatch(list_of_names.name, pattern) for pattern in data["resnet_lesson.datasets"])


@pytest.mark.parametrize(
    "classes, n, message",
    [
        ("apple", 500, r"^quickdraw takes a list of classes: quickdraw\(\['apple'\]\)\.$"),
        ([], 500, "1 drawing or more of 1 class or more, not 500 of 0"),
        (["apple"], 0, "1 drawing or more of 1 class or more, not 0 of 1"),
        (["apple", "spoon", "apple"], 500, "takes each class once; 'apple' is there twice"),
        (["wine-bottle"], 500, r"no QuickDraw class 'wine-bottle'\. Did you mean 'wine bottle'.* There are 345\."),
        (["../apple"], 500, r"no QuickDraw class '\.\./apple'"),
        (
            ["xyzzy"],
            500,
            r"'xyzzy'\. There are 345\. `from resnet_lesson\.datasets\.quickdraw import names; names\(\)`",
        ),
    ],
)
def test_wrong_wishes_are_refused_in_words_before_anything_is_asked(serve, server, tmp_path, classes, n, message):
    with pytest.raises(ValueError, match=message) as caught:
        quickdraw(classes, n, tmp_path)
    assert len(str(caught.value)) < 250
    assert server.asked == [] and listing(tmp_path) == []


# --- the command line


def test_data_quickdraw_puts_classes_in_place(serve, server, tmp_path, capsys):
    words = ["data", "--quickdraw", "--root", str(tmp_path)]
    status, out, _ = call(capsys, *words)
    assert status == 0 and out == f"QuickDraw is in {tmp_path}: 500 drawings of each of {', '.join(STUDY)}.\n"
    status, out, _ = call(capsys, *words, "--quickdraw", "wine bottle, panda", "--per-class", "600")
    assert status == 0 and out.endswith(": 600 drawings of each of wine bottle, panda.\n")
    assert np.load(tmp_path / "quickdraw" / "wine bottle.npy").shape == (600, 784)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--quickdraw", "aple"], "Did you mean 'apple'"),
        (["--quickdraw", "apple", "--per-class", "0"], "1 drawing or more"),
        (["--per-class", "20"], "--per-class belongs to --quickdraw"),
        (["--quickdraw"], "no connection"),
    ],
)
def test_data_says_in_one_line_what_is_wrong(offline, tmp_path, capsys, words, message):
    status, out, error = call(capsys, "data", *words, "--root", str(tmp_path))
    assert status == 2 and message in error and out == "" and "Traceback" not in error
