"""Everything in the course that wants a GPU, by one command, the most telling first:

    python tools/gpu.py --minutes 25

Each step is a command of the course. Its output goes to OUT/STEP.txt as it comes, its records go to data/runs. A step
that has finished leaves OUT/STEP.done and is skipped from then on; a training that was stopped goes on. So you can give
the command again whenever you have a GPU for a while, on any machine that has OUT and data/runs as they were.

Several trainings share the GPU. Where NVIDIA's MPS is installed it is started for them and ended afterwards: without it
only one process at a time has the GPU.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COURSE = Path(__file__).resolve().parents[1]
TELLING = ("plain20", "plain56", "resnet20", "resnet56")
LESSON = "-m resnet_lesson"
TESTS = "tests/test_batches.py tests/test_machine.py tests/test_training.py tests/test_transfer.py"  # need no Jupyter


def steps(tiny: bool) -> dict[str, tuple[str, ...]]:
    """The steps in their order: what Python is to run, side by side where there are several. `tiny`: as a trial."""
    networks = ("plain8", "resnet8") if tiny else TELLING
    trial = " --dataset shapes10 --iterations 4" if tiny else ""
    quick = " --quick" if tiny else ""
    table = f"{LESSON} reproduce table6 --recipe {'demo' if tiny else 'paper'}{trial}"
    few = f"{table} --networks {','.join(networks)}"
    runs = [f"demo-{name}-seed0-shapes10-4steps" if tiny else f"paper-{name}-seed0" for name in networks]
    lab = f"{LESSON} train --network {'resnet8' if tiny else 'lab10_6'} --recipe lab10_6{trial}"
    return {
        "tests": (f"-m pytest -m gpu {TESTS}",),
        "throughput": (f"benchmarks/throughput.py{quick}",),
        "two-seeds": (f"{few} --seeds 2 --jobs 4", lab),
        "inside": (f"{LESSON} inside {' '.join(runs)}",),
        "surface": (f"benchmarks/surface.py{quick}",),
        "three-seeds": (f"{few} --seeds 3 --jobs 6",),
        "table": (f"{few if tiny else table} --seeds 5 --jobs 6",),
    }


@contextmanager
def shared_gpu() -> Iterator[None]:
    """Within it, several processes compute on one GPU at the same time, if MPS is there."""
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None:
        yield
        return
    subprocess.run([control, "-d"], check=False)  # one that runs already says so, and stays
    try:
        yield
    finally:
        subprocess.run([control], input=b"quit", check=False)


def run(name: str, commands: tuple[str, ...], out: Path, end: float) -> bool:
    """Run a step until `end`; say whether all of its commands did what they should."""
    with open(out / f"{name}.txt", "ab") as log:
        started = [
            subprocess.Popen([sys.executable, *command.split()], cwd=COURSE, stdout=log, stderr=subprocess.STDOUT)
            for command in commands
        ]
        while any(one.poll() is None for one in started) and time.monotonic() < end:
            time.sleep(0.2)
        for one in started:
            if one.poll() is None:
                one.send_signal(signal.SIGINT)  # as Ctrl-C: it saves all that it needs to go on
        return all([one.wait() == 0 for one in started])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, required=True, help="when to stop, all in all")
    parser.add_argument("--out", type=Path, default=COURSE / "build" / "gpu", help="folder of what the steps say")
    parser.add_argument("--steps", help="only these, in this order, with commas between")
    parser.add_argument("--tiny", action="store_true", help="tiny networks and generated images, to try all of it")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.environ |= {"PYTHONUNBUFFERED": "1", "TQDM_MININTERVAL": "30"}
    chosen, failed = steps(arguments.tiny), []
    with shared_gpu():
        for name in arguments.steps.split(",") if arguments.steps else chosen:
            done = out / f"{name}.done"
            if done.exists() or time.monotonic() > end:
                continue
            begin = time.monotonic()
            fine = run(name, chosen[name], out, end)
            if fine:
                done.touch()
            elif time.monotonic() < end:
                failed.append(name)
            print(f"{name}: {'done' if fine else 'not done'}, {time.monotonic() - begin:.0f} s", flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
