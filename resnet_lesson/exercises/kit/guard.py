"""Running a student's code so that it ends, leaves nothing behind, and cannot break the check."""

import builtins
import contextlib
import io
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import torch

SECONDS = 20.0  # for one case; a right answer takes a few hundredths


class TimeIsUp(BaseException):
    """Raised in the middle of the student's code; a BaseException, so that its `except Exception` lets it pass."""


@contextlib.contextmanager
def guarded(seconds: float = SECONDS) -> Iterator[None]:
    """Inside, everything is as in a fresh Python, with the same random numbers; afterwards it is as it was before.

    "Everything" means random numbers, gradient mode, default dtype and device, and the current folder. input() raises
    an error. Raises TimeIsUp after that many seconds where the platform allows it (not on Windows, and only in the main
    thread).
    """
    folder, dtype, device = os.getcwd(), torch.get_default_dtype(), _default_device()
    python_random, numpy_random, ask = random.getstate(), np.random.get_state(), builtins.input
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), time_limit(seconds):
        try:
            torch.set_default_dtype(torch.float32)
            if device.type != "cpu":
                torch.set_default_device("cpu")
            torch.default_generator.manual_seed(0)
            builtins.input = _no_input
            yield
        finally:
            builtins.input = ask
            random.setstate(python_random)
            np.random.set_state(numpy_random)
            torch.set_default_dtype(dtype)
            if _default_device() != device:
                torch.set_default_device(device if device.type != "cpu" else None)  # None costs nothing
            os.chdir(folder)


def _default_device() -> torch.device:
    return torch.empty(0).device  # torch 2.6: get_default_device() fails after set_default_device(None)


def _no_input(prompt: object = "") -> str:
    raise RuntimeError("a check cannot answer input()")


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeIsUp inside after that many seconds, where the platform allows it. Limits may be nested."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise TimeIsUp(f"not finished after {seconds:g} s")

    began, before = time.monotonic(), signal.signal(signal.SIGALRM, stop)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)  # of the limit around this one; 0 if there is none
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, left and max(0.001, left - (time.monotonic() - began)))


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Inside, nothing is printed or displayed; yields a buffer with the text that would have been printed."""
    with contextlib.ExitStack() as stack:
        if "IPython" in sys.modules:
            from IPython.utils.capture import capture_output

            stack.enter_context(capture_output())  # of display()
        printed = stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield printed
