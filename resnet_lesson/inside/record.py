"""What was measured inside a recorded network, kept with its record, so that notebook 07 can show it without CIFAR-10.

inside.json                        sizes of F, gradients of neighbours, lesions
surface-0.safetensors, surface-1   loss surfaces, each along its own directions
line-fixed, line-batch             a finer line, with BN's statistics fixed and with those of the images
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from .. import machine
from ..datasets.batches import Batches, Normalisation
from ..datasets.dataset import Dataset
from ..errors import LessonError
from ..files import replace_file
from ..models.networks import build
from ..models.resnet import ResNet
from ..training.runs import Run
from . import lesions, measures
from .landscape import Surface, filter_direction, surface

DISTANCES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # of the way to another image
SURFACES = {  # name: seeds of the directions, and what is special
    "surface-0": ((0, 1), {}),
    "surface-1": ((2, 3), {}),
    "line-fixed": ((0,), {}),
    "line-batch": ((0,), {"batch_statistics": True}),
}


@dataclass
class Inside:
    """What `measure` found in a run's network. Dicts are by layer or block, in order; errors are from 0 to 1.

    error: that of the whole network, on the images of the lesions. drop_each: that without the given block.
    with_batch_statistics: "error" and "drop_each" again, with BN's statistics taken from each batch.
    residual_sizes: as in `measures`; empty for a plain network.
    gradient_correlation: {"distances": ..., "untrained": ..., "trained": ...}, one value per distance.
    about: what was measured, and how.
    """

    error: float
    drop_each: dict[str, float]
    with_batch_statistics: dict
    residual_sizes: dict[str, float]
    gradient_correlation: dict[str, list[float]]
    about: dict
    folder: Path | None = field(default=None, compare=False)

    @classmethod
    def of(cls, run: Run, folder: Path | None = None) -> "Inside":
        """Read what was measured in a recorded run, from its own folder or from another one.

        Raises LessonError if nothing was measured, or if it cannot be read.
        """
        path = (folder or run.folder) / "inside.json"
        how = f"`python -m resnet_lesson inside {run.name}`"
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")), folder=path.parent)
        except FileNotFoundError:
            raise LessonError(f"Nothing has been measured inside {run.name} yet: run {how}.") from None
        except (ValueError, TypeError) as error:
            raise LessonError(f"{path} cannot be read ({error}): to make it again, run {how}.") from error

    def surface(self, name: str = "surface-0") -> Surface:
        """One of the loss surfaces, named as in `SURFACES`. Raises LessonError if it is missing."""
        return Surface.load(self.folder / f"{name}.safetensors")


def measure(
    run: Run,
    train_set: Dataset,
    test_set: Dataset,
    *,
    images: int = 128,
    points: int = 25,
    folder: Path | None = None,
    device: torch.device | str | None = None,
) -> Inside:
    """Measure inside the network of a recorded run, and write the results into `folder`, by default the run's own.

    images: how many training images, from the first on and without augmentation, to use for the surfaces. At most 128
    of them are used for everything else, except for the lesions, which use the first 1,000 test images. points: how
    many along each side of a surface, from -1 to 1. device: by default the GPU if there is one.

    Results that are already there for the same weights, images and points are returned as they are. Raises LessonError
    for a run without weights, and for images other than the run's.
    """
    run.check_data(train_set, test_set)
    folder, device = folder or run.folder, torch.device(device) if device else machine.pick_device()
    name, seed, options = (run.network[key] for key in ("name", "seed", "options"))
    network = run.load_weights(build(name, **options)).to(device).eval()
    first, first_tests = train_set.take(images), test_set.take(1000)
    subject = {
        "run": run.name,
        "weights_sha256": hashlib.sha256((run.folder / "weights.safetensors").read_bytes()).hexdigest(),
        "data": run.data,
        "images": f"the first {len(first)} training images, without augmentation",
        "lesion_images": f"the first {len(first_tests)} test images",
        "points": points,
    }
    with suppress(LessonError):
        found = Inside.of(run, folder)
        old = {"points": 25, **found.about}  # the course's own were recorded before `points` was
        if all(old.get(key) == value for key, value in subject.items()):
            return found
    normalisation = Normalisation.of(train_set, run.recipe["normalisation"])
    (labelled,) = Batches(first, len(first), normalisation, device=device)
    batches = list(Batches(first_tests, 250, normalisation, device=device))
    made = {"command": machine.command(), "commit": machine.commit(), "machine": machine.describe(device)}
    untrained = build(name, seed=seed, **options).to(device)
    _write_surfaces(network, *labelled, folder, points)
    few = labelled[0][:128]
    correlation = {
        "distances": DISTANCES,
        "untrained": measures.gradient_correlation(untrained, few, DISTANCES, trained=False),
        "trained": measures.gradient_correlation(network, few, DISTANCES),
    }
    record = {
        "about": subject | made,
        **_errors(network, batches),
        "with_batch_statistics": _errors(network, batches, batch_statistics=True),
        "residual_sizes": measures.residual_sizes(network, few),
        "gradient_correlation": correlation,
    }
    content = (json.dumps(record, indent=1) + "\n").encode()
    replace_file(folder / "inside.json", lambda file: file.write(content))
    return Inside.of(run, folder)


def _write_surfaces(network: ResNet, images: Tensor, labels: Tensor, folder: Path, points: int) -> None:
    for name, (seeds, how) in SURFACES.items():
        side = points if len(seeds) == 2 else 2 * points + 1
        directions = [filter_direction(network, seed) for seed in seeds]
        found = surface(network, images, labels, *directions, points=side, progress=True, **how)
        found.save(folder / f"{name}.safetensors")


def _errors(network: ResNet, batches: lesions.Images, **how: bool) -> dict:
    """The error of the whole network, and without each block."""
    drop_each = lesions.drop_each(network, batches, **how)
    return {"error": lesions.error_of(network, batches, **how), "drop_each": drop_each}
