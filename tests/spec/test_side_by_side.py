"""Versions that share the replicas of one workload: how many each has, and that traffic follows those that are ready."""

from world import World, guard, version

from sternway.domain.guards import Canary, CanaryStep, MirrorFirst
from sternway.domain.releases import Phase, Verb

STEPS = Canary(steps=(CanaryStep(percent=5, min_requests=20), CanaryStep(percent=50, min_requests=50)))
MIRROR = MirrorFirst(percent=60, min_requests=10_000)


async def begun(replicas: int = 5, **changes: object) -> World:
    """A release of 1.1.0 begins beside 1.0.0."""
    world = World()
    for tag in ("1.0.0", "1.1.0"):
        world.push(version(tag), replicas=replicas, in_place=True, guard=guard(**{"strategy": STEPS, **changes}))
        await world.run(10 if tag == "1.0.0" else 0)
    return world


async def replicas(world: World) -> dict[str, int]:
    """How many of each version should run."""
    return {one.image.removeprefix("orders:"): one.desired for one in await world.platform.describe("orders")}


async def test_a_release_takes_as_many_replicas_as_its_share_needs():
    """One for the smallest share, then more; while it bakes one of stable is left, and all go over in the end."""
    world = await begun()
    seen = []
    for _ in range(80):
        await world.run(1)
        now = await replicas(world)
        assert sum(now.values()) == 5
        if not seen or seen[-1] != now:
            seen.append(now)
    counts = [(now.get("1.0.0", 0), now.get("1.1.0", 0)) for now in seen]
    assert counts == [(4, 1), (3, 2), (1, 4), (0, 5)]
    assert (await world.release()).phase is Phase.PROMOTED


async def test_traffic_waits_for_the_replicas_that_carry_it():
    """One replica of five gets a quarter at most, though its step says half; the step does not pass before."""
    world = await begun()
    new = version("1.1.0")
    world.platform.ready_at_most["orders:1.1.0"] = 1
    await world.until(Phase.EXPOSED)
    await world.run(20)
    assert await world.share(new.id) == 25
    assert (await world.release()).phase is Phase.EXPOSED
    world.platform.ready_at_most["orders:1.1.0"] = 2
    await world.run(2)
    assert await world.share(new.id) == 50


async def test_the_bake_waits_for_the_replicas():
    """Nothing is promoted to replicas that cannot carry all of it."""
    world = await begun()
    world.platform.ready_at_most["orders:1.1.0"] = 3
    await world.until(Phase.BAKING)
    await world.run(40)
    assert (await world.release()).phase is Phase.BAKING
    assert await world.share(version("1.1.0").id) == 75
    world.platform.ready_at_most.clear()
    await world.until(Phase.PROMOTED)


async def test_a_rollback_gives_every_replica_back():
    """All but one carry everything, so that a first step's traffic goes back at once."""
    world = await begun()
    await world.until(Phase.EXPOSED)
    await world.run(1)
    world.platform.ready_at_most["orders:1.0.0"] = 4
    await world.say(Verb.ABORT)
    assert await world.share(version("1.1.0").id) == 0
    assert await replicas(world) == {"1.0.0": 5}


async def test_what_is_withdrawn_keeps_one_replica():
    """Suspected with half of the traffic: stable gets its replicas back, and one is left to look at again."""
    world = await begun(replicas=9)
    new = version("1.1.0")
    while await world.share(new.id) < 50:
        await world.run(1)
    assert (await replicas(world))["1.1.0"] == 4
    world.error[new.id] = 0.05
    await world.until(Phase.WITHDRAWN)
    assert await replicas(world) == {"1.0.0": 8, "1.1.0": 1}


async def test_copies_need_replicas_too():
    """Mirrored requests are as much work as others."""
    world = await begun(replicas=5, mirror=MIRROR)
    await world.until(Phase.MIRRORING)
    await world.run(1)
    assert (await replicas(world))["1.1.0"] == 3
