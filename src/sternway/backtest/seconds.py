"""What the recording holds of one second of a release. Made by `release`, read by the rules of `peers`."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

TICK_S = 1.0


@dataclass(slots=True)
class Side:
    """One version's answers. `durations_ms` stays empty where the recording holds tallies."""

    total: int = 0
    bad: int = 0
    durations_ms: array[float] = field(default_factory=lambda: array("d"))


@dataclass(slots=True)
class Second:
    """A second as it was recorded: a withdrawal of ours takes nothing away for the other rules.

    timed: the recording tells durations.
    """

    start_s: float
    timed: bool
    stable: Side = field(default_factory=Side)
    candidate: Side = field(default_factory=Side)

    @property
    def end_s(self) -> float:
        """When it is over."""
        return self.start_s + TICK_S


@dataclass(slots=True)
class Harm:
    """Bad answers of the candidate beyond stable's own rate, over the seconds that were added.

    stable_before: stable's answers before the candidate gave its first, the yardstick when there are no others.
    """

    requests: int = 0
    bad: int = 0
    stable_total: int = 0
    stable_bad: int = 0
    before_total: int = 0
    before_bad: int = 0

    def add(self, second: Second, *, exposed: bool = True) -> None:
        """Count a second; `exposed` False: the candidate's traffic had been taken away."""
        if exposed:
            self.requests += second.candidate.total
            self.bad += second.candidate.bad
        self.stable_total += second.stable.total
        self.stable_bad += second.stable.bad

    @property
    def hurt(self) -> float:
        """Users hurt."""
        total, bad = self.stable_total, self.stable_bad
        if not total:
            total, bad = self.before_total, self.before_bad
        usual = self.requests * bad / total if total else 0.0
        return round(max(0.0, self.bad - usual), 2)
