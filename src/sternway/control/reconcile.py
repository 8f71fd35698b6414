"""READ THIS FIRST: one pass over one service, the whole loop of Sternway.

    observe   reads everything that a pass may know, once
    step      pure: judges and decides (sternway.engine.step)
    record    the journal is durable before any effect
    act       makes the world as decided: traffic first
    record    applied, or failed and when to try again

Woken by name only (control.queue): an event never commands, the state is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sternway.clock import Clock
from sternway.control.act import Actor
from sternway.control.histograms import Durations
from sternway.control.observe import Observer
from sternway.control.unrecorded import Unrecorded
from sternway.domain.platform import WorkloadState
from sternway.domain.releases import Decision, Observation, Progress, Reply
from sternway.engine.exposure import reachable
from sternway.engine.step import Step, step
from sternway.errors import SternwayError, StoreUnavailable
from sternway.ports import Entry, Journal


class Reconciler:
    """Brings services to their desired state, one pass at a time; passes of one service never overlap."""

    def __init__(
        self,
        *,
        observer: Observer,
        actor: Actor,
        journal: Journal,
        clock: Clock,
        answer: Callable[[Reply], None],
        tell: Callable[[Progress, Sequence[WorkloadState]], None] = lambda _, __: None,
    ) -> None:
        self._observer = observer
        self._actor = actor
        self._journal = journal
        self._clock = clock
        self._answer = answer
        self._tell = tell
        self._progress: dict[str, Progress] = {}
        self._decisions: dict[str, Decision] = {}
        self._unrecorded: dict[str, Unrecorded] = {}
        self.durations = Durations()

    async def reconcile(self, service: str) -> float | None:
        """Take one pass; returns when to look again (seconds since the epoch)."""
        with self.durations.reconcile.timed():
            return await self._pass(service)

    async def _pass(self, service: str) -> float | None:
        before = await self.progress(service)
        seen = await self._observer.observe(service, before)
        with self.durations.judge.timed():
            after = step(before, seen)
        recorded = await self._record(before, seen, after)
        self._tell(after.progress, seen.workloads)  # people, in their own time: nothing here waits for it
        try:
            with self.durations.act.timed():
                await self._act(after, seen)
        finally:  # a command is obeyed once it is recorded, whatever keeps the world from following at once
            for reply in recorded:
                self._answer(reply)
        return after.decision.look_at_s

    async def converge(self, service: str) -> None:
        """On start: put the recorded decision into force again before any signal is read.

        A candidate whose replicas are not back yet is left out; the first pass gives it what it can take.
        """
        passes = await self._journal.latest(service)
        if passes is None or passes.decision is None:
            return
        decision = passes.decision
        if decision.traffic is not None and decision.question is not None:
            workloads = await self._observer.workloads(service)
            decision = replace(decision, traffic=reachable(decision.traffic, decision.question.stable, workloads))
        await self._actor.act(decision, None)

    async def progress(self, service: str) -> Progress:
        """Where a service stands."""
        if service not in self._progress:
            self._progress[service] = await self._journal.progress(service) or Progress(service=service)
        return self._progress[service]

    def decision(self, service: str) -> Decision | None:
        """The latest decision on a service in this process."""
        return self._decisions.get(service)

    async def _record(self, before: Progress, seen: Observation, after: Step) -> tuple[Reply, ...]:
        """Write the pass down before it has any effect; a pass that changed nothing is not worth a line.

        Returns the answers to commands that are durable now.
        """
        previous = self._decisions.get(before.service)
        self._progress[before.service] = after.progress
        self._decisions[before.service] = after.decision
        changed = previous is None or _essence(previous) != _essence(after.decision)
        waiting = self._unrecorded.setdefault(before.service, Unrecorded())
        if changed or _at_rest(before) != _at_rest(after.progress):
            waiting.add(
                Entry(
                    service=before.service,
                    release=after.decision.release,
                    kind="pass",
                    at_s=seen.now_s,
                    before=before if after.progress.releases != before.releases else None,
                    observation=seen,
                    decision=after.decision,
                    progress=after.progress,
                )
            )
        if not waiting.lines:
            return ()
        try:
            await self._journal.record(waiting.entries(), sync=changed or len(waiting.lines) > 1)
        except StoreUnavailable:
            # The journal cannot be written. Nothing new is begun, but a rollback cannot be blocked:
            # traffic is taken away all the same, and the lines are kept and written first as soon as it can be.
            await self._actor.only_take_away(after.decision, seen)
            raise
        del self._unrecorded[before.service]
        return waiting.replies()

    async def _act(self, after: Step, seen: Observation) -> None:
        decision = after.decision
        try:
            applied = await self._actor.act(decision, seen)
        except SternwayError as failure:
            await self._note(decision, "failed", str(failure))
            raise
        if applied:
            await self._note(decision, "applied", applied)

    async def _note(self, decision: Decision, kind: str, text: str) -> None:
        entry = Entry(service=decision.service, release=decision.release, kind=kind, at_s=self._clock.now(), text=text)
        await self._journal.record((entry,))


def _essence(decision: Decision) -> Decision:
    """A decision without what changes by the mere passing of time."""
    return replace(decision, look_at_s=None)


def _at_rest(progress: Progress) -> Progress:
    """Progress without the figures that move while nothing happens."""
    return (
        replace(progress, rate_per_s=None, stable_ms=(), answered=None)
        if progress.release is None or progress.release.phase.over
        else progress
    )
