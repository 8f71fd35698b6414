"""What outlives Sternway: one small file per replica, written before the process starts. Used by replica, platform.

A record holds no secret value: a secret stands in a workload as its name and digest alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from sternway.domain.versions import Workload
from sternway.errors import PlatformUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One replica. `pid` None: it was about to start; the process, if there is one, bears the replica's name.

    stopping: it had left discovery and was on its way out.
    """

    replica: str
    service: str
    workload: Workload
    commit: str
    created_s: float
    port: int
    pid: int | None = None
    create_time: float | None = None
    started_s: float = 0.0
    restarts: int = 0
    stopping: bool = False
    schema: Literal[1] = 1


_codec = TypeAdapter(Record)


class Records:
    """The folder of records. Every write replaces a whole file, so a crash leaves the old one or the new one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, record: Record) -> None:
        """Store a record. Raises PlatformUnavailable when the disk refuses it."""
        path = self._folder / f"{record.replica}.json"
        draft = path.with_suffix(".new")
        try:
            draft.write_bytes(_codec.dump_json(record))
            draft.replace(path)
        except OSError as exc:
            raise PlatformUnavailable(
                f"the record of replica {record.replica} could not be written: {exc.strerror}",
                hint=f"make room on the disk of {self._folder}",
            ) from exc

    def remove(self, replica: str) -> None:
        """Forget a replica that is gone."""
        (self._folder / f"{replica}.json").unlink(missing_ok=True)

    def all(self) -> tuple[Record, ...]:
        """Every record, oldest first. Raises PlatformUnavailable when one cannot be read."""
        records = []
        for path in self._folder.glob("*.json"):
            try:
                record = _codec.validate_json(path.read_bytes())
            except (OSError, ValidationError) as exc:
                raise PlatformUnavailable(
                    f"the replica record {path} cannot be read",
                    hint="stop the process whose pid stands in it, if it runs, and remove the file",
                ) from exc
            records.append(record)
        return tuple(sorted(records, key=lambda record: (record.created_s, record.replica)))
