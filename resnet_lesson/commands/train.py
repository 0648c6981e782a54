"""`python -m resnet_lesson train`."""

import argparse
from pathlib import Path

from .. import machine
from ..figures.visdom_windows import PORT, VisdomWindows
from ..models.networks import IMAGENET_NAMES, build, names
from ..training import parallel
from ..training.recipes import RECIPES, recipe
from ..training.runs import name_of, own
from ..training.train import train
from .shared import DATASETS, add_device, add_root


def options(p: argparse.ArgumentParser) -> None:
    """Add the command's options, and the function that runs it."""
    p.add_argument("--network", required=True, help=f"one of {', '.join(names())}; CIFAR-10's also in other depths")
    p.add_argument("--recipe", choices=RECIPES, default="short", help="how to train (default: short)")
    p.add_argument("--dataset", choices=DATASETS, default="cifar10", help="what to train on (default: cifar10)")
    p.add_argument(
        "--seed", type=int, default=0, help="fixes the first weights and the order of the images (default: 0)"
    )
    p.add_argument("--out", type=Path, help="folder for the record (default: RECIPE-NETWORK-seedSEED in data/my-runs)")
    p.add_argument("--iterations", type=int, help="scale the recipe to this many steps (default: as the recipe says)")
    add_device(p)
    windows = f"draw curves in the windows of `python -m resnet_lesson visdom` (give PORT if it is not {PORT})"
    p.add_argument("--visdom", nargs="?", type=int, const=PORT, metavar="PORT", help=windows)
    p.add_argument(
        "--precision",
        choices=machine.PRECISIONS,
        help="number format (default: bfloat16 if the hardware has it, else float32)",
    )
    add_root(p)
    p.set_defaults(run=command)


def command(args: argparse.Namespace) -> int:
    """Train, and print how it ended. Exit status: 0, or 130 if it was stopped."""
    chosen = recipe(args.recipe)
    if args.iterations is not None:
        chosen = chosen.scaled(args.iterations)
    # All these data sets have ten classes, and so have the networks for CIFAR-10.
    options = {"num_classes": 10} if args.network in IMAGENET_NAMES else {}
    network = build(args.network, seed=args.seed, **options)
    if machine.pick_device(args.device).type == "cpu":
        machine.keep_freed_memory()  # this process does nothing else
    out = args.out or own() / name_of(args.network, args.recipe, args.seed, args.dataset, args.iterations)
    with parallel.processes(args.device) as device:
        run = train(
            network,
            *DATASETS[args.dataset](args.root),
            chosen,
            seed=args.seed,
            out=out,
            device=device,
            precision=args.precision,
            observers=[] if args.visdom is None else [VisdomWindows(port=args.visdom)],
        )
        if parallel.rank():  # only the first process prints
            return 0
    if run.status == "interrupted":
        return 130
    print(
        f"{out}: {args.network}, {chosen.name}, training error {run.final('train_error'):.2%}, "
        f"test error {run.final():.2%} after {run.history[-1]['iteration']} iterations ({run.seconds / 60:.1f} min)."
    )
    return 0
