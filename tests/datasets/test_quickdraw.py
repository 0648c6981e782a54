"""QuickDraw: the first drawings of a class and no more, from servers that know ranges or not, fail, cut or lie."""

import io
import pickle
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from support.commands import call
from support.hostile import Hostile
from support.paths import REPO
from support.web import listing

from resnet_lesson import LessonError, quickdraw
from resnet_lesson.datasets import quickdraw as module
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
        monkeypatch.setattr(module, "URL", f"{server.url}/{behaviour}")

    serve("good", **{name: npy(drawings(name)) for name in STUDY})
    return serve


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


def test_the_study_is_one_request_of_392_kb_per_class_and_is_kept(serve, server, tmp_path):
    assert_right(quickdraw(root=tmp_path), STUDY, 500)
    assert server.asked == [("good", f"{name}.npy", f"bytes=0-{FULL - 1}") for name in STUDY]
    assert listing(tmp_path) == sorted(["quickdraw", *(f"quickdraw/{name}.npy" for name in STUDY)])
    assert np.array_equal(np.load(tmp_path / "quickdraw" / "spoon.npy"), drawings("spoon")[:500])
    assert_right(quickdraw(["spoon", "apple"], 20, str(tmp_path)), ["spoon", "apple"], 20)
    assert len(server.asked) == len(STUDY), "nothing is asked for twice"


@pytest.mark.parametrize("header", [80, 96, 128])
@pytest.mark.parametrize("behaviour", ["good", "whole"])
def test_headers_as_numpy_has_written_them_and_servers_without_ranges(serve, tmp_path, header, behaviour):
    serve(behaviour, apple=npy(drawings("apple"), header))
    assert_right(quickdraw(["apple"], 500, tmp_path), ["apple"], 500)


@pytest.mark.parametrize("behaviour, why", [("missing", "answered 404"), ("truncates", "does not")])
def test_a_bad_server_ends_in_one_line_and_leaves_what_is_whole(serve, server, tmp_path, behaviour, why):
    quickdraw(["spoon"], 700, tmp_path)
    serve(behaviour)
    with pytest.raises(LessonError) as caught:
        quickdraw(["spoon", "apple", "panda"], 700, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"QuickDraw's apple.npy could not be fetched ({server.host}: {why}")
    assert "or use doodles10()" in message and "\n" not in message
    assert listing(tmp_path) == ["quickdraw", "quickdraw/spoon.npy"]


GOOD = drawings("apple")
BAD_FILES = {
    "no Python": npy(GOOD).replace(b"False", b"F(l)["),
    "a pickle": pickle.dumps(Hostile()),
    "objects": npy(np.array([Hostile()] * 700), allow_pickle=True),
    "columns": npy(np.asfortranarray(GOOD)),
    "cut": npy(GOOD)[:200_000],
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_what_is_not_the_drawings_is_neither_kept_from_a_server_nor_taken_from_the_folder(serve, tmp_path, kind):
    folder = put(tmp_path, apple=BAD_FILES[kind])
    serve("good", apple=BAD_FILES[kind])
    with pytest.raises(LessonError, match="does not contain 500 drawings"):
        quickdraw(["apple"], 500, tmp_path)
    assert (folder / "apple.npy").read_bytes() == BAD_FILES[kind]
    serve("good", apple=npy(GOOD))
    assert_right(quickdraw(["apple"], 500, tmp_path), ["apple"], 500)
    assert np.array_equal(np.load(folder / "apple.npy"), GOOD[:500]) and listing(folder) == ["apple.npy"]


def test_a_whole_published_file_is_used_as_it_is_also_offline(refusing, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "URL", refusing)
    folder = put(tmp_path, apple=npy(drawings("apple"), 80))
    assert_right(quickdraw(["apple"], 20, tmp_path), ["apple"], 20)
    assert (folder / "apple.npy").read_bytes() == npy(drawings("apple"), 80)


def test_on_a_full_disk_the_file_in_place_is_never_half_written(serve, tmp_path, monkeypatch):
    folder = put(tmp_path, apple=npy(drawings("apple", 100)))

    def half(path, array):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", half)
    with pytest.raises(LessonError, match=r"Cannot write to .* \(.*No space left on device.*\): free some space"):
        quickdraw(["apple"], 500, tmp_path)
    assert np.load(folder / "apple.npy").shape == (100, 784) and listing(folder) == ["apple.npy"]


def test_the_345_published_classes_are_known():
    assert len(set(names())) == 345 and {*STUDY, "The Mona Lisa", "t-shirt", "zigzag"} < set(names())
    assert not any(re.search(r"[/\\.#?%]|^\s|\s$", name) for name in names()), "each is a file's name and an address"
    packages = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert packages["resnet_lesson.datasets"] == ["*.txt"], "the list is installed with the package"


def test_a_class_that_does_not_exist_is_refused_before_anything_is_asked(serve, server, tmp_path):
    with pytest.raises(ValueError, match=r"no QuickDraw class 'wine-bottle'\. Did you mean 'wine bottle'.* are 345\."):
        quickdraw(["apple", "wine-bottle"], 500, tmp_path)
    assert server.asked == [] and listing(tmp_path) == []


@pytest.mark.parametrize("classes, per_class", [(["apple"], 0), (["apple"], -1), ([], 5)])
def test_nothing_is_no_data_set(serve, server, tmp_path, classes, per_class):
    with pytest.raises(ValueError, match="at least 1 class and 1 drawing of each"):
        quickdraw(classes, per_class, tmp_path)
    assert server.asked == [] and listing(tmp_path) == []


def test_data_quickdraw_puts_classes_in_place_or_says_what_is_wrong(serve, refusing, monkeypatch, tmp_path, capsys):
    words = ["data", "--quickdraw", "wine bottle, panda", "--per-class", "600", "--root", str(tmp_path)]
    status, out, _ = call(capsys, *words)
    assert status == 0 and out == f"QuickDraw is in {tmp_path}: 600 drawings of each of wine bottle, panda.\n"
    assert np.load(tmp_path / "quickdraw" / "wine bottle.npy").shape == (600, 784)
    monkeypatch.setattr(module, "URL", refusing)
    assert call(capsys, *words)[0] == 0, "what is there is taken"
    status, out, error = call(capsys, "data", "--quickdraw", "--root", str(tmp_path))
    assert status == 2 and "no connection" in error and out == "" and "Traceback" not in error
