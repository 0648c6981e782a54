"""Trained networks by name: the course's own as recorded; torchvision's from its cache, from servers that work, stall,
cut or lie, and without any; and drawings made into photographs."""

import errno
import hashlib
import io
import re
import socket
import struct
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import load_file
from torchvision.models import ResNet18_Weights, ResNet50_Weights
from torchvision.transforms.functional import to_pil_image

from resnet_lesson import DATA, Batches, Dataset, LessonError, Normalisation, cifar10, doodles10, machine, recorded
from resnet_lesson.datasets.cifar10 import CIFAR10_CLASSES
from resnet_lesson.training import pretrained as module
from resnet_lesson.training.evaluation import predict, score
from resnet_lesson.training.pretrained import CIFAR10, as_photographs, pretrained
from resnet_lesson.training.runs import shipped

OURS = ("resnet8", "resnet20", "resnet56")
needs_cifar10 = pytest.mark.skipif(
    not (machine.DATA / "cifar-10-batches-py").exists(), reason=f"CIFAR-10 is not in {machine.DATA}"
)


def random_images(n=4, size=32, channels=3):
    shape = n, size, size, channels
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def dataset(images):
    return Dataset("noise", images, torch.arange(len(images)) % 3, ("a", "b", "c"))


@pytest.fixture(scope="module")
def photographs():
    return cifar10(DATA)


@pytest.fixture
def connections(monkeypatch):
    """The addresses that somebody tried to reach; none is let through."""
    asked = []

    def refuse(self, address):
        asked.append(address)
        raise ConnectionRefusedError(address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return asked


# --- our own


@pytest.mark.parametrize("name", OURS)
def test_our_networks_are_the_recorded_ones_in_evaluation_mode(name, connections, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found = pretrained(name)
    weights = load_file(shipped() / f"short-{name}-seed0" / "weights.safetensors")
    assert found.network.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[key]) for key, value in found.network.state_dict().items())
    assert not any(part.training for part in found.network.modules())
    assert (found.classes, found.size) == (CIFAR10_CLASSES, 32)
    run = recorded(f"short-{name}-seed0")
    assert found.source == f"{run.name}: trained on CIFAR-10 by the course, test error {run.final():.1%}"
    assert connections == [] and list(tmp_path.iterdir()) == []
    found.network.fc.weight.data.zero_()
    assert pretrained(name).network.fc.weight.any(), "each call gives a network of its own"


@needs_cifar10
def test_the_normalisation_is_that_of_the_training_images(photographs):
    measured = Normalisation.of(photographs[0])
    assert torch.allclose(CIFAR10.mean, measured.mean, atol=6e-4, rtol=0)
    assert torch.allclose(CIFAR10.std, measured.std, atol=6e-4, rtol=0)
    assert pretrained("resnet8").normalisation is CIFAR10
    assert all(recorded(f"short-{name}-seed0").recipe["normalisation"] == "channel" for name in OURS)


@needs_cifar10
@pytest.mark.parametrize("name", OURS)
def test_they_answer_real_photographs_as_recorded(name, photographs):
    few = photographs[1].take(200)
    found, run = pretrained(name), recorded(f"short-{name}-seed0")
    logits, labels = predict(found.network, Batches(few, 100, found.normalisation))
    then, _ = run.predictions()
    assert torch.allclose(logits.softmax(1), then[:200].softmax(1), atol=0.02), "BN, order of channels and classes"
    assert score(logits, labels)[1] == pytest.approx(run.final(), abs=0.07)  # 2 standard deviations of 200 answers
    with torch.no_grad():
        one = found.network(found.transforms(to_pil_image(few.images[0].permute(2, 0, 1)))[None])
    assert torch.allclose(one[0], logits[0], atol=1e-4)


def test_transforms_give_what_batches_give():
    data = dataset(random_images())
    found = pretrained("resnet8")
    expected, _ = next(iter(Batches(data, 4, found.normalisation)))
    together = found.transforms(data.images.permute(0, 3, 1, 2))
    assert together.shape == (4, 3, 32, 32) and together.dtype == torch.float32
    assert torch.allclose(together, expected, atol=1e-5)
    for image, want in zip(data.images, expected, strict=True):
        assert torch.allclose(found.transforms(to_pil_image(image.permute(2, 0, 1))), want, atol=1e-5)


def test_transforms_make_other_images_the_size_that_the_network_knows():
    transforms = pretrained("resnet8").transforms
    picture = torch.zeros(3, 64, 160, dtype=torch.uint8)
    picture[:, :, 48:112] = 255  # the middle
    for image in (picture, to_pil_image(picture)):
        made = transforms(image)
        assert made.shape == (3, 32, 32)
        assert torch.allclose(made[:, :, 4:28], ((255 - CIFAR10.mean) / CIFAR10.std)[:, None, None].expand(3, 32, 24))


@pytest.mark.parametrize(
    "name, options, said",
    [
        ("resnett50", {}, "no trained network 'resnett50'.*resnet50"),
        ("plain20", {}, "no trained network 'plain20'.*There are: resnet8, resnet20"),
        ("resnet32", {}, "no trained network 'resnet32'.*resnet34"),  # recorded, but not one of those that are offered
        ("seresnet50", {}, "no trained network 'seresnet50'.*resnet50"),  # torchvision has none
        ("vgg11", {}, "There are: resnet8, resnet20"),  # torchvision's, but no network of the course
        ("resnet50", {"weights": "IMAGENET1K_V3"}, r"no set of weights for resnet50 'IMAGENET1K_V3'\. Did you mean"),
        ("resnet18", {"weights": "IMAGENET1K_V2"}, "no set of weights for resnet18.*There are: IMAGENET1K_V1"),
        ("resnet20", {"weights": "IMAGENET1K_V1"}, "one set of weights for resnet20: leave weights='IMAGENET1K_V1'"),
        ("resnet18", {"otherwise": "resnet34"}, "no trained network of the course 'resnet34'.*resnet20"),
    ],
)
def test_names_and_weights_that_do_not_exist(name, options, said, connections, capsys):
    with pytest.raises(ValueError, match=said):
        pretrained(name, **options)
    assert connections == [] and capsys.readouterr().out == ""


# --- torchvision's


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder in which torch looks for checkpoints; empty afterwards too, as they are large."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    yield folder
    for path in folder.iterdir():
        path.unlink()


def cached(home, weights):
    return home / Path(urlsplit(weights.url).path).name


@pytest.mark.parametrize(
    "name, weights", [("resnet18", ResNet18_Weights.DEFAULT), ("resnet50", ResNet50_Weights.IMAGENET1K_V1)]
)
def test_torchvisions_networks_come_from_its_cache_and_compute_the_same(name, weights, home, connections, capsys):
    theirs = torchvision.models.get_model(name)
    with torch.no_grad():
        for part in theirs.modules():
            if isinstance(part, torch.nn.BatchNorm2d):  # as a training leaves them, not as they are made
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 2)
    torch.save(theirs.state_dict(), cached(home, weights))
    found = pretrained(name, weights.name) if weights != ResNet18_Weights.DEFAULT else pretrained(name)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(found.network(images), theirs.eval()(images), rtol=1e-4, atol=1e-4)
    assert found.network.spec["name"] == name and not any(part.training for part in found.network.modules())
    assert len(found.classes) == 1000 and found.classes[:2] == ("tench", "goldfish")
    assert (found.size, found.source) == (224, f"torchvision, {type(weights).__name__}.{weights.name}")
    preset = weights.transforms()
    assert torch.allclose(found.normalisation.mean / 255, torch.tensor(preset.mean))
    assert torch.allclose(found.normalisation.std / 255, torch.tensor(preset.std))
    picture = to_pil_image(random_images(1, 300)[0].permute(2, 0, 1))
    assert torch.equal(found.transforms(picture), preset(picture))
    assert found.transforms.resize_size == [256], "of these weights, not of the network's newest"
    assert connections == [] and capsys.readouterr().out == ""


def constants() -> dict[str, torch.Tensor]:
    """ResNet-18's weights, each tensor full of one number, which takes little space in a file."""
    shapes = torchvision.models.get_model("resnet18").state_dict().items()
    return {key: torch.tensor(i / 128).to(value.dtype).expand(value.shape) for i, (key, value) in enumerate(shapes)}


def saved(thing) -> bytes:
    file = io.BytesIO()
    torch.save(thing, file)
    return file.getvalue()


class Server(BaseHTTPRequestHandler):
    """/BEHAVIOUR/FILE; its server has the file's `content` and notes the paths that are `asked` for."""

    def do_GET(self):
        self.server.asked.append(self.path)
        self.server.limits.append(socket.getdefaulttimeout())
        self.content = self.server.content
        with suppress(ConnectionError):
            getattr(self, self.path.split("/")[1])()

    def start(self, length, kind="application/octet-stream"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def good(self):
        self.start(len(self.content))
        self.wfile.write(self.content)

    def truncated(self):
        self.start(len(self.content))
        self.wfile.write(self.content[: len(self.content) // 2])

    def others(self):
        content = saved({key: value + 1 for key, value in constants().items()})
        self.start(len(content))
        self.wfile.write(content)

    def page(self):
        self.start(21, "text/html")
        self.wfile.write(b"<html>Log in!</html>\n")

    def stalls(self):
        self.start(len(self.content))
        self.wfile.write(self.content[:1000])
        self.server.over.wait(20)

    def silent(self):
        self.server.over.wait(20)

    def resets(self):
        self.start(len(self.content))
        self.wfile.write(self.content[:1000])
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket(fileno=self.connection.detach()).close()

    def missing(self):
        self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, home):
    """A server of ResNet-18's weights; `behaves` says how."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads, server.block_on_close = True, False
    server.asked, server.limits, server.over, server.content = [], [], threading.Event(), saved(constants())
    name = f"resnet18-{hashlib.sha256(server.content).hexdigest()[:8]}.pth"
    where = ResNet18_Weights.IMAGENET1K_V1.value
    address = f"http://127.0.0.1:{server.server_port}"
    server.behaves = lambda how: monkeypatch.setattr(where, "url", f"{address}/{how}/{name}")
    monkeypatch.setenv("no_proxy", "*")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


def check_weights(found):
    values = {f"{value.flatten()[0].item()}" for value in found.network.state_dict().values()}
    expected = {f"{value.flatten()[0].item()}" for value in constants().values()}
    assert found.source == "torchvision, ResNet18_Weights.IMAGENET1K_V1" and values == expected


def test_what_is_not_there_is_fetched_once_and_kept(server, home, capsys):
    server.behaves("good")
    check_weights(pretrained("resnet18"))
    out, err = capsys.readouterr()
    assert out.startswith('Downloading: "http://127.0.0.1') and out.count("\n") == 1  # torchvision's own line ...
    assert "100%" in err and "B/s" in err  # ... and bar
    check_weights(pretrained("resnet18", "IMAGENET1K_V1", otherwise=None))
    assert len(server.asked) == 1 and cached(home, ResNet18_Weights.DEFAULT).read_bytes() == server.content
    assert server.limits == [module.STALL] and 0 < module.STALL <= 60 and socket.getdefaulttimeout() is None


INSTEAD = "The course's own resnet20, trained on CIFAR-10, is used instead."
BAD = {
    "truncated": "something else came in their place.*invalid hash value",
    "others": "something else came in their place.*invalid hash value",
    "page": "something else came in their place.*a login page",
    "stalls": r"could not be fetched \(TimeoutError\): try again when online",
    "silent": r"could not be fetched \(TimeoutError\): try again when online",
    "resets": r"could not be fetched \(ConnectionResetError\): try again when online",
    "missing": r"the server does not give them \(HTTP 404\): try again later",
}


@pytest.mark.parametrize("behaviour", BAD)
def test_a_bad_server_ends_in_one_line_that_says_why_and_leaves_nothing_behind(
    behaviour, server, home, capsys, monkeypatch
):
    monkeypatch.setattr(module, "STALL", 0.4 if "Timeout" in BAD[behaviour] else 10)
    server.behaves(behaviour)
    before, start = socket.getdefaulttimeout(), time.monotonic()
    socket.setdefaulttimeout(7)  # what somebody else may have set
    try:
        found = pretrained("resnet18")
        assert socket.getdefaulttimeout() == 7
    finally:
        socket.setdefaulttimeout(before)
    assert time.monotonic() - start < 10
    theirs, line = capsys.readouterr().out.splitlines()
    assert theirs.startswith("Downloading: ")
    assert re.match(f"resnet18's weights ResNet18_Weights.IMAGENET1K_V1.*{BAD[behaviour]}.*{INSTEAD}$", line), line
    assert found.source.startswith("short-resnet20-seed0:") and found.size == 32
    assert list(home.iterdir()) == []
    server.behaves("good")
    check_weights(pretrained("resnet18", otherwise=None))


def test_offline_another_network_of_the_course_can_be_named_or_none(home, connections, capsys, monkeypatch):
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    found = pretrained("resnet50", otherwise="resnet8")
    line = capsys.readouterr().out.splitlines()[1:]
    assert len(line) == 1 and line[0].startswith("resnet50's weights ResNet50_Weights.IMAGENET1K_V2 are not here and")
    assert line[0].endswith("when online. The course's own resnet8, trained on CIFAR-10, is used instead.")
    assert found.source.startswith("short-resnet8-seed0:") and list(home.iterdir()) == []
    with pytest.raises(LessonError, match="could not be fetched .*: try again when online.$"):
        pretrained("resnet50", "IMAGENET1K_V1", otherwise=None)
    assert capsys.readouterr().out.count("\n") == 1 and socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    "error, raised, said",
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            LessonError,
            "cannot be kept in .*No space left.*TORCH_HOME",
        ),
        (PermissionError(errno.EACCES, "Permission denied"), LessonError, "cannot be kept in .*Permission denied"),
        (TypeError("a defect"), TypeError, "a defect"),
        (KeyError("a defect"), KeyError, "a defect"),
    ],
)
def test_a_full_disk_is_told_and_a_defect_of_the_code_is_no_lack_of_a_network(error, raised, said, home, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(raised, match=said):
        pretrained("resnet18", otherwise=None)


class Hostile:
    """Pickled, it makes a folder when it is loaded: code of somebody else."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return Path.mkdir, (self.folder,)


@pytest.mark.parametrize(
    "kind, said",
    [
        ("hostile", r"is damaged, or not a file of weights \(UnpicklingError\): delete it"),
        ("cut", r"is damaged, or not a file of weights \((OSError|RuntimeError)\): delete it"),
        ("empty", r"is damaged, or not a file of weights \(EOFError\): delete it"),
        ("a number", "does not hold resnet18's weights: delete it. Weights are a mapping"),
        ("of another network", "does not hold resnet18's weights: delete it. These weights.* are of another network"),
    ],
)
def test_a_kept_file_that_is_not_these_weights_is_refused_and_named(kind, said, home, tmp_path, connections, capsys):
    ran = tmp_path / "ran"
    contents = {
        "hostile": saved({**constants(), "fc.bias": Hostile(ran)}),
        "cut": saved(constants())[:-2000],
        "of another network": saved({"fc.weight": torch.zeros(3, 3)}),
        "a number": saved(3),
        "empty": b"",
    }
    path = cached(home, ResNet18_Weights.DEFAULT)
    path.write_bytes(contents[kind])
    found = pretrained("resnet18")
    (line,) = capsys.readouterr().out.splitlines()
    assert re.match(f"{re.escape(str(path))} {said}.*{INSTEAD}$", line), line
    assert found.source.startswith("short-resnet20-seed0:")
    with pytest.raises(LessonError, match=said):
        pretrained("resnet18", otherwise=None)
    assert not ran.exists() and connections == []


def test_the_hostile_file_would_run(tmp_path):
    torch.load(io.BytesIO(saved(Hostile(tmp_path / "ran"))), weights_only=False)
    assert (tmp_path / "ran").exists()


# --- photographs


@pytest.mark.parametrize("size, before, after", [(28, 0, 0), (32, 2, 2), (35, 3, 4), (56, 0, 0), (57, 0, 0)])
def test_a_few_more_pixels_are_an_empty_border_and_many_are_interpolated(size, before, after):
    drawings = dataset(random_images(3, 28, 1))
    drawings.images[0, 10:20, 10:20] = 255  # where rounding may overflow
    made = as_photographs(drawings, size)
    assert made.images.shape == (3, size, size, 3) and made.images.dtype == torch.uint8
    assert made.images.is_contiguous()
    grey = drawings.images[..., 0]
    if size >= 56:
        exact = F.interpolate(grey[:, None].float(), (size, size), mode="bilinear")[:, 0]
    else:
        exact = F.pad(grey, (before, after, before, after)).float()
    for channel in made.images.unbind(-1):
        assert (channel - exact).abs().max() < 1.01 * (size >= 56) + 1e-9, "torch rounds twice: after rows and columns"
    assert torch.equal(made.labels, drawings.labels)
    assert (made.name, made.classes) == (drawings.name, drawings.classes) and made.sha256 != drawings.sha256


def test_photographs_are_32_pixels_wide_and_fit_the_network():
    drawings = doodles10(20)
    made, found = as_photographs(drawings), pretrained("resnet8")
    assert made.images.shape == (20, 32, 32, 3) and drawings.images.shape == (20, 28, 28, 1)
    logits, labels = predict(found.network, Batches(made, 20, found.normalisation))
    assert logits.shape == (20, 10) and torch.equal(labels, drawings.labels)


@pytest.mark.parametrize(
    "images, size, said",
    [
        (random_images(2, 32, 3), 32, "these are 32x32 with 3, and you asked for 32x32"),
        (random_images(2, 28, 1), 27, "these are 28x28 with 1, and you asked for 27x27"),
        (random_images(2, 28, 1)[:, :20], 32, "these are 20x28 with 1, and you asked for 32x32"),
    ],
)
def test_what_is_no_drawing_or_would_shrink_is_refused(images, size, said):
    with pytest.raises(ValueError, match=f"takes square images with 1 channel and makes them larger: {said}"):
        as_photographs(dataset(images), size)
