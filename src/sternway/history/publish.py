"""Bring a commit to the source: a push that is never forced, or a fast-forward of a work tree on this machine.

Used by `git.GitHistory`. `with_retries` computes again on the new head when the branch moved meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from sternway.errors import HistoryUnavailable
from sternway.history.command import NETWORK_TIMEOUT_S, Output
from sternway.history.local import Declined, LocalRepository, Moved, fast_forward, work_tree_of
from sternway.history.mirror import OUTGOING, Mirror, unreachable

ATTEMPTS = 12
_FIRST_WAIT_S = 0.02
_LONGEST_WAIT_S = 2.0
# A ref that somebody else was writing at the same moment: git's words for it differ between versions and servers.
_RACE = re.compile(
    r"lock|incorrect old value|failed to update ref|already exists|stale|checked out|atomic", re.IGNORECASE
)

T = TypeVar("T")


async def with_retries(what: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """Try until the branch stands still for one attempt; bounded, with growing random waits."""
    for number in range(ATTEMPTS):
        try:
            return await attempt()
        except Moved:
            longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**number)
            await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - spreads writers, guards no secret
    message = f"{what}: the branch moved {ATTEMPTS} times while the commit was made"
    raise HistoryUnavailable(message, hint="it is tried again by itself", retry_in_s=5)


async def publish(mirror: Mirror, local: LocalRepository | None, *, commit: str, onto: str) -> None:
    """Make `commit` the head of the watched branch, whose head was `onto`. Raises Moved or Declined."""
    async with _outgoing(mirror, commit):
        work_tree = await work_tree_of(mirror.git, local, mirror.branch) if local else None
        if local and work_tree:
            await fast_forward(mirror.git, work_tree, branch=mirror.branch, commit=commit, onto=onto)
        else:
            _refuse_while_rebasing(local, mirror.branch)
            await push(mirror, commit, f"refs/heads/{mirror.branch}")
    await mirror.follow(commit)


async def push(mirror: Mirror, commit: str, ref: str) -> None:
    """Push, never forced. Raises Moved, Declined or HistoryUnavailable."""
    pushed = await mirror.git.run(
        *("push", "--porcelain", "--no-follow-tags", mirror.address, f"{commit}:{ref}"), timeout_s=NETWORK_TIMEOUT_S
    )
    if pushed.code == 0:
        return
    line = next((line for line in pushed.text.splitlines() if line.startswith("!")), None)
    if line is None:
        raise unreachable(mirror.source, pushed.error, pushed.last_line)
    verdict = line.rsplit("\t", 1)[-1]
    if verdict.startswith("[rejected]") or _RACE.search(verdict):
        raise Moved
    raise Declined(
        f"the server declined it: {_server_words(pushed, verdict)}", "allow the push or open a pull request, or run"
    )


@contextlib.asynccontextmanager
async def _outgoing(mirror: Mirror, commit: str) -> AsyncIterator[None]:
    """Keep the commit reachable by a name while it is on its way."""
    await mirror.git.ok("update-ref", OUTGOING + commit, commit)
    try:
        yield
    finally:
        await mirror.git.run("update-ref", "-d", OUTGOING + commit)


def _refuse_while_rebasing(local: LocalRepository | None, branch: str) -> None:
    """Wait for a rebase: its branch is checked out nowhere, but moving it would break the rebase's end."""
    if local is None:
        return
    for folder in ("rebase-merge", "rebase-apply"):
        with contextlib.suppress(OSError):
            if (local.git_folder / folder / "head-name").read_text().strip() == f"refs/heads/{branch}":
                message = f"{branch} is being rebased in {local.work_tree or Path(local.git_folder)}"
                raise HistoryUnavailable(message, hint="finish the rebase; the commit follows by itself", retry_in_s=5)


def _server_words(pushed: Output, verdict: str) -> str:
    said = [line.removeprefix("remote:").strip() for line in pushed.error.splitlines() if line.startswith("remote:")]
    return " ".join([verdict, *filter(None, said)])
