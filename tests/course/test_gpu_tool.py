"""tools/gpu.py: what it would run exists; it goes on where it was, stops in time, and says what failed."""

import os
import sys

import gpu as module
import pytest
from support.paths import REPO

from resnet_lesson.commands import cli

WAITS = """
import time
try:
    print("begins", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("saved")
    raise SystemExit(130)
"""


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """The tool, as far as it can be tried without a GPU: `gpu.call({STEP: words}, ...)` runs it with those stages."""
    monkeypatch.setattr(module.shutil, "which", lambda name: None)  # on a machine with a GPU its MPS stays as it is
    monkeypatch.setattr(module, "OUT", tmp_path)
    monkeypatch.setattr(module, "STUDIES", ())  # not into this checkout's data/my-runs
    (tmp_path / "waits.py").write_text(WAITS)

    def call(*stages, minutes=1.0):
        monkeypatch.setattr(module, "STAGES", stages)
        monkeypatch.setattr(sys, "argv", ["gpu.py", "--minutes", str(minutes)])
        module.main()

    monkeypatch.setattr(module, "call", call, raising=False)
    return module


def test_every_step_is_a_command_of_the_course(gpu):
    for command in [words for stage in gpu.STAGES for words in stage.values()]:
        kind, *words = command.format(minutes=12.3).split()
        if kind.endswith(".py"):
            assert (REPO / kind).exists()
        elif words[0] == "resnet_lesson":
            cli.parser().parse_args(words[1:])
        else:
            assert words[0] == "pytest" and all((REPO / word).exists() for word in words[3:])


def test_a_finished_step_is_not_run_again_and_a_failed_one_is(gpu, tmp_path, capsys):
    gpu.call({"fine": "-c print(1)", "wrong": "-c raise(SystemExit(3))"}, {"last": "-c pass"})
    said = [line.split(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert said == ["fine: done", "wrong: not done", "last: done"]
    gpu.call({"fine": "-c print(1)", "wrong": "-c pass"})
    assert capsys.readouterr().out.splitlines() == ["fine: was done before", "wrong: done"]
    assert (tmp_path / "fine.txt").read_text() == "1\n"


def test_the_first_step_of_a_stage_has_priority_over_those_beside_it(gpu, tmp_path):
    (tmp_path / "priority.py").write_text("import os; print(os.environ.get('CUDA_MPS_CLIENT_PRIORITY'))")
    words = f"{tmp_path}/priority.py"
    gpu.call({"first": words, "second": words})
    assert [(tmp_path / f"{name}.txt").read_text() for name in ("first", "second")] == ["None\n", "1\n"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGINT for another process")
def test_when_the_time_is_up_the_steps_are_asked_to_save_and_no_other_one_starts(gpu, tmp_path, capsys):
    waits = f"{tmp_path}/waits.py"
    gpu.call({"long": waits, "beside": waits}, {"next": "-c pass"}, minutes=0.05)
    assert [(tmp_path / f"{name}.txt").read_text() for name in ("long", "beside")] == 2 * ["begins\nsaved\n"]
    assert "next: no time left" in capsys.readouterr().out and not list(tmp_path.glob("*.done"))
