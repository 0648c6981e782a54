"""What is measured inside recorded networks: complete, written whole, read back; and what the course ships."""

import hashlib
import math

import pytest
import torch
import torch.nn.functional as F

from resnet_lesson import Batches, LessonError, Normalisation, build, recipe, shapes10, train
from resnet_lesson.inside import lesions, measures, record
from resnet_lesson.inside.lesions import droppable
from resnet_lesson.inside.record import DISTANCES, SURFACES, Inside, measure
from resnet_lesson.training.runs import list_runs, recorded

SETS = shapes10(48, 8, seed=0), shapes10(32, 8, seed=1)
SMALL = dict(images=12, points=3, device="cpu")


@pytest.fixture(scope="module", params=["resnet14", "plain8"])
def run(request, tmp_path_factory):
    """A short training on small images, and what was measured in it."""
    folder = tmp_path_factory.mktemp("inside") / request.param
    network = build(request.param, seed=0)
    run = train(network, *SETS, recipe("demo").scaled(4), out=folder, device="cpu", progress=False)
    measure(run, *SETS, **SMALL)
    return run


def test_each_number_is_of_its_network_and_its_images(run):
    found, trained = Inside.of(run), run.load_weights(build(run.network["name"])).eval()
    networks = {"untrained": build(run.network["name"], seed=run.network["seed"]), "trained": trained}
    norm = Normalisation.of(SETS[0], run.recipe["normalisation"])
    ((images, labels),) = Batches(SETS[0].take(12), 12, norm)
    tests = list(Batches(SETS[1], 32, norm))

    for anew, part in ((False, vars(found)), (True, found.with_batch_statistics)):
        assert part["error"] == lesions.error_of(trained, tests, batch_statistics=anew)
        assert part["drop_each"] == lesions.drop_each(trained, tests, batch_statistics=anew)
    assert found.residual_sizes == pytest.approx(measures.residual_sizes(trained, images), rel=1e-4)
    assert found.gradient_correlation["distances"] == list(DISTANCES)
    for kind, network in networks.items():
        correlation = measures.gradient_correlation(network, images, DISTANCES, trained=kind == "trained")
        assert found.gradient_correlation[kind] == pytest.approx(correlation, abs=1e-4)

    surfaces = {name: found.surface(name) for name in SURFACES}
    loss = F.cross_entropy(trained(images), labels).item()
    assert [surfaces[name].centre for name in SURFACES if name != "line-batch"] == pytest.approx([loss] * 3, rel=1e-4)
    assert surfaces["line-batch"].centre != pytest.approx(loss, rel=1e-3)
    assert [tuple(surfaces[name].loss.shape) for name in SURFACES] == [(3, 3), (3, 3), (1, 7), (1, 7)]


def test_it_is_measured_again_only_for_other_weights_images_or_numbers(run, monkeypatch):
    monkeypatch.setattr(record, "_write_surfaces", lambda *_: 1 / 0)
    assert measure(run, *SETS, **SMALL) == Inside.of(run)
    with pytest.raises(ZeroDivisionError):
        measure(run, *SETS, **SMALL | {"images": 14})
    weights, other = run.folder / "weights.safetensors", (run.folder / "inside.json").read_text()
    (run.folder / "inside.json").write_text(other.replace(hashlib.sha256(weights.read_bytes()).hexdigest(), "other"))
    with pytest.raises(ZeroDivisionError):
        measure(run, *SETS, **SMALL)
    (run.folder / "inside.json").write_text(other)


def test_other_images_are_refused_and_missing_measurements_are_named(run, tmp_path):
    with pytest.raises(LessonError, match="trained on other images"):
        measure(run, SETS[1], SETS[0], **SMALL)
    with pytest.raises(LessonError, match=f"Nothing has been measured inside.*lesson inside {run.name}`"):
        Inside.of(run, tmp_path)
    for broken in ("{", "{}", "[]"):
        (tmp_path / "inside.json").write_text(broken)
        with pytest.raises(LessonError, match="cannot be read.* to make it again"):
            Inside.of(run, tmp_path)


# --- what the course ships

MEASURED = [run.name for run in list_runs() if (run.folder / "inside.json").exists()]


def test_the_four_networks_of_notebook_07_are_measured():
    assert {f"paper-{name}-seed0" for name in ("plain20", "plain56", "resnet20", "resnet56")} == set(MEASURED)


@pytest.mark.parametrize("name", MEASURED)
def test_what_ships_is_of_the_recorded_weights_and_complete(name):
    run = recorded(name)
    found = Inside.of(run)
    weights = hashlib.sha256((run.folder / "weights.safetensors").read_bytes()).hexdigest()
    assert found.about["weights_sha256"] == weights and found.about["data"] == run.data
    assert found.about["command"].startswith("python -m resnet_lesson inside ") and len(found.about["commit"]) >= 40
    assert list(found.drop_each) == droppable(build(run.network["name"]))
    assert math.isclose(found.error, run.final(), abs_tol=0.04)  # 1,000 of the 10,000 images
    sides = {"surface-0": (25, 25), "surface-1": (25, 25), "line-fixed": (1, 51), "line-batch": (1, 51)}
    for surface, shape in sides.items():
        one = found.surface(surface)
        assert one.loss.shape == shape and bool(torch.isfinite(one.loss).all())
    assert found.surface("surface-0").centre == pytest.approx(found.surface("surface-1").centre, rel=1e-4)
