"""The batches: what the torchvision transforms they replace would give, each image once, the same for a seed."""

import functools

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as TF

from resnet_lesson.datasets.batches import Batches, Normalisation
from resnet_lesson.datasets.dataset import Dataset

RAW = Normalisation(torch.zeros(3), torch.ones(3))  # bytes as floats


def random_data(n=10, height=12, width=9, channels=3):
    """Random images; the label is the image's number."""
    images = np.random.RandomState(0).randint(0, 256, (n, height, width, channels)).astype(np.uint8)
    return Dataset("random", torch.from_numpy(images), torch.arange(n), tuple(map(str, range(n))))


def epoch_of(batches, *args):
    """All images and labels of an epoch."""
    images, labels = zip(*batches.epoch(*args), strict=True)
    return torch.cat(images), torch.cat(labels)


assert_same = functools.partial(torch.testing.assert_close, rtol=0, atol=0)


# The same images as the usual pipeline


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("height, width", [(32, 32), (12, 9)])
def test_images_equal_torchvisions_pad_crop_flip_normalise(height, width, padding, flip):
    data = random_data(24, height, width)
    mean, std = torch.tensor([125.307, 122.950, 113.865]), torch.tensor([62.993, 62.089, 66.705])
    batches = Batches(data, 7, Normalisation(mean, std), padding=padding, flip=flip, shuffle=True, seed=5)
    expected = []
    for index, top, left, mirrored in zip(*(choice.tolist() for choice in batches.choices(2)), strict=True):
        image = TF.pad(Image.fromarray(data.images[index].numpy()), padding)
        image = TF.crop(image, top, left, height, width)
        image = TF.to_tensor(TF.hflip(image) if mirrored else image)
        expected.append(TF.normalize(image, (mean / 255).tolist(), (std / 255).tolist()))
    images, labels = epoch_of(batches, 2)
    torch.testing.assert_close(images, torch.stack(expected), rtol=0, atol=1e-6)
    assert labels.tolist() == batches.choices(2)[0].tolist() and labels.dtype == torch.int64
    assert next(iter(batches))[0].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(data.images, random_data(24, height, width).images), "the data set stays as it was"


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_per_pixel_mean_is_subtracted_before_padding_with_zeros(padding, channels):
    data = random_data(24, channels=channels)
    batches = Batches(data, 7, Normalisation.of(data, "pixel"), padding=padding, flip=True, shuffle=True, seed=5)
    mean_image = data.images.numpy().astype(np.float64).mean(0)
    border = ((padding, padding), (padding, padding), (0, 0))
    expected = []
    for index, top, left, mirrored in zip(*(choice.tolist() for choice in batches.choices(1)), strict=True):
        image = np.pad((data.images[index].numpy() - mean_image) / 255, border)[top : top + 12, left : left + 9]
        expected.append((image[:, ::-1] if mirrored else image).transpose(2, 0, 1).copy())
    images, _ = epoch_of(batches, 1)
    torch.testing.assert_close(images, torch.from_numpy(np.stack(expected)).float(), rtol=0, atol=1e-6)


# Order


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("n, batch_size, sizes", [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 5, [3])])
def test_each_image_comes_exactly_once_an_epoch_and_the_last_batch_may_be_smaller(n, batch_size, sizes, shuffle):
    batches = Batches(random_data(n), batch_size, RAW, shuffle=shuffle)
    for epoch in range(3):
        labels = [labels for _, labels in batches.epoch(epoch)]
        assert [len(one) for one in labels] == sizes
        assert (sorted if shuffle else list)(torch.cat(labels).tolist()) == list(range(n))
    assert len(batches) == len(sizes)


def test_the_same_seed_gives_the_same_batches_and_torchs_random_state_stays():
    options, before = dict(padding=2, flip=True, shuffle=True, seed=3), torch.get_rng_state()
    batches = Batches(random_data(30), 8, RAW, **options)
    first = list(batches.epoch(4))
    list(batches.epoch(5))
    for again in (batches.epoch(4), Batches(random_data(30), 8, RAW, **options).epoch(4)):
        assert_same(list(again), first)
    assert_same(list(batches), list(batches.epoch(0)))
    assert torch.equal(torch.get_rng_state(), before)


def test_other_seeds_and_epochs_have_other_orders_crops_and_flips():
    seen = [
        Batches(random_data(200), 8, RAW, padding=4, flip=True, shuffle=True, seed=seed).choices(epoch)
        for seed in range(3)
        for epoch in range(3)
    ]
    for which in range(4):
        assert len({tuple(choices[which].tolist()) for choices in seen}) == 9


def test_crops_take_every_offset_about_equally_often_and_half_of_the_images_are_mirrored():
    _, top, left, mirrored = Batches(random_data(8100, 2, 2), 8, RAW, padding=4, flip=True).choices(0)
    both = (top * 9 + left).bincount(minlength=81)
    assert len(both) == 81 and (abs(both - 100) < 50).all() and abs(mirrored.float().mean() - 0.5) < 0.02
    assert not Batches(random_data(), 8, RAW).choices(0)[3].any()


# Normalisation


@pytest.mark.parametrize("channels", [1, 3])
def test_normalisation_is_numpys_mean_and_standard_deviation_or_the_mean_image(channels):
    data = random_data(5003, 4, 6, channels)
    pixels = data.images.numpy().astype(np.float64)
    found = Normalisation.of(data)
    assert found.mean.dtype == found.std.dtype == torch.float32
    np.testing.assert_allclose(found.mean, pixels.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found.std, pixels.std((0, 1, 2)), rtol=1e-6)
    found = Normalisation.of(data, "pixel")
    assert found.mean.shape == (4, 6, channels) and found.mean.dtype == torch.float32
    np.testing.assert_allclose(found.mean, pixels.mean(0), rtol=1e-6)
    assert found.std.tolist() == [255.0] * channels


def test_a_colour_that_is_the_same_everywhere_becomes_zero():
    data = random_data(50)
    data.images[..., 1] = 77
    images, _ = epoch_of(Batches(data, 64, Normalisation.of(data)))
    assert (images[:, 1] == 0).all()
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(images.std((0, 2, 3), correction=0), torch.tensor([1.0, 0, 1]), rtol=0, atol=1e-5)


def test_unknown_normalisation_suggests_the_nearest():
    with pytest.raises(ValueError, match="no normalisation 'pixels'.*Did you mean 'pixel'.*channel, pixel"):
        Normalisation.of(random_data(), "pixels")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["channel", "pixel"])
def test_gpu_gives_the_batches_of_the_cpu(kind):
    data = random_data(30)
    options = dict(padding=2, flip=True, shuffle=True, seed=1)
    on_cpu, on_gpu = (Batches(data, 8, Normalisation.of(data, kind), **options, device=d) for d in ("cpu", "cuda"))
    for (images, labels), (expected, expected_labels) in zip(on_gpu.epoch(2), on_cpu.epoch(2), strict=True):
        assert images.is_cuda and labels.is_cuda
        torch.testing.assert_close(images.cpu(), expected, rtol=0, atol=1e-6)
        assert torch.equal(labels.cpu(), expected_labels)
