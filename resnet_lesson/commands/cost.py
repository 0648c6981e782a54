"""`python -m resnet_lesson cost`."""

import argparse

from ..models.cost import cost_of
from ..models.networks import IMAGENET_NAMES, build, names


def options(p: argparse.ArgumentParser) -> None:
    """Add the command's options, and the function that runs it."""
    p.add_argument("network", help=f"one of {', '.join(names())}; CIFAR-10's also in other depths, such as resnet8")
    p.set_defaults(run=command)


def command(args: argparse.Namespace) -> int:
    """Print a line for each layer, and the total, for an image of ImageNet or CIFAR-10."""
    size = 224 if args.network in IMAGENET_NAMES else 32
    print(cost_of(build(args.network), (3, size, size)))
    return 0
