"""The set-up: the three lists of packages agree, and .ci/setup does what it has to and no more."""

# ruff: noqa: E501 (shell scripts stand in it as they are)
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.paths import REPO

CONDA_NAMES = {"torch": "pytorch"}  # pip's name: conda-forge's, where they differ
PYTHONS = ["3.11.7", "3.12.1", "3.13.0"]

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((REPO / "environment.yml").read_text())


def direct():
    """What pyproject.toml asks for, base and extras."""
    return [Requirement(line) for line in PROJECT["dependencies"] + sum(PROJECT["optional-dependencies"].values(), [])]


def pinned():
    lines = (REPO / "requirements.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def on(python, requirements, **environment):
    """The requirements whose markers hold on Linux with this Python, by name."""
    environment |= {"python_version": python.rpartition(".")[0], "python_full_version": python, "sys_platform": "linux"}
    held = [one for one in requirements if one.marker is None or one.marker.evaluate(environment)]
    names = [canonicalize_name(one.name) for one in held]
    assert len(names) == len(set(names)), f"named twice for Python {python}"
    return dict(zip(names, held, strict=True))


def version(requirement):
    (only,) = requirement.specifier
    assert only.operator == "==" and "*" not in only.version, requirement
    return Version(only.version)


@pytest.mark.parametrize("python", PYTHONS)
def test_requirements_hold_each_dependency_within_its_range(python):
    exact = on(python, pinned())
    for name, asked in on(python, direct()).items():
        assert name in exact, f"requirements.txt lacks {name}: make requirements"
        assert version(exact[name]) in asked.specifier, f"{exact[name]} is not within {asked}"


def test_requirements_are_names_exact_versions_and_markers_only():
    for one in pinned():
        assert version(one) and not one.extras and not one.url


def test_base_dependencies_fit_a_machine_that_has_its_own_torch():
    base = {one.name: one for one in map(Requirement, PROJECT["dependencies"])}
    assert {clause.operator for clause in base["torch"].specifier} == {">="}
    assert {clause.operator for clause in base["torchvision"].specifier} == {">="}
    for have in ["2.6.0", "2.11.0", "2.15.0+cpu"]:
        assert Version(have) in base["torch"].specifier
    assert not any("jupyter" in name or name.startswith("ipy") for name in base)
    assert not any("==" in str(one) for one in direct()), "exact versions belong in requirements.txt"


def test_known_conflicts_are_solved():
    for python in PYTHONS:
        asked = on(python, direct())
        assert "6.6" not in asked["tornado"].specifier and "81" not in asked["setuptools"].specifier
        exact = on(python, pinned())
        assert version(exact["tornado"]) < Version("6.6"), "visdom's page answers 403 from tornado 6.6 on"
        assert version(exact["setuptools"]) < Version("81"), "visdom 0.2.4 cannot be built from setuptools 81 on"
        assert (version(exact["visdom"]) >= Version("0.3")) == (python >= "3.12")
        assert not any(re.match("nvidia|cuda|triton", name) for name in exact), "torch asks for its own"


def test_conda_has_the_same_packages_and_versions():
    assert CONDA["channels"] == ["conda-forge"]
    plain = [one for one in CONDA["dependencies"] if isinstance(one, str)]
    (by_pip,) = [one["pip"] for one in CONDA["dependencies"] if isinstance(one, dict)]
    assert plain[:2] == ["python=3.12", "pip"] and by_pip[-1] == "-e ."
    conda = dict(line.split("=") for line in plain[2:])
    conda |= dict(line.split("==") for line in by_pip[:-1])
    exact = on("3.12.1", pinned())
    assert set(conda) == {CONDA_NAMES.get(name, name) for name in on("3.12.1", direct())}
    for name in on("3.12.1", direct()):
        held, given = str(version(exact[name])), conda[CONDA_NAMES.get(name, name)]
        assert f"{held}.".startswith(f"{given}."), f"{name}: {given} in environment.yml, {held} in requirements.txt"
        assert given.count(".") >= 1


@pytest.mark.parametrize(
    "name", ["requirements.txt", "environment.yml", "pyproject.toml", "Makefile", ".ci/setup", ".ci/run"]
)
def test_no_hosts_and_no_machine_paths(name):
    text = (REPO / name).read_text().replace(PROJECT["urls"]["Repository"], "")  # the project's own address
    found = re.findall(
        r"\w+://\S+|--(?:extra-)?index\S*|--find-links|--hash|\S*/(?:root|home|work|opt|Users)/\S*", text
    )
    found += re.findall(r"(?<![\w@/.-])[\w-]+\.(?:org|com|io|net)\b", text)
    assert found == []


# The set-up itself, run on a copy of its files with a Python that answers as any version and only notes what pip is told.

FAKE_PYTHON = """#!/bin/sh
# Python VERSION, it says: runs -c with the real one under that name, makes a .venv that holds itself, notes the rest.
home="{home}"
case "$*" in
    "-c "*) case "$0" in "$home"/bin/*) base="$0" ;; *) base="$home/bin/python{version}" ;; esac
       exec "{real}" -c "import sys
sys.version_info = tuple(map(int, '{version}'.split('.')))
sys.base_prefix, sys._base_executable = '/a home/{version}', '$base'
exec(sys.argv[1])" "$2" ;;
    "-m venv "*) mkdir -p "$3/bin"; cp "$home/bin/python{version}" "$3/bin/python"; echo "venv {version}" >> "$home/log" ;;
    *) echo "$*" >> "$home/log"
       case "$1" in -m) what="$2" ;; *) what=$(basename "$1") ;; esac
       if [ -e "$home/on_$what" ]; then . "$home/on_$what"; fi ;;
esac
"""
BROKEN = "#!/bin/sh\necho 'pyenv: command not found' >&2; exit 127\n"
NAMES = ["python3.13", "python3.12", "python3.11", "python3", "python"]


class Machine:
    """A folder with the project's set-up files and a PATH with the Pythons that it is given."""

    def __init__(self, home):
        self.home, self.bin, self.project = home, home / "bin", home / "a project"
        self.bin.mkdir()
        (self.project / ".ci").mkdir(parents=True)
        (self.project / "resnet_lesson").mkdir()
        for name in ["Makefile", "requirements.txt", "pyproject.toml", ".ci/setup"]:
            shutil.copy(REPO / name, self.project / name)
        for name in NAMES:
            self.add(name, BROKEN)

    def add(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def add_python(self, version, *names):
        text = FAKE_PYTHON.format(home=self.home, real=sys.executable, version=version)
        for name in (f"python{version}", *names):
            self.add(name, text)

    def make(self, *arguments, **environment):
        """The finished process, and what its Pythons were told to do, a line a command."""
        (self.home / "log").write_text("")
        environment |= {"PATH": f"{self.bin}:/usr/bin:/bin"}
        done = subprocess.run(
            ["make", *arguments], cwd=self.project, env=environment, capture_output=True, text=True, timeout=60
        )
        return done, (self.home / "log").read_text().splitlines()

    def when(self, module, shell):
        """From now on each `python -m MODULE` (or `python folder/MODULE`) runs this; None: does nothing again."""
        path = self.home / f"on_{module}"
        path.unlink(missing_ok=True) if shell is None else path.write_text(shell)


@pytest.fixture
def machine(tmp_path):
    if shutil.which("make", path="/usr/bin:/bin") is None or sys.platform == "win32":
        pytest.skip("no make here")
    machine = Machine(tmp_path)
    machine.add_python("3.12.1", "python3.12")
    return machine


def pip_runs(log):
    return [line for line in log if line.startswith("-m pip")]


def test_first_setup_installs_and_second_runs_nothing(machine):
    done, log = machine.make("setup")
    assert done.returncode == 0, done.stderr
    assert log[0] == "venv 3.12.1"
    setuptools = re.search("^setuptools==.*$", (REPO / "requirements.txt").read_text(), re.M)[0]
    assert pip_runs(log) == [
        f"-m pip install {setuptools}",
        "-m pip install --no-build-isolation -r requirements.txt",
        "-m pip install --no-build-isolation --no-deps -e .",
    ]
    done, log = machine.make("setup")
    assert (done.returncode, done.stdout, log) == (0, "", [])


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_a_changed_file_runs_pip_again_in_the_same_venv(machine, name):
    machine.make("setup")
    with (machine.project / name).open("a") as file:
        file.write("# changed\n")
    done, log = machine.make("setup")
    assert done.returncode == 0 and len(pip_runs(log)) == len(log) == 3
    assert machine.make("setup")[1] == []


def test_a_moved_folder_is_set_up_again(machine):
    machine.make("setup")
    machine.project = machine.project.rename(machine.home / "moved")
    assert len(pip_runs(machine.make("setup")[1])) == 3


def test_asking_for_another_python_remakes_the_venv_and_not_asking_keeps_it(machine):
    machine.add_python("3.11.7", "python3.11")
    machine.add_python("3.13.0", "python3.13")
    assert machine.make("setup", PYTHON="python3.11")[1][0] == "venv 3.11.7"
    (machine.project / ".venv" / "old").touch()
    assert machine.make("setup")[1] == []
    assert machine.make("setup", PYTHON="python3.13")[1][0] == "venv 3.13.0"
    assert not (machine.project / ".venv" / "old").exists()
    assert machine.make("setup", "PYTHON=python3.13")[1] == []


def test_one_python_by_two_names_is_one(machine):
    machine.add_python("3.12.1", "python3.12", "python3")
    assert machine.make("setup", PYTHON="python3")[1][0] == "venv 3.12.1"
    for environment in [{"PYTHON": "python3"}, {"PYTHON": "python3.12"}, {}]:
        assert machine.make("setup", **environment)[1] == []


def test_the_newest_python_that_runs_is_taken(machine):
    machine.add_python("3.11.7", "python3.11", "python3")
    machine.add_python("3.14.0", "python")
    assert machine.make("setup")[1][0] == "venv 3.12.1"


@pytest.mark.parametrize(
    "pip",
    ["kill -9 $PPID; sleep 0.2", "kill $PPID; sleep 0.2", "kill -9 $$"],
    ids=["set-up killed", "set-up stopped", "pip killed"],
)
def test_an_interrupted_setup_starts_again_from_an_empty_venv(machine, pip):
    machine.when("pip", pip)
    done, log = machine.make("setup")
    assert done.returncode != 0 and log[:1] == ["venv 3.12.1"] and len(log) == 2
    (machine.project / ".venv" / "half").touch()
    machine.when("pip", None)
    done, log = machine.make("setup")
    assert done.returncode == 0 and log[0] == "venv 3.12.1" and len(pip_runs(log)) == 3
    assert not (machine.project / ".venv" / "half").exists()
    assert machine.make("setup")[1] == []


def test_an_interrupted_update_counts_as_unfinished_too(machine):
    machine.make("setup")
    (machine.project / "requirements.txt").open("a").write("# changed\n")
    machine.when("pip", "kill -9 $$")
    assert machine.make("setup")[0].returncode != 0
    machine.when("pip", None)
    assert machine.make("setup")[1][0] == "venv 3.12.1"


def test_a_pip_that_fails_tries_again_in_the_same_venv(machine):
    """Without a network, an update must not cost the .venv that worked."""
    machine.make("setup")
    (machine.project / ".venv" / "kept").touch()
    (machine.project / "requirements.txt").open("a").write("# changed\n")
    machine.when("pip", "exit 1")
    for _ in range(2):
        done, log = machine.make("setup")
        assert done.returncode != 0 and len(pip_runs(log)) == len(log) == 1
    machine.when("pip", None)
    done, log = machine.make("setup")
    assert done.returncode == 0 and len(pip_runs(log)) == len(log) == 3
    assert (machine.project / ".venv" / "kept").exists()
    assert machine.make("setup")[1] == []


def test_a_venv_made_by_hand_is_completed(machine):
    subprocess.run([machine.bin / "python3.12", "-m", "venv", ".venv"], cwd=machine.project, check=True)
    log = machine.make("setup")[1]
    assert len(pip_runs(log)) == len(log) == 3


@pytest.mark.skipif(shutil.which("ps") is None, reason="no ps here to see another set-up with")
def test_two_setups_do_not_work_on_one_venv(machine):
    machine.when("pip", 'rm "$home/on_pip"; make setup > "$home/second" 2>&1 || true')  # in the first set-up's folder
    done, log = machine.make("setup")
    assert done.returncode == 0 and log.count("venv 3.12.1") == 1
    assert "Another set-up is at work on .venv" in (machine.home / "second").read_text()


@pytest.mark.parametrize("target", ["setup", "lab", "test", "lint", "course"])
def test_an_old_python_gets_one_line(machine, target):
    machine.add_python("3.8.18", "python3.8")
    done, log = machine.make("-s", target, PYTHON="python3.8")
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode != 0 and done.stdout == "" and log == []
    assert lines == ["This course needs Python 3.11, 3.12 or 3.13, and PYTHON=python3.8 is Python 3.8.18."]
    assert not (machine.project / ".venv").exists()


def test_a_python_that_does_not_run_gets_one_line(machine):
    done, _ = machine.make("-s", "setup", PYTHON="python3.13")
    assert done.stderr.splitlines()[0].endswith("and PYTHON=python3.13 does not run.")


def test_only_unfit_pythons_get_one_line_that_names_them(machine):
    for name in NAMES:
        machine.add(name, BROKEN)
    machine.add_python("3.8.18", "python3")
    machine.add_python("2.7.18", "python")
    done, log = machine.make("-s", "setup")
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode != 0 and log == []
    assert "needs Python 3.11, 3.12 or 3.13: python3 is 3.8.18; python is 2.7.18; install one" in line


@pytest.mark.parametrize("fails", [None, "--nbval", "tests"])
def test_make_test_runs_tests_and_notebooks_and_fails_if_either_does(machine, fails):
    condition = {"--nbval": "*--nbval*", "tests": "'-m pytest -n 2 --dist loadfile --no-loadscope-reorder'"}.get(
        fails, "nothing"
    )
    machine.when("pytest", f'case "$*" in {condition}) exit 1 ;; esac')
    done, log = machine.make("test")
    runs = [line for line in log if line.startswith("-m pytest")]
    assert [("--nbval-sanitize-with tests/nbval_sanitize.cfg notebooks/" in line) for line in runs] == [False, True]
    assert (done.returncode == 0) == (fails is None)


def test_make_test_passes_arguments_on(machine):
    log = machine.make("test", "ARGS=tests/test_setup.py -x")[1]
    assert log[-1] == "-m pytest tests/test_setup.py -x" and len(log) == 5


def test_course_makes_a_page_again_only_when_something_changed(machine):
    (machine.project / "notebooks").mkdir()
    (machine.project / "notebooks" / "00_first.ipynb").touch()
    pages = "*--contents*) touch build/index.html ;; *) touch build/00_first.html ;;"
    machine.when("course.py", f'mkdir -p build; case "$*" in {pages} esac')
    both = ["tools/course.py notebooks/00_first.ipynb", "tools/course.py --contents"]
    assert [" ".join(line.split()) for line in machine.make("course")[1][-2:]] == both
    assert machine.make("course")[1] == []
    (machine.project / "resnet_lesson" / "new.py").touch()
    assert [" ".join(line.split()) for line in machine.make("course")[1]] == both


def test_clean_leaves_data_alone(machine):
    machine.make("setup")
    for name in ["data/cifar", "build/x", "resnet_lesson/__pycache__/x"]:
        (machine.project / name).parent.mkdir(parents=True, exist_ok=True)
        (machine.project / name).touch()
    assert machine.make("clean")[0].returncode == 0
    left = {path.name for path in machine.project.iterdir()}
    assert "data" in left and (machine.project / "data/cifar").exists() and not left & {".venv", "build"}
    assert not (machine.project / "resnet_lesson/__pycache__").exists()
