"""Waiting: for people, for traffic, for replicas, without an end. It costs nothing and is not without a limit."""

from dataclasses import replace

import pytest
from world import World, guard

from sternway.domain.guards import Guard, Mode, Then
from sternway.domain.releases import Phase, Verb
from sternway.engine.exposure import looks_again_s


async def started(**fields: object) -> World:
    """A world in which 1.0.0 serves."""
    world = World(**fields)  # type: ignore[arg-type]
    world.commit("1.0.0")
    await world.run(30)
    return world


async def test_a_withdrawn_release_that_waits_longer_is_not_looked_at_without_a_pause():
    """Paused, or without ready replicas, it is overdue on every pass; the loop must not spin."""
    world = await started()
    world.commit("1.1.0", with_guard=guard(withdraw_s=3.0))
    await world.until(Phase.EXPOSED)
    world.platform.unready.add("orders:1.1.0")
    await world.until(Phase.WITHDRAWN)
    await world.say(Verb.PAUSE)
    await world.run(6)
    assert (await world.release()).phase is Phase.WITHDRAWN
    look_at_s = await world.reconciler.reconcile("orders")
    assert look_at_s is not None
    assert look_at_s >= world.clock.now() + 1


async def test_waiting_without_traffic_does_not_fill_the_journal():
    """A release of a service that nobody calls may stand for weeks."""
    world = await started(rate_per_s=0)
    world.commit("1.1.0")
    await world.until(Phase.EXPOSED)
    await world.run(5)
    before = len(world.store.lines)
    await world.run(100)
    assert len(world.store.lines) == before


async def test_waiting_blind_does_not_fill_the_journal_and_blind_time_is_no_bake():
    """However long the access log is away in the bake."""
    world = await started()
    world.commit("1.1.0", with_guard=guard(bake_s=60.0))
    await world.until(Phase.BAKING)
    await world.run(10)
    baked_s = (await world.release()).baked_s
    world.signals.blind_since_s = world.clock.now()
    world.rate_per_s = 0
    await world.run(15)
    before = len(world.store.lines)
    await world.run(100)
    assert len(world.store.lines) == before
    world.signals.blind_since_s = None
    await world.run(3)
    assert (await world.release()).phase is Phase.BAKING
    assert (await world.release()).baked_s <= baked_s + 5


async def test_a_question_to_a_person_is_not_looked_at_every_second():
    """Over a weekend, with all traffic at stable; a command wakes it at once."""
    world = await started()
    world.commit("1.1.0", error=1.0, with_guard=guard(mode=Mode.ASK, ask_then=Then.HOLD))
    await world.until(Phase.ASKING)
    await world.run(2)
    look_at_s = await world.reconciler.reconcile("orders")
    assert look_at_s is not None
    assert look_at_s >= world.clock.now() + 10


async def test_a_release_that_is_suspected_again_and_again_asks_a_person():
    """Users are not tried for ever: after eight withdrawals somebody decides, or the guard's patience does."""
    world = await started()
    world.commit("1.1.0", with_guard=guard(withdraw_s=2.0, ask_timeout_s=30.0))
    for _ in range(8):
        world.platform.unready.clear()
        await world.until(Phase.EXPOSED)
        world.platform.unready.add("orders:1.1.0")
        await world.until(Phase.WITHDRAWN)
    world.platform.unready.clear()
    release = await world.until(Phase.ASKING, within_s=10)
    assert "withdrawn 8 times" in release.reason
    assert not world.history.reverts
    await world.until(Phase.ROLLED_BACK, within_s=40)
    assert len(world.history.reverts) == 1


async def test_resume_gives_a_release_that_was_suspected_often_another_eight_looks():
    """The person's word counts: it is not asked again at the next suspicion."""
    world = await started()
    world.commit("1.1.0", with_guard=guard(withdraw_s=2.0))
    for _ in range(8):
        world.platform.unready.clear()
        await world.until(Phase.EXPOSED)
        world.platform.unready.add("orders:1.1.0")
        await world.until(Phase.WITHDRAWN)
    world.platform.unready.clear()
    await world.until(Phase.ASKING, within_s=10)
    await world.say(Verb.RESUME)
    world.platform.unready.add("orders:1.1.0")
    await world.until(Phase.WITHDRAWN)
    world.platform.unready.clear()
    await world.until(Phase.EXPOSED, within_s=10)
    await world.until(Phase.PROMOTED)


async def test_an_unanswered_question_is_looked_at_when_its_time_is_up():
    """The guard's time-out is kept to the second, however seldom an asking release is looked at."""
    world = await started()
    world.commit("1.1.0", error=1.0, with_guard=guard(mode=Mode.ASK, ask_timeout_s=13.0))
    due_s = (await world.until(Phase.ASKING)).entered_s + 13.0
    looks: list[float] = []
    while world.clock.now() < due_s:
        look_at_s = await world.reconciler.reconcile("orders")
        assert look_at_s is not None
        looks.append(look_at_s)
        world.clock.sleep(look_at_s - world.clock.now())
    assert looks[-1] == due_s
    await world.run(2)
    assert (await world.release()).phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)


def warming(warm_up_s: float, **changes: object) -> Guard:
    """A guard that lets a version warm up."""
    return guard(judge=replace(guard().judge, warm_up_s=warm_up_s), **changes)


async def test_a_cold_version_is_not_exposed_further():
    """Its first step lasts until it is warm, however many requests it has answered."""
    world = await started()
    world.commit("1.1.0", with_guard=warming(60.0))
    began_s = await exposed(world)
    await world.run(50)
    release = await world.release()
    assert (release.phase, release.index) == (Phase.EXPOSED, 0)
    assert release.step_requests > 150
    await world.run(20)
    assert (await world.release()).index == 1
    assert world.clock.now() - began_s < 80


async def test_a_suspected_cold_version_is_looked_at_again_when_it_is_warm():
    """Withdrawn in its first seconds, it stays so beyond `withdraw.for`, and `status` can say until when."""
    world = await started()
    world.commit("1.1.0", error=1.0, with_guard=warming(40.0, withdraw_s=5.0))
    began_s = await exposed(world)
    await world.until(Phase.WITHDRAWN)
    release, now_s = await world.release(), world.clock.now()
    assert looks_again_s(release, now_s) - began_s == pytest.approx(40.0, abs=3.0)
    await world.run(20)
    assert (await world.release()).withdrawals == 1
    await world.until(Phase.ROLLED_BACK)
    assert world.clock.now() - began_s > 40
    assert (await world.release()).hurt <= 20


async def exposed(world: World) -> float:
    """When the candidate was first exposed."""
    await world.until(Phase.EXPOSED)
    return world.clock.now()
