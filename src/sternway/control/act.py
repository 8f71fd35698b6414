"""Makes the world as decided. Called by `control.reconcile`, last; the only module with effects on the mesh.

Every action is idempotent and starts from the desired world, so a pass may be cut off at any point and repeated.
Order: traffic first, then workloads, then Git (in the background: a Git server that is down delays only Git).
"""

from __future__ import annotations

from sternway.control.outbox import Outbox
from sternway.domain.platform import WorkloadRun
from sternway.domain.releases import Decision, Observation
from sternway.domain.traffic import TrafficPlan
from sternway.ports import Platform, SignalSource, TrafficRouter


class Actor:
    """Carries decisions out through the ports."""

    def __init__(self, *, platform: Platform, router: TrafficRouter, signals: SignalSource, outbox: Outbox) -> None:
        self._platform = platform
        self._router = router
        self._signals = signals
        self._outbox = outbox
        self._runs: dict[str, tuple[WorkloadRun, ...]] = {}

    async def act(self, decision: Decision, seen: Observation | None) -> str:
        """Bring the world to the decision; returns what was changed, in words ('' when nothing had to be)."""
        done = []
        self._signals.ask(decision.service, decision.question)
        if decision.gone:
            await self._router.release(decision.service)
        elif decision.traffic is not None and (seen is None or seen.traffic != decision.traffic):
            await self._router.apply(decision.traffic)
            done.append(f"traffic: {_words(decision.traffic)}")
        if self._runs.get(decision.service) != decision.workloads:
            await self._platform.apply(decision.service, decision.workloads)
            self._runs[decision.service] = decision.workloads
            done.append(
                "workloads: "
                + (", ".join(f"{run.workload.image} x{run.replicas}" for run in decision.workloads) or "none")
            )
        self._outbox.post(decision)
        return "; ".join(done)

    async def only_take_away(self, decision: Decision, seen: Observation) -> None:
        """When the journal cannot be written: apply the split if it gives some version less than it has, else nothing."""
        desired, now = decision.traffic, seen.traffic
        if desired is None or now is None or decision.release is None:
            return
        stable = decision.question.stable if decision.question else None
        if stable and desired.split.percent(stable) > now.split.percent(stable):
            await self._router.apply(desired)


def _words(plan: TrafficPlan) -> str:
    extra = [f"mirror {plan.mirror.percent:g} % to {plan.mirror.version}"] if plan.mirror else []
    extra += [f"preview {plan.preview}"] if plan.preview else []
    extra += ["shielded"] if plan.shield else []
    return ", ".join([str(plan.split), *extra])
