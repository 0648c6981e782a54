"""What do time and memory of a training step cost, from 20 to 1202 layers? Run: python benchmarks/depth.py

Each network trains for a few steps in a process of its own, with everything kept for the backward pass, and with
`recompute`, which computes it again. Seconds are those of the fastest step; memory is the most that the process held,
or on a GPU the most that tensors took. Exits with 1 where a bound does not hold:

- seconds a step grow linearly with depth, and so does the memory where everything is kept: the straight line through
  the measurements that is nearest to them in proportion misses none by more than 10%;
- 1202 layers train with `recompute` at batch 128 in at most 8 GB.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from arms import Arm, peak_memory

from resnet_lesson import build, machine
from resnet_lesson.models.memory import recompute
from resnet_lesson.training.loop import step

DEPTHS, BATCH_SIZE, STEPS = (20, 56, 110, 218, 434, 1202), 32, 3
OFF_THE_LINE, LARGEST = 0.10, 8.0  # GB, for 1202 layers at batch 128


def cost(depth: int, batch_size: int, steps: int, recomputing: bool) -> Iterator[tuple[float, float]]:
    """Seconds of the fastest step, and the peak memory in GB (10^9 bytes)."""
    device = machine.pick_device()
    precision = machine.pick_precision(device)
    if device.type == "cpu":
        machine.keep_freed_memory()
    network = build(f"resnet{depth}", seed=0).to(device, memory_format=torch.channels_last)
    if recomputing:
        recompute(network)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4, foreach=True)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, 3, 32, 32, generator=generator).to(device, memory_format=torch.channels_last)
    labels = torch.randint(10, (batch_size,), generator=generator).to(device)
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        step(network, images, labels, optimiser, precision=precision)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    yield min(seconds), torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else peak_memory()


def measure(*arguments) -> tuple[float, float]:
    with Arm(cost, *arguments) as arm:
        return next(arm)


def off_the_line(depths: Sequence[int], values: Sequence[float]) -> float:
    """How far, in proportion, the values lie at most from the line a + b * depth that is nearest in proportion.

    nan where a value is: on Windows the memory is not measured."""
    depths, values = np.asarray(depths, float), np.asarray(values, float)
    if np.isnan(values).any():
        return float("nan")
    # Each equation is divided by its value: least squares then weighs proportions, and 20 layers as much as 1202.
    rows = np.stack([1 / values, depths / values], axis=1)
    line, *_ = np.linalg.lstsq(rows, np.ones(len(values)), rcond=None)
    return float(np.abs(rows @ line - 1).max())


def failures(off: dict[str, float], largest: float) -> list[str]:
    """The bounds that do not hold, in words."""
    failed = [
        f"{name} is up to {share:.0%} off the line, not at most {OFF_THE_LINE:.0%}."
        for name, share in off.items()
        if share > OFF_THE_LINE
    ]
    if largest > LARGEST:
        failed.append(f"1202 layers at batch 128 took {largest:.1f} GB with recompute, not at most {LARGEST:.0f} GB.")
    return failed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny networks and no bound: does it run?")
    quick = parser.parse_args(arguments).quick
    depths, batch_size, steps = ((8, 14, 20), 2, 2) if quick else (DEPTHS, BATCH_SIZE, STEPS)
    device = machine.pick_device()
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    print(f"{machine.describe(device)['hardware']}{threads}, {machine.pick_precision(device)}, batch {batch_size}")
    print("                everything kept       recomputed")
    print("network         s a step     GB       s a step     GB")
    rows = []
    for depth in depths:
        rows.append([value for again in (False, True) for value in measure(depth, batch_size, steps, again)])
        print(
            f"ResNet-{depth:<6}{rows[-1][0]:11.3f}{rows[-1][1]:7.2f}{rows[-1][2]:15.3f}{rows[-1][3]:7.2f}", flush=True
        )
    time_kept, memory_kept, time_again, _ = zip(*rows, strict=True)
    off = {
        "Time": off_the_line(depths, time_kept),
        "Memory": off_the_line(depths, memory_kept),
        "Time with recompute": off_the_line(depths, time_again),
    }
    print(f"furthest from a line{off['Time']:7.1%}{off['Memory']:7.1%}{off['Time with recompute']:15.1%}")
    seconds, largest = measure(8 if quick else 1202, 4 if quick else 128, 2, True)
    print(f"1202 layers at batch 128 with recompute: {seconds:.0f} s a step, {largest:.2f} GB")
    failed = [] if quick else failures(off, largest)
    for line in failed:
        print(line)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
