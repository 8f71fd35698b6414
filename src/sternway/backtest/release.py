"""READ THIS FIRST: one recorded release, folded through the judge in ticks of a second. Called by `run`.

Until the candidate first answers, stable's answers are its history, as for a live release. From then on each tick is
counted by the question that the judge asks, and judged; suspicion withdraws, and while the candidate is withdrawn its
recorded answers would not have been given: they are left out. The recorded weight stays what it was.
"""

from __future__ import annotations

from collections.abc import Callable
from math import floor
from typing import Protocol

from sternway import judgement
from sternway.backtest.lines import Answer, Count
from sternway.backtest.peers import Chosen
from sternway.backtest.peers.rule import Said, Watched
from sternway.backtest.results import Backtested
from sternway.backtest.seconds import TICK_S, Harm, Second, Side
from sternway.backtest.tallied import Tallied
from sternway.backtest.weight import RecordedWeight
from sternway.domain.evidence import Counts, Evidence
from sternway.domain.guards import ABTest, Canary, Guard
from sternway.domain.judgements import Judgement, Verdict
from sternway.domain.releases import Phase
from sternway.domain.tallies import Question, Reading
from sternway.domain.trails import TrailMaker

STABLE, CANDIDATE = "stable", "candidate"
QUIET_TICKS = 12
"""Ticks without any answer that are folded one by one: then every open block has ended, and more would change nothing."""


class Counting(Protocol):
    """Counts recorded answers as a signal source counts live ones."""

    def add(self, answer: Answer, number: int) -> None:
        """Count an answer to STABLE or CANDIDATE; `number` stands in for its request's id."""
        ...

    def ask(self, now_s: float, question: Question | None) -> None:
        """From now on count by this question."""
        ...

    def read(self, now_s: float) -> Reading:
        """Everything since the last read."""
        ...


class ReleaseReplay:
    """What a Guard would have done with one release, and the rules to compare it with."""

    def __init__(
        self,
        name: str,
        guard: Guard,
        counting: Callable[[], Counting],
        rules: tuple[Chosen, ...],
        *,
        trail: TrailMaker | None = None,
    ) -> None:
        self._name = name
        self._guard = guard
        self._make_counting = counting
        self._counting: Counting | None = None
        self._rules = tuple((rule.label, Watched(rule.make())) for rule in rules)
        self._tallied: Tallied | None = None
        self._answers: list[Answer] = []
        self._counts: list[Count] = []
        self._tick: int | None = None
        self._evidence: Evidence | None = None
        self._before = Counts()
        self._stable_ms: tuple[tuple[float, float], ...] = ()
        self._weight = RecordedWeight()
        self._away_until_s: float | None = None
        self._withdrawals = 0
        self._harm = Harm()
        self._number = 0
        self._began_s: float | None = None
        self._decided_s: float | None = None
        self._reason = ""
        self._trail = trail
        self.last_t = float("-inf")
        self.tallies: bool | None = None

    def add(self, line: Answer | Count) -> None:
        """Take a line in. `t` does not go back."""
        tick = floor(line.t)
        if self._tick is None:
            self._tick = tick
        elif tick != self._tick:
            self._close()
            self._skip(tick)
            self._tick = tick
        self.last_t = line.t
        if isinstance(line, Answer):
            self._answers.append(line)
        else:
            self._counts.append(line)

    def rest(self) -> None:
        """Keep no more than what a release needs that may never be heard of again."""
        self._close()
        if self._evidence is None or len(self._evidence.thresholds) < len(self._guard.judge.latency_quantiles):
            return  # recent durations are still needed to fix a threshold; there are few of them
        self._counting = None

    def finish(self) -> Backtested:
        """Say how it ended."""
        self._close()
        verdict, reason = self._ended()
        return Backtested(
            release=self._name,
            verdict=verdict,
            decided_s=self._decided_s,
            withdrawals=self._withdrawals,
            hurt=self._harm.hurt,
            requests=self._harm.requests,
            reason=reason,
            began_s=self._began_s,
            compare=tuple((label, rule.said()) for label, rule in self._rules),
            trail=self._trail.trail() if self._trail is not None else None,
        )

    def _ended(self) -> tuple[Said, str]:
        if self._decided_s is not None:
            return Said.HARMFUL, self._reason
        needed, seen = enough(self._guard), self._harm.requests
        if self._away_until_s is not None:
            return Said.UNDECIDED, f"the recording ended while the candidate was withdrawn: {self._reason}"
        if self._withdrawals and not self._weight.concurrent:
            # A live platform would have seen how stable does meanwhile; no recording of a whole switch can show that.
            return Said.UNDECIDED, f"suspected, and stable has no recorded traffic to settle it: {self._reason}"
        if seen < needed:
            return Said.UNDECIDED, f"the recording holds {seen} answers of the candidate; the guard asks for {needed}"
        return Said.HEALTHY, f"no harm shown in {seen} answers of the candidate; the guard asks for {needed}"

    def _close(self) -> None:
        """End the open tick."""
        if self._tick is None or not (self._answers or self._counts):
            return
        answers, counts = self._answers, self._counts
        self._answers, self._counts = [], []
        second = _second(self._tick * TICK_S, answers, counts)
        for _, rule in self._rules:
            if not rule.over:
                rule.fold(second)
        if self._decided_s is None:
            self._fold(second, answers, counts)

    def _skip(self, tick: int) -> None:
        """Let time without any answer pass, until this tick begins."""
        assert self._tick is not None
        if self._decided_s is not None or self._evidence is None:
            return
        first, last = self._tick + 1, tick - 1
        for quiet in range(first, min(last, first + QUIET_TICKS) + 1):
            self._fold(Second(start_s=quiet * TICK_S, timed=True), [], [])
        if last > first + QUIET_TICKS and self._decided_s is None:
            self._fold(Second(start_s=last * TICK_S, timed=True), [], [])

    def _fold(self, second: Second, answers: list[Answer], counts: list[Count]) -> None:
        if self._evidence is None and not second.candidate.total:
            self._remember(second, answers)
            return
        settings = self._guard.judge
        if self._evidence is None:
            self._evidence = judgement.begin(
                settings, stable=STABLE, candidate=CANDIDATE, stable_ms=self._stable_ms, before=self._before
            )
            self._began_s = second.start_s
            if self.tallies:
                self._tallied = Tallied(self._name, settings)
                self._evidence = self._tallied.begin(self._evidence)
        self._weight.add(second.candidate.total, second.stable.total)
        away = self._away_until_s is not None
        self._harm.add(second, exposed=not away)
        reading = self._read(second, answers, counts, away=away)
        now_s = second.end_s
        self._evidence, judged = judgement.judge(
            settings, self._evidence, reading, now_s=now_s, concurrent=self._weight.concurrent
        )
        self._follow(now_s, judged)
        if judged.verdict is Verdict.HARMFUL:
            self._decided_s = now_s
            self._reason = self._tallied.sentence(judged) if self._tallied else judged.sentence
            self._counting = self._evidence = self._tallied = None
        elif self._away_until_s is not None:
            if now_s >= self._away_until_s:
                self._evidence = judgement.begin_exposure(self._evidence)
                self._away_until_s = None
        elif judged.verdict is Verdict.SUSPECT:
            since_s = self._evidence.candidate_since_s
            warm_s = now_s if since_s is None else since_s + settings.warm_up_s
            self._away_until_s = max(now_s + self._guard.withdraw_s, warm_s)
            self._withdrawals += 1
            self._reason = self._tallied.sentence(judged) if self._tallied else judged.sentence

    def _follow(self, now_s: float, judged: Judgement) -> None:
        if self._trail is None:
            return
        if judged.verdict is Verdict.HARMFUL:
            phase = Phase.ROLLED_BACK
        else:
            away = self._away_until_s is not None or judged.verdict is Verdict.SUSPECT
            phase = Phase.WITHDRAWN if away else Phase.EXPOSED
        self._trail.look(now_s, phase.value, self._weight.percent if phase is Phase.EXPOSED else 0.0, judged)

    def _read(self, second: Second, answers: list[Answer], counts: list[Count], *, away: bool) -> Reading:
        """Count the tick by the judge's question, without the candidate's answers while it is withdrawn."""
        assert self._evidence is not None
        question = judgement.question(self._guard.judge, self._evidence, candidate_percent=self._weight.percent)
        if self._tallied:
            seen = [one for one in counts if not (away and one.candidate)]
            return self._tallied.read(seen, question, start_s=second.start_s, end_s=second.end_s)
        return self._count(question, [one for one in answers if not (away and one.candidate)], second)

    def _remember(self, second: Second, answers: list[Answer]) -> None:
        """Keep how stable did before the candidate's first answer."""
        self._before += Counts(stable_total=second.stable.total, stable_bad=second.stable.bad)
        self._harm.before_total, self._harm.before_bad = self._before.stable_total, self._before.stable_bad
        if answers:
            self._stable_ms = self._count(Question(stable=STABLE), answers, second).stable_ms or self._stable_ms

    def _count(self, question: Question, answers: list[Answer], second: Second) -> Reading:
        if self._counting is None:
            self._counting = self._make_counting()
        self._counting.ask(second.start_s, question)
        for answer in answers:
            self._number += 1
            self._counting.add(answer, self._number)
        return self._counting.read(second.end_s)


def enough(guard: Guard) -> int:
    """How many answers of the candidate a release needs in all its steps."""
    strategy = guard.strategy
    if isinstance(strategy, Canary):
        return sum(step.min_requests for step in strategy.steps)
    return strategy.min_requests if isinstance(strategy, ABTest) else 1


def _second(start_s: float, answers: list[Answer], counts: list[Count]) -> Second:
    second = Second(start_s=start_s, timed=not counts)
    for answer in answers:
        side = second.candidate if answer.candidate else second.stable
        side.total += 1
        side.bad += answer.bad
        side.durations_ms.append(answer.duration_ms)
    errors = [count for count in counts if count.criterion == "errors"]
    for count in errors:
        _tally(second.candidate if count.candidate else second.stable, count)
    return second


def _tally(side: Side, count: Count) -> None:
    side.total += count.total
    side.bad += count.bad
