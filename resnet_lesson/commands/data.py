"""`python -m resnet_lesson data`: put the course's data in place."""

import argparse
from pathlib import Path

from .. import machine
from ..datasets.cifar10 import cifar10
from ..datasets.class_set import bundle, unbundle
from ..datasets.quickdraw import STUDY, quickdraw


def options(p: argparse.ArgumentParser) -> None:
    """What the command takes, and what it does."""
    what = p.add_mutually_exclusive_group()
    what.add_argument(
        "--quickdraw",
        nargs="?",
        const=",".join(STUDY),
        metavar="CLASSES",
        help=f"drawings instead of CIFAR-10, of classes with commas between (if none are named: {', '.join(STUDY)})",
    )
    what.add_argument(
        "--bundle", type=Path, metavar="FILE", help="pack what is here into a class set, for a USB stick or a server"
    )
    what.add_argument(
        "--from", dest="source", metavar="FILE", help="unpack a class set, a file or an address with #sha256=... behind"
    )
    p.add_argument(
        "--per-class", type=int, default=None, metavar="N", help="how many drawings of each class (default: 500)"
    )
    p.add_argument(
        "--root", type=Path, default=machine.DATA, help="folder of the data sets (default: the course's data)"
    )
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises LessonError where the data is neither there nor to be had."""
    if args.per_class is not None and args.quickdraw is None:
        raise ValueError("--per-class belongs to --quickdraw: python -m resnet_lesson data --quickdraw --per-class 500")
    if args.quickdraw is not None:
        classes = [name.strip() for name in args.quickdraw.split(",")]
        each = 500 if args.per_class is None else args.per_class
        drawings = quickdraw(classes, each, args.root)
        print(f"QuickDraw is in {args.root}: {each:,} drawings of each of {', '.join(drawings.classes)}.")
    elif args.bundle:
        _print_bundle(args.bundle, *bundle(args.bundle, args.root))
    elif args.source:
        placed = unbundle(args.source, args.root)
        print(f"In place and checked: {len(placed)} files, {', '.join(sorted({one.split('/')[0] for one in placed}))}.")
    else:
        train_set, test_set = cifar10(args.root)
        print(f"CIFAR-10 is in {args.root}: {len(train_set):,} training and {len(test_set):,} test images, checked.")
    return 0


def _print_bundle(file: Path, digest: str, members: list[str]) -> None:
    print(f"{file}: {len(members)} files, {file.stat().st_size / 1e6:.0f} MB. To unpack it:")
    print(f"  python -m resnet_lesson data --from {file.name}")
    print("To serve it on the local network: `python -m http.server` in a folder that holds nothing else, and")
    print(f'  python -m resnet_lesson data --from "http://THIS-COMPUTER:8000/{file.name}#sha256={digest}"')
