"""A real Git server for tests: Git's own `git http-backend` over smart HTTP, behind Basic auth.

What people commit on it is made by plumbing in the bare repository, so that no work tree and no setting of the machine matters.
"""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

_ALONE = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


class GitServer:
    """Serves every repository in a folder, as `with GitServer(folder) as server`. With an empty password: to everybody."""

    def __init__(self, folder: Path, *, user: str = "ada", password: str = "s3cret/t%ken:9") -> None:  # noqa: S107  made up
        self.folder = folder
        self.user = user
        self.password = password
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (_Handler,), {"server_of_git": self}))
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._http.server_port}"

    @property
    def authorization(self) -> str:
        """What a request must bring."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    @property
    def credentials(self) -> str:
        """The line by which a credentials file lets someone in."""
        return f"http://{quote(self.user, safe='')}:{quote(self.password, safe='')}@{self.host}\n"

    def url(self, name: str) -> str:
        """The address of a repository, without a password."""
        return f"http://{self.host}/{name}.git"

    def create(self, name: str, *, branch: str = "main") -> str:
        """Make an empty repository that takes pushes. Gives its address."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._git(None, "init", "--quiet", "--bare", f"--initial-branch={branch}", str(self._bare(name)))
        self._git(name, "config", "http.receivepack", "true")
        return self.url(name)

    def commit(self, name: str, files: Mapping[str, str | None], message: str, *, branch: str = "main") -> str:
        """Commit changed files (None: removed) on a branch, as a person. Gives the commit."""
        index = {"GIT_INDEX_FILE": str(self._bare(name) / f"index-{threading.get_ident()}")}
        before = self.head(name, branch)
        self._git(name, "read-tree", before or "--empty", env=index)
        for path, text in files.items():
            if text is None:
                self._git(name, "update-index", "--force-remove", "--", path, env=index)
                continue
            blob = self._git(name, "hash-object", "-w", "--stdin", stdin=text)
            self._git(name, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", env=index)
        tree = self._git(name, "write-tree", env=index)
        parents = ("-p", before) if before else ()
        made = self._git(name, "commit-tree", *parents, "-F", "-", tree, stdin=message)
        self._git(name, "update-ref", f"refs/heads/{branch}", made)
        return made

    def head(self, name: str, branch: str = "main") -> str:
        """The commit that a branch is at; "" without one."""
        done = self._run(name, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")
        return done.stdout.decode().strip() if done.returncode == 0 else ""

    def files(self, name: str, commit: str, under: str = "") -> dict[str, str]:
        """Every file of a commit below a folder: path -> text."""
        listed = self._run(name, "ls-tree", "-r", "-z", "--name-only", commit, *(("--", f"{under}/") if under else ()))
        paths = listed.stdout.decode().split("\0")[:-1]
        return {path: self._run(name, "show", f"{commit}:{path}").stdout.decode() for path in paths}

    def message(self, name: str, commit: str) -> str:
        """What a commit says."""
        return self._git(name, "log", "-1", "--format=%B", commit)

    def log(self, name: str, branch: str = "main") -> list[str]:
        """The subjects of a branch, the latest first."""
        return self._git(name, "log", "--format=%s", f"refs/heads/{branch}").splitlines()

    def branches(self, name: str) -> list[str]:
        """Every branch."""
        return self._git(name, "for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines()

    def protect(self, name: str, branch: str = "main") -> None:
        """Let a branch take no push any more, as hosts do with protected branches."""
        hook = self._bare(name) / "hooks" / "update"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f'#!/bin/sh\ntest "$1" != refs/heads/{branch} || {{ echo "protected branch" >&2; exit 1; }}\n')
        hook.chmod(0o755)

    def _bare(self, name: str) -> Path:
        return self.folder / f"{name}.git"

    def _git(self, name: str | None, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> str:
        done = self._run(name, *arguments, env=env, stdin=stdin)
        assert done.returncode == 0, f"git {arguments}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

    def _run(
        self, name: str | None, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[bytes]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        return subprocess.run(
            ["git", *arguments],
            cwd=self._bare(name) if name else self.folder,
            env={**kept, **_ALONE, **(env or {})},
            input=stdin.encode(),
            capture_output=True,
            check=False,
        )


class _Handler(BaseHTTPRequestHandler):
    """Hands requests with the right password to `git http-backend`, by the rules of CGI."""

    protocol_version = "HTTP/1.0"
    server_of_git: GitServer

    def do_GET(self) -> None:
        """Read."""
        self._answer(b"")

    def do_POST(self) -> None:
        """Fetch or push."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        server = self.server_of_git
        if server.password and self.headers.get("Authorization") != server.authorization:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_USER": server.user,
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        done = subprocess.run([_backend()], input=body, env=env, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = next((value for name, value in headers if name == "Status"), "200 OK")
        self.send_response(int(status[:3]))
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class names it so
        """Say nothing."""


def _backend() -> str:
    where = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{where}/git-http-backend"
