"""The gates of a release, as people are shown them. Pure; used by `control.status`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sternway.domain.gates import GateOutcome
from sternway.domain.guards import Gate
from sternway.domain.releases import Release

WAITED_FOR = ("running", "failed")
"""States of gates that a release may be waiting for: for their end, or for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateView:
    """A gate of a release. point: when it runs, in words. state: to come, running, passed, passed over, failed or not run.

    since_s: since when it is so; None where that is not known, or nothing happened yet. message: why it failed or was passed over,
    or what keeps it from getting on.
    """

    name: str
    point: str
    state: str
    since_s: float | None = None
    message: str = ""


def gate_views(release: Release, said: Mapping[str, str]) -> tuple[GateView, ...]:
    """Show every gate of a release. said: what keeps those that run from getting on, by name."""
    ended = {one.gate: one for one in release.gates}
    return tuple(_view(release, gate, ended.get(gate.name), said) for gate in release.guard.gates)


def _view(release: Release, gate: Gate, ended: GateOutcome | None, said: Mapping[str, str]) -> GateView:
    if ended is not None:
        state = ("passed over" if ended.why else "passed") if ended.passed else "failed"
        return GateView(name=gate.name, point=gate.point, state=state, since_s=ended.at_s, message=ended.why)
    if gate.name in release.gates_running:
        message = said.get(gate.name, "")
        return GateView(name=gate.name, point=gate.point, state="running", since_s=release.gated_s, message=message)
    return GateView(name=gate.name, point=gate.point, state="not run" if release.phase.over else "to come")
