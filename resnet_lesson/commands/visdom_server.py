"""visdom's real server, for this computer only, with or without a network: `python -m resnet_lesson visdom`.

visdom's own `python -m visdom.server` listens to every computer around, ends with a traceback where it cannot fetch its
page's scripts, and writes them into the installed package. Here they lie, like the windows, in a folder of the course.
"""

import asyncio
import contextlib
import http.client
import importlib
import io
import logging
import re
import shutil
import signal
import socket
from pathlib import Path

import requests

from ..errors import LessonError
from ..figures.visdom_windows import ENVIRONMENT, PORT
from ..machine import DATA, versions

HOST = "127.0.0.1"
FOLDER = DATA / "visdom"
PATIENCE = 5.0  # seconds that a server of scripts may be silent


def serve(port: int = PORT, folder: Path | str = FOLDER) -> int:
    """Run the server until Ctrl-C or SIGTERM, and return 0.

    folder: for each version of visdom the page's scripts and, from one start to the next, the windows.
    Raises LessonError when visdom is not installed or the port is taken, ValueError for what is no port.
    """
    if not 0 < port < 2**16:
        raise ValueError(f"A port is a number from 1 to 65535, not {port}.")
    version = versions("visdom")["visdom"]
    if version is None:
        raise LessonError("visdom is not installed: run `make lab` once, or pip install -r requirements.txt.")
    if _is_visdom(port):
        print(f"visdom runs already: open {_page(port)} (or start another one with --port {port % 65535 + 1})")
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):  # while it starts; _serve stops in its own way
        folder = Path(folder).resolve() / version
        page = folder / "static"
        shutil.copytree(Path(importlib.import_module("visdom").__file__).parent / "static", page, dirs_exist_ok=True)
        if missing_scripts(page):
            print("Fetching the scripts of visdom's page ...", flush=True)
            _fetch_scripts(folder)
        asyncio.run(_serve(port, page, folder / "environments"))
    print("visdom has stopped.")
    return 0


def missing_scripts(page: Path) -> list[str]:
    """The scripts and styles that visdom's index.html in that folder names and that are not there.

    visdom's package comes without most of them; without these the page stays empty, and all else works.
    """
    named = re.findall(r"static_url\(\s*[\"']([^\"']+)", (page / "index.html").read_text())
    return [name for name in named if not name.startswith("..") and not (page / name).is_file()]


def _fetch_scripts(folder: Path) -> None:
    """Let visdom download its scripts to folder/static, and give up at the first one that cannot be reached."""
    build = importlib.import_module("visdom.server.build")

    def get(url: str) -> requests.Response:
        answer = requests.request("GET", url, timeout=PATIENCE)
        answer.raise_for_status()
        return answer

    before = socket.getdefaulttimeout(), build.URLError, requests.get
    try:
        # visdom would log each URLError and go on to the next of twenty files, each with its wait.
        build.URLError, requests.get = (), get
        socket.setdefaulttimeout(PATIENCE)
        logging.disable()
        with contextlib.redirect_stdout(io.StringIO()):
            build.download_scripts(install_dir=str(folder))
    except (
        OSError,
        http.client.HTTPException,
    ):  # every error of the network and the disk; serve() says what is missing
        pass
    finally:
        timeout, build.URLError, requests.get = before
        socket.setdefaulttimeout(timeout)
        logging.disable(logging.NOTSET)


async def _serve(port: int, page: Path, environments: Path) -> None:
    app_module = importlib.import_module("visdom.server.app")
    # autoreload would start the server again whenever somebody edits a file of the package.
    app_module.tornado_settings.update(static_path=str(page), template_path=str(page), autoreload=False)
    # A line for each page shown and each script missing is too much; of what fails inside, the traceback stays.
    logging.getLogger().setLevel(logging.CRITICAL)
    logging.getLogger("tornado.application").setLevel(logging.ERROR)
    environments.mkdir(parents=True, exist_ok=True)
    app = app_module.Application(port=port, env_path=f"{environments}/")
    if ENVIRONMENT not in app.state:  # so that its page is there before the first window
        app.state[ENVIRONMENT] = {"jsons": {}, "reload": {}}

    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    try:
        server = app.listen(port, address=HOST, max_buffer_size=2**30)
    except OSError as error:
        raise LessonError(_refusal(port, error.strerror)) from error
    missing = missing_scripts(page)
    if missing:
        print(
            f"Training can draw and read windows, but the page stays empty: {len(missing)} of its scripts are missing, "
            "and could not be fetched. With a network, stop this command and start it again."
        )
    print(f"visdom runs, for this computer only: open {_page(port)} (Ctrl-C here stops it)", flush=True)
    await stop.wait()
    server.stop()
    if hasattr(app, "storage"):  # visdom 0.3
        app.storage.save_all(app.state)
    else:
        importlib.import_module("visdom.utils.server_utils").serialize_all(app.state, env_path=app.env_path)


def _page(port: int) -> str:
    return f"http://localhost:{port}/env/{ENVIRONMENT}"


def _refusal(port: int, reason: str = "another program has it") -> str:
    return f"Port {port} cannot be used: {reason}. Choose another with --port, between 1024 and 65535."


def _is_visdom(port: int) -> bool:
    """Whether a visdom listens at that port. Raises LessonError when something else does."""
    with requests.Session() as session:
        session.trust_env = False  # no proxy
        try:
            answer = session.get(f"http://{HOST}:{port}/", timeout=2)
        except requests.ConnectionError:
            return False
        except requests.RequestException:
            raise LessonError(_refusal(port)) from None
    if "<title>visdom</title>" not in answer.text:
        raise LessonError(_refusal(port))
    return True
