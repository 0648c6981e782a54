"""How many images a second does training take in? Run: python benchmarks/throughput.py

Trains the same networks at batch 128 in two ways, and prints the medians of several rounds in images a second:

usual   what most tutorials do: torchvision's CIFAR10, PIL transforms, a DataLoader with two workers, float32, plain
        SGD, and the loss as a number at every step.
ours    the package: `Batches` and `step` in the precision that `train` picks, on a GPU captured as one graph.
ratio   ours to usual. input: the share of our step that goes into making its batch.

Each way has a process of its own, with its own settings and memory. They take turns of a few steps and rest meanwhile,
so that what slows the machine for a while slows both. Exits with 1 where a bound below does not hold.
docs/performance.md shows what was measured.
"""

import argparse
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, count, repeat
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from resnet_lesson import Batches, Normalisation, build, machine, shapes10
from resnet_lesson.datasets.dataset import Dataset
from resnet_lesson.training.captured import WARM_UP, Captured
from resnet_lesson.training.loop import step

# The least ratio and the largest share of the input, somewhat below what was measured (docs/performance.md).
RATIO = {
    ("cpu", "float32"): {20: 1.2, 56: 1.1},
    ("cpu", "bfloat16"): {20: 1.7, 56: 1.8},
    ("cuda", "bfloat16"): {20: 5.0},
}
INPUT = {"cpu": 0.02, "cuda": 0.08}


@dataclass(frozen=True)
class Setting:
    """What is measured, and for how long."""

    depths: tuple[int, ...] = (20, 56)
    batch_size: int = 128
    steps: int = 4  # of each way in a round
    rounds: int = 7
    images: int = 50_000  # to generate where CIFAR-10 is not in data/


CPU, GPU = Setting(), Setting(depths=(20, 56, 110), steps=100, rounds=3)
QUICK = Setting(depths=(8,), batch_size=8, steps=2, rounds=2, images=100)


class Files(torchvision.datasets.CIFAR10):
    """torchvision's CIFAR10, for files that need not be the published ones."""

    train_list = [(f"data_batch_{i}", None) for i in range(1, 6)]
    test_list = [("test_batch", None)]
    meta = {"filename": "batches.meta", "key": "label_names", "md5": None}


def write_files(root: Path, images: int) -> None:
    """Write shapes10 in the format of CIFAR-10's files, for `Files`."""
    data = shapes10(images, size=32)
    rows, labels = data.images.permute(0, 3, 1, 2).flatten(1).numpy(), data.labels.tolist()
    content = {name: {"data": rows[i::5], "labels": labels[i::5]} for i, (name, _) in enumerate(Files.train_list)}
    content |= {"test_batch": {"data": rows[:10], "labels": labels[:10]}, "batches.meta": {"label_names": data.classes}}
    (root / Files.base_folder).mkdir(parents=True)
    for name, value in content.items():
        (root / Files.base_folder / name).write_bytes(pickle.dumps(value))


def seconds(one_step: Callable[[], object], steps: int) -> float:
    """Seconds of one step, the mean over some."""
    start = time.perf_counter()
    for _ in range(steps):
        one_step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps


def usual(depth: int, root: Path, setting: Setting) -> Iterator[float]:
    """Seconds of a step of the usual pipeline, once for each round."""
    device = machine.pick_device()
    mean, deviation = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    augment = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    transform = transforms.Compose([*augment, transforms.ToTensor(), transforms.Normalize(mean, deviation)])
    data = Files(root, transform=transform)
    pinned = device.type == "cuda"
    loader = DataLoader(data, setting.batch_size, shuffle=True, num_workers=2, pin_memory=pinned, drop_last=True)
    network = build(f"resnet{depth}", seed=0).to(device)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    stream = chain.from_iterable(repeat(loader))
    running_loss = 0.0

    def one_step() -> None:
        nonlocal running_loss
        images, labels = (tensor.to(device) for tensor in next(stream))
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimiser.step()
        running_loss += loss.item()

    seconds(one_step, 2)  # the first steps are slower
    while True:
        yield seconds(one_step, setting.steps)


def ours(depth: int, root: Path, setting: Setting) -> Iterator[tuple[float, float]]:
    """Seconds of a step of ours, and of making its batch alone, once for each round."""
    device = machine.pick_device()
    precision = machine.pick_precision(device)
    captured = device.type == "cuda"
    if device.type == "cpu":
        machine.keep_freed_memory()
    files = Files(root)
    data = Dataset("cifar10", torch.from_numpy(files.data), torch.tensor(files.targets), tuple(files.classes))
    normalisation = Normalisation.of(data, "pixel")  # the paper's, and the slower one
    batches = Batches(data, setting.batch_size, normalisation, padding=4, flip=True, shuffle=True, device=device)
    draws = chain.from_iterable(map(batches.order, count()))
    full = (draw for draw in draws if draw.shape[1] == setting.batch_size)  # on a GPU, `train` captures these
    network = build(f"resnet{depth}", seed=0).to(device, memory_format=torch.channels_last)
    kernels = {"fused": True} if captured else {"foreach": True}  # as `train` does
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, **kernels)

    ways = [
        lambda draw: step(network, *batches.take(draw), optimiser, precision=precision)[0],
        lambda draw: batches.take(draw)[0],
    ]
    if captured:
        ways = [Captured(way) for way in ways]
    with machine.chosen_kernels(captured):
        for way in ways:
            seconds(lambda way=way: way(next(full)), WARM_UP + 1)
        while True:
            yield tuple(seconds(lambda way=way: way(next(full)), setting.steps) for way in ways)


def begin(way: Callable[..., Iterator], *arguments) -> None:
    """In a process of its own: be ready for `take_turn`."""
    global rounds
    rounds = way(*arguments)


def take_turn():
    return next(rounds)


def measure(depth: int, root: Path, setting: Setting) -> dict[str, float]:
    """Images a second of each way, the ratio of ours to usual, and the share of our step that makes its batch."""
    processes = [
        ProcessPoolExecutor(1, get_context("spawn"), initializer=begin, initargs=(way, depth, root, setting))
        for way in (usual, ours)
    ]
    found = []
    with processes[0] as first, processes[1] as second:
        for _ in range(setting.rounds):
            found.append((first.submit(take_turn).result(), *second.submit(take_turn).result()))
            time.sleep(0.3)  # until the workers of the usual way have put their next batches by
    theirs, own, batch = map(median, zip(*found, strict=True))
    speeds = {"usual": setting.batch_size / theirs, "ours": setting.batch_size / own}
    return speeds | {"ratio": theirs / own, "input": batch / own}


def failures(depth: int, row: dict[str, float], device: str, precision: str) -> list[str]:
    """The bounds that do not hold, in words."""
    least = RATIO.get((device, precision), {}).get(depth, 0)
    failed = []
    if row["ratio"] < least:
        failed.append(f"ResNet-{depth}: ours is {row['ratio']:.2f} times the usual speed, not {least} times.")
    if row["input"] > INPUT[device]:
        failed.append(f"ResNet-{depth}: the input takes {row['input']:.1%} of a step, not at most {INPUT[device]:.0%}.")
    return failed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny network and no bound: does it run?")
    quick = parser.parse_args(arguments).quick
    device = machine.pick_device()
    precision = machine.pick_precision(device)
    setting = QUICK if quick else GPU if device.type == "cuda" else CPU
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    print(f"{machine.describe(device)['hardware']}{threads}, {precision}, batch {setting.batch_size}, images a second")
    print("network      usual    ours  ratio  input  s an epoch")
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        root = machine.DATA
        if quick or not (root / Files.base_folder / "test_batch").exists():
            root = Path(folder)
            write_files(root, setting.images)
        for depth in setting.depths:
            row = measure(depth, root, setting)
            speeds = f"{row['usual']:8.0f}{row['ours']:8.0f}{row['ratio']:7.2f}{row['input']:7.1%}"
            print(f"ResNet-{depth:<4}{speeds}{50_000 / row['ours']:12.2f}", flush=True)
            failed += [] if quick else failures(depth, row, device.type, precision)
    for line in failed:
        print(line)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
