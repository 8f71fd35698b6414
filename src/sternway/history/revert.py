"""Compute what a revert changes, and find the one that is there already. Used by `git.GitHistory.revert`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from sternway.domain.releases import Revert
from sternway.errors import Refused
from sternway.history.commits import RELEASE_TRAILER, message
from sternway.history.mirror import Blob, Mirror
from sternway.history.restore import Clash, Name, restore_onto_head, restored
from sternway.history.source import manifests_folder

Changes = dict[str, Blob | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What a revert changes. bad: the commit that is taken back, and everything since `good`.

    clash: a file that does not fit the head any more; the changes are onto `bad` then. trailers: more for the message.
    """

    bad: str
    good: str
    changes: Changes
    clash: str = ""
    trailers: tuple[tuple[str, str], ...] = ()


Choose = Callable[[Mirror, str], Awaitable[Chosen]]
"""(mirror, head of the branch) -> what a revert changes there. Raises Refused."""


async def changes_onto(mirror: Mirror, revert: Revert, *, head: str, root: str) -> Changes:
    """Find the files that the revert changes at `head`. Raises Clash when somebody changed the same lines since."""
    changes: Changes = {}
    for path, names in _by_path(revert, root):
        now, bad, good = [await mirror.file(commit, path) for commit in (head, revert.bad, revert.restore)]
        try:
            text = await restore_onto_head(_text(now), _text(bad), _text(good), names, mirror.merge)
        except Clash as exc:
            raise Clash(path) from exc
        if text != _text(now):
            changes[path] = None if text is None else Blob(mode=_mode(now, good, bad), text=text)
    return changes


async def changes_onto_bad(mirror: Mirror, revert: Revert, *, root: str) -> Changes:
    """Find the files that the revert changes at the bad commit itself: this never clashes."""
    changes: Changes = {}
    for path, names in _by_path(revert, root):
        bad, good = [await mirror.file(commit, path) for commit in (revert.bad, revert.restore)]
        text = restored(_text(bad), _text(good), names)
        if text != _text(bad):
            changes[path] = None if text is None else Blob(mode=_mode(bad, good), text=text)
    return changes


async def commit_of_release(mirror: Mirror, release: str, *, head: str, after: str | None = None) -> str | None:
    """Find the commit that reverted a release: between `after` and `head`, or `head` alone."""
    commits = ("--no-walk", head) if after is None else (head, f"^{after}")
    listed = await mirror.git.ok(
        *("log", "--fixed-strings", f"--grep={RELEASE_TRAILER}: {release}"),
        *(f"--format=%H%x00%(trailers:key={RELEASE_TRAILER},valueonly,separator=%x01)%x00", *commits),
    )
    for line in listed.text.splitlines():
        commit, _, trailers = line.partition("\0")
        if release in trailers.rstrip("\0").split("\x01"):
            return commit
    return None


def revert_message(revert: Revert) -> str:
    """Write the message of the revert; the trailer that makes it idempotent is always there."""
    trailers = revert.trailers
    if (RELEASE_TRAILER, revert.release) not in trailers:
        trailers = ((RELEASE_TRAILER, revert.release), *trailers)
    return message(revert.subject, revert.body, trailers)


def branch_name(release: str, number: int) -> str:
    """Name the branch for a revert that does not fit on the watched one."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", release).strip("-") or "release"
    return f"sternway/rollback-{name}" + (f"-{number}" if number > 1 else "")


def _by_path(revert: Revert, root: str) -> Iterable[tuple[str, frozenset[Name]]]:
    names: dict[str, set[Name]] = defaultdict(set)
    for path, kind, name in revert.documents:
        inside = manifests_folder(path)
        if not inside:
            raise Refused(f"{path!r} is no file of the repository", hint="restore the manifests by hand")
        names[f"{root}/{inside}" if root else inside].add((kind, name))
    return [(path, frozenset(found)) for path, found in sorted(names.items())]


def _text(blob: Blob | None) -> str | None:
    return blob.text if blob else None


def _mode(*blobs: Blob | None) -> str:
    return next((blob.mode for blob in blobs if blob), "100644")
