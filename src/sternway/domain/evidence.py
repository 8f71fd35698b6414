"""The judge's state: a handful of numbers that a journal can hold. Folded by `sternway.judgement`.

Every wealth is a tuple of finite numbers (see `sternway.stats.wealth`), so that a state goes through JSON and back bit
for bit. `Evidence()` knows nothing yet; `sternway.judgement.begin` makes one for a release.
"""

from __future__ import annotations

from dataclasses import dataclass

from sternway.domain.tallies import LatencyThreshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many requests each version answered, and how many were bad."""

    candidate_total: int = 0
    candidate_bad: int = 0
    stable_total: int = 0
    stable_bad: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            candidate_total=self.candidate_total + other.candidate_total,
            candidate_bad=self.candidate_bad + other.candidate_bad,
            stable_total=self.stable_total + other.stable_total,
            stable_bad=self.stable_bad + other.stable_bad,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One criterion, candidate beside stable at the same time.

    since_s: when the open block began. block: counted but not yet weighed. release: counted since the release began.
    wealth: since the release began; exposure_wealth: since the exposure began.
    """

    name: str
    unit: str
    since_s: float | None = None
    block: Counts = Counts()
    release: Counts = Counts()
    wealth: tuple[float, ...] = ()
    exposure_wealth: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One runner of a placebo round. index: -1 is the candidate.

    total, bad: of the open block. quiet: the candidate's requests since this arm was last seen.
    """

    index: int
    total: int = 0
    bad: int = 0
    quiet: int = 0
    wealth: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Errors by the request, and the rounds of the candidate against placebo arms.

    seen: the candidate's requests since the round began. finished, first: rounds over, and won by the candidate.
    won: the candidate was first in this exposure; nothing runs until the next. bets: wealth, one per stake.
    resting: the placebo arm that was first in the last round, left out of this one; -1 for none.
    bar: the evidence at which an arm ends the round. name: the criterion.
    """

    name: str = "errors"
    since_s: float | None = None
    block: Counts = Counts()
    release: Counts = Counts()
    arms: tuple[Arm, ...] = ()
    seen: int = 0
    finished: int = 0
    first: int = 0
    won: bool = False
    resting: int = -1
    bets: tuple[float, ...] = ()
    bar: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """How much worse the candidate could still be: one e-process for each excess in question.

    since_s, block: as in Compared. wealth: of each excess, the largest first; its bets have no cash. window_s,
    window_bad: when the open window of stable's bad answers began, and how many it holds. windows, events, squares: of
    those before, and what they held, added up and squared; what is old counts less and less.
    """

    since_s: float | None = None
    block: Counts = Counts()
    wealth: tuple[tuple[float, ...], ...] = ()
    window_s: float | None = None
    window_bad: float = 0.0
    windows: float = 0.0
    events: float = 0.0
    squares: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossover:
    """How stable does while the candidate is exposed, and while it is not.

    stable_total, stable_bad: its answers while it was well; tick_total, tick_bad: of the open second. on_s, off_s: time with and without the candidate since the
    last calm. troubled: it does badly now; calm_s: for how long it has been well again. begun, begun_on: how often
    trouble began, and how often while the candidate was exposed. hit: in this exposure. bets: wealth, one per stake.
    """

    stable_total: int = 0
    stable_bad: int = 0
    tick_total: int = 0
    tick_bad: int = 0
    last_candidate_s: float | None = None
    on_s: float = 0.0
    off_s: float = 0.0
    troubled: bool = False
    calm_s: float = 0.0
    begun: int = 0
    begun_on: int = 0
    hit: bool = False
    wealth: tuple[float, ...] = ()
    bets: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """One criterion against a limit of its own: an absolute objective, or stable's recorded history.

    basis: `objective` or `history`. limit: the allowed share of bad answers (of an objective).
    wealth counts from the second exposure on: what it rests on cannot be told from common trouble in the first.
    """

    name: str
    basis: str
    limit: float = 0.0
    since_s: float | None = None
    block: Counts = Counts()
    exposure: Counts = Counts()
    wealth: tuple[float, ...] = ()
    exposure_wealth: tuple[float, ...] = ()
    stable_wealth: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A share of bad events, candidate beside stable, weighed in intervals.

    since_s, block, release, wealth, exposure_wealth: as in Compared. intervals, squares: of stable's, since the release
    began: how many, and the sum of bad * bad / total, from which it follows how its events cluster.
    """

    name: str
    since_s: float | None = None
    block: Counts = Counts()
    release: Counts = Counts()
    wealth: tuple[float, ...] = ()
    exposure_wealth: tuple[float, ...] = ()
    intervals: int = 0
    squares: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A value of the candidate's beside stable's, by the sign of their difference in blocks.

    length: readings in the open block; pairs, worse: readings in it so far, and those in which the candidate was worse.
    blocks, blocks_worse: finished since the release began. candidate, stable: the last values.
    readings, first, total, squares, products: of stable's own series, from which the length of a block follows.
    """

    name: str
    length: int = 0
    pairs: int = 0
    worse: int = 0
    blocks: int = 0
    blocks_worse: int = 0
    candidate: float | None = None
    stable: float | None = None
    readings: int = 0
    first: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    products: float = 0.0
    since_s: float | None = None
    wealth: tuple[float, ...] = ()
    exposure_wealth: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A value against limits, as other tools count. failed, inconclusive: measurements; common: failed for both alike.

    errors: measurements without a value, one after the other. failure: the last value that failed.
    """

    name: str
    measured: int = 0
    failed: int = 0
    inconclusive: int = 0
    common: int = 0
    errors: int = 0
    last: float | None = None
    failure: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerted:
    """An alert that began to fire while the candidate had traffic. exposures: in how many of them it did.

    firing: it does so now. sure: its labels name the candidate. rule: which of the Guard's it falls under.
    """

    id: str
    words: str
    rule: int
    since_s: float
    sure: bool = False
    firing: bool = True
    exposures: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What metrics and alerts have shown. since_s: when the exposure began."""

    since_s: float | None = None
    ratios: tuple[Shared, ...] = ()
    ranked: tuple[Ranked, ...] = ()
    checked: tuple[Checked, ...] = ()
    alerts: tuple[Alerted, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that the judge remembers of a release.

    candidate_since_s: when the candidate first answered. withdrawals: exposures that ended suspected.
    suspected: the criterion that raised suspicion in this exposure, with the sentence that said so.
    before: stable's answers before the release. others: races over errors that count alone.
    """

    stable: str = ""
    candidate: str = ""
    now_s: float = 0.0
    candidate_since_s: float | None = None
    withdrawals: int = 0
    suspected: str = ""
    suspicion: str = ""
    thresholds: tuple[LatencyThreshold, ...] = ()
    compared: tuple[Compared, ...] = ()
    race: Race = Race()
    others: tuple[Race, ...] = ()
    before: Counts = Counts()
    limited: tuple[Limited, ...] = ()
    bounded: Bounded = Bounded()
    crossover: Crossover = Crossover()
    measured: Measured = Measured()
