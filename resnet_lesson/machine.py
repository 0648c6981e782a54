"""What this machine can do: device, number format, and a description for the record."""

import ctypes
import os
import platform
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from numbers import Integral
from pathlib import Path

import torch

from .errors import LessonError

# The folder of a clone; for an installed package, the folder in which the reader works.
COURSE = Path(__file__).parents[1] if (Path(__file__).parents[1] / "environment.yml").exists() else Path.cwd()
DATA = COURSE / "data"

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """The device of that name: "cpu", "cuda" (or one of several GPUs, "cuda:1") or "mps", Apple's GPU.

    None or "auto": the first CUDA GPU if it works here, or else the CPU. Raises LessonError for any other name, and for
    a device that this machine does not have or that does not work with this torch.
    """
    name = "auto" if name is None else str(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and _gpu_works() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise LessonError(f"There is no device {name!r}: choose cpu, cuda or mps, or leave the device out.")
    if problem := _problem(name):
        raise LessonError(f"The device {name!r} cannot be used here: {problem}. Choose cpu, or leave the device out.")
    return torch.device(name)


@cache
def _problem(device: str) -> str | None:
    """Why that device does not work here, or None if it has just run a small operation.

    torch's is_available() proves little: it is also true for a GPU too old for this torch, where every operation fails.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        return "this torch finds no CUDA GPU"
    if device == "mps" and not torch.backends.mps.is_available():
        return "this torch finds no Apple GPU"
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's own warnings say the same in many lines
            torch.ones(8, device=device).sum().item()
    except RuntimeError as error:
        return str(error).partition("\n")[0].rstrip(".")
    return None


@cache
def _gpu_works() -> bool:
    """Whether the first CUDA GPU works; if it does not, a line says why, once per process."""
    problem = _problem("cuda")
    if problem:
        print(f"There is a GPU, but it does not work with this torch ({problem}): using the CPU.", file=sys.stderr)
    return problem is None


def pick_precision(device: torch.device) -> str:
    """ "bfloat16" if the hardware multiplies it natively, otherwise "float32"."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "cpu":
        # torch has no public function for this yet; if the private ones are missing, float32 is safe.
        questions = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        if any(getattr(torch.cpu, question, bool)() for question in questions):
            return "bfloat16"
    return "float32"


@contextmanager
def chosen_kernels(measure: bool) -> Iterator[None]:
    """Inside, if asked to, cuDNN measures for each new shape which of its convolutions is fastest on this machine."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = measure or before
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """The context in which a forward pass runs in that precision."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {precision!r}.")
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for its next step; return whether the C library here can do that.

    glibc gives large blocks back at once, and the system fills each new page with zeros: on a CPU, that took nearly
    half the time of a step of Lab 10-6. The price is memory: the peak rose from 5.4 to 7.4 GiB.
    Source: https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(-4, 0) and mallopt(-1, 2**31 - 1))  # M_MMAP_MAX: no blocks of their own; M_TRIM_THRESHOLD


def processor() -> str:
    """The name of the CPU, as reported by the system."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def describe(device: torch.device) -> dict:
    """The hardware and software of a run, for its record."""
    return {
        "device": device.type,
        "hardware": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "cores": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system(),
        "versions": {"python": platform.python_version(), **versions("torch", "torchvision", "numpy")},
    }


def versions(*packages: str) -> dict[str, str | None]:
    """Installed versions by package name; None if a package is missing."""
    found = dict.fromkeys(packages)
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def command() -> str | None:
    """The command line, if this is `python -m resnet_lesson ...`. It leaves out --out and --root, and keeps only the
    last part of each path, so that a record says nothing about the folders on somebody's machine."""
    if Path(sys.argv[0]).parent.name != "resnet_lesson":
        return None
    several = os.environ.get("LOCAL_WORLD_SIZE", "1")  # set by torchrun
    start = "python" if several == "1" else f"torchrun --nproc-per-node {several}"
    words, places = [], ("--out", "--root")
    for before, word in pairwise(sys.argv):
        if before not in places and word.partition("=")[0] not in places:
            words.append(re.split(r"[/\\]", word.rstrip("/\\"))[-1])
    return f"{start} -m resnet_lesson {shlex.join(words)}"


def commit() -> str | None:
    """The git commit of the package, with "+" after it if it was changed since; None outside a clone."""

    def git(*words: str) -> str:
        place = Path(__file__).parent
        return subprocess.run(["git", *words], cwd=place, capture_output=True, text=True, timeout=10, check=True).stdout

    try:
        # For a package installed inside another project, this would be that project's commit: git must know the file.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        changed = git("status", "--porcelain", "--untracked-files=no", ".")
        return git("rev-parse", "HEAD").strip() + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def full_scale() -> bool:
    """Whether cells marked *full scale* train for real: RESNET_LESSON_FULL decides (0 or 1), or else a working GPU."""
    asked = os.environ.get("RESNET_LESSON_FULL", "")
    return asked != "0" if asked else pick_device().type == "cuda"


def here() -> str:
    """Two lines: what a notebook found here, and what its cells marked *full scale* will therefore do."""
    device = pick_device()
    where = "GPU" if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    if torch.backends.mps.is_available():
        where += "; Apple's GPU is here too, for device='mps'"
    full = "train for real" if full_scale() else "show recorded runs"
    hardware = describe(device)["hardware"]
    return f"torch {torch.__version__} on {hardware} ({where}).\nCells marked full scale {full} here."


def checked_seed(seed: int) -> int:
    """The seed as a Python number. Raises ValueError unless it is a whole number of at most 32 bits, 0 or more."""
    if not isinstance(seed, Integral) or not 0 <= seed < 2**32:
        raise ValueError(f"A seed is a whole number from 0 to {2**32 - 1:,}, not {seed!r}.")
    return int(seed)


@contextmanager
def seeded(seed: int, iteration: int = 0) -> Iterator[None]:
    """Inside, the seed (and the iteration) fix what torch draws; afterwards its own random numbers go on as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(checked_seed(seed) * 1_000_003 + iteration)
        yield
