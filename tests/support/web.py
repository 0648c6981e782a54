"""A server right here that plays the course's mirrors: good ones, slow ones, and those that stall, lie or refuse."""

import socket
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class Handler(BaseHTTPRequestHandler):
    """GET /BEHAVIOUR/NAME answers with the server's file NAME, in the way that the method BEHAVIOUR says."""

    def do_GET(self):
        _, behaviour, name = self.path.split("/")
        self.server.asked.append((behaviour, unquote(name), self.headers.get("Range")))
        self.content = self.server.files[unquote(name)]
        with suppress(ConnectionError):  # the client may well leave
            getattr(self, behaviour)()

    def start(self, length, status=200, **headers):
        self.send_response(status)
        for key, value in {"Content-Length": length, **headers}.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()

    def whole(self, upto=None, **headers):
        """As servers do that know no ranges."""
        self.start(len(self.content), **headers)
        self.wfile.write(self.content[:upto])

    def good(self):
        if "Range" not in self.headers:
            return self.whole()
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        part = self.content[first : last + 1]
        self.start(len(part), 206, Content_Range=f"bytes {first}-{first + len(part) - 1}/{len(self.content)}")
        self.wfile.write(part)

    def together(self):
        """Like `good`, but only once two have asked."""
        self.server.two.wait(20)
        self.good()

    def mislabelled(self):
        """As servers do that take .gz for a way of sending a .tar."""
        self.whole(Content_Encoding="gzip")

    def stalls(self):
        self.whole(len(self.content) // 2)
        self.server.over.wait(20)

    def slow(self):
        """50 kB/s, in portions each of 20 ms."""
        self.start(len(self.content))
        begin = time.monotonic()
        for i in range(0, len(self.content), 1000):
            self.wfile.write(self.content[i : i + 1000])
            if self.server.over.wait(max(0, begin + i / 50_000 - time.monotonic())):
                return

    def truncates(self):
        self.whole(-1000)

    def lies(self):
        self.content = b"x" * len(self.content)
        self.whole()

    def missing(self):
        self.send_error(404)

    def log_message(self, *_):
        pass


@contextmanager
def serving(**files):
    """The server, with its `url`, `host`, `files`, and what was `asked`: (behaviour, file, range) in that order."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    server.files, server.asked = files, []
    server.over, server.two = threading.Event(), threading.Barrier(2)
    server.host = f"127.0.0.1:{server.server_port}"
    server.url = f"http://{server.host}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()


@contextmanager
def refusing():
    """The address of a port at which nobody listens."""
    with socket.socket() as taken:  # bound, so that nobody else gets it; not listening, so that it refuses
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def listing(folder):
    """Every file and folder below `folder`, hidden or not."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
