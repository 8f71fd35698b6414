"""What an API server does to Sternway on a bad day: each kind of trouble lasts as long as it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sternway.kubernetes.errors import Conflict, Unreachable
from sternway.testing.kubernetes import FakeKubernetes, Fault

EVERY_S = 0.15
"""How often the watches are ended by the troubles that end them."""


def _busy() -> Exception:
    return Unreachable("429 too many requests", retry_in_s=0.3)


def _broken() -> Exception:
    return Unreachable("500 etcdserver: request timed out", retry_in_s=0.1)


def _reset() -> Exception:
    return Unreachable("connection reset by peer", retry_in_s=0.1)


def _quicker() -> Exception:
    return Conflict("the object has been modified", retry_in_s=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """faults: made anew for each day. again: done to the door all the time. lag_s: so late come the watches' events."""

    faults: Callable[[], tuple[Fault, ...]] = tuple
    again: Callable[[FakeKubernetes], None] | None = None
    lag_s: float = 0.0

    @asynccontextmanager
    async def over(self, door: FakeKubernetes) -> AsyncIterator[None]:
        """Let it be so at a door."""
        mine = self.faults()
        door.faults.extend(mine)
        door.lag_s = self.lag_s
        task = asyncio.create_task(self._go_on(door))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            door.faults[:] = [one for one in door.faults if one not in mine]
            door.lag_s = 0.0

    async def _go_on(self, door: FakeKubernetes) -> None:
        while self.again is not None:
            self.again(door)
            await asyncio.sleep(EVERY_S)


def _forget(door: FakeKubernetes) -> None:
    door.forget()
    door.end_watches()


WEATHERS = {
    "slow": Weather(faults=lambda: (Fault(delay_s=0.3, times=None),)),
    "409 at each third write": Weather(
        faults=lambda: (Fault(verb="write", every=3, error=_quicker, times=None),),
    ),
    "429 at each third request": Weather(faults=lambda: (Fault(every=3, error=_busy, times=None),)),
    "500 at each fourth request": Weather(faults=lambda: (Fault(every=4, error=_broken, times=None),)),
    "the answer to each second write is lost": Weather(
        faults=lambda: (Fault(verb="write", every=2, error=_reset, after=True, times=None),),
    ),
    "connections are reset": Weather(again=lambda door: door.end_watches(_reset)),
    "watches close at once": Weather(again=lambda door: door.end_watches()),
    "410 Gone": Weather(again=_forget),
    "watches tell late": Weather(lag_s=1.0),
}


async def changing(door: FakeKubernetes, chance: random.Random) -> None:
    """One trouble after another, with fair moments between, until cancelled. Prints what it does."""
    while True:
        name = chance.choice(list(WEATHERS))
        lasts_s = chance.uniform(0.2, 1.5)
        print(f"{lasts_s:.1f} s: {name}")  # noqa: T201  what a walk did, for who has to find out
        async with WEATHERS[name].over(door):
            await asyncio.sleep(lasts_s)
        await asyncio.sleep(chance.uniform(0.0, 0.5))
