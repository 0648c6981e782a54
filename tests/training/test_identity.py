"""Weights by name: they are kept whole, and never loaded into a network that computes something else."""

import json

import pytest
import torch
from torch import nn

from resnet_lesson import LessonError, Recipe, build, shapes10, train
from resnet_lesson.models.family import dilate, stochastic_depth
from resnet_lesson.models.memory import recompute
from resnet_lesson.training.identity import digest_of, put_state, state_of
from resnet_lesson.training.runs import load

TRAIN, TEST = shapes10(40, 8, seed=0), shapes10(20, 8, seed=1)
RECIPE = Recipe("tiny", 3, batch_size=16, lr=0.05, padding=1)


def go(network, out, **options):
    options = dict(recipe=RECIPE, device="cpu", precision="float32", progress=False) | options
    return train(network, TRAIN, TEST, out=out, **options)


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


@pytest.mark.parametrize("usual, changed", CHANGED.values(), ids=CHANGED)
def test_a_changed_network_is_never_taken_for_the_usual_one(tmp_path, usual, changed):
    go(changed(), tmp_path / "run")
    with pytest.raises(LessonError, match="computes something else|another network"):
        go(usual(), tmp_path / "run")
    load(tmp_path / "run").load_weights(changed())


@pytest.mark.parametrize("usual, changed", [CHANGED[name] for name in CHANGED if name != "blocks that rest"])
def test_its_weights_are_not_loaded_into_the_usual_one(tmp_path, usual, changed):
    """Blocks that rest in training do not in evaluation: there both compute the same."""
    go(changed(), tmp_path / "run")
    network = usual()
    before = state_of(network)
    with pytest.raises(LessonError, match="computes something else"):
        load(tmp_path / "run").load_weights(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state_of(network).items()), "left as it was"


def test_a_checkpoint_of_a_changed_network_is_refused_too(tmp_path):
    def stop(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(another_forward(), tmp_path / "run", record_every=2, checkpoint_every=0, observers=[stop])
    with pytest.raises(LessonError, match="computes something else"):
        go(Own(), tmp_path / "run")


def test_another_network_of_the_same_name_is_known_by_its_weights_before_any_step(tmp_path):
    go(Own(), tmp_path / "run")

    class Wider(nn.Sequential):
        pass

    Wider.__name__ = "Own"
    network = Wider(nn.Conv2d(3, 9, 3), nn.BatchNorm2d(9), nn.Flatten(), nn.Linear(9 * 36, 10))
    with pytest.raises(LessonError, match="another network"):
        go(network, tmp_path / "run")


def test_what_computes_the_same_may_take_its_place(tmp_path):
    go(build("resnet8", seed=0), tmp_path / "run")
    for same in (recompute(build("resnet8", seed=0)), nn.DataParallel(build("resnet8", seed=0))):
        load(tmp_path / "run").load_weights(same)
        assert digest_of(same) == digest_of(build("resnet8"))


def test_a_record_without_an_answer_or_digest_is_read_as_before(tmp_path):
    """The course's own records are older than both."""
    go(build("resnet8", seed=0), tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    record = json.loads(path.read_text())
    del record["network"]["digest"]
    path.write_text(json.dumps(record))
    load(tmp_path / "run").save_weights(build("resnet8", seed=0))
    assert go(build("resnet8", seed=0), tmp_path / "run").live is False


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
    assert go(network, tmp_path / "run").status == "finished"
    other = load(tmp_path / "run").load_weights(Tied())
    assert torch.equal(other.twin.weight, network.twin.weight) and other.twin.weight is other[3].weight


@pytest.mark.parametrize("part", [False, True], ids=["the whole", "a part"])
def test_a_compiled_network_is_kept_under_the_names_of_the_plain_one(tmp_path, part):
    network = build("resnet8", seed=0)
    if part:
        network.fc = torch.compile(network.fc, backend="eager")
    else:
        network = torch.compile(network, backend="eager")
    assert go(network, tmp_path / "run").network["name"] == "resnet8"
    plain = load(tmp_path / "run").load_weights(build("resnet8"))
    assert all(torch.equal(tensor, state_of(plain)[name]) for name, tensor in state_of(network).items())
    again = go(network, tmp_path / "run")
    assert again.status == "finished" and not again.live


def test_weights_of_other_shapes_leave_the_network_as_it_was():
    network = build("resnet8", seed=0)
    before = state_of(network)
    with pytest.raises(RuntimeError):
        put_state(network, state_of(build("resnet20", seed=1)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in state_of(network).items())
