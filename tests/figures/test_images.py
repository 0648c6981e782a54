"""Rows and grids of images, and the confusion matrix."""

import torch

from resnet_lesson import doodles10, shapes10
from resnet_lesson.figures.images import confusion, image_grid, image_row


def test_images_are_in_rows_under_their_titles_and_places_may_stay_free():
    data = shapes10(25)
    figure = image_grid(data, rows=3)
    assert tuple(ax.get_title() for ax in figure.axes if ax.get_title()) == data.classes
    assert [len(ax.images) for ax in figure.axes] == [1] * 25 + [0] * 5  # a class has fewer
    figure = image_row([data.images[0], None, data.images[1]], ["a", "b", "c"], columns=2)
    assert [ax.get_title() for ax in figure.axes] == ["a", "b", "c", ""]
    assert (figure.axes[2].images[0].get_array() == data.images[1].numpy()).all()


def test_grey_images_are_ink_on_white_and_not_stretched_to_black():
    images = doodles10(1).images
    for ink, image in ((0, images[0]), (0, images[0].float() / 255), (0.8, torch.full((28, 28, 1), 51).byte())):
        drawn = image_row([image]).axes[0].images[0]
        assert drawn.cmap(drawn.norm(0))[:3] == (1, 1, 1)
        assert abs(drawn.cmap(drawn.norm(image.max().item()))[0] - ink) < 0.1


def test_confusion_has_truth_downwards_and_colours_only_mistakes():
    matrix = torch.tensor([[90, 3, 0], [0, 80, 7], [1, 0, 70]])
    (ax,) = confusion(matrix, ("cat", "dog", "frog"), "title").axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["cat", "dog", "frog"]
    assert (ax.get_ylabel(), ax.get_xlabel(), ax.get_title()) == ("truth", "answer", "title")
    assert [text.get_text() for text in ax.texts] == ["90", "3", "", "", "80", "7", "1", "", "70"]
    assert ax.images[0].get_array().tolist() == [[0, 3, 0], [0, 0, 7], [1, 0, 0]]
