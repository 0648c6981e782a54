"""doodles10: generated drawings in QuickDraw's layout, for lessons without the internet. No person drew them.

The strokes look hand-drawn: crooked, tilted, never the same twice. The code uses only operations that IEEE 754 rounds
exactly (no sine, no sum of floats), and numpy's frozen RandomState, so the bytes are the same on every machine.
"""

from collections.abc import Sequence
from functools import reduce
from math import sqrt
from operator import or_

import numpy as np
import torch

from ..machine import checked_seed
from .dataset import Dataset

SIZE = 28  # pixels, as in QuickDraw's bitmaps
FINE = 4  # dots per side of a pixel: strokes are drawn in black dots, and the dots in a pixel give its grey value
STEPS = 40  # dots along a line between two points: at most 3.6 apart if it is straight, for a brush 6 wide
SPAN = 24.5  # pixels, the longer side of a drawing, measured between the middles of its lines, as in QuickDraw
JITTER = 0.045  # of the drawing's side: how far a point is from where it should be
WOBBLE = 0.35  # of a line's length: how wrong the directions are in which it starts and ends

Points = Sequence[tuple[float, float]]  # (x, y) in the unit square, y downwards


def doodles10(n: int = 1000, seed: int = 0) -> Dataset:
    """Generated drawings: a few crooked strokes each, like something scribbled in a few seconds.

    `n` images, uint8 (n, 28, 28, 1), ink 255 on 0, of ten classes as evenly as `n` allows. That is QuickDraw's layout,
    but the drawings are easier than what people drew. A seed gives the same bytes on every machine, offline. Another
    seed gives different drawings of the same kind: use one for training and another for testing. Raises ValueError for
    n < 1.
    """
    if n < 1:
        raise ValueError(f"doodles10 makes 1 drawing or more, not {n}.")
    random = np.random.RandomState(checked_seed(seed))
    labels = random.permutation(np.arange(n) % 10)
    batches = (labels[i : i + 500] for i in range(0, n, 500))  # 500 drawings' dots fit into a few tens of MB
    images = np.concatenate([_render(random, [_sketch(random, label) for label in batch]) for batch in batches])
    return Dataset("doodles10", torch.from_numpy(images), torch.from_numpy(labels).long(), DOODLES10_CLASSES)


class _Sketch:
    """The strokes of one drawing, as `_render` takes them, and the random numbers behind them."""

    def __init__(self, random: np.random.RandomState):
        self.random, self.strokes = random.random_sample, []

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.random()

    def maybe(self, chance: float = 0.5) -> bool:
        return self.random() < chance

    def count(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.random() * (high + 1 - low))

    def line(self, *points: tuple[float, float]) -> None:
        self.strokes.append((0, points))

    def curve(self, *points: tuple[float, float]) -> None:
        self.strokes.append((1, points))

    def ring(self, x: float, y: float, wide: float, high: float) -> None:
        """A round outline about (x, y), `wide` and `high` from its middle, begun anywhere."""
        start, turns = self.random(), [i / 8 for i in range(9)]
        self.curve(*(_around(x, y, wide, high, start + turn) for turn in turns))

    def box(self, left: float, top: float, right: float, bottom: float) -> None:
        self.line((left, top), (right, top), (right, bottom), (left, bottom), (left, top))


def _around(x: float, y: float, wide: float, high: float, turn: float) -> tuple[float, float]:
    """The point of an ellipse after about that part of a turn: one of a square, brought onto the circle (no sine)."""
    side, along = divmod(4 * turn % 4, 1)
    a, b = 1.0, 2 * along - 1
    for _ in range(int(side)):
        a, b = -b, a
    length = sqrt(a * a + b * b)  # not ** 0.5, which is exact on some machines only
    return x + wide * a / length, y + high * b / length


def _envelope(s: _Sketch) -> None:
    top, bottom = s.between(0.1, 0.25), s.between(0.75, 0.9)
    s.box(0, top, 1, bottom)
    if s.maybe(0.2):  # from its front: a stamp and an address
        s.box(0.75, top + 0.08, 0.92, top + 0.25)
        for y in (0.45, 0.57, 0.69)[: s.count(1, 3)]:
            s.line((0.2, y), (s.between(0.45, 0.8), y))
        return
    tip = s.between(0.45, 0.65)
    s.line((0, top), (0.5, tip), (1, top))
    if s.maybe(0.4):
        s.line((0, bottom), (0.38, tip - 0.06))
        s.line((1, bottom), (0.62, tip - 0.06))
    if s.maybe(0.15):
        s.ring(0.5, tip, 0.06, 0.06)


def _fish(s: _Sketch) -> None:
    high = s.between(0.18, 0.36)
    if s.maybe():  # in one stroke, crossing at the tail
        end, tail = s.between(0.9, 1), s.between(0.15, 0.28)
        body = (0.72, 0.5), (0.5, 0.5 + high), (0.2, 0.5 + 0.8 * high), (0, 0.5)
        back = (0.2, 0.5 - 0.8 * high), (0.5, 0.5 - high), (0.72, 0.5), (end, 0.5 + tail)
        s.curve((end, 0.5 - tail), *body, *back)
        if s.maybe(0.8):
            s.line((end, 0.5 + tail), (end - s.between(0, 0.1), 0.5), (end, 0.5 - tail))
    else:
        s.ring(0.36, 0.5, 0.36, high)
        s.line((0.7, 0.5), (1, 0.5 - s.between(0.1, 0.25)), (1, 0.5 + s.between(0.1, 0.25)), (0.7, 0.5))
    if s.maybe(0.8):
        s.ring(0.15, 0.45, 0.025, 0.025)
    if s.maybe(0.3):
        s.curve((0.3, 0.5 - 0.7 * high), (0.36, 0.5), (0.3, 0.5 + 0.7 * high))
    if s.maybe(0.25):
        s.line((0.4, 0.5 - high), (0.5, 0.35 - high), (0.55, 0.5 - high))
    if s.maybe(0.3):
        s.curve((0.03, 0.57), (0.1, 0.6), (0.16, 0.57))


def _house(s: _Sketch) -> None:
    eaves, over = s.between(0.35, 0.5), s.between(0, 0.08)
    if s.maybe(0.3):  # in one stroke
        s.line((0.1, eaves), (0.1, 1), (0.9, 1), (0.9, eaves), (0.5, 0), (0.1, eaves))
    else:
        s.box(0.1, eaves, 0.9, 1)
        s.line((0.1 - over, eaves), (0.5, s.between(0, 0.1)), (0.9 + over, eaves))
    if s.maybe(0.65):
        x = s.between(0.25, 0.55)
        s.line((x, 1), (x, 0.7), (x + 0.17, 0.7), (x + 0.17, 1))
    for x in (0.2, 0.65)[: s.count(0, 2)]:
        s.box(x, eaves + 0.1, x + 0.16, eaves + 0.25)
    if s.maybe(0.3):
        s.line((0.7, 0.22), (0.7, 0.02), (0.82, 0.02), (0.82, 0.33))


def _ladder(s: _Sketch) -> None:
    foot, head = s.between(0.14, 0.28), s.between(0.12, 0.28)  # half the width at both ends
    s.line((0.5 - head, 0), (0.5 - foot, 1))
    s.line((0.5 + head, 0), (0.5 + foot, 1))
    rungs = s.count(3, 7)
    for i in range(rungs):
        y = (i + 0.7) / (rungs + 0.4)
        half = head + (foot - head) * y
        s.line((0.5 - half, y), (0.5 + half, y))


def _lollipop(s: _Sketch) -> None:
    radius = s.between(0.18, 0.32)
    s.ring(0.5, radius, radius, radius)
    if s.maybe(0.4):  # its spiral
        start, turns = s.random(), [i / 8 for i in range(s.count(10, 17))]
        s.curve(*(_around(0.5, radius, r := radius * turn / 2.2, r, start + turn) for turn in turns))
    s.line((0.5, 2 * radius), (0.5, 1))
    if s.maybe(0.3):
        s.line((0.56, 2 * radius), (0.56, 1), (0.5, 1))
    if s.maybe(0.15):  # a bow
        y = 2 * radius + 0.06
        s.line((0.5, y), (0.3, y - 0.06), (0.3, y + 0.08), (0.7, y - 0.06), (0.7, y + 0.08), (0.5, y))


def _sailboat(s: _Sketch) -> None:
    deck, keel = s.between(0.66, 0.76), s.between(0.18, 0.3)
    if s.maybe(0.6):
        s.line((0, deck), (keel, 1), (1 - keel, 1), (1, deck), (0, deck))
    else:
        s.curve((0, deck), (0.2, 0.93), (0.5, 1), (0.8, 0.93), (1, deck))
        s.line((0, deck), (1, deck))
    mast, boom = s.between(0.4, 0.6), deck - s.between(0.02, 0.12)
    s.line((mast, deck), (mast, 0))
    s.line((mast, s.between(0, 0.08)), (s.between(0.8, 0.98), boom), (mast, boom))
    if s.maybe():
        s.line((mast, s.between(0.05, 0.2)), (s.between(0.05, 0.25), boom), (mast, boom))
    if s.maybe(0.2):
        s.curve(*((x / 6, (1.06, 1.12)[x % 2]) for x in range(7)))


def _star(s: _Sketch) -> None:
    tips = (0.5, 0), (1, 0.36), (0.81, 0.95), (0.19, 0.95), (0, 0.36)
    if s.maybe():  # in one stroke of five lines, begun at any tip
        start = s.count(0, 4)
        s.line(*(tips[(start + 2 * i) % 5] for i in range(6)))
        return
    deep = s.between(0.3, 0.55)  # of a tip's distance: how far the inner corners are from the middle
    inner = [(0.5 + deep * (0.5 - x), 0.53 + deep * (0.53 - y)) for x, y in tips]  # each opposite a tip
    outline = [point for i in range(5) for point in (tips[i], inner[(i + 3) % 5])]
    s.line(*outline, tips[0])


def _sun(s: _Sketch) -> None:
    radius, rays, start = s.between(0.18, 0.32), s.count(5, 12), s.random()
    s.ring(0.5, 0.5, radius, radius)
    for i in range(rays):
        near, far = radius + s.between(0.02, 0.1), s.between(0.4, 0.52)
        s.line(*(_around(0.5, 0.5, r, r, start + i / rays) for r in (near, far)))
    if s.maybe(0.15):  # it smiles
        s.curve((0.4, 0.55), (0.5, 0.62), (0.6, 0.55))


def _tree(s: _Sketch) -> None:
    crown = s.count(0, 3)
    foot, wide = s.between(0.03, 0.1), s.between(0.25, 0.42)
    top = 0.6
    if crown == 0:  # round
        s.ring(0.5, 0.32, wide, 0.32)
    elif crown == 1:  # a cloud of leaves
        start, bumps = s.random(), s.count(5, 8)
        radii = [wide * (0.8, 1.1)[i % 2] for i in range(2 * bumps + 1)]
        s.curve(*(_around(0.5, 0.32, r, 0.8 * r, start + i / 2 / bumps) for i, r in enumerate(radii)))
    elif crown == 2:  # a fir
        for i in range(s.count(1, 3)):
            y, half = 0.2 * i, 0.6 * wide + 0.12 * i
            s.line((0.5, y), (0.5 - half, y + 0.36), (0.5 + half, y + 0.36), (0.5, y))
            top = y + 0.36
    else:  # bare
        for i in range(s.count(3, 6)):
            y = 0.65 - 0.1 * i
            s.line((0.5, y), (0.5 + (wide, -wide)[i % 2] * s.between(0.6, 1), y - s.between(0.12, 0.25)))
        top = 0.1
    s.line((0.5 - foot, top), (0.5 - foot, 1))
    if crown != 3 and s.maybe(0.8):
        s.line((0.5 + foot, top), (0.5 + foot, 1))


def _umbrella(s: _Sketch) -> None:
    rim, hook = s.between(0.42, 0.55), s.between(0.1, 0.2)
    s.curve((0, rim), (0.1, 0.2), (0.3, 0.05), (0.5, 0), (0.7, 0.05), (0.9, 0.2), (1, rim))
    if s.maybe(0.6):  # scallops
        n = s.count(2, 4)
        s.curve(*((i / n / 2, rim - (0, 0.1)[i % 2]) for i in range(2 * n + 1)))
    else:
        s.line((0, rim), (1, rim))
    s.curve((0.5, rim), (0.5, 0.88), (0.5 + hook / 2, 1), (0.5 + hook, 0.9))
    if s.maybe(0.35):
        s.curve((0.5, 0), (0.33, 0.2), (0.3, rim))
        s.curve((0.5, 0), (0.67, 0.2), (0.7, rim))
    if s.maybe(0.4):
        s.line((0.5, 0), (0.5, -0.08))


SKETCHES = (_envelope, _fish, _house, _ladder, _lollipop, _sailboat, _star, _sun, _tree, _umbrella)
DOODLES10_CLASSES = tuple(sketch.__name__.removeprefix("_") for sketch in SKETCHES)


def _sketch(random: np.random.RandomState, label: int) -> list[tuple[int, Points]]:
    """The strokes of a drawing of that class; sometimes one is missing or drawn twice, or there is a scribble more."""
    s = _Sketch(random)
    SKETCHES[label](s)
    if s.maybe(0.12) and len(s.strokes) > 2:
        del s.strokes[s.count(0, len(s.strokes) - 1)]
    if s.maybe(0.12):
        s.strokes.append(s.strokes[s.count(0, len(s.strokes) - 1)])
    if s.maybe(0.1):
        x, y = s.random(), s.random()
        s.curve(*((x + s.between(-0.25, 0.25), y + s.between(-0.25, 0.25)) for _ in range(s.count(2, 5))))
    return s.strokes


def _render(random: np.random.RandomState, drawings: Sequence[Sequence[tuple[int, Points]]]) -> np.ndarray:
    """Drawings as images: uint8 (n, 28, 28, 1), ink 255 on 0, each fitted into the image by its longer side.

    A drawing is a list of strokes, and a stroke a pair: 1 if it bends smoothly through its points (0 if it runs
    straight from one to the next), and two or more points.
    """
    strokes = [stroke for drawing in drawings for stroke in drawing]
    # The points of all drawings at once, (P, 2), and for each of them its image and whether its stroke bends.
    points = np.array([point for _, stroke in strokes for point in stroke])
    counts = np.array([len(points) for _, points in strokes])
    image = np.repeat(np.repeat(np.arange(len(drawings)), [len(drawing) for drawing in drawings]), counts)
    bends = np.repeat([bend for bend, _ in strokes], counts)[:, None]
    points = _tilted(random, points + JITTER * _noise(random, points.shape), image, len(drawings))

    # A smooth curve passes through a point in the direction from the one before to the one after, within its stroke.
    last = np.repeat(counts.cumsum() - 1, counts)
    first = last + 1 - np.repeat(counts, counts)
    index = np.arange(len(points))
    tangent = (points[np.minimum(index + 1, last)] - points[np.maximum(index - 1, first)]) / 2

    # Each point but the last of its stroke begins a line to the next: a cubic (Hermite's) between the directions in
    # which it leaves and arrives, both a little wrong.
    at = index[index < last]
    chord, bend = points[at + 1] - points[at], bends[at]
    wobble = WOBBLE * np.sqrt(chord[:, :1] * chord[:, :1] + chord[:, 1:] * chord[:, 1:])
    start = chord + bend * (tangent[at] - chord) + wobble * _noise(random, chord.shape)
    end = chord + bend * (tangent[at + 1] - chord) + wobble * _noise(random, chord.shape)
    t = (np.arange(STEPS) / (STEPS - 1))[:, None, None]
    left = 1 - t
    dots = points[at] + t * t * (3 - 2 * t) * chord + t * left * (left * start - t * end)
    return _ink(dots, image[at], len(drawings))


def _noise(random: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers between -1 and 1, mostly small ones."""
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
