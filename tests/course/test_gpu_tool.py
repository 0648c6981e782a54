"""tools/gpu.py: what it would run exists; it goes on where it was, stops in time, and says what failed."""

import os
import signal
import subprocess
import sys
import time

import pytest
from support.paths import REPO

from resnet_lesson.commands import cli

COURSE = REPO


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(COURSE / "tools")
    module = __import__("gpu")
    monkeypatch.setattr(module.shutil, "which", lambda name: None)  # on a machine with a GPU its MPS stays as it is
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield module
    for number, handler in before.items():
        signal.signal(number, handler)


def call(gpu, monkeypatch, out, steps, minutes=1.0):
    monkeypatch.setattr(gpu, "steps", lambda: steps)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--minutes", str(minutes), "--out", str(out)])
    return gpu.main()


@pytest.mark.parametrize("which", ["steps", "trial"])
def test_every_step_is_a_command_of_the_course(gpu, which, tmp_path):
    for commands in gpu.steps().values() if which == "steps" else gpu.trial(tmp_path).values():
        for command in commands:
            kind, *words = command.split()
            if kind.endswith(".py"):
                assert (COURSE / kind).exists()
            elif words[0] == "resnet_lesson":
                cli.parser()[0].parse_args(words[1:])
            else:
                assert words[0] == "pytest" and all((COURSE / w).exists() for w in words if w.endswith(".py"))


def test_a_finished_step_is_not_run_again_and_a_failed_one_is(gpu, monkeypatch, tmp_path, capsys):
    steps = {"fine": ("-c print(1)",), "wrong": ("-c print(1)", "-c raise(SystemExit(3))"), "last": ("-c pass",)}
    assert call(gpu, monkeypatch, tmp_path, steps) == 1
    said = [line.split(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert said == ["fine: done", "wrong: not done", "last: done"]
    assert call(gpu, monkeypatch, tmp_path, steps) == 1
    assert (tmp_path / "fine.txt").read_text() == "1\n" and (tmp_path / "wrong.txt").read_text() == "1\n1\n"
    assert "fine: was done before" in capsys.readouterr().out
    assert call(gpu, monkeypatch, tmp_path, steps | {"wrong": ("-c pass",)}) == 0


WAITS = """
import time
print("begins", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("saved")
    raise SystemExit(130)
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGINT for another process")
def test_when_the_time_is_up_a_step_is_asked_to_save_and_no_other_one_starts(gpu, monkeypatch, tmp_path, capsys):
    (tmp_path / "waits.py").write_text(WAITS)
    steps = {"long": (str(tmp_path / "waits.py"),), "next": ("-c pass",)}
    assert call(gpu, monkeypatch, tmp_path, steps, minutes=0.05) == 0
    assert (tmp_path / "long.txt").read_text() == "begins\nsaved\n"
    assert "next: no time left" in capsys.readouterr().out and not list(tmp_path.glob("*.done"))


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGINT for another process")
def test_who_ends_it_from_outside_ends_its_steps_too(tmp_path):
    (tmp_path / "waits.py").write_text(WAITS)
    code = f"import sys; sys.path.insert(0, {str(COURSE / 'tools')!r}); import gpu; from pathlib import Path\n"
    code += "gpu.shutil.which = lambda name: None\n"
    code += f"gpu.steps = lambda: dict(long=({str(tmp_path / 'waits.py')!r},))\n"
    code += f"sys.argv = ['gpu.py', '--minutes', '1', '--out', {str(tmp_path)!r}]; gpu.main()"
    tool = subprocess.Popen([sys.executable, "-c", code])
    while not (tmp_path / "long.txt").exists() or "begins" not in (tmp_path / "long.txt").read_text():
        assert tool.poll() is None
        time.sleep(0.05)
    tool.send_signal(signal.SIGTERM)
    assert tool.wait(30) != 0
    assert (tmp_path / "long.txt").read_text() == "begins\nsaved\n"


def test_a_step_that_does_not_exist_is_named(gpu, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--minutes", "1", "--out", str(tmp_path), "--steps", "tets"])
    with pytest.raises(SystemExit):
        gpu.main()
    assert "there is no step tets; choose from tests, throughput" in capsys.readouterr().err
