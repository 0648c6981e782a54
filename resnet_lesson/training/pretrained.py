"""Trained networks by name, the course's own without a download, and torchvision's; and images as they want them."""

import pickle
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models import WeightsEnum
from torchvision.transforms import v2

from ..datasets.batches import Normalisation
from ..datasets.cifar10 import CIFAR10_CLASSES
from ..datasets.dataset import Dataset
from ..errors import LessonError, unknown
from ..models.networks import IMAGENET_NAMES, build
from ..models.weights import load_weights
from .runs import recorded

# Of the 50,000 training images, of 255: what Normalisation.of measures on them.
CIFAR10 = Normalisation(torch.tensor([125.307, 122.950, 113.865]), torch.tensor([62.993, 62.089, 66.705]))
STALL = 20  # seconds without a byte, after which a download has failed
OURS = ("resnet8", "resnet20", "resnet56")  # the course's own: the recorded runs short-NAME-seed0


@dataclass(frozen=True)
class Pretrained:
    """A trained network of the course's own make, and what it expects of its images.

    classes: what it was trained to tell apart. size: height and width of its images, pixels. normalisation: of images
    of 0 to 255, as `Batches` takes it. transforms: the same for a PIL image or a uint8 tensor (..., 3, H, W), with
    resizing and cropping; of torchvision's weights, torchvision's own. source: where the weights come from.
    """

    network: nn.Module
    classes: tuple[str, ...]
    size: int
    normalisation: Normalisation
    transforms: Callable
    source: str


def pretrained(name: str, weights: str = "DEFAULT", *, otherwise: str | None = "resnet20") -> Pretrained:
    """A trained network by name, in evaluation mode.

    "resnet8", "resnet20", "resnet56": trained on CIFAR-10 by the course itself; they are part of it, so nothing is
    downloaded. "resnet18", "resnet34", "resnet50", ...: ImageNet weights through torchvision's API, which shows its
    progress, checks the file and keeps it; `weights` as torchvision names them ("IMAGENET1K_V1").

    Where they cannot be had, a line says why (offline, a server without them, a damaged file, a full disk), and the
    network `otherwise` is used instead; with otherwise=None that line is a LessonError.
    Raises ValueError for a name or weights that do not exist.
    """
    if name in OURS:
        if weights != "DEFAULT":
            raise ValueError(f"The course has one set of weights for {name}: leave weights={weights!r} out.")
        return _ours(name)
    theirs = [one for one in IMAGENET_NAMES if one in torchvision.models.list_models()]
    if name not in theirs:
        raise ValueError(unknown("trained network", name, [*OURS, *theirs]))
    if otherwise is not None and otherwise not in OURS:
        raise ValueError(unknown("trained network of the course", otherwise, OURS))
    choices = torchvision.models.get_model_weights(name)
    if weights not in choices.__members__:
        raise ValueError(unknown(f"set of weights for {name}", weights, choices.__members__))
    try:
        return _torchvisions(name, choices[weights])
    except LessonError as error:
        if otherwise is None:
            raise
        print(f"{error} The course's own {otherwise}, trained on CIFAR-10, is used instead.")
        return _ours(otherwise)


def _ours(name: str) -> Pretrained:
    run = recorded(f"short-{name}-seed0")
    network = run.load_weights(build(name)).eval()
    source = f"{run.name}: trained on CIFAR-10 by the course, test error {run.final():.1%}"
    return Pretrained(network, CIFAR10_CLASSES, 32, CIFAR10, _transforms(32, CIFAR10), source)


def _torchvisions(name: str, chosen: WeightsEnum) -> Pretrained:
    classes, preset = tuple(chosen.meta["categories"]), chosen.transforms()
    network = build(name, num_classes=len(classes))
    kept = Path(torch.hub.get_dir()) / "checkpoints" / chosen.url.rpartition("/")[2]
    state = _fetch(f"{name}'s weights {chosen}", chosen, kept)
    try:
        load_weights(network, state)
    except LessonError as error:
        raise LessonError(f"{kept} does not hold {name}'s weights: delete it. {error}") from error
    norm = Normalisation(255 * torch.tensor(preset.mean), 255 * torch.tensor(preset.std))
    return Pretrained(network.eval(), classes, preset.crop_size[0], norm, preset, f"torchvision, {chosen}")


def _fetch(what: str, chosen: WeightsEnum, kept: Path) -> Mapping[str, Tensor]:
    """Torchvision's weights from its folder, or else from its server. Raises LessonError that says why not."""
    was_there = kept.exists()
    try:
        with _patience(STALL):
            return chosen.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, HTTPException, pickle.UnpicklingError, EOFError, RuntimeError) as error:
        name = type(error).__name__
        if was_there:  # torch looks at the checksum of what it fetches, not of what is there already
            why = f"{kept} is damaged, or not a file of weights ({name}): delete it."
        elif isinstance(error, HTTPError):
            why = f"{what} are not here, and the server does not give them (HTTP {error.code}): try again later."
        elif isinstance(error, (URLError, ConnectionError, TimeoutError, HTTPException)):
            why = f"{what} are not here and could not be fetched ({name}): try again when online."
        elif isinstance(error, OSError):
            why = f"{what} cannot be kept in {kept.parent} ({error.strerror}): make room, or set TORCH_HOME."
        else:
            why = f"{what} are not here, and something else came in their place ({error}): a login page?"
        raise LessonError(why) from error


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """torch's download waits for ever where nothing comes; inside, no longer than this."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _transforms(size: int, norm: Normalisation) -> Callable:
    mean, std = ([value / 255 for value in part.tolist()] for part in (norm.mean, norm.std))
    to_floats = v2.ToDtype(torch.float32, scale=True)
    return v2.Compose([v2.ToImage(), v2.Resize(size), v2.CenterCrop(size), to_floats, v2.Normalize(mean, std)])


def as_photographs(drawings: Dataset, size: int = 32) -> Dataset:
    """Grey images (N, H, W, 1) in the shape that networks for photographs take: (N, size, size, 3).

    Three equal channels. A few more pixels are an empty border; a larger size is interpolated (bilinear). Raises
    ValueError for images that have three channels already or are not square, and for a smaller size.
    """
    n, height, width, channels = drawings.images.shape
    if channels != 1 or height != width or size < height:
        raise ValueError(
            f"as_photographs takes square images with 1 channel and makes them larger: these are {height}x{width} with "
            f"{channels}, and you asked for {size}x{size}."
        )
    images = drawings.images
    if size < 2 * height:
        before, after = (size - height) // 2, (size - height + 1) // 2
        images = F.pad(images, (0, 0, before, after, before, after))
    else:
        images = F.interpolate(images.permute(0, 3, 1, 2), (size, size), mode="bilinear").permute(0, 2, 3, 1)
    return replace(drawings, images=images.expand(-1, -1, -1, 3).contiguous())
