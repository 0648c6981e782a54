"""shapes10, the generated data: the same bytes everywhere, ten balanced classes, bright shapes on darker grounds."""

import dataclasses

import numpy as np
import pytest
import torch

from resnet_lesson.datasets.dataset import Dataset
from resnet_lesson.datasets.shapes10 import SHAPES10_CLASSES, shapes10

# If one of these changes, so does every stored output of the notebooks: do not update them lightly.
PINNED = {
    (4096, 16, 0): "4b1c85a8d6ce78d412f8d75e77a96facf3bbbe7c3c0cf975301db738db23a79e",
    (64, 32, 7): "e8f76434d4db3b127608dc55b8d68f203ef35d4d1e36c6d09fcdf9a78e0ad9fc",
}


@pytest.fixture(scope="module")
def data():
    return shapes10(2000, 16, 0)


def brightness(dataset):
    """(N, H, W): the mean of the three colours."""
    return dataset.images.float().mean(3)


@pytest.mark.parametrize("settings, sha256", PINNED.items(), ids=str)
def test_bytes_are_the_pinned_ones(settings, sha256):
    assert shapes10(*settings).sha256 == sha256


def test_defaults_are_4096_images_of_16x16_by_seed_0():
    assert shapes10().sha256 == PINNED[4096, 16, 0]


@pytest.mark.parametrize("n, size", [(1, 8), (25, 9), (1003, 16), (40, 32)])
def test_images_are_bytes_with_one_label_each(n, size):
    data = shapes10(n, size)
    assert data.images.shape == (n, size, size, 3) and data.images.dtype == torch.uint8
    assert data.labels.shape == (n,) and data.labels.dtype == torch.int64
    assert len(data) == n
    assert data.name == "shapes10" and data.classes == SHAPES10_CLASSES and len(set(data.classes)) == 10


@pytest.mark.parametrize("n", [10, 1000, 2003])
def test_classes_come_in_equal_numbers_in_random_order(n):
    labels = shapes10(n, 8).labels
    counts = labels.bincount(minlength=10)
    assert len(counts) == 10 and counts.sum() == n and counts.max() - counts.min() <= 1
    assert not torch.equal(labels, torch.arange(n) % 10)
    assert not torch.equal(labels, labels.sort().values)


def test_another_seed_is_other_images_and_the_same_seed_the_same(data):
    again, other = shapes10(2000, 16, 0), shapes10(2000, 16, 1)
    assert torch.equal(data.images, again.images) and torch.equal(data.labels, again.labels)
    assert not torch.equal(data.labels, other.labels)
    assert not (data.images[:, None] == other.images[None, :50]).all(dim=(2, 3, 4)).any(), "an image occurs in both"


def test_no_image_occurs_twice(data):
    assert len(data.images.flatten(1).unique(dim=0)) == len(data)


def test_generating_leaves_the_global_random_states_alone():
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    shapes10(10, 8)
    assert torch.equal(torch.get_rng_state(), before) and (np.random.get_state()[1] == numpy_before).all()


@pytest.mark.parametrize("n, size", [(0, 16), (-1, 16), (10, 7), (10, 0)])
def test_no_image_or_too_small_ones_are_refused_in_words(n, size):
    with pytest.raises(ValueError, match=f"at least 8x8 pixels, not {n} of {size}x{size}"):
        shapes10(n, size)


@pytest.mark.parametrize("label", range(10), ids=SHAPES10_CLASSES)
def test_shape_is_clearly_brighter_than_its_ground(data, label):
    grey = brightness(data)[data.labels == label]
    bright = grey > 135  # the ground is at most 99 + 39, and rarely
    share = bright.float().mean((1, 2))
    assert (share > 0.02).all() and share.mean() > 0.08, "every image shows a shape"
    assert share.mean() < 0.6, "and a ground"
    assert grey[bright].mean() - grey[~bright].mean() > 60


@pytest.mark.parametrize("label", range(10), ids=SHAPES10_CLASSES)
def test_corners_are_ground(data, label):
    grey = brightness(data)[data.labels == label]
    corners = torch.stack([grey[:, 0, 0], grey[:, 0, -1], grey[:, -1, 0], grey[:, -1, -1]])
    assert corners.mean() < 110


def test_filled_shapes_are_bright_in_the_middle_and_hollow_ones_are_dark_there(data):
    middle = brightness(data)[:, 7:9, 7:9].mean((1, 2))
    by_class = {name: middle[data.labels == i].mean() for i, name in enumerate(data.classes)}
    for filled, hollow in [("disc", "ring"), ("square", "frame")]:
        assert by_class[filled] > by_class[hollow] + 50


def test_larger_shapes_cover_more(data):
    bright = (brightness(data) > 135).float().mean((1, 2))
    share = {name: bright[data.labels == i].mean() for i, name in enumerate(data.classes)}
    assert share["disc"] > share["half-disc"] and share["square"] > share["frame"] and share["square"] > share["bar"]


def test_images_vary_within_a_class(data):
    for label in range(10):
        assert (data.images[data.labels == label].float().std(0) > 15).all()


def test_take_keeps_the_first_images_and_has_its_own_checksum(data):
    assert data.sha256  # computed before, it must not go along
    first = data.take(7)
    assert isinstance(first, Dataset) and len(first) == 7
    assert torch.equal(first.images, data.images[:7]) and torch.equal(first.labels, data.labels[:7])
    assert first.classes == data.classes and first.sha256 != data.sha256


def test_checksum_sees_pixels_and_labels(data):
    images, labels = data.images.clone(), data.labels.clone()
    images[3, 2, 1, 0] ^= 1
    labels[5] = (labels[5] + 1) % 10
    sums = {data.sha256} | {
        dataclasses.replace(data, **change).sha256 for change in ({"images": images}, {"labels": labels})
    }
    assert len(sums) == 3
    same = dataclasses.replace(data, images=data.images.clone(), labels=data.labels.int())
    assert same.sha256 == data.sha256
