"""When a release moves: from facts to a trigger of the table. Pure; called by `engine.step`.

Harm is looked at before progress, in every phase, and nothing here can hold a rollback up.
"""

from __future__ import annotations

from dataclasses import replace

from sternway.domain.guards import ABTest, BlueGreen, Canary, Mode, Then
from sternway.domain.judgements import Verdict
from sternway.domain.platform import WorkloadState
from sternway.domain.releases import Observation, Phase, Progress, Release, Reverted
from sternway.engine.exposure import SECOND_LOOK, percent_of_step, ready
from sternway.engine.lifecycle import enter, promoted, settled, take_back
from sternway.engine.transitions import Trigger

PROBLEM_AFTER_S = 15.0
"""How long a candidate may have no ready replica, once it was exposed, before it is condemned for it."""


def advance(progress: Progress, seen: Observation) -> Progress:
    """Move the release if something calls for it."""
    release = progress.release
    if release is None or release.phase.over:
        return progress
    if release.phase is Phase.ROLLING_BACK:
        return _finish_rollback(progress, release, seen)
    if release.phase is Phase.ASKING:
        return _wait_for_a_person(progress, release, seen)
    harm = _harm(release, seen)
    if harm is not None:
        return _condemn(progress, release, seen, harm)
    if release.phase is not Phase.STARTING and release.blind_since_s is not None:
        return _blind(progress, release, seen)
    return _forward(progress, release, seen)


def _condemn(progress: Progress, release: Release, seen: Observation, reason: str) -> Progress:
    asks = release.guard.mode is Mode.ASK and release.phase is not Phase.STARTING
    if asks:
        return replace(progress, release=enter(release, Trigger.ASK, seen.now_s, reason))
    return take_back(progress, release, seen.now_s, reason, revert=True, trigger=Trigger.CONDEMNED)


def _harm(release: Release, seen: Observation) -> str | None:
    """A sentence when the candidate is to be condemned now."""
    state = _state(release, seen)
    if state is not None and state.failure:
        return f"{release.candidate.id} cannot run: {state.failure}"
    waited = seen.now_s - release.entered_s
    if release.phase is Phase.STARTING:
        if waited > release.guard.progress_deadline_s:
            seen_ready = f"{state.ready} of {state.desired}" if state else "no"
            return f"{seen_ready} replicas of {release.candidate.id} were ready within {release.guard.progress_deadline_s:g} s"
        return None
    if (
        release.phase is Phase.WITHDRAWN
        and not ready(seen, release.candidate)
        and waited > release.guard.withdraw_s + PROBLEM_AFTER_S
    ):
        return f"no replica of {release.candidate.id} has been ready for {waited:.0f} s"
    judged = release.judgement
    if judged is not None and judged.verdict is Verdict.HARMFUL:
        return judged.sentence
    return None


def _forward(progress: Progress, release: Release, seen: Observation) -> Progress:
    now_s = seen.now_s
    match release.phase:
        case Phase.STARTING:
            moved = _start(progress, release, seen)
        case Phase.MIRRORING:
            moved = _mirror(release)
        case Phase.PREVIEW:
            moved = _preview(release, seen)
        case Phase.WITHDRAWN:
            moved = _look_again(release, seen)
        case Phase.BAKING:
            return _bake(progress, release, seen)
        case _:
            moved = _expose(release, seen)
    if moved is None:
        return replace(progress, release=_weigh(progress, release)) if release.phase is Phase.EXPOSED else progress
    trigger, reason = moved
    release = enter(release, trigger, now_s, reason)
    return replace(progress, release=_weigh(progress, release))


def _start(progress: Progress, release: Release, seen: Observation) -> tuple[Trigger, str] | None:
    state = _state(release, seen)
    if state is None or state.ready < max(1, state.desired):
        return None
    name = release.candidate.id
    if any(v.id == name for v in progress.good):
        return Trigger.READY_TO_RETURN, f"{name} was proven good before: all traffic at once, then the bake"
    if release.guard.mirror is not None:
        return (
            Trigger.READY_TO_MIRROR,
            f"{name} is ready; copies of {release.guard.mirror.percent:g} % of the requests first",
        )
    return _first_exposure(release)


def _first_exposure(release: Release) -> tuple[Trigger, str]:
    strategy = release.guard.strategy
    name = release.candidate.id
    if isinstance(strategy, BlueGreen):
        return Trigger.READY_TO_PREVIEW, f"{name} is ready at its preview address"
    if isinstance(strategy, ABTest):
        return Trigger.READY_TO_EXPOSE, f"{name} is ready; the chosen group of users gets it"
    return Trigger.READY_TO_EXPOSE, f"{name} is ready; step 1 of {len(strategy.steps)}: {strategy.steps[0]}"


def _mirror(release: Release) -> tuple[Trigger, str] | None:
    mirror = release.guard.mirror
    if mirror is None or (release.step_requests >= mirror.min_requests and not release.paused):
        return _first_exposure(release)
    return None


def _preview(release: Release, seen: Observation) -> tuple[Trigger, str] | None:
    strategy = release.guard.strategy
    assert isinstance(strategy, BlueGreen)
    if not strategy.automatic_switch or release.paused or seen.now_s - release.entered_s < strategy.hold_s:
        return None
    return Trigger.SWITCH, f"all traffic to {release.candidate.id}; the bake begins"


def _expose(release: Release, seen: Observation) -> tuple[Trigger, str] | None:
    suspicion = _suspicion(release, seen)
    if suspicion:
        return Trigger.SUSPECTED, suspicion
    min_requests, hold_s = _enough(release)
    if release.paused or release.step_requests < min_requests or seen.now_s - release.step_s < hold_s:
        return None
    if release.second_look and release.returns_to is not Phase.BAKING:
        return Trigger.SAME_STEP, f"no harm in {release.step_requests} requests of a second look; the step goes on"
    strategy = release.guard.strategy
    number, none = release.index + 2, f"no harm in {release.step_requests} requests"
    if isinstance(strategy, Canary) and not release.second_look and number <= len(strategy.steps):
        return Trigger.NEXT_STEP, f"{none}; step {number} of {len(strategy.steps)}: {strategy.steps[number - 1]}"
    return Trigger.SWITCH, f"{none}; promoted, the bake begins"


def _enough(release: Release) -> tuple[int, float]:
    """How many requests the exposure needs, and how many seconds."""
    strategy = release.guard.strategy
    if release.second_look:
        return SECOND_LOOK.min_requests, 0.0
    if isinstance(strategy, ABTest):
        return strategy.min_requests, 0.0
    assert isinstance(strategy, Canary)
    return strategy.steps[release.index].min_requests, strategy.steps[release.index].hold_s


def _suspicion(release: Release, seen: Observation) -> str | None:
    if not ready(seen, release.candidate):
        return f"no replica of {release.candidate.id} is ready"
    judged = release.judgement
    if judged is not None and judged.verdict is Verdict.SUSPECT:
        return judged.sentence
    return None


def _look_again(release: Release, seen: Observation) -> tuple[Trigger, str] | None:
    if (
        release.paused
        or seen.now_s - release.entered_s < release.guard.withdraw_s
        or not ready(seen, release.candidate)
    ):
        return None
    return Trigger.LOOK_AGAIN, f"looking at {release.candidate.id} again after withdrawal {release.withdrawals}"


def _bake(progress: Progress, release: Release, seen: Observation) -> Progress:
    suspicion = _suspicion(release, seen)
    if suspicion:
        return replace(progress, release=enter(release, Trigger.SUSPECTED, seen.now_s, suspicion))
    passed_s = max(0.0, seen.now_s - max(release.entered_s, release.looked_s))
    baked_s = release.baked_s + passed_s
    release = _weigh(progress, replace(release, baked_s=baked_s, looked_s=seen.now_s))
    if baked_s >= release.guard.bake_s and not release.paused:
        return promoted(progress, release, seen.now_s)
    return replace(progress, release=release)


def _weigh(progress: Progress, release: Release) -> Release:
    return replace(release, percent=percent_of_step(progress, release))


def _blind(progress: Progress, release: Release, seen: Observation) -> Progress:
    assert release.blind_since_s is not None
    blind_s = seen.now_s - release.blind_since_s
    release = replace(release, looked_s=seen.now_s)
    progress = replace(progress, release=release)
    if blind_s < release.guard.blind_s or release.guard.blind_then is Then.HOLD:
        return progress
    reason = f"nothing could be seen for {blind_s:.0f} s, and the guard says {release.guard.blind_then.value}"
    if release.guard.blind_then is Then.ROLLBACK:
        return take_back(progress, release, seen.now_s, reason, revert=True, verdict="unproven")
    if release.phase is Phase.BAKING:
        return promoted(progress, replace(release, reason=reason), seen.now_s)
    return replace(progress, release=enter(release, Trigger.SWITCH, seen.now_s, reason))


def _wait_for_a_person(progress: Progress, release: Release, seen: Observation) -> Progress:
    guard = release.guard
    if seen.now_s - release.entered_s < guard.ask_timeout_s or guard.ask_then is Then.HOLD:
        return progress
    reason = f"nobody answered within {guard.ask_timeout_s:g} s: {release.reason}"
    if guard.ask_then is Then.ROLLBACK:
        return take_back(progress, release, seen.now_s, reason, revert=True)
    return replace(progress, release=enter(release, Trigger.OVERRULED_AT_ALL, seen.now_s, reason))


def _finish_rollback(progress: Progress, release: Release, seen: Observation) -> Progress:
    """Over when the proxies show no traffic to the candidate and the Git part is done or needless."""
    traffic, wanted = seen.traffic, seen.wanted
    if traffic is not None and traffic.split.percent(release.stable.id) < 100.0:
        return progress
    if release.revert is not None and release.reverted is None:
        if wanted is None or wanted.version.id in (release.candidate.id, release.stable.id):
            return progress
        needless = f"nothing was reverted: Git asks for {wanted.version.id} by now"
        release = replace(release, reverted=Reverted(release=release.name, commit=None, message=needless))
    return settled(progress, release, seen.now_s)


def _state(release: Release, seen: Observation) -> WorkloadState | None:
    return next((w for w in seen.workloads if w.workload_id == release.candidate.workload.id), None)
