"""Rows and grids of images."""

import numpy as np
import torch

from resnet_lesson import doodles10, shapes10
from resnet_lesson.figures.images import image_grid, image_row


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
