"""Execute notebooks for a commit, and point badges and set-up cells at a repository.

    python tools/notebooks.py execute [03 08]         from a clean kernel; all of them if none are named
    python tools/notebooks.py students                copies without outputs, and a zip of them
    python tools/notebooks.py link [owner/name] [--revision main]     what `make colab` calls

`execute` stores what the tests ask for: outputs in order, no widget state, no times, and a text for each figure. It
also writes the student copy, the same notebook without outputs, so that no stored result gives a prediction away.
"""

import argparse
import re
import tomllib
import zipfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

COURSE = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((COURSE / "notebooks").glob("[0-9]*.ipynb"))
STUDENTS = COURSE / "students"
COPIES = [STUDENTS / path.name for path in NOTEBOOKS]
NAMING = [COURSE / name for name in ("pyproject.toml", "README.md", "CITATION.cff", "LICENSE-text.md")]
LINKED = [*NAMING, *NOTEBOOKS, *COPIES]  # what names the repository
# Without the other two, `jupyter nbconvert --to script` writes a .txt, and leaves the text out.
LANGUAGE = {"file_extension": ".py", "name": "python", "nbconvert_exporter": "python"}
# What Kaggle reads ("accelerator" alone is Colab's). Without the internet the set-up cell cannot install the module.
KAGGLE = {
    "accelerator": "nvidiaTeslaT4",
    "isGpuEnabled": True,
    "isInternetEnabled": True,
    "language": "python",
    "sourceType": "notebook",
}
WIDGET = "application/vnd.jupyter.widget-view+json"


def caption(cell: nbformat.NotebookNode) -> str:
    """The caption that a markdown cell begins with, as plain text: *Error against epoch.* Or "" if there is none."""
    found = re.match(r"\*(?!\*)(.+?)\*(?:\n\n|\s*\Z|\n?(?= \S))", cell.source + "\n\n", re.S)
    plain = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", found[1]) if found and cell.cell_type == "markdown" else ""
    return " ".join(re.sub(r"[*`]", "", plain).split())


def describe_figures(notebook: nbformat.NotebookNode) -> None:
    """Give each stored picture its caption as alternative text, where Jupyter keeps a picture's metadata."""
    for cell, following in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        for output in cell.get("outputs", []):
            if following and "image/png" in output.get("data", {}):
                output.metadata["image/png"] = {"alt": caption(following)}


def clean(notebook: nbformat.NotebookNode) -> None:
    """Remove what another run would have otherwise: widgets, times; and join what one stream has written in pieces."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.update(language_info=LANGUAGE, accelerator="GPU", kaggle=KAGGLE)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        outputs: list[nbformat.NotebookNode] = []
        for output in cell.get("outputs", []):
            if output.get("data", {}).pop(WIDGET, None) and not set(output.data) - {"text/plain"}:
                continue  # a widget alone: nothing of it is left without its kernel
            stream = output.get("name")
            if stream and outputs and outputs[-1].get("name") == stream:
                outputs[-1].text += output.text
            else:
                outputs.append(output)
        if cell.cell_type == "code":
            cell.outputs = outputs


def execute(path: Path) -> None:
    """Run all cells of the notebook from a clean kernel, and write it back when all of them ran."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, record_timing=False, timeout=1800, kernel_name="python3", resources=resources).execute()
    clean(notebook)
    describe_figures(notebook)
    nbformat.validate(notebook)
    unfinished = path.with_suffix(".part")
    nbformat.write(notebook, unfinished)
    unfinished.replace(path)


def student_copy(path: Path) -> str:
    """The text of the notebook's copy without outputs."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nbformat.writes(notebook) + "\n"


def write_student_copies(paths: list[Path]) -> None:
    STUDENTS.mkdir(exist_ok=True)
    for path in paths:
        (STUDENTS / path.name).write_text(student_copy(path), encoding="utf-8")


def pack(archive: Path) -> None:
    """All student copies as one zip, to hand out."""
    archive.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for copy in COPIES:
            packed.write(copy, f"students/{copy.name}")


def address() -> tuple[str, str]:
    """Repository (owner/name) and revision (a branch or tag), as pyproject.toml says."""
    urls = tomllib.loads((COURSE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    found = re.fullmatch(r"https://github\.com/([^/]+/[^/]+)/tree/(.+)/notebooks", urls["Notebooks"])
    return found[1], found[2]


def link(repository: str, revision: str, files: list[Path] = LINKED) -> list[Path]:
    """Write another repository and revision in place of those of pyproject.toml, and return the files that changed.

    Raises ValueError for what is not owner/name, and for a revision that is no branch's, tag's or commit's name.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]+/[\w.-]+", repository) or repository.endswith(".git"):
        raise ValueError(f"A repository is written owner/name, as in make colab REPO=ada/resnets, not {repository!r}.")
    if not re.fullmatch(r"[\w.][\w./-]*", revision):
        raise ValueError(f"A revision is the name of a branch, a tag or a commit, not {revision!r}.")
    (old, old_revision), changed = address(), []
    old_pages, pages = ("https://{}.github.io/{}/".format(*one.split("/")) for one in (old, repository))
    start = rf"github(?:\.com)?/{re.escape(old)}"
    for path in files:
        text = path.read_text(encoding="utf-8")
        new = re.sub(rf"({start}/(?:blob|tree)/){re.escape(old_revision)}(?=/)", rf"\g<1>{revision}", text)
        new = re.sub(rf"({start}(?:\.git)?@){re.escape(old_revision)}(?![\w./-])", rf"\g<1>{revision}", new)
        new = re.sub(rf"(github(?:\.com)?/){re.escape(old)}(?![\w-]|\.(?!git\b)\w)", rf"\g<1>{repository}", new)
        new = new.replace(old_pages, pages)  # where pages.yml publishes
        if new != text:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("execute", help="run notebooks from a clean kernel, for a commit")
    one.add_argument("numbers", nargs="*", help="which notebooks, such as 03 08 (default: all)")
    commands.add_parser("students", help="write students/ and build/students.zip")
    two = commands.add_parser("link", help="point badges and set-up cells at a repository")
    two.add_argument("repository", nargs="?", help="owner/name (default: no change)")
    two.add_argument("--revision", help="branch, tag or commit (default: no change)")
    args = parser.parse_args()
    if args.command == "link":
        repository, revision = address()
        try:
            changed = link(args.repository or repository, args.revision or revision)
        except ValueError as error:
            parser.error(str(error))
        print(f"{len(changed)} files now point at {'@'.join(address())}.")
    elif args.command == "students":
        write_student_copies(NOTEBOOKS)
        pack(COURSE / "build" / "students.zip")
        print(f"{len(COPIES)} notebooks without outputs are in students/, and in build/students.zip.")
    else:
        for path in NOTEBOOKS:
            if not args.numbers or path.name[:2] in args.numbers:
                execute(path)
                write_student_copies([path])
                print(path.name, flush=True)


if __name__ == "__main__":
    main()
