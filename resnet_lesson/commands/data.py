"""`python -m resnet_lesson data`: put the course's data in place."""

import argparse
from pathlib import Path

from ..datasets.cifar10 import cifar10
from ..datasets.class_set import bundle, unbundle
from ..datasets.quickdraw import STUDY, quickdraw
from .shared import add_root


def options(p: argparse.ArgumentParser) -> None:
    """Add the command's options, and the function that runs it."""
    what = p.add_mutually_exclusive_group()
    what.add_argument(
        "--quickdraw",
        nargs="?",
        const=",".join(STUDY),
        metavar="CLASSES",
        help=f"fetch drawings instead of CIFAR-10; CLASSES are separated by commas (default: {', '.join(STUDY)})",
    )
    what.add_argument(
        "--bundle", type=Path, metavar="FILE", help="pack the data that is here into a class set, to copy or to serve"
    )
    what.add_argument(
        "--from",
        dest="source",
        metavar="FILE",
        help="unpack a class set: a file, or an address that ends in #sha256=...",
    )
    p.add_argument(
        "--per-class", type=int, default=500, metavar="N", help="how many drawings of each class (default: 500)"
    )
    add_root(p)
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises LessonError if the data is not there and cannot be fetched."""
    if args.quickdraw is not None:
        classes = [name.strip() for name in args.quickdraw.split(",")]
        quickdraw(classes, args.per_class, args.root)
        print(f"QuickDraw is in {args.root}: {args.per_class:,} drawings of each of {', '.join(classes)}.")
    elif args.bundle:
        digest, members = bundle(args.bundle, args.root)
        file = args.bundle.name
        print(f"{args.bundle}: {len(members)} files, {args.bundle.stat().st_size / 1e6:.0f} MB. To unpack it:")
        print(f'  python -m resnet_lesson data --from "{file}"')
        print("To serve it on the local network, run `python -m http.server` in a folder with nothing else in it, then")
        print(f'  python -m resnet_lesson data --from "http://THIS-COMPUTER:8000/{file}#sha256={digest}"')
    elif args.source:
        placed = unbundle(args.source, args.root)
        kinds = ", ".join(sorted({one.split("/")[0] for one in placed}))
        print(f"In place: {len(placed)} files, {kinds}. `python -m resnet_lesson doctor` checks them.")
    else:
        train_set, test_set = cifar10(args.root)
        print(f"CIFAR-10 is in {args.root}: {len(train_set):,} training and {len(test_set):,} test images, checked.")
    return 0
