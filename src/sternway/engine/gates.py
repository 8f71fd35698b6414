"""Gates: what must succeed before a release goes on. Pure; called by `step` (learn), `advance` (wait) and `world` (run).

A gate runs once for a release. What a person says, and the return to a version that was proven good, pass over them.
"""

from __future__ import annotations

from dataclasses import replace

from sternway.domain.gates import GateOutcome, GateRun
from sternway.domain.guards import Gate, Then
from sternway.domain.releases import Observation, Progress, Release
from sternway.domain.versions import Service
from sternway.engine.transitions import Trigger

GRACE_S = 15.0
"""How long after its time a gate may still be reported by what runs it, which ends it by itself."""


def learned(release: Release, seen: Observation) -> Release:
    """Take over how gates ended, and end those that nobody reports within their time."""
    known = {one.gate for one in release.gates}
    new = [one for one in seen.gates if one.release == release.name and one.gate not in known]
    new = [one for one in new if one.gate in release.gates_running]
    told = {one.gate for one in new}
    since_s = seen.now_s if seen.resumed or release.gated_s is None else release.gated_s
    for gate in _running(release):
        if gate.name not in told and seen.now_s - since_s > gate.timeout_s + GRACE_S:
            why = f"nothing was heard of it within {gate.timeout_s:g} s"
            new.append(GateOutcome(release=release.name, gate=gate.name, passed=False, why=why))
    over = {one.gate for one in new}
    running = tuple(name for name in release.gates_running if name not in over)
    return replace(
        release,
        gates=(*release.gates, *(replace(one, at_s=seen.now_s) for one in new)),
        gates_running=running,
        gated_s=since_s if running else None,
    )


def failed(release: Release, then: Then) -> str:
    """A sentence when a gate has failed whose failure does this; else ""."""
    gates = {gate.name: gate for gate in release.guard.gates}
    found = [one for one in release.gates if not one.passed and one.gate in gates and gates[one.gate].then is then]
    return "; ".join(f"gate {one.gate} failed: {one.why}" for one in found)


def overruled(release: Release, why: str) -> Release:
    """A person passes over what failed."""
    return replace(
        release, gates=tuple(one if one.passed else replace(one, passed=True, why=why) for one in release.gates)
    )


def gated(progress: Progress, release: Release, trigger: Trigger, now_s: float) -> Release | None:
    """The release with the gates running that must pass before this move; None when nothing is in its way."""
    passed = {one.gate for one in release.gates if one.passed}
    before = [gate for gate in _on_the_way(progress, release, trigger) if gate.name not in passed]
    if not before:
        return None
    ended = {one.gate for one in release.gates}
    running = tuple(gate.name for gate in before if gate.name not in ended)
    held = failed(release, Then.HOLD)
    if held:
        reason = f"{held}; held until a person resumes or aborts it"
    else:
        words = " and ".join(f"gate {gate.name}" for gate in before if gate.name in running)
        reason = f"waiting for {words}, {before[0].point}"
    same = running == release.gates_running
    since_s = (release.gated_s if same and release.gated_s is not None else now_s) if running else None
    return replace(release, gates_running=running, gated_s=since_s, reason=reason)


def runs(release: Release, service: Service) -> tuple[GateRun, ...]:
    """What shall run now."""
    return tuple(
        GateRun(
            release=release.name,
            gate=gate,
            candidate=release.candidate,
            stable=release.stable,
            service=service,
        )
        for gate in _running(release)
    )


def _running(release: Release) -> tuple[Gate, ...]:
    return tuple(gate for gate in release.guard.gates if gate.name in release.gates_running)


def _on_the_way(progress: Progress, release: Release, trigger: Trigger) -> tuple[Gate, ...]:
    """The gates that stand before a move."""
    gates = release.guard.gates
    match trigger:
        case Trigger.READY_TO_MIRROR | Trigger.READY_TO_PREVIEW | Trigger.READY_TO_EXPOSE:
            return tuple(gate for gate in gates if gate.before_step == 1)
        case Trigger.READY_TO_RETURN:
            proven = any(version.id == release.candidate.id for version in progress.good)
            return () if proven else gates
        case Trigger.NEXT_STEP:
            return tuple(
                gate for gate in gates if gate.before_step is not None and gate.before_step <= release.index + 2
            )
        case Trigger.SWITCH:
            return gates
        case _:
            return ()
