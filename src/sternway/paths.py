"""Where Sternway keeps things on this machine. Used by `bootstrap`, the command line and the demo.

State (journal, logs, the Git mirror) stands in `.sternway/` beside the manifests, found by looking upwards as git
does. Sockets need short names, so they stand in a run folder of the user's.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sternway.errors import Refused

FOLDER = ".sternway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """The folders and files of one platform."""

    state: Path
    run: Path

    @classmethod
    def of(cls, folder: Path) -> Paths:
        """The paths of the platform whose manifests (or state) live in `folder`."""
        return cls.at(folder.expanduser().resolve() / FOLDER)

    @classmethod
    def at(cls, state: Path) -> Paths:
        """The paths of what keeps its state in this very folder."""
        digest = hashlib.sha256(str(state).encode()).hexdigest()[:10]
        return cls(state=state, run=_runtime_dir() / digest)

    @property
    def api_socket(self) -> Path:
        """Where the command line talks to the running platform."""
        return self.run / "api.sock"

    @property
    def database(self) -> Path:
        """The journal."""
        return self.state / "journal.db"

    @property
    def commit_in_force(self) -> Path:
        """Holds the id of the last commit that was valid."""
        return self.state / "commit"

    def make(self) -> None:
        """Create the folders; the state folder hides itself from Git. Raises Refused where nothing can be written."""
        try:
            self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            ignore = self.state / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
            self.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            message = f"{exc.filename or self.state} cannot be written: {exc.strerror or exc}"
            hint = f"see its permissions and the space left on its disk; --state keeps {FOLDER}/ in another folder"
            raise Refused(message, hint=hint) from exc


def find(start: Path) -> Paths | None:
    """The platform of `start` or of the nearest folder above it that has one; or what `sternway operator` keeps in `start`."""
    start = start.expanduser().resolve()
    operators = Paths.at(start)
    if operators.database.is_file() and not (start / FOLDER).is_dir():
        return operators
    for folder in (start, *start.parents):
        if (folder / FOLDER).is_dir():
            return Paths.of(folder)
    return None


def _runtime_dir() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and len(base) < 40 and os.access(base, os.W_OK):  # socket names have about 100 bytes
        return Path(base) / "sternway"
    return Path(tempfile.gettempdir() if len(tempfile.gettempdir()) < 40 else "/tmp") / f"sternway-{os.getuid()}"  # noqa: S108  short names; the folder is made 0700
