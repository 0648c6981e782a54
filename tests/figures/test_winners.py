"""The picture of notebook 00."""

from resnet_lesson.figures.winners import WINNERS, winners


def test_each_network_has_a_box_for_each_of_its_layers_and_says_how_many():
    (ax,) = winners().axes
    boxes = [box for box in ax.patches if box.get_width() == 0.7]
    for row, (name, year, layers, error) in enumerate(WINNERS):
        assert sum(round(box.get_y() + box.get_height() / 2, 6) == row for box in boxes) == layers
        assert ax.texts[row].get_text() == f"{layers} layers\n{error}% wrong"
        assert ax.get_yticklabels()[row].get_text() == f"{year}  {name}"
