"""What a backtest found, release by release and in sum. Made by `run`, printed by `sternway.cli.backtesting`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from sternway.backtest.peers.rule import Ruled, Said
from sternway.domain.trails import Trail

SECONDS_DIGITS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtested:
    """One release. began_s: the second in which the candidate gave its first answer; compare: (label, what the rule said).

    trail: the evidence over time, of the release that was asked for.
    """

    release: str
    verdict: Said
    decided_s: float | None
    withdrawals: int
    hurt: float
    requests: int
    reason: str
    began_s: float | None
    compare: tuple[tuple[str, Ruled], ...] = ()
    trail: Trail | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One rule over all releases. median_s: from the candidate's first answer to the condemnation."""

    rule: str
    releases: int
    condemned: int
    healthy: int
    undecided: int
    hurt: float
    median_s: float | None


def summaries(found: Sequence[Backtested]) -> tuple[Summary, ...]:
    """Sum up our rule first, then each of the others."""
    ours = [(one, Ruled(verdict=one.verdict, decided_s=one.decided_s, hurt=one.hurt, reason="")) for one in found]
    labels = [label for label, _ in found[0].compare] if found else []
    others = [_summary(label, [(one, dict(one.compare)[label]) for one in found]) for label in labels]
    return (_summary("sternway", ours), *others)


def _summary(rule: str, ruled: Sequence[tuple[Backtested, Ruled]]) -> Summary:
    times = [
        said.decided_s - one.began_s for one, said in ruled if said.decided_s is not None and one.began_s is not None
    ]
    verdicts = [said.verdict for _, said in ruled]
    return Summary(
        rule=rule,
        releases=len(ruled),
        condemned=verdicts.count(Said.HARMFUL),
        healthy=verdicts.count(Said.HEALTHY),
        undecided=verdicts.count(Said.UNDECIDED),
        hurt=round(sum(said.hurt for _, said in ruled), 2),
        median_s=round(median(times), SECONDS_DIGITS) if times else None,
    )
