"""What the judge says: a judgement with its evidence, in numbers and in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """UNDECIDED: go on looking. SUSPECT: withdraw, reversible. HARMFUL: condemn, at the promised error rate.

    HEALTHY: no worse than the margin, with the same promise (the engine does not need it to take a fixed step).
    """

    UNDECIDED = "undecided"
    SUSPECT = "suspect"
    HARMFUL = "harmful"
    HEALTHY = "healthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One criterion's share of a judgement.

    e_value: the evidence against "the candidate is no worse", to one. needed: the e-value at which it condemns alone.
    exposure_e_value: the evidence of this exposure, which withdraws from suspects_at on.
    """

    name: str
    unit: str
    candidate_total: int
    candidate_bad: int
    stable_total: int
    stable_bad: int
    e_value: float
    needed: float
    exposure_e_value: float = 1.0
    suspects_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Otherwise:
    """What would change the judge's mind, each found by asking it again with other counts; None: no such number.

    fewer_bad: so many of the bad answers that decided, good instead. more_good: so many more good ones beside them.
    withdraws, condemns: so many bad answers in a row from now on.
    """

    sentence: str
    fewer_bad: int | None = None
    more_good: int | None = None
    withdraws: int | None = None
    condemns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The judge's word on the candidate now. `sentence` is for people; `criterion` is the one that decided.

    common_trouble: a sentence when stable breaches the absolute objective too: nobody's release is to blame.
    rounds: exposures finished and those of them in which the candidate was first (placebo evidence).
    excess_percent: how many points above a tolerated multiple of stable's error rate the candidate's is at most.
    otherwise: what would have changed a decision to withdraw or to condemn, when it was taken.
    hold: why the release stays where it is although nothing is proven against it; "" when it need not.
    """

    verdict: Verdict
    sentence: str
    criterion: str | None = None
    criteria: tuple[Criterion, ...] = ()
    rounds: tuple[int, int] = (0, 0)
    common_trouble: str | None = None
    excess_percent: float = 100.0
    otherwise: Otherwise | None = None
    hold: str = ""
