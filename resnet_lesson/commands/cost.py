"""`python -m resnet_lesson cost`."""

import argparse

from ..models.cost import cost_of
from ..models.networks import IMAGENET_NAMES, build, names
from .shared import number


def options(p: argparse.ArgumentParser) -> None:
    """What the command takes, and what it does."""
    p.add_argument("network", help=f"one of {', '.join(names())}")
    p.add_argument("--size", type=number(int, 4, 4096), help="pixels (default: 224, or 32 for CIFAR networks)")
    p.set_defaults(run=command)


def command(args: argparse.Namespace) -> int:
    """Print a line for each layer, and the total."""
    network = build(args.network)
    size = args.size or (224 if args.network in IMAGENET_NAMES else 32)
    print(cost_of(network, (3, size, size)))
    return 0
