"""The command line: `python -m resnet_lesson COMMAND`. Each command and its options have a file of their own."""

import argparse
import os
import shlex
import sys

from ..errors import LessonError
from . import cost, data, doctor, grade, inside, reproduce, runs, study, train, visdom_server

PROGRAM = "python -m resnet_lesson"
COMMANDS = {  # what each does, and the function that adds its options
    "train": ("Train a network and record the run. To resume an interrupted one, repeat the command.", train.options),
    "reproduce": ("Train everything that a table of the paper needs, and print the table.", reproduce.options),
    "data": ("Fetch CIFAR-10 (170 MB) or QuickDraw, or make or unpack a class set.", data.options),
    "runs": ("List the recorded runs with their final errors, or draw their curves.", runs.options),
    "inside": ("Measure inside recorded networks, for notebook 07: surfaces, lesions, gradients.", inside.options),
    "study": ("Record one of the controlled experiments that the notebooks show.", study.options),
    "cost": ("Print a network's parameters, multiply-adds and shapes, layer by layer.", cost.options),
    "visdom": ("Run a visdom server for live training curves, on this computer only.", visdom_server.options),
    "grade": ("Run students' notebooks, each in its own process, and count the checks they pass.", grade.options),
    "doctor": ("Show what works on this machine, what the notebooks will do, and how to fix the rest.", doctor.options),
}


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and where to find the help."""

    def error(self, message: str) -> None:
        self.exit(2, f"{message.removesuffix('.')}. To see the options: {self.prog} --help\n")


def parser() -> Parser:
    """The whole command line; its `--help`, and that of each command, is the documentation."""
    top = Parser(prog=PROGRAM, description="Residual networks: train, record, measure.", allow_abbrev=False)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (does, options) in COMMANDS.items():
        options(commands.add_parser(name, help=does, description=does, allow_abbrev=False))
    return top


def main(argv: list[str] | None = None) -> None:
    """Run a command. An error that the reader can put right ends it with one line and exit status 2."""
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # "?" for characters that the encoding of a redirected output lacks
            stream.reconfigure(errors="replace")
    try:
        args = parser().parse_args(argv)
        status = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # `... | head` has read enough; Python's own last flush must not fail either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except (LessonError, ValueError) as error:
        status = 2
        print(error, file=sys.stderr)
    except OSError as error:  # a file or folder that cannot be written or read, a connection that broke
        status = 2
        name = error.filename2 or error.filename
        print(f"{name}: {error.strerror}" if name else error, file=sys.stderr)
    except KeyboardInterrupt:
        status = 130
        print(f"Stopped. To go on, repeat the command: {PROGRAM} {shlex.join(argv)}", file=sys.stderr)
    sys.exit(status)
