"""Reads the world for one pass. Called by `control.reconcile`; nothing is decided and nothing is changed here."""

from __future__ import annotations

from dataclasses import replace

from sternway.clock import Clock
from sternway.control.follow_git import GitFollower
from sternway.control.outbox import Outbox
from sternway.domain.releases import Observation, Progress
from sternway.ports import CommandQueue, Platform, SignalSource, TrafficRouter


class Observer:
    """Gathers one frozen Observation."""

    def __init__(
        self,
        *,
        clock: Clock,
        git: GitFollower,
        platform: Platform,
        router: TrafficRouter,
        signals: SignalSource,
        commands: CommandQueue,
        outbox: Outbox,
    ) -> None:
        self._clock = clock
        self._git = git
        self._platform = platform
        self._router = router
        self._signals = signals
        self._commands = commands
        self._outbox = outbox
        self._met: set[str] = set()

    async def observe(self, service: str, progress: Progress) -> Observation:
        """Everything that the pass may know."""
        wanted = self._git.wanted(service)
        recovered = None
        if progress.stable is None and wanted is not None and wanted.version.id in self._git.bad(service):
            recovered = await self._git.last_good(service)
        workloads = await self._platform.describe(service)
        resumed = service not in self._met
        self._met.add(service)
        return Observation(
            wanted=wanted,
            workloads=tuple(replace(state, replicas=()) for state in workloads),
            traffic=await self._router.observe(service),
            reading=await self._signals.read(service),
            commands=await self._commands.after(service, progress.last_command),
            reverted=self._outbox.reverted(service),
            marked=self._outbox.marked(service),
            ledger_bad=self._git.bad(service),
            recovered=recovered,
            resumed=resumed,
            now_s=self._clock.now(),
        )
