"""doodles10, the generated drawings: the same bytes everywhere, ten balanced classes, drawn in many ways.

How hard they are to learn follows from their bytes, which are pinned: notebook 08 measures it.
"""

import numpy as np
import pytest
import torch

from resnet_lesson import doodles10
from resnet_lesson.datasets import doodles10 as module

# If one of these changes, so does every stored output that shows them: do not update them lightly.
PINNED = {
    (): "5997e4ff6ec27d51d263029a6b6852af563454a29e1da1f19a9fe3a63e50bee9",
    (1000, 0): "5997e4ff6ec27d51d263029a6b6852af563454a29e1da1f19a9fe3a63e50bee9",
    (1234, 7): "3fcc8459d02e6d331bce5dbacf9b715ced3bb20efee6c35caccb8a2abae2824b",
}
CLASSES = ("envelope", "fish", "house", "ladder", "lollipop", "sailboat", "star", "sun", "tree", "umbrella")


@pytest.mark.parametrize("settings, sha256", PINNED.items(), ids=str)
def test_bytes_are_the_pinned_ones(settings, sha256):
    assert doodles10(*settings).sha256 == sha256


@pytest.mark.parametrize("n", [1, 9, 501])
def test_each_drawing_has_a_label_and_classes_are_balanced_in_random_order(n):
    data = doodles10(n, seed=3)
    assert data.images.shape == (n, 28, 28, 1) and data.images.dtype == torch.uint8
    assert data.name == "doodles10" and data.classes == CLASSES and len(data) == n
    counts = data.labels.bincount(minlength=10)
    assert counts.sum() == n and counts.max() - counts.min() <= 1
    assert n == 1 or not torch.equal(data.labels, torch.arange(n) % 10)


def test_no_drawing_occurs_twice_nor_under_another_seed():
    both = torch.cat([doodles10(500, seed).images for seed in (0, 1)])
    assert len(both.flatten(1).unique(dim=0)) == 1000


def test_a_drawing_fills_the_image_by_its_longer_side_and_is_centred():
    ink = doodles10(300, seed=5).images[..., 0] > 0
    spans = []
    for lines in (ink.any(1), ink.any(2)):
        first, last = lines.int().argmax(1), 27 - lines.flip(1).int().argmax(1)
        assert first.min() >= 1 and last.max() <= 26, "a pixel is free on each side"
        assert ((first + last - 27).abs() <= 1).all(), "as far from one side as from the other"
        spans.append(last - first + 1)
    assert (torch.maximum(*spans) >= 25).all()


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_is_drawn_in_many_ways_near_the_unit_square(name):
    seen = set()
    for seed in range(60):
        sketch = module._Sketch(np.random.RandomState(seed))
        module.SKETCHES[name](sketch)
        for bend, points in sketch.strokes:
            assert bend in (0, 1) and len(points) >= 2
            assert all(-0.2 <= x <= 1.2 and -0.2 <= y <= 1.2 for x, y in points)
        seen.add(tuple((bend, len(points)) for bend, points in sketch.strokes))
    assert len(seen) >= (2 if name == "star" else 4)


def test_generating_leaves_the_global_random_states_alone():
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    doodles10(10)
    assert torch.equal(torch.get_rng_state(), before) and (np.random.get_state()[1] == numpy_before).all()


@pytest.mark.parametrize("n", [0, -3])
def test_no_drawing_is_refused_in_words(n):
    with pytest.raises(ValueError, match=f"^doodles10 makes 1 drawing or more, not {n}.$"):
        doodles10(n)
