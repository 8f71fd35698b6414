"""Leader election: one leads, two never do, and whoever cannot renew stops before another may begin."""

from __future__ import annotations

import asyncio
import random

import pytest
from cluster_world import WAIT_S, World

from sternway.clock import Clock, SystemClock
from sternway.kubernetes.api import Api
from sternway.kubernetes.errors import Denied, Unreachable
from sternway.kubernetes.leader import Leader
from sternway.kubernetes.resources import LEASES
from sternway.testing.fakes import FakeClock
from sternway.testing.kubernetes import FakeKubernetes, Fault


def _leader(api: Api, identity: str, clock: Clock, namespace: str = "shop") -> Leader:
    return Leader(api, namespace=namespace, name="sternway", identity=identity, clock=clock)


async def test_the_first_leads_and_the_second_waits(world: World) -> None:
    """Renewed, it stays so; who waits knows who leads."""
    one, two = (_leader(world.api, name, SystemClock(), world.namespace) for name in ("one", "two"))
    for leader in (one, two, one, two):
        await leader.attend()
    assert (one.leads, two.leads) == (True, False)
    assert two.holder == "one"


async def test_who_resigns_is_followed_at_once(world: World) -> None:
    """No wait for the lease's end; the changes of leader are counted."""
    one, two = (_leader(world.api, name, SystemClock(), world.namespace) for name in ("one", "two"))
    await one.attend()
    await one.resign()
    await two.attend()
    assert (one.leads, two.leads) == (False, True)
    lease = await world.api.get(LEASES, "sternway", world.namespace)
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == "two"
    assert lease["spec"]["leaseTransitions"] == 2


async def test_who_cannot_renew_stops_before_another_begins() -> None:
    """Cut off, it leads for the deadline and no longer; the other waits for the whole lease."""
    clock, fake = FakeClock(), FakeKubernetes()
    cut = FakeKubernetes()
    cut.store = fake.store
    one, two = _leader(cut, "one", clock), _leader(fake, "two", clock)
    await one.attend()
    await two.attend()
    cut.faults.append(Fault(error=lambda: Unreachable("cut off"), times=None))
    changes: list[tuple[int, bool, bool]] = []
    for second in range(1, 20):
        clock.sleep(1)
        await one.attend()
        await two.attend()
        changes.append((second, one.leads, two.leads))
    assert [second for second, first, _ in changes if first] == list(range(1, 10))
    assert next(second for second, _, other in changes if other) == 15
    assert isinstance(one.error, Unreachable)


async def test_a_slow_renewal_counts_from_its_beginning() -> None:
    """The answer comes late: what is left of the deadline is short by that."""
    clock, fake = FakeClock(), FakeKubernetes(clock=FakeClock())
    one = _leader(fake, "one", clock)
    get = fake.get

    async def slow(*args: object, **more: object) -> object:
        clock.sleep(8)
        return await get(*args, **more)  # type: ignore[arg-type] # passed on as it came

    fake.get = slow  # type: ignore[assignment,method-assign] # a slow server
    await one.attend()
    assert one.leads
    clock.sleep(3)
    assert not one.leads


def lost() -> Exception:
    """An answer that does not arrive."""
    return Unreachable("lost")


@pytest.mark.parametrize("seed", range(20))
async def test_two_never_lead_at_once(seed: int) -> None:
    """Whatever is lost, on the way there or back, however late each comes, and after a restart under a new name."""
    chance = random.Random(seed)
    clock, fake = FakeClock(), FakeKubernetes()
    leaders = [_leader(fake, f"{number}", clock) for number in range(3)]
    led: set[str] = set()
    for step in range(400):
        clock.sleep(chance.choice((0.1, 1, 3, 6)))
        assert sum(leader.leads for leader in leaders) <= 1
        if chance.random() < 0.4:
            verb = chance.choice(("get", "update", "create"))
            fake.faults[:] = [Fault(verb=verb, error=lost, after=chance.random() < 0.5)]
        else:
            fake.faults.clear()
        number = chance.randrange(3)
        if chance.random() < 0.02:
            leaders[number] = _leader(fake, f"{number}-{step}", clock)
        await leaders[number].attend()
        led |= {leader.identity for leader in leaders if leader.leads}
        assert sum(leader.leads for leader in leaders) <= 1
    assert len(led) >= 2


async def test_work_runs_while_we_lead_and_is_cancelled_when_we_do_not() -> None:
    """Lost: the work has ended; regained: it begins anew."""
    clock, fake = FakeClock(), FakeKubernetes()
    leader = Leader(fake, namespace="shop", name="a", identity="one", clock=clock, retry_s=0.01)
    begun, ended = asyncio.Queue[int](), asyncio.Queue[int]()

    async def work() -> None:
        begun.put_nowait(1)
        try:
            await asyncio.Event().wait()
        finally:
            ended.put_nowait(1)

    leading = asyncio.create_task(leader.lead(work))
    async with asyncio.timeout(WAIT_S):
        await begun.get()
        fake.faults.append(Fault(error=lambda: Unreachable("cut off"), times=None))
        while fake.faults[0].met == 0:
            await asyncio.sleep(0.01)
        clock.sleep(11)
        await ended.get()
        fake.faults.clear()
        await begun.get()
        leading.cancel()
        await ended.get()
        await asyncio.wait([leading])
    lease = await fake.get(LEASES, "a", "shop")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == ""


async def test_who_resigns_does_not_wait_for_a_server_that_hangs() -> None:
    """SIGTERM leaves half a minute: the lease is left to run out."""
    fake = FakeKubernetes()
    leader = Leader(fake, namespace="shop", name="a", identity="one", clock=SystemClock(), retry_s=0.01)
    await leader.attend()
    fake.faults.append(Fault(until=asyncio.Event(), times=None))
    async with asyncio.timeout(WAIT_S):
        await leader.resign()
    assert not leader.leads
    assert isinstance(leader.error, Unreachable)


async def test_what_the_work_raises_is_raised() -> None:
    """An error of ours is not hidden by the election."""

    async def work() -> None:
        raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        async with asyncio.timeout(WAIT_S):
            await _leader(FakeKubernetes(), "one", SystemClock()).lead(work)


async def test_who_may_not_write_leases_says_so() -> None:
    """Denied is in `error`, and it does not lead."""
    fake = FakeKubernetes()
    fake.faults.append(Fault(verb="create", error=lambda: Denied("create leases"), times=None))
    leader = _leader(fake, "one", SystemClock())
    await leader.attend()
    assert not leader.leads
    assert isinstance(leader.error, Denied)
