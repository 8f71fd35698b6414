"""A repository on this machine: what it is, whether it moved, and how a commit reaches its work tree.

Used by `git.GitHistory` (open, watch) and `publish`. Watching costs a few `stat` calls and starts no process.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sternway.errors import HistoryUnavailable
from sternway.history.command import Git
from sternway.history.mirror import OUTGOING
from sternway.history.source import Source, wrong

_NO_GC: Mapping[str, str] = {"gc.auto": "0", "maintenance.auto": "false"}
_HALF_WRITTEN_S = (0.2, 0.5, 1.0, 2.0)
"""How long to wait, and wait again, for files that another writer may have half written: they look like edits."""
_UNDER_WAY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
}


class Moved(Exception):
    """The branch moved since the commit was computed."""


class Declined(Exception):
    """The commit is fine but the repository does not take it on this branch; says why and what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRepository:
    """A repository on this machine. `work_tree` is None for a bare one; `checked_out` for a detached HEAD.

    address: what Git fetches from and pushes to. prefix: where the given folder lies in the repository.
    """

    address: Path
    git_folder: Path
    common_folder: Path
    work_tree: Path | None
    prefix: str
    checked_out: str | None

    def fingerprint(self, branch: str) -> tuple[tuple[int, int, int], ...]:
        """Numbers that change whenever the branch or the ledger changes."""
        common = self.common_folder
        refs = ("refs/heads/" + branch, "packed-refs", "reftable/tables.list", "refs/notes/sternway")
        return tuple(_stat(common / ref) for ref in refs)

    def under_way(self) -> str | None:
        """Name the merge, rebase or the like that a person has begun here and not ended."""
        return next((what for name, what in _UNDER_WAY.items() if (self.git_folder / name).exists()), None)


async def inspect(git: Git, source: Source) -> LocalRepository:
    """Find out what kind of repository a folder is or lies in. Raises InvalidInput."""
    assert source.folder is not None, "only a folder can be inspected"
    folder = source.folder
    asked = await git.run(
        *("rev-parse", "--is-bare-repository", "--is-inside-git-dir", "--absolute-git-dir", "--git-common-dir"),
        folder=folder,
    )
    if asked.code != 0:
        raise _no_repository(source, asked.error)
    bare, inside, git_folder, common = asked.text.splitlines()
    top, prefix = None, ""
    if bare == "false":
        if inside == "true":
            raise wrong(source.text, "this is the inside of a repository", "give the folder that holds .git")
        where = await git.run("rev-parse", "--show-toplevel", "--show-prefix", folder=folder)
        lines = where.text.splitlines()
        top, prefix = Path(lines[0]), (lines[1] if len(lines) > 1 else "")
    head = await git.run("symbolic-ref", "-q", "HEAD", folder=folder)
    return LocalRepository(
        address=top or Path(git_folder),
        git_folder=Path(git_folder),
        common_folder=(folder / common).resolve(),
        work_tree=top,
        prefix=prefix.strip("/"),
        checked_out=head.text.removeprefix("refs/heads/") if head.code == 0 else None,
    )


async def work_tree_of(git: Git, repository: LocalRepository, branch: str) -> Path | None:
    """Find the work tree in which a branch is checked out now."""
    listed = await git.run("worktree", "list", "--porcelain", folder=repository.address)
    for block in listed.out.decode("utf-8", "surrogateescape").split("\n\n"):
        lines = block.splitlines()
        if f"branch refs/heads/{branch}" in lines and "bare" not in lines:
            return Path(lines[0].removeprefix("worktree "))
    return None


async def fast_forward(git: Git, work_tree: Path, *, branch: str, commit: str, onto: str) -> None:
    """Bring a commit into a work tree, keeping every edit in it. Raises Moved or Declined and changes nothing then.

    The mirror must hold the commit under its OUTGOING ref.
    """
    repository = await inspect(git, Source(text=str(work_tree), url=str(work_tree), folder=work_tree))
    busy = repository.under_way()
    if busy:
        hint = f"finish it; the commit {commit[:10]} follows by itself"
        raise HistoryUnavailable(f"{busy} is under way in {work_tree}", hint=hint, retry_in_s=5)
    if repository.checked_out != branch:
        raise Moved
    fetched = await git.run(
        *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", str(git.folder), OUTGOING + commit),
        folder=work_tree,
        config=_NO_GC,
    )
    if fetched.code != 0:
        raise HistoryUnavailable(f"{work_tree} could not be written: {fetched.last_line}", retry_in_s=5)
    for wait_s in (*_HALF_WRITTEN_S, 0.0):
        merged = await git.run(
            *("merge", "--ff-only", "--quiet", "--no-autostash", commit),
            folder=work_tree,
            config=_NO_GC,
            env={"GIT_REFLOG_ACTION": "sternway"},
        )
        await asyncio.sleep(wait_s if merged.code else 0)
        now = await git.run("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}", folder=work_tree)
        if now.text == commit:
            return
        if now.text != onto or "index.lock" in merged.error or merged.code == 0:
            raise Moved
    words = " ".join(merged.error.split())
    if "overwritten" in words:
        raise Declined(
            f"edits in {work_tree} that are not committed are in the way: {words}", "commit or stash them, then run"
        )
    raise Declined(f"the work tree {work_tree} does not take it: {words}", "mend that, then run")


def _stat(path: Path) -> tuple[int, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - half the cost of Path.stat, five times a second
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def _no_repository(source: Source, error: str) -> Exception:
    if "dubious ownership" in error:
        fix = f"git config --global --add safe.directory {source.folder}"
        return wrong(source.text, "the repository belongs to another user", fix)
    fix = f"run: cd {source.folder} && git init && git add . && git commit -m 'First state'"
    return wrong(source.text, "this folder is in no Git repository", fix)
