"""A user's repositories, made with the real git command. Used by every test of the history."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sternway.clock import SystemClock
from sternway.history.git import GitHistory


def manifest(kind: str, name: str, image: str, *, replicas: int = 2) -> str:
    """One document as a person writes it, with a comment of its own."""
    return (
        f"# {name}: ask the {name} team before you change it\n"
        f"apiVersion: apps/v1\nkind: {kind}\nmetadata:\n  name: {name}\n  labels: {{team: {name}}}\n"
        f"spec:\n  replicas: {replicas}  # enough for Mondays\n  template:\n    metadata:\n      labels: {{app: {name}}}\n"
        f"    spec:\n      containers:\n        - name: {name}\n          image: {image}\n"
    )


SHOP = manifest("Deployment", "orders", "orders:1.0.0") + "---\n" + manifest("Deployment", "stock", "stock:1.0.0")


@dataclass
class Repository:
    """A work tree of the user's, and what they do in it."""

    folder: Path

    def git(self, *arguments: str, check: bool = True) -> str:
        """Run git as the user."""
        done = subprocess.run(["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"git {arguments}: {done.stderr}"
        return done.stdout.strip()

    def write(self, files: dict[str, str | None]) -> None:
        """Edit files without committing them."""
        for name, text in files.items():
            path = self.folder / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text.encode())

    def commit(self, files: dict[str, str | None], message: str = "Change") -> str:
        """Edit files and commit exactly them."""
        self.write(files)
        self.git("add", "--all", "--", *files)
        self.git("commit", "--quiet", "--message", message)
        return self.head()

    def head(self, name: str = "HEAD") -> str:
        """Find the id of a commit."""
        return self.git("rev-parse", name)

    def read(self, name: str, commit: str = "HEAD") -> str:
        """Read a file's exact text at a commit."""
        done = subprocess.run(["git", "show", f"{commit}:{name}"], cwd=self.folder, capture_output=True, check=True)
        return done.stdout.decode()

    def log(self, name: str = "HEAD") -> list[str]:
        """List the subjects of a branch, latest first."""
        return self.git("log", "--format=%s", name).splitlines()


class World:
    """Everything that a test of the history needs, in one temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.woken: list[str] = []

    def repository(self, name: str = "shop", *options: str) -> Repository:
        """Make an empty repository with a work tree, on the branch main."""
        folder = self.folder / name
        folder.mkdir()
        made = Repository(folder)
        made.git("init", "--quiet", "--initial-branch=main", *options)
        return made

    def clone(self, source: str | Path, name: str = "clone") -> Repository:
        """Make a person's clone."""
        subprocess.run(["git", "clone", "--quiet", str(source), name], cwd=self.folder, check=True, capture_output=True)
        return Repository(self.folder / name)

    def server(self, work: Repository, name: str = "server.git") -> Path:
        """Make a bare repository that holds what `work` has, and that `work` pushes to."""
        bare = self.folder / name
        subprocess.run(
            ["git", "clone", "--quiet", "--bare", str(work.folder), str(bare)], check=True, capture_output=True
        )
        work.git("remote", "add", "origin", str(bare))
        work.git("push", "--quiet", "--set-upstream", "origin", "main")
        return bare

    def ssh_key(self) -> Path:
        """Make a key that signs for Ada, and the list of who may sign."""
        key = self.folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        (self.folder / "signers").write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
        return key

    def history(
        self,
        source: str | Path,
        *,
        branch: str | None = None,
        path: str = "",
        state: str = "state",
        poll_s: float | None = None,
    ) -> GitHistory:
        """Make a history that is not opened yet."""
        return GitHistory(
            source=str(source),
            branch=branch,
            path=path,
            state_dir=self.folder / state,
            clock=SystemClock(),
            wake=lambda: self.woken.append(state),
            poll_s=poll_s,
        )

    async def opened(self, source: str | Path, **options) -> GitHistory:
        """Make a history and open it."""
        made = self.history(source, **options)
        await made.open()
        return made


def over_ssh(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Speak Git's ssh protocol with a program that runs the server's side on this machine."""
    program = world.folder / "ssh"
    program.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    program.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(program))
    monkeypatch.setenv("GIT_SSH_VARIANT", "simple")


async def until(condition: Callable[[], bool], *, within_s: float = 60.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


async def stop(task: asyncio.Task[None]) -> None:
    """End a task."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
