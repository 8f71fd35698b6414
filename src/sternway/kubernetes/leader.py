"""One of several replicas leads: a Lease of the API says which, and until when.

    leader = Leader(api, namespace="sternway", name="sternway", identity=f"{pod}_{uuid4()}", clock=clock)
    await leader.lead(work)      # runs `work` whenever we lead, cancels it when we lose it

Rule: two never lead at once. Whoever leads stops by itself `deadline_s` after it *began* the last renewal that
succeeded; another takes over only after it saw the lease unchanged for `lease_s` of its own time. No clock is compared
with another machine's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from sternway.clock import Clock
from sternway.errors import SternwayError
from sternway.kubernetes.api import Api, Object
from sternway.kubernetes.errors import Conflict, Unreachable
from sternway.kubernetes.resources import LEASES

_CHECK_S = 0.25
"""How long after the deadline we may still be at work, at most: well within lease_s - deadline_s."""


class Leader:
    """Takes part in an election. identity: ours alone, also after a restart."""

    def __init__(
        self,
        api: Api,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        lease_s: float = 15.0,
        deadline_s: float = 10.0,
        retry_s: float = 2.0,
    ) -> None:
        assert retry_s < deadline_s < lease_s
        self.identity = identity
        self.holder = ""
        self.error: SternwayError | None = None
        self._api, self._namespace, self._name, self._clock = api, namespace, name, clock
        self._lease_s, self._deadline_s, self._retry_s = lease_s, deadline_s, retry_s
        self._until_s = float("-inf")
        self._seen: tuple[object, ...] = ()
        self._seen_s = 0.0

    @property
    def leads(self) -> bool:
        """Whether we lead now."""
        return self._clock.now() < self._until_s

    async def attend(self) -> None:
        """Take the lease, renew it, or see who has it; once. `error` says what did not succeed."""
        began_s = self._clock.now()
        try:
            async with asyncio.timeout(self._deadline_s):
                held = await self._hold()
        except TimeoutError:
            self.error = Unreachable(f"the lease {self._name} was not renewed in {self._deadline_s:.0f} s")
            return
        except SternwayError as exc:
            self.error = None if isinstance(exc, Conflict) else exc
            return
        self.error = None
        self._until_s = began_s + self._deadline_s if held else float("-inf")

    async def lead(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` whenever we lead, for ever; cancel it when we do not. What it raises is raised here."""
        attending = asyncio.create_task(self._attend_always())
        working: asyncio.Task[None] | None = None
        try:
            while True:
                if self.leads and working is None:
                    working = asyncio.create_task(work())
                elif not self.leads and working is not None:
                    await _stopped(working)
                    working = None
                await asyncio.wait(
                    {one for one in (attending, working) if one}, timeout=_CHECK_S, return_when="FIRST_COMPLETED"
                )
                for task in (attending, working):
                    if task is not None and task.done():
                        task.result()
                        return
        finally:
            for task in (working, attending):
                if task is not None:
                    await _stopped(task)
            await self.resign()

    async def resign(self) -> None:
        """Give the lease back, so that another need not wait for its end. A server that is slow is not waited for."""
        if not self.leads:
            return
        self._until_s = float("-inf")
        try:
            async with asyncio.timeout(self._retry_s):
                lease = await self._api.get(LEASES, self._name, self._namespace)
                if lease is not None and lease["spec"].get("holderIdentity") == self.identity:
                    await self._write(lease, holder="")
        except TimeoutError:
            self.error = Unreachable(f"the lease {self._name} was not given back in {self._retry_s:g} s")
        except SternwayError as exc:
            self.error = exc

    async def _attend_always(self) -> None:
        while True:
            await self.attend()
            await asyncio.sleep(self._retry_s * random.uniform(0.8, 1.2))  # noqa: S311 # jitter

    async def _hold(self) -> bool:
        lease = await self._api.get(LEASES, self._name, self._namespace)
        if lease is None:
            metadata = {"name": self._name, "namespace": self._namespace}
            await self._api.create(LEASES, {"metadata": metadata, "spec": self._spec({}, self.identity)})
            self.holder = self.identity
            return True
        spec = lease.get("spec") or {}
        self.holder = str(spec.get("holderIdentity") or "")
        seen = (self.holder, spec.get("renewTime"), spec.get("leaseTransitions"), lease["metadata"]["uid"])
        if seen != self._seen:
            self._seen, self._seen_s = seen, self._clock.now()
        rests_s = self._clock.now() - self._seen_s
        if self.holder not in {"", self.identity} and rests_s < float(
            spec.get("leaseDurationSeconds") or self._lease_s
        ):
            return False
        await self._write(lease, holder=self.identity)
        self.holder = self.identity
        return True

    async def _write(self, lease: Object, *, holder: str) -> None:
        """Write over the very lease that was read."""
        await self._api.replace(LEASES, {**lease, "spec": self._spec(lease.get("spec") or {}, holder)})

    def _spec(self, before: dict[str, Any], holder: str) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        new = before.get("holderIdentity") != holder
        return {
            **before,
            "holderIdentity": holder,
            "leaseDurationSeconds": round(self._lease_s) if holder else 1,
            "acquireTime": now if new else before.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (new and bool(before)),
        }


async def _stopped(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; what it raised meanwhile is raised by whoever asks for its result."""
    task.cancel()
    await asyncio.wait([task])
