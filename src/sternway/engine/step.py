"""READ THIS FIRST: one pass of the engine over one service. Called by `sternway.control.reconcile` and by replay.

learn    what the signals, Git and the outbox reported
obey     people's commands
follow   Git: adopt the first version, start, supersede or hold a release
judge    fold the new tallies into the evidence
advance  move the release along the table of transitions
decide   the desired world that follows from where everything stands
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sternway import judgement
from sternway.domain.blame import merged
from sternway.domain.evidence import Evidence
from sternway.domain.judgements import Judgement
from sternway.domain.releases import Answered, Decision, Observation, Phase, Progress, Release, Reply
from sternway.domain.tallies import Reading, Tally, Unit
from sternway.engine.advance import advance
from sternway.engine.commands import obey
from sternway.engine.follow import follow
from sternway.engine.gates import learned
from sternway.engine.world import decide

_EXPOSED = (Phase.MIRRORING, Phase.EXPOSED, Phase.BAKING)
REMEMBERED = 20_000
"""When so many of stable's answers are counted, each counts half as much as a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where the service stands after the pass, and what the world should be."""

    progress: Progress
    decision: Decision


def step(progress: Progress, seen: Observation) -> Step:
    """Take one pass. Pure: the same progress and observation give the same step, bit for bit."""
    progress = learn(progress, seen)
    progress, replies = obey(progress, seen)
    progress = follow(progress, seen)
    progress = judge(progress, seen)
    progress = advance(progress, seen)
    return Step(progress=progress, decision=_with_replies(decide(progress, seen), replies))


def learn(progress: Progress, seen: Observation) -> Progress:
    """Take over what does not need a decision: rates, quantiles, finished Git work, replicas, time."""
    reading = seen.reading
    release = progress.release
    if release and seen.reverted and seen.reverted.release == release.name:
        release = replace(release, reverted=seen.reverted)
    if release and seen.resumed and not release.phase.over:
        # Time that nobody watched does not count: no deadline has run out in it, no bake has passed.
        release = replace(release, entered_s=seen.now_s, step_s=seen.now_s, looked_s=seen.now_s)
    if release and release.gates_running:
        release = learned(release, seen)
    return replace(
        progress,
        release=release,
        rate_per_s=progress.rate_per_s if reading.rate_per_s is None else reading.rate_per_s,
        stable_ms=reading.stable_ms or progress.stable_ms,
        stable_replicas=seen.wanted.replicas if seen.wanted else progress.stable_replicas,
        answered=_answered(progress, reading),
        marks=tuple(mark for mark in progress.marks if mark not in seen.marked),
        retired=tuple(retired for retired in progress.retired if retired.until_s > seen.now_s),
    )


def _answered(progress: Progress, reading: Reading) -> Answered | None:
    """Count how stable does while no release is under way: what a switch without a control group is compared with."""
    stable, release, known = progress.stable, progress.release, progress.answered
    if stable is None or not (release is None or release.phase.over or release.phase is Phase.STARTING):
        return known
    if known is None or known.version != stable.id:
        known = Answered(version=stable.id, total=0, bad=0)
    total, bad = _sum(reading.tallies, stable.id, "errors")
    total, bad = known.total + total, known.bad + bad
    if total > REMEMBERED:
        total, bad = total // 2, bad // 2
    return Answered(version=stable.id, total=total, bad=bad)


def judge(progress: Progress, seen: Observation) -> Progress:
    """Fold the reading into the release's evidence and figures."""
    release = progress.release
    if release is None or release.phase.over or release.phase is Phase.STARTING:
        return progress
    reading = seen.reading
    release = _count(release, seen)
    if release.phase not in (Phase.ROLLING_BACK, Phase.ASKING):
        evidence_before = release.evidence
        evidence, judged = judgement.judge(
            release.guard.judge,
            release.evidence,
            reading,
            now_s=seen.now_s,
            concurrent=_concurrent(release),
            exposed=release.phase in _EXPOSED,
        )
        judged = _explained(release, evidence_before, reading, judged, now_s=seen.now_s)
        if not reading.tallies and replace(evidence, now_s=release.evidence.now_s) == release.evidence:
            evidence = release.evidence  # nothing was seen: waiting must not fill the journal
        release = replace(release, evidence=evidence, judgement=judged)
    return replace(progress, release=release)


def _explained(release: Release, before: Evidence, reading: Reading, judged: Judgement, *, now_s: float) -> Judgement:
    """Say once, when the judge decides, what would have changed its mind; keep it for as long as its word stands."""
    known = release.judgement
    if known is not None and known.verdict is judged.verdict:
        return replace(judged, otherwise=known.otherwise)
    concurrent = _concurrent(release)
    asked = judgement.spared(release.guard.judge, before, reading, judged, now_s=now_s, concurrent=concurrent)
    return replace(judged, otherwise=asked)


def _concurrent(release: Release) -> bool:
    at_all = release.phase is Phase.WITHDRAWN and release.returns_to is Phase.BAKING and not release.second_look
    switched = release.phase is Phase.BAKING or at_all
    return release.guard.keeps_control or not switched


def _count(release: Release, seen: Observation) -> Release:
    reading = seen.reading
    answered, failed = _sum(reading.tallies, release.candidate.id, "errors")
    served, hurt = _sum(reading.tallies, release.candidate.id, "hurt")
    slow = any(
        t.bad and t.version == release.candidate.id and t.criterion.startswith("latency") for t in reading.tallies
    )
    first_bad = release.first_bad_s if release.first_bad_s is not None else reading.first_bad_s
    blind_since_s, blind_to = _blind_since(release, reading)
    sighted_again = release.blind_since_s is not None and blind_since_s is None
    blind_from_s = blind_since_s if release.blind_from_s is None or sighted_again else release.blind_from_s
    blind_s = seen.now_s - release.blind_from_s if release.blind_from_s is not None and sighted_again else 0.0
    return replace(
        release,
        step_requests=release.step_requests + max(answered, served),  # where no errors are counted, answers are
        requests=release.requests + served,
        hurt=release.hurt + hurt,
        rescued=release.rescued + (failed - hurt if answered == served else 0),  # nobody waits for a copy's answer
        first_bad_s=first_bad,
        first_slow_s=seen.now_s if slow and release.first_slow_s is None else release.first_slow_s,
        last_candidate_s=reading.last_candidate_s or release.last_candidate_s,
        bad_answers=merged(release.bad_answers, reading.bad_answers) if reading.bad_answers else release.bad_answers,
        blind_since_s=blind_since_s,
        blind_to=blind_to,
        blind_s=release.blind_s + max(0.0, blind_s),
        blind_from_s=blind_from_s,
        looked_s=seen.now_s if sighted_again else release.looked_s,
        uncounted=reading.uncounted,
    )


def _blind_since(release: Release, reading: Reading) -> tuple[float | None, str]:
    """Since when something that the judge needs is out of sight, and what; a metric counts from the exposure on."""
    if reading.blind_since_s is not None:
        return reading.blind_since_s, ""
    missing = judgement.find_unseen(
        release.guard.judge,
        release.evidence,
        reading,
        exposed=release.phase in _EXPOSED,
        concurrent=_concurrent(release),
    )
    if missing is None:
        return None, ""
    since_s = max(missing.since_s, release.entered_s) if missing.role else missing.since_s
    return since_s, f"{missing.criterion}: {missing.why}"


def _sum(tallies: tuple[Tally, ...], version: str, criterion: str) -> tuple[int, int]:
    chosen = [
        t
        for t in tallies
        if t.version == version and t.criterion == criterion and t.unit is Unit.REQUEST and t.arm is None
    ]
    return sum(t.total for t in chosen), sum(t.bad for t in chosen)


def _with_replies(decision: Decision, replies: tuple[Reply, ...]) -> Decision:
    return replace(decision, replies=replies) if replies else decision
