"""A class set: packed once, unpacked by thirty, from a file or a server."""

import hashlib
import tarfile

import pytest
from support.commands import call

from resnet_lesson.datasets.class_set import bundle, unbundle
from resnet_lesson.errors import LessonError

FILES = {
    "cifar-10-batches-py/test_batch": b"images",
    "quickdraw/The Mona Lisa.npy": b"drawings",
    "quickdraw/apple.npy": b"more",
}


@pytest.fixture
def root(tmp_path):
    """A teacher's data, with something private beside it."""
    folder = tmp_path / "teacher"
    for name, content in {**FILES, "quickdraw/notes.txt": b"mine", "my-runs/run.json": b"{}"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_set_holds_the_courses_data_and_nothing_of_its_owner(root, tmp_path):
    digest, members = bundle(tmp_path / "class.tar", root)
    assert sorted(members) == sorted(FILES)
    assert digest == hashlib.sha256((tmp_path / "class.tar").read_bytes()).hexdigest()
    with tarfile.open(tmp_path / "class.tar") as tar:
        assert {(one.uname, one.uid, one.mtime) for one in tar} == {("", 0, 0)}
    assert bundle(tmp_path / "again.tar", root)[0] == digest


def test_what_was_packed_is_unpacked_elsewhere(root, tmp_path, capsys):
    status, out, _ = call(capsys, "data", "--bundle", str(tmp_path / "class 7b.tar"), "--root", str(root))
    digest = hashlib.sha256((tmp_path / "class 7b.tar").read_bytes()).hexdigest()
    assert status == 0 and 'data --from "class 7b.tar"' in out and f"class 7b.tar#sha256={digest}" in out
    student = tmp_path / "student"
    status, out, _ = call(capsys, "data", "--from", str(tmp_path / "class 7b.tar"), "--root", str(student))
    assert status == 0 and out.startswith("In place: 3 files, cifar-10-batches-py, quickdraw.")
    assert files(student) == FILES


@pytest.mark.parametrize("damage", [lambda content: content[:700], lambda content: b"no tar at all" * 99])
def test_what_is_damaged_is_said_to_be(damage, root, tmp_path):
    file = tmp_path / "class.tar"
    bundle(file, root)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(LessonError, match="is not a class set, or is incomplete: copy it again.$"):
        unbundle(str(file), tmp_path / "student")


def test_nothing_to_pack_nothing_to_unpack_no_such_file_and_no_place(root, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LessonError, match="nothing to pack"):
        bundle(tmp_path / "other.tar", tmp_path / "empty")
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(root / "my-runs")
    with pytest.raises(LessonError, match="contains none of the course"):
        unbundle(str(tmp_path / "other.tar"), tmp_path / "empty")
    with pytest.raises(LessonError, match="There is no file"):
        unbundle(str(tmp_path / "missing.tar"), tmp_path)
    with pytest.raises(LessonError, match="Cannot write to"):
        bundle(root / "quickdraw" / "apple.npy" / "class.tar", root)


def test_from_a_server_by_checksum(root, tmp_path, server):
    digest, _ = bundle(tmp_path / "class.tar", root)
    server.files["class.tar"] = (tmp_path / "class.tar").read_bytes()
    address, student = f"{server.url}/good/class.tar", tmp_path / "student"
    for wrong in (address, f"{address}#sha256={'0' * 64}"):
        with pytest.raises(LessonError, match="#sha256=.*USB stick"):
            unbundle(wrong, student)
    assert files(student) == {}
    unbundle(f"{address}#sha256={digest}", student)
    assert files(student) == FILES
