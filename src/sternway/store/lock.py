"""One Sternway to a state directory. Held by `sternway.bootstrap` from start to end."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from sternway.errors import Refused, StoreUnavailable


class StateLock:
    """An exclusive lock that dies with its holder: a killed Sternway leaves nothing to clean up."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "sternway.lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock. Refused when another process holds it; the error names that process."""
        if self._descriptor is not None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StoreUnavailable(
                f"the state directory {self._path.parent} cannot be used: {exc.strerror}",
                hint="See its permissions and the space left on its disk.",
            ) from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise Refused(
                f"another Sternway (process {holder}) already works in {self._path.parent}",
                hint=f"Stop it (kill {holder}), or give this one another state directory.",
            ) from exc
        with contextlib.suppress(OSError):  # on a full disk the lock still holds, only nameless
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the next one in. The file stays: removing it would let two of them in."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
