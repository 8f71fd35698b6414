"""People's commands at every phase: each is carried out or refused, and never stops the service's passes."""

import dataclasses

import pytest
from world import SERVICE, World, guard, version

from sternway.control.replay import replay
from sternway.domain.guards import ABTest, BlueGreen, Guard, Mode
from sternway.domain.judgements import Verdict
from sternway.domain.releases import Observation, Phase, Release, Verb
from sternway.domain.tallies import Reading, Tally
from sternway.engine.step import step


async def started() -> World:
    """A world in which 1.0.0 serves."""
    world = World()
    world.commit("1.0.0")
    await world.run(30)
    return world


def keyless(**changes: object) -> Guard:
    """A guard without a cluster key: errors only suspect at first."""
    return guard(judge=dataclasses.replace(guard().judge, cluster_key=None), **changes)


async def test_promote_is_carried_out_on_a_withdrawn_release():
    """A person overrules the suspicion: it starts afresh, and only new harm withdraws again."""
    world = await started()
    new = world.commit("1.1.0", error=1.0, with_guard=keyless(withdraw_s=60.0))
    await world.until(Phase.WITHDRAWN)
    world.error[new.id] = 0.0
    assert (await world.say(Verb.PROMOTE)).accepted
    assert await world.share(new.id) == 95
    await world.until(Phase.PROMOTED, within_s=25)


async def test_promote_ends_a_pause():
    """Who promotes does not want to resume first."""
    world = await started()
    world.commit("1.1.0")
    await world.until(Phase.EXPOSED)
    await world.say(Verb.PAUSE)
    await world.say(Verb.PROMOTE)
    await world.say(Verb.PROMOTE)
    await world.run(2)
    assert (await world.release()).phase is Phase.PROMOTED


async def test_promote_is_carried_out_while_nothing_can_be_seen():
    """Blindness holds Sternway's own steps, not a person's."""
    world = await started()
    new = world.commit("1.1.0")
    await world.until(Phase.EXPOSED)
    world.signals.blind_since_s = world.clock.now()
    await world.say(Verb.PROMOTE)
    assert await world.share(new.id) == 95
    await world.say(Verb.PROMOTE)
    assert (await world.release()).phase is Phase.PROMOTED


async def test_a_pause_before_the_first_exposure_keeps_users_away_and_blames_nobody():
    """Paused while it starts, a ready candidate waits, longer than its progress deadline if it must."""
    world = await started()
    new = world.commit("1.1.0")
    await world.until(Phase.STARTING)
    await world.say(Verb.PAUSE)
    await world.run(60)
    assert (await world.release()).phase is Phase.STARTING
    assert await world.share(new.id) == 0
    await world.say(Verb.RESUME)
    await world.until(Phase.PROMOTED)


async def test_a_blue_green_release_that_failed_in_its_preview_can_be_resumed():
    """Asked, a person says go on: all traffic, as blue-green knows no other share."""
    world = await started()
    asks = guard(strategy=BlueGreen(hold_s=100.0), mode=Mode.ASK)
    new = world.commit("1.1.0", with_guard=asks)
    await world.until(Phase.PREVIEW)
    world.platform.broken["orders:1.1.0"] = "exited 3 times"
    await world.until(Phase.ASKING)
    world.platform.broken.clear()
    await world.run(2)
    await world.say(Verb.RESUME)
    assert await world.share(new.id) == 100
    await world.until(Phase.PROMOTED)


async def test_a_rollback_of_a_service_that_is_gone_is_refused():
    """The command came while Git lost the service: it is answered, and the passes go on."""
    world = await started()
    world.commit("1.1.0")
    await world.until(Phase.PROMOTED)
    world.git.now = None
    answer = await world.say(Verb.ROLLBACK)
    assert not answer.accepted
    await world.look()
    assert (await world.progress()).stable is None
    assert await world.router.observe("orders") is None


async def test_an_obeyed_command_is_answered_though_the_proxies_refuse_the_plan():
    """The answer says what was decided; that the world lags behind is told elsewhere."""
    world = await started()
    world.commit("1.1.0")
    await world.until(Phase.EXPOSED)
    world.router.refuse = 1
    before = len(world.replies)
    await world.say(Verb.PROMOTE)
    assert len(world.replies) == before + 1
    assert world.router.refuse == 0


async def test_a_good_version_that_is_condemned_later_is_no_target_any_more():
    """1.0.0 was good, came back by a commit and was harmful then: nobody rolls back to it."""
    world = await started()
    world.commit("1.1.0")
    await world.until(Phase.PROMOTED)
    world.commit("1.0.0", error=0.5)
    await world.until(Phase.ROLLED_BACK)
    answer = await world.say(Verb.ROLLBACK, to="1.0.0")
    assert not answer.accepted


async def test_a_service_deleted_and_added_again_does_not_adopt_a_held_version():
    """Taken back is taken back: the version proven good is started instead, and the note says so."""
    world = await started()
    bad = world.commit("1.1.0")
    await world.until(Phase.EXPOSED)
    await world.say(Verb.ABORT)
    await world.until(Phase.ROLLED_BACK)
    world.git.now = None
    await world.run(3)
    world.commit("1.1.0")
    await world.run(10)
    assert await world.share(bad.id) == 0
    assert await world.share(version("1.0.0").id) == 100
    assert "held" in (await world.progress()).note


async def test_a_service_deleted_in_a_rollback_ends_it_and_still_writes_the_ledger():
    """Nothing is left to revert; that the version was bad is remembered for its return."""
    world = await started()
    world.commit("1.1.0", error=1.0)
    await world.until(Phase.EXPOSED)
    world.history.down = True
    await world.until(Phase.ROLLING_BACK)
    await world.restart()
    world.git.now = None
    await world.run(2)
    assert (await world.release()).phase is Phase.ROLLED_BACK
    await world.restart()
    world.history.down = False
    await world.run(3)
    assert [mark.verdict for mark in world.history.marks] == ["good", "bad"]
    world.commit("1.2.0")
    await world.run(5)
    assert (await world.progress()).stable == version("1.2.0")


@pytest.mark.parametrize("strategy", [ABTest(header=("x-group", "b")), BlueGreen()], ids=["A/B", "blue-green"])
async def test_harm_is_seen_in_a_bake_that_leaves_stable_no_traffic(strategy: ABTest | BlueGreen):
    """Without a control group the candidate is compared with what stable showed before."""
    world = await started()
    world.commit("1.1.0", with_guard=guard(strategy=strategy))
    await world.until(Phase.PREVIEW if isinstance(strategy, BlueGreen) else Phase.EXPOSED)
    await world.say(Verb.PROMOTE)
    release = await world.until(Phase.BAKING)
    progress = await world.progress()
    now = world.clock.now()
    tallies = tuple(
        Tally(version=release.candidate.id, criterion="errors", start_s=now, end_s=now + 1, total=100, bad=50)
        for _ in range(3)
    )
    seen = Observation(
        now_s=now + 1,
        wanted=world.git.now,
        workloads=await world.platform.describe(SERVICE.name),
        traffic=await world.router.observe(SERVICE.name),
        reading=Reading(tallies=tallies, rate_per_s=100.0),
    )
    after = step(progress, seen).progress.release
    assert isinstance(after, Release)
    assert after.phase is Phase.WITHDRAWN
    assert after.judgement is not None
    assert after.judgement.verdict is Verdict.SUSPECT


async def test_a_release_replays_although_its_service_was_away_from_git_for_a_while():
    """The passes in which the service was gone belong to its last release."""
    world = await started()
    world.commit("1.1.0", error=1.0)
    await world.until(Phase.EXPOSED)
    gone, world.git.now = world.git.now, None
    await world.run(3)
    world.git.now = gone
    await world.run(5)
    report = replay("orders-1", await world.store.entries(release="orders-1"))
    assert report.matches
