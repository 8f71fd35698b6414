"""When a release moves: from facts to a trigger of the table. Pure; called by `engine.step`.

Harm is looked at before progress, in every phase, and nothing here can hold a rollback up.
"""

from __future__ import annotations

from dataclasses import replace

from sternway.domain.guards import ABTest, BlueGreen, Canary, Mode, Then, Until
from sternway.domain.judgements import Verdict
from sternway.domain.platform import WorkloadState
from sternway.domain.policies import Bar, Point
from sternway.domain.releases import Observation, Phase, Progress, Release
from sternway.engine.barring import PASSED_BY, barred, how_to_pass, let_pass
from sternway.engine.exposure import cold_for_s, enough, ready, standing_by
from sternway.engine.gates import failed, gated
from sternway.engine.lifecycle import PROMOTED_BY, enter, needless, promoted, retarget, settled, take_back
from sternway.engine.side_by_side import short_of_replicas, weighed
from sternway.engine.transitions import Trigger

MANY_WITHDRAWALS = 8
"""After so many suspicions, and again after as many more, a person decides: users are not tried for ever."""
PROBLEM_AFTER_S = 15.0
"""How long a candidate may have no ready replica, once it was exposed, before it is condemned for it."""


def advance(progress: Progress, seen: Observation) -> Progress:
    """Move the release if something calls for it."""
    release = progress.release
    if release is None or release.phase.over:
        return progress
    release = _as_policies_say(progress, release, seen)
    progress = replace(progress, release=release)
    if release.phase in (Phase.ROLLING_BACK, Phase.ASKING):
        finish = _finish_rollback if release.phase is Phase.ROLLING_BACK else _wait_for_a_person
        return finish(progress, release, seen)
    harm = _harm(progress, release, seen)
    if harm is not None:
        return _condemn(progress, release, seen, harm)
    refused = _refused(release, seen)
    if refused is not None:
        return take_back(progress, release, seen.now_s, refused, revert=True, verdict="unproven")
    if release.phase is not Phase.STARTING and release.blind_since_s is not None:
        return _blind(progress, release, seen)
    return _forward(progress, release, seen)


def _as_policies_say(progress: Progress, release: Release, seen: Observation) -> Release:
    """Say which policy holds it where it is, if one does; only ways forward ask for it."""
    on_its_way = release.phase is not Phase.ROLLING_BACK
    bar = barred(progress, release.candidate, seen, Point.MOVE) if on_its_way else None
    waits = _waits(bar, release) if bar else ""
    return release if waits == release.waits else replace(release, waits=waits)


def _kept_up(progress: Progress, release: Release, seen: Observation, trigger: Trigger) -> Release | None:
    """The release that stays where it is, when a policy does not let it make this move."""
    bar = barred(progress, release.candidate, seen, *PASSED_BY.get(trigger, ()))
    return None if bar is None else replace(release, waits=_waits(bar, release))


def _waits(bar: Bar, release: Release) -> str:
    return f"{bar.sentence}; {how_to_pass(bar, release.candidate.service)}"


def _condemn(progress: Progress, release: Release, seen: Observation, reason: str) -> Progress:
    asks = release.guard.mode is Mode.ASK and release.phase is not Phase.STARTING
    if asks:
        return replace(progress, release=enter(release, Trigger.ASK, seen.now_s, reason))
    return take_back(progress, release, seen.now_s, reason, revert=True, trigger=Trigger.CONDEMNED)


def _harm(progress: Progress, release: Release, seen: Observation) -> str | None:
    """A sentence when the candidate is to be condemned now."""
    gate = failed(release, Then.ROLLBACK)
    if gate:
        return gate
    state = _state(release, seen)
    if state is not None and state.failure and ready(seen, release.stable) and not _shared(release):
        return f"{release.candidate.id} cannot run: {state.failure}"
    waited = seen.now_s - release.entered_s
    if release.phase is Phase.STARTING:
        late = waited > release.guard.progress_deadline_s and progress.stable_replicas > 0
        if late and not _all_ready(state):
            seen_ready = f"{state.ready} of {state.desired}" if state else "no"
            return f"{seen_ready} replicas of {release.candidate.id} were ready within {release.guard.progress_deadline_s:g} s"
        return None
    if (
        release.phase is Phase.WITHDRAWN
        and not ready(seen, release.candidate)
        and ready(seen, release.stable)
        and waited > release.guard.withdraw_s + PROBLEM_AFTER_S
    ):
        return f"no replica of {release.candidate.id} has been ready for {waited:.0f} s"
    return _said(release, Verdict.HARMFUL)


def _shared(release: Release) -> bool:
    """Whether both versions run the same replicas: what these suffer is not the candidate's doing."""
    return release.candidate.workload.id == release.stable.workload.id


def _refused(release: Release, seen: Observation) -> str | None:
    """A sentence when the proxies show another plan although they have had time enough to take the candidate in."""
    if release.phase in (Phase.STARTING, Phase.WITHDRAWN) or seen.traffic is None or release.blind_since_s is not None:
        return None
    late = seen.now_s - release.entered_s > release.guard.progress_deadline_s
    if not late or seen.traffic.holds(release.candidate.id):
        return None
    return f"the proxies have not taken {release.candidate.id} within {release.guard.progress_deadline_s:g} s"


def _forward(progress: Progress, release: Release, seen: Observation) -> Progress:
    now_s = seen.now_s
    match release.phase:
        case Phase.STARTING:
            moved = _start(progress, release, seen)
        case Phase.MIRRORING:
            moved = _mirror(release, seen)
        case Phase.PREVIEW:
            moved = _preview(release, seen)
        case Phase.WITHDRAWN:
            moved = _look_again(release, seen)
        case Phase.BAKING:
            return _bake(progress, release, seen)
        case _:
            moved = _expose(progress, release, seen)
    if moved is None:
        return _stay(progress, release, seen)
    trigger, reason = moved
    kept = _kept_up(progress, release, seen, trigger)
    if kept is not None:
        return _stay(progress, kept, seen)
    waiting = gated(progress, release, trigger, now_s)
    if waiting is not None:
        return _stay(progress, waiting, seen)
    passed = let_pass(progress, release.candidate, seen, *PASSED_BY.get(trigger, ()))
    release = enter(release, trigger, now_s, f"{reason}{passed}")
    return replace(progress, release=weighed(progress, release, seen))


def _start(progress: Progress, release: Release, seen: Observation) -> tuple[Trigger, str] | None:
    if release.paused or not _all_ready(_state(release, seen)):
        return None
    name = release.candidate.id
    if seen.wanted is not None and seen.wanted.service.port is None:
        return Trigger.READY_TO_RETURN, f"{name} is ready; nobody can call it, so it runs beside the old one and bakes"
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


def _mirror(release: Release, seen: Observation) -> tuple[Trigger, str] | None:
    """On suspicion look on at copies, which hurt nobody, until the judge is sure or sees no harm."""
    mirror = release.guard.mirror
    suspicion = _suspicion(release, seen)
    if suspicion:
        if not ready(seen, release.candidate) or cold_for_s(release, seen.now_s) > 0.0:
            return None
        often = release.withdrawals + 1
        if often % MANY_WITHDRAWALS == 0:
            return Trigger.TOO_OFTEN, f"suspected {often} times without a verdict: {suspicion}"
        return Trigger.LOOK_AGAIN, f"suspected, looking on at copies of requests: {suspicion}"
    if mirror is None or (release.step_requests >= mirror.min_requests and not _stays(release)):
        return _first_exposure(release)
    return None


def _preview(release: Release, seen: Observation) -> tuple[Trigger, str] | None:
    strategy = release.guard.strategy
    assert isinstance(strategy, BlueGreen)
    waits = not strategy.automatic_switch or _stays(release) or seen.now_s - release.entered_s < strategy.hold_s
    if waits or not ready(seen, release.candidate):
        return None
    return Trigger.SWITCH, f"all traffic to {release.candidate.id}; the bake begins"


def _expose(progress: Progress, release: Release, seen: Observation) -> tuple[Trigger, str] | None:
    suspicion = _suspicion(release, seen)
    if suspicion:
        return Trigger.SUSPECTED, suspicion
    min_requests, hold_s = enough(release)
    # A cold version may be worse than it stays: until it is warm it gets no more users than it has.
    waits = _stays(release) or cold_for_s(release, seen.now_s) > 0.0 or short_of_replicas(progress, release, seen)
    if waits or release.step_requests < min_requests or seen.now_s - release.step_s < hold_s:
        return None
    sure = _sure(release, seen)
    if sure is None:
        return None
    if release.second_look and release.returns_to is not Phase.BAKING:
        return Trigger.SAME_STEP, f"no harm in {release.step_requests} requests of a second look; the step goes on"
    strategy = release.guard.strategy
    number, none = release.index + 2, f"no harm in {release.step_requests} requests{sure}"
    if isinstance(strategy, Canary) and not release.second_look and number <= len(strategy.steps):
        return Trigger.NEXT_STEP, f"{none}; step {number} of {len(strategy.steps)}: {strategy.steps[number - 1]}"
    return Trigger.SWITCH, f"{none}; promoted, the bake begins"


def _sure(release: Release, seen: Observation) -> str | None:
    """What is sure by now, in words; None while the step waits for it."""
    strategy, judged = release.guard.strategy, release.judgement
    if not isinstance(strategy, Canary) or release.second_look:
        return ""
    step = strategy.steps[release.index]
    if step.until is None:
        return ""
    settings = release.guard.judge
    left = judged.excess_percent if judged is not None else 100.0
    trouble = judged is not None and judged.common_trouble is not None
    enough = left <= settings.healthy_and_percent if step.until is Until.HEALTHY else left < 100.0
    if enough and not trouble:
        return f", surely at most {left:.2g} points above {settings.healthy_times:g} times the old error rate"
    if seen.now_s - release.step_s < step.within_s or trouble:
        return None
    return f" within {step.within_s:g} s, though {left:.2g} points more errors cannot be ruled out yet"


def _stays(release: Release) -> bool:
    """Whether a person or the judge keeps the release where it is."""
    return release.paused or bool(release.judgement and release.judgement.hold)


def _suspicion(release: Release, seen: Observation) -> str | None:
    if _unready(release, seen):
        return f"no replica of {release.candidate.id} is ready"
    return _said(release, Verdict.SUSPECT)


def _said(release: Release, verdict: Verdict) -> str | None:
    """The judge's sentence when this is its verdict now."""
    judged = release.judgement
    return judged.sentence if judged is not None and judged.verdict is verdict else None


def _unready(release: Release, seen: Observation) -> bool:
    """Whether the candidate can answer nobody while somebody else can."""
    elsewhere = ready(seen, release.stable) or standing_by(seen) is not None
    return bool(elsewhere) and not ready(seen, release.candidate)


def _look_again(release: Release, seen: Observation) -> tuple[Trigger, str] | None:
    # Who was only not ready (a restart of the machine, say) is looked at again as soon as it is; too often is too often.
    suspected = _said(release, Verdict.SUSPECT) is not None
    wait_s = release.guard.withdraw_s if suspected else 0.0
    stays = _stays(release) or (suspected and cold_for_s(release, seen.now_s) > 0.0)
    if stays or seen.now_s - release.entered_s < wait_s or not ready(seen, release.candidate):
        return None
    if release.withdrawals % MANY_WITHDRAWALS == 0:
        return (
            Trigger.ASK,
            f"withdrawn {release.withdrawals} times without a verdict, a person decides: {release.reason}",
        )
    return Trigger.LOOK_AGAIN, f"looking at {release.candidate.id} again after withdrawal {release.withdrawals}"


def _bake(progress: Progress, release: Release, seen: Observation) -> Progress:
    suspicion = _suspicion(release, seen)
    if suspicion:
        return replace(progress, release=enter(release, Trigger.SUSPECTED, seen.now_s, suspicion))
    if release.baked_s < release.guard.bake_s:
        passed_s = max(0.0, seen.now_s - max(release.entered_s, release.looked_s))
        counts = _in_force(release, seen) and not short_of_replicas(progress, release, seen)
        baked_s = release.baked_s + (passed_s if counts else 0.0)
        release = replace(release, baked_s=baked_s, looked_s=seen.now_s)
    release = weighed(progress, release, seen)
    if release.baked_s >= release.guard.bake_s and not _stays(release) and not release.waits:
        return promoted(progress, replace(release, reason=_baked(release)), seen.now_s)
    return replace(progress, release=release)


def _baked(release: Release) -> str:
    """Why a release is promoted for good: no harm until the end of its bake, or a person's word."""
    if release.reason.startswith(PROMOTED_BY):
        return release.reason
    none = f"no harm in {release.requests:,} requests" if release.requests else "no harm seen"
    if release.uncounted and not release.requests:
        none = "nothing told of its requests, and it did not crash"
    return f"{none}; its bake of {release.guard.bake_s:g} s is over" if release.guard.bake_s else none


def _in_force(release: Release, seen: Observation) -> bool:
    """Whether the candidate really has the traffic that it bakes in: the proxies are the witness, not our wish."""
    if seen.wanted is not None and seen.wanted.service.port is None:
        return ready(seen, release.candidate) > 0
    has = seen.traffic.split.percent(release.candidate.id) if seen.traffic else 0.0
    return has > 0.0 and has >= release.percent - 0.01 and ready(seen, release.candidate) > 0


def _stay(progress: Progress, release: Release, seen: Observation) -> Progress:
    """The release moves nowhere: its share follows traffic and evidence, but while a policy holds it, it does not grow."""
    if release.phase is Phase.EXPOSED:
        most = release.percent if release.waits else 100.0
        release = weighed(progress, release, seen)
        release = replace(release, percent=min(most, release.percent))
    return replace(progress, release=release)


def _blind(progress: Progress, release: Release, seen: Observation) -> Progress:
    assert release.blind_since_s is not None
    blind_s = seen.now_s - release.blind_since_s
    reason = _suspicion(release, seen)  # what can still be seen still counts
    if reason and release.phase in (Phase.EXPOSED, Phase.BAKING):
        return replace(progress, release=weighed(progress, enter(release, Trigger.SUSPECTED, seen.now_s, reason), seen))
    if release.phase is Phase.BAKING:
        release = weighed(progress, release, seen)
        progress = replace(progress, release=release)
        if release.baked_s >= release.guard.bake_s and not (
            release.paused or release.waits
        ):  # a person's word needs no sight
            return promoted(progress, release, seen.now_s)
    return progress if blind_s < release.guard.blind_s else _impatient(progress, release, seen, blind_s)


def _impatient(progress: Progress, release: Release, seen: Observation, blind_s: float) -> Progress:
    """Blindness has lasted longer than the guard bears."""
    if release.guard.blind_then is Then.HOLD:
        return progress
    what = f"{release.blind_to}: not seen" if release.blind_to else "nothing could be seen"
    reason = f"{what} for {blind_s:.0f} s, and the guard says {release.guard.blind_then.value}"
    if release.guard.blind_then is Then.ROLLBACK:
        return take_back(progress, release, seen.now_s, reason, revert=True, verdict="unproven")
    if release.phase is Phase.WITHDRAWN or release.paused or not ready(seen, release.candidate):
        return progress  # something was seen, a person said stop, or there is nothing to send traffic to
    kept = _kept_up(progress, release, seen, Trigger.BAKED if release.phase is Phase.BAKING else Trigger.SWITCH)
    if kept is not None:
        return replace(progress, release=kept)
    if release.phase is Phase.BAKING:
        return promoted(progress, replace(release, reason=reason), seen.now_s)
    release = gated(progress, release, Trigger.SWITCH, seen.now_s) or enter(release, Trigger.SWITCH, seen.now_s, reason)
    return replace(progress, release=weighed(progress, release, seen))


def _wait_for_a_person(progress: Progress, release: Release, seen: Observation) -> Progress:
    guard = release.guard
    if seen.now_s - release.entered_s < guard.ask_timeout_s or guard.ask_then is Then.HOLD:
        return progress
    reason = f"nobody answered within {guard.ask_timeout_s:g} s: {release.reason}"
    if guard.ask_then is Then.ROLLBACK:
        return take_back(progress, release, seen.now_s, reason, revert=True)
    kept = _kept_up(progress, release, seen, Trigger.OVERRULED_AT_ALL)
    return replace(progress, release=kept or enter(release, Trigger.OVERRULED_AT_ALL, seen.now_s, reason))


def _finish_rollback(progress: Progress, release: Release, seen: Observation) -> Progress:
    """Over when the proxies show no traffic to the candidate and the Git part is done or needless."""
    traffic, wanted = seen.traffic, seen.wanted
    if wanted is not None and wanted.service.port is None:
        away = True
    else:
        away = traffic is not None and not traffic.reaches(release.candidate.id)
    if not away:
        late = seen.now_s - release.entered_s > release.guard.progress_deadline_s
        stuck = traffic is not None and not ready(seen, release.stable) and late
        return retarget(progress, release, seen) if stuck else progress
    if release.revert is not None and release.reverted is None:
        if wanted is None or wanted.version.id in (release.candidate.id, release.stable.id):
            return progress
        return needless(progress, release, seen.now_s, f"Git asks for {wanted.version.id} by now")
    return settled(progress, release, seen.now_s)


def _all_ready(state: WorkloadState | None) -> bool:
    return state is not None and state.ready >= max(1, state.desired)


def _state(release: Release, seen: Observation) -> WorkloadState | None:
    return next((w for w in seen.workloads if w.workload_id == release.candidate.workload.id), None)
