"""Weights by name: they are kept whole, and never loaded into a network that computes something else."""

import pytest
import torch
from support.training import go
from torch import nn

from resnet_lesson import LessonError, build
from resnet_lesson.models.family import dilate, stochastic_depth
from resnet_lesson.training.identity import digest_of, state_of
from resnet_lesson.training.runs import load


class Own(nn.Sequential):
    """A network written by hand; `Own` with another forward has the same name and the same weights."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 10))


def another_forward():
    class Own(globals()["Own"]):
        def forward(self, x):
            return super().forward(x.relu())

    Own.__qualname__ = "Own"
    return Own()


def exchanged():
    network = build("resnet8", seed=0)
    network.stem.relu = nn.GELU()
    return network


CHANGED = {
    "dilated": (lambda: build("resnet8", seed=0), lambda: dilate(build("resnet8", seed=0), [2])),
    "blocks that rest": (lambda: build("resnet8", seed=0), lambda: stochastic_depth(build("resnet8", seed=0))),
    "another activation": (lambda: build("resnet8", seed=0), exchanged),
    "another forward": (Own, another_forward),
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_changed_network_is_never_taken_for_the_usual_one(tmp_path, what):
    usual, changed = CHANGED[what]
    go(tmp_path, changed())
    load(tmp_path).load_weights(changed())
    network = usual()
    before = state_of(network)
    with pytest.raises(LessonError, match="computes something else|another network"):
        go(tmp_path, network)
    if what != "blocks that rest":  # in evaluation they do not rest, and so compute the same
        with pytest.raises(LessonError, match="computes something else"):
            load(tmp_path).load_weights(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state_of(network).items()), "left as it was"


def test_a_checkpoint_of_a_changed_network_is_refused_too(tmp_path):
    def stop(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, another_forward(), record_every=2, checkpoint_every=0, observers=[stop])
    with pytest.raises(LessonError, match="computes something else"):
        go(tmp_path, Own())


def test_what_computes_the_same_may_take_its_place(tmp_path):
    go(tmp_path, build("resnet8", seed=0))
    same = nn.DataParallel(build("resnet8", seed=0))
    load(tmp_path).load_weights(same)
    assert digest_of(same) == digest_of(build("resnet8"))


class Tied(Own):
    """Two modules that share a tensor."""

    def __init__(self):
        super().__init__()
        self.twin = nn.Linear(8 * 36, 10)
        self.twin.weight = self[3].weight

    def forward(self, x):
        return self.twin(self[2](self[1](self[0](x))))


def test_shared_tensors_are_kept(tmp_path):
    network = Tied()
    assert go(tmp_path, network)[1].status == "finished"
    other = load(tmp_path).load_weights(Tied())
    assert torch.equal(other.twin.weight, network.twin.weight) and other.twin.weight is other[3].weight


@pytest.mark.parametrize("part", [False, True], ids=["the whole", "a part"])
def test_a_compiled_network_is_kept_under_the_names_of_the_plain_one(tmp_path, part):
    network = build("resnet8", seed=0)
    if part:
        network.fc = torch.compile(network.fc, backend="eager")
    else:
        network = torch.compile(network, backend="eager")
    assert go(tmp_path, network)[1].network["name"] == "resnet8"
    plain = load(tmp_path).load_weights(build("resnet8"))
    assert all(torch.equal(tensor, state_of(plain)[name]) for name, tensor in state_of(network).items())
    _, again = go(tmp_path, network)
    assert again.status == "finished" and not again.live
