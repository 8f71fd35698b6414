"""Sternway was away for long, or its machine's clock was wrong: what nobody watched is held against nobody."""

from world import World, guard

from sternway.control.replay import replay
from sternway.domain.guards import JudgeSettings
from sternway.domain.releases import Phase, Release

HOURS_S = 10_000.0


async def started() -> World:
    """A world in which 1.0.0 serves, and 1.1.0 is committed."""
    world = World()
    world.commit("1.0.0")
    await world.run(30)
    return world


async def until(world: World, phase: Phase, within_s: int = 200) -> Release:
    """Let users and passes alternate until the release stands there."""
    for _ in range(within_s):
        await world.run(1)
        release = (await world.progress()).release
        if release is not None and release.phase is phase:
            return release
    raise AssertionError(f"never {phase}: {await world.release()}")


async def away(world: World, seconds: float) -> None:
    """Nobody looks for a while, or the clock is set back; then a new process starts."""
    world.clock.sleep(seconds)
    await world.restart()


async def test_no_deadline_of_a_start_runs_out_while_nobody_watches():
    """A candidate that was not ready when Sternway stopped gets its whole time again."""
    world = await started()
    world.platform.unready.add("orders:1.1.0")
    world.commit("1.1.0")
    await until(world, Phase.STARTING)
    await away(world, HOURS_S)
    await world.run(5)
    assert (await world.release()).phase is Phase.STARTING
    world.platform.unready.clear()
    await until(world, Phase.PROMOTED)


async def test_a_replica_that_is_not_ready_at_once_after_a_reboot_condemns_nobody():
    """After a reboot all replicas start anew; a withdrawn candidate is looked at again once it is ready."""
    world = await started()
    new = world.commit("1.1.0")
    await until(world, Phase.EXPOSED)
    world.platform.unready.add("orders:1.1.0")
    await until(world, Phase.WITHDRAWN)
    await away(world, HOURS_S)
    await world.run(3)
    assert (await world.release()).phase is Phase.WITHDRAWN
    world.platform.unready.clear()
    await until(world, Phase.PROMOTED)
    assert await world.share(new.id) == 100


async def test_time_that_nobody_watched_is_no_bake():
    """Hours without Sternway prove nothing: the bake goes on where it was, and harm in it still takes the release back."""
    world = await started()
    new = world.commit("1.1.0")
    before = await until(world, Phase.BAKING)
    await away(world, HOURS_S)
    await world.run(1)
    release = await world.release()
    assert release.phase is Phase.BAKING
    assert release.baked_s <= before.baked_s + 3
    world.error[new.id] = 0.5
    await until(world, Phase.ROLLED_BACK)
    assert replay(release.name, await world.store.entries(release=release.name)).matches


async def test_a_clock_that_was_set_back_meanwhile_holds_nothing_up():
    """The journal is from the future: the release still ends in its usual time, and replays."""
    world = await started()
    world.commit("1.1.0", error=1.0, with_guard=guard(judge=JudgeSettings(latency_quantiles=())))
    await until(world, Phase.WITHDRAWN)
    await away(world, -HOURS_S)
    release = await until(world, Phase.ROLLED_BACK)
    assert len(world.history.reverts) == 1
    assert replay(release.name, await world.store.entries(release=release.name)).matches
