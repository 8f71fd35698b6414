"""The bare mirror of the watched repository in Sternway's own folder: everything is read and built here.

Used by `git.GitHistory`, `revert` and `notes`. Commits are made by plumbing on a private index, without a work
tree. A head that a forced push has thrown away stays alive under refs/sternway/keep/.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sternway.errors import HistoryUnavailable, InvalidInput, Problem, Refused
from sternway.history.command import NETWORK_TIMEOUT_S, Git
from sternway.history.source import Source
from sternway.ports import Snapshot

NOTES = "refs/notes/sternway"
OUTGOING = "refs/sternway/outgoing/"
_INCOMING = "refs/sternway/incoming"
_KEEP = "refs/sternway/keep/"
_FIRST_FETCH_TIMEOUT_S = 900.0
_LOCK_TIMEOUT_S = 60.0
_STALE_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A file at a commit. Bytes that are no UTF-8 survive reading and writing."""

    mode: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """The watched branch was rewritten: `old` is no ancestor of `new`. Both can still be read."""

    old: str
    new: str


class Mirror:
    """A bare repository that follows one branch of a source. `latest`: the head that was seen last."""

    def __init__(self, folder: Path, source: Source) -> None:
        self.folder = folder
        self.source = source
        self.address = source.url
        self.branch = ""
        self.latest: str | None = None
        self.git = Git(folder, source)
        self.rewrites: tuple[Rewrite, ...] = ()
        self._lock = asyncio.Lock()

    async def create(self, *, object_format: str) -> None:
        """Make the mirror unless it is there; one that is damaged is put aside and made anew."""
        async with self.locked():
            if (self.folder / "HEAD").exists():
                if await self._sound():
                    return
                aside = self.folder.with_suffix(".damaged")
                self.folder.rename(
                    aside if not aside.exists() else Path(tempfile.mkdtemp(dir=self.folder.parent)) / "it"
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            await self.git.ok("init", "--quiet", "--bare", f"--object-format={object_format}", ".")

    async def fetch(self) -> str:
        """Follow the source and return the head. Raises HistoryUnavailable."""
        old = await self.resolve(f"refs/heads/{self.branch}")
        fetched = await self.git.run(
            *("fetch", "--quiet", "--no-tags", "--no-prune", "--no-write-fetch-head", "--update-shallow", self.address),
            *(f"+refs/heads/{self.branch}:{_INCOMING}", f"+{NOTES}*:{NOTES}*"),
            timeout_s=NETWORK_TIMEOUT_S if old else _FIRST_FETCH_TIMEOUT_S,
        )
        if fetched.code != 0:
            self.clear_stale_locks(fetched.error)
            raise unreachable(self.source, fetched.error, fetched.last_line)
        new = await self.resolve(_INCOMING)
        assert new is not None, "the fetch has just written it"
        if old and old != new and not await self.is_ancestor(old, new):
            await self.git.ok("update-ref", _KEEP + old, old)
            self.rewrites = (*self.rewrites[-99:], Rewrite(old=old, new=new))
        await self.follow(new)
        return new

    async def follow(self, commit: str) -> None:
        """Take a commit as the head of the watched branch."""
        await self.git.ok("update-ref", f"refs/heads/{self.branch}", commit)
        self.latest = commit

    async def head(self) -> str | None:
        """Read the head that was seen last, also by an earlier run."""
        return await self.resolve(f"refs/heads/{self.branch}")

    async def resolve(self, name: str) -> str | None:
        """Find the commit behind a name, or None."""
        found = await self.git.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        return found.text if found.code == 0 else None

    async def is_ancestor(self, old: str, new: str) -> bool:
        """Whether `new` was built on `old`."""
        return (await self.git.run("merge-base", "--is-ancestor", old, new)).code == 0

    async def commit_id(self, name: str) -> str:
        """Find the full id of a commit; the source is asked when the mirror does not hold it. Raises Refused."""
        if not (7 <= len(name) <= 64 and all(letter in "0123456789abcdef" for letter in name)):
            raise Refused(f"{name!r} is no commit id", hint="sternway history shows the ids")
        found = await self.resolve(name)
        if found is None:
            await self.git.run(
                "fetch", "--quiet", "--no-tags", self.address, f"{name}:{_KEEP}{name}", timeout_s=NETWORK_TIMEOUT_S
            )
            found = await self.resolve(name)
        if found is None:
            raise Refused(f"the commit {name} is not in {self.source}", hint="it was thrown away by a forced push")
        return found

    async def snapshot(self, commit: str, root: str) -> Snapshot:
        """Every YAML file below `root` at a commit. Raises InvalidInput for a file that is no UTF-8."""
        prefix = f"{root}/" if root else ""
        listed = await self.git.ok("ls-tree", "-r", "-z", commit, *(("--", prefix) if prefix else ()))
        files: dict[str, str] = {}
        for line in listed.out.decode("utf-8", "surrogateescape").split("\0")[:-1]:
            meta, _, path = line.partition("\t")
            mode, _, blob = meta.split(" ")
            if mode.startswith("100") and path.endswith((".yaml", ".yml")):
                files[path.removeprefix(prefix)] = blob
        texts = await self.blobs(list(files.values()))
        about = (await self.git.ok("log", "-1", "--format=%ct%x00%an%x00%s", commit)).text.split("\0")
        return Snapshot(
            commit=commit,
            files=tuple((path, _decoded(path, content)) for path, content in zip(files, texts, strict=True)),
            subject=about[2],
            author=about[1],
            at_s=float(about[0]),
        )

    async def file(self, commit: str, path: str) -> Blob | None:
        """One file at a commit; None when there is none. Raises Refused for a link or a submodule."""
        listed = await self.git.ok("ls-tree", "-z", commit, "--", path)
        for line in listed.out.decode("utf-8", "surrogateescape").split("\0")[:-1]:
            meta, _, found = line.partition("\t")
            mode, _, blob = meta.split(" ")
            if found == path:
                if not mode.startswith("100"):
                    raise Refused(f"{path} is no ordinary file at {commit[:10]}", hint="change it by hand")
                return Blob(mode=mode, text=(await self.blobs([blob]))[0].decode("utf-8", "surrogateescape"))
        return None

    async def tree(self, base: str, changes: Mapping[str, Blob | None]) -> str:
        """Make the tree of `base` with some files changed (None: removed). Nothing else can differ."""
        with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
            env = {"GIT_INDEX_FILE": str(Path(temporary) / "index")}
            await self.git.ok("read-tree", base, env=env)
            lines = []
            for path, blob in changes.items():
                if blob is None:
                    lines.append(f"0 {'0' * len(base)}\t{path}")
                    continue
                content = blob.text.encode("utf-8", "surrogateescape")
                written = await self.git.ok("hash-object", "-w", "--stdin", stdin=content)
                lines.append(f"{blob.mode} {written.text}\t{path}")
            index = "".join(f"{line}\0" for line in lines).encode("utf-8", "surrogateescape")
            await self.git.ok("update-index", "-z", "--index-info", stdin=index, env=env)
            return (await self.git.ok("write-tree", env=env)).text

    async def merge(self, *, ours: str, base: str, theirs: str) -> str | None:
        """Merge two texts that were made from one; None when they clash."""
        with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
            paths = []
            for name, text in (("ours", ours), ("base", base), ("theirs", theirs)):
                path = Path(temporary) / name
                path.write_bytes(text.encode("utf-8", "surrogateescape"))
                paths.append(str(path))
            merged = await self.git.run("merge-file", "-p", *paths)
        return merged.out.decode("utf-8", "surrogateescape") if merged.code == 0 else None

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Keep other tasks and other processes out while the mirror is written."""
        async with self._lock:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                await _acquire(handle, self.folder)
                yield
            finally:
                os.close(handle)

    def clear_stale_locks(self, error: str) -> None:
        """Remove what a power loss left: lock files in the mirror (never elsewhere) that no command can hold still."""
        if ".lock'" not in error:
            return
        for path in self.folder.rglob("*.lock"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_S:
                    path.unlink()

    async def _sound(self) -> bool:
        refs = await self.git.run("for-each-ref", "--format=%(objectname) %(tree)", "refs/heads", _KEEP)
        return refs.code == 0

    async def blobs(self, ids: Sequence[str]) -> list[bytes]:
        """Read the contents of blobs, in order."""
        if not ids:
            return []
        out = (await self.git.ok("cat-file", "--batch", stdin="\n".join(ids).encode() + b"\n")).out
        contents = []
        at = 0
        for _ in ids:
            start = out.index(b"\n", at) + 1
            size = int(out[at:start].rsplit(b" ", 1)[1])
            contents.append(out[start : start + size])
            at = start + size + 1
        return contents


def unreachable(source: Source, error: str, line: str) -> HistoryUnavailable:
    """Say what a failed fetch or push means for a person."""
    hint = "check the network and the address"
    if any(words in error for words in ("Authentication failed", "could not read", "Permission denied")):
        hint = f"Git has no valid credentials for it: check with git ls-remote {source}"
    elif "find remote ref" in error:
        hint = "the watched branch is gone: put it back, or watch another one"
    return HistoryUnavailable(f"the Git repository {source} did not answer: {line}", hint=hint, retry_in_s=5)


async def _acquire(handle: int, folder: Path) -> None:
    for _ in range(int(_LOCK_TIMEOUT_S / 0.02)):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        await asyncio.sleep(0.02)
    raise HistoryUnavailable(f"another process holds {folder}", hint="wait for it, or stop it", retry_in_s=5)


def _decoded(path: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        problem = Problem(file=path, line=line, message="this is not UTF-8", fix="save the file as UTF-8")
        raise InvalidInput((problem,)) from exc
