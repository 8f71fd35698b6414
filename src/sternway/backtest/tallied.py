"""Recorded tallies as the judge's readings: placebo arms are dealt, and slowness needs no threshold. Used by `release`.

A tally was counted by somebody else, so its thresholds are not known: "slower than stable's p99" is taken at its
word, and sentences speak of the criterion by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sternway.backtest.lines import Count
from sternway.backtest.placebo import PlaceboDealer
from sternway.domain.evidence import Evidence
from sternway.domain.guards import JudgeSettings
from sternway.domain.judgements import Judgement
from sternway.domain.tallies import Question, Reading, Tally, Unit
from sternway.judgement.asking import slow_name
from sternway.judgement.comparison import ERRORS, new_comparison
from sternway.judgement.limits import new_history
from sternway.judgement.words import times


class Tallied:
    """Turns one release's tallies into readings."""

    def __init__(self, release: str, settings: JudgeSettings) -> None:
        self._dealer = PlaceboDealer(release)
        self._slow = tuple(slow_name(quantile) for quantile in settings.latency_quantiles)

    def begin(self, evidence: Evidence) -> Evidence:
        """Judge by every latency criterion of the Guard, although nobody says where its threshold lay."""
        return replace(
            evidence,
            compared=(*evidence.compared, *(new_comparison(name, Unit.REQUEST) for name in self._slow)),
            limited=(*evidence.limited, *(new_history(name) for name in self._slow)),
        )

    def read(self, counts: Sequence[Count], question: Question, *, start_s: float, end_s: float) -> Reading:
        """Give one tick's tallies, with stable's errors dealt to the placebo arms."""
        sums: dict[tuple[str, str], tuple[int, int]] = {}
        for count in counts:
            version = question.candidate if count.candidate else question.stable
            total, bad = sums.get((version or "", count.criterion), (0, 0))
            sums[version or "", count.criterion] = (total + count.total, bad + count.bad)
        stable = sums.get((question.stable, ERRORS), (0, 0))
        self._dealer.look(*stable)
        dealt = self._dealer.deal(*stable, arms=question.arms, share=question.arm_share)

        def tally(version: str, criterion: str, total: int, bad: int, arm: int | None = None) -> Tally:
            return Tally(
                version=version, criterion=criterion, start_s=start_s, end_s=end_s, total=total, bad=bad, arm=arm
            )

        whole = [tally(version, criterion, *counted) for (version, criterion), counted in sums.items() if counted[0]]
        arms = [tally(question.stable, ERRORS, *counted, arm) for arm, counted in enumerate(dealt) if counted[0]]
        return Reading(tallies=(*whole, *arms))

    def sentence(self, judged: Judgement) -> str:
        """Say what decided."""
        named = [one for one in judged.criteria if one.name == judged.criterion]
        if not named:
            return judged.sentence
        one = max(named, key=lambda criterion: criterion.e_value / criterion.needed)
        were = "were errors" if one.name == ERRORS else f"were bad by {one.name}"
        return (
            f"{one.candidate_bad:,} of {one.candidate_total:,} answers of the candidate {were},"
            f" against {one.stable_bad:,} of {one.stable_total:,} of stable;"
            f" evidence {times(one.e_value)} (condemns at {times(one.needed)})"
        )
