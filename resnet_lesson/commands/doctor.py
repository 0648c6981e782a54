"""What works on this machine, what the notebooks will do here, and how to mend what does not."""

import importlib
import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

import requests
import torch

from .. import machine
from ..datasets.cifar10 import CIFAR10_MIRRORS, cifar10
from ..datasets.download import PATIENCE, MirrorFailed, failures, host_of, refuse_failure
from ..datasets.quickdraw import STUDY, kept
from ..errors import LessonError
from ..figures.visdom_windows import PORT
from ..training.runs import list_runs, shipped

LAB = ("jupyterlab", "ipywidgets", "matplotlib", "visdom")  # needed to open the notebooks, not to train


def checks(root: Path = machine.DATA) -> list[tuple[bool | None, str, str]]:
    """Each check as (fine, what was found, how to mend it); None for what is missing but not needed."""
    rows: list[tuple[bool | None, str, str]] = []
    python = ".".join(map(str, sys.version_info[:3]))
    rows.append((sys.version_info >= (3, 11), f"Python {python}", "install Python 3.11, 3.12 or 3.13"))
    rows += [_package(name, True) for name in ("torch", "torchvision")]
    rows += [_package(name, None) for name in LAB]

    device = machine.pick_device()
    what = machine.describe(device)
    precision = machine.pick_precision(device)
    where = f"{what['hardware']} ({device.type}), {torch.get_num_threads()} threads, {precision}"
    rows.append((True, f"training runs on {where}", ""))
    if device.type == "cpu" and shutil.which("nvidia-smi"):
        mend = "if `nvidia-smi` lists it, install torch's CUDA build, which PyTorch's own page names; else its driver"
        rows.append((False, f"there is an NVIDIA GPU, but torch {torch.__version__} cannot use it", mend))
    rows += [_kernel(), _port(PORT), *_disk(root)]
    rows.append(_cifar10(root))
    rows.append(_quickdraw(root))
    rows.append(_runs())
    return rows


def _package(name: str, missing: bool | None) -> tuple[bool | None, str, str]:
    version = machine.versions(name)[name]
    if version is None:
        return missing and False, f"{name} is not installed", "`make lab`, or pip install -r requirements.txt"
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken installation can raise anything, and the doctor must not fall ill
        return False, f"{name} {version} does not import: {error}", "pip install -r requirements.txt (in a new .venv)"
    return True, f"{name} {version}", ""


def _kernel() -> tuple[bool | None, str, str]:
    """Whether a notebook's kernel "Python 3" is the Python that runs here."""
    mend = "open the course with `make lab`, and choose the kernel *Python 3* there"
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        return None, "no Jupyter in this Python", "`make lab` brings it"
    try:
        theirs = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return False, "Jupyter has no kernel python3", "`make lab`, or python -m ipykernel install --sys-prefix"
    if os.sep in theirs and Path(theirs).absolute().parent != Path(sys.executable).absolute().parent:
        return False, f"notebooks run with another Python than this one: {theirs}", mend
    return True, "notebooks run with this Python", ""


def _port(port: int) -> tuple[bool | None, str, str]:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            mend = "a visdom server? Else give it another port: python -m resnet_lesson visdom --port 9000"
            return None, f"port {port} is taken", mend
    return True, f"port {port} is free for visdom", ""


def _disk(root: Path) -> list[tuple[bool | None, str, str]]:
    there = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free / 1e9
    rows = [(free > 1, f"{free:.0f} GB of disk free", "free 1 GB: CIFAR-10 needs 170 MB twice while unpacking")]
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        mend = "take a folder of your own: --root FOLDER, or copy the course into your home folder"
        rows.append((False, f"{root} cannot be written ({error.strerror})", mend))
    return rows


def mirrors(seconds: float = 3) -> list[tuple[bool | None, str, str]]:
    """How fast each address of CIFAR-10 sends, measured for some seconds."""
    rows: list[tuple[bool | None, str, str]] = []
    for url in os.environ.get("RESNET_LESSON_CIFAR10_URL", "").split() or CIFAR10_MIRRORS:
        try:
            with failures(PATIENCE):
                rate = _rate(url, seconds)
        except MirrorFailed as why:
            rows.append(
                (None, f"{host_of(url)}: {why}", "another mirror, or a class set from a USB stick: data --from")
            )
            continue
        slow = (
            "slow; CIFAR-10 would take " + f"{170e6 / rate / 60:.0f} minutes: a class set, data --from FILE, is faster"
        )
        rows.append((rate >= PATIENCE.rate or None, f"{host_of(url)} sends {rate / 1e6:.1f} MB/s", slow))
    return rows


def _rate(url: str, seconds: float) -> float:
    """Bytes a second."""
    start, done = time.monotonic(), 0
    with requests.get(url, stream=True, timeout=(PATIENCE.connect, PATIENCE.stall)) as response:
        refuse_failure(response)
        while time.monotonic() - start < seconds and (chunk := response.raw.read1(1 << 16)):
            done += len(chunk)
    return done / (time.monotonic() - start)


def _cifar10(root: Path) -> tuple[bool | None, str, str]:
    mend = "not needed for the notebooks; `python -m resnet_lesson data` fetches it (170 MB), data --from takes a copy"
    if not (root / "cifar-10-batches-py").exists():
        return None, f"CIFAR-10 is not in {root}", mend
    try:
        cifar10(root, mirrors=())
    except LessonError as error:
        return False, f"CIFAR-10 in {root} is damaged: {error}", "`python -m resnet_lesson data` mends it"
    return True, f"CIFAR-10 is in {root}, whole", ""


def _quickdraw(root: Path) -> tuple[bool | None, str, str]:
    there = 0
    for name in STUDY:
        try:
            there += len(kept(root / "quickdraw" / f"{name}.npy", 1))
        except MirrorFailed:
            pass
    found = f"QuickDraw: {there} of the {len(STUDY)} classes that notebook 08 uses are in {root}"
    mend = "not needed for the notebooks, doodles10 stands in; `python -m resnet_lesson data --quickdraw` fetches 4 MB"
    return there == len(STUDY) or None, found, mend


def _runs() -> tuple[bool | None, str, str]:
    folder = os.path.relpath(shipped())
    try:
        runs = list_runs()
    except LessonError as error:
        return False, str(error), f"git checkout -- {folder}"
    mend = "they come with the repository: clone it again"
    return bool(runs) or None, f"{len(runs)} recorded runs in {folder}", mend


def report(root: Path = machine.DATA, network: bool = False) -> int:
    """Print the checks, with `network` those of the mirrors too, and what follows for the notebooks.

    Returns 0 if all that is needed works, else 1.
    """
    root = Path(os.path.relpath(root))  # shorter to read, and no user's name in a stored output
    rows = checks(root) + (mirrors() if network else [])
    for fine, found, mend in rows:
        mark = {True: "ok  ", False: "BAD ", None: "--  "}[fine]
        print(mark + found + ("" if fine else f". To mend: {mend}" if fine is False else f" ({mend})"))
    print()
    print("The notebooks train small networks live on shapes10, which is generated: no download, no GPU needed.")
    if machine.full_scale():
        why = "there is a CUDA GPU" if torch.cuda.is_available() else "RESNET_LESSON_FULL is set"
        print(f"Cells marked 'full scale' train for real here, because {why}.")
    else:
        print("Cells marked 'full scale' show the recorded runs; with a CUDA GPU or RESNET_LESSON_FULL=1 they train.")
    if "RESNET_LESSON_CIFAR10_URL" in os.environ:
        print(f"CIFAR-10 would be fetched from {os.environ['RESNET_LESSON_CIFAR10_URL']}.")
    return int(any(fine is False for fine, _, _ in rows))
