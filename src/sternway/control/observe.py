"""Reads the world for one pass. Called by `control.reconcile`; nothing is decided and nothing is changed here."""

from __future__ import annotations

from dataclasses import replace

from sternway.clock import Clock
from sternway.control.no_gates import NoGates
from sternway.control.outbox import Outbox
from sternway.domain.platform import WorkloadState
from sternway.domain.releases import Command, Observation, Progress
from sternway.errors import StoreUnavailable
from sternway.policy import bars
from sternway.ports import CommandQueue, Desired, Gates, Platform, SignalSource, TrafficRouter


class Observer:
    """Gathers one frozen Observation."""

    def __init__(
        self,
        *,
        clock: Clock,
        desired: Desired,
        platform: Platform,
        router: TrafficRouter,
        signals: SignalSource,
        commands: CommandQueue,
        outbox: Outbox,
        gates: Gates | None = None,
    ) -> None:
        self._clock = clock
        self._desired = desired
        self._platform = platform
        self._router = router
        self._signals = signals
        self._commands = commands
        self._outbox = outbox
        self._gates = gates or NoGates()
        self._met: set[str] = set()

    async def observe(self, service: str, progress: Progress) -> Observation:
        """Everything that the pass may know."""
        wanted = self._desired.wanted(service)
        workloads = await self.workloads(service)
        recovered = None
        if progress.stable is None and wanted is not None:
            doubtful = wanted.version.id in self._desired.bad(service)
            another = any(one.ready and one.workload_id != wanted.version.workload.id for one in workloads)
            recovered = await self._desired.last_good(service) if doubtful or another else None
        resumed = service not in self._met
        self._met.add(service)
        traffic = await self._router.observe(service)
        commands = await self._new_commands(service, progress)
        waiting = progress.release is not None and progress.release.gates_running
        gates = await self._gates.outcomes(service) if waiting else ()
        now_s = self._clock.now()
        return Observation(
            wanted=wanted,
            workloads=workloads,
            traffic=traffic,
            reading=await self._signals.read(service),  # last: it is read once, and must not be lost by what fails
            commands=commands,
            reverted=self._outbox.reverted(service),
            marked=self._outbox.marked(service),
            ledger_bad=self._desired.bad(service),
            recovered=recovered,
            resumed=resumed,
            gates=gates,
            bars=bars(self._desired.policies(service), service, wanted.guard if wanted else None, now_s),
            now_s=now_s,
        )

    async def workloads(self, service: str) -> tuple[WorkloadState, ...]:
        """What runs for a service, without its single replicas: no decision rests on one."""
        return tuple(replace(state, replicas=()) for state in await self._platform.describe(service))

    async def _new_commands(self, service: str, progress: Progress) -> tuple[Command, ...]:
        try:
            return await self._commands.after(service, progress.last_command)
        except StoreUnavailable:
            # Harm must be seen all the same. What has to be recorded in this pass meets the trouble again and tells it.
            return ()
