"""Smart HTTP with a password, against Git's own server program; the password is in no output of ours."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from git_world import SHOP, Repository, World

from sternway.domain.releases import Mark
from sternway.errors import HistoryUnavailable

TOKEN = "t0ken/with%odd:signs"
WRITTEN = "t0ken%2Fwith%25odd%3Asigns"
BACKEND = Path(subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip())
BACKEND /= "git-http-backend"


class Handler(BaseHTTPRequestHandler):
    """Hands requests with the right password to `git http-backend`, by the rules of CGI."""

    protocol_version = "HTTP/1.0"
    root: Path

    def do_GET(self) -> None:
        """Read."""
        self.answer(b"")

    def do_POST(self) -> None:
        """Fetch or push."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(body)

    def answer(self, body: bytes) -> None:
        """Answer 401 without the password."""
        expected = "Basic " + base64.b64encode(f"ada:{TOKEN}".encode()).decode()
        if self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="shop"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_USER": "ada",
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        out = subprocess.run([str(BACKEND)], input=body, env=env, capture_output=True, check=False).stdout
        head, _, content = out.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = next((value for name, value in headers if name == "Status"), "200 OK")
        self.send_response(int(status[:3]))
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


@pytest.fixture
def server(world: World) -> Iterator[tuple[Repository, str]]:
    """Serve a repository that takes pushes; gives the work tree behind it and host:port."""
    shop = world.repository()
    shop.commit({"shop.yaml": SHOP}, "Good")
    bare = world.server(shop)
    subprocess.run(["git", "config", "http.receivepack", "true"], cwd=bare, check=True)
    handler = type("Here", (Handler,), {"root": world.folder})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield shop, f"127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


async def test_a_password_in_the_address_reads_and_writes(world: World, server, revert) -> None:
    """Reading, reverting and marking work through Basic auth, and nothing of ours keeps the password."""
    shop, host = server
    good, bad = shop.head(), shop.commit({"shop.yaml": SHOP.replace("orders:1.0.0", "orders:1.1.0")}, "Bad")
    shop.git("push", "-q")
    history = await world.opened(f"http://ada:{WRITTEN}@{host}/server.git")
    assert (await history.head()).commit == bad
    done = await history.revert(revert(bad, good))
    shop.git("fetch", "-q")
    assert shop.head("origin/main") == done.commit
    assert shop.read("shop.yaml", "origin/main") == SHOP
    kept = Mark(service="orders", version="1", commit=bad, verdict="bad", release="orders-1", why="", at_s=1.0)
    await history.mark([kept])
    assert await history.ledger() == (kept,)
    files = [file.read_bytes() for file in (world.folder / "state").rglob("*") if file.is_file()]
    assert files
    assert not any(TOKEN.encode() in content or WRITTEN.encode() in content for content in files)


async def test_the_password_is_in_no_argument_list(world: World, server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither git nor its helpers get the password where every user of the machine could read it."""
    _, host = server
    trace = world.folder / "trace"
    monkeypatch.setenv("GIT_TRACE2_EVENT", str(trace))
    await world.opened(f"http://ada:{WRITTEN}@{host}/server.git")
    text = trace.read_text()
    assert "remote-http" in text
    assert TOKEN not in text
    assert WRITTEN not in text


@pytest.mark.parametrize("user", ["ada:wr0ng%2Fsecret@", "", "wr0ng%2Fsecret@"])
async def test_a_wrong_or_missing_password_is_reported_without_it(world: World, server, user: str) -> None:
    """Git never prompts; the message says what to check and does not show what was tried."""
    _, host = server
    with pytest.raises(HistoryUnavailable, match="has no valid credentials") as caught:
        await world.opened(f"http://{user}{host}/server.git")
    assert "wr0ng" not in str(caught.value)
    assert "wr0ng" not in repr(caught.value.__context__)


async def test_the_users_own_credential_helper_is_asked(world: World, server) -> None:
    """An address without a password works where the user's Git knows one."""
    shop, host = server
    (world.folder / "stored").write_text(f"http://ada:{WRITTEN}@{host}\n")
    shop.git("config", "--global", "credential.helper", f"store --file={world.folder}/stored")
    history = await world.opened(f"http://{host}/server.git")
    assert (await history.head()).commit == shop.head()
