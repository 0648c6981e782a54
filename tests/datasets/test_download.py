"""Fetching a file from mirrors that work, stall, drip, truncate, lie or refuse, and unpacking archives that cheat."""

import hashlib
import io
import logging
import os
import random
import socket
import sys
import tarfile
import time

import pooch
import pytest
from support.web import listing

from resnet_lesson.datasets import download
from resnet_lesson.datasets.download import Unusable, fetch, unpack
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


@pytest.mark.parametrize("behaviour", ["good", "mislabelled", "unmeasured", "moved"])
def test_the_first_mirror_that_works_is_the_only_one_asked(server, tmp_path, capfd, monkeypatch, behaviour):
    monkeypatch.setattr(pooch.get_logger(), "level", logging.INFO)
    monkeypatch.setattr(pooch.get_logger().handlers[0], "stream", sys.stderr)
    get(server, [behaviour, "whole"], tmp_path / NAME)
    assert "whole" not in asked(server)
    assert (tmp_path / NAME).read_bytes() == CONTENT and listing(tmp_path) == [NAME]
    out, err = capfd.readouterr()
    assert out == "" and server.host in err and "B/s" in err  # the bar
    assert str(tmp_path) not in err  # nothing of this machine gets into a notebook


BAD = {
    "silent": "stalled, nothing arrived for 0.5 s",
    "stalls": "stalled, nothing arrived for 0.5 s",
    "drips": "slow, 2 kB/s over 0 s (under 100)",
    "truncates": "broke off before the end of the file",
    "lies": "sent something else than the published file (wrong checksum)",
    "page": "sent a web page instead of the file (a login page?)",
    "missing": "answered 404 Not Found",
    "hangs": "no connection",
}


@pytest.mark.parametrize("behaviour", BAD)
def test_a_bad_mirror_is_left_for_the_next_with_a_line_that_says_why(server, tmp_path, capsys, behaviour):
    start = time.monotonic()
    get(server, [behaviour, "good"], tmp_path / NAME)
    assert time.monotonic() - start < 3
    assert asked(server) == [behaviour, "good"]
    assert (tmp_path / NAME).read_bytes() == CONTENT and listing(tmp_path) == [NAME]
    assert capsys.readouterr().out == f"{server.host}: {BAD[behaviour]}.\n"


def test_where_no_mirror_delivers_nothing_changes(server, refusing, tmp_path, capsys, monkeypatch):
    def no_such_host(host, *args, lookup=socket.getaddrinfo, **kwargs):
        if host == "mirror.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    (tmp_path / NAME).write_bytes(b"half a file of somebody else")
    with pytest.raises(LessonError) as caught:
        get(server, [refusing, "http://user:secret@mirror.example/x", "://nonsense", "lies"], tmp_path / NAME)
    assert str(caught.value) == f"{NAME} could not be downloaded, for the reasons above. Do this."
    assert (tmp_path / NAME).read_bytes() == b"half a file of somebody else" and listing(tmp_path) == [NAME]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"{refusing.removeprefix('http://')}: no connection.", "mirror.example: no connection."]
    assert len(lines) == 4 and "nonsense: No connection adapters" in lines[2] and "wrong checksum" in lines[3]


def test_where_all_are_slow_the_fastest_may_take_its_time_and_then_the_next(server, tmp_path, capsys):
    get(server, ["slower", "missing", "slow", "tires"], tmp_path / NAME)
    assert asked(server) == ["slower", "missing", "slow", "tires", "tires", "slow"]
    assert (tmp_path / NAME).read_bytes() == CONTENT and listing(tmp_path) == [NAME]
    assert f"{server.host} is the fastest and may take its time" in capsys.readouterr().out


def test_a_file_that_is_there_is_used_if_right_and_replaced_if_wrong(server, tmp_path):
    (tmp_path / NAME).write_bytes(CONTENT)
    get(server, ["good"], tmp_path / NAME)
    assert asked(server) == []
    (tmp_path / NAME).write_bytes(CONTENT[:5000])
    get(server, ["good"], tmp_path / NAME)
    assert asked(server) == ["good"]
    assert (tmp_path / NAME).read_bytes() == CONTENT and listing(tmp_path) == [NAME]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_ctrl_c_and_a_full_disk_leave_nothing_and_no_other_mirror_is_asked(server, tmp_path, monkeypatch, error):
    class Interrupting(download.tqdm):
        def update(self, n=1):
            raise error

    monkeypatch.setattr(download, "tqdm", Interrupting)
    with pytest.raises(type(error)):
        get(server, ["good", "good"], tmp_path / NAME)
    assert asked(server) == ["good"] and listing(tmp_path) == []


# --- unpacking


def tar(path, members):
    """A tar of these: name to content, or to the type and target of what is no file."""
    with tarfile.open(path, "w") as out:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                info.type, info.linkname = content
            else:
                info.size = len(content)
            out.addfile(info, None if isinstance(content, tuple) else io.BytesIO(content))
    return path


def no_evil(path):
    """A check for `unpack`."""
    if not path.is_file() or b"evil" in path.read_bytes():
        raise Unusable("is evil")


def test_an_archive_puts_files_only_where_they_belong(tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    members = [
        ("set", (tarfile.SYMTYPE, str(outside))),  # first the folder itself becomes a link to the outside ...
        ("set/a", (tarfile.SYMTYPE, str(outside / "a"))),  # ... then a file a link to what is elsewhere
        ("set/a", (tarfile.LNKTYPE, "../../outside/a")),
        ("set/a", (tarfile.CHRTYPE, "")),
        ("set/b", b"right"),
        ("set/c", b"evil"),
        ("../outside/b", b"outside"),
        ("set/../../outside/b", b"outside"),
        (str(outside / "b"), b"outside"),
        ("set/stranger", b"not asked for"),
        ("b", b"not where it belongs"),
    ]
    home = {f"set/{name}": root / "set" / name for name in "abc"}.get
    assert unpack(tar(tmp_path / "x.tar", members), home, no_evil) == (["set/b"], ["set/c is evil"])
    assert listing(tmp_path) == ["outside", "root", "root/set", "root/set/b", "x.tar"]
    assert (root / "set" / "b").read_bytes() == b"right"


@pytest.mark.parametrize("there, after", [(b"old", b"right"), (b"evil and long", b"right"), (b"right, and more", None)])
def test_what_is_right_and_not_smaller_stays(tmp_path, there, after):
    place = tmp_path / "a"
    place.write_bytes(there)
    os.utime(place, (1, 1))
    unpack(tar(tmp_path / "x.tar", [("a", b"right")]), {"a": place}.get, no_evil)
    assert place.read_bytes() == (after or there) and (place.stat().st_mtime == 1) == (after is None)
