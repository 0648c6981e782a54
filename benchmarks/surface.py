"""How long does a loss surface take? Run: python benchmarks/surface.py

25 x 25 points of ResNet-56 over 128 images, or on a GPU 51 x 51 points over 2,048: 80,000 and 5.3 million forward
passes. Two arms, in one process each, take turns on a 5 x 5 surface: `usual` moves the weights and evaluates the
network as it is; `ours` is `surface`, which writes BN into the convolutions. Then ours draws the whole surface once.
Exits with 1 where a bound does not hold:

- ours is at least 1.05 times as fast as usual (measured: 1.16; convolutions are nine tenths of the time, and stay);
- both give the same losses up to 1%, or 10% in bfloat16;
- the whole surface takes at most 60 s where the hardware has bfloat16. In float32 it needs 20 * 10^12 operations: two
  AVX2 cores multiply about 150 * 10^9 a second, so that 60 s cannot be reached there, and the time is only printed.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from statistics import median

import torch
import torch.nn.functional as F
from arms import Arm

from resnet_lesson import build, machine
from resnet_lesson.inside.landscape import filter_direction, surface

RATIO, SECONDS, ROUNDS = 1.05, 60.0, 3
TOLERANCE = {"float32": 0.01, "bfloat16": 0.1}


def setting(quick: bool) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor, int]:
    """Network, images, labels and the points along each side of the whole surface."""
    device = machine.pick_device()
    if device.type == "cpu":
        machine.keep_freed_memory()
    generator = torch.Generator().manual_seed(0)
    count, points = (4, 5) if quick else (2048, 51) if device.type == "cuda" else (128, 25)
    images = torch.randn(count, 3, 32, 32, generator=generator)
    labels = torch.randint(10, (count,), generator=generator)
    network = build("resnet8" if quick else "resnet56", seed=0)
    for _ in range(2 if quick else 20):
        with torch.no_grad():
            network.train()(images[:128])  # BN's statistics come to fit the network
    return network.to(device).eval(), images.to(device), labels.to(device), points


def ours(quick: bool) -> Iterator[tuple[float, torch.Tensor]]:
    """Seconds and losses of a 5 x 5 surface, several times, and of the whole one at last."""
    network, images, labels, whole = setting(quick)
    directions = [filter_direction(network, seed) for seed in (0, 1)]
    precision = machine.pick_precision(images.device)
    for points in (5,) * (ROUNDS + 1) + (whole,):
        start = time.perf_counter()
        found = surface(network, images, labels, *directions, span=0.2, points=points, precision=precision)
        yield time.perf_counter() - start, found.loss


@torch.no_grad()
def usual(quick: bool) -> Iterator[tuple[float, torch.Tensor]]:
    """Seconds and losses of the same surface, the weights moved parameter by parameter, in float32."""
    network, images, labels, _ = setting(quick)
    weights = [weight.clone() for weight in network.parameters()]
    first, second = ([*filter_direction(network, seed).values()] for seed in (0, 1))
    while True:
        start, losses = time.perf_counter(), []
        for b in torch.linspace(-0.2, 0.2, 5).tolist():
            for a in torch.linspace(-0.2, 0.2, 5).tolist():
                for weight, w, d, e in zip(network.parameters(), weights, first, second, strict=True):
                    weight.copy_(w + a * d + b * e)
                losses.append(F.cross_entropy(network(images), labels).item())
        yield time.perf_counter() - start, torch.tensor(losses).view(5, 5)


def failures(ratio: float, off: float, seconds: float, precision: str) -> list[str]:
    """The bounds that do not hold, in words."""
    failed = []
    if ratio < RATIO:
        failed.append(f"surface is {ratio:.2f} times as fast as the usual way, not at least {RATIO}.")
    if off > TOLERANCE[precision]:
        failed.append(f"the losses of the two ways differ by up to {off:.1%}, not at most {TOLERANCE[precision]:.0%}.")
    if precision == "bfloat16" and seconds > SECONDS:
        failed.append(f"The whole surface took {seconds:.0f} s, not at most {SECONDS:.0f} s.")
    return failed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny networks and no bound: does it run?")
    quick = parser.parse_args(arguments).quick
    device = machine.pick_device()
    precision = machine.pick_precision(device)
    print(f"{machine.describe(device)['hardware']}, {precision}")
    seconds, losses = {"usual": [], "ours": []}, {}
    with Arm(usual, quick) as theirs, Arm(ours, quick) as mine:
        for i in range(ROUNDS + 1):  # the first round warms up
            for name, arm in (("usual", theirs), ("ours", mine)):
                taken, losses[name] = next(arm)
                seconds[name] += [taken] * (i > 0)
        whole, _ = next(mine)
    times = {name: median(values) for name, values in seconds.items()}
    ratio = times["usual"] / times["ours"]
    off = ((losses["ours"] - losses["usual"]).abs() / losses["usual"]).max().item()
    print(f"5 x 5 points: usual {times['usual']:.2f} s, ours {times['ours']:.2f} s, {ratio:.2f} times as fast")
    print(f"losses differ by at most {off:.2%}; the whole surface took {whole:.0f} s")
    failed = [] if quick else failures(ratio, off, whole, precision)
    for line in failed:
        print(line)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
