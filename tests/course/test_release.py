"""make release: nothing is written before all is in order; then version, date, links, commit and tag agree."""

import datetime
import shutil
import tomllib

import pytest
import release as made
import yaml
from support.paths import REPO

import notebooks as tool

NOTEBOOK = "notebooks/00_start_here.ipynb"
FILES = ["pyproject.toml", "resnet_lesson/__init__.py", "CITATION.cff", "CHANGELOG.md", "README.md", NOTEBOOK]
TODAY = datetime.date(2030, 1, 2)


def commit(message):
    made.git("add", "--all")
    made.git("-c", "user.name=test", "-c", "user.email=test", "commit", "-qm", message)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A repository with the files that a release writes."""
    monkeypatch.setattr(tool, "COURSE", tmp_path)
    monkeypatch.setattr(tool, "LINKED", [tmp_path / name for name in FILES])
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "test")
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPO / name, tmp_path / name)
    made.git("init", "-q")
    changes = tmp_path / "CHANGELOG.md"
    changes.write_text(changes.read_text().replace(made.PENDING, f"{made.PENDING}\n- Something new.\n"))
    commit("as it is here")
    return tmp_path


def test_a_release_is_one_commit_with_a_tag_that_all_its_links_name(course):
    made.release("9.0.1", TODAY)
    assert tomllib.loads((course / "pyproject.toml").read_text())["project"]["version"] == "9.0.1"
    assert '__version__ = "9.0.1"' in (course / "resnet_lesson/__init__.py").read_text()
    citation = yaml.safe_load((course / "CITATION.cff").read_text())
    assert (citation["version"], citation["date-released"]) == ("9.0.1", TODAY)
    assert f"{made.PENDING}\n## 9.0.1, 2030-01-02\n\n- Something new." in (course / "CHANGELOG.md").read_text()
    assert tool.address()[1] == "v9.0.1"
    for name in ("README.md", NOTEBOOK):
        assert "/blob/v9.0.1/students/00_start_here.ipynb" in (course / name).read_text(encoding="utf-8")
    assert made.git("status", "--porcelain") == ""
    assert made.git("rev-list", "-1", "v9.0.1") == made.git("rev-parse", "HEAD")


@pytest.mark.parametrize("version, problem", [("9.0", "three numbers"), ("0.0.1", "does not come after")])
def test_a_version_that_cannot_follow_is_refused(course, version, problem):
    with pytest.raises(ValueError, match=problem):
        made.release(version, TODAY)
    assert made.git("status", "--porcelain") == ""


def test_nothing_is_released_twice_with_open_changes_or_without_news(course):
    made.git("tag", "v9.0.0")
    with pytest.raises(ValueError, match="a tag v9.0.0 already"):
        made.release("9.0.0", TODAY)
    made.release("9.0.1", TODAY)
    with pytest.raises(ValueError, match="Say what is new"):
        made.release("9.0.2", TODAY)
    (course / "new").touch()
    with pytest.raises(ValueError, match="not committed"):
        made.release("9.0.2", TODAY)


def test_the_version_is_one():
    version = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]
    assert f'__version__ = "{version}"' in (REPO / "resnet_lesson/__init__.py").read_text()
    assert str(yaml.safe_load((REPO / "CITATION.cff").read_text())["version"]) == version
