"""shapes10, the generated shapes: the same bytes everywhere, ten balanced classes.

What the images look like follows from their bytes, which are pinned: notebook 01 shows them.
"""

import numpy as np
import pytest
import torch

from resnet_lesson.datasets.shapes10 import SHAPES10_CLASSES, shapes10

# If one of these changes, so does every stored output of the notebooks: do not update them lightly.
PINNED = {
    (): "4b1c85a8d6ce78d412f8d75e77a96facf3bbbe7c3c0cf975301db738db23a79e",
    (4096, 16, 0): "4b1c85a8d6ce78d412f8d75e77a96facf3bbbe7c3c0cf975301db738db23a79e",
    (64, 32, 7): "e8f76434d4db3b127608dc55b8d68f203ef35d4d1e36c6d09fcdf9a78e0ad9fc",
}


@pytest.mark.parametrize("settings, sha256", PINNED.items(), ids=str)
def test_bytes_are_the_pinned_ones(settings, sha256):
    assert shapes10(*settings).sha256 == sha256


@pytest.mark.parametrize("n, size", [(1, 8), (25, 9), (1003, 16), (40, 32)])
def test_each_image_has_a_label_and_classes_are_balanced_in_random_order(n, size):
    data = shapes10(n, size, seed=3)
    assert data.images.shape == (n, size, size, 3) and data.images.dtype == torch.uint8
    assert data.name == "shapes10" and data.classes == SHAPES10_CLASSES and len(data) == n
    counts = data.labels.bincount(minlength=10)
    assert counts.sum() == n and counts.max() - counts.min() <= 1
    assert n == 1 or not torch.equal(data.labels, torch.arange(n) % 10)


def test_no_image_occurs_twice_nor_under_another_seed():
    both = torch.cat([shapes10(1000, 16, seed).images for seed in (0, 1)])
    assert len(both.flatten(1).unique(dim=0)) == 2000


def test_generating_leaves_the_global_random_states_alone():
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    shapes10(10, 8)
    assert torch.equal(torch.get_rng_state(), before) and (np.random.get_state()[1] == numpy_before).all()


@pytest.mark.parametrize("n, size", [(0, 16), (-1, 16), (10, 7), (10, 0)])
def test_no_image_or_too_small_ones_are_refused_in_words(n, size):
    with pytest.raises(ValueError, match=f"at least 8x8 pixels, not {n} of {size}x{size}"):
        shapes10(n, size)
