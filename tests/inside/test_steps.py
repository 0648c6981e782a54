"""The study of a step's size: which moments it looks at, and what it finds there."""

from resnet_lesson.inside import steps as steps_module
from resnet_lesson.inside.steps import steps


def test_a_trial_looks_before_training_and_at_each_moment(monkeypatch):
    monkeypatch.setattr(steps_module, "MOMENTS", (0, 2))
    plan = steps(None)
    assert len(plan.settings) == 32 and plan.shared["recipe"]["lr"] == 0.03
    moments = plan.trial(network="resnet8", seed=1)["moments"]
    assert list(moments) == ["0", "2"] and moments == plan.trial(network="resnet8", seed=1)["moments"]
    start, later = moments.values()
    assert len(start["relative"]) == 8 and start["relative"] != later["relative"]  # 7 convolutions and the linear layer
    assert len(start["kept"]) == 3 and start["kept"][0] > start["kept"][2]
    promise, kept = start["sgd"]
    assert promise > 0 and kept < 1.5
