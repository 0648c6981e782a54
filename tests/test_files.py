"""Folders to prepare in."""

import pytest
from support.web import listing

from resnet_lesson.files import private_folder


def test_a_private_folder_is_ones_own_beside_its_place_and_gone_afterwards(tmp_path):
    with private_folder(tmp_path / "new" / "data") as one, private_folder(tmp_path / "new" / "data") as other:
        assert one != other and one.parent == other.parent == tmp_path / "new"
        (one / "half").write_bytes(b"half")
    with pytest.raises(KeyboardInterrupt), private_folder(tmp_path / "new" / "data") as one:
        (one / "half").write_bytes(b"half")
        raise KeyboardInterrupt
    assert listing(tmp_path) == ["new"]
