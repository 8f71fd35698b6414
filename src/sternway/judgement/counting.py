"""Readings to counts: what the judge takes from the tallies of a reading. Called by `fold`.

Tallies of other versions and of criteria that nobody asked for are left out; tallies of the same kind add up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sternway.domain.evidence import Counts, Evidence
from sternway.domain.tallies import Reading, Unit

NOTHING = Counts()


@dataclass(slots=True, kw_only=True)
class Counted:
    """A reading's sums. `start_s`: when its earliest interval began. Lives for one fold only."""

    start_s: float
    candidate_answered: bool = False
    by: dict[tuple[str, str], Counts] = field(default_factory=dict)
    arms: dict[int, tuple[int, int]] = field(default_factory=dict)

    def of(self, name: str, unit: str = Unit.REQUEST.value) -> Counts:
        """Return the counts of one criterion in one unit."""
        return self.by.get((name, unit), NOTHING)


def count(evidence: Evidence, reading: Reading, *, now_s: float) -> Counted:
    """Sum up a reading."""
    counted = Counted(start_s=now_s)
    sums: dict[tuple[str, str], list[int]] = {}
    for tally in reading.tallies:
        if tally.version == evidence.candidate and tally.arm is None:
            at = 0
        elif tally.version == evidence.stable:
            at = 2
        else:
            continue
        counted.start_s = min(counted.start_s, tally.start_s)
        if tally.arm is not None:
            if tally.criterion == "errors" and tally.unit is Unit.REQUEST:
                total, bad = counted.arms.get(tally.arm, (0, 0))
                counted.arms[tally.arm] = (total + tally.total, bad + tally.bad)
            continue
        numbers = sums.setdefault((tally.criterion, tally.unit.value), [0, 0, 0, 0])
        numbers[at] += tally.total
        numbers[at + 1] += tally.bad
        if at == 0 and tally.total:
            counted.candidate_answered = True
    for key, (total, bad, stable_total, stable_bad) in sums.items():
        counted.by[key] = Counts(
            candidate_total=total, candidate_bad=bad, stable_total=stable_total, stable_bad=stable_bad
        )
    # A reading begins where the last one ended, whatever its tallies say; a clock that jumps counts as no time.
    if evidence.now_s <= now_s:
        counted.start_s = max(counted.start_s, evidence.now_s)
    return counted
