"""`python -m resnet_lesson cost`."""

import argparse

from ..errors import LessonError
from ..models.cost import cost_of
from ..models.networks import IMAGENET_NAMES, build, names


def options(p: argparse.ArgumentParser) -> None:
    """What the command takes, and what it does."""
    p.add_argument("network", help=f"one of {', '.join(names())}")
    p.add_argument("--size", type=int, help="pixels (default: 224, or 32 for CIFAR networks)")
    p.set_defaults(run=command)


def command(args: argparse.Namespace) -> int:
    """Print a line for each layer, and the total."""
    network = build(args.network)
    size = (224 if args.network in IMAGENET_NAMES else 32) if args.size is None else args.size
    if size < 1:
        raise LessonError(f"--size is a number of pixels, not {size}.")
    print(cost_of(network, (3, size, size)))
    return 0
