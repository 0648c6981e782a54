"""A notebook opened alone, as from a link: it fetches the module from the address that pyproject.toml names.

Tried without a network: git is told to take a repository on this disk in place of the address.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import nbclient
import nbformat
import pytest
from support.paths import NOTEBOOKS as PATHS
from support.paths import REPO

import notebooks as tool

each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def set_up(path):
    return next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")


# ------------------------------------------------------------------------------------------------- the address


def opened_in(path):
    """The links that open a student copy in Colab and in Kaggle."""
    repository, revision = tool.address()
    copy = f"{repository}/blob/{revision}/students/{path.name}"
    return [
        f"https://colab.research.google.com/github/{copy}",
        f"https://kaggle.com/kernels/welcome?src=https://github.com/{copy}",
    ]


@each
def test_badges_and_set_up_cell_point_at_the_address_of_pyproject(path):
    repository, revision = tool.address()
    card = nbformat.read(path, as_version=4).cells[0].source
    assert re.findall(r"\)\]\((.+?)\)", card) == opened_in(path)
    assert f"git+https://github.com/{repository}@{revision}" in set_up(path)
    assert set_up(path) == set_up(PATHS[0])
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"github\.com/([\w-]+/[\w-]+)/blob/([\w.-]+)/docs", text)) <= {(repository, revision)}


def test_readme_opens_each_notebook_in_both():
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\[(?:Colab|Kaggle)\]\((.*?)\)", readme) == [link for path in PATHS for link in opened_in(path)]
    assert f"git clone https://github.com/{tool.address()[0]}\n" in readme


def test_the_first_link_of_readme_leads_to_the_published_pages():
    owner, name = tool.address()[0].split("/")
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    assert re.search(r"\]\((.*?)\)", readme)[1] == f"https://{owner}.github.io/{name}/"


@each
def test_the_student_copy_is_the_notebook_without_outputs(path):
    """make notebooks and make students write it; whoever edits a notebook by hand runs make students."""
    copy = (REPO / "students" / path.name).read_text(encoding="utf-8")
    assert copy == tool.student_copy(path), f"students/{path.name} is out of date: make students"
    assert all(cell.outputs == [] for cell in nbformat.reads(copy, as_version=4).cells if cell.cell_type == "code")


def test_make_students_packs_every_copy(tmp_path):
    tool.pack(tmp_path / "build" / "students.zip")
    with zipfile.ZipFile(tmp_path / "build" / "students.zip") as packed:
        assert packed.namelist() == [f"students/{path.name}" for path in PATHS]


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """The linked files, in a folder that counts as the course."""
    monkeypatch.setattr(tool, "COURSE", tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "students").mkdir()
    return [Path(shutil.copy(path, tmp_path / path.relative_to(REPO))) for path in tool.LINKED]


def test_make_colab_points_everything_at_another_repository_and_back(copies):
    old, before = tool.address(), [path.read_bytes() for path in copies]
    assert tool.link("ada/nets.2", "v1.0-b", copies) == copies
    assert tool.address() == ("ada/nets.2", "v1.0-b")
    for path in copies:
        text = path.read_text(encoding="utf-8")
        assert old[0] not in text, path
        if path.name == "README.md":
            assert text.count("(https://ada.github.io/nets.2/)") == 1 and ".github.io/resnet" not in text
        if path.suffix == ".ipynb":
            assert "git+https://github.com/ada/nets.2@v1.0-b" in text
            assert f"github/ada/nets.2/blob/v1.0-b/students/{path.name}" in text
    tool.link(*old, copies)
    assert [path.read_bytes() for path in copies] == before


@pytest.mark.parametrize("repository, revision", [("nets", "main"), ("a/b.git", "main"), ("a/b", "x y")])
def test_what_is_no_repository_is_refused(copies, repository, revision):
    with pytest.raises(ValueError, match="owner/name|a branch, a tag"):
        tool.link(repository, revision, copies)


# ------------------------------------------------------------------------------------------------- the module


@pytest.mark.parametrize(
    "older", [{}, {"torch": "2.10.0", "torchvision": "0.25.0", "numpy": "2.0.2"}], ids=["Colab", "Kaggle"]
)
def test_pip_would_change_nothing_on_a_hosted_machine(tmp_path, older):
    """A dry run of the set-up cell's install where the packages of colab.txt are installed, as far as pip can see."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    site = next((tmp_path / "lib").glob("*/site-packages"))
    listed = [line.split("==") for line in (REPO / "tests/course/colab.txt").read_text().splitlines() if "==" in line]
    for name, version in (dict(listed) | older).items():
        there = site / f"{name}-{version}.dist-info"
        there.mkdir()
        (there / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    pip = [sys.executable, "-m", "pip", "--python", tmp_path / "bin" / "python", "install", "--dry-run", "--no-index"]
    done = subprocess.run([*pip, "ipywidgets", *project["dependencies"]], capture_output=True, text=True)
    assert done.returncode == 0 and "Would install" not in done.stdout, done.stderr


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A git repository of the course as it is here; nothing is compressed, which takes longer than all the rest."""
    repo = tmp_path_factory.mktemp("published")
    subprocess.run(["git", "init", "-q", "-b", tool.address()[1], repo], check=True)
    settings = {"core.compression": "0", "pack.window": "0", "user.name": "test", "user.email": "test"}
    for name, value in settings.items():
        subprocess.run(["git", "-C", repo, "config", name, value], check=True)
    here = ["git", f"--git-dir={repo}/.git", f"--work-tree={REPO}"]
    subprocess.run([*here, "add", "-A"], check=True, capture_output=True)
    subprocess.run([*here, "commit", "-qm", "as it is here"], check=True)
    return repo


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory, published):
    """An environment with torch and Jupyter, as Colab has them, and without the course: variables to start it with."""
    home = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home / "venv"], check=True)
    python = home / "venv" / "bin" / "python"
    site = next((home / "venv" / "lib").glob("*/site-packages"))
    (site / "theirs.pth").write_text(sysconfig.get_path("purelib") + "\n")  # what is installed here, but no clone
    kernel = home / "jupyter" / "kernels" / "elsewhere"
    kernel.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "x", "language": "python"}))
    variables = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
    # Built with the setuptools that is here: that is what pip would fetch first.
    variables |= {"HOME": str(home), "JUPYTER_PATH": str(home / "jupyter"), "PIP_NO_BUILD_ISOLATION": "0"}
    variables |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return variables | redirection(published)


def redirection(repo):
    address = f"https://github.com/{tool.address()[0]}"
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{repo.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": address,
    }


def run(notebook, folder, variables):
    """Execute a notebook, or these cells, in the folder, with these environment variables alone."""
    if isinstance(notebook, list):
        notebook = nbformat.v4.new_notebook(cells=notebook)
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="elsewhere", resources={"metadata": {"path": str(folder)}}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", variables["JUPYTER_PATH"])
        client.execute(env=variables, cwd=str(folder))


def text_of(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


def imports(path):
    """The lines of a notebook that import something."""
    code = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    lines = [line for source in code for line in source.splitlines()]
    return "\n".join(line for line in lines if re.match(r"import \w|from [\w.]+ import [^(]+$", line))


@pytest.mark.slow
def test_the_set_up_cell_installs_the_module_and_leaves_torch_alone(elsewhere, tmp_path):
    import torch

    where = "import torch, resnet_lesson; print(torch.__version__, torch.__file__); print(resnet_lesson.__file__)"
    recorded = "from resnet_lesson.training.pretrained import pretrained; print(pretrained('resnet8').source)"
    cells = [nbformat.v4.new_code_cell(text) for text in (set_up(PATHS[0]), where, recorded, *map(imports, PATHS))]
    run(cells, tmp_path, elsewhere)  # fails where an import does
    assert "Cells marked full scale" in text_of(cells[0])
    theirs, ours = text_of(cells[1]).splitlines()
    assert theirs == f"{torch.__version__} {torch.__file__}"
    assert Path(elsewhere["HOME"]) in Path(ours).parents  # not the clone's
    assert "trained on CIFAR-10 by the course" in text_of(cells[2])  # the recorded runs came along


@pytest.mark.every_notebook
@each
def test_all_of_it_runs_alone(path, elsewhere, tmp_path):
    run(nbformat.read(path, as_version=4), tmp_path, elsewhere)


def test_without_a_network_it_says_what_to_do(elsewhere, tmp_path):
    # In the environment of the tests above the module may be there already.
    hidden = f"import sys; sys.modules['resnet_lesson'] = None\n{set_up(PATHS[0])}"
    nowhere = elsewhere | redirection(tmp_path / "no repository")
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="No network. Open this notebook in a copy"):
        run([nbformat.v4.new_code_cell(hidden)], tmp_path, nowhere)
