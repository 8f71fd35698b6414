"""How much traffic each version gets: steps, caps, and the capacity of where it goes. Pure; used by `advance` and `world`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sternway.domain.guards import CAPPED_WITHOUT_KEY_PERCENT, LEARN_MOST_PERCENT, ABTest, Canary, CanaryStep
from sternway.domain.platform import WorkloadState
from sternway.domain.releases import Observation, Phase, Progress, Release
from sternway.domain.traffic import MILLION, Split, TrafficPlan
from sternway.domain.versions import Version

UNKNOWN_RATE_PERCENT = 5.0
"""The share of such a step while the rate of requests is not known yet."""
SECOND_LOOK = CanaryStep(requests_per_second=5, min_requests=100)
"""How a suspected version is exposed again where much traffic would be dear or tell little: a few requests."""
MOST_DOUBLINGS = 4
LEARN_PERCENT, LEARN_PER_S = 10.0, 5.0
"""While it is learned how healthy a candidate is: a tenth of the traffic, more where that is less than five requests/s."""
REACT_S = 0.5
"""How long bad answers go on until the proxies have taken the traffic away; measured: 0.1 s."""
SMALLEST_PERCENT = 100.0 / MILLION
SLACK = 0.25
"""A capped share is only corrected when it is off by more than this, so that routes are not rewritten each second."""
RETURN_DEADLINE_S = 10.0
"""How long traffic comes back at the pace of stable's ready replicas; after it, all of it comes back."""


def ready(seen: Observation, version: Version) -> int:
    """How many replicas of a version can take traffic."""
    return _ready(seen.workloads, version)


def _ready(workloads: Sequence[WorkloadState], version: Version) -> int:
    return next((w.ready for w in workloads if w.workload_id == version.workload.id), 0)


def standing_by(seen: Observation) -> Version | None:
    """The fallback, when it can take traffic."""
    fallback = seen.wanted.fallback if seen.wanted else None
    return fallback if fallback is not None and ready(seen, fallback) else None


def able(stable: Version, candidate: Version | None, seen: Observation, *, percent: float) -> Split:
    """Share traffic as planned among those who can take it (invariant 2).

    While no replica of stable is ready, its share goes to the fallback, else to the candidate that is exposed.
    """
    fallback = standing_by(seen)
    if ready(seen, stable) or (fallback is None and (candidate is None or not ready(seen, candidate))):
        takes = stable
    elif fallback is not None:
        takes = fallback
    else:
        assert candidate is not None
        takes = candidate
    if candidate is None or takes.id == candidate.id:
        return Split.all_to(takes.id)
    return Split.between(takes.id, candidate.id, percent)


def reachable(plan: TrafficPlan, stable: str, workloads: Sequence[WorkloadState]) -> TrafficPlan:
    """The plan without requests or copies for a version that has no ready replica; only stable is waited for.

    What nobody can answer would be held against the version, though it fails nobody: the machine starts again, say.
    """
    idle = {v.id for v in plan.versions if v.id != stable and not _ready(workloads, v)}
    shares = dict(plan.split.shares)
    taken = sum(shares.pop(name, 0) for name in idle)
    takes = max(shares, key=lambda name: shares[name], default=stable)
    return replace(
        plan,
        split=Split(shares=tuple((shares | {takes: shares.get(takes, 0) + taken}).items())),
        pins=tuple(pin for pin in plan.pins if pin.version not in idle),
        mirror=None if plan.mirror and plan.mirror.version in idle else plan.mirror,
        shield=None if plan.shield and plan.shield.version in idle else plan.shield,
    )


def percent_of_step(progress: Progress, release: Release) -> float:
    """The candidate's share (0..100) in the phase and step where it stands."""
    if release.phase is Phase.BAKING:
        strategy = release.guard.strategy
        return 100.0 - (release.guard.bake_control_percent if isinstance(strategy, Canary) else 0.0)
    if release.phase is Phase.EXPOSED and release.second_look:
        return percent_of_second_look(progress.rate_per_s, release.percent)
    if release.phase is not Phase.EXPOSED or not isinstance(release.guard.strategy, Canary):
        return 0.0
    steps = release.guard.strategy.steps[: release.index + 1]
    judged = release.judgement
    excess = judged.excess_percent / 100.0 if judged is not None else 1.0
    return percent_of_steps(steps, progress.rate_per_s, release.percent, excess, most=release.guard.capped_at_percent)


def percent_of_steps(
    steps: Sequence[CanaryStep], rate_per_s: float | None, now_percent: float, excess: float, *, most: float
) -> float:
    """Give the share when the last of these steps is reached; it never falls below that of a step before.

    excess: how much higher than stable's the candidate's error rate could still be, 0..1. most: what steps in requests
    per second take at most.
    """
    return max(_percent(step, rate_per_s, now_percent, excess, most=most) for step in steps)


def percent_of_second_look(rate_per_s: float | None, now_percent: float) -> float:
    """Give the share of a suspected version that is looked at again."""
    return _percent(SECOND_LOOK, rate_per_s, now_percent, 1.0, most=CAPPED_WITHOUT_KEY_PERCENT)


def second_look_requests(withdrawals: int) -> int:
    """Give how many requests a second look takes: twice as many each time, as harm that comes rarely needs them."""
    return SECOND_LOOK.min_requests << min(max(withdrawals - 1, 0), MOST_DOUBLINGS)


def enough(release: Release) -> tuple[int, float]:
    """How many requests the exposure needs, and how many seconds."""
    strategy = release.guard.strategy
    if release.second_look:
        return second_look_requests(release.withdrawals), 0.0
    if isinstance(strategy, ABTest):
        return strategy.min_requests, 0.0
    assert isinstance(strategy, Canary)
    return strategy.steps[release.index].min_requests, strategy.steps[release.index].hold_s


def _percent(step: CanaryStep, rate_per_s: float | None, now_percent: float, excess: float, *, most: float) -> float:
    if step.percent is not None:
        return step.percent
    if not rate_per_s:
        return min(now_percent, most) or UNKNOWN_RATE_PERCENT
    if step.users_hurt is not None:
        wanted = min(LEARN_MOST_PERCENT, max(LEARN_PERCENT, 100.0 * LEARN_PER_S / rate_per_s))
        wanted = min(wanted, 100.0 * step.users_hurt / (rate_per_s * excess * REACT_S))
    else:
        assert step.requests_per_second is not None
        wanted = min(most, 100.0 * step.requests_per_second / rate_per_s)
    close_enough = now_percent and abs(wanted - now_percent) <= SLACK * now_percent
    return now_percent if close_enough else rounded(wanted)


def rounded(percent: float) -> float:
    """Round a share: proxies take whole parts per million, of which a candidate that is exposed gets one at least."""
    return round(percent, 2) if percent >= 1.0 else max(round(percent, 4), SMALLEST_PERCENT)


def cold_for_s(release: Release, now_s: float) -> float:
    """How long the candidate may still be worse than it stays; a clock that was set back holds nothing up."""
    since_s, warm_up_s = release.evidence.candidate_since_s, release.guard.judge.warm_up_s
    return since_s + warm_up_s - now_s if since_s is not None and 0.0 <= now_s - since_s < warm_up_s else 0.0


def looks_again_s(release: Release, now_s: float) -> float:
    """When a suspected candidate is exposed again: what a cold one shows would only suspect it once more."""
    return max(release.entered_s + release.guard.withdraw_s, now_s + cold_for_s(release, now_s))


def split_back(stable: Version, candidate: Version, seen: Observation, *, desired: int, since_s: float) -> Split:
    """All traffic to stable, as fast as its ready replicas can take it (invariant 2); never an empty route.

    Stable keeps at least the share that it has. While it has no ready replica, the fallback takes everything.
    `since_s`: when the way back began.
    """
    ready_stable, ready_candidate = ready(seen, stable), ready(seen, candidate)
    fallback = standing_by(seen)
    if not ready_stable and fallback is not None and fallback.id != candidate.id:
        return Split.all_to(fallback.id)
    if stable.id == candidate.id or not ready_candidate:
        return Split.all_to(stable.id)
    if not ready_stable:
        return Split.all_to(candidate.id) if _carries_all(seen, candidate) else _as_it_is(seen, stable, candidate)
    if ready_stable >= desired or seen.now_s - since_s >= RETURN_DEADLINE_S:
        return Split.all_to(stable.id)
    has = seen.traffic.split.percent(stable.id) if seen.traffic else 0.0
    share = max(has, 100.0 * ready_stable / max(1, desired))
    if has >= 50.0:  # stable carries most of it already: the rest is no burden
        share = 100.0
    return Split.between(stable.id, candidate.id, 100.0 - share)


def _carries_all(seen: Observation, version: Version) -> bool:
    return seen.traffic is not None and seen.traffic.split.percent(version.id) == 100.0


def _as_it_is(seen: Observation, stable: Version, candidate: Version) -> Split:
    percent = seen.traffic.split.percent(candidate.id) if seen.traffic else 0.0
    return Split.between(stable.id, candidate.id, percent)
