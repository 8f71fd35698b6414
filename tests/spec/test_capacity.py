"""Traffic goes to those who can take it: stable, candidate and fallback with and without ready replicas."""

import dataclasses

import pytest
from world import SERVICE, World, guard, version

from sternway.domain.guards import ABTest, BlueGreen, MirrorFirst, Then
from sternway.domain.mesh import MeshPolicy
from sternway.domain.releases import Phase, Verb
from sternway.testing.fakes import FakeRouter

STABLE = version("1.0.0")
FALLBACK = version("0.9.9")


async def started(**wanted: object) -> World:
    """A world in which 1.0.0 serves."""
    world = World()
    world.push(STABLE, **wanted)
    await world.run(30)
    return world


async def test_a_fallback_that_serves_keeps_the_traffic_when_a_release_begins():
    """The fix of a stable version that is down must not take traffic from the fallback to nothing."""
    world = await started(fallback=FALLBACK, fallback_replicas=2)
    world.platform.ready_at_most["orders:1.0.0"] = 0
    await world.run(3)
    assert await world.share(FALLBACK.id) == 100
    world.platform.unready.add("orders:1.1.0")
    world.push(version("1.1.0"), fallback=FALLBACK, fallback_replicas=2)
    await world.run(3)
    assert (await world.release()).phase is Phase.STARTING
    assert await world.share(FALLBACK.id) == 100
    world.platform.unready.clear()
    await world.until(Phase.EXPOSED)
    assert await world.share(STABLE.id) == 0
    await world.until(Phase.PROMOTED)


async def test_an_exposed_candidate_takes_over_while_stable_has_no_replica():
    """An answer of a version under trial is better than none; stable gets its share back with its replicas."""
    world = await started()
    new = world.push(version("1.1.0"))
    await world.until(Phase.EXPOSED)
    world.platform.ready_at_most["orders:1.0.0"] = 0
    await world.look()
    assert await world.share(new.id) == 100
    world.platform.ready_at_most.clear()
    await world.look()
    assert await world.share(STABLE.id) >= 80


async def test_a_rollback_goes_to_the_fallback_while_stable_has_no_replica():
    """The standing target takes a bad version's traffic at once, and the rollback ends."""
    world = await started(fallback=FALLBACK, fallback_replicas=2)
    bad = world.push(version("1.1.0"), fallback=FALLBACK, fallback_replicas=2)
    await world.until(Phase.BAKING)
    world.platform.ready_at_most["orders:1.0.0"] = 0
    await world.say(Verb.ABORT)
    assert await world.share(bad.id) == 0
    assert await world.share(FALLBACK.id) == 100
    await world.until(Phase.ROLLED_BACK)
    world.platform.ready_at_most.clear()
    await world.run(2)
    assert await world.share(STABLE.id) == 100


async def test_blue_green_does_not_switch_to_a_version_without_a_ready_replica():
    """It was ready when the preview began; now it is not."""
    world = await started()
    new = world.push(version("1.1.0"), guard=guard(strategy=BlueGreen(hold_s=5.0)))
    await world.until(Phase.PREVIEW)
    world.platform.unready.add("orders:1.1.0")
    await world.run(10)
    assert all(plan.split.percent(new.id) == 0 for plan in world.router.applied)


async def test_blindness_does_not_keep_traffic_on_a_version_without_a_ready_replica():
    """The access log says nothing, but the platform does."""
    world = await started()
    new = world.push(version("1.1.0"))
    await world.until(Phase.EXPOSED)
    world.signals.blind_since_s = world.clock.now()
    world.platform.unready.add("orders:1.1.0")
    await world.look()
    assert await world.share(new.id) == 0


async def test_blindness_promotes_nothing_that_was_suspected_or_cannot_answer():
    """`then: promote` is for nothing seen; a withdrawn version was seen."""
    world = await started()
    settings = dataclasses.replace(guard().judge, cluster_key=None)
    patient = guard(judge=settings, blind_s=5.0, blind_then=Then.PROMOTE, withdraw_s=100.0)
    bad = world.push(version("1.1.0"), guard=patient)
    world.error[bad.id] = 1.0
    await world.until(Phase.WITHDRAWN)
    world.signals.blind_since_s = world.clock.now()
    await world.run(30)
    assert (await world.release()).phase is Phase.WITHDRAWN
    assert await world.share(bad.id) == 0


@pytest.mark.parametrize("mirror", [None, MirrorFirst(percent=50, min_requests=100_000)], ids=["exposed", "mirrored"])
async def test_after_a_power_loss_nothing_is_sent_to_a_candidate_that_is_not_back(mirror: MirrorFirst | None):
    """What nobody can answer is no evidence: proxies and replicas start anew, stable's first; the release goes on."""
    world = await started()
    new = world.push(version("1.1.0"), guard=guard(mirror=mirror))
    phase = (await world.until(Phase.EXPOSED if mirror is None else Phase.MIRRORING)).phase
    world.platform.unready = {"orders:1.0.0", "orders:1.1.0"}
    world.router = FakeRouter()
    await world.restart()
    await world.look()
    world.platform.unready = {"orders:1.1.0"}
    await world.look()
    assert world.router.applied
    for plan in world.router.applied:
        assert (plan.split.percent(STABLE.id), plan.mirror, plan.shield) == (100, None, None)
    world.platform.unready.clear()
    await world.run(3)
    assert (await world.release()).phase is phase
    plan = await world.router.observe("orders")
    assert plan is not None
    assert plan.mirror is not None if mirror else plan.split.percent(new.id) > 0
    assert not world.history.reverts


async def test_an_a_b_tests_group_is_answered_while_the_candidate_is_not_back():
    """Its pins lead nowhere until the candidate has a replica again; stable answers the group meanwhile."""
    world = await started()
    world.push(version("1.1.0"), guard=guard(strategy=ABTest(header=("x-group", "b"), min_requests=100_000)))
    await world.until(Phase.EXPOSED)
    world.platform.unready = {"orders:1.0.0", "orders:1.1.0"}
    await world.restart()
    plan = await world.router.observe("orders")
    assert plan is not None
    assert plan.pins == ()
    world.platform.unready.clear()
    await world.run(3)
    plan = await world.router.observe("orders")
    assert plan is not None
    assert plan.pins


async def test_what_both_versions_suffer_condemns_nobody():
    """After a reboot, or with a shared database down, replicas of both are not ready and both may crash."""
    world = await started()
    world.push(version("1.1.0"))
    await world.until(Phase.EXPOSED)
    for image in ("orders:1.0.0", "orders:1.1.0"):
        world.platform.broken[image] = "exited 3 times with status 1"
    await world.run(120)
    assert not (await world.release()).phase.over
    assert not world.history.reverts
    world.platform.broken.clear()
    await world.until(Phase.PROMOTED)


async def test_a_policy_is_not_blamed_for_the_replicas_that_it_shares_with_stable():
    """Two versions that differ by their mesh policy run the same workload; when it crashes, neither did it."""
    world = await started()
    policy = dataclasses.replace(STABLE, policy=MeshPolicy(timeout_ms=500), commit="c-policy", id="")
    world.push(policy)
    await world.until(Phase.EXPOSED)
    world.platform.broken["orders:1.0.0"] = "exited 3 times with status 1"
    await world.run(100)
    assert not world.history.reverts
    world.platform.broken.clear()
    await world.until(Phase.PROMOTED)
    await world.run(10)
    assert [state.ready for state in await world.platform.describe("orders")] == [2]


async def test_a_service_that_is_scaled_to_zero_condemns_nobody():
    """Nobody is to be ready, so that nobody is ready proves nothing."""
    world = await started()
    new = world.push(version("1.1.0"))
    await world.until(Phase.EXPOSED)
    world.push(new, replicas=0)
    await world.run(100)
    assert not world.history.reverts
    world.push(new)
    await world.until(Phase.PROMOTED)


async def test_a_bake_counts_only_while_the_proxies_give_the_candidate_its_traffic():
    """A plan that no proxy has taken proves nothing; after its deadline the release is taken back, Git included."""
    world = await started()
    new = world.push(version("1.1.0"), guard=guard(strategy=BlueGreen(hold_s=1.0)))
    await world.until(Phase.STARTING)
    world.router.refuse = 10_000
    await world.run(25)
    assert (await world.release()).phase is Phase.BAKING
    assert (await world.release()).baked_s == 0.0
    await world.run(30)
    assert (await world.release()).phase is not Phase.PROMOTED
    assert "the proxies have not taken" in (await world.release()).reason
    assert len(world.history.reverts) == 1
    await world.until(Phase.ROLLED_BACK)
    assert world.history.marks[-1].verdict == "unproven"
    assert await world.share(new.id) == 0


async def test_what_was_left_a_moment_ago_stays_known_to_the_proxies_when_the_next_release_begins():
    """Requests under way on a superseded candidate are answered."""
    world = await started()
    old = world.push(version("1.1.0"))
    await world.until(Phase.EXPOSED)
    world.push(version("1.2.0"))
    await world.look()
    plan = await world.router.observe("orders")
    assert plan is not None
    assert (await world.release()).phase is Phase.STARTING
    assert old.id in {v.id for v in plan.versions}
    assert plan.split.percent(old.id) == 0


async def test_a_workload_without_an_address_is_promoted_when_it_runs_well():
    """Nobody can call it, so no requests are waited for."""
    portless = dataclasses.replace(SERVICE, port=None)
    world = await started(service=portless)
    world.push(version("1.1.0"), service=portless)
    await world.until(Phase.PROMOTED)
    assert (await world.progress()).stable == version("1.1.0")


async def test_a_service_that_loses_its_address_leaves_the_proxies():
    """What is not to be called any more is not called any more, candidate and all."""
    world = await started()
    new = world.push(version("1.1.0"))
    await world.until(Phase.EXPOSED)
    world.push(new, service=dataclasses.replace(SERVICE, port=None))
    await world.run(2)
    assert await world.router.observe("orders") is None


async def test_a_version_suspected_by_its_copies_meets_no_user_before_it_has_cleared_itself():
    """Mirrored requests hurt nobody: the judge looks on at them until it is sure."""
    world = await started()
    settings = dataclasses.replace(guard().judge, cluster_key=None)
    bad = world.push(version("1.1.0"), guard=guard(judge=settings, mirror=MirrorFirst(percent=20, min_requests=50)))
    world.error[bad.id] = 1.0
    await world.until(Phase.ROLLED_BACK)
    assert all(plan.split.percent(bad.id) == 0 for plan in world.router.applied)


async def test_a_rollback_to_a_version_that_cannot_run_takes_the_next_one():
    """A manual rollback to a version that does not start any more must not leave the bad one in service for ever."""
    world = await started()
    world.push(version("1.1.0"))
    await world.until(Phase.PROMOTED)
    world.push(version("1.2.0"))
    await world.until(Phase.PROMOTED)
    await world.run(10)
    world.platform.unready.add("orders:1.1.0")
    assert (await world.say(Verb.ROLLBACK)).accepted
    await world.until(Phase.ROLLED_BACK)
    assert await world.share(STABLE.id) == 100
    assert (await world.progress()).stable == STABLE


async def test_a_rollback_that_nothing_good_can_take_is_ended_by_a_new_commit():
    """The only good version cannot run: what a person commits next is adopted."""
    world = await started()
    bad = world.push(version("1.1.0"))
    await world.until(Phase.PROMOTED)
    await world.run(10)
    world.platform.unready.add("orders:1.0.0")
    await world.say(Verb.ROLLBACK)
    await world.run(60)
    assert (await world.release()).phase is Phase.ROLLING_BACK
    assert await world.share(bad.id) == 100
    fixed = world.push(version("1.2.0"))
    await world.run(10)
    assert await world.share(fixed.id) == 100
    assert (await world.release()).phase is Phase.ROLLED_BACK
