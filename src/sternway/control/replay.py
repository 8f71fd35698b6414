"""Recomputes a release from the journal and compares, bit for bit. Used by `sternway replay`; needs no platform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from sternway.domain.releases import Decision
from sternway.engine.step import step
from sternway.errors import Refused
from sternway.ports import Entry


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
    """What a replay found. `passes`: how many were recomputed."""

    release: str
    passes: int
    mismatches: tuple[Mismatch, ...]

    @property
    def matches(self) -> bool:
        """Every judgement and decision came out as recorded."""
        return not self.mismatches


def replay(release: str, entries: Sequence[Entry]) -> Replayed:
    """Fold the recorded observations again. Raises Refused when the journal does not hold the whole release."""
    begin = next((entry for entry in entries if entry.before is not None), None)
    if begin is None or begin.before is None:
        raise Refused(
            f"the journal does not hold the whole of {release}",
            hint="old releases are rolled up: their decisions and final evidence stay, their single observations do not",
        )
    progress = begin.before
    passes, mismatches = 0, []
    for entry in entries:
        if entry.kind != "pass" or entry.seq < begin.seq or entry.observation is None or entry.decision is None:
            continue
        again = step(progress, entry.observation)
        progress = again.progress
        passes += 1
        if again.decision != entry.decision:
            mismatches.append(_mismatch(entry, entry.decision, again.decision))
    return Replayed(release=release, passes=passes, mismatches=tuple(mismatches))


def _mismatch(entry: Entry, recorded: Decision, recomputed: Decision) -> Mismatch:
    names = tuple(f.name for f in fields(Decision) if getattr(recorded, f.name) != getattr(recomputed, f.name))
    return Mismatch(
        seq=entry.seq,
        at_s=entry.at_s,
        fields=names,
        recorded=recorded.reason,
        recomputed=recomputed.reason,
    )
