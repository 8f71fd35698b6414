"""Recomputes a release from the journal and compares, bit for bit. Used by `sternway replay`; needs no platform."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from sternway.domain.releases import Decision, Progress
from sternway.engine.step import Step, step
from sternway.errors import Refused
from sternway.ports import ROLLED_UP, Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A decision that came out differently. `fields`: the names of what differs."""

    seq: int
    at_s: float
    fields: tuple[str, ...]
    recorded: str
    recomputed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay found. passes: how many were recomputed. gaps: places where passes are missing in the journal."""

    release: str
    passes: int
    mismatches: tuple[Mismatch, ...]
    gaps: int = 0

    @property
    def matches(self) -> bool:
        """Every judgement and decision came out as recorded."""
        return not self.mismatches


def replay(release: str, entries: Sequence[Entry]) -> Replayed:
    """Fold the recorded observations again. Raises Refused when the journal does not hold the whole release."""
    if all(entry.before is None for entry in entries) or rolled_up(entries):
        raise Refused(
            f"the journal does not hold the whole of {release}",
            hint="old releases are rolled up: their decisions and final evidence stay, their single observations do not",
        )
    count, gaps, mismatches = 0, 0, []
    for entry, again in passes(entries):
        gaps += count > 0 and entry.before is not None  # passes before it could not be recorded
        count += 1
        if entry.decision is not None and again.decision != entry.decision:
            mismatches.append(_mismatch(entry, entry.decision, again.decision))
    return Replayed(release=release, passes=count, mismatches=tuple(mismatches), gaps=gaps)


def rolled_up(entries: Sequence[Entry]) -> bool:
    """Whether single passes of the release are gone, so that it cannot be recomputed."""
    return any(entry.kind == "note" and entry.text.startswith(ROLLED_UP) for entry in entries)


def passes(entries: Sequence[Entry]) -> Iterator[tuple[Entry, Step]]:
    """Recompute every pass from the first line of the release on; none where the journal does not hold it."""
    progress: Progress | None = None
    for entry in entries:
        progress = entry.before or progress
        if progress is None or entry.kind != "pass" or entry.observation is None or entry.decision is None:
            continue
        again = step(progress, entry.observation)
        progress = again.progress
        yield entry, again


def _mismatch(entry: Entry, recorded: Decision, recomputed: Decision) -> Mismatch:
    names = tuple(f.name for f in fields(Decision) if getattr(recorded, f.name) != getattr(recomputed, f.name))
    return Mismatch(
        seq=entry.seq,
        at_s=entry.at_s,
        fields=names,
        recorded=recorded.reason,
        recomputed=recomputed.reason,
    )
