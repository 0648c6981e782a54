"""What the course's records still lack, and only a GPU can give, with one command and the most important first:

    python tools/gpu.py --minutes 25

Each step is a command of the course. What it prints goes to build/gpu/STEP.txt, its records go to data/my-runs. Run it
again whenever you have a GPU for a while: a step that has finished has left build/gpu/STEP.done and is skipped, and a
training or a study that was stopped goes on.

The steps of a stage run side by side, because one training of these small networks leaves most of the GPU idle. If
NVIDIA's MPS is installed, it is started for them and stopped afterwards, and the first step of a stage comes first on
the GPU, too. Without MPS, only one process has the GPU at a time.
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
STUDIES = ("family-cifar10", "rates-cifar10")
STAGES = (  # the steps of each by name: what Python is to run; {minutes}: what is left of the time
    {
        "three-seeds": f"{TABLE} --networks {','.join(TELLING)} --seeds 3 --jobs 8",
        "tests": "-m pytest -m gpu tests/test_machine.py tests/datasets tests/training",  # need no Jupyter
        **{name: f"-m resnet_lesson study {name}" for name in STUDIES},
    },
    {"full-scale": "benchmarks/full_scale.py"},
    {"throughput": "benchmarks/throughput.py"},
    {"table": f"{TABLE} --seeds 5 --jobs 6"},
)
SECOND = {"CUDA_MPS_CLIENT_PRIORITY": "1"}  # gets what the processes of normal priority, 0, leave


def run(stage: dict[str, str], end: float) -> None:
    """Run the steps of a stage until `end` of the monotonic clock; print what became of each."""
    running = {}
    for position, (name, words) in enumerate(stage.items()):
        left = (end - time.monotonic()) / 60
        if (OUT / f"{name}.done").exists():
            print(f"{name}: was done before", flush=True)
        elif left <= 0:
            print(f"{name}: no time left", flush=True)
        else:
            command = [sys.executable, *words.format(minutes=left).split()]
            running[name] = start(command, OUT / f"{name}.txt", **(SECOND if position else {}))
    try:
        with suppress(subprocess.TimeoutExpired):
            for process in running.values():
                process.wait(max(0, end - time.monotonic()))
    finally:
        stop(list(running.values()), end + 10)
    for name, process in running.items():
        if process.returncode == 0:
            (OUT / f"{name}.done").touch()
        print(f"{name}: {'done' if process.returncode == 0 else f'not done, see {OUT / name}.txt'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, required=True, help="stop after this many minutes in all")
    end = time.monotonic() + 60 * parser.parse_args().minutes
    OUT.mkdir(parents=True, exist_ok=True)
    for name in STUDIES:  # go on from what comes with the course
        if not (COURSE / "data" / "my-runs" / name).exists():
            shutil.copytree(COURSE / "data" / "runs" / name, COURSE / "data" / "my-runs" / name)
    mps = shutil.which("nvidia-cuda-mps-control")
    started = mps is not None and subprocess.run([mps, "-d"]).returncode == 0  # one that ran before stays
    try:
        with ended_by_ctrl_c():
            for stage in STAGES:
                run(stage, end)
    finally:
        if started:
            subprocess.run([mps], input=b"quit", timeout=60)


if __name__ == "__main__":
    main()
