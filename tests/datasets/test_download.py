"""Fetching a file from mirrors that work, stall, drip, truncate, lie or refuse, and unpacking archives that cheat."""

import hashlib
import io
import random
import tarfile

import pytest
from support.web import listing

from resnet_lesson.datasets import download
from resnet_lesson.datasets.download import fetch, unpack
from resnet_lesson.errors import LessonError

NAME = "file.tar.gz"
CONTENT = random.Random(0).randbytes(40_000)


@pytest.fixture(autouse=True)
def content(server):
    server.files[NAME] = CONTENT


def get(server, behaviours, path):
    mirrors = [one if "://" in one else f"{server.url}/{one}/{NAME}" for one in behaviours]
    fetch(mirrors, f"md5:{hashlib.md5(CONTENT).hexdigest()}", path, otherwise="Do this.")


def asked(server):
    return [behaviour for behaviour, *_ in server.asked]


@pytest.mark.parametrize("behaviour", ["good", "mislabelled"])
def test_the_first_mirror_that_works_is_the_only_one_asked(server, tmp_path, capfd, behaviour):
    get(server, [behaviour, "whole"], tmp_path / NAME)
    assert asked(server) == [behaviour]
    assert (tmp_path / NAME).read_bytes() == CONTENT and listing(tmp_path) == [NAME]
    out, err = capfd.readouterr()
    assert out == "" and server.host in err and "B/s" in err  # the bar
    assert str(tmp_path) not in err  # nothing of this machine gets into a notebook


@pytest.mark.parametrize(
    "behaviour, why",
    [
        ("stalls", "stalled"),
        ("slow", "slow, "),
        ("truncates", "broke off before the end of the file"),
        ("lies", "sent something other than the published file"),
        ("missing", "answered 404 Not Found"),
    ],
)
def test_a_bad_mirror_is_left_for_the_next_with_a_line_that_says_why(server, tmp_path, capsys, behaviour, why):
    get(server, [behaviour, "good"], tmp_path / NAME)
    assert asked(server) == [behaviour, "good"]
    assert (tmp_path / NAME).read_bytes() == CONTENT and listing(tmp_path) == [NAME]
    said = capsys.readouterr().out
    assert said.startswith(f"{server.host}: ") and why in said and said.count("\n") == 1


def test_the_last_mirror_may_be_slow(server, tmp_path):
    get(server, ["missing", "slow"], tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_where_no_mirror_delivers_nothing_changes(server, refusing, tmp_path, capsys):
    (tmp_path / NAME).write_bytes(b"half a file of somebody else")
    secret = refusing.replace("//", "//user:secret@")
    with pytest.raises(LessonError, match=f"{NAME} could not be downloaded, for the reasons above. Do this."):
        get(server, [secret, "://nonsense", "lies"], tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == b"half a file of somebody else" and listing(tmp_path) == [NAME]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0] == f"{refusing.removeprefix('http://')}: no connection."


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_ctrl_c_and_a_full_disk_leave_nothing_and_no_other_mirror_is_asked(server, tmp_path, monkeypatch, error):
    class Interrupting(download.tqdm):
        def update(self, n=1):
            raise error

    monkeypatch.setattr(download, "tqdm", Interrupting)
    with pytest.raises(type(error)):
        get(server, ["good", "good"], tmp_path / NAME)
    assert asked(server) == ["good"] and listing(tmp_path) == []


def test_an_archive_puts_files_only_where_they_belong(tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    members = [
        ("set", (tarfile.SYMTYPE, str(outside))),  # first the folder itself becomes a link to the outside ...
        ("set/a", (tarfile.SYMTYPE, str(outside / "a"))),  # ... then a file a link to what is elsewhere
        ("set/a", (tarfile.LNKTYPE, "../../outside/a")),
        ("set/a", (tarfile.CHRTYPE, "")),
        ("set/b", b"right"),
        ("set/../../outside/b", b"outside"),
        (str(outside / "b"), b"outside"),
        ("set/stranger", b"not asked for"),
    ]
    with tarfile.open(tmp_path / "x.tar", "w") as out:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                info.type, info.linkname = content
            else:
                info.size = len(content)
            out.addfile(info, None if isinstance(content, tuple) else io.BytesIO(content))
    assert unpack(tmp_path / "x.tar", {f"set/{name}": root / "set" / name for name in "abc"}) == ["set/b"]
    assert listing(tmp_path) == ["outside", "root", "root/set", "root/set/b", "x.tar"]
    assert (root / "set" / "b").read_bytes() == b"right"
