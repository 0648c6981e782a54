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
from pathlib import Path

import nbclient
import nbformat
import pytest
from support.paths import REPO

sys.path.insert(0, str(REPO / "tools"))

import notebooks as tool  # noqa: E402

PATHS = sorted((REPO / "notebooks").glob("*.ipynb"))
each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def set_up(path):
    return next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")


# ------------------------------------------------------------------------------------------------- the address


@each
def test_badge_and_set_up_cell_point_at_the_address_of_pyproject(path):
    repository, revision = tool.address()
    card = nbformat.read(path, as_version=4).cells[0].source
    colab = f"https://colab.research.google.com/github/{repository}/blob/{revision}/notebooks/{path.name}"
    assert re.findall(r"\]\((https://colab\.research\.google\.com/github/.*?)\)", card) == [colab]
    assert f"git+https://github.com/{repository}@{revision}" in set_up(path)
    assert set_up(path) == set_up(PATHS[0])
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"github\.com/([\w-]+/[\w-]+)/blob/([\w.-]+)/docs", text)) <= {(repository, revision)}


def test_readme_has_a_badge_for_each_notebook():
    repository, revision = tool.address()
    start = f"https://colab.research.google.com/github/{repository}/blob/{revision}/notebooks/"
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(rf"\({re.escape(start)}(.*?)\)", readme)) == [path.name for path in PATHS]
    assert f"git clone https://github.com/{repository}\n" in readme


def copies(folder):
    files = []
    for path in tool.LINKED:
        files.append(folder / path.relative_to(REPO))
        files[-1].parent.mkdir(exist_ok=True)
        shutil.copy(path, files[-1])
    return files


def test_make_colab_points_everything_at_another_repository_and_back(tmp_path, monkeypatch):
    files = copies(tmp_path)
    monkeypatch.setattr(tool, "COURSE", tmp_path)
    old, before = tool.address(), [path.read_bytes() for path in files]
    assert tool.link("ada/nets.2", "v1.0-b", files) == files
    assert tool.address() == ("ada/nets.2", "v1.0-b")
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert old[0] not in text, path
        if path.suffix == ".ipynb":
            assert "git+https://github.com/ada/nets.2@v1.0-b" in text
            assert f"github/ada/nets.2/blob/v1.0-b/notebooks/{path.name}" in text
    tool.link(*old, files)
    assert [path.read_bytes() for path in files] == before


@pytest.mark.parametrize(
    "repository, revision", [("nets", "main"), ("a/b.git", "main"), ("a/b", "x y"), ("a/b/c", "v")]
)
def test_what_is_no_repository_changes_nothing(tmp_path, repository, revision):
    files = copies(tmp_path)
    before = [path.read_bytes() for path in files]
    with pytest.raises(ValueError, match="owner/name|a branch, a tag"):
        tool.link(repository, revision, files)
    assert [path.read_bytes() for path in files] == before


# ------------------------------------------------------------------------------------------------- the module


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A git repository of the course as it is here."""
    repo = tmp_path_factory.mktemp("published") / "repo"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git clone")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (REPO / name).is_file():
            (repo / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, repo / name)
    who = ["-c", "user.name=test", "-c", "user.email=test"]
    for command in (["init", "-q", "-b", tool.address()[1]], ["add", "-A"], [*who, "commit", "-qm", "as it is here"]):
        subprocess.run(["git", *command], cwd=repo, check=True)
    return repo


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory, published):
    """An environment with torch and Jupyter, as Colab has them, and without the course: variables to start it with."""
    home = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home / "venv"], check=True)
    python = home / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
    Path(site, "theirs.pth").write_text(sysconfig.get_path("purelib") + "\n")  # what is installed here, but no clone
    kernel = home / "jupyter" / "kernels" / "elsewhere"
    kernel.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "x", "language": "python"}))
    variables = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "OMP_NUM_THREADS") if name in os.environ}
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
    """Execute it in the folder, with these environment variables alone."""
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="elsewhere", resources={"metadata": {"path": str(folder)}}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", variables["JUPYTER_PATH"])
        client.execute(env=variables, cwd=str(folder))
    return notebook


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
    run(nbformat.v4.new_notebook(cells=cells), tmp_path, elsewhere)  # fails where an import does
    assert "Cells marked full scale" in text_of(cells[0])
    theirs, ours = text_of(cells[1]).splitlines()
    assert theirs == f"{torch.__version__} {torch.__file__}"
    assert Path(elsewhere["HOME"]) in Path(ours).parents  # not the clone's
    assert "trained on CIFAR-10 by the course" in text_of(cells[2])  # the recorded runs came along


@pytest.mark.every_notebook
@each
def test_all_of_it_runs_alone(path, elsewhere, tmp_path):
    run(nbformat.read(path, as_version=4), tmp_path, elsewhere)


@pytest.mark.slow
def test_without_a_network_it_says_what_to_do(elsewhere, tmp_path):
    cells = [nbformat.v4.new_code_cell(set_up(PATHS[0])), nbformat.v4.new_code_cell("print('reached')")]
    nowhere = elsewhere | redirection(tmp_path / "no repository") | {"PYTHONNOUSERSITE": "1"}
    # In the environment of the tests above the module may be there already.
    cells.insert(0, nbformat.v4.new_code_cell("import sys; sys.modules['resnet_lesson'] = None"))
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="No network. Open this notebook in a copy"):
        run(nbformat.v4.new_notebook(cells=cells), tmp_path, nowhere)
    assert cells[-1].execution_count is None
