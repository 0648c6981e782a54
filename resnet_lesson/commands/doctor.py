"""What works on this machine, what the notebooks will do here, and how to fix what does not."""

import argparse
import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch

from .. import machine
from ..datasets import cifar10
from ..datasets.download import fault
from ..datasets.quickdraw import STUDY, kept
from ..training.runs import list_runs, shipped
from ..training.study import list_studies
from .shared import add_root

OK, OPTIONAL, BAD = "ok", "--", "BAD"  # OPTIONAL: not here, and not needed
NEEDED, EXTRA = ("torch", "torchvision", "matplotlib"), ("jupyterlab", "ipywidgets", "visdom")


def options(p: argparse.ArgumentParser) -> None:
    """Add the command's options, and the function that runs it."""
    add_root(p)
    p.set_defaults(run=lambda args: report(args.root))


class Check(NamedTuple):
    level: str
    found: str
    fix: str = ""

    def __str__(self) -> str:
        fix = {OK: "", OPTIONAL: f" ({self.fix})", BAD: f". To fix it: {self.fix}"}[self.level]
        return f"{self.level:4}{self.found}{fix}"


def checks(root: Path = machine.DATA) -> list[Check]:
    """Everything that was found on this machine."""
    python = Check(OK, "Python " + ".".join(map(str, sys.version_info[:3])))
    packages = map(_package, NEEDED + EXTRA)
    return [python, *packages, *_device(), _kernel(), _disk(root), _cifar10(root), _quickdraw(root), _runs()]


def _package(name: str) -> Check:
    version = machine.versions(name)[name]
    if version is None:
        level = BAD if name in NEEDED else OPTIONAL
        return Check(level, f"{name} is not installed", "`make lab` installs everything that the course can use")
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken installation can raise anything
        level = OPTIONAL if name == "visdom" else BAD
        return Check(level, f"{name} {version} cannot be imported: {error}", "remove .venv, then run `make lab`")
    return Check(OK, f"{name} {version}")


def _device() -> list[Check]:
    device = machine.pick_device()
    hardware, precision = machine.describe(device)["hardware"], machine.pick_precision(device)
    rows = [Check(OK, f"training runs on {hardware} ({device.type}), {torch.get_num_threads()} threads, {precision}")]
    if device.type == "cpu" and shutil.which("nvidia-smi"):
        fix = (
            "if `nvidia-smi` lists it, install the CUDA build of torch, as pytorch.org says; if not, install its driver"
        )
        rows.append(Check(BAD, f"there is an NVIDIA GPU, but torch {torch.__version__} cannot use it", fix))
    return rows


def _kernel() -> Check:
    """Whether the notebooks' kernel "Python 3" is the Python that runs this command."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager

        theirs = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except ImportError:
        return Check(OPTIONAL, "no Jupyter in this Python", "`make lab` installs it")
    except KeyError:  # a NoSuchKernel
        return Check(BAD, "Jupyter has no kernel named *Python 3* here", "`make lab` installs it")
    if os.sep in theirs and Path(theirs).absolute().parent != Path(sys.executable).absolute().parent:
        fix = "open the course with `make lab`, and choose the kernel *Python 3* there"
        return Check(BAD, f"notebooks run with a different Python from this one: {theirs}", fix)
    return Check(OK, "notebooks run with this Python")


def _disk(root: Path) -> Check:
    there = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        fix = "choose a folder of your own (--root FOLDER), or copy the course into your home folder"
        return Check(BAD, f"cannot write to {root} ({error.strerror})", fix)
    free = shutil.disk_usage(there).free / 1e9
    return Check(OK if free > 1 else BAD, f"{free:.0f} GB of disk free", "free up 1 GB, which CIFAR-10 needs to unpack")


def _cifar10(root: Path) -> Check:
    if not (root / cifar10.CIFAR10_FOLDER).exists():
        fix = "not needed for the notebooks; `python -m resnet_lesson data` fetches 170 MB, data --from takes a copy"
        return Check(OPTIONAL, f"CIFAR-10 is not in {root}", fix)
    if why := fault(cifar10.read, root / cifar10.CIFAR10_FOLDER):
        return Check(BAD, f"CIFAR-10: {why}", "`python -m resnet_lesson data` fixes it")
    return Check(OK, f"CIFAR-10 is in {root}, whole")


def _quickdraw(root: Path) -> Check:
    files = [root / "quickdraw" / f"{name}.npy" for name in STUDY]
    there = sum(not fault(lambda path: kept(path, 1), file) for file in files)
    found = f"QuickDraw: {there} of the {len(STUDY)} classes that notebook 08 uses are in {root}"
    fix = "not needed for the notebooks, doodles10 stands in; `python -m resnet_lesson data --quickdraw` fetches 4 MB"
    return Check(OK if there == len(STUDY) else OPTIONAL, found, fix)


def _runs() -> Check:
    root, folder = shipped(), os.path.relpath(shipped())
    runs, studies = list_runs(root), list_studies(root)
    if damaged := len([*root.glob("*/run.json"), *root.glob("*/study.json")]) - len(runs) - len(studies):
        fix = f"git checkout -- {folder}, or install the course again"
        return Check(BAD, f"{damaged} of the records in {folder} cannot be read", fix)
    return Check(OK, f"{len(runs)} recorded runs in {folder}")


def report(root: Path = machine.DATA) -> int:
    """Print the checks, and what they mean for the notebooks; return 0 if everything that is needed works, else 1."""
    rows = checks(Path(os.path.relpath(root)))  # shorter to read, and without a user's name in a stored output
    print(*rows, "", sep="\n")
    print("The notebooks train small networks live on shapes10, which is generated: no download, no GPU needed.")
    if machine.full_scale():
        why = "RESNET_LESSON_FULL is set" if machine.pick_device().type == "cpu" else "there is a GPU"
        print(f"Cells marked 'full scale' train for real here, because {why}.")
    else:
        print("Cells marked 'full scale' show the recorded runs; with a CUDA GPU or RESNET_LESSON_FULL=1 they train.")
    return int(any(row.level == BAD for row in rows))
