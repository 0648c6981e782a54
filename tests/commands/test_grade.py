"""`grade` as a command: right and wrong notebooks, and those that hang, grow, end themselves or cannot be read."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from unicodedata import normalize

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from support.commands import call
from support.paths import NOTEBOOKS
from support.stubs import exercise_in, paste_solution, stubs

from resnet_lesson import exercises
from resnet_lesson.commands import grade


def write(path, *cells, stored=None):
    """A notebook of these cells; `stored` is the output of each, as if it had been printed there."""
    outputs = [new_output("stream", name="stdout", text=stored)] if stored else []
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[new_code_cell(cell, outputs=outputs) for cell in cells]), path)
    return path


def rows(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return {Path(row["notebook"]).stem: row for row in csv.DictReader(file)}


def asks(name, answer):
    return f"from resnet_lesson import exercises\nex = exercises.{name}\n{answer}"


OPTION_A = asks("option_a", f"{exercises.option_a.solution()}\nex.check(ZeroPadShortcut)")
WITHOUT_STRIDE = """
from torch import nn

class Projection(nn.Sequential):
    def __init__(self, in_channels, out_channels, stride=1):
        super().__init__(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))

ex.check(Projection)
ex.check(lambda *_: None)
"""
STUB = asks("basic_block", "class BasicBlock: ...\n\nex.check(BasicBlock)")
SURROUNDINGS = """
print("→")  # which cp1252 does not have
import os, sys
from pathlib import Path
from resnet_lesson import DATA, build, full_scale, shapes10, train
assert sys.stdin.read() == "" and not full_scale()
sets = shapes10(256, seed=0), shapes10(64, seed=1)
assert train(build("resnet8"), *sets, "paper").history[-1]["iteration"] == 4
assert Path("..").resolve() in DATA.resolve().parents and not [*Path().iterdir()]
"""
MISHAPS = ["import sys\nsys.exit(0)", "exit()", "1 / 0", "!touch here", "%%bash\ntouch here", "%pip install x"]
AFTER = "raise AssertionError('what follows is not run')"


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A class, graded by one command into a table and a results.json: exit status, what was printed, their folder."""
    folder = tmp_path_factory.mktemp("grade") / "class"
    answers = [OPTION_A, asks("projection", WITHOUT_STRIDE), STUB]
    stored = "basic_block: passed, all 22 checks."
    write(folder / "ann" / normalize("NFD", "03.김민수.ipynb"), SURROUNDINGS, *MISHAPS, *answers, AFTER, stored=stored)
    write(folder / "=1+1.ipynb", "1 + 1")
    for hidden in (".ipynb_checkpoints/ann.ipynb", "__MACOSX/._ann.ipynb"):
        write(folder / hidden, OPTION_A)
    (folder / "odd.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "source": 5}]}))
    words = ["grade", ".", "--csv", "../marks/class.csv", "--json", "../results.json"]
    command = [sys.executable, "-m", "resnet_lesson", *map(str, words)]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}  # as where Windows redirects the output
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300)
    return done, folder.parent


def test_a_notebook_is_judged_by_what_it_does_and_never_by_what_is_stored_in_it(graded):
    done, folder = graded
    row = rows(folder / "marks" / "class.csv")["03.김민수"]
    assert (row["option_a"], row["projection"], row["basic_block"]) == (
        "passed, 9 of 9",
        "5 of 10: the stride is missing",
        "not attempted",
    )
    assert (row["passed"], row["exercises"]) == ("1", "3")
    assert "option_a     passed, 9 of 9\n" in done.stdout
    assert "projection   5 of 10: the stride is missing\n" in done.stdout  # the better of two answers


def test_cells_that_raise_stop_nothing_and_commands_of_the_shell_are_left_out(graded):
    """The first cell asserts where it runs and that trainings are short: it makes no remark."""
    remarks = rows(graded[1] / "marks" / "class.csv")["03.김민수"]["remarks"]
    assert remarks.startswith(
        "code cell 2: SystemExit: 0; code cell 4: ZeroDivisionError: division by zero; left out: "
    )
    assert "left out: !touch here; " in remarks and "-m pip install x" in remarks and remarks.count("left out") == 3
    assert "AssertionError" not in remarks


def test_an_output_without_hangul_gets_question_marks_and_the_table_the_name(graded):
    """The file's name is spelled as on macOS, and the table's as in a list of the class."""
    done, folder = graded
    assert done.returncode == 1 and done.stderr == ""  # two files hold no exercise, or nothing that can be read
    assert "03.????????.ipynb: 1 of 3 exercises passed" in done.stdout
    assert "03.김민수.ipynb" in (folder / "marks" / "class.csv").read_text(encoding="utf-8-sig")


def test_what_is_no_utf8_does_not_stop_the_table():
    odd = "03.\udcb1\udce8.ipynb"  # what Python makes of cp949
    graded = grade.Graded(Path(odd), remarks=[f"code cell 2: FileNotFoundError: {odd}"])
    row = grade.table([graded]).decode("utf-8-sig").splitlines()[1]
    assert row.startswith("03.\ufffd") and row.endswith("03.??.ipynb")


def test_a_file_that_cannot_be_graded_gets_a_row_with_the_reason_and_a_hidden_one_none(graded):
    found = {student: row["remarks"] for student, row in rows(graded[1] / "marks" / "class.csv").items()}
    assert len(found) == 3 and "this notebook cannot be read" in found["odd"]
    assert "no exercise of the course in it" in found["'=1+1"]  # a file's name is no formula


def test_the_class_is_summed_up_by_exercise(graded):
    summary = graded[0].stdout.partition("The class, exercise by exercise:\n")[2]
    assert "projection         0 of 1 passed; most often: the stride is missing (1)\n" in summary


def test_gradescope_gets_a_point_for_each_exercise(graded):
    results = json.loads((graded[1] / "results.json").read_text())
    assert results["score"] == 1 and "code cell 2: SystemExit" in results["output"]
    points = {test["name"]: (test["score"], test["max_score"], test["output"]) for test in results["tests"]}
    assert points["03.김민수: option_a"] == (1, 1, "passed, 9 of 9") and len(points) == 3
    assert points["03.김민수: projection"] == (0, 1, "5 of 10: the stride is missing")


SLEEPER = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)  # {}'])\n"


@pytest.mark.parametrize(
    ("cell", "options", "reason"),
    [
        ("while True: pass", ["--seconds", "3"], "it took longer than 3 s, in code cell 2"),
        ("held = []\nwhile True: held.append(b'x' * 10**7)", ["--memory", "1.5"], "it took more than 1.5 GB of memory"),
    ],
)
def test_a_notebook_that_hangs_or_grows_keeps_what_it_passed_and_leaves_nothing_running(
    capsys, tmp_path, cell, options, reason
):
    path = write(tmp_path / "a.ipynb", OPTION_A, SLEEPER.format(tmp_path) + cell, STUB)
    status, printed, _ = call(capsys, "grade", str(path), *options)
    assert status == 1 and reason in printed
    assert "option_a     passed, 9 of 9\n" in printed and "basic_block  not reached\n" in printed
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(one.info["cmdline"] or [])]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform cannot interrupt a cell")
def test_an_endless_cell_and_an_import_that_fails_cost_no_later_answer(capsys, tmp_path):
    imports = "from resnet_lesson import exercises, no_such_name"
    path = write(tmp_path / "a.ipynb", imports, "while True: pass", OPTION_A.partition("\n")[2])
    status, printed, _ = call(capsys, "grade", str(path), "--cell-seconds", "1")
    assert status == 0 and "option_a     passed" in printed
    assert "code cell 1: ImportError" in printed and "code cell 2: TimeIsUp: not finished after 1 s" in printed


@pytest.mark.slow
def test_a_whole_notebook_with_the_solutions_passes_without_a_remark(capsys, tmp_path):
    path = next(path for path in NOTEBOOKS if path.stem == "03_residual_block")
    made = nbformat.read(path, as_version=4)
    for cell in stubs(made):
        paste_solution(cell)
    nbformat.write(made, tmp_path / path.name)
    status, printed, _ = call(capsys, "grade", str(tmp_path / path.name))
    head, *lines = printed.splitlines()
    assert status == 0 and ": 3 of 3 exercises passed, " in head and len(lines) == 3


def test_the_exercises_that_count_are_those_of_the_notebook_also_where_one_was_deleted(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(grade, "run", lambda *_: ([], "", 0.0))
    write(tmp_path / "some" / "deleted.ipynb", STUB)
    notebooks = [str(path) for path in NOTEBOOKS]
    assert call(capsys, "grade", *notebooks, str(tmp_path / "some"), "--csv", str(tmp_path / "a.csv"))[0] == 1  # 00
    found = rows(tmp_path / "a.csv")
    for path in NOTEBOOKS:
        names = {exercise_in(cell) for cell in stubs(nbformat.read(path, as_version=4))}
        assert {name for name in exercises.names() if found[path.stem].get(name) == "not attempted"} == names
    assert found["deleted"]["exercises"] == "3"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nowhere"], "There is no file or folder nowhere"),
        (["."], "No notebook (*.ipynb) in ."),
        (["a", "--csv", "folder"], "folder: Is a directory"),
        (["a", "--json", "a/b.json"], "a: File exists"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_notebook_runs(capsys, tmp_path, monkeypatch, words, reason):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(grade, "grade", None)
    (tmp_path / "folder").mkdir()
    if words[0] == "a":
        write(tmp_path / "a", "1 + 1")
    status, _, error = call(capsys, "grade", *words)
    assert status == 2 and reason in error and error.count("\n") == 1


def test_ctrl_c_keeps_the_rows_that_are_there(capsys, tmp_path, monkeypatch):
    def stopped_at_b(path, *_):
        if path.stem == "b":
            raise KeyboardInterrupt
        return grade.Graded(path)

    monkeypatch.setattr(grade, "grade", stopped_at_b)
    for name in "abc":
        write(tmp_path / f"{name}.ipynb", OPTION_A)
    status, printed, _ = call(capsys, "grade", str(tmp_path), "--csv", str(tmp_path / "table.csv"))
    assert status == 130 and "Stopped after 1 of 3 notebooks" in printed and [*rows(tmp_path / "table.csv")] == ["a"]
