"""The ledger in Git notes: JSON lines under refs/notes/sternway, on the commit that each mark is about.

Used by `git.GitHistory`. New marks are written on top of the source's notes and pushed without force; when
somebody was faster they are written again on top of theirs. The lines may be merged with `cat_sort_uniq`.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields

from sternway.domain.releases import Mark
from sternway.history.commits import AUTHOR
from sternway.history.mirror import NOTES, Mirror
from sternway.history.publish import push

_AS_SOMEBODY = {
    "GIT_AUTHOR_NAME": AUTHOR[0],
    "GIT_AUTHOR_EMAIL": AUTHOR[1],
    "GIT_COMMITTER_NAME": AUTHOR[0],
    "GIT_COMMITTER_EMAIL": AUTHOR[1],
}


async def write(mirror: Mirror, marks: Sequence[Mark], *, head: str) -> None:
    """Add marks to the source's ledger; those that are there already change nothing. Raises Moved or Declined.

    A mark whose commit is no longer known is put on `head`: the line itself says what it is about.
    """
    known = {_identity(mark) for mark in await read(mirror)}
    fresh: dict[str, list[str]] = defaultdict(list)
    for mark in marks:
        if _identity(mark) not in known:
            known.add(_identity(mark))
            fresh[await mirror.resolve(mark.commit) or head].append(_line(mark))
    if not fresh:
        return
    draft = f"{NOTES}-draft-{os.getpid()}"
    start = await mirror.git.run("rev-parse", "--verify", "--quiet", NOTES)
    try:
        if start.code == 0:
            await mirror.git.ok("update-ref", draft, start.text)
        for commit, lines in fresh.items():
            before = await mirror.git.run("notes", f"--ref={draft}", "show", commit)
            text = "".join(f"{line}\n" for line in [*before.text.splitlines(), *lines] if line)
            await mirror.git.ok(
                *("notes", f"--ref={draft}", "add", "--force", "--file=-", commit),
                stdin=text.encode(),
                env=_AS_SOMEBODY,
            )
        made = (await mirror.git.ok("rev-parse", draft)).text
        await push(mirror, made, NOTES)
        await mirror.git.ok("update-ref", NOTES, made)
    finally:
        await mirror.git.run("update-ref", "-d", draft)


async def read(mirror: Mirror) -> tuple[Mark, ...]:
    """Read every mark that the mirror holds, oldest first. Lines that are no marks are somebody else's."""
    listed = await mirror.git.run("notes", f"--ref={NOTES}", "list")
    blobs = [line.split(" ")[0] for line in listed.text.splitlines()]
    lines = (line for content in await mirror.blobs(blobs) for line in content.decode("utf-8", "replace").splitlines())
    return tuple(sorted(_marks(lines), key=lambda mark: (mark.at_s, mark.release, mark.verdict)))


def _marks(lines: Iterable[str]) -> Iterable[Mark]:
    names = {field.name for field in fields(Mark)}
    found: dict[tuple[str, ...], Mark] = {}
    for line in lines:
        try:
            values = json.loads(line)
            mark = Mark(**{name: values[name] for name in names})
        except (ValueError, KeyError, TypeError):
            continue
        found.setdefault(_identity(mark), mark)
    return found.values()


def _line(mark: Mark) -> str:
    return json.dumps(asdict(mark), sort_keys=True, ensure_ascii=False)


def _identity(mark: Mark) -> tuple[str, ...]:
    return (mark.service, mark.version, mark.commit, mark.verdict, mark.release)
