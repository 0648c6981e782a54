"""Folders to prepare in."""

import os
import time

import pytest
from support.web import listing

from resnet_lesson import files
from resnet_lesson.files import private_folder


def test_a_private_folder_is_ones_own_beside_its_place_and_gone_afterwards(tmp_path):
    with private_folder(tmp_path / "new" / "data") as one, private_folder(tmp_path / "new" / "data") as other:
        assert one != other and one.parent == other.parent == tmp_path / "new"
        (one / "half").write_bytes(b"half")
    with pytest.raises(KeyboardInterrupt), private_folder(tmp_path / "new" / "data") as one:
        (one / "half").write_bytes(b"half")
        raise KeyboardInterrupt
    assert listing(tmp_path) == ["new"]


def test_what_a_killed_process_left_goes_when_it_is_old(tmp_path):
    names = ["data.1.partial", "data.2.partial", "other.1.partial"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_bytes(b"half")
    for name in names[1:]:
        old = time.time() - 2 * files.ABANDONED
        os.utime(tmp_path / name, (old, old))
    with private_folder(tmp_path / "data"):
        pass
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["data.1.partial", "other.1.partial"]
