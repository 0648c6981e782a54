"""What is measured in a process of its own, one at a time: its settings and its memory are its own."""

import multiprocessing
import sys
from collections.abc import Callable, Generator
from multiprocessing.connection import Connection
from pathlib import Path


class Arm:
    """A generator in its own process. `next(arm)` lets it run to its next `yield` and returns what it yields there.

    The generator is `function(*arguments)`; function is at the top of a module. Between two calls it rests. An error
    in it is raised here. Use it in a `with`: at the end the process is ended, with what it has started.
    """

    def __init__(self, function: Callable[..., Generator], *arguments):
        context = multiprocessing.get_context("spawn")  # a new Python: nothing of this process's memory is in it
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function, arguments))
        self.name = f"{function.__name__}{arguments}"
        self.process.start()
        theirs.close()

    def __next__(self):
        try:
            self.pipe.send("next")
            result = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            raise RuntimeError(
                f"{self.name} was stopped from outside (exit code {self.process.exitcode}); -9 is usually a lack of "
                "memory: end other programs."
            ) from None
        if isinstance(result, Exception):
            raise result
        return result

    def __enter__(self) -> "Arm":
        return self

    def __exit__(self, *_) -> None:
        self.pipe.close()
        self.process.join(20)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _serve(pipe: Connection, function: Callable[..., Generator], arguments: tuple) -> None:
    generator = function(*arguments)
    try:
        while pipe.recv():
            pipe.send(next(generator))
    except (EOFError, KeyboardInterrupt):
        generator.close()
    except Exception as error:
        pipe.send(error)


def peak_memory() -> float:
    """The most memory this process has held so far, in GB (10^9 bytes)."""
    if Path("/proc/self/status").exists():  # getrusage would count what the process that started this one held
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9
