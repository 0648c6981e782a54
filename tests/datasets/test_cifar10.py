"""CIFAR-10: what is there is taken, what is missing or damaged is fetched, and nothing is unpickled unchecked."""

import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torchvision
from support.hostile import Hostile
from support.paths import REPO
from support.web import listing

from resnet_lesson.datasets import cifar10 as module
from resnet_lesson.datasets.cifar10 import cifar10
from resnet_lesson.errors import LessonError

NAME = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def small_batch(number):
    """A batch in the published layout, of 2 images instead of 10,000."""
    pixels = np.random.default_rng(number).integers(0, 256, (2, 3072), dtype=np.uint8)
    return pickle.dumps({b"data": pixels, b"labels": [number, number + 1]}, protocol=2)


SMALL = {**{name: small_batch(i) for i, name in enumerate(BATCHES)}, "batches.meta": pickle.dumps({b"label_names": []})}
WHOLE = sorted([FOLDER, *(f"{FOLDER}/{name}" for name in SMALL)])


def archive_of(contents):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(f"{FOLDER}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


ARCHIVE = archive_of(SMALL)


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.fixture(autouse=True)
def small(monkeypatch, server):
    """`cifar10` with the checksums of the small archive, and a server that has it."""
    monkeypatch.setattr(module, "CIFAR10_ARCHIVE_MD5", md5(ARCHIVE))
    monkeypatch.setattr(module, "CIFAR10_MD5", {name: md5(content) for name, content in SMALL.items()})
    server.files[NAME] = ARCHIVE


@pytest.fixture
def mirror(server):
    return f"{server.url}/good/{NAME}"


def put(root, **changed):
    """torchvision's layout under `root`, with some files changed."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**SMALL, **changed}.items():
        (folder / name).write_bytes(content)
    return folder


def assert_right(pair):
    for data, batches in zip(pair, (BATCHES[:5], BATCHES[5:]), strict=True):
        parts = [pickle.loads(SMALL[name]) for name in batches]
        pixels = np.concatenate([part[b"data"] for part in parts]).reshape(-1, 3, 32, 32)
        assert np.array_equal(data.images.permute(0, 3, 1, 2).numpy(), pixels)
        assert data.labels.tolist() == [label for part in parts for label in part[b"labels"]]


def test_from_nothing_and_then_without_asking_anybody(server, tmp_path, mirror):
    root = tmp_path / "deep" / "data"
    for _ in range(2):
        assert_right(cifar10(str(root), [f"{server.url}/missing/{NAME}", mirror]))
        assert listing(root) == WHOLE  # the archive is not kept
        assert len(server.asked) == 2


def test_what_torchvision_has_put_there_is_taken_without_asking_anybody(server, tmp_path, monkeypatch, mirror):
    (put(tmp_path / "data") / "batches.meta").unlink()  # not needed here
    monkeypatch.chdir(tmp_path)
    assert_right(cifar10(mirrors=[mirror]))  # the default root is data
    assert server.asked == []


@pytest.mark.parametrize("size, requests", [(len(ARCHIVE), 0), (len(ARCHIVE) // 2, 1)])
def test_an_archive_that_was_there_is_used_if_it_is_whole_and_stays(server, tmp_path, mirror, size, requests):
    (tmp_path / NAME).write_bytes(ARCHIVE[:size])
    assert_right(cifar10(tmp_path, [mirror]))
    assert len(server.asked) == requests
    assert (tmp_path / NAME).read_bytes() == ARCHIVE and listing(tmp_path) == sorted([NAME, *WHOLE])


@pytest.mark.parametrize("name, damage", [("data_batch_1", "changed"), ("data_batch_4", "gone"), ("test_batch", "cut")])
def test_a_damaged_file_is_fetched_again(server, tmp_path, mirror, name, damage):
    content = {"changed": SMALL[name][:-1] + b"!", "cut": SMALL[name][:99], "gone": b""}[damage]
    folder = put(tmp_path, **{name: content})
    if damage == "gone":
        (folder / name).unlink()
    assert_right(cifar10(tmp_path, [mirror]))
    assert (folder / name).read_bytes() == SMALL[name] and listing(tmp_path) == WHOLE


def test_offline_in_one_line(refusing, tmp_path, capsys):
    put(tmp_path, data_batch_3=b"oh")
    with pytest.raises(
        LessonError, match=rf"_3 is damaged: try again .* online, copy {NAME} to .* or use shapes10\(\).*$"
    ):
        cifar10(tmp_path, mirrors=[refusing])
    assert "no connection" in capsys.readouterr().out
    assert listing(tmp_path) == WHOLE
    (tmp_path / NAME).write_bytes(ARCHIVE[:99])  # half a copy
    with pytest.raises(LessonError, match=rf"_3 is damaged, and \S+{NAME} is damaged: try again"):
        cifar10(tmp_path, mirrors=[refusing])


def test_nothing_is_unpickled_unchecked(server, tmp_path, monkeypatch, mirror):
    name, bomb = "data_batch_2", pickle.dumps(Hostile())
    put(tmp_path, **{name: bomb})
    server.files[NAME] = archive_of({**SMALL, name: bomb})  # even if the archive has the right checksum
    monkeypatch.setattr(module, "CIFAR10_ARCHIVE_MD5", md5(server.files[NAME]))
    with pytest.raises(LessonError, match=f"{name} is damaged"):
        cifar10(tmp_path, [mirror])


def test_two_at_once_do_not_meet(server, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        for pair in pool.map(lambda _: cifar10(tmp_path, [f"{server.url}/together/{NAME}"]), range(2)):
            assert_right(pair)
    assert len(server.asked) == 2 and listing(tmp_path) == WHOLE


def test_names_and_checksums_are_the_published_ones(monkeypatch):
    monkeypatch.undo()
    theirs = torchvision.datasets.CIFAR10
    published = dict([*theirs.train_list, *theirs.test_list, [theirs.meta["filename"], theirs.meta["md5"]]])
    assert published == module.CIFAR10_MD5
    assert (theirs.filename, theirs.tgz_md5) == (module.CIFAR10_ARCHIVE, module.CIFAR10_ARCHIVE_MD5)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
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
def test_the_real_set_is_torchvisions(real, monkeypatch):
    monkeypatch.undo()
    sums = (
        "67e12c2a5906880a4fe5595fe6d768185ad7ca587f35d3a7ece3c3b8b85035d2",
        "e54a434ec35094516eacbaac0f2f9550358d985e9d1f71b47d41d333c15ba304",
    )
    for ours, training, checksum in zip(cifar10(real, mirrors=[]), (True, False), sums, strict=True):
        theirs = torchvision.datasets.CIFAR10(str(real), train=training, download=False)
        assert np.array_equal(ours.images.numpy(), theirs.data) and ours.images.dtype == torch.uint8
        assert ours.labels.tolist() == theirs.targets and list(ours.classes) == theirs.classes
        assert ours.sha256 == checksum
