"""What works on this machine, what the notebooks will do here, and how to mend what does not."""

import importlib
import os
import shutil
import sys
from pathlib import Path

import torch

from . import datasets, machine
from .drawings import STUDY
from .errors import LessonError
from .runs import list_runs, shipped

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
        rows.append((False, "there is an NVIDIA GPU, but this torch cannot use it", "install torch's CUDA build"))

    free = shutil.disk_usage(root if root.exists() else Path.cwd()).free / 1e9
    rows.append((free > 1, f"{free:.0f} GB of disk free", "free 1 GB: CIFAR-10 needs 170 MB twice while unpacking"))
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


def _cifar10(root: Path) -> tuple[bool | None, str, str]:
    mend = "not needed for the notebooks; `python -m resnet_lesson data` fetches it (170 MB)"
    if not (root / "cifar-10-batches-py").exists():
        return None, f"CIFAR-10 is not in {root}", mend
    try:
        datasets.cifar10(root, mirrors=())
    except LessonError as error:
        return False, f"CIFAR-10 in {root} is damaged: {error}", "`python -m resnet_lesson data` mends it"
    return True, f"CIFAR-10 is in {root}, whole", ""


def _quickdraw(root: Path) -> tuple[bool | None, str, str]:
    there = sum((root / "quickdraw" / f"{name}.npy").is_file() for name in STUDY)
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


def report(root: Path = machine.DATA) -> int:
    """Print the checks and what follows for the notebooks; 0 if all that is needed works, else 1."""
    root = Path(os.path.relpath(root))  # shorter to read, and no user's name in a stored output
    rows = checks(root)
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
