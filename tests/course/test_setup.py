"""The lists of packages agree, and `make` sets .venv up from them, once, and again after an interruption."""

import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.paths import REPO

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
PYTHONS = ["3.11.7", "3.12.1", "3.13.0"]


def on(python, lines):
    """The requirements whose markers hold on Linux with this Python, by name."""
    environment = {"python_version": python.rpartition(".")[0], "python_full_version": python, "sys_platform": "linux"}
    held = [one for one in map(Requirement, lines) if one.marker is None or one.marker.evaluate(environment)]
    return {canonicalize_name(one.name): one for one in held}


def asked(python):
    """What pyproject.toml asks for, base and extras."""
    return on(python, PROJECT["dependencies"] + sum(PROJECT["optional-dependencies"].values(), []))


def exact(python):
    """Names and versions in requirements.txt; fails where a line is anything but a name, a version and a marker."""
    lines = [line for line in (REPO / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[\w-]+==[\w.]+( ; .*)?", line) for line in lines)
    return {name: str(one.specifier).removeprefix("==") for name, one in on(python, lines).items()}


@pytest.mark.parametrize("python", PYTHONS)
def test_requirements_hold_each_dependency_within_its_range(python):
    versions = exact(python)
    for name, one in asked(python).items():
        assert versions.get(name) in one.specifier, f"requirements.txt has not {one}: make requirements"
    assert not any(re.match("nvidia|cuda|triton", name) for name in versions), "torch asks for its own"


def test_base_dependencies_fit_a_machine_that_has_its_own_torch():
    base = on("3.11.7", PROJECT["dependencies"])
    for name in ("torch", "torchvision"):
        assert {clause.operator for clause in base[name].specifier} == {">="}
    assert not any(re.match("jupyter|ipy|visdom|tornado|setuptools", name) for name in base)


def test_conda_has_the_same_packages_and_versions():
    conda = yaml.safe_load((REPO / "environment.yml").read_text())
    *plain, by_pip = conda["dependencies"]
    assert conda["channels"] == ["conda-forge"] and plain[:2] == ["python=3.12", "pip"] and by_pip["pip"][-1] == "-e ."
    given = dict(re.split("=+", line) for line in plain[2:] + by_pip["pip"][:-1])
    given["torch"] = given.pop("pytorch")
    assert set(given) == set(asked("3.12.1"))
    for name, version in given.items():
        assert "." in version and f"{exact('3.12.1')[name]}.".startswith(f"{version}."), name


@pytest.mark.parametrize("name", ["requirements.txt", "environment.yml", "pyproject.toml", "Makefile", ".ci/run"])
def test_no_hosts_and_no_machine_paths(name):
    text = (REPO / name).read_text().replace(PROJECT["urls"]["Repository"], "")  # the project's own address
    paths = r"\w+://\S+|--(?:extra-)?index\S*|--find-links|--hash|\S*/(?:root|home|work|opt|Users)/\S*"
    assert re.findall(paths, text) + re.findall(r"(?<![\w@/.-])[\w-]+\.(?:org|com|io|net)\b", text) == []


# ------------------------------------------------------------------------------------------------- make setup

FAKE_PYTHON = """#!/bin/sh
# Says that it is Python {version}, makes a .venv that holds itself, and only notes what pip and pytest are told.
case "$1 $2" in
    "-V ") echo "Python {version}" ;;
    "-c "*) exec "{real}" -c "import sys; sys.version_info = tuple(map(int, '{version}'.split('.'))); $2" ;;
    *) echo "{version} $*" >> "{home}/log"; . "{home}/when" ;;
esac
case "$*" in "-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python 2> /dev/null; true ;; esac
"""
PIP = ["setuptools==80.10.2", "--no-build-isolation -r requirements.txt", "--no-build-isolation --no-deps -e ."]


def whole(version, clear=""):
    return [f"{version} -m venv {clear}.venv", *(f"{version} -m pip install {what}" for what in PIP)]


@pytest.fixture
def make(tmp_path):
    """`make` in a copy of the set-up's files, with Python 3.8, 3.11 and 3.12 on the PATH: the process, and its log."""
    if os.name != "posix":
        pytest.skip("on Windows there need be no make: docs/install.md")
    home, project = tmp_path / "bin", tmp_path / "a project"
    (project / "resnet_lesson").mkdir(parents=True)
    home.mkdir()
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(REPO / name, project)
    for version in ("3.8.18", "3.11.7", "3.12.1"):
        path = home / f"python{version.rpartition('.')[0]}"
        path.write_text(FAKE_PYTHON.format(home=home, real=sys.executable, version=version))
        path.chmod(0o755)

    def run(*arguments, when="", **environment):
        """when: what the Pythons do, in the shell, instead of running pip."""
        (home / "when").write_text(when)
        (home / "log").write_text("")
        environment |= {"PATH": f"{home}:/usr/bin:/bin"}
        done = subprocess.run(["make", "-s", *arguments], cwd=project, env=environment, capture_output=True, text=True)
        return done, (home / "log").read_text().splitlines()

    run.project = project
    return run


def test_the_set_up_runs_once_and_again_where_a_list_or_the_folder_changed(make):
    assert make("setup")[1] == whole("3.12.1")
    assert make("setup")[1] == []
    with (make.project / "requirements.txt").open("a") as file:
        file.write("# changed\n")
    assert make("setup")[1] == whole("3.12.1")
    (make.project / ".venv" / ".set-up").write_text("/elsewhere\n")
    assert make("setup")[1] == whole("3.12.1") and make("setup")[1] == []


def test_another_python_makes_another_venv_and_no_name_keeps_it(make):
    assert make("setup", PYTHON="python3.11")[1] == whole("3.11.7", "--clear ")
    assert make("setup")[1] == make("setup", "PYTHON=python3.11")[1] == []
    (make.project / "pyproject.toml").touch()
    assert make("setup")[1] == whole("3.11.7")
    assert make("setup", PYTHON="python3.12")[1] == whole("3.12.1", "--clear ")


@pytest.mark.parametrize("cut_off", ["exit 1", "kill -9 $$", "kill -9 $PPID $$", "kill -INT $PPID $$"])
@pytest.mark.parametrize("at", ["venv", "requirements"])
def test_a_set_up_that_was_cut_off_is_gone_through_again(make, cut_off, at):
    done, _ = make("setup", when=f'case "$*" in *{at}*) {cut_off} ;; esac')
    assert done.returncode != 0
    assert make("setup")[1] == whole("3.12.1") and make("setup")[1] == []


@pytest.mark.parametrize("python", ["python3.8", "python3.99"])
def test_a_wrong_python_gets_one_line_and_leaves_venv_alone(make, python):
    make("setup")
    done, log = make("lab", PYTHON=python)
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert line.startswith("This course needs Python 3.11, 3.12 or 3.13.") and done.returncode != 0
    assert log == make("setup")[1] == []
