"""What cannot go well is said before the first step, and before anything is written."""

from dataclasses import replace

import pytest
from support.training import RECIPE, TRAIN, go
from torch import nn

from resnet_lesson import LessonError, Normalisation, build, shapes10
from resnet_lesson.training.transfer import fine_tune, replace_head


def grey(n):
    data = shapes10(n, 8)
    return replace(data, images=data.images[..., :1].contiguous())


def hundred_classes(n):
    return replace(shapes10(n, 8), classes=tuple(f"class {k}" for k in range(100)))


class Small(nn.Sequential):
    """Takes images of 8x8 only. Its last maps are 1x1, so BN needs two images."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 10))


class Talks(Small):
    """Returns more than logits."""

    def forward(self, x):
        return {"logits": super().forward(x)}


WRONG = {
    "a grey test set": (dict(test_set=grey(20)), r"training images are \(8, 8, 3\).* test images are \(8, 8, 1\)"),
    "grey images": (dict(train_set=grey(40), test_set=grey(20)), r"1 channel\(s\), but the network takes 3"),
    "other classes": (dict(test_set=hundred_classes(20)), "in the same order"),
    "too few outputs": (dict(train_set=hundred_classes(40), test_set=hundred_classes(20)), "num_classes=100"),
    "images of another size": (
        dict(network=Small(), train_set=shapes10(40, 9), test_set=shapes10(20, 9)),
        "cannot be multiplied",
    ),
    "nothing to learn": (dict(network=build("resnet8").requires_grad_(False)), "nothing to learn"),
    "no tensor of logits": (dict(network=Talks()), "must return a tensor of logits"),
    "a last batch of one": (dict(network=Small(), train_set=shapes10(33, 8)), r"batch of one image.*take\(32\)"),
}


@pytest.mark.parametrize("options, says", WRONG.values(), ids=WRONG)
def test_what_does_not_go_together_is_said_before_the_first_step(tmp_path, options, says):
    with pytest.raises((LessonError, ValueError, RuntimeError), match=says):
        go(out=tmp_path / "run", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_last_batch_of_one_is_no_fault_where_bn_has_more_than_one_value():
    assert go(train_set=shapes10(33, 16), test_set=shapes10(20, 16))[1].status == "finished"


@pytest.mark.parametrize("seed", [2**32, -1, 0.5])
def test_what_is_no_seed_is_refused(seed):
    """2**32 would be 0's twin: torch and numpy use 32 bits."""
    for make in (lambda: go(seed=seed), lambda: replace_head(build("resnet8"), 3, seed=seed)):
        with pytest.raises(ValueError, match="A seed is a whole number from 0 to 4,294,967,295"):
            make()


# --- the folder


def test_a_folder_that_cannot_be_written_is_known_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("a file")
    network = build("resnet8", seed=0)
    network.register_forward_pre_hook(lambda module, _: pytest.fail("it trained") if module.training else None)
    with pytest.raises(LessonError, match="cannot be recorded in .*file.*choose another folder"):
        go(tmp_path / "file", network)
    assert (tmp_path / "file").read_text() == "a file"


def test_fine_tuning_says_it_too():
    head = build("resnet8", seed=0)
    with pytest.raises(LessonError, match="test images"):
        fine_tune(head, TRAIN, grey(20), Normalisation.of(TRAIN), RECIPE, device="cpu")
