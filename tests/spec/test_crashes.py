"""The process dies at every single call of a port in turn, before and after its effect; the world ends the same."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from world import World, guard, version

from sternway.control.replay import replay
from sternway.domain.releases import Phase, Verb

QUICK = guard(bake_s=4.0, keep_s=1.0, withdraw_s=2.0)


async def bad(world: World) -> None:
    """A bad version is released."""
    world.commit("1.1.0", error=1.0, with_guard=QUICK)
    await world.run(20)


async def good(world: World) -> None:
    """A good version is released."""
    world.commit("1.1.0", with_guard=QUICK)
    await world.run(25)


async def manual(world: World) -> None:
    """A promoted version is taken back by a person."""
    world.commit("1.1.0", with_guard=QUICK)
    while (release := (await world.progress()).release) is None or release.phase is not Phase.PROMOTED:
        await world.run(1)
    await world.store.add("orders", Verb.ROLLBACK.value, "ada", world.clock.now(), None, "")
    await world.run(12)


async def went_back(world: World, release: str) -> None:
    """1.0.0 serves, 1.1.0 is held and marked, Git is reverted once."""
    progress = await world.progress()
    assert progress.release is not None
    assert (progress.release.name, progress.release.phase) == (release, Phase.ROLLED_BACK)
    assert progress.stable == version("1.0.0")
    assert progress.held == (version("1.1.0").id,)
    assert await world.share(version("1.0.0").id) == 100
    assert [revert.release for revert in world.history.reverts] == [release]
    assert [m.verdict for m in world.history.marks if m.release == release] == ["bad"]
    assert not progress.marks


async def bad_ended(world: World) -> None:
    """See went_back."""
    await went_back(world, "orders-1")


async def manual_ended(world: World) -> None:
    """See went_back."""
    await went_back(world, "orders-2")


async def good_ended(world: World) -> None:
    """1.1.0 serves and is marked good, once, and so is the version before it."""
    progress = await world.progress()
    assert progress.stable == version("1.1.0")
    assert await world.share(version("1.1.0").id) == 100
    assert [(m.verdict, m.release) for m in world.history.marks] == [("good", ""), ("good", "orders-1")]
    assert not world.history.reverts


Act = Callable[[World], Awaitable[None]]


async def played(act: Act, crash_in: int | None) -> World:
    """A story with a crash at one of its calls."""
    world = World(rate_per_s=50)
    world.commit("1.0.0")
    await world.run(5)
    world.taps = 0
    world.crash_in = crash_in
    await act(world)
    world.crash_in = None
    await world.run(15)
    await world.outbox.close()
    return world


@pytest.mark.parametrize(
    ("act", "ended"),
    [(bad, bad_ended), (good, good_ended), (manual, manual_ended)],
    ids=["a bad release", "a good release", "a rollback by a person"],
)
def test_a_crash_at_any_call_changes_nothing_in_the_end(act: Act, ended: Act):
    """Nothing is lost, nothing is done twice, and what is recorded replays bit for bit."""

    async def every() -> int:
        calls = (await played(act, None)).taps
        for crash_in in range(calls):
            world = await played(act, crash_in)
            try:
                await ended(world)
                for number in range(1, (await world.progress()).releases + 1):
                    assert replay(f"orders-{number}", await world.store.entries(release=f"orders-{number}")).matches
            except AssertionError as wrong:
                wrong.add_note(f"died at call {crash_in} of {calls}")
                raise
        return calls

    assert asyncio.run(every()) > 50
