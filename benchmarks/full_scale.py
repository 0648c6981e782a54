"""What the cells marked *full scale* of notebooks 01 and 07 need on a GPU. Run: python benchmarks/full_scale.py

Does the work of these cells, with CIFAR-10, and prints for each how long it took, and the most memory of the GPU that
its tensors held. Our goals: 4 GB at most, and 60 s for a loss surface of 51x51 points on 2,048 images; 07 draws two for
each network.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from resnet_lesson import build, cifar10, machine, recipe, recorded, train
from resnet_lesson.inside.record import measure


def main() -> int:
    if machine.pick_device().type != "cuda":
        print("This needs a GPU. On a CPU these cells take hours, and show the recorded runs.")
        return 1
    sets = cifar10()
    print(torch.cuda.get_device_name())
    with TemporaryDirectory() as folder:
        for name in ("plain20", "plain56"):
            report(f"01: {name}, 8,000 steps", train, build(name, seed=0), *sets, recipe("paper").scaled(8_000))
        for name in ("plain56", "resnet56"):
            run, out = recorded(f"paper-{name}-seed0"), Path(folder) / name
            out.mkdir()
            report(f"07: inside {name}", measure, run, *sets, folder=out, images=2048, points=51)
    return 0


def report(what: str, work, *args, **named) -> None:
    """Do the work and print its seconds and its memory."""
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    work(*args, **named)
    seconds, memory = time.perf_counter() - start, torch.cuda.max_memory_allocated()
    print(f"{what}: {seconds:.0f} s, {memory / 2**30:.1f} GiB", flush=True)


if __name__ == "__main__":
    sys.exit(main())
