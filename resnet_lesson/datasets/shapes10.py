"""shapes10: ten generated shapes, a data set for lessons without the internet."""

import numpy as np
import torch

from ..machine import checked_seed
from .dataset import Dataset

SHAPES10_CLASSES = (
    "disc", "ring", "square", "frame", "triangle", "cross", "bar", "half-disc", "crescent", "bow-tie",
)  # fmt: skip


def shapes10(n: int = 4096, size: int = 16, seed: int = 0) -> Dataset:
    """Generated images: a bright shape, turned, scaled and shifted, on a darker textured background.

    `n` images, uint8 (n, `size`, `size`, 3), of ten classes in equal numbers. A seed gives the same bytes on every
    machine, offline. A different seed gives different images of the same kind: use one for training and another for
    testing. Raises ValueError for fewer than 8 pixels or no image.
    """
    if size < 8 or n < 1:
        raise ValueError(f"shapes10 makes 1 image or more of at least 8x8 pixels, not {n} of {size}x{size}.")
    # numpy has frozen RandomState's stream, and IEEE 754 rounds all operations below exactly (no sine, no sum of
    # floats). So the bytes are the same everywhere.
    random = np.random.RandomState(checked_seed(seed))
    labels = random.permutation(np.arange(n) % 10)
    images = np.concatenate([_draw_shapes(random, labels[i : i + 1000], size) for i in range(0, n, 1000)])
    return Dataset("shapes10", torch.from_numpy(images), torch.from_numpy(labels).long(), SHAPES10_CLASSES)


def _draw_shapes(random: np.random.RandomState, labels: np.ndarray, size: int) -> np.ndarray:
    """uint8 (n, size, size, 3) for labels (n,)."""
    n, fine = len(labels), 2 * size  # drawn at twice the size, then halved: smooth edges

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return low + (high - low) * random.random_sample((n, *shape, 1, 1)[: 3 + len(shape)])

    # A direction: a point in a square, projected onto the unit circle (sqrt is exact, cos is not).
    x, y = uniform(-1, 1), uniform(0.01, 1)
    length = np.sqrt(x * x + y * y)
    cosine, sine = x / length, y / length
    radius = uniform(0.5, 0.85)
    grid = (2 * np.arange(fine) + 1) / fine - 1
    x = (grid[None, None, :] - uniform(-0.25, 0.25)) / radius
    y = (grid[None, :, None] - uniform(-0.25, 0.25)) / radius
    u, v = x * cosine + y * sine, y * cosine - x * sine
    inside = _inside(labels, u, v).reshape(n, size, 2, size, 2).sum((2, 4), dtype=np.int64)  # of 4

    patches = random.randint(0, 40, (n, 4, 4, 3)).repeat(size // 4 + 1, 1).repeat(size // 4 + 1, 2)[:, :size, :size]
    ground = random.randint(20, 100, (n, 1, 1, 3)) + patches
    shape = random.randint(150, 230, (n, 1, 1, 3))
    noise = random.randint(-20, 21, (n, size, size, 3))
    inside = inside[..., None]
    return (((4 - inside) * ground + inside * shape) // 4 + noise).clip(0, 255).astype(np.uint8)


def _inside(labels: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Whether each point (u, v) of each image is inside that image's shape; bool (n, H, W)."""
    inside = np.empty(u.shape, dtype=bool)
    for label in range(10):
        a, b = u[labels == label], v[labels == label]
        square = np.maximum(abs(a), abs(b))
        disc = a * a + b * b
        inside[labels == label] = (
            disc < 0.8,
            (disc > 0.3) & (disc < 1),
            square < 0.75,
            (square > 0.5) & (square < 0.85),
            (b < 0.6) & (2 * abs(a) < b + 1),
            (np.minimum(abs(a), abs(b)) < 0.25) & (square < 0.9),
            (abs(a) < 0.25) & (abs(b) < 1),
            (disc < 1) & (a > 0),
            (disc < 1) & ((a - 0.5) * (a - 0.5) + b * b > 0.6),
            (abs(b) < abs(a)) & (abs(a) < 0.85),
        )[label]
    return inside
