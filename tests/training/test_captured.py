"""What `Captured` does when, with stand-ins for CUDA; what it computes is tested on a GPU, in test_train.py."""

from contextlib import nullcontext
from unittest.mock import Mock

import pytest
import torch

from resnet_lesson.errors import LessonError
from resnet_lesson.training.captured import WARM_UP, Captured


@pytest.fixture(autouse=True)
def cuda(monkeypatch):
    for name in ("Stream", "current_stream", "CUDAGraph"):
        monkeypatch.setattr(torch.cuda, name, Mock())
    for name in ("stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, **options: nullcontext())


def test_it_runs_as_it_is_then_is_recorded_once_and_then_only_replayed():
    met = []
    step = Captured(lambda argument: met.append(argument) or argument.sum())
    for k in range(WARM_UP + 4):
        step(torch.full((4, 2), k))
    assert len(met) == WARM_UP + 1 and step.graph.replay.call_count == 4
    assert all(one is step.argument for one in met)  # always in the same place
    assert step.argument.tolist() == [[WARM_UP + 3] * 2] * 4


@pytest.mark.parametrize(
    "error, told",
    [
        (RuntimeError("operation not permitted\nwhen capturing"), LessonError),
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError),
    ],
)
def test_what_cannot_be_recorded_says_why_and_a_lack_of_memory_stays_one(error, told):
    step = Captured(torch.sum)
    for _ in range(WARM_UP):
        step(torch.zeros(4, 2))

    def fails(argument):
        raise error

    step.function = fails
    with pytest.raises(told) as caught:
        step(torch.zeros(4, 2))
    if told is LessonError:
        assert str(caught.value).endswith("captured=False. (operation not permitted)")
