"""`grade` as a command: what it says of right, wrong and hostile notebooks, and what a student's code cannot reach."""

import builtins
import contextlib
import copy
import csv
import functools
import gc
import inspect
import io
import json
import os
import sys
import threading
import tracemalloc
from pathlib import Path

import nbformat
import psutil
import pytest
import torch
from answers import RIGHT
from nbformat.v4 import new_code_cell, new_notebook, new_output
from support.commands import call
from support.stubs import PATHS, exercise_in, paste_solution, stubs
from torch import nn
from torch.overrides import TorchFunctionMode

import resnet_lesson
from resnet_lesson import build, exercises, recipe
from resnet_lesson.commands import cli
from resnet_lesson.commands.grade import child, notebook, process, result
from resnet_lesson.commands.grade.guard import Guard
from resnet_lesson.commands.grade.notebook import Submission
from resnet_lesson.commands.grade.process import Limits, Outcome
from resnet_lesson.exercises.kit import exercise, probing, report
from resnet_lesson.exercises.kit.exercise import Exercise, Probe
from resnet_lesson.models import blocks


def write(path, *cells, output=None):
    """A notebook of these cells; `output` is stored with each of them, as if it had been printed there."""
    outputs = [new_output("stream", name="stdout", text=output)] if output else []
    made = new_notebook(cells=[new_code_cell(cell, outputs=outputs) for cell in cells])
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)
    return path


def asks(name, answer):
    return f"from resnet_lesson import exercises\nex = exercises.{name}\n{answer}"


OPTION_A = asks("option_a", f"{exercises.option_a.solution()}\nex.check(ZeroPadShortcut)")
WITHOUT_STRIDE = """
from torch import nn

class Projection(nn.Sequential):
    def __init__(self, in_channels, out_channels, stride=1):
        super().__init__(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))

ex.check(Projection)
"""
STUB = asks("basic_block", "class BasicBlock: ...\n\nex.check(BasicBlock)")

SURROUNDINGS = """
import os, sys, resnet_lesson, torch
assert os.path.samefile(os.environ["HOME"], ".") and os.environ["TMPDIR"] == os.environ["HOME"]
assert not [name for name in os.environ if "TOKEN" in name], "the environment of the one who grades"
assert sys.stdin.read() == ""
assert resnet_lesson.DATA.parent.samefile(".") and resnet_lesson.list_runs()
if os.name == "posix":
    assert os.getsid(0) == os.getpid()
    try:
        open("large", "wb").truncate(2 * 10**9)
    except OSError:
        pass
    else:
        raise AssertionError("a file of 2 GB")
with open("mine.py", "w") as file:
    file.write("x = 1")
import mine
import helper  # it lies beside the notebook
"""

FORGERY = """
import os
line = b"(9, 'verdict', 'basic_block', {'attempted': True, 'passed': 22, 'mistakes': [], 'changed': [], 'own': False})"
for file in range(64):
    for sign in (b"", b"0" * 32 + b" "):
        try:
            os.write(file, b"\\n" + sign + line + b"\\n" + b"without an end")
        except OSError:
            pass
for _ in range(1000):
    print("x" * 10**6)
"""

TAMPERING = [
    """
import resnet_lesson.commands.grade.child, resnet_lesson.commands.grade.guard
resnet_lesson.commands.grade.guard.Guard.changes = lambda self: []
resnet_lesson.commands.grade.child.Judge._judge = None
import torch
from resnet_lesson.models import blocks
from resnet_lesson import exercises
from resnet_lesson.exercises.kit.exercise import Exercise
from resnet_lesson.exercises.kit.report import Report
""",
    """
equal, torch.equal = torch.equal, lambda *_: True
exercises.option_a.check(lambda *_: None)
torch.equal = equal
""",
    """
probes = [*exercises.projection.probes]
exercises.projection.probes.clear()
print(exercises.projection.check(lambda *_: None))
exercises.projection.probes.extend(probes)
""",
    """
class Fake:
    def check(self, answer):
        print("basic_block: passed, all 22 checks.")

genuine, exercises.basic_block = exercises.basic_block, Fake()
exercises.basic_block.check(lambda *_: None)
exercises.basic_block = genuine
""",
    "exercises.plain_block.check(blocks.PlainBlock)",
    """
exercises.bottleneck
Exercise("bottleneck", "", (), (), "").check(lambda *_: None)
""",
    """
passed, Report.passed = Report.passed, True
exercises.make_stage.check(lambda *_: None)
Report.passed = passed
""",
    """
Exercise.check = lambda self, *_: Report(self.name, 7)
exercises.jacobian.check(lambda *_: None)
""",
]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A class graded by one command: what was printed, and the rows of the table by the file's name."""
    folder = tmp_path_factory.mktemp("class")
    ann = folder / "ann" / "03_residual_block.ipynb"
    mishaps = ["import sys\nsys.exit(0)", "exit()", "1 / 0", "!touch here", "%%bash\ntouch here"]
    answers = [OPTION_A, asks("projection", WITHOUT_STRIDE), STUB]
    write(ann, SURROUNDINGS, FORGERY, *mishaps, *answers, output="basic_block: passed, all 22 checks.")
    for name in ("torch", "resnet_lesson", "IPython", "helper"):
        (ann.parent / f"{name}.py").write_text("raise SystemExit('a file beside the notebook was imported')")
    write(folder / "ben.ipynb", *TAMPERING)
    ends = WITHOUT_STRIDE.replace("super()", "__import__('os')._exit(0)\n        super()")
    write(folder / "cleo_03_residual_block.ipynb", OPTION_A, asks("projection", ends), STUB)
    write(folder / "=HYPERLINK(1)\x1b[2J.ipynb", "1 + 1")
    write(folder / ".ipynb_checkpoints" / "ann-checkpoint.ipynb", OPTION_A)
    (folder / "empty.ipynb").write_text("")
    (folder / "broken.ipynb").write_text('{"cells": [')
    odd = {"cells": [{"cell_type": "code", "source": 5}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "odd.ipynb").write_text(json.dumps(odd))
    (folder / "future.ipynb").write_text(json.dumps(odd | {"nbformat": 99}))
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.ipynb")
    table, printed = folder.parent / "marks" / "class.csv", io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setenv("COURSE_TOKEN", "secret")
        with pytest.raises(SystemExit) as end:
            cli.main(["grade", str(folder), "--csv", str(table), "--jobs", "2"])
    assert end.value.code == 0
    with open(table, encoding="utf-8-sig", newline="") as file:
        return printed.getvalue(), {row["notebook"].rpartition("/")[2]: row for row in csv.DictReader(file)}


def test_a_notebook_is_judged_by_what_it_does_not_by_what_is_stored_printed_or_written_in_it(graded):
    printed, rows = graded
    row = rows["03_residual_block.ipynb"]
    assert (row["student"], row["passed"], row["exercises"]) == ("03_residual_block", "1", "3")
    assert (row["option_a"], row["projection"], row["basic_block"]) == ("10 of 10", "8 of 9", "not attempted")
    assert row["jacobian"] == ""  # another student's
    assert "option_a     passed, 10 of 10: the same as ex.solution()\n" in printed
    assert "projection   8 of 9: the stride is missing" in printed


def test_cells_that_raise_stop_nothing_and_are_reported_and_commands_are_left_out(graded):
    """The first cell asserts what the process may know; its last line asks for a file that was not copied."""
    remarks = graded[1]["03_residual_block.ipynb"]["remarks"].split("; projection:")[0]
    assert remarks.split("; ") == [
        "code cell 1: ModuleNotFoundError: No module named 'helper'",
        "code cell 3: SystemExit: 0",
        "code cell 5: ZeroDivisionError: division by zero",
        "left out: !touch here",
        "left out: %%bash",
    ]


def test_who_tampers_with_the_judge_does_not_pass_and_is_told_with_what(graded):
    printed, rows = graded
    row = rows["ben.ipynb"]
    assert row["passed"] == "0" and row["exercises"] == "7"
    tampered = {name for name, cell in row.items() if cell == "tampered"}
    assert tampered == {"option_a", "projection", "make_stage"}
    assert row["plain_block"] == "the course's own code"
    assert row["basic_block"] == row["bottleneck"] == row["jacobian"] == "not attempted"
    assert "option_a     tampered: these had been exchanged: torch.equal; " in printed
    assert (
        "make_stage   tampered: these had been exchanged: resnet_lesson.exercises.kit.report.Report.passed; " in printed
    )
    assert "probes" in row["remarks"]


def test_what_was_passed_before_the_process_ended_counts(graded):
    printed, rows = graded
    row = rows["cleo_03_residual_block.ipynb"]
    assert (row["option_a"], row["projection"], row["basic_block"]) == ("10 of 10", "0 of 9", "not reached")
    assert "its process ended itself, in code cell 2" in row["remarks"]
    assert "projection   0 of 9: its check did not end\n" in printed


def test_files_that_are_no_notebooks_get_a_row_with_a_remark(graded):
    _, rows = graded
    problems = {name: row["remarks"] for name, row in rows.items() if row["exercises"] == "0"}
    assert problems.pop("'=HYPERLINK(1)?[2J.ipynb", None) is None  # the path comes first
    unread = {name for name, problem in problems.items() if "not a notebook that can be read" in problem}
    assert unread == {"empty.ipynb", "broken.ipynb", "odd.ipynb", "future.ipynb"}
    assert problems["=HYPERLINK(1)?[2J.ipynb"] == "no exercise of the course in it: is it the right notebook?"
    assert len(rows) == 8  # neither the checkpoint nor the pipe


def test_a_file_name_is_no_formula_and_no_command_to_a_terminal(graded):
    printed, rows = graded
    assert rows["=HYPERLINK(1)?[2J.ipynb"]["student"] == "'=HYPERLINK(1)?[2J"
    assert "\x1b" not in printed


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@A1", "\t=1", " =1"])
def test_what_begins_a_formula_is_written_as_text(start):
    assert result.harmless(start)[0] in "'?" and result.harmless(5) == 5 and result.harmless("1+1") == "1+1"


@pytest.mark.slow
def test_a_whole_notebook_with_the_solutions_passes(capsys, tmp_path):
    path = next(path for path in PATHS if path.stem == "03_residual_block")
    made = nbformat.read(path, as_version=4)
    for cell in stubs(made):
        paste_solution(cell)
    nbformat.write(made, tmp_path / path.name)
    status, printed, _ = call(capsys, "grade", str(tmp_path / path.name))
    head, *lines = printed.splitlines()
    assert status == 0 and ": 3 of 3 exercises passed, " in head
    assert [line.split()[0] for line in lines] == ["projection", "basic_block", "option_a"]  # and no remark
    assert all(line.endswith(": the same as ex.solution()") for line in lines)


def test_a_wrong_path_is_named_with_status_2(capsys, tmp_path):
    status, _, error = call(capsys, "grade", str(tmp_path / "nowhere"))
    assert status == 2 and "There is no file or folder" in error and "nowhere" in error
    status, _, error = call(capsys, "grade", str(tmp_path))
    assert status == 2 and error.startswith("No notebook (*.ipynb) in ")


@pytest.mark.parametrize("option", ["--seconds", "--memory", "--jobs"])
def test_a_limit_is_above_zero(capsys, tmp_path, option):
    path = write(tmp_path / "a.ipynb", "1")
    assert call(capsys, "grade", str(path), option, "0")[::2] == (2, f"{option} is a number above 0, not 0.\n")


def test_ctrl_c_keeps_the_rows_that_are_there(capsys, tmp_path, monkeypatch):
    asked = []

    def grade(submission, limits, stopping):
        asked.append(submission.path.stem)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return result.Result(submission)

    monkeypatch.setattr(result, "grade", grade)
    for name in "abc":
        write(tmp_path / f"{name}.ipynb", OPTION_A)
    status, printed, _ = call(capsys, "grade", str(tmp_path), "--csv", str(tmp_path / "table.csv"))
    assert status == 130 and "Stopped after 1 of 3 notebooks" in printed
    assert (tmp_path / "table.csv").read_text().count("\n") == 2


def test_without_jupyter_the_other_commands_still_work_and_this_one_says_what_it_needs(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    for name in ("process", "result"):
        monkeypatch.delitem(sys.modules, f"resnet_lesson.commands.grade.{name}")
        monkeypatch.delattr(f"resnet_lesson.commands.grade.{name}")
    status, _, error = call(capsys, "grade", "anything")
    assert status == 2 and "Grading needs psutil" in error and "pip install" in error


def of(messages, **more):
    """The result that a child's messages lead to."""
    submission = Submission("a.ipynb", ("",), ("option_a", "projection"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result.process, "run", lambda *_: Outcome(messages, **more))
        return result.grade(submission, Limits(), None)


GOOD = {"attempted": True, "passed": 10, "mistakes": [], "changed": [], "own": False}


def test_remarks_say_what_came_after_the_verdicts():
    end = [("ran",), ("again", "option_a", 8), ("changed", ["torch.equal"]), ("done",)]
    made = of([("cell", 1), ("verdict", "option_a", GOOD), *end])
    assert made.marks == 1 and made.share("projection") == "not attempted"
    assert made.remarks == ["option_a: checked again after the last cell, 8 of 10", "exchanged at the end: torch.equal"]


def test_remarks_are_as_many_as_a_teacher_reads():
    made = of([("remark", f"code cell {n}: NameError") for n in range(50)], stopped="it took longer than 1 s")
    assert len(made.remarks) == 21 and made.remarks[-1] == "and 31 more remarks"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_exercises_of_a_notebook_are_those_of_the_course(path):
    names = {exercise_in(cell) for cell in stubs(nbformat.read(path, as_version=4))}
    made = notebook.read(path)
    assert set(made.exercises) == names and bool(made.problem) == (not names)


@pytest.mark.parametrize(
    ("stem", "mentioned", "names"),
    [
        ("03_residual_block", "projection", "projection basic_block option_a"),
        ("Smith_07_03_residual_block (1)", "projection", "projection basic_block option_a"),
        ("ann-03", "basic_block", "projection basic_block option_a"),
        ("ann", "basic_block", "basic_block"),
        ("03_residual_block", "freeze", "freeze"),
        ("03_residual_block", "unknown", ""),
    ],
)
def test_a_deleted_exercise_still_counts_where_the_name_tells_the_notebook(stem, mentioned, names):
    assert notebook.expected(stem, ["1", f"ex = exercises.{mentioned}"]) == tuple(names.split())


def test_a_file_with_too_much_in_it_is_not_run(tmp_path, monkeypatch):
    path = write(tmp_path / "a.ipynb", OPTION_A + "#" * notebook.MOST_CODE)
    assert "more than 1,000,000 characters of code" in notebook.read(path).problem
    monkeypatch.setattr(notebook, "LARGEST", 10**5)
    assert "larger than 0 MB" in notebook.read(path).problem


@pytest.mark.parametrize(
    ("code", "remarks"),
    [
        (OPTION_A, ["the same as ex.solution()"]),
        (OPTION_A.replace("stride: int = 1", "stride=1"), []),
        ("%matplotlib inline\n" + OPTION_A, ["the same as ex.solution()"]),
        (
            asks(
                "option_a", "from resnet_lesson.models import blocks as b\nex.check(lambda *a: b.ZeroPadShortcut(*a))"
            ),
            ["its cell names the course's b.ZeroPadShortcut"],
        ),
        (
            asks(
                "option_a", "from resnet_lesson.models.blocks import ZeroPadShortcut as Z\nex.check(lambda *a: Z(*a))"
            ),
            ["its cell names the course's Z"],
        ),
        ("x = " + "-" * 5000 + "1\n" + asks("option_a", "x = " + "(1" + "+1" * 4000 + ")"), []),
    ],
)
def test_the_teacher_is_told_where_an_answer_looks_like_the_courses(code, remarks):
    assert (
        code != OPTION_A.replace("stride: int = 1", "")
        and notebook.likeness(Submission("a", (code,)), "option_a") == remarks
    )


# Below: the child's process under its limits, with a program that stands in for the child and starts at once.

PROGRAM = """
import hashlib, json, os, subprocess, sys, time
key = bytes.fromhex(json.load(sys.stdin)["key"])

def line(*message):
    body = repr(message).encode()
    return b"\\n" + hashlib.blake2b(body, key=key, digest_size=16).hexdigest().encode() + b" " + body + b"\\n"

os.write(1, line(0, "ready"))
"""


@pytest.fixture
def run(monkeypatch):
    def run(program, *limits, stopping=None):
        monkeypatch.setattr(process, "CHILD", ("-c", PROGRAM + program))
        return process.run([], Limits(*limits), stopping or threading.Event())

    return run


HOLD = "held = b'x' * 2 * 10**8; import time; time.sleep(600)"


@pytest.mark.parametrize(
    ("program", "limits", "said"),
    [
        ("while True: pass", (1,), "it took longer than 1 s"),
        ("held = []\nwhile True: held.append(b'x' * 10**7)", (600, 0.5), "it took more than 0.5 GB of memory"),
        (
            f"for _ in range(3): subprocess.Popen([sys.executable, '-c', {HOLD!r}])\ntime.sleep(600)",
            (600, 0.5),
            "it took more than 0.5 GB of memory",
        ),
        ("sys.exit(0)", (), "its process ended itself"),
        ("os._exit(7)", (), "its process ended itself (status 7)"),
        ("os.abort()", (), "its process ended itself (SIGABRT)"),
        ("os.kill(os.getpid(), 9)", (), "its process was killed by the system, most often for want of memory"),
    ],
)
def test_what_ended_a_notebook_is_said(run, program, limits, said):
    assert run(program, *limits).stopped == said


def test_a_child_that_cannot_start_is_told_from_a_student_who_ends_it(monkeypatch):
    monkeypatch.setattr(process, "CHILD", ("-c", "raise SystemExit(3)"))
    outcome = process.run(["x" * 10**6], Limits(), threading.Event())  # more than a pipe holds
    assert outcome.stopped.startswith("its process could not start (status 3)")


def test_too_many_processes(run, monkeypatch):
    monkeypatch.setattr(process, "PROCESSES", 3)
    spawn = "for _ in range(5): subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    assert run(spawn + "time.sleep(600)").stopped == "it started more than 3 processes"


def test_grading_can_be_stopped(run):
    stopping = threading.Event()
    stopping.set()
    assert run("time.sleep(600)", stopping=stopping).stopped == "the grading was stopped"


STRAY = "import os, subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True)"
LATE = "import os, time; open('started', 'w').close(); time.sleep(600)  # {mark}"


def test_nothing_is_left_of_what_a_notebook_started_nor_of_its_folder(run):
    mark = f"mark of {os.getpid()}"
    program = f"""
subprocess.run([sys.executable, "-c", {STRAY!r}, {LATE.format(mark=mark)!r}])
while not os.path.exists("started"):
    time.sleep(0.01)
os.write(1, line(1, "remark", os.getcwd()))
os.write(1, line(2, "done"))
time.sleep(600)
"""
    outcome = run(program)
    (_, (_, folder), _) = outcome.messages
    assert outcome.stopped == "" and not Path(folder).exists()
    for other in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            assert mark not in " ".join(other.cmdline())


def test_only_what_the_judge_signed_is_taken_each_line_once(run):
    outcome = run("""
signed = line(1, "remark", "signed")
os.write(1, b"rest of a line" + signed + signed + line(0, "remark", "again"))
os.write(1, signed.replace(b"signed", b"forged"))
key = bytes(32)
os.write(1, line(2, "remark", "another key") + b"(3, 'remark', 'unsigned')\\n")
""")
    assert outcome.messages == [("ready",), ("remark", "signed")]


def test_what_floods_the_pipe_is_not_kept():
    class Pipe:
        left = 3000

        def read1(self, size):
            self.left -= 1
            return b"x" * size if self.left else b""

    tracemalloc.start()
    process._read(Pipe(), b"key", messages := [])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert messages == [] and peak < 2e6  # of 200 MB


def test_the_environment_of_a_notebook_is_a_short_list_of_names(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "1")
    monkeypatch.setenv("RESNET_LESSON_FULL", "1")
    known = process.environment(tmp_path, 3)
    assert not {"AWS_SECRET_ACCESS_KEY", "RESNET_LESSON_FULL"} & set(known)
    assert known["CUDA_VISIBLE_DEVICES"] == "" and known["OMP_NUM_THREADS"] == "3"
    assert str(Path.home()) not in (known["HOME"], known["TMPDIR"], known["IPYTHONDIR"])


# The judge, in this process.


@pytest.fixture
def judge(monkeypatch):
    monkeypatch.setattr(Exercise, "check", Exercise.check)
    monkeypatch.setattr(Exercise, "_find", Exercise._find)
    call_it = Probe("", "", lambda answer: answer())
    monkeypatch.setattr(exercises.jacobian, "probes", [call_it, call_it])
    sent = []
    made = child.Judge(lambda *message: sent.append(message))
    made.verdicts = lambda: [verdict for kind, _, verdict in sent if kind == "verdict"]
    return made


def test_the_best_answer_counts(judge):
    def wrong():
        raise exercise.Wrong("wrong", "", "")

    def right():
        assert wrong  # more than a stub

    def stub(): ...

    for answer in (stub, wrong, right, wrong, stub):
        exercises.jacobian.check(answer)
    assert [v["passed"] for v in judge.verdicts() if v["mistakes"] != ["its check did not end"]] == [-1, 0, 2]
    assert judge.verdicts()[-1]["attempted"]


def test_what_is_exchanged_during_one_probe_and_put_back_in_the_next_is_seen(judge, monkeypatch):
    equal, calls = torch.equal, []

    def answer():
        calls.append(1)
        torch.equal = max if len(calls) == 1 else equal

    monkeypatch.setattr(torch, "equal", equal)
    exercises.jacobian.check(answer)
    assert judge.verdicts()[-1]["changed"] == ["torch.equal"] and judge.verdicts()[-1]["passed"] == -1


def test_a_check_that_does_not_come_back_is_not_passed(judge):
    def answer():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exercises.jacobian.check(answer)
    assert [(v["passed"], v["mistakes"]) for v in judge.verdicts()] == [(0, ["its check did not end"])]


def test_an_exercise_that_is_not_the_courses_gives_no_verdict(judge):
    assert Exercise("jacobian", "", (), (), "").check(lambda: None).passed and judge.verdicts() == []


class Forger(str):
    def __repr__(self):
        return "0, 'passed': 22}) #"

    __str__ = __repr__

    def __format__(self, how):
        return Forger(repr(self))


def test_a_student_s_text_cannot_say_more_than_text(judge):
    def answer():
        raise exercise.Wrong(Forger("x"), "", "")

    exercises.jacobian.check(answer)
    (mistake,) = judge.verdicts()[-1]["mistakes"]
    assert type(mistake) is str and eval(repr(mistake)) == mistake


def test_a_copy_of_the_process_sends_nothing():
    written, processes = [], iter([1, 1, 2])
    send = child.sender(
        b"key", 7, write=lambda file, text: written.append((file, text)), process=lambda: next(processes)
    )
    send("here")
    send("in the copy")
    assert len(written) == 1 and written[0][1].endswith(b"(0, 'here')\n")


@pytest.mark.parametrize("name", RIGHT)
def test_the_courses_own_code_is_told_from_a_student_s(name):
    for style, answer in RIGHT[name].items():
        parts = list(answer.values()) if isinstance(answer, dict) else [answer]
        courses = style in ("the course's", "the course's (v1.5)") and not isinstance(parts[0], int)
        assert child.is_the_courses(parts) == courses, style


def test_a_course_s_class_under_another_name_is_still_the_course_s():
    class Mine(blocks.BasicBlock):
        __module__ = "mine"

    assert child.is_the_courses([Mine]) and child.is_the_courses([functools.partial(blocks.conv3x3, stride=1)])
    assert child.is_the_courses([blocks.BasicBlock(4, 4)]) and not child.is_the_courses([nn.ReLU, 5, "text", None])


@pytest.mark.parametrize("asked", ["demo", recipe("short"), recipe("demo").scaled(2)])
def test_trainings_are_cut_short(asked):
    cut = child.shortened(lambda network, recipe="demo", *, seed=0: (network, recipe.iterations, seed))
    steps = 2 if getattr(asked, "iterations", 0) == 2 else 4
    assert cut("net", asked, seed=3) == cut("net", recipe=asked, seed=3) == ("net", steps, 3)
    assert cut("net") == ("net", 4, 0)


# What the guard sees.


@pytest.fixture(scope="module")
def guard():
    return Guard()


def into(thing, name, value):
    return lambda patch: patch.setattr(thing, name, value, raising=False)


def into_a_probe(patch):
    probe = exercises.option_a.probes[0]
    run = probe.run
    object.__setattr__(probe, "run", lambda answer: None)
    return lambda: object.__setattr__(probe, "run", run)


def a_hook(patch):
    return nn.modules.module.register_module_forward_hook(lambda *_: None).remove


def a_mode(patch):
    class Mode(TorchFunctionMode):
        pass

    mode = Mode()
    mode.__enter__()
    return lambda: mode.__exit__(None, None, None)


def a_trace(patch):
    before = sys.gettrace()
    sys.settrace(lambda *_: None)
    return lambda: sys.settrace(before)


def in_a_list(patch):
    probes = exercises.projection.probes
    last = probes.pop()
    return lambda: probes.append(last)


def yes(*_, **__):
    return True


@pytest.mark.parametrize(
    ("attack", "name"),
    [
        (into(torch, "equal", yes), "torch.equal"),
        (into(torch.Tensor, "amax", yes), "torch.Tensor.amax"),  # it is inherited
        (into(torch.nn.functional, "relu", yes), "torch.nn.functional.relu"),
        (into(nn.Conv2d, "forward", yes), "torch.nn.modules.conv.Conv2d.forward"),
        (into(nn.Module, "__call__", yes), "torch.nn.modules.module.Module.__call__"),
        (into(report.Report, "passed", True), "resnet_lesson.exercises.kit.report.Report.passed"),
        (into(exercise.Exercise, "check", yes), "resnet_lesson.exercises.exercise.Exercise.check"),
        (into(exercise, "Report", yes), "resnet_lesson.exercises.exercise.Report"),
        (into(exercise, "isinstance", yes), "resnet_lesson.exercises.exercise.isinstance"),  # it hides Python's
        (into(exercises, "option_a", None), "resnet_lesson.exercises.option_a"),
        (into(exercises.option_a, "check", yes), "option_a.check"),
        (into(exercises.option_a, "probes", []), "option_a.probes"),
        (into_a_probe, "probes.0.run"),
        (in_a_list, "projection.probes."),
        (into(probing.same, "__code__", (lambda a, b, tolerance=1: True).__code__), "probing.same.code"),
        (into(probing.same, "__defaults__", (1e9,)), "probing.same.defaults"),
        (into(probing, "same", yes), "resnet_lesson.exercises.kit.probing.same"),
        (into(blocks, "conv3x3", yes), "resnet_lesson.models.blocks.conv3x3"),
        (into(copy, "deepcopy", yes), "copy.deepcopy"),
        (into(inspect.Signature, "parameters", {}), "inspect.Signature.parameters"),
        (into(builtins, "abs", yes), "builtins.abs"),
        (lambda patch: patch.setitem(sys.modules, "copy", sys), "copy"),
        (a_hook, "global_forward_hooks of torch"),
        (a_mode, "Mode, which steps between"),
        (a_trace, "sys.settrace"),
    ],
)
def test_the_guard_sees_what_is_exchanged_and_that_it_is_put_back(guard, attack, name):
    def seen():
        return [change for change in guard.changes() if name in change]

    assert not seen()
    with pytest.MonkeyPatch.context() as patch:
        undo = attack(patch)
        found = seen()
        if undo:
            undo()
    assert found and not seen()


def test_the_guard_sees_a_kind_of_tensor(guard):
    class Liar(torch.Tensor):
        pass

    assert [change for change in guard.changes() if "Liar, which steps between" in change]


def test_what_a_notebook_may_do_is_no_tampering(guard):
    gc.collect()  # the Liar of the test before
    before = set(guard.changes())
    exercises.basic_block.hint()
    network = build("resnet8")
    handle = network.register_forward_hook(lambda *_: None)
    torch.manual_seed(5)
    torch.set_grad_enabled(True)
    torch.optim.AdamW(network.parameters())
    nn.Module.mine = None
    del nn.Module.mine
    handle.remove()
    blocks.mine = resnet_lesson.mine = 5
    del blocks.mine, resnet_lesson.mine
    assert set(guard.changes()) == before
