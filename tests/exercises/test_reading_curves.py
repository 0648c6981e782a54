"""The four curves of notebook 01 can be told apart by reasoning."""

import pytest

from resnet_lesson.exercises.reading_curves import CURVES, curves_figure
from resnet_lesson.training.runs import recorded


@pytest.mark.parametrize(("panel", "column"), list(enumerate(("train_error", "test_error"))))
def test_each_letter_is_beside_the_end_of_its_own_curve_and_none_covers_another(panel, column):
    ax = curves_figure().axes[panel]
    said = {text.get_text(): text for text in ax.texts}
    for letter, name in CURVES.items():
        run = recorded(f"paper-{name}-seed0")
        text = said[f"{letter}  {run.final(column):.1%}"]
        assert text.xy == (run.column("epoch")[-1], run.final(column))
    heights = sorted(text.xyann[1] for text in said.values())
    assert all(above - below > 0.02 for below, above in zip(heights, heights[1:], strict=False))
    by_error = sorted(said.values(), key=lambda text: text.xy[1])
    assert [text.xyann[1] for text in by_error] == heights, "letters in the order of their curves"
