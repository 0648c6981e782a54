"""visdom's real server, for this computer only, online or offline: `python -m resnet_lesson visdom`.

visdom's own `python -m visdom.server` is open to every computer on the network, ends with a traceback if it cannot
fetch the scripts of its page, and writes them into the installed package. Here they are kept in a folder of the course.
"""

import argparse
import asyncio
import contextlib
import importlib
import logging
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from ..errors import LessonError
from ..figures.visdom_windows import ENVIRONMENT, PORT
from ..machine import DATA

FOLDER = DATA / "visdom"
# visdom would log each URLError and go on to the next of its twenty files, waiting for each, so none is caught here.
# This runs in a process of its own, because it changes visdom, and visdom changes urllib.
FETCH = """
import socket, sys
from visdom.server import build
socket.setdefaulttimeout(5)
build.URLError = ()
build.download_scripts(install_dir=sys.argv[1])
"""


def options(p: argparse.ArgumentParser) -> None:
    """Add the command's options, and the function that runs it."""
    p.add_argument("--port", type=int, default=PORT, help=f"port of the server (default: {PORT})")
    p.add_argument("--folder", default=FOLDER, help="folder for its page (default: the course's data/visdom)")
    p.set_defaults(run=lambda args: serve(args.port, args.folder))


def serve(port: int = PORT, folder: Path | str = FOLDER) -> int:
    """Run the server until Ctrl-C, and return 0.

    folder: where the page and its scripts are kept, for each version of visdom.
    Raises LessonError if visdom is not installed or the port cannot be used.
    """
    if not 0 < port < 2**16:
        raise LessonError(f"A port is a number from 1 to 65535, not {port}.")
    try:
        visdom = importlib.import_module("visdom")
    except ModuleNotFoundError:
        raise LessonError(
            "visdom is not installed: run `make lab` once, or install requirements.txt (docs/install.md says how)."
        ) from None
    # Also if the command runs in the background of a script, which ignores Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        place = Path(folder).resolve() / visdom.__version__
        shutil.copytree(Path(visdom.__file__).parent / "static", place / "static", dirs_exist_ok=True)
        if missing_scripts(place / "static"):
            print("Fetching the scripts of visdom's page ...", flush=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run([sys.executable, "-c", FETCH, str(place)], capture_output=True, timeout=300)
        asyncio.run(_serve(port, place))
    print("visdom has stopped.")
    return 0


def missing_scripts(page: Path) -> list[str]:
    """The scripts and styles that are named in visdom's index.html in that folder, but missing.

    visdom's package comes without most of them. Without them the page stays empty, but everything else works.
    """
    named = re.findall(r"static_url\(\s*[\"']([^\"']+)", (page / "index.html").read_text(encoding="utf-8"))
    return [name for name in named if not name.startswith("..") and not (page / name).is_file()]


async def _serve(port: int, folder: Path) -> None:
    from visdom.server import app as server

    page, environments = folder / "static", folder / "environments"
    # With autoreload, the server would restart whenever somebody edits a file of the package.
    server.tornado_settings.update(static_path=str(page), template_path=str(page), autoreload=False)
    # A line for each page shown and each script missing would be too much; tracebacks of real failures stay.
    logging.getLogger().setLevel(logging.CRITICAL)
    logging.getLogger("tornado.application").setLevel(logging.ERROR)
    environments.mkdir(parents=True, exist_ok=True)
    app = server.Application(port=port, env_path=f"{environments}/")
    # So that the course's page is there before its first window.
    app.state.setdefault(ENVIRONMENT, {"jsons": {}, "reload": {}})
    address = f"http://localhost:{port}/env/{ENVIRONMENT}"
    try:
        app.listen(port, address="127.0.0.1", max_buffer_size=2**30)
    except OSError as error:
        raise LessonError(
            f"Port {port} cannot be used ({error.strerror}). If visdom is already running there, open {address}; "
            "otherwise choose another port with --port, between 1024 and 65535."
        ) from error
    if missing := missing_scripts(page):
        print(
            f"Training can draw and read windows, but the page stays empty: {len(missing)} of its scripts are missing "
            "and could not be fetched. Once you are online, stop this command and start it again."
        )
    print(f"visdom is running, for this computer only: open {address} (Ctrl-C here stops it)", flush=True)
    await asyncio.Event().wait()
