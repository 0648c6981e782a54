"""The command line: `python -m resnet_lesson COMMAND`."""

import argparse
import os
import shlex
import sys
from itertools import takewhile
from pathlib import Path

from .. import machine
from ..datasets.cifar10 import cifar10
from ..datasets.shapes10 import shapes10
from ..errors import LessonError, unknown
from ..figures.curves import error_curves
from ..figures.visdom_windows import VisdomWindows
from ..inside import record
from ..models.cost import cost_of
from ..models.memory import recompute
from ..models.networks import IMAGENET_NAMES, build, names
from ..training import parallel, transfer_study
from ..training.recipes import RECIPES, recipe
from ..training.runs import list_runs, load, name_of, recorded
from ..training.train import train
from . import data, doctor, grade, reproduce, visdom_server

DATASETS = {
    "cifar10": cifar10,
    "shapes10": lambda root: (shapes10(4096, seed=0), shapes10(1024, seed=1)),
}


def parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The whole command line and each command's own part; their `--help` is the documentation."""
    top = argparse.ArgumentParser(
        prog="python -m resnet_lesson", description="Residual networks: train, record, measure.", allow_abbrev=False
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, does: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=does, description=does, allow_abbrev=False)

    p = command("train", "Train a network and record the run. The same command goes on after an interruption.")
    p.add_argument("--network", required=True, help=f"one of {', '.join(names())}")
    p.add_argument("--recipe", default="short", help=f"one of {', '.join(RECIPES)} (default: short)")
    p.add_argument("--dataset", default="cifar10", help=f"one of {', '.join(DATASETS)} (default: cifar10)")
    p.add_argument(
        "--seed", type=int, default=0, help="fixes the first weights and the order of the images (default: 0)"
    )
    p.add_argument(
        "--out",
        type=Path,
        default=None,
        help="folder of the record (default: RECIPE-NETWORK-seedSEED, and what else is not as usual, in "
        "the course's data/runs)",
    )
    p.add_argument(
        "--iterations", type=int, default=None, help="scale the recipe to this many steps (default: as the recipe says)"
    )
    p.add_argument("--shortcut", choices="ABC", default=None, help="default: A in the CIFAR networks, else B")
    p.add_argument("--device", default=None, help="cpu or cuda (default: a GPU if there is one)")
    p.add_argument(
        "--record-every", type=int, default=None, metavar="N", help="evaluate and record each N steps, not each epoch"
    )
    p.add_argument(
        "--visdom",
        nargs="?",
        type=int,
        const=visdom_server.PORT,
        metavar="PORT",
        help=f"draw in the windows of `python -m resnet_lesson visdom` (its port, if it is not {visdom_server.PORT})",
    )
    p.add_argument(
        "--recompute", action="store_true", help="less memory for a third more time: activation checkpointing"
    )
    p.add_argument("--precision", choices=machine.PRECISIONS, default=None, help="default: what the hardware does best")
    p.add_argument(
        "--root", type=Path, default=machine.DATA, help="folder of the data sets (default: the course's data)"
    )
    p.set_defaults(run=train_command)

    p = command("reproduce", "Train all that a table of the paper needs, and print it. The same command goes on.")
    reproduce.options(p, DATASETS)

    p = command("data", "Put CIFAR-10 in place (170 MB), or QuickDraw drawings, or a class set; or make a class set.")
    data.options(p)

    p = command("runs", "List the recorded runs with their final errors, or draw their curves.")
    p.add_argument("names", nargs="*", metavar="NAME", help="only these runs (default: all)")
    p.add_argument("--figure", type=Path, default=None, help="write the error curves to this file (.png, .svg, .pdf)")
    p.add_argument("--root", type=Path, default=None, help="folder of the records (default: the course's data/runs)")
    p.set_defaults(run=runs_command)

    p = command("inside", "Measure inside recorded networks, for notebook 07: surfaces, lesions, gradients.")
    p.add_argument(
        "names", nargs="+", metavar="NAME", help="of runs with weights, as `runs` lists them, or their folders"
    )
    p.add_argument("--device", default=None, help="cpu or cuda (default: a GPU if there is one)")
    p.add_argument(
        "--root", type=Path, default=machine.DATA, help="folder of the data sets (default: the course's data)"
    )
    p.set_defaults(run=inside_command)

    p = command("transfer", "Compare training from scratch, of a new head and of all layers, on drawings: notebook 08.")
    transfer_study.options(p)

    p = command("cost", "Print a network's parameters, multiply-adds and shapes, layer by layer.")
    p.add_argument("network", help=f"one of {', '.join(names())}")
    p.add_argument("--size", type=int, default=None, help="pixels (default: 224 for ImageNet networks, 32 for CIFAR)")
    p.set_defaults(run=cost_command)

    p = command("visdom", "Run visdom's server, where VisdomWindows draws training curves, for this computer only.")
    p.add_argument("--port", type=int, default=visdom_server.PORT, help=f"(default: {visdom_server.PORT})")
    p.add_argument(
        "--folder", type=Path, default=visdom_server.FOLDER, help="of its page and windows (default: data/visdom)"
    )
    p.set_defaults(run=lambda args: visdom_server.serve(args.port, args.folder))

    p = command("grade", "Run students' notebooks, each in a process of its own, and count the checks that they pass.")
    grade.options(p)

    p = command("doctor", "Say what works on this machine, what the notebooks will do, and how to fix the rest.")
    p.add_argument(
        "--root", type=Path, default=machine.DATA, help="folder of the data sets (default: the course's data)"
    )
    p.add_argument("--network", action="store_true", help="also measure how fast CIFAR-10's mirrors send (seconds)")
    p.set_defaults(run=lambda args: doctor.report(args.root, args.network))
    return top, commands.choices


def train_command(args: argparse.Namespace) -> int:
    chosen = recipe(args.recipe)
    if args.iterations is not None:
        chosen = chosen.scaled(args.iterations)
    if args.dataset not in DATASETS:
        raise ValueError(unknown("data set", args.dataset, DATASETS))
    options = {} if args.shortcut is None else {"shortcut": args.shortcut}
    if args.network in IMAGENET_NAMES:
        options["num_classes"] = 10  # both data sets have ten; the other networks are made for ten
    network = build(args.network, seed=args.seed, **options)
    if args.recompute:
        recompute(network)
    unusual = dict(dataset=args.dataset, iterations=args.iterations, shortcut=args.shortcut)
    out = args.out or machine.DATA / "runs" / name_of(args.network, args.recipe, args.seed, **unusual)
    with parallel.processes(args.device) as device:
        train_set, test_set = parallel.first_alone(lambda: DATASETS[args.dataset](args.root))
        run = train(
            network,
            train_set,
            test_set,
            chosen,
            seed=args.seed,
            out=out,
            device=device,
            precision=args.precision,
            observers=[] if args.visdom is None else [VisdomWindows(port=args.visdom)],
            record_every=args.record_every,
        )
        if parallel.rank():  # the first process speaks
            return 0
    if run.status == "interrupted":
        return 130
    print(
        f"{out}: {args.network}, {chosen.name}, training error {run.final('train_error'):.2%}, "
        f"test error {run.final():.2%} after {run.history[-1]['iteration']} iterations ({run.seconds / 60:.1f} min)."
    )
    return 0


def runs_command(args: argparse.Namespace) -> int:
    runs = list_runs(args.root)
    for name in args.names:
        if name not in [run.name for run in runs]:
            raise ValueError(unknown("recorded run", name, [run.name for run in runs]))
    runs = [run for run in runs if run.name in args.names or not args.names]
    if not runs:
        print(
            f"No recorded runs in {args.root or 'data/runs'}. "
            "`python -m resnet_lesson train --help` says how to make one."
        )
        return 0
    width, name = max(len(run.name) for run in runs), max(7, *(len(run.network["name"]) for run in runs))
    head = ("run", "network", "recipe", "data", "epochs", "train", "test", "minutes", "status")
    line = f"{{:{width}}}  {{:{name}}} {{:7}} {{:9}} {{:>6}} {{:>7}} {{:>7}} {{:>8}}  {{}}"
    print(line.format(*head))
    for run in runs:
        errors = [f"{run.final(column):.2%}" if run.history else "-" for column in ("train_error", "test_error")]
        minutes = f"{run.seconds / 60:.1f}"
        epochs = run.final("epoch") if run.history else 0
        row = (run.name, run.network["name"], run.recipe["name"], run.data["name"], epochs, *errors)
        print(line.format(*row, minutes, f"{run.status}, {run.hardware}, {run.precision}"))
    if args.figure:
        error_curves(runs).savefig(args.figure, dpi=150)
    return 0


def inside_command(args: argparse.Namespace) -> int:
    for run in [load(name) if (Path(name) / "run.json").exists() else recorded(name) for name in args.names]:
        found = record.measure(run, *DATASETS[run.data["name"]](args.root), device=args.device)
        worst = max(found.drop_each, key=found.drop_each.get)
        print(
            f"{found.folder}: error {found.error:.1%} on {found.about['lesion_images']}; without {worst} "
            f"{found.drop_each[worst]:.1%}; loss in the middle of its surfaces {found.surface().centre:.3f}."
        )
    return 0


def cost_command(args: argparse.Namespace) -> int:
    network = build(args.network)
    size = args.size or (224 if args.network in IMAGENET_NAMES else 32)
    print(cost_of(network, (3, size, size)))
    return 0


def main(argv: list[str] | None = None) -> None:
    """Run a command. What the reader can put right ends in one line, with exit status 2."""
    argv = sys.argv[1:] if argv is None else argv
    top, commands = parser()
    if argv and not argv[0].startswith("-"):
        if argv[0] not in commands:
            top.error(unknown("command", argv[0], commands))
        options = [option for option in commands[argv[0]]._option_string_actions if option.startswith("--")]
        for word in takewhile(lambda word: word != "--", argv[1:]):
            if word.startswith("--") and word.split("=")[0] not in options:
                commands[argv[0]].error(unknown("option", word.split("=")[0], options))
    args = top.parse_args(argv)
    try:
        status = args.run(args)
        sys.stdout.flush()
        sys.exit(status)
    except BrokenPipeError:  # `... | head` has read enough; Python's own last flush must not fail either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (LessonError, ValueError) as error:
        top.exit(2, f"{error}\n")
    except KeyboardInterrupt:
        top.exit(130, f"Stopped. The same command goes on: python -m resnet_lesson {shlex.join(argv)}\n")
