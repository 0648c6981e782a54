"""A class set: packed once, unpacked by thirty, from a file or a server, and nothing in it leads out of its folders."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
import torch
from support.commands import call

from resnet_lesson.datasets.class_set import bundle, unbundle
from resnet_lesson.errors import LessonError

APPLE, CAT = "quickdraw/apple.npy", "quickdraw/cat.npy"
WEIGHTS = f"resnet34-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth"


def drawings(n, seed=0):
    file = io.BytesIO()
    np.save(file, np.random.default_rng(seed).integers(0, 256, (n, 784), np.uint8))
    return file.getvalue()


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """torch's weights: one file whose name holds its checksum, as torchvision's do, and strange ones."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(b"weights")
    (folder / "resnet18-00000000.pth").write_bytes(b"not what its name says")
    (folder / "private.txt").write_text("a secret")
    return folder


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "teacher"
    (folder / "quickdraw").mkdir(parents=True)
    (folder / APPLE).write_bytes(drawings(3))
    (folder / CAT).write_bytes(drawings(2, 1))
    (folder / "quickdraw" / "eye.npy").write_bytes(b"broken")
    (folder / "quickdraw" / "notes.txt").write_text("mine")
    return folder


def pack(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return str(path)


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_set_holds_what_is_whole_and_nothing_else(root, tmp_path):
    digest, members = bundle(tmp_path / "class.tar", root)
    assert members == [APPLE, CAT, f"checkpoints/{WEIGHTS}"]
    assert digest == hashlib.sha256((tmp_path / "class.tar").read_bytes()).hexdigest()
    with tarfile.open(tmp_path / "class.tar") as tar:
        assert {(one.uname, one.uid, one.mtime) for one in tar} == {("", 0, 0)}  # whose it is stays at home
    assert bundle(tmp_path / "again.tar", root)[0] == digest


def test_what_was_packed_is_unpacked_elsewhere(root, tmp_path, hub, capsys):
    status, out, _ = call(capsys, "data", "--bundle", str(tmp_path / "class.tar"), "--root", str(root))
    digest = hashlib.sha256((tmp_path / "class.tar").read_bytes()).hexdigest()
    assert status == 0 and "data --from class.tar" in out and f"class.tar#sha256={digest}" in out
    (hub / WEIGHTS).unlink()
    student = tmp_path / "student"
    status, out, _ = call(capsys, "data", "--from", str(tmp_path / "class.tar"), "--root", str(student))
    assert status == 0 and out == "In place and checked: 3 files, checkpoints, quickdraw.\n"
    assert files(student) == {APPLE: drawings(3), CAT: drawings(2, 1)}
    assert (hub / WEIGHTS).read_bytes() == b"weights"


def test_more_drawings_and_whole_files_stay_damaged_ones_are_replaced(root, tmp_path):
    bundle(tmp_path / "class.tar", root)
    student = tmp_path / "student"
    (student / "quickdraw").mkdir(parents=True)
    (student / APPLE).write_bytes(drawings(9, 7))
    (student / CAT).write_bytes(b"broken, and longer than what is in the set" * 100)
    unbundle(str(tmp_path / "class.tar"), student)
    assert files(student) == {APPLE: drawings(9, 7), CAT: drawings(2, 1)}


HOSTILE = {
    "a class that does not exist": {"quickdraw/outside.npy": drawings(1)},
    "a program": {"checkpoints/sitecustomize.py": b"print('mine')"},
    "a pickle as drawings": {APPLE: b"\x80\x04cos\nsystem\n(S'touch outside'\ntR."},
    "weights that are not what their name says": {"checkpoints/resnet50-12345678.pth": b"\x80\x04."},
    "CIFAR-10 with code in it": {"cifar-10-batches-py/test_batch": b"cos\nsystem\n(S'touch outside'\ntR."},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_set_changes_nothing(kind, tmp_path, hub):
    source, home = pack(tmp_path / "class.tar", HOSTILE[kind]), tmp_path / "a" / "b"
    before = files(hub)
    with pytest.raises(LessonError, match="damaged"):
        unbundle(source, home)
    assert files(home) == {} and files(hub) == before
    assert not list(tmp_path.rglob("*outside*"))


def test_one_damaged_member_is_named_and_the_others_are_placed(tmp_path):
    source = pack(tmp_path / "class.tar", {APPLE: b"broken", CAT: drawings(2)})
    with pytest.raises(LessonError, match="apple.npy is no .npy file"):
        unbundle(source, tmp_path / "student")
    assert files(tmp_path / "student") == {CAT: drawings(2)}


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 99, None])
def test_what_is_no_set_is_said_to_be_none(content, root, tmp_path):
    file = tmp_path / "class.tar"
    bundle(file, root)
    file.write_bytes(file.read_bytes()[:700] if content is None else content)  # None: cut off
    with pytest.raises(LessonError, match="cut off|damaged"):
        unbundle(str(file), tmp_path / "student")


def test_nothing_to_pack_no_such_file_and_no_place(root, tmp_path, hub):
    with pytest.raises(LessonError, match="cannot be written .*: choose another place"):
        bundle(root / APPLE / "class.tar", root)
    bundle(tmp_path / "class.tar", root)
    with pytest.raises(LessonError, match="cannot be unpacked to .*: free some room"):
        unbundle(str(tmp_path / "class.tar"), root / APPLE)
    for path in hub.iterdir():
        path.unlink()
    with pytest.raises(LessonError, match="nothing to pack"):
        bundle(tmp_path / "other.tar", tmp_path)
    assert not (tmp_path / "other.tar").exists()
    with pytest.raises(LessonError, match="no file"):
        unbundle(str(tmp_path / "other.tar"), tmp_path)


def test_from_a_server_by_checksum(root, tmp_path, server):
    digest, _ = bundle(tmp_path / "class.tar", root)
    server.files["class.tar"] = (tmp_path / "class.tar").read_bytes()
    address, student = f"{server.url}/good/class.tar", tmp_path / "student"
    with pytest.raises(LessonError, match="needs the set's checksum"):
        unbundle(address, student)
    with pytest.raises(LessonError, match="USB stick"):
        unbundle(f"{address}#sha256={'0' * 64}", student)
    assert files(student) == {}
    unbundle(f"{address}#sha256={digest}", student)
    assert files(student) == {APPLE: drawings(3), CAT: drawings(2, 1)}
