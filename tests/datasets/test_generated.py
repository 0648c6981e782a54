"""shapes10 and doodles10, the generated sets: the same bytes everywhere, ten balanced classes.

What the images look like, and how hard they are to learn, follows from their bytes, which are pinned: notebooks 01 and
08 show it.
"""

import numpy as np
import pytest
import torch

from resnet_lesson.datasets.doodles10 import doodles10
from resnet_lesson.datasets.shapes10 import SHAPES10_CLASSES, shapes10

DOODLES10_CLASSES = (
    "envelope", "fish", "house", "ladder", "lollipop", "sailboat", "star", "sun", "tree", "umbrella",
)  # fmt: skip
# If one of these changes, so does every stored output of the notebooks: do not update them lightly.
PINNED = [
    (shapes10, (4096, 16, 0), "4b1c85a8d6ce78d412f8d75e77a96facf3bbbe7c3c0cf975301db738db23a79e"),
    (shapes10, (64, 32, 7), "e8f76434d4db3b127608dc55b8d68f203ef35d4d1e36c6d09fcdf9a78e0ad9fc"),
    (doodles10, (1000, 0), "5997e4ff6ec27d51d263029a6b6852af563454a29e1da1f19a9fe3a63e50bee9"),
    (doodles10, (1234, 7), "3fcc8459d02e6d331bce5dbacf9b715ced3bb20efee6c35caccb8a2abae2824b"),
]


@pytest.mark.parametrize("generate, settings, sha256", PINNED)
def test_bytes_are_the_pinned_ones(generate, settings, sha256):
    assert generate(*settings).sha256 == sha256


@pytest.mark.parametrize(
    "generate, n, options, shape, classes",
    [
        (shapes10, 1, {"size": 8}, (8, 8, 3), SHAPES10_CLASSES),
        (shapes10, 1003, {"size": 9}, (9, 9, 3), SHAPES10_CLASSES),
        (doodles10, 9, {}, (28, 28, 1), DOODLES10_CLASSES),
        (doodles10, 501, {}, (28, 28, 1), DOODLES10_CLASSES),
    ],
)
def test_classes_are_balanced_in_random_order_and_no_image_occurs_twice(generate, n, options, shape, classes):
    data, other = generate(n, seed=3, **options), generate(n, seed=4, **options)
    assert data.images.shape == (n, *shape) and data.name == generate.__name__ and data.classes == classes
    counts = data.labels.bincount(minlength=10)
    assert counts.sum() == n and counts.max() - counts.min() <= 1
    assert n == 1 or not torch.equal(data.labels, torch.arange(n) % 10)
    assert len(torch.cat([data.images, other.images]).flatten(1).unique(dim=0)) == 2 * n


@pytest.mark.parametrize("generate", [shapes10, doodles10])
def test_generating_leaves_the_global_random_states_alone(generate):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    generate(10)
    assert torch.equal(torch.get_rng_state(), before) and (np.random.get_state()[1] == numpy_before).all()


@pytest.mark.parametrize(
    "generate, settings, message",
    [
        (shapes10, (0, 16), "at least 8x8 pixels, not 0 of 16x16"),
        (shapes10, (10, 7), "at least 8x8 pixels, not 10 of 7x7"),
        (doodles10, (0,), "doodles10 makes 1 drawing or more, not 0"),
    ],
)
def test_no_image_or_too_small_ones_are_refused_in_words(generate, settings, message):
    with pytest.raises(ValueError, match=message):
        generate(*settings)
