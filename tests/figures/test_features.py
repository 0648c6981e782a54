"""Feature maps in a grid, and the similarity of pairs by block."""

import numpy as np
import pytest
import torch

from resnet_lesson.figures.features import feature_maps, similarity_bands


def test_feature_maps_put_each_picture_in_its_place_and_leave_others_free():
    small, large, colour = torch.rand(4, 4), torch.rand(8, 8), torch.rand(8, 8, 3)
    figure = feature_maps({"a": [colour, small], "b": [None, large, small]}, ["in", "block 1"])
    shown = [[image.get_array().shape for image in ax.get_images()] for ax in figure.axes]
    assert shown == [[(8, 8, 3)], [(4, 4)], [], [], [(8, 8)], [(4, 4)]]
    assert [ax.get_title() for ax in figure.axes[:3]] == ["in", "block 1", ""]
    assert [figure.axes[0].get_ylabel(), figure.axes[3].get_ylabel()] == ["a", "b"]


def test_similarity_bands_draw_the_mean_of_the_seeds_and_a_band_over_them():
    copies, others = [[1.0, 0.8, 0.6], [1.0, 0.6, 0.2]], [[0.4, 0.4, 0.4]] * 2
    figure = similarity_bands({"plain-20": {"copy": copies, "other": others}, "ResNet-20": {"copy": copies}})
    plain, residual = figure.axes
    assert [line.get_label() for line in plain.get_lines()] == ["copy", "other"] and len(residual.get_lines()) == 1
    assert list(plain.get_lines()[0].get_ydata()) == pytest.approx([1, 0.7, 0.4])
    assert list(plain.get_lines()[0].get_xdata()) == [1, 2, 3]
    ends = plain.collections[0].get_paths()[0].vertices
    assert np.isclose(ends[ends[:, 0] == 3][:, 1].min(), 0.2) and np.isclose(ends[ends[:, 0] == 3][:, 1].max(), 0.6)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["copy", "other"]
