"""The probes of one running process over its life: startup, then readiness and liveness. Used by replica.

Kubernetes' semantics, with one difference: while a replica has not been ready yet it is asked more often than
`period_s`, so that a start is not held up. Thresholds keep their meaning in time: a startup probe may fail for
`failure_threshold` periods.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sternway.domain.versions import Probe, Workload
from sternway.platforms.local.launch import Launch
from sternway.platforms.local.network import accepts
from sternway.platforms.local.probes import Prober

CONNECT_S = 0.025
FAST_S = 0.1
_SLOWER = 0.02
"""Waiting for a start adds at most this share to it: a long wait is asked about more and more rarely."""
_SLOWEST_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Watches one process.

    age_s: how long it ran before (an adopted one): initial delays count from its start.
    heard: called with (ready, why not) whenever either changes.
    """

    workload: Workload
    port: int
    age_s: float
    prober: Prober
    launch: Callable[[], Awaitable[Launch]]
    heard: Callable[[bool, str], None]

    async def run(self) -> str:
        """Return why the process must be restarted; until then, go on."""
        if self.workload.startup is not None:
            trouble = await self._start_up(self.workload.startup)
            if trouble:
                return trouble
        tasks = {asyncio.create_task(self._readiness()), asyncio.create_task(self._liveness())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(iter(done)).result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _start_up(self, probe: Probe) -> str | None:
        began = _now()
        await self._initial_delay(probe)
        patience_s = max(0.0, probe.initial_delay_s - self.age_s) + probe.failure_threshold * probe.period_s
        while True:
            trouble = await self._ask(probe)
            if trouble is None:
                return None
            self.heard(False, f"startup probe: {trouble}")
            if _now() - began >= patience_s:
                return f"startup probe failed for {patience_s:g} s: {trouble}"
            await asyncio.sleep(_rising(FAST_S, _now() - began, probe.period_s))

    async def _readiness(self) -> str:
        probe = self.workload.readiness
        if probe is not None:
            await self._initial_delay(probe)
        if _needs_port(self.workload):
            await self._port_opens()
        if probe is None:
            self.heard(True, "")
            return await _never()
        return await self._readiness_probe(probe)

    async def _readiness_probe(self, probe: Probe) -> str:
        began = _now()
        passed = failed = 0
        ready = was_ready = False
        while True:
            trouble = await self._ask(probe)
            passed, failed = (passed + 1, 0) if trouble is None else (0, failed + 1)
            if not ready and passed >= probe.success_threshold:
                ready = was_ready = True
                self.heard(True, "")
            elif trouble is not None and (not was_ready or failed >= probe.failure_threshold):
                ready = False
                self.heard(False, f"readiness probe: {trouble}")
            wait_s = probe.period_s if was_ready else _rising(FAST_S, _now() - began, probe.period_s)
            await asyncio.sleep(wait_s)

    async def _liveness(self) -> str:
        probe = self.workload.liveness
        if probe is None:
            return await _never()
        await self._initial_delay(probe)
        failed = 0
        while True:
            trouble = await self._ask(probe)
            failed = 0 if trouble is None else failed + 1
            if trouble is not None and failed >= probe.failure_threshold:
                return f"liveness probe failed {failed} times: {trouble}"
            await asyncio.sleep(probe.period_s)

    async def _port_opens(self) -> None:
        began = _now()
        while True:
            trouble = await accepts(self.port)
            if trouble is None:
                return
            self.heard(False, trouble)
            await asyncio.sleep(_rising(CONNECT_S, _now() - began, _SLOWEST_S))

    async def _ask(self, probe: Probe) -> str | None:
        return await self.prober.check(probe, self.port, self.launch)

    async def _initial_delay(self, probe: Probe) -> None:
        if probe.initial_delay_s > self.age_s:
            await asyncio.sleep(probe.initial_delay_s - self.age_s)


def has_address(workload: Workload) -> bool:
    """Whether callers can reach it: it states a port, or a probe asks one."""
    return workload.port is not None or _asks_port(workload)


def _needs_port(workload: Workload) -> bool:
    """Whether its port must open first: the readiness probe asks it, or stands in for one that is not stated."""
    if workload.readiness is None:
        return workload.port is not None
    return _asks_port(workload)


def _asks_port(workload: Workload) -> bool:
    probe = workload.readiness
    return probe is not None and (probe.http_path is not None or probe.tcp)


def _rising(fast_s: float, waited_s: float, slow_s: float) -> float:
    return min(max(fast_s, waited_s * _SLOWER), max(fast_s, slow_s))


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _never() -> str:
    never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    return await never
