"""How long until a reader sees something? Run: python benchmarks/start.py

install   the set-up cell's pip, on a machine that has torch and the other packages, but not the course. The repository
          is the one here: add what GitHub needs to send it, whose size is printed, too.
plot      from the start of JupyterLab to the first figure of notebook 00, in a headless browser, with all cells run.

Each is the median of three, in seconds. Exits with 1 if one of them takes 60 or more. docs/performance.md shows what
was measured.
"""

import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

COURSE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(COURSE / "tests"))

from support.lab import TOKEN, chromium, jupyterlab  # noqa: E402

LIMIT, ROUNDS = 60.0, 3
RUN_ALL = """async () => {
    await window.jupyterapp.restored;
    await window.jupyterapp.shell.currentWidget.context.sessionContext.ready;
    window.jupyterapp.commands.execute("notebook:run-all-cells");
}"""


def install(folder: Path) -> float:
    """Seconds of pip, in an environment in which all packages but the course are those of this Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    site = next((folder / "lib").glob("*/site-packages"))
    (site / "theirs.pth").write_text(sysconfig.get_path("purelib") + "\n")  # .pth files there are not read: no course
    began = time.monotonic()
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "ipywidgets", f"git+{COURSE.as_uri()}"]
    subprocess.run(pip, check=True)
    return time.monotonic() - began


def plot(folder: Path) -> float:
    """Seconds from the start of JupyterLab to the first figure that notebook 00 draws."""
    with chromium() as browser:
        page = browser.new_page()
        began = time.monotonic()
        with jupyterlab(folder, "students") as lab:  # without stored figures
            page.goto(f"{lab}/00_start_here.ipynb?reset&token={TOKEN}")
            page.wait_for_function("() => window.jupyterapp && window.jupyterapp.shell.currentWidget")
            page.evaluate(RUN_ALL)
            page.wait_for_selector(".jp-RenderedImage img", timeout=300_000)
            return time.monotonic() - began


def measure(what: Callable[[Path], float]) -> float:
    taken = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            taken.append(what(Path(folder)))
    return median(taken)


def main() -> int:
    packed = subprocess.run(["git", "archive", "--format=tar.gz", "HEAD"], cwd=COURSE, check=True, capture_output=True)
    print(f"to be sent: {len(packed.stdout) / 1e6:.0f} MB", flush=True)
    slow = False
    for what in (install, plot):
        seconds = measure(what)
        slow |= seconds >= LIMIT
        print(f"{what.__name__:8} {seconds:5.1f} s", flush=True)
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
