"""Outcomes in, tallies out: what a request's outcome means as evidence. No I/O; time is an argument.

Called by the signal sources, one Counter per service: `add` on every outcome, `read` and `ask` by the control loop.
The same outcomes, questions and reads give the same readings, on every machine.

Why "two attempts or more" is a failure whatever the answer: every retry means that the first attempt failed, and it
was sent to the version that routing had chosen. Counting first attempts is fair between versions: one that hides
its failures behind retries, or behind the shield, is counted like one that shows them.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import NamedTuple

from sternway.domain.blame import KINDS_AT_MOST, OTHER, SLOW, merged
from sternway.domain.catalogue import Edge, VersionTraffic
from sternway.domain.tallies import (
    BadAnswers,
    ClusterKey,
    ErrorClass,
    LatencyThreshold,
    Question,
    Reading,
    Tally,
    Unit,
)
from sternway.signals.running import RecentDurations, RecentRate, RecentTraffic

ERRORS = "errors"
HURT = "hurt"
PREVIEW = "preview"
MIRROR = "mirror"

GRPC_TIMED_OUT = 4
GRPC_BAD = frozenset({2, 4, 12, 13, 14, 15})
"""UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS: the server's fault."""

_STABLE, _CANDIDATE, _STABLE_CLUSTERS, _CANDIDATE_CLUSTERS, _ARMS = range(5)


class Outcome(NamedTuple):
    """How one request ended. A tuple, because one is made for each request: a frozen dataclass takes three times as long.

    caller: who sent it; "" is the world outside the mesh, None is nobody who could be named.
    replica: `address:port` that gave the answer, None when no replica did.
    at_s: the end of the request. attempts: how often it was sent to a replica.
    rescued: another version answered in place of `version`, which had failed or had no replica to ask.
    route: split, pin, preview or mirror. client_gone: the caller left before there was a status.
    broken_off: the answer ended before it was complete, whatever its status had promised.
    key: the cluster key's value, where the question has one. request_id: without one (and without a key) a request
        falls into no placebo arm.
    """

    service: str
    version: str
    at_s: float
    duration_ms: float
    status: int
    attempts: int = 1
    route: str = "split"
    rescued: bool = False
    client_gone: bool = False
    broken_off: bool = False
    grpc_status: int | None = None
    caller: str | None = None
    replica: str | None = None
    key: str | None = None
    request_id: str = ""

    @property
    def bad_answer(self) -> bool:
        """The caller was given a bad answer."""
        if self.client_gone:
            return False
        return self.status >= 500 or self.broken_off or self.grpc_status in GRPC_BAD

    @property
    def timed_out(self) -> bool:
        """The mesh or the server gave up waiting."""
        return self.status == 504 or self.grpc_status == GRPC_TIMED_OUT


def is_of(outcome: Outcome, kind: ErrorClass) -> bool:
    """Whether a request ended with this kind of error, by the answer that the version itself gave."""
    if outcome.rescued or outcome.client_gone:
        return False
    match kind:
        case ErrorClass.CLIENT:
            return 400 <= outcome.status < 500
        case ErrorClass.TIMEOUT:
            return outcome.timed_out
        case ErrorClass.CONNECTION:
            return outcome.broken_off or (outcome.status == 503 and outcome.replica is None)
        case ErrorClass.GRPC:
            return outcome.grpc_status in GRPC_BAD
        case ErrorClass.SERVER:
            return outcome.status >= 500 and outcome.replica is not None and not outcome.timed_out


class Counter:
    """Counts one service's outcomes by the question in force."""

    VERSIONS_KEPT = 4

    def __init__(self, service: str) -> None:
        self._service = service
        self._sheet: _Sheet | None = None
        self._closed: list[_Sheet] = []
        self._muted: dict[str, _Muted] = {}
        self._muted_place: tuple[str | None, str | None] | None = None
        self._rate = RecentRate()
        self._traffic = RecentTraffic(service)
        self._durations: dict[str, RecentDurations] = {}
        self._quantiles: tuple[str, float, tuple[tuple[float, float], ...]] | None = None
        self._blind_since_s: float | None = None

    def add(self, outcome: Outcome) -> bool:
        """Count an outcome. True when it is a failure of the candidate, so that the judge should look at once."""
        if outcome.route == PREVIEW:
            return False
        bad = outcome.bad_answer
        failed = bad or (not outcome.client_gone and (outcome.attempts >= 2 or outcome.rescued))
        if outcome.route != MIRROR:
            self._rate.add(outcome.at_s)
        way = (outcome.caller, outcome.version, None if outcome.rescued else outcome.replica)
        self._traffic.add(way, outcome.at_s, outcome.duration_ms, failed=failed, bad=bad)
        if not failed and not outcome.client_gone and outcome.status != 101:
            self._durations_of(outcome.version).add(outcome.duration_ms)
        return self._sheet is not None and self._sheet.mark(outcome, failed=failed, bad=bad)

    def ask(self, now_s: float, question: Question | None) -> None:
        """From now on count by this question. What was counted before is kept for the next read."""
        if question != self.question:
            self._close(now_s)
            self._sheet = _Sheet(question, now_s, self._muted_for(question)) if question else None

    def read(self, now_s: float) -> Reading:
        """Everything since the last read, counted by the question that was in force when it happened."""
        question = self.question
        self._close(now_s)
        closed, self._closed = self._closed, []
        self._sheet = _Sheet(question, now_s, self._muted_for(question)) if question else None
        ours = [sheet for sheet in closed if question and sheet.question.candidate == question.candidate]
        return Reading(
            tallies=tuple(tally for sheet in closed for tally in sheet.tallies()),
            rate_per_s=self._rate.per_s(now_s) if self._blind_since_s is None else None,
            stable_ms=self._stable_ms(now_s, question.stable) if question else (),
            blind_since_s=self._blind_since_s,
            first_bad_s=min((s.first_bad_s for s in ours if s.first_bad_s is not None), default=None),
            last_candidate_s=max((s.last_candidate_s for s in ours if s.last_candidate_s is not None), default=None),
            bad_answers=merged((), (one for sheet in ours for one in sheet.bad_answers())),
        )

    def blind(self, since_s: float) -> None:
        """Nothing can be seen since then. No traffic is not blindness."""
        self._blind_since_s = since_s

    def sighted(self, at_s: float) -> None:
        """Outcomes are seen (again) from now on."""
        self._blind_since_s = None
        self._rate.start(at_s)

    @property
    def question(self) -> Question | None:
        """The question in force."""
        return self._sheet.question if self._sheet else None

    @property
    def cluster_key(self) -> ClusterKey | None:
        """Where the question in force finds the key of an outcome."""
        return self._sheet.question.cluster_key if self._sheet else None

    def edges(self, now_s: float) -> tuple[Edge, ...]:
        """Who calls this service."""
        return self._traffic.edges(now_s)

    def traffic(self, now_s: float) -> tuple[VersionTraffic, ...]:
        """How its versions and replicas do."""
        return self._traffic.versions(now_s)

    def _close(self, end_s: float) -> None:
        if self._sheet is not None:
            self._sheet.end_s = end_s
            self._closed.append(self._sheet)

    def _muted_for(self, question: Question) -> dict[str, _Muted]:
        """Keys muted so far stay muted under the next question, unless its key is another one."""
        if question.cluster_key:
            place = (question.cluster_key.header, question.cluster_key.cookie)
            self._muted = self._muted if place == self._muted_place else {}
            self._muted_place = place
        alone = (kind.criterion for kind in question.alone)
        names = (ERRORS, *alone, *(threshold.criterion for threshold in question.latency))
        self._muted = {name: self._muted.get(name) or _Muted() for name in names}
        return self._muted

    def _durations_of(self, version: str) -> RecentDurations:
        known = self._durations.get(version)
        if known is None:
            known = self._durations[version] = RecentDurations()
            judged = {self.question.stable, self.question.candidate} if self.question else set()
            others = [other for other in self._durations if other != version and other not in judged]
            if len(self._durations) > self.VERSIONS_KEPT and others:
                del self._durations[others[0]]
        return known

    def _stable_ms(self, now_s: float, stable: str) -> tuple[tuple[float, float], ...]:
        """Sorting thousands of values on every look would cost more than it tells: every five seconds will do."""
        if self._quantiles and self._quantiles[0] == stable and now_s - self._quantiles[1] < 5.0:
            return self._quantiles[2]
        durations = self._durations.get(stable)
        quantiles = durations.quantiles() if durations else ()
        self._quantiles = (stable, now_s, quantiles) if quantiles else None
        return quantiles


class _Sheet:
    """The tallies of one interval, by one question."""

    def __init__(self, question: Question, start_s: float, muted: dict[str, _Muted]) -> None:
        if question.arms * question.arm_share > 1.0 + 1e-9:
            msg = f"{question.arms} placebo arms of {question.arm_share:.3g} each do not fit into stable's traffic"
            raise ValueError(msg)
        self.question = question
        self.first_bad_s: float | None = None
        self.last_candidate_s: float | None = None
        self.end_s = start_s
        self._blame: dict[tuple[str, str, str, str], list[float]] = {}
        self._start_s = start_s
        self._errors = _Criterion(ERRORS, question, muted[ERRORS])
        self._hurt = _Criterion(HURT, question, None)
        self._alone = tuple(
            (kind, _Criterion(kind.criterion, question, muted[kind.criterion])) for kind in question.alone
        )
        self._latency = tuple(
            (threshold, _Criterion(threshold.criterion, question, muted[threshold.criterion]))
            for threshold in question.latency
        )

    def mark(self, outcome: Outcome, *, failed: bool, bad: bool) -> bool:
        """Count an outcome in every criterion that it bears on. True when it is a failure of the candidate."""
        question = self.question
        if outcome.version == question.stable:
            side = _STABLE
        elif outcome.version == question.candidate:
            side = _CANDIDATE
            sent_s = outcome.at_s - outcome.duration_ms / 1000.0
            self.last_candidate_s = max(self.last_candidate_s or sent_s, sent_s)
        else:
            return False
        cluster, arm = self._place(outcome, side)
        if not outcome.client_gone:
            self._errors.count(side, arm, cluster, outcome.at_s, bad=failed)
            if outcome.route != MIRROR:
                self._hurt.count(side, None, None, outcome.at_s, bad=bad)
            for kind, alone in self._alone:
                alone.count(side, arm, cluster, outcome.at_s, bad=is_of(outcome, kind))
        for threshold, criterion in self._latency:
            slow = _slow(outcome, threshold, side, failed=failed)
            if slow is not None:
                criterion.count(side, arm, cluster, outcome.at_s, bad=slow)
                if slow and side == _CANDIDATE:
                    self._note(threshold.criterion, SLOW, outcome)
        if not failed or side == _STABLE:
            return False
        self._note(ERRORS, _how(outcome), outcome)
        self.first_bad_s = min(self.first_bad_s or outcome.at_s, outcome.at_s)
        return True

    def tallies(self) -> tuple[Tally, ...]:
        """Everything counted, in a fixed order; what counted nothing is left out."""
        alone = (criterion for _, criterion in self._alone)
        criteria = (self._errors, self._hurt, *alone, *(criterion for _, criterion in self._latency))
        return tuple(tally for criterion in criteria for tally in criterion.tallies(self._start_s, self.end_s))

    def bad_answers(self) -> tuple[BadAnswers, ...]:
        """The candidate's bad and slow answers, by what they look like."""
        return tuple(
            BadAnswers(
                criterion=criterion,
                how=how,
                replica=replica,
                caller=caller,
                count=int(count),
                first_s=first_s,
                last_s=last_s,
            )
            for (criterion, how, replica, caller), (count, first_s, last_s) in self._blame.items()
        )

    def _note(self, criterion: str, how: str, outcome: Outcome) -> None:
        key = (criterion, how, outcome.replica or "", outcome.caller or "")
        if key not in self._blame and len(self._blame) >= KINDS_AT_MOST:
            key = (criterion, OTHER, "", "")
        found = self._blame.setdefault(key, [0, outcome.at_s, outcome.at_s])
        found[0] += 1
        found[1], found[2] = min(found[1], outcome.at_s), max(found[2], outcome.at_s)

    def _place(self, outcome: Outcome, side: int) -> tuple[int | None, int | None]:
        """Find the cluster that an outcome belongs to and the placebo arm that it falls into.

        An arm is an interval of the hash of the cluster key (else of the request id): the same on every machine.
        """
        question = self.question
        keyed = question.cluster_key is not None and outcome.key is not None
        cut = side == _STABLE and question.arms > 0 and question.arm_share > 0.0
        if not keyed and not cut:
            return None, None
        text = outcome.key if keyed else outcome.request_id
        digest = int.from_bytes(blake2b((text or "").encode(), digest_size=8).digest(), "big")
        arm = None
        if cut and text:
            number = int(digest / 2.0**64 / question.arm_share)
            arm = number if number < question.arms else None
        return digest if keyed else None, arm


def _slow(outcome: Outcome, threshold: LatencyThreshold, side: int, *, failed: bool) -> bool | None:
    """Whether a request was too slow; None when its duration says nothing.

    A failure may be quick or slow for its own reasons and stands in `errors`; a time-out is slowness as well. A caller
    who left tells nothing before the threshold and enough after it. An upgraded connection lasts as long as it likes.
    """
    limit_ms = threshold.stable_ms if side == _STABLE else threshold.candidate_ms
    if outcome.client_gone:
        return True if outcome.duration_ms > limit_ms else None
    if outcome.timed_out:
        return True
    if failed or outcome.status == 101:
        return None
    return outcome.duration_ms > limit_ms


def _how(outcome: Outcome) -> str:
    """What a failed request looked like from outside. A rescued one shows stable's answer, not its own."""
    if outcome.rescued:
        return "answered by stable instead"
    if outcome.timed_out:
        return "time-out"
    if outcome.grpc_status in GRPC_BAD:
        return f"gRPC {outcome.grpc_status}"
    if outcome.broken_off:
        return f"{outcome.status}, broken off"
    return str(outcome.status) if outcome.status >= 500 else "good at a second attempt"


class _Criterion:
    """One criterion's counts of one interval, for both versions, their clusters and the placebo arms."""

    __slots__ = ("_bad", "_muted", "_name", "_question", "_total")

    def __init__(self, name: str, question: Question, muted: _Muted | None) -> None:
        self._name = name
        self._question = question
        self._muted = muted
        self._total = [0] * (_ARMS + question.arms)
        self._bad = [0] * (_ARMS + question.arms)

    def count(self, side: int, arm: int | None, cluster: int | None, at_s: float, *, bad: bool) -> None:
        """Count a request of a side, of a placebo arm and of a cluster that is not muted."""
        self._total[side] += 1
        self._bad[side] += bad
        if arm is not None:
            self._total[_ARMS + arm] += 1
            self._bad[_ARMS + arm] += bad
        if cluster is None or self._muted is None or self._muted.holds(cluster, at_s):
            return
        self._total[side + _STABLE_CLUSTERS] += 1
        self._bad[side + _STABLE_CLUSTERS] += bad
        if bad and self._question.cluster_key:
            self._muted.add(cluster, at_s, at_s + self._question.cluster_key.mute_s)

    def tallies(self, start_s: float, end_s: float) -> list[Tally]:
        """List the counts that are not empty."""
        stable, candidate = self._question.stable, self._question.candidate or ""
        places: list[tuple[str, Unit, int | None]] = [
            (stable, Unit.REQUEST, None),
            (candidate, Unit.REQUEST, None),
            (stable, Unit.CLUSTER, None),
            (candidate, Unit.CLUSTER, None),
            *((stable, Unit.REQUEST, arm) for arm in range(self._question.arms)),
        ]
        return [
            Tally(
                version=version,
                criterion=self._name,
                start_s=start_s,
                end_s=end_s,
                total=total,
                bad=bad,
                unit=unit,
                arm=arm,
            )
            for (version, unit, arm), total, bad in zip(places, self._total, self._bad, strict=True)
            if total
        ]


class _Muted:
    """Cluster keys that have given their one bad answer. Bounded: the oldest is forgotten when there are too many."""

    LIMIT = 50_000

    def __init__(self) -> None:
        self._until_s: OrderedDict[int, float] = OrderedDict()

    def holds(self, cluster: int, at_s: float) -> bool:
        """Tell whether the key is muted at this time."""
        until_s = self._until_s.get(cluster)
        return until_s is not None and at_s < until_s

    def add(self, cluster: int, at_s: float, until_s: float) -> None:
        """Mute a key, and forget those whose time is over."""
        self._until_s[cluster] = until_s
        self._until_s.move_to_end(cluster)
        while len(self._until_s) > self.LIMIT or next(iter(self._until_s.values())) <= at_s:
            self._until_s.popitem(last=False)
