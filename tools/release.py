"""Make a release: its version, its date, its links, a commit and a tag. `make release VERSION=0.3.0` calls this.

Badges, set-up cells and links of the notebooks name the tag of the newest release, so that a class keeps what it began
with, however the branch goes on. Nothing is pushed.
"""

import argparse
import datetime
import re
import subprocess

import notebooks as tool

PENDING = "## Not released yet\n"


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=tool.COURSE, check=True, capture_output=True, text=True).stdout


def check(version: str) -> None:
    """Raises ValueError, with what to do, if there cannot be such a release."""
    numbers = r"\d+\.\d+\.\d+"
    if not re.fullmatch(numbers, version):
        raise ValueError(f"A version is three numbers, as in make release VERSION=0.3.0, not {version!r}.")
    last = re.search(rf'^version = "({numbers})"', (tool.COURSE / "pyproject.toml").read_text(), re.M)[1]
    if [int(number) for number in version.split(".")] <= [int(number) for number in last.split(".")]:
        raise ValueError(f"{version} does not come after {last}, the version in pyproject.toml.")
    if git("status", "--porcelain"):
        raise ValueError("There are changes that are not committed: commit them first.")
    if git("tag", "--list", f"v{version}"):
        raise ValueError(f"There is a tag v{version} already: choose the next version.")
    _, _, news = (tool.COURSE / "CHANGELOG.md").read_text(encoding="utf-8").partition(PENDING)
    if not news.partition("\n## ")[0].strip():
        raise ValueError(f"Say what is new first, in CHANGELOG.md under {PENDING.strip()!r}.")


def release(version: str, today: datetime.date) -> None:
    """Write the version, the date and the links, commit them, and tag the commit. Raises ValueError as `check` does."""
    check(version)
    changes = {
        "pyproject.toml": (r'^version = ".*"', f'version = "{version}"'),
        "resnet_lesson/__init__.py": (r'^__version__ = ".*"', f'__version__ = "{version}"'),
        "CITATION.cff": (r"^version: .*\ndate-released: .*", f"version: {version}\ndate-released: {today}"),
        "CHANGELOG.md": (f"^{PENDING}", f"{PENDING}\n## {version}, {today}\n"),
    }
    for name, (old, new) in changes.items():
        path = tool.COURSE / name
        text, found = re.subn(old, new, path.read_text(encoding="utf-8"), count=1, flags=re.M)
        if not found:
            raise ValueError(f"{name} has no line {old}.")
        path.write_text(text, encoding="utf-8")
    repository, _ = tool.address()
    tool.link(repository, f"v{version}", tool.LINKED)
    git("commit", "--all", "--message", f"Release {version}")
    git("tag", "--annotate", f"v{version}", "--message", f"Release {version}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", help="three numbers, such as 0.3.0")
    version = parser.parse_args().version
    try:
        release(version, datetime.date.today())
    except ValueError as error:
        parser.error(str(error))
    print(f"Tagged v{version}, and all links name it. To publish it: git push --follow-tags")


if __name__ == "__main__":
    main()
