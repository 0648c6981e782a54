"""The mistakes that each exercise knows: each is told under its own name, and each case can fail."""

import functools

import pytest
from answers import WRONG
from support.checks import check

from resnet_lesson import exercises
from resnet_lesson.exercises.kit.judge import against
from resnet_lesson.exercises.kit.outcomes import Stopped, Wrong

NAMES = exercises.names()


@pytest.mark.parametrize("name", NAMES)
def test_each_case_has_an_outcome_for_the_courses_answer(name):
    """If a case itself failed, right and wrong answers would agree on its exception."""
    exercise = getattr(exercises, name)
    for right in exercise.right_answers:
        for i, case in enumerate(exercise.cases):
            assert not isinstance(exercise.outcome_of(right, i), (Wrong, Stopped)), case.tried


@functools.cache
def diagnoses(name):
    """Of each known mistake, what the judge says to it: (the mistake, Diagnosis)."""
    exercise, made = getattr(exercises, name), []
    for mistake in exercise.mistakes:
        wrong = [(right, one) for right in exercise.right_answers for one in mistake.answers_beside(right)]
        assert wrong, f"{mistake.name}: nothing to edit for {mistake.wrong}"
        right, one = wrong[0]
        found = [exercise.outcome_of(one, i) for i in range(len(exercise.cases))]
        made.append((mistake, against(exercise, right, found)))
    return made


@pytest.mark.parametrize("name", NAMES)
def test_each_known_mistake_is_told_under_its_own_name(name):
    """Also if it is an edit of the course's code that no longer fits the code."""
    for mistake, diagnosis in diagnoses(name):
        assert mistake.name in [finding.mistake for finding in diagnosis.findings], mistake


@pytest.mark.parametrize("name", NAMES)
def test_every_case_can_fail(name):
    """A case in which no wrong answer fails checks nothing that anybody knows of."""
    tried = [case.tried for case in getattr(exercises, name).cases]
    open_ = set(tried) - {tried[i] for _, diagnosis in diagnoses(name) for i in diagnosis.failed}
    for answer, _ in WRONG[name].values() if open_ else ():
        open_ &= set(check(name, answer).right)
    assert open_ == set()
