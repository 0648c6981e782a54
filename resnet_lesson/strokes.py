"""Strokes as a hand draws them, into small grey images: crooked, tilted, never twice the same.

Only operations that IEEE 754 rounds exactly, on numpy's frozen RandomState: the same bytes on every machine.
"""

from collections.abc import Sequence
from functools import reduce
from operator import or_

import numpy as np

SIZE = 28  # pixels, as in QuickDraw's bitmaps
FINE = 4  # dots on a pixel's side: strokes are drawn in black dots, and the dots of a pixel counted, for grey edges
STEPS = 40  # dots along a line between two points: at most 3.6 apart if it is straight, under a brush 6 wide
SPAN = 24.5  # pixels, the longer side of a drawing, from middle to middle of its lines; so it is in QuickDraw
JITTER = 0.045  # of the drawing's side: how far a point comes to lie from where it should
WOBBLE = 0.35  # of a line's length: how far it sets out and arrives in a wrong direction

Points = Sequence[tuple[float, float]]  # (x, y) in the unit square, y downwards


def draw(random: np.random.RandomState, drawings: Sequence[Sequence[tuple[int, Points]]]) -> np.ndarray:
    """Drawings as images: uint8 (n, 28, 28, 1), 255 ink on 0, each fitted to the image by its longer side.

    A drawing is a list of strokes, and a stroke a pair: 1 if it bends smoothly through its points (0 if it runs
    straight from one to the next), and two or more points.
    """
    strokes = [stroke for drawing in drawings for stroke in drawing]
    counts = np.array([len(points) for _, points in strokes])
    # All drawings at once: (P, 2) points, and for each of them its image and the ends of its stroke.
    points = np.array([point for _, stroke in strokes for point in stroke])
    image = np.repeat(np.repeat(np.arange(len(drawings)), [len(drawing) for drawing in drawings]), counts)
    last = np.repeat(counts.cumsum() - 1, counts)
    first = last + 1 - np.repeat(counts, counts)
    bends = np.repeat([bend for bend, _ in strokes], counts)[:, None]

    points = _tilted(random, points + JITTER * _noise(random, points.shape), image, len(drawings))
    index = np.arange(len(points))
    tangent = (points[np.minimum(index + 1, last)] - points[np.maximum(index - 1, first)]) / 2
    at = index[index < last]  # from every point but the last of a stroke goes a line to the next
    chord, bend = points[at + 1] - points[at], bends[at]
    wobble = WOBBLE * np.sqrt(chord[:, :1] * chord[:, :1] + chord[:, 1:] * chord[:, 1:])
    start, end = (
        chord + bend * (tangent[i] - chord) + wobble * _noise(random, chord.shape) for i in (at, at + 1)
    )  # the directions in which it leaves and arrives: the cubic (Hermite's) between them follows
    t = (np.arange(STEPS) / (STEPS - 1))[:, None, None]
    left = 1 - t
    dots = points[at] + t * t * (3 - 2 * t) * chord + t * left * (left * start - t * end)
    return _ink(dots, image[at], len(drawings))


def _noise(random: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers between -1 and 1, small ones oftener."""
    return random.random_sample(shape) - random.random_sample(shape)


def _tilted(random: np.random.RandomState, points: np.ndarray, image: np.ndarray, n: int) -> np.ndarray:
    """Points (P, 2) with each image mirrored or not, stretched, sheared and turned."""

    def uniform(low: float, high: float) -> np.ndarray:
        return low + (high - low) * random.random_sample(n)

    mirror = np.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    slope = 0.4663 * (uniform(-0.5, 0.5) + uniform(-0.5, 0.5))  # the tangent of up to 25 degrees, mostly of fewer
    cosine = 1 / np.sqrt(1 + slope * slope)
    sine, shear, stretch = slope * cosine, uniform(-0.2, 0.2), uniform(0.65, 1.35)
    x, y = points[:, 0] * mirror[image], points[:, 1] * stretch[image]
    x = x + y * shear[image]
    return np.stack([x * cosine[image] - y * sine[image], x * sine[image] + y * cosine[image]], 1)


def _ink(dots: np.ndarray, image: np.ndarray, n: int) -> np.ndarray:
    """uint8 (n, 28, 28, 1) from the dots (STEPS, S, 2) along S lines, and the image (S,) of each line, ascending."""
    begin = np.searchsorted(image, np.arange(n))
    low, high = np.minimum.reduceat(dots.min(0), begin), np.maximum.reduceat(dots.max(0), begin)
    scale = FINE * SPAN / (high - low).max(1)[:, None]
    place = FINE * SIZE / 2 + 0.5 + (dots - ((low + high) / 2)[image]) * scale[image]
    column, row = np.moveaxis(place.astype(np.int64), 2, 0)
    fine = np.zeros((n, FINE * SIZE, FINE * SIZE), dtype=bool)
    fine[image, row, column] = True

    def thick(rows: int, columns: int) -> np.ndarray:
        """Each dot as a block of that many; both are even."""
        blocks = fine
        for size, axis in ((rows, 1), (columns, 2)):
            blocks = reduce(or_, (np.roll(blocks, i - size // 2, axis) for i in range(size)))
        return blocks

    brush = thick(6, 4) | thick(4, 6)  # a disc 6 dots wide: 1.5 pixels, and QuickDraw's lines hold 1.5 pixels of ink
    counts = brush.reshape(n, SIZE, FINE, SIZE, FINE).sum(2, dtype=np.uint8).sum(3, dtype=np.uint8)  # 16 or fewer
    return (255 * counts.astype(np.int64) // FINE**2).astype(np.uint8)[..., None]
