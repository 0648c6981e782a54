"""Each exercise tells right answers from wrong ones, and wrong ones from each other.

tests/answers/ holds the answers of people who have not seen the package, a file for each notebook:
RIGHT[exercise][style] = answer, and WRONG[exercise][kind of mistake] = (answer, the name or names that the report must
give, or "" if it may only show the case). Where the answer has named parts, it is a dict.
"""

import pytest
import torch
from answers import RIGHT, WRONG
from support.checks import check
from torch import nn

from resnet_lesson import LessonError, PlainBlock, exercises
from resnet_lesson.models import blocks

NAMES = exercises.names()


def pairs(answers):
    return [pytest.param(name, kind, id=f"{name}-{kind}") for name in answers for kind in answers[name]]


def test_there_are_enough_exercises_and_answers():
    assert len(NAMES) >= 12
    for name in NAMES:
        assert len(RIGHT[name]) >= 3, name
        assert len(WRONG[name]) >= 5, name
    assert set(RIGHT) == set(WRONG) == set(NAMES)


def test_an_answer_beside_named_parts_is_refused_and_never_dropped():
    for given in (exercises.cost_by_hand, exercises.plain_block):
        with pytest.raises(LessonError, match="one answer or named parts, not both .here: basic_macs"):
            given.check(PlainBlock, basic_macs=1)
    assert exercises.plain_block.check(answer=PlainBlock).passed


@pytest.mark.parametrize(("name", "style"), pairs(RIGHT))
def test_right_answers_pass_in_every_style(name, style):
    report = check(name, RIGHT[name][style])
    assert report.passed, repr(report)


@pytest.mark.parametrize(("name", "kind"), pairs(WRONG))
def test_wrong_answers_are_told_their_own_mistake_and_no_other(name, kind):
    answer, mistake = WRONG[name][kind]
    report = check(name, answer)
    assert not report.passed
    names = [mistake] if isinstance(mistake, str) else mistake
    assert report.mistakes == list(filter(None, names)), repr(report)
    for text in (repr(report), report._repr_html_()):
        assert "\x1b" not in text and " at 0x" not in text and "/" + "site-packages" not in text


def nothing_yet(in_channels, width, stride=1): ...


def raises_nothing_yet(in_channels):
    """To do."""
    raise NotImplementedError("to do")


class OldStyle(nn.Module):
    def __init__(self, in_channels, width, stride=1):
        super(OldStyle, self).__init__()  # noqa: UP008
        self.width = width

    def forward(self, x): ...


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "answer",
    [None, ..., nothing_yet, raises_nothing_yet, OldStyle, {"a": ..., "b": "", "c": None}],
    ids=lambda answer: getattr(answer, "__name__", str(answer)),
)
def test_unattempted_says_so_and_raises_nothing(name, answer):
    report = check(name, answer)
    assert not report.passed and not report.attempted
    assert "not attempted yet" in repr(report) and "not attempted" in report._repr_html_()


@pytest.mark.parametrize("name", NAMES)
def test_hints_come_one_by_one(name):
    exercise = getattr(exercises, name)
    exercise._shown = 0
    texts = [exercise.hint() for _ in range(len(exercise.hints) + 1)]
    assert len(exercise.hints) >= 3
    for i, text in enumerate(texts[:-1]):
        assert all(hint in text for hint in exercise.hints[: i + 1])
        assert not any(hint in text for hint in exercise.hints[i + 1 :])
    assert texts[-1] == texts[-2] and "last hint" in texts[-1]


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_is_shown_in_colours_and_as_text(name):
    solution = getattr(exercises, name).solution()
    assert len(solution) > 50 and "<" in solution._repr_html_() and repr(solution) == solution


def test_an_error_in_a_package_alone_shows_no_line_of_the_package():
    assert "was raised when your code was called" in repr(exercises.plain_block.check(nn.LSTM))


@pytest.mark.parametrize("name", [name for name in NAMES if callable(getattr(exercises, name).right_answers[0])])
def test_what_the_code_computes_in_place_of_the_code_is_named(name):
    assert check(name, torch.zeros(3)).mistakes == ["not a function or class"]


def test_what_beginners_forget_is_named():
    class NoForward(nn.Module):
        def __init__(self, in_channels, width, stride=1):
            super().__init__()
            self.conv = nn.Conv2d(in_channels, width, 3)

        def call(self, x):
            return self.conv(x)

    class NoSuper(NoForward):
        def __init__(self, in_channels, width, stride=1):
            self.conv = nn.Conv2d(in_channels, width, 3)

    class NoStride(blocks.PlainBlock):
        def __init__(self, in_channels, width):
            super().__init__(in_channels, width)

    for answer, words in {
        NoForward: "no `forward`",
        NoSuper: "`super().__init__()`",
        NoStride: "Compare the arguments",
        torch.zeros(3): "itself, not what it computes",
    }.items():
        assert words in " ".join(repr(exercises.plain_block.check(answer)).split())


class KeywordStride(blocks.BasicBlock):
    def __init__(self, in_channels, width, *, stride=1):
        super().__init__(in_channels, width, stride)


class Lazy(blocks.BasicBlock):
    def __init__(self, in_channels, width, stride=1):
        super().__init__(in_channels, width, stride)
        self.residual[0] = nn.LazyConv2d(width, 3, stride, padding=1, bias=False)


@pytest.mark.parametrize("answer", [KeywordStride, Lazy])
def test_constructors_that_students_write(answer):
    report = exercises.basic_block.check(answer)
    assert report.passed, repr(report)


def test_an_unknown_exercise_names_the_nearest():
    with pytest.raises(AttributeError, match="basic_block"):
        exercises.basic_blok  # noqa: B018
