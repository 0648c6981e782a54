"""What the course's records still lack, and only a GPU can give, with one command and the most important first:

    python tools/gpu.py --minutes 25

Each step is a command of the course. What it prints goes to build/gpu/STEP.txt, its records go to data/my-runs. Run it
again whenever you have a GPU for a while: a step that has finished has left build/gpu/STEP.done and is skipped, and a
training that was stopped goes on.

Several trainings share the GPU. If NVIDIA's MPS is installed, it is started for them and stopped afterwards. Without
it, only one process has the GPU at a time.
"""

import argparse
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from resnet_lesson.commands.children import ended_by_ctrl_c, start, stop

COURSE = Path(__file__).resolve().parents[1]
OUT = COURSE / "build" / "gpu"
TELLING = ("plain20", "plain56", "resnet20", "resnet56")
TABLE = "-m resnet_lesson reproduce table6 --minutes {minutes:.2f}"
FEW = f"{TABLE} --networks {','.join(TELLING)}"
STEPS = {  # what Python is to run; {minutes}: what is left of the time
    "tests": "-m pytest -m gpu tests/test_machine.py tests/datasets tests/training",  # need no Jupyter
    "throughput": "benchmarks/throughput.py",
    "three-seeds": f"{FEW} --seeds 3 --jobs 6",
    "rates": "-m resnet_lesson study rates-cifar10",
    "family": "-m resnet_lesson study family-cifar10",
    "table": f"{TABLE} --seeds 5 --jobs 6",
}


def run(name: str, end: float) -> str:
    """Run a step until `end` of the monotonic clock; say what became of it."""
    done, left = OUT / f"{name}.done", (end - time.monotonic()) / 60
    if done.exists():
        return "was done before"
    if left <= 0:
        return "no time left"
    process = start([sys.executable, *STEPS[name].format(minutes=left).split()], OUT / f"{name}.txt")
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(60 * left)
    finally:
        stop([process], end + 10)
    if process.returncode == 0:
        done.touch()
    return "done" if process.returncode == 0 else f"not done, see {OUT / name}.txt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, required=True, help="stop after this many minutes in all")
    end = time.monotonic() + 60 * parser.parse_args().minutes
    OUT.mkdir(parents=True, exist_ok=True)
    mps = shutil.which("nvidia-cuda-mps-control")
    started = mps is not None and subprocess.run([mps, "-d"]).returncode == 0  # one that ran before stays
    try:
        with ended_by_ctrl_c():
            for name in STEPS:
                print(f"{name}: {run(name, end)}", flush=True)
    finally:
        if started:
            subprocess.run([mps], input=b"quit", timeout=60)


if __name__ == "__main__":
    main()
