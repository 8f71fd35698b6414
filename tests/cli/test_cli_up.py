"""`sternway up` and `down` for real: processes, Envoy, Git."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from free_ports import free_port
from sternway.bootstrap import Settings, Sternway
from sternway.cli.foreground import Foreground
from sternway.paths import Paths

SERVICE = """\
import http.server, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: shop}}}}
  template:
    metadata: {{labels: {{app: shop}}}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: shop
          image: shop:1.0.0
          ports: [{{containerPort: {port}}}]
"""
IMAGES = "images:\n  shop: '{python} service.py {port}'\n"
COMMAND = (sys.executable, "-m", "sternway.cli")


def git(folder: Path, *arguments: str) -> None:
    """Run git as Ada."""
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run(("git", *who, *arguments), cwd=folder, check=True, capture_output=True)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `sternway` in a folder."""
    return subprocess.run((*COMMAND, *arguments), cwd=folder, capture_output=True, text=True, timeout=100, check=False)


def processes(folder: Path) -> list[psutil.Process]:
    """Give every process that names the folder, or its run folder, in its command line or works in it."""
    marks = (str(folder), str(Paths.of(folder).run))
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd", "status"]):
        texts = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(mark in text for mark in marks for text in texts):
            found.append(process)
    return found


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """Give a repository with one small service; nothing of it runs afterwards."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "service.py").write_text(SERVICE)
    (folder / "shop.yaml").write_text(MANIFEST.format(port=free_port()))
    (folder / "images.yaml").write_text(IMAGES)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "Begin")
    yield folder
    for process in processes(folder):
        process.kill()
    shutil.rmtree(Paths.of(folder).run, ignore_errors=True)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited until {what}"
        time.sleep(0.1)


def test_the_platform_goes_on_in_the_background_until_it_is_stopped(shop: Path):
    """Detached, it returns when the service answers; down leaves no process behind and the repository clean."""
    started = run(shop, "up", ".", "--detach")
    assert started.returncode == 0, started.stderr + started.stdout
    assert "shop: 1.0.0-" in started.stdout
    assert "running in the background" in started.stdout
    status = json.loads(run(shop, "status", "--output", "json").stdout)
    assert status["services"][0]["ready"] is True
    host, port = status["services"][0]["address"].split(":")
    with socket.create_connection((host, int(port)), timeout=30) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        assert caller.recv(100).startswith(b"HTTP/1.1 200")
    again = run(shop, "up", ".")
    assert again.returncode == 1
    assert "already" in again.stderr
    stopped = run(shop, "down")
    assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
    assert processes(shop) == []
    assert run(shop, "status").returncode == 3
    clean = subprocess.run(("git", "status", "--short"), cwd=shop, capture_output=True, text=True, check=True)
    assert clean.stdout == ""


def test_the_foreground_tells_what_happens_and_ends_gracefully_with_ctrl_c(shop: Path):
    """Progress, each service with its address, then the end; 0, no traceback, nothing left running."""
    with subprocess.Popen(
        (*COMMAND, "up", "."), cwd=shop, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "everything is ready" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(90) == 0
    said = "".join(lines)
    assert "Envoy" in said
    assert " is ready at http://127.0.0.1:" in said
    assert "stopping" in rest
    assert "Traceback" not in said + rest
    assert processes(shop) == []


def test_ctrl_c_while_it_starts_stops_what_has_begun(shop: Path, monkeypatch: pytest.MonkeyPatch):
    """130, and everything is closed once."""
    closed = []

    async def start(_: Sternway) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(30)

    async def close(_: Sternway, *, stop: bool) -> None:
        closed.append(stop)

    monkeypatch.setattr(Sternway, "start", start)
    monkeypatch.setattr(Sternway, "close", close)
    assert Foreground(Settings(source=str(shop), home=shop)).run() == 130
    assert closed == [True]


def test_a_second_ctrl_c_ends_it_at_once_and_the_next_up_takes_over(shop: Path):
    """What runs, a replica that will not end among it, is left running and known to the next platform."""
    (shop / "service.py").write_text(SERVICE.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN"))
    (shop / "shop.yaml").write_text(
        (shop / "shop.yaml").read_text().replace("GracePeriodSeconds: 2", "GracePeriodSeconds: 30")
    )
    git(shop, "commit", "-q", "-a", "-m", "Stubborn")
    assert run(shop, "up", ".", "--detach").returncode == 0
    services = json.loads(run(shop, "services", "-o", "json").stdout)
    (pid,) = [replica["pid"] for replica in services["services"][0]["replicas"]]
    (platform,) = [p for p in processes(shop) if "sternway.cli" in p.cmdline()]
    platform.send_signal(signal.SIGINT)
    said = shop / ".sternway" / "up.log"
    until(lambda: "stopping" in said.read_text(), "the first one is heard")
    platform.send_signal(signal.SIGINT)
    psutil.wait_procs([platform], timeout=60)
    assert not platform.is_running() or platform.status() == psutil.STATUS_ZOMBIE
    assert "stopped at once" in (shop / ".sternway" / "up.log").read_text()
    assert run(shop, "up", ".", "--detach").returncode == 0
    services = json.loads(run(shop, "services", "-o", "json").stdout)
    assert pid in [replica["pid"] for replica in services["services"][0]["replicas"]]


@pytest.mark.parametrize(
    ("prepare", "said", "options"),
    [
        ("rm -rf .git", "git init", ()),
        ("git checkout -q --detach", "detached", ()),
        ("sed -i.bak s/replicas/replcas/ shop.yaml && git commit -qam x", "did you mean", ("--detach",)),
    ],
    ids=["no repository", "a detached head", "a manifest with a mistake, in the background"],
)
def test_a_start_that_cannot_be_is_told_without_a_traceback(
    shop: Path, prepare: str, said: str, options: tuple[str, ...]
):
    """Exit code 1, what is wrong, and what to do."""
    environment = {**os.environ, "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org"}
    environment |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org"}
    subprocess.run(prepare, shell=True, cwd=shop, check=True, env=environment)
    result = run(shop, "up", ".", *options)
    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert processes(shop) == []


def test_a_port_taken_since_the_last_start_is_told_and_waited_for(shop: Path):
    """It keeps one service away and not the platform; freed, the service is there without another start."""
    assert run(shop, "up", ".", "--detach").returncode == 0
    host, port = json.loads(run(shop, "status", "-o", "json").stdout)["services"][0]["address"].split(":")
    assert run(shop, "down").returncode == 0
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taker.bind((host, int(port)))
        taker.listen()
        told = run(shop, "up", ".", "--detach")
        assert told.returncode == 1
        assert re.search(rf"port {port} of service shop is taken|cannot bind '{host}:{port}'", told.stdout), told.stdout
        assert "running in the background" in told.stdout
        status = json.loads(run(shop, "status", "-o", "json").stdout)
        (trouble,) = status["services"][0]["troubles"]
        assert port in trouble["message"]
    until(lambda: json.loads(run(shop, "status", "-o", "json").stdout)["services"][0]["address"], "it has its port")
    assert run(shop, "down").returncode == 0
    assert processes(shop) == []
