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


@pytest.mark.parametrize("generate, classes", [(shapes10, SHAPES10_CLASSES), (doodles10, DOODLES10_CLASSES)])
def test_ten_classes_as_evenly_as_the_number_allows(generate, classes):
    data = generate(1003)  # generated in several parts
    assert data.name == generate.__name__ and data.classes == classes
    assert data.labels.bincount(minlength=10).tolist().count(100) == 7 and len(data) == 1003
    assert len(data.images.flatten(1).unique(dim=0)) == 1003, "no image occurs twice"


@pytest.mark.parametrize("generate, settings", [(shapes10, (0, 16)), (shapes10, (10, 7)), (doodles10, (0,))])
def test_no_image_or_too_small_ones_are_refused_in_words(generate, settings):
    with pytest.raises(ValueError, match=f"{generate.__name__} makes 1 "):
        generate(*settings)


@pytest.mark.parametrize("generate", [shapes10, doodles10])
def test_generating_leaves_the_global_random_states_alone(generate):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    generate(10)
    assert torch.equal(torch.get_rng_state(), before) and (np.random.get_state()[1] == numpy_before).all()
