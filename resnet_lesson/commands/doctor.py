"""What works on this machine, what the notebooks will do here, and how to fix what does not."""

import importlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch

from .. import machine
from ..datasets import cifar10
from ..datasets.download import PATIENCE, Unusable, answer, fault, host_of
from ..datasets.quickdraw import STUDY, kept
from ..training.runs import list_runs, shipped

OK, OPTIONAL, BAD = "ok", "--", "BAD"  # OPTIONAL: missing, and not needed
PACKAGES = {  # with the level of one that is missing: the last four open the notebooks and are not needed to train
    "torch": BAD,
    "torchvision": BAD,
    "jupyterlab": OPTIONAL,
    "ipywidgets": OPTIONAL,
    "matplotlib": OPTIONAL,
    "visdom": OPTIONAL,
}


class Check(NamedTuple):
    level: str
    found: str
    fix: str = ""

    def __str__(self) -> str:
        fix = {OK: "", OPTIONAL: f" ({self.fix})", BAD: f". To fix it: {self.fix}"}[self.level]
        return f"{self.level:4}{self.found}{fix}"


def checks(root: Path = machine.DATA) -> list[Check]:
    """What was found on this machine."""
    python = Check(OK, "Python " + ".".join(map(str, sys.version_info[:3])))
    packages = [_package(name, missing) for name, missing in PACKAGES.items()]
    return [python, *packages, *_device(), _kernel(), _disk(root), _cifar10(root), _quickdraw(root), _runs()]


def _package(name: str, missing: str) -> Check:
    version = machine.versions(name)[name]
    if version is None:
        return Check(missing, f"{name} is not installed", "`make lab`, or pip install -r requirements.txt")
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken installation can raise anything
        fix = "pip install -r requirements.txt (in a new .venv)"
        return Check(BAD, f"{name} {version} does not import: {error}", fix)
    return Check(OK, f"{name} {version}")


def _device() -> list[Check]:
    device = machine.pick_device()
    hardware, precision = machine.describe(device)["hardware"], machine.pick_precision(device)
    found = f"training runs on {hardware} ({device.type}), {torch.get_num_threads()} threads, {precision}"
    rows = [Check(OK, found)]
    if device.type == "cpu" and shutil.which("nvidia-smi"):
        fix = "if `nvidia-smi` lists it, install torch's CUDA build, which PyTorch's own page names; else its driver"
        rows.append(Check(BAD, f"there is an NVIDIA GPU, but torch {torch.__version__} cannot use it", fix))
    return rows


def _kernel() -> Check:
    """Whether a notebook's kernel "Python 3" is the Python that runs here."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        return Check(OPTIONAL, "no Jupyter in this Python", "`make lab` installs it")
    try:
        theirs = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return Check(BAD, "Jupyter has no kernel python3", "`make lab`, or python -m ipykernel install --sys-prefix")
    if os.sep in theirs and Path(theirs).absolute().parent != Path(sys.executable).absolute().parent:
        fix = "open the course with `make lab`, and choose the kernel *Python 3* there"
        return Check(BAD, f"notebooks run with another Python than this one: {theirs}", fix)
    return Check(OK, "notebooks run with this Python")


def _disk(root: Path) -> Check:
    there = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        fix = "take a folder of your own: --root FOLDER, or copy the course into your home folder"
        return Check(BAD, f"{root} cannot be written ({error.strerror})", fix)
    free = shutil.disk_usage(there).free / 1e9
    fix = "free 1 GB: CIFAR-10 needs 170 MB twice while unpacking"
    return Check(OK if free > 1 else BAD, f"{free:.0f} GB of disk free", fix)


def _cifar10(root: Path) -> Check:
    if not (root / cifar10.CIFAR10_FOLDER).exists():
        fix = (
            "not needed for the notebooks; `python -m resnet_lesson data` fetches its 170 MB, data --from takes a copy"
        )
        return Check(OPTIONAL, f"CIFAR-10 is not in {root}", fix)
    try:
        cifar10.read(root / cifar10.CIFAR10_FOLDER)
    except Unusable as why:
        return Check(BAD, f"CIFAR-10: {why}", "`python -m resnet_lesson data` fixes it")
    return Check(OK, f"CIFAR-10 is in {root}, whole")


def _quickdraw(root: Path) -> Check:
    files = [root / "quickdraw" / f"{name}.npy" for name in STUDY]
    there = sum(not fault(lambda path: kept(path, 1), file) for file in files)
    found = f"QuickDraw: {there} of the {len(STUDY)} classes that notebook 08 uses are in {root}"
    fix = "not needed for the notebooks, doodles10 stands in; `python -m resnet_lesson data --quickdraw` fetches 4 MB"
    return Check(OK if there == len(STUDY) else OPTIONAL, found, fix)


def _runs() -> Check:
    folder, runs = os.path.relpath(shipped()), list_runs()
    damaged = len(list(shipped().glob("*/run.json"))) - len(runs)
    if damaged:
        return Check(BAD, f"{damaged} recorded runs in {folder} cannot be read", f"git checkout -- {folder}")
    found = f"{len(runs)} recorded runs in {folder}"
    return Check(OK if runs else OPTIONAL, found, "they are part of the repository: clone it again")


def mirrors(seconds: float = 3) -> list[Check]:
    """How fast each address of CIFAR-10 sends, measured for some seconds."""
    return [_mirror(url, seconds) for url in cifar10.mirrors_of_class() or cifar10.CIFAR10_MIRRORS]


def _mirror(url: str, seconds: float) -> Check:
    start, done = time.monotonic(), 0
    try:
        with answer(url) as response:
            while time.monotonic() - start < seconds and (chunk := response.raw.read1(1 << 16)):
                done += len(chunk)
    except Unusable as why:
        return Check(OPTIONAL, f"{host_of(url)}: {why}", "another mirror, or a class set from a USB stick: data --from")
    rate = done / (time.monotonic() - start)
    fix = f"CIFAR-10 would take {170e6 / max(rate, 1) / 60:.0f} minutes: a class set, data --from FILE, is faster"
    return Check(OK if rate >= PATIENCE.rate else OPTIONAL, f"{host_of(url)} sends {rate / 1e6:.1f} MB/s", fix)


def report(root: Path = machine.DATA, network: bool = False) -> int:
    """Print the checks, with `network` those of the mirrors too, and what follows for the notebooks.

    Returns 0 if all that is needed works, else 1.
    """
    root = Path(os.path.relpath(root))  # shorter to read, and no user's name in a stored output
    rows = checks(root) + (mirrors() if network else [])
    print(*rows, sep="\n")
    print()
    print("The notebooks train small networks live on shapes10, which is generated: no download, no GPU needed.")
    if machine.full_scale():
        why = "RESNET_LESSON_FULL is set" if machine.pick_device().type == "cpu" else "there is a GPU"
        print(f"Cells marked 'full scale' train for real here, because {why}.")
    else:
        print("Cells marked 'full scale' show the recorded runs; with a CUDA GPU or RESNET_LESSON_FULL=1 they train.")
    if addresses := cifar10.mirrors_of_class():
        print(f"CIFAR-10 would be fetched from {' '.join(addresses)}.")
    return int(any(row.level == BAD for row in rows))
