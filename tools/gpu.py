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
from contextlib import contextmanager, suppress
from pathlib import Path

COURSE = Path(__file__).resolve().parents[1]
TELLING = ("plain20", "plain56", "resnet20", "resnet56")
LESSON = "-m resnet_lesson"
TESTS = "tests/test_batches.py tests/test_machine.py tests/test_training.py tests/test_transfer.py"  # need no Jupyter


def steps() -> dict[str, tuple[str, ...]]:
    """The steps in their order: what Python is to run, side by side where there are several."""
    table = f"{LESSON} reproduce table6"
    few = f"{table} --networks {','.join(TELLING)}"
    return {
        "tests": (f"-m pytest -m gpu {TESTS}",),
        "throughput": ("benchmarks/throughput.py",),
        "two-seeds": (f"{few} --seeds 2 --jobs 4", f"{LESSON} train --network lab10_6 --recipe lab10_6"),
        "inside": (f"{LESSON} inside {' '.join(f'paper-{name}-seed0' for name in TELLING)}",),
        "surface": ("benchmarks/surface.py",),
        "three-seeds": (f"{few} --seeds 3 --jobs 6",),
        "table": (f"{table} --seeds 5 --jobs 6",),
    }


def trial(out: Path) -> dict[str, tuple[str, ...]]:
    """The same kinds of steps with tiny networks and generated images, their records in OUT/runs."""
    options = "--dataset shapes10 --iterations 4"
    runs = out / "runs"
    table = f"{LESSON} reproduce table6 --recipe demo {options} --networks plain8,resnet8 --out {runs}"
    train = f"{LESSON} train --network resnet8 --recipe lab10_6 {options} --out {runs / 'lab'}"
    return {
        "throughput": ("benchmarks/throughput.py --quick",),
        "two-seeds": (f"{table} --seeds 2 --jobs 2", train),
        "inside": (f"{LESSON} inside {runs / 'demo-resnet8-seed0-shapes10-4steps'}",),
        "surface": ("benchmarks/surface.py --quick",),
    }


@contextmanager
def shared_gpu() -> Iterator[None]:
    """Within it, several processes compute on one GPU at the same time, if MPS is there. One that ran before stays."""
    control = shutil.which("nvidia-cuda-mps-control")
    started = control is not None and subprocess.run([control, "-d"]).returncode == 0
    try:
        yield
    finally:
        if started:
            with suppress(subprocess.TimeoutExpired):
                subprocess.run([control], input=b"quit", timeout=60)


def stop(process: subprocess.Popen) -> None:
    """Ask a process to save and end, as Ctrl-C does; ask again, and end it, if it does not."""
    for seconds in (60, 10):
        if process.poll() is None and os.name == "posix":
            process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds if os.name == "posix" else 0)
            return
    process.kill()
    process.wait()


def run(commands: tuple[str, ...], log: Path, end: float) -> bool:
    """Run a step's commands until `end`; say whether all of them did what they should."""
    group = {"process_group": 0} if os.name == "posix" else {}  # Ctrl-C reaches them by `stop` only
    with open(log, "ab") as file:
        options = dict(cwd=COURSE, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **group)
        started = [subprocess.Popen([sys.executable, *command.split()], **options) for command in commands]
        try:
            while any(one.poll() is None for one in started) and time.monotonic() < end:
                time.sleep(0.2)
        finally:
            for one in started:
                stop(one)
    return all(one.returncode == 0 for one in started)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, required=True, help="when to stop, all in all")
    parser.add_argument("--out", type=Path, default=COURSE / "build" / "gpu", help="folder of the steps' output")
    parser.add_argument("--steps", help="only these, in this order, with commas between")
    parser.add_argument("--trial", action="store_true", help="tiny networks and generated images, also on a CPU")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    out = arguments.out.resolve() / ("trial" if arguments.trial else "")
    chosen = trial(out) if arguments.trial else steps()
    names = arguments.steps.split(",") if arguments.steps else list(chosen)
    if unknown := [name for name in names if name not in chosen]:
        parser.error(f"there is no step {', '.join(unknown)}; choose from {', '.join(chosen)}")

    out.mkdir(parents=True, exist_ok=True)
    os.environ |= {"PYTHONUNBUFFERED": "1", "TQDM_MININTERVAL": "30"}
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT is ignored where a script started this with &
        signal.signal(number, signal.default_int_handler)
    failed = []
    with shared_gpu():
        for name in names:
            done, begin = out / f"{name}.done", time.monotonic()
            if done.exists() or begin > end:
                print(f"{name}: {'was done before' if done.exists() else 'no time left'}", flush=True)
                continue
            fine = run(chosen[name], out / f"{name}.txt", end)
            if fine:
                done.touch()
            elif time.monotonic() < end:
                failed.append(name)
            print(f"{name}: {'done' if fine else 'not done'}, {time.monotonic() - begin:.0f} s", flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
