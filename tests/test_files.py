"""Whole files, and folders to prepare in."""

import os
from contextlib import nullcontext

import pytest
from support.web import listing

from resnet_lesson import files
from resnet_lesson.files import private_folder, replace_file


def test_a_private_folder_is_ones_own_beside_its_place_and_gone_afterwards(tmp_path):
    with private_folder(tmp_path / "new" / "data") as one, private_folder(tmp_path / "new" / "data") as other:
        assert one != other and one.parent == other.parent == tmp_path / "new"
        (one / "half").write_bytes(b"half")
    with pytest.raises(KeyboardInterrupt), private_folder(tmp_path / "new" / "data") as one:
        (one / "half").write_bytes(b"half")
        raise KeyboardInterrupt
    assert listing(tmp_path) == ["new"]


def test_a_write_that_fails_midway_leaves_the_old_file(tmp_path):
    path = tmp_path / "folder" / "file"
    replace_file(path, lambda file: file.write(b"old and whole"))

    def fails(file):
        file.write(b"new and ha")
        assert path.read_bytes() == b"old and whole"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_file(path, fails)
    assert path.read_bytes() == b"old and whole"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("system, times, replaced", [("nt", 3, True), ("nt", 99, False), ("posix", 1, False)])
def test_on_windows_a_reader_of_the_old_file_is_waited_for(tmp_path, monkeypatch, system, times, replaced):
    path, refused, replace = tmp_path / "file", [], os.replace
    path.write_bytes(b"old")

    def busy(*files):
        monkeypatch.setattr(os, "name", system)
        refused.append(1)
        if len(refused) <= times:
            raise PermissionError
        replace(*files)

    monkeypatch.setattr(os, "replace", busy)
    monkeypatch.setattr(files.time, "sleep", lambda seconds: None)
    with nullcontext() if replaced else pytest.raises(PermissionError):
        replace_file(path, lambda file: file.write(b"new"))
    monkeypatch.undo()
    assert path.read_bytes() == (b"new" if replaced else b"old")
