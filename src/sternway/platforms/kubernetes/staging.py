"""The two ways in which versions stand beside each other, and which one a service has. Read by `platform`. Pure.

A Deployment has a twin; a StatefulSet or DaemonSet, whose pods cannot run twice, has its versions within itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from sternway.domain.platform import WorkloadRun, WorkloadState
from sternway.kubernetes.backends import Backends
from sternway.platforms.kubernetes import endings, in_place, plan, states
from sternway.platforms.kubernetes.plan import Plan
from sternway.platforms.kubernetes.scene import Scene
from sternway.platforms.kubernetes.writes import Write


class Staging(Protocol):
    """How versions stand beside each other."""

    def plan(self, scene: Scene, runs: Sequence[WorkloadRun], carrying: Collection[str], *, quiet: bool) -> Plan:
        """What to write now. See `plan.plan`."""
        ...

    def backends(self, scene: Scene) -> Backends | None:
        """Where each version is reached now."""
        ...

    def states(self, scene: Scene, backends: Backends | None, runs: Sequence[WorkloadRun]) -> tuple[WorkloadState, ...]:
        """What runs. runs: what should; nothing where that is not known."""
        ...

    def pods(self, scene: Scene) -> dict[str, str]:
        """Name of each pod -> id of the workload that it runs."""
        ...

    def given_back(self, scene: Scene, carrying: Collection[str], *, quiet: bool) -> tuple[Write, ...]:
        """The next writes that take Sternway out."""
        ...

    def holds(self, scene: Scene) -> bool:
        """Whether anything of ours is still there."""
        ...


class Twins:
    """A Deployment and its twin."""

    def plan(self, scene: Scene, runs: Sequence[WorkloadRun], carrying: Collection[str], *, quiet: bool) -> Plan:
        """See Staging."""
        return plan.plan(scene, runs, carrying, quiet=quiet)

    def backends(self, scene: Scene) -> Backends | None:
        """See Staging."""
        return plan.backends_of(scene)

    def states(self, scene: Scene, backends: Backends | None, runs: Sequence[WorkloadRun]) -> tuple[WorkloadState, ...]:
        """See Staging. Each version has a Deployment of its own, which says how many it should have."""
        del runs
        return states.workload_states(scene, backends)

    def pods(self, scene: Scene) -> dict[str, str]:
        """See Staging."""
        return states.workloads_of_pods(scene)

    def given_back(self, scene: Scene, carrying: Collection[str], *, quiet: bool) -> tuple[Write, ...]:
        """See Staging."""
        return endings.given_back(scene, carrying, quiet=quiet)

    def holds(self, scene: Scene) -> bool:
        """See Staging."""
        return bool(endings.leftovers(scene))


class InPlace:
    """Versions within one StatefulSet or DaemonSet."""

    def plan(self, scene: Scene, runs: Sequence[WorkloadRun], carrying: Collection[str], *, quiet: bool) -> Plan:
        """See Staging."""
        return in_place.plan(scene, runs, carrying, quiet=quiet)

    def backends(self, scene: Scene) -> Backends | None:
        """See Staging."""
        return in_place.backends_of(scene)

    def states(self, scene: Scene, backends: Backends | None, runs: Sequence[WorkloadRun]) -> tuple[WorkloadState, ...]:
        """See Staging. Each pod says itself of which version it is."""
        del backends
        return states.states_in_place(scene, runs)

    def pods(self, scene: Scene) -> dict[str, str]:
        """See Staging."""
        return states.workloads_in_place(scene)

    def given_back(self, scene: Scene, carrying: Collection[str], *, quiet: bool) -> tuple[Write, ...]:
        """See Staging."""
        return endings.let_go(scene, carrying, quiet=quiet)

    def holds(self, scene: Scene) -> bool:
        """See Staging."""
        return endings.is_held(scene)


_TWINS, _IN_PLACE = Twins(), InPlace()


def staging_of(scene: Scene) -> Staging:
    """Which way a service's versions stand."""
    return _IN_PLACE if scene.in_place else _TWINS
