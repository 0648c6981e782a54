"""How much of a training step goes into making the batch? Run: python benchmarks/input.py

Times `Batches` (crop, flip, normalise) and a ResNet-20 step at batch 128 on 32x32 images, alternately, in one process,
and prints their ratio. Exits with 1 where the batch costs more than 2% of the step.
"""

import statistics
import sys
import time

import torch
import torch.nn.functional as F

from resnet_lesson import Batches, Normalisation, build, shapes10

BOUND, ROUNDS = 0.02, 15


def main() -> int:
    data = shapes10(10_000, size=32)
    ratios = []
    print("normalisation   batch ms   step ms   ratio")
    for kind in ("channel", "pixel"):
        batches = Batches(data, 128, Normalisation.of(data, kind), padding=4, flip=True, shuffle=True)
        network = build("resnet20", seed=0).to(memory_format=torch.channels_last)
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, foreach=True)
        making, stepping = [], []
        stream = batches.epoch(0)
        for _ in range(ROUNDS):
            start = time.perf_counter()
            images, labels = next(stream)
            made = time.perf_counter()
            loss = F.cross_entropy(network(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            making.append(made - start)
            stepping.append(time.perf_counter() - made)
        batch, step = statistics.median(making), statistics.median(stepping)
        ratios.append(batch / step)
        print(f"{kind:13} {batch * 1e3:10.1f} {step * 1e3:9.0f} {ratios[-1]:7.2%}")
    return int(max(ratios) > BOUND)


if __name__ == "__main__":
    sys.exit(main())
