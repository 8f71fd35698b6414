"""What a peer's rule is, and how it is run over a recording second by second. Used by `release` and each rule."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sternway.backtest.seconds import Harm, Second


class Said(StrEnum):
    """HARMFUL: taken back. HEALTHY: it would have gone on. UNDECIDED: the recording ended before that could be said."""

    HARMFUL = "harmful"
    HEALTHY = "healthy"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled:
    """What a rule said of a release. hurt: bad answers beyond stable's rate until it was taken back."""

    verdict: Said
    decided_s: float | None
    hurt: float
    reason: str


class Rule(Protocol):
    """One peer's rule over one release. `decided_s`: when it took the release back."""

    decided_s: float | None
    reason: str

    def begin(self, start_s: float) -> None:
        """Traffic began to reach the candidate."""
        ...

    def add(self, second: Second) -> None:
        """Take a second's data in."""
        ...

    def advance(self, now_s: float) -> None:
        """Make every check that is due by now, on the data so far."""
        ...

    def ended(self) -> Said:
        """Say what holds when the recording ends without a rollback."""
        ...


class Watched:
    """Runs a rule, and counts what the release costs until the rule takes it back."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._harm = Harm()
        self._begun = False

    @property
    def over(self) -> bool:
        """The rule has taken the release back."""
        return self._rule.decided_s is not None

    def fold(self, second: Second) -> None:
        """Go on by a second; checks that were due in a gap before it come first."""
        if not self._begun:
            if not second.candidate.total:
                self._harm.before_total += second.stable.total
                self._harm.before_bad += second.stable.bad
                return
            self._begun = True
            self._rule.begin(second.start_s)
        self._rule.advance(second.start_s)
        if self.over:
            return
        self._harm.add(second)
        self._rule.add(second)
        self._rule.advance(second.end_s)

    def said(self) -> Ruled:
        """Say how it ended."""
        rule = self._rule
        if rule.decided_s is not None:
            verdict, reason = Said.HARMFUL, rule.reason
        elif self._begun:
            verdict, reason = rule.ended(), rule.reason
        else:
            verdict, reason = Said.UNDECIDED, "the candidate answered nothing"
        return Ruled(verdict=verdict, decided_s=rule.decided_s, hurt=self._harm.hurt, reason=reason)
