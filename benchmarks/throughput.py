"""How many images per second can training use? Run: python benchmarks/throughput.py

Trains the same networks in two ways, on as many images as CIFAR-10 has (noise: only the time counts), and prints
medians over several rounds, in images per second:

usual   what most tutorials do: PIL transforms, a DataLoader with two workers, float32, plain SGD, and the loss as a
        number at every step.
ours    the package: `Batches` and `step` in the precision that `train` picks, on a GPU captured as one graph.
ratio   ours divided by usual.
input   the share of our step that goes into making its batch.

Each way has a process of its own, with its own settings and memory. They take turns of a few steps, so that what slows
the machine down for a while slows both. Exits with 1 if a bound below does not hold.
docs/performance.md shows what was measured.
"""

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, count, repeat
from multiprocessing import get_context
from statistics import median

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from resnet_lesson import Batches, Normalisation, build, machine
from resnet_lesson.datasets.dataset import Dataset
from resnet_lesson.training.captured import WARM_UP, Captured
from resnet_lesson.training.loop import step

# The smallest ratio and the largest share of the input that pass, with some room to what was measured
# (docs/performance.md).
RATIO = {
    ("cpu", "float32"): {20: 1.2, 56: 1.1},
    ("cpu", "bfloat16"): {20: 1.7, 56: 1.8},
    ("cuda", "bfloat16"): {20: 5.0},
}
INPUT = {"cpu": 0.02, "cuda": 0.08}
IMAGES, BATCH = 50_000, 128
DEPTHS = {"cpu": (20, 56), "cuda": (20, 56, 110)}
STEPS, ROUNDS = {"cpu": 4, "cuda": 100}, {"cpu": 7, "cuda": 3}  # steps of each way in a round


def noise(images: int) -> Dataset:
    """Images of random bytes, 32x32 like CIFAR-10's; both ways take the same."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 32, 32, 3), generator=random, dtype=torch.uint8)
    return Dataset("noise", pixels, torch.randint(10, (images,), generator=random), tuple("0123456789"))


class Pictures(torch.utils.data.Dataset):
    """The images one by one, as torchvision's CIFAR10 hands them out."""

    def __init__(self, data: Dataset, transform: Callable):
        self.images, self.labels, self.transform = data.images.numpy(), data.labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple:
        return self.transform(Image.fromarray(self.images[i])), self.labels[i]


def seconds(one_step: Callable[[], object], steps: int) -> float:
    """Seconds of one step, the mean over some."""
    start = time.perf_counter()
    for _ in range(steps):
        one_step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps


def usual(depth: int, steps: int, images: int = IMAGES) -> Iterator[float]:
    """Seconds of a step of the usual pipeline, once for each round of some steps."""
    device = machine.pick_device()
    mean, deviation = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    augment = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    transform = transforms.Compose([*augment, transforms.ToTensor(), transforms.Normalize(mean, deviation)])
    data, pinned = Pictures(noise(images), transform), device.type == "cuda"
    loader = DataLoader(data, BATCH, shuffle=True, num_workers=2, pin_memory=pinned, drop_last=True)
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
        yield seconds(one_step, steps)


def ours(depth: int, steps: int, images: int = IMAGES) -> Iterator[tuple[float, float]]:
    """Seconds of a step of ours, and of making its batch alone, once for each round of some steps."""
    device = machine.pick_device()
    precision = machine.pick_precision(device)
    captured = device.type == "cuda"
    if device.type == "cpu":
        machine.keep_freed_memory()
    data = noise(images)
    normalisation = Normalisation.of(data, "pixel")  # the paper's, and the slower one
    batches = Batches(data, BATCH, normalisation, padding=4, flip=True, shuffle=True, device=device)
    draws = chain.from_iterable(map(batches.order, count()))
    full = (draw for draw in draws if draw.shape[1] == BATCH)  # on a GPU, `train` captures these
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
            yield tuple(seconds(lambda way=way: way(next(full)), steps) for way in ways)


def begin(way: Callable[..., Iterator], *arguments) -> None:
    """In a process of its own: be ready for `take_turn`."""
    global rounds
    rounds = way(*arguments)


def take_turn():
    return next(rounds)


def measure(depth: int, steps: int, rounds: int) -> dict[str, float]:
    """Images per second of each way, the ratio of ours to usual, and the share of our step that makes its batch."""
    processes = [
        ProcessPoolExecutor(1, get_context("spawn"), initializer=begin, initargs=(way, depth, steps))
        for way in (usual, ours)
    ]
    found = []
    with processes[0] as first, processes[1] as second:
        for _ in range(rounds):
            found.append((first.submit(take_turn).result(), *second.submit(take_turn).result()))
            time.sleep(0.3)  # until the workers of the usual way have their next batches ready
    theirs, own, batch = map(median, zip(*found, strict=True))
    return {"usual": BATCH / theirs, "ours": BATCH / own, "ratio": theirs / own, "input": batch / own}


def failures(depth: int, row: dict[str, float], device: str, precision: str) -> list[str]:
    """The bounds that do not hold, in words."""
    least = RATIO.get((device, precision), {}).get(depth, 0)
    failed = []
    if row["ratio"] < least:
        failed.append(f"ResNet-{depth}: ours has {row['ratio']:.2f} times the usual speed, not at least {least} times.")
    if row["input"] > INPUT[device]:
        failed.append(f"ResNet-{depth}: the input takes {row['input']:.1%} of a step, not at most {INPUT[device]:.0%}.")
    return failed


def main() -> int:
    device = machine.pick_device()
    kind, precision, failed = device.type, machine.pick_precision(device), []
    print(f"{machine.describe(device)['hardware']}, {torch.get_num_threads()} threads, {precision}, images per second")
    print("network      usual    ours  ratio  input  s per epoch")
    for depth in DEPTHS[kind]:
        row = measure(depth, STEPS[kind], ROUNDS[kind])
        speeds = f"{row['usual']:8.0f}{row['ours']:8.0f}{row['ratio']:7.2f}{row['input']:7.1%}"
        print(f"ResNet-{depth:<4}{speeds}{IMAGES / row['ours']:13.2f}", flush=True)
        failed += failures(depth, row, kind, precision)
    for line in failed:
        print(line)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
