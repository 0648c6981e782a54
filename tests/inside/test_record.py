"""What is measured inside recorded networks: complete, written whole, read back; and what the course ships."""

import dataclasses
import functools
import hashlib
import json
import math
import shutil

import pytest
import torch
import torch.nn.functional as F

from resnet_lesson import Batches, LessonError, Normalisation, build, recipe, shapes10, train
from resnet_lesson.inside import lesions, measures, record
from resnet_lesson.inside.landscape import Surface
from resnet_lesson.inside.lesions import blocks_of, droppable, movable
from resnet_lesson.inside.record import DISTANCE, DISTANCES, SURFACES, Inside, measure
from resnet_lesson.training.runs import list_runs, recorded

SETS = shapes10(48, 8, seed=0), shapes10(32, 8, seed=1)
SMALL = dict(images=12, lesion_images=20, points=3, samples=2, device="cpu", progress=False)


@pytest.fixture(scope="module", params=["resnet14", "plain14"])
def run(request, tmp_path_factory):
    """A short training on small images, and what was measured in it."""
    folder = tmp_path_factory.mktemp("inside") / request.param
    network = build(request.param, seed=0)
    run = train(network, *SETS, recipe("demo").scaled(4), out=folder, device="cpu", progress=False)
    measure(run, *SETS, **SMALL)
    return run


def test_everything_is_measured_and_read_back(run):
    found, network = Inside.of(run), run.load_weights(build(run.network["name"]))
    residual = run.network["name"].startswith("resnet")
    assert list(found.drop_each) == droppable(network) and 0 <= found.error <= 1
    for random in (found.drop_random, found.swap_random):
        assert random["counts"] == list(range(1, len(movable(network)) + 1))
        assert [len(row) for row in random["errors"]] == [2] * len(random["counts"])
    batch = found.with_batch_statistics
    assert list(batch["drop_each"]) == droppable(network) and batch["drop_random"]["counts"][0] == 1
    assert (batch["error"], batch["drop_each"]) != (found.error, found.drop_each)
    assert set(found.about["commits"]) == {"error", "drop_each"} | set(vars(found)) - {"about", "folder"}
    assert list(found.correlation_by_block["trained"]) == list(blocks_of(network))
    assert list(found.residual_sizes) == (list(blocks_of(network)) if residual else [])
    assert found.path_gradients["lengths"] == (list(range(7)) if residual else [])
    assert len(found.path_gradients["norms"]) == len(found.path_gradients["lengths"])
    assert len(found.responses) == 13 and len(found.gradient_norms["untrained"]) == 14
    weights = (run.folder / "weights.safetensors").read_bytes()
    assert found.about["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert "first 12 training images" in found.about["images"] and "20 test" in found.about["lesion_images"]


def test_each_number_is_of_its_network_and_its_images(run):
    found, trained = Inside.of(run), run.load_weights(build(run.network["name"])).eval()
    networks = {"untrained": build(run.network["name"], seed=run.network["seed"]), "trained": trained}
    norm = Normalisation.of(SETS[0], run.recipe["normalisation"])
    ((images, labels),) = Batches(SETS[0].take(12), 12, norm)
    tests = list(Batches(SETS[1].take(20), 20, norm))
    assert found.surface().centre == pytest.approx(F.cross_entropy(trained(images), labels).item(), rel=1e-4)

    counts = found.drop_random["counts"]
    assert found.error == lesions.error_of(trained, tests) and found.drop_each == lesions.drop_each(trained, tests)
    assert found.drop_random["errors"] == lesions.drop_random(trained, tests, counts, 2)
    assert found.swap_random["errors"] == lesions.swap_random(trained, tests, counts, 2)
    batch = found.with_batch_statistics
    assert batch["error"] == lesions.error_of(trained, tests, batch_statistics=True)
    assert batch["drop_each"] == lesions.drop_each(trained, tests, batch_statistics=True)
    assert batch["drop_random"]["errors"] == lesions.drop_random(trained, tests, counts, 2, batch_statistics=True)

    assert found.responses == pytest.approx(measures.responses(trained, images), rel=1e-4)
    assert found.residual_sizes == pytest.approx(measures.residual_sizes(trained, images), rel=1e-4)
    assert found.gradient_correlation["distances"] == list(DISTANCES)
    for kind, network in networks.items():
        correlation = functools.partial(measures.gradient_correlation, network, images, trained=kind == "trained")
        assert found.gradient_norms[kind] == pytest.approx(measures.gradient_norms(network, images, labels), rel=1e-4)
        assert found.gradient_correlation[kind] == pytest.approx(correlation(DISTANCES), abs=1e-4)
        blocks = {name: correlation([DISTANCE], at=name)[0] for name in blocks_of(network)}
        assert found.correlation_by_block[kind] == pytest.approx(blocks, abs=1e-4)
    if found.path_gradients["lengths"]:  # one path goes around all blocks, and one through all
        ends = lesions.path_gradients(trained, images, labels, [0, 6], samples=1)
        assert found.path_gradients["norms"][::6] == pytest.approx(ends, rel=1e-4)


def test_the_surfaces_share_their_middle_and_say_their_directions(run):
    found = Inside.of(run)
    surfaces = {name: found.surface(name) for name in SURFACES}
    fixed = [surfaces[name].centre for name in ("surface-0", "surface-1", "line-fixed")]
    assert fixed == pytest.approx([fixed[0]] * 3, rel=1e-5)
    assert surfaces["line-batch"].centre != pytest.approx(fixed[0], rel=1e-3)
    assert [surfaces[name].about["direction_seeds"] for name in SURFACES] == [[0, 1], [2, 3], [0], [0]]
    assert [tuple(surfaces[name].loss.shape) for name in SURFACES] == [(3, 3), (3, 3), (1, 7), (1, 7)]


@pytest.mark.parametrize("change, sides", [({}, [3]), ({"images": 14}, [3, 3, 7, 7]), ({"points": 5}, [5, 5, 11, 11])])
def test_surfaces_of_other_weights_images_or_points_are_made_again(run, monkeypatch, tmp_path, change, sides):
    made = []

    def again(*_, points, **__):
        made.append(points)
        if len(made) == len(sides):
            raise KeyboardInterrupt  # what else is measured does not matter here
        return surface_of(run)

    for path in run.folder.iterdir():
        if path.name.startswith(("inside", "surface-", "line-")):
            shutil.copy(path, tmp_path)
    monkeypatch.setattr(record, "surface", again)
    measure(run, *SETS, **SMALL, folder=tmp_path)
    assert made == []
    if not change:
        other = Surface.load(tmp_path / "surface-1.safetensors")
        other.about["weights_sha256"] = "of other weights"
        other.save(tmp_path / "surface-1.safetensors")
    with pytest.raises(KeyboardInterrupt):
        measure(run, *SETS, **SMALL | change, folder=tmp_path)
    assert made == sides


@pytest.mark.parametrize("change", [{"images": 1}, {"lesion_images": 0}, {"samples": 0}])
def test_too_little_to_measure_is_refused_before_anything_is_computed(run, tmp_path, change):
    with pytest.raises(ValueError, match="at least 2 images, 1 image for the lesions and 1 sample"):
        measure(run, *SETS, **SMALL | change, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_network_without_two_blocks_to_exchange_is_measured(tmp_path):
    run = train(build("resnet8", seed=0), *SETS, recipe("demo").scaled(1), out=tmp_path, device="cpu", progress=False)
    found = measure(run, *SETS, **SMALL)
    assert found.swap_random["counts"] == found.swap_random["errors"] == []
    assert found.drop_random["counts"] == [1] and len(found.drop_each) == 3


def test_a_measurement_that_was_stopped_goes_on(run, monkeypatch, tmp_path):
    folder, before = tmp_path / "again", {path.name: path.stat().st_mtime_ns for path in run.folder.iterdir()}

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(record.measures, "responses", stop)
        with pytest.raises(KeyboardInterrupt):
            measure(run, *SETS, **SMALL, folder=folder)
    begun = json.loads((folder / "inside.json").read_text())
    assert "drop_each" in begun and "responses" not in begun
    with pytest.raises(LessonError, match="not complete.* goes on"):
        Inside.of(run, folder)
    monkeypatch.setattr(record.lesions, "drop_each", stop)  # is not asked again
    found = measure(run, *SETS, **SMALL, folder=folder)
    assert found == Inside.of(run) and found.folder == folder
    assert {path.name: path.stat().st_mtime_ns for path in run.folder.iterdir()} == before
    with pytest.raises(KeyboardInterrupt):
        measure(run, *SETS, **SMALL | {"samples": 3}, folder=folder)  # of something else


def surface_of(run):
    return Surface.load(run.folder / "surface-1.safetensors")


def test_other_images_are_refused_and_missing_measurements_are_named(run, tmp_path):
    with pytest.raises(LessonError, match="trained on other images"):
        measure(run, SETS[1], SETS[0], **SMALL)
    with pytest.raises(LessonError):
        measure(dataclasses.replace(run, folder=None), *SETS, **SMALL)
    with pytest.raises(ValueError, match="Did you mean 'surface-[01]'"):
        Inside.of(run).surface("surface9")
    bare = train(build("resnet8"), *SETS, recipe("demo").scaled(1), out=tmp_path / "bare", progress=False)
    with pytest.raises(LessonError, match="Nothing was measured inside of bare.*lesson inside bare`"):
        Inside.of(bare)
    for broken, says in (("{", "cannot be read.* makes it again"), ("{}", "not complete"), ("[]", "not complete")):
        (tmp_path / "bare" / "inside.json").write_text(broken)
        with pytest.raises(LessonError, match=says):
            Inside.of(bare)
        folder = tmp_path / "again"
        folder.mkdir(exist_ok=True)
        (folder / "inside.json").write_text(broken)
    assert measure(bare, *SETS, **SMALL, folder=folder).error <= 1  # what cannot be used is measured anew


# --- what the course ships

MEASURED = [run.name for run in list_runs() if (run.folder / "inside.json").exists()]


def test_the_four_networks_of_notebook_07_are_measured():
    assert {f"paper-{name}-seed0" for name in ("plain20", "plain56", "resnet20", "resnet56")} == set(MEASURED)


@pytest.mark.parametrize("name", MEASURED)
def test_what_ships_is_of_the_recorded_weights_and_complete(name):
    run = recorded(name)
    found = Inside.of(run)
    weights = hashlib.sha256((run.folder / "weights.safetensors").read_bytes()).hexdigest()
    network = build(run.network["name"])
    assert found.about["weights_sha256"] == weights and found.about["data"] == run.data
    assert found.about["command"].startswith("python -m resnet_lesson inside ") and len(found.about["commit"]) >= 40
    assert list(found.drop_each) == droppable(network)
    assert math.isclose(found.error, run.final(), abs_tol=0.04)  # 1,000 of the 10,000 images
    sides = {"surface-0": (25, 25), "surface-1": (25, 25), "line-fixed": (1, 51), "line-batch": (1, 51)}
    for surface, shape in sides.items():
        one = found.surface(surface)
        assert one.loss.shape == one.error.shape == shape and bool(torch.isfinite(one.loss).all())
        assert one.about["weights_sha256"] == weights
    assert found.surface("surface-0").centre == pytest.approx(found.surface("surface-1").centre, rel=1e-4)
    assert "/root" not in json.dumps(found.about) and "/work" not in json.dumps(found.about)
