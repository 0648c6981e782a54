"""The judge of exercises, tried on a small one: add the numbers of a list."""

import os
import signal
import sys
import threading
from math import prod

import pytest
import torch

from resnet_lesson.exercises.kit import guard, judge
from resnet_lesson.exercises.kit.exercise import Exercise, Wrong
from resnet_lesson.exercises.kit.outcomes import agree, words
from resnet_lesson.exercises.kit.source import edited
from resnet_lesson.models.resnet import make_stage


def total(values):
    result = 0
    for value in values:
        result += value
    return result


@pytest.fixture
def adding():
    exercise = Exercise("adding", "Add the numbers of a list.", (total,), hints=("a", "b", "c"), read="notebook 99")
    exercise.case("1, 2 and 4", "7")(lambda answer: answer([1, 2, 4]))
    exercise.case("10 and -3", "7")(lambda answer: answer([10, -3]))
    exercise.case("no number", "0")(lambda answer: answer([]))

    @exercise.case("the list, afterwards", "as it was")
    def leaves_it_alone(answer):
        given = [1, 2]
        answer(given)
        if given != [1, 2]:
            raise Wrong("the list is changed", given, "It belongs to the caller.")

    exercise.mistake("multiplied", {"result = 0": "result = 1", "+=": "*="}, "Add them.")
    exercise.mistake("only the first", lambda values: values[0] if values else 0, "Go through all.")
    exercise.mistake("the empty list is forgotten", lambda values: sum(values) if values else None, "It adds up to 0.")
    return exercise


def test_the_right_answer_in_another_style_passes(adding):
    report = adding.check(sum)
    assert report.passed and "passed, all 4 checks" in repr(report) and report.mistakes == []


def test_a_known_mistake_in_another_style_is_named_once_with_what_was_right(adding):
    report = adding.check(lambda values: next(iter(values), 0))
    assert report.mistakes == ["only the first"]
    text = repr(report)
    assert "2 of 4 checks passed" in text and "Tried:          1, 2 and 4" in text and "Got:            1" in text
    assert "Also shows in:  10 and -3" in text and "Right: no number; the list, afterwards" in text


def test_an_edit_of_the_right_answer_is_a_mistake(adding):
    assert adding.check(prod).mistakes == ["multiplied"]


def test_a_mistake_that_fits_only_some_of_the_failing_cases_is_not_named(adding):
    report = adding.check(lambda values: values[0] if len(values) == 3 else sum(values) + 1)
    assert report.mistakes == [] and not report.passed
    (finding,) = report.findings
    assert (finding.tried, finding.expected, finding.got) == ("1, 2 and 4", "7", "1")
    assert "Likely mistake" not in repr(report) and "Likely mistake" not in report._repr_html_()


def test_two_mistakes_that_explain_all_between_them_are_both_named(adding):
    report = adding.check(lambda values: values[0] if values else None)
    assert report.mistakes == ["only the first", "the empty list is forgotten"]


def test_what_a_case_says_itself_comes_before_a_guess(adding):
    report = adding.check(lambda values: [values.pop() for _ in values[:]] and 0)
    assert report.mistakes == ["the list is changed"]


@pytest.mark.parametrize("error", [ValueError, RuntimeError("with a line\nand another"), SystemExit(3)])
def test_what_the_answer_raises_is_reported_with_its_line_also_in_a_helper(adding, error):
    def helper():
        raise error

    report = adding.check(lambda values: helper())
    kind = error.__name__ if isinstance(error, type) else type(error).__name__
    assert report.mistakes == [f"your code stopped with {kind}"]
    text = " ".join(repr(report).split())
    assert "in your line" in text and "`raise error`" in text and "and another" not in text


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize("error", [Unspeakable(), ValueError("\ud800"), ValueError("x" * 10**7)])
def test_no_exception_is_too_strange_for_a_report(adding, error):
    def raises(values):
        raise error

    report = adding.check(raises)
    assert not report.passed and len(repr(report)) < 3000
    repr(report).encode("utf-8")


def test_a_strange_result_is_shown_and_not_repeated_at_length(adding):
    class Strange:
        def __repr__(self):
            raise ValueError

    assert not adding.check(lambda values: Strange()).passed
    assert len(repr(adding.check(lambda values: "x" * 10**6))) < 3000


def test_input_is_refused_and_named(adding):
    text = " ".join(repr(adding.check(lambda values: int(input("how many? ")))).split())
    assert "cannot answer input()" in text and "Leave input() out" in text


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform cannot interrupt code")
def test_an_endless_answer_is_stopped_and_the_rest_not_tried(adding, monkeypatch):
    monkeypatch.setattr(judge, "guarded", lambda: guard.guarded(0.2))

    def endless(values):
        while values:
            try:
                pass
            except Exception:  # what a student's code catches does not hold the check up
                pass
        return 0

    report = adding.check(endless)
    assert report.mistakes == ["your code does not finish"] and len(report.right) == 0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform cannot interrupt code")
def test_a_limit_inside_a_limit_leaves_the_outer_one_running():
    with pytest.raises(guard.TimeIsUp), guard.time_limit(0.3):
        with guard.time_limit(60):
            pass
        while True:
            pass


def test_beside_the_main_thread_it_runs_without_a_limit(adding):
    reports = []
    thread = threading.Thread(target=lambda: reports.append(adding.check(sum)))
    thread.start()
    thread.join()
    assert reports[0].passed


def test_nothing_is_left_behind(adding, tmp_path, capsys):
    def careless(values):
        print("printed\nprinted")
        print("warned", file=sys.stderr)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.manual_seed(1)
        os.chdir(tmp_path)
        return sum(values)

    folder = os.getcwd()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    report = adding.check(careless)
    assert report.passed and repr(report).count("  printed\n") == 5 and "... and 3 more lines" in repr(report)
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
    assert torch.empty(0).device.type == "cpu" and os.getcwd() == folder
    assert torch.equal(torch.rand(3), expected)
    assert capsys.readouterr() == ("", "")


def test_outcomes_agree_in_type_shape_and_value():
    x = torch.tensor([1.0, float("nan")])
    assert agree(x, x.clone()) and agree(1, 1.0) and agree([1, (2, "a")], (1, [2, "a"])) and agree({"a": x}, {"a": x})
    for a, b in ((x, x.double()), (x, x[None]), (x, [1.0]), (True, 1), ("a", "b"), ({"a": 1}, {"b": 1}), (None, 0)):
        assert not agree(a, b), (a, b)


def test_of_many_values_the_one_that_differs_most_is_shown():
    right = torch.zeros(100)
    got = right.clone()
    got[17] = 5
    assert words(got, right) == "different values: 5 where 0 is expected"
    assert words({"a": 1, "b": 2}, {"a": 1, "b": 3}) == "b: 2 instead of 3"


def test_an_edit_needs_each_line_just_once():
    assert edited(make_stage, {"no such line": ""}) is None
    assert edited(total, {"value": ""}) is None
    assert edited(edited(total, {"result = 0": "result = 5"}), {"+=": "-="})([1]) == 4
