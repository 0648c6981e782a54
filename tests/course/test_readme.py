"""The Python and commands of README, docs/ and CONTRIBUTING work; runs are as in their records."""

import re
import shlex
import subprocess

import pytest
from support.paths import REPO

from resnet_lesson.commands import cli
from resnet_lesson.training.runs import list_runs

README = (REPO / "README.md").read_text()
PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").glob("*.md"))]
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
SNIPPETS = re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S)
COMMANDS = sorted(set(re.findall(r"^(?:make|python -m resnet_lesson) .*", TEXT, re.M)))


@pytest.mark.parametrize("code", SNIPPETS, ids=range(len(SNIPPETS)))
def test_python_snippets_run(code, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "a page", "exec"), {})


def test_there_are_snippets_and_commands():
    assert len(SNIPPETS) > 5 and len(COMMANDS) > 20


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_exist(command):
    """make knows the target, and its tests exist; the course knows the command and its options."""
    program, *words = shlex.split(command, comments=True)
    if program == "make":
        subprocess.run(["make", "--dry-run", "--old-file=setup", *words], cwd=REPO, check=True, capture_output=True)
        assert [path for path in re.findall(r"tests/[\w/.]+", command) if not (REPO / path).exists()] == []
    else:
        cli.parser().parse_args(words[2:])


def test_pictures_have_alt_texts():
    pictures = re.findall(r"!\[([^]]*)\]\(([^)]+)\)", README)
    assert all(len(alt) > 40 for alt, _ in pictures) and pictures


def test_the_table_of_runs_is_what_the_records_say():
    table = (REPO / "docs" / "runs.md").read_text().splitlines()
    for run in list_runs(REPO / "data" / "runs"):
        row = next(line for line in table if line.startswith(f"| `{run.name}`"))
        for column in ("train_error", "test_error"):
            assert f"{run.final(column):.1%}" in row
