"""Make commits: whose name they carry, whether they are signed, how their messages end. Used by `git.GitHistory`.

A commit by Sternway itself has the author `AUTHOR`; the committer is the identity that the user's Git knows,
because a signature belongs to it, or else `AUTHOR` too.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sternway.errors import HistoryUnavailable
from sternway.history.command import GitFailed
from sternway.history.local import LocalRepository
from sternway.history.mirror import Mirror

AUTHOR = ("Sternway", "sternway@localhost")
RELEASE_TRAILER = "Sternway-Release"
_ASKED = r"^(user\.name|user\.email|commit\.gpgsign)$"
_OWN_SETTINGS = r"^(user|author|committer|gpg|commit)\."


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the user's Git says of commits. config: settings of a local repository that the mirror lacks."""

    committer: tuple[str, str]
    sign: bool
    config: dict[str, str] = field(default_factory=dict)


async def identity(mirror: Mirror, local: LocalRepository | None) -> Identity:
    """Ask the user's Git who commits and whether commits are signed."""
    config: dict[str, str] = {}
    if local:
        options = ("--local", "--includes", "-z", "--get-regexp", _OWN_SETTINGS)
        config = _settings((await mirror.git.run("config", *options, folder=local.address)).out)
    found = _settings((await mirror.git.run("config", "-z", "--get-regexp", _ASKED, config=config)).out)
    name, email = found.get("user.name"), found.get("user.email")
    sign = "commit.gpgsign" in found and (
        (await mirror.git.run("config", "--type=bool", "commit.gpgSign", config=config)).text == "true"
    )
    return Identity(committer=(name, email) if name and email else AUTHOR, sign=sign, config=config)


def _settings(out: bytes) -> dict[str, str]:
    """Read what `git config -z` lists; a key without a value means true, a later value replaces an earlier one."""
    entries = [entry.partition("\n") for entry in out.decode("utf-8", "replace").split("\0")[:-1]]
    return {key: value if between else "true" for key, between, value in entries}


async def commit_tree(
    mirror: Mirror, who: Identity, *, tree: str, parent: str, message: str, author: tuple[str, str], at_s: float
) -> str:
    """Make a commit without moving any branch. Raises HistoryUnavailable when it cannot be signed."""
    date = f"@{int(at_s)} {time.strftime('%z', time.localtime(at_s))}"
    env = {
        "GIT_AUTHOR_NAME": author[0],
        "GIT_AUTHOR_EMAIL": author[1],
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_NAME": who.committer[0],
        "GIT_COMMITTER_EMAIL": who.committer[1],
        "GIT_COMMITTER_DATE": date,
    }
    sign = ["-S"] if who.sign else []
    try:
        made = await mirror.git.ok(
            *("commit-tree", *sign, "-p", parent, "-F", "-", tree), stdin=message.encode(), env=env, config=who.config
        )
    except GitFailed as exc:
        if not who.sign:
            raise
        hint = "unlock the signing key (ssh-add, or the gpg agent); it is tried again by itself"
        raise HistoryUnavailable(f"the commit could not be signed: {exc}", hint=hint, retry_in_s=30) from exc
    return made.text


def message(subject: str, body: str, trailers: Sequence[tuple[str, str]]) -> str:
    """Write a commit message: subject, body, trailers, with empty lines between them."""
    last = "\n".join(f"{key}: {' '.join(value.split())}" for key, value in trailers)
    parts = (" ".join(subject.split()), body.strip(), last)
    return "\n\n".join(part for part in parts if part).replace("\0", "") + "\n"


def parse_author(text: str) -> tuple[str, str]:
    """Read `Name <address>`; without an address the name gets one on this machine."""
    found = re.fullmatch(r"\s*([^<>]*?)\s*<([^<>]*)>\s*", text)
    name, email = found.groups() if found else (re.sub(r"[<>\n]", "", text).strip(), "")
    name = name or email or AUTHOR[0]
    return name, email or re.sub(r"[^a-z0-9]+", ".", name.lower()).strip(".") + "@localhost"
