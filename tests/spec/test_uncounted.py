"""Nothing was ever set up that counts requests: what a release does, and that it says so."""

from __future__ import annotations

import pytest
from world import World, guard

from sternway.control.status import release_view
from sternway.domain.guards import BlueGreen, Canary, CanaryStep, MirrorFirst
from sternway.domain.notices import What
from sternway.domain.releases import Phase, Verb
from sternway.engine.alerting import notices


async def released(**changes: object) -> World:
    """A world in which 1.0.0 serves, nobody counts, and 1.1.0 was pushed."""
    world = World()
    world.signals.uncounted = True
    world.commit("1.0.0")
    await world.run(10)
    world.commit("1.1.0", with_guard=guard(**changes))
    await world.run(5)
    return world


@pytest.mark.parametrize(
    ("changes", "phase", "needed"),
    [({}, Phase.EXPOSED, 30), ({"mirror": MirrorFirst(min_requests=70)}, Phase.MIRRORING, 70)],
    ids=["canary", "mirror"],
)
async def test_a_step_that_waits_for_requests_waits_for_a_person(changes: dict[str, object], phase: Phase, needed: int):
    """It is no blindness, so no patience ends; the reason says what is waited for, and a person's word ends it."""
    world = await released(**changes)
    await world.run(3000)
    release = await world.release()
    assert (release.phase, release.blind_since_s) == (phase, None)
    waits = (
        f"nothing tells of its requests, and {needed} of them are waited for: it stays here until a person promotes it"
    )
    decision = world.reconciler.decision("orders")
    assert decision is not None
    assert decision.reason == f"{release.reason}; {waits}"
    assert release_view(release, world.clock.now()).uncounted == waits
    assert (await world.say(Verb.PROMOTE)).accepted
    await world.until(Phase.PROMOTED)


@pytest.mark.parametrize(
    "changes",
    [{"strategy": BlueGreen()}, {"strategy": Canary(steps=(CanaryStep(percent=20, min_requests=0, hold_s=40.0),))}],
    ids=["blue-green", "canary by time"],
)
async def test_what_waits_for_no_requests_goes_on_by_time_and_says_so(changes: dict[str, object]):
    """Nothing but a crash or an alert would take it back; in the end nobody says that it did no harm."""
    world = await released(**changes)
    await world.until(Phase.BAKING)
    decision = world.reconciler.decision("orders")
    assert decision is not None
    assert decision.reason.endswith("; nothing tells of its requests, so it goes on by time alone")
    release = await world.until(Phase.PROMOTED)
    assert release.reason == "nothing told of its requests, and it did not crash; its bake of 20 s is over"


async def test_a_crash_is_seen_all_the_same():
    """The platform tells of it."""
    world = await released()
    await world.until(Phase.EXPOSED)
    world.platform.broken["orders:1.1.0"] = "exit status 1"
    await world.until(Phase.ROLLED_BACK)
    assert (await world.release()).reason == f"{(await world.release()).candidate.id} cannot run: exit status 1"


async def test_when_something_counts_after_all_the_release_goes_on():
    """The first proxy tells of the service with the first request that it ends."""
    world = await released()
    await world.run(30)
    world.signals.uncounted = False
    await world.until(Phase.PROMOTED)
    assert (await world.release()).requests > 0


async def test_people_are_told_when_it_lasts():
    """After a minute of it, once, with what to do; not while the release has no traffic."""
    world = await released()

    async def told() -> list[What]:
        found = notices(await world.progress(), (), (), now_s=world.clock.now(), rolled_back_s=1.0)
        return [one.what for one in found]

    await world.run(40)
    assert await told() == []
    await world.run(40)
    assert await told() == [What.BLIND]
    (found,) = notices(await world.progress(), (), (), now_s=world.clock.now(), rolled_back_s=1.0)
    assert "30 of them are waited for" in found.seen
    assert found.todo == (
        "have the proxies send their access log, or state a ratio in the Guard's metrics; "
        "`sternway promote orders` gives it all traffic as it is"
    )
