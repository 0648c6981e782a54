"""doodles10: the same bytes everywhere, ten balanced classes that ten examples each do not teach."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_lesson import Batches, Dataset, LessonError, Normalisation, doodles10, shapes10
from resnet_lesson.datasets import doodles10 as module
from resnet_lesson.figures.images import image_grid, image_row

# If one of these changes, so does every stored output that shows them: do not update them lightly.
PINNED = {
    (1000, 0): "5997e4ff6ec27d51d263029a6b6852af563454a29e1da1f19a9fe3a63e50bee9",
    (1234, 7): "3fcc8459d02e6d331bce5dbacf9b715ced3bb20efee6c35caccb8a2abae2824b",
}
CLASSES = ("envelope", "fish", "house", "ladder", "lollipop", "sailboat", "star", "sun", "tree", "umbrella")


@pytest.fixture(scope="module")
def data():
    return doodles10(2000, seed=0)


@pytest.mark.parametrize("settings, sha256", PINNED.items(), ids=str)
def test_bytes_are_the_pinned_ones(settings, sha256):
    assert doodles10(*settings).sha256 == sha256


def test_defaults_are_1000_drawings_by_seed_0():
    assert doodles10().sha256 == PINNED[1000, 0]


@pytest.mark.parametrize("n", [1, 9, 501])
def test_drawings_are_bytes_with_one_label_each(n):
    data = doodles10(n)
    assert data.images.shape == (n, 28, 28, 1) and data.images.dtype == torch.uint8
    assert data.labels.shape == (n,) and data.labels.dtype == torch.int64
    assert data.name == "doodles10" and data.classes == CLASSES and len(data) == n


@pytest.mark.parametrize("n", [10, 1000, 1503])
def test_classes_come_in_equal_numbers_in_random_order(n):
    labels = doodles10(n).labels
    counts = labels.bincount(minlength=10)
    assert len(counts) == 10 and counts.sum() == n and counts.max() - counts.min() <= 1
    assert not torch.equal(labels, torch.arange(n) % 10)


def test_no_drawing_occurs_twice_and_another_seed_is_other_drawings(data):
    both = torch.cat([data.images, doodles10(1000, seed=1).images]).flatten(1)
    assert len(both.unique(dim=0)) == 3000


def test_generating_leaves_the_global_random_states_alone():
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    doodles10(10)
    assert torch.equal(torch.get_rng_state(), before) and (np.random.get_state()[1] == numpy_before).all()


@pytest.mark.parametrize("n", [0, -3])
def test_no_drawing_is_refused_in_words(n):
    with pytest.raises(ValueError, match=f"^doodles10 makes 1 drawing or more, not {n}.$"):
        doodles10(n)


def test_a_drawing_is_fitted_by_its_longer_side_and_centred_as_quickdraws_are(data):
    ink = data.images[..., 0] > 0
    for axis in (1, 2):
        assert not ink.select(axis, 0).any() and not ink.select(axis, 27).any(), "a pixel is free on each side"
    spans = []
    for lines in (ink.any(1), ink.any(2)):
        first, last = lines.int().argmax(1), 27 - lines.flip(1).int().argmax(1)
        assert ((first + last - 27).abs() <= 1).all(), "as far from one side as from the other"
        spans.append(last - first + 1)
    longer, shorter = torch.stack(spans).max(0).values, torch.stack(spans).min(0).values
    assert (longer >= 25).all() and (shorter < 20).float().mean() > 0.2


def line(*points):
    return [[(0, points)]]


def test_a_line_holds_one_and_a_half_pixels_of_ink_with_grey_edges(monkeypatch):
    """In QuickDraw's own bitmaps, 1.48: the grey values across a straight line, added up."""
    for name in ("JITTER", "WOBBLE"):
        monkeypatch.setattr(module, name, 0)
    across = []
    for seed in range(20):  # turned a little, each otherwise
        image = module.draw(np.random.RandomState(seed), line((0, 0), (0, 1)))[0, ..., 0] / 255
        length = np.hypot(*(np.ptp(where) for where in np.nonzero(image > 0.5)))
        across.append(image.sum() / (length + 1))
    assert 1.35 < np.mean(across) < 1.65
    grey = doodles10(100).images
    assert 0.3 < ((grey > 0) & (grey < 255)).sum() / (grey > 0).sum() < 0.8


def test_strokes_without_noise_run_through_their_points(monkeypatch):
    for name, value in {"JITTER": 0, "WOBBLE": 0}.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "_tilted", lambda random, points, image, n: points)
    corners = ((0, 0), (1, 0), (1, 1))
    for bend in (0, 1):
        image = module.draw(np.random.RandomState(0), [[(bend, corners)]])[0, ..., 0]
        for row, column in ((1, 1), (1, 24), (24, 24)):
            assert image[row : row + 3, column : column + 3].max() == 255, "at the points"
        assert image[14, 14] == 0 and image[25, 2] == 0
        assert (image[1, 3:25].min() > 100) == (bend == 0), "straight, or bent"


def test_drawings_of_a_batch_do_not_touch_each_other():
    alone = module.draw(np.random.RandomState(3), line((0, 0), (1, 0.3)))
    assert module.draw(np.random.RandomState(3), line((0, 0), (1, 0.3))).tobytes() == alone.tobytes()
    both = module.draw(np.random.RandomState(3), [*line((0, 0), (1, 1)), *line((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))])
    assert both[0].astype(int).sum() < 0.7 * both[1].astype(int).sum()


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_is_drawn_in_many_ways(name):
    seen = set()
    for seed in range(60):
        sketch = module._Sketch(np.random.RandomState(seed))
        module.SKETCHES[name](sketch)
        assert 1 <= len(sketch.strokes) <= 20
        for bend, points in sketch.strokes:
            assert bend in (0, 1) and len(points) >= 2
            assert all(-0.2 <= x <= 1.2 and -0.2 <= y <= 1.2 for x, y in points), "near the unit square"
        seen.add(tuple((bend, len(points)) for bend, points in sketch.strokes))
    assert len(seen) >= (2 if name == "star" else 4)


def test_the_outline_of_a_ring_is_round():
    for turn in np.linspace(0, 1, 33):
        x, y = module._around(0.5, 0.4, 0.2, 0.2, turn)
        assert np.hypot(x - 0.5, y - 0.4) == pytest.approx(0.2)
        assert abs(np.arctan2(y - 0.4, x - 0.5) / 2 / np.pi % 1 - (turn - 0.125) % 1) % 0.98 < 0.02, "about that far"


def test_a_stroke_may_be_missing_twice_there_or_a_scribble():
    lengths = [len(module._sketch(np.random.RandomState(seed), CLASSES.index("star"))) for seed in range(200)]
    assert lengths.count(1) > 100 and lengths.count(2) > 10 and lengths.count(3) >= 1
    ladders = [module._sketch(np.random.RandomState(seed), CLASSES.index("ladder")) for seed in range(200)]
    rails = [sum(points[0][1] == 0 and points[1][1] == 1 for _, points in ladder) for ladder in ladders]
    assert 0 < rails.count(1) < 40 and rails.count(3) > 0, "a ladder with one rail, and one drawn with three"


def test_images_vary_within_a_class(data):
    for label in range(10):
        images = data.images[data.labels == label].float()
        assert images.std(0).max() > 100
        nearest = (images[:, None] - images[None, :20]).square().mean((2, 3, 4)).sqrt()
        assert nearest[nearest > 0].min() > 20


def error_of_a_small_network(train, test, steps):
    """Share of wrong answers on `test` of a network of five convolutions, trained on `train` only."""
    torch.manual_seed(0)
    widths = [(1, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
    layers = [
        layer
        for into, out, stride in widths
        for layer in (nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())
    ]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, steps)
    normalisation, epoch = Normalisation.of(train), 0
    while schedule.last_epoch < steps:
        for images, labels in Batches(train, 50, normalisation, shuffle=True).epoch(epoch):
            if schedule.last_epoch < steps:
                optimiser.zero_grad()
                F.cross_entropy(network(images), labels).backward()
                optimiser.step()
                schedule.step()
        epoch += 1
    network.eval()
    with torch.no_grad():
        wrong = [(network(images).argmax(1) != labels) for images, labels in Batches(test, 500, normalisation)]
    return torch.cat(wrong).float().mean().item()


@pytest.mark.slow
def test_ten_of_each_are_too_few_to_learn_from_and_five_hundred_are_enough():
    few, rest = doodles10(5500, seed=0).split(10)
    many, test = rest.split(500)
    assert 0.2 < error_of_a_small_network(few, test, 150) < 0.55
    assert error_of_a_small_network(many, test, 400) < 0.08


# ---------------------------------------------------------------------------------------------------- split


@pytest.mark.parametrize("per_class", [1, 10, 99])
def test_split_takes_the_first_of_each_class_and_leaves_the_others_in_order(per_class):
    data = doodles10(1000)
    first, rest = data.split(per_class)
    assert first.labels.bincount().tolist() == [per_class] * 10
    assert rest.labels.bincount().tolist() == [100 - per_class] * 10
    for k in range(10):
        images = data.images[data.labels == k]
        assert torch.equal(first.images[first.labels == k], images[:per_class])
        assert torch.equal(rest.images[rest.labels == k], images[per_class:])
    places = {image.numpy().tobytes(): i for i, image in enumerate(data.images)}
    for part in (first, rest):
        order = [places[image.numpy().tobytes()] for image in part.images]
        assert order == sorted(order) and torch.equal(part.labels, data.labels[order])
        assert isinstance(part, Dataset) and (part.name, part.classes) == (data.name, data.classes)
    assert len({data.sha256, first.sha256, rest.sha256}) == 3


def test_split_serves_colour_images_and_classes_of_different_size():
    data = shapes10(60)
    data = dataclasses.replace(data, images=data.images[:55], labels=data.labels[:55])
    first, rest = data.split(2)
    assert first.images.shape == (20, 16, 16, 3) and len(rest) == 35


def test_split_needs_more_images_of_each_class_than_it_takes():
    data = doodles10(100)
    with pytest.raises(
        LessonError, match=r"^doodles10 has 10 of envelope, so split\(10\) leaves none .* larger set\.$"
    ):
        data.split(10)
    without = dataclasses.replace(data, images=data.images[data.labels != 3], labels=data.labels[data.labels != 3])
    with pytest.raises(LessonError, match="has 0 of ladder"):
        without.split(1)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"1 image of each class or more, not {wrong}"):
            data.split(wrong)


# ---------------------------------------------------------------------------------------------------- grey images


def test_normalisation_and_batches_take_grey_images():
    data = doodles10(100)
    pixels = data.images.numpy().astype(np.float64)
    channel, pixel = Normalisation.of(data), Normalisation.of(data, "pixel")
    np.testing.assert_allclose(channel.mean, [pixels.mean()], rtol=1e-6)
    np.testing.assert_allclose(channel.std, [pixels.std()], rtol=1e-6)
    assert pixel.mean.shape == (28, 28, 1) and pixel.std.tolist() == [255]
    np.testing.assert_allclose(pixel.mean, pixels.mean(0), rtol=1e-6)
    for normalisation in (channel, pixel):
        images, _ = next(iter(Batches(data, 100, normalisation, padding=2, flip=True)))
        assert images.shape == (100, 1, 28, 28) and images.mean().abs() < 0.1


def test_figures_show_grey_images_as_ink_on_white():
    data = doodles10(20)
    for images in (data.images, data.images.float() / 255):
        drawn = image_row(list(images), data.classes).axes[0].images[0]
        low, ink = np.array(drawn.cmap(drawn.norm(0)))[:3], np.array(drawn.cmap(drawn.norm(images.max().item())))[:3]
        assert low.tolist() == [1, 1, 1] and ink.tolist() == [0, 0, 0]
    faint = image_row([torch.full((28, 28, 1), 51, dtype=torch.uint8)]).axes[0].images[0]
    assert 0.7 < faint.cmap(faint.norm(51))[0] < 0.9, "not stretched to black"
    assert len(image_grid(data, rows=2).axes) == 20
    colour = image_row(list(shapes10(1).images)).axes[0].images[0]
    assert colour.get_array().shape == (16, 16, 3)
