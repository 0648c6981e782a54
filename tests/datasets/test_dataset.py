"""A set of images: what it takes and refuses, its checksum, its parts."""

import dataclasses

import pytest
import torch

from resnet_lesson import Batches, Dataset, LessonError, Normalisation, doodles10, shapes10

IMAGES = torch.randint(0, 256, (12, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 3


def made(images=IMAGES, labels=LABELS):
    return Dataset("mine", images, labels, ("a", "b", "c"))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"images": IMAGES.float() / 255}, r"uint8 tensor \(N, H, W, 3\).* this is float32 \(12, 8, 8, 3\) on cpu"),
        ({"images": IMAGES.permute(0, 3, 1, 2)}, r"uint8 \(12, 3, 8, 8\) on cpu\. images\.permute\(0, 2, 3, 1\)"),
        ({"images": IMAGES.numpy()}, "this is a ndarray"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"this is uint8 \(0, 8, 8, 3\) on cpu\."),
        ({"labels": LABELS[:11].int()}, r"int64 tensor \(12,\) on the CPU, one .* but this is int32 \(11,\) on cpu"),
        ({"labels": LABELS + 1}, "from 0 to 2 for each image, but this is .* from 1 to 3"),
    ],
)
def test_what_is_no_set_of_labelled_images_is_refused_in_words(change, message):
    with pytest.raises(LessonError, match=f"of mine must be .*{message}"):
        made(**change)


LAYOUTS = {
    "every second label": (IMAGES[:6], LABELS.repeat_interleave(2)[::2][:6]),
    "channels moved last": (IMAGES.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1), LABELS),
    "one image many times": (IMAGES[:1].expand(12, -1, -1, -1), LABELS),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_in_memory_makes_no_difference(layout):
    images, labels = LAYOUTS[layout]
    views, copies = made(images, labels), made(images.clone(memory_format=torch.contiguous_format), labels.clone())
    assert copies.images.is_contiguous() and not (images.is_contiguous() and labels.is_contiguous())
    assert views.sha256 == copies.sha256
    batches = [Batches(one, 5, Normalisation.of(one), padding=1, flip=True) for one in (views, copies)]
    for (a, b), (c, d) in zip(*batches, strict=True):
        assert torch.equal(a, c) and torch.equal(b, d)


def test_the_checksum_sees_pixels_and_labels():
    images, labels = IMAGES.clone(), LABELS.clone()
    images[3, 2, 1, 0] ^= 1
    labels[5] = 0
    assert len({made().sha256, made(images=images).sha256, made(labels=labels).sha256}) == 3
    assert made(IMAGES.clone(), LABELS.clone()).sha256 == made().sha256


def test_take_gives_the_first_images_with_a_checksum_of_their_own():
    data = made()
    assert data.sha256  # computed before, it must not be handed on
    first = data.take(7)
    assert torch.equal(first.images, IMAGES[:7]) and torch.equal(first.labels, LABELS[:7])
    assert first.classes == data.classes and first.sha256 != data.sha256
    assert len(data.take(100)) == 12
    with pytest.raises(LessonError, match="The images of mine"):
        data.take(0)


def test_split_takes_the_first_of_each_class_and_leaves_the_others_in_order(per_class=10):
    data = dataclasses.replace(doodles10(1000), images=torch.arange(1000).to(torch.uint8).view(-1, 1, 1, 1))
    places = data.labels * 0
    for label in range(10):
        places[data.labels == label] = torch.arange(100)  # of each image among its class
    for part, expected in zip(data.split(per_class), (places < per_class, places >= per_class), strict=True):
        assert torch.equal(part.images, data.images[expected]) and torch.equal(part.labels, data.labels[expected])
        assert (part.name, part.classes) == (data.name, data.classes)


def test_split_needs_more_images_of_each_class_than_it_takes():
    with pytest.raises(LessonError, match=r"^shapes10 has 9 of \w+, so split\(9\) leaves none .* larger set\.$"):
        shapes10(95).split(9)
