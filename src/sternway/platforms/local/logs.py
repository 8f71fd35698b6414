"""Log files of replicas: where they stand, how they stay bounded, how they are read. Used by platform and replica.

A process writes to its file itself (opened for appending), so it needs no Sternway to go on logging. That is why a
full file is copied and truncated rather than renamed; lines written between the two are lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from sternway.errors import Refused

LIMIT_BYTES = 10_000_000
KEPT_REPLICAS = 10
FOLLOW_S = 0.1
_BLOCK_BYTES = 65_536


class Logs:
    """`FOLDER/SERVICE/REPLICA.log`, and `.log.1` for what was rotated out."""

    def __init__(self, folder: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes

    def path(self, service: str, replica: str) -> Path:
        """Where a replica writes; the folder is made."""
        folder = self._folder / service
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{replica}.log"

    def replicas(self, service: str) -> tuple[str, ...]:
        """Every replica with a log, oldest output first."""
        paths = [(_changed_s(path), path.stem) for path in (self._folder / service).glob("*.log")]
        return tuple(name for _, name in sorted(paths))

    def rotate(self) -> None:
        """Cut every file that passed the limit. On a full disk the copy is given up, not the limit."""
        for path in self._folder.glob("*/*.log"):
            if _size(path) > self._limit_bytes:
                old = path.with_name(f"{path.name}.1")
                try:
                    shutil.copyfile(path, old)
                except OSError:
                    old.unlink(missing_ok=True)
                with path.open("r+b") as file:
                    file.truncate(0)

    def prune(self, service: str, living: set[str]) -> None:
        """Remove the logs of gone replicas except the last few."""
        gone = [name for name in self.replicas(service) if name not in living]
        for name in gone[:-KEPT_REPLICAS]:
            path = self.path(service, name)
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.1").unlink(missing_ok=True)

    def size(self, service: str, replica: str) -> int:
        """How many bytes the file holds now: `last_line` since here."""
        return _size(self.path(service, replica))

    def last_line(self, service: str, replica: str, since: int) -> str:
        """Find the last line that says something, written after `since`."""
        path = self.path(service, replica)
        end = _size(path)
        start = max(since if since <= end else 0, end - _BLOCK_BYTES)
        lines = [line.strip() for line in _text(path, start, end).splitlines() if line.strip()]
        return lines[-1] if lines else ""

    async def read(
        self, service: str, *, replica: str | None, lines: int, follow: bool
    ) -> AsyncIterator[tuple[str, str]]:
        """(replica, line): the last `lines` of each replica, then, if followed, what comes, of new replicas too."""
        names = self.replicas(service)
        if replica is not None and replica not in names:
            known = ", ".join(names) or "none"
            raise Refused(f"no log of a replica named {replica}", hint=f"logs of {service}: {known}")
        readers: dict[str, _Reader] = {}
        first = True
        while True:
            for name in (replica,) if replica else self.replicas(service):
                if name not in readers:
                    path = self.path(service, name)
                    end = _size(path) if first else 0
                    readers[name] = _Reader(path, end)
                    for line in await asyncio.to_thread(_tail, path, end, lines):
                        yield name, line
                for line in readers[name].more():
                    yield name, line
            first = False
            if not follow:
                return
            await asyncio.sleep(FOLLOW_S)


class _Reader:
    """What is appended to one file, by whole lines; a truncated file is read from its start again."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path = path
        self._offset = offset
        self._rest = b""

    def more(self) -> list[str]:
        size = _size(self._path)
        if size < self._offset:
            self._offset, self._rest = 0, b""
        if size == self._offset:
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = self._rest + file.read(size - self._offset)
        self._offset = size
        *lines, self._rest = data.split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def _tail(path: Path, end: int, lines: int) -> list[str]:
    """Read the last lines before byte `end`, reaching into the rotated file when the current one is too short."""
    found: list[str] = []
    old = path.with_name(f"{path.name}.1")
    for file, stop in ((path, end), (old, _size(old))):
        start = stop
        text = ""
        while start > 0 and text.count("\n") <= lines:
            start = max(0, start - _BLOCK_BYTES)
            text = _text(file, start, stop)
        found = [*text.splitlines(), *found]
        if len(found) >= lines:
            break
    return found[-lines:] if lines else []


def _text(path: Path, start: int, end: int) -> str:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(start)
        return file.read(end - start).decode(errors="replace")
    return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _changed_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
