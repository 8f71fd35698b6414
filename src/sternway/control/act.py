"""Makes the world as decided. Called by `control.reconcile`, last; the only module with effects on the mesh.

Every action is idempotent and starts from the desired world, so a pass may be cut off at any point and repeated.
Order: traffic first, then workloads, then Git (in the background: a Git server that is down delays only Git), then gates.
"""

from __future__ import annotations

from dataclasses import replace

from sternway.control.no_gates import NoGates
from sternway.control.outbox import Outbox
from sternway.domain.platform import WorkloadRun
from sternway.domain.releases import Decision, Observation
from sternway.domain.traffic import TrafficPlan
from sternway.errors import SternwayError
from sternway.ports import Gates, Platform, SignalSource, TrafficRouter


class Actor:
    """Carries decisions out through the ports."""

    def __init__(
        self,
        *,
        platform: Platform,
        router: TrafficRouter,
        signals: SignalSource,
        outbox: Outbox,
        gates: Gates | None = None,
    ) -> None:
        self._platform = platform
        self._router = router
        self._signals = signals
        self._outbox = outbox
        self._gates = gates or NoGates()
        self._gated: dict[str, bool] = {}
        self._runs: dict[str, tuple[WorkloadRun, ...]] = {}

    async def act(self, decision: Decision, seen: Observation | None) -> str:
        """Bring the world to the decision; returns what was changed, in words ('' when nothing had to be).

        What fails holds nothing else up: it is raised at the end. While traffic is not as decided, no workload stops.
        """
        self._signals.ask(decision.service, decision.question)
        failures: list[SternwayError] = []
        done = ["", ""]
        try:
            done[0] = await self._move_traffic(decision, seen)
        except SternwayError as failure:
            failures.append(failure)
        try:
            done[1] = await self._run_workloads(decision, keep=bool(failures))
        except SternwayError as failure:
            failures.append(failure)
        self._outbox.post(decision)
        try:
            await self._run_gates(decision, ready=not failures)
        except SternwayError as failure:
            failures.append(failure)
        if failures:
            raise failures[0]
        return "; ".join(what for what in done if what)

    async def _move_traffic(self, decision: Decision, seen: Observation | None) -> str:
        if decision.gone:
            await self._router.release(decision.service)
        elif decision.traffic is not None and (seen is None or seen.traffic != decision.traffic):
            await self._router.apply(decision.traffic)
            return f"traffic: {_words(decision.traffic)}"
        return ""

    async def _run_workloads(self, decision: Decision, *, keep: bool) -> str:
        known = self._runs.get(decision.service)
        if keep and known is None:
            return ""  # nobody knows what still has traffic
        runs = {run.workload.id: run for run in decision.workloads}
        for run in (known or ()) if keep else ():
            now = runs.get(run.workload.id, run)
            runs[run.workload.id] = replace(now, replicas=max(now.replicas, run.replicas))
        wanted = tuple(runs.values())
        if known == wanted:
            return ""
        await self._platform.apply(decision.service, wanted)
        self._runs[decision.service] = wanted
        return "workloads: " + (", ".join(f"{run.workload.image} x{run.replicas}" for run in wanted) or "none")

    async def _run_gates(self, decision: Decision, *, ready: bool) -> None:
        """Each pass for as long as there are any: it costs nothing once they run. A gate asks a world that is as decided."""
        if not decision.gates:
            if self._gated.get(decision.service, True):
                await self._gates.run(decision.service, ())
                self._gated[decision.service] = False
        elif ready:
            self._gated[decision.service] = True
            await self._gates.run(decision.service, decision.gates)

    async def only_take_away(self, decision: Decision, seen: Observation) -> None:
        """When the journal cannot be written: apply the plan if it takes some version's users away, else nothing."""
        desired, now = decision.traffic, seen.traffic
        if desired is None or now is None or decision.release is None:
            return
        stable = decision.question.stable if decision.question else None
        back = stable is not None and desired.split.percent(stable) > now.split.percent(stable)
        if back or set(desired.pins) < set(now.pins):
            await self._router.apply(desired)


def _words(plan: TrafficPlan) -> str:
    extra = [f"mirror {plan.mirror.percent:g} % to {plan.mirror.version}"] if plan.mirror else []
    extra += [f"preview {plan.preview}"] if plan.preview else []
    extra += ["shielded"] if plan.shield else []
    return ", ".join([str(plan.split), *extra])
