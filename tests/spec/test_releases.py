"""Releases from commit to end, with simulated users."""

import dataclasses

import pytest
from world import World, guard, version

from sternway.control.replay import replay
from sternway.domain.guards import ABTest, BlueGreen, JudgeSettings, MirrorFirst, Mode, Shield, Then
from sternway.domain.releases import Phase, Verb


async def started(**fields: object) -> World:
    """A world in which 1.0.0 serves."""
    world = World(**fields)  # type: ignore[arg-type]
    world.commit("1.0.0")
    await world.run(30)
    return world


async def say(world: World, verb: Verb, **fields: object) -> str:
    """A person speaks; the answer."""
    await world.store.add("orders", verb.value, "ada", world.clock.now(), fields.get("to"), "")
    await world.look()
    return world.replies[-1].message


async def test_the_first_version_is_adopted_and_serves():
    """What Git asks for at the very start is trusted."""
    world = await started()
    assert await world.share(version("1.0.0").id) == 100
    assert (await world.progress()).stable == version("1.0.0")


async def test_a_healthy_version_is_promoted():
    """Step by step, then the bake, then it is stable and marked good, as the one before it was."""
    world = await started()
    new = world.commit("1.1.0")
    await world.run(90)
    release = await world.release()
    assert release.phase is Phase.PROMOTED
    assert release.reason == f"no harm in {release.requests:,} requests; its bake of 20 s is over"
    assert await world.share(new.id) == 100
    assert [(m.verdict, m.version) for m in world.history.marks] == [("good", version("1.0.0").id), ("good", new.id)]


@pytest.mark.parametrize("error", [0.05, 0.3, 1.0], ids=["5 %", "30 %", "all"])
async def test_a_version_with_errors_is_rolled_back_held_and_reverted(error: float):
    """Traffic back, the version held, one revert pushed, and it never returns by itself."""
    world = await started()
    bad = world.commit("1.1.0", error=error)
    await world.run(120)
    release = await world.release()
    assert release.phase is Phase.ROLLED_BACK
    assert release.candidate == bad
    assert await world.share(bad.id) == 0
    assert [r.release for r in world.history.reverts] == [release.name]
    assert [(m.verdict, m.version) for m in world.history.marks] == [("good", version("1.0.0").id), ("bad", bad.id)]
    assert (await world.progress()).note == "", "Git is back, so nobody need be told"
    again = dataclasses.replace(bad, commit="c-again")
    assert again.id == bad.id
    world.push(again)
    await world.run(20)
    assert await world.share(bad.id) == 0
    assert "held" in (await world.progress()).note


async def test_a_version_that_git_goes_on_asking_for_is_said_to_be_held():
    """A moment after the revert Git is only not read again; later it does ask for what was taken back, and that is told."""
    world = await started()
    bad = world.commit("1.1.0", error=1.0)
    asked = world.git.now
    await world.until(Phase.ROLLED_BACK)
    world.git.now = asked
    await world.run(5)
    assert (await world.progress()).note == ""
    await world.run(80)
    assert f"{bad.id} is held" in (await world.progress()).note


async def test_without_the_shield_a_broken_version_costs_a_handful_of_requests():
    """At most 15 failed requests when every answer of the candidate is an error."""
    world = await started(rate_per_s=200)
    world.commit("1.1.0", error=1.0, with_guard=guard(shield=Shield(enabled=False)))
    await world.run(120, tick_s=0.2)
    assert (await world.release()).phase is Phase.ROLLED_BACK
    assert world.hurt <= 15


async def test_trouble_common_to_both_versions_takes_nothing_back():
    """A shared fault of 30 % on both sides is nobody's release's fault."""
    world = await started()
    world.commit("1.1.0", error=0.3)
    world.error[version("1.0.0").id] = 0.3
    await world.run(120)
    assert (await world.release()).phase is Phase.PROMOTED


async def test_a_version_that_cannot_start_gets_no_request():
    """A crash at start is condemned by the platform's word."""
    world = await started()
    world.platform.broken["orders:1.1.0"] = "exited 3 times with status 1"
    bad = world.commit("1.1.0")
    await world.run(10)
    release = await world.release()
    assert release.phase is Phase.ROLLED_BACK
    assert "exited 3 times" in release.reason
    assert all(plan.split.percent(bad.id) == 0 for plan in world.router.applied)


async def test_a_version_that_is_never_ready_is_taken_back_at_its_deadline():
    """Not ready within the progress deadline is a failure of the release."""
    world = await started()
    world.platform.unready.add("orders:1.1.0")
    world.commit("1.1.0")
    await world.run(40)
    assert (await world.release()).phase is Phase.ROLLED_BACK


async def test_git_being_down_delays_only_git():
    """Traffic is back at once; the revert follows when the server answers again."""
    world = await started()
    world.history.down = True
    bad = world.commit("1.1.0", error=1.0)
    await world.run(60)
    assert (await world.release()).phase is Phase.ROLLING_BACK
    assert await world.share(bad.id) == 0
    assert not world.history.reverts
    world.history.down = False
    await world.restart()
    await world.run(5)
    assert (await world.release()).phase is Phase.ROLLED_BACK
    assert len(world.history.reverts) == 1


async def test_blindness_holds_the_split_and_condemns_nobody():
    """No access log: neither forward nor back."""
    world = await started()
    new = world.commit("1.1.0")
    await world.run(4)
    before = await world.share(new.id)
    assert before > 0
    world.signals.blind_since_s = world.clock.now()
    for _ in range(60):
        world.clock.sleep(1)
        await world.look()
    assert await world.share(new.id) == before
    assert (await world.release()).phase is Phase.EXPOSED


async def test_blindness_that_lasts_does_what_the_guard_says():
    """blind: bearFor 10s, then rollback."""
    world = await started()
    new = world.commit("1.1.0", with_guard=guard(blind_s=10.0, blind_then=Then.ROLLBACK))
    await world.run(4)
    world.signals.blind_since_s = world.clock.now()
    for _ in range(15):
        world.clock.sleep(1)
        await world.look()
    assert await world.share(new.id) == 0
    assert world.history.marks[-1].verdict == "unproven"


async def test_no_traffic_at_all_is_not_failure():
    """A service that nobody calls waits; the reason says for what."""
    world = await started(rate_per_s=0)
    world.commit("1.1.0")
    await world.run(60)
    assert (await world.release()).phase is Phase.EXPOSED


async def test_mode_ask_holds_traffic_at_stable_and_waits():
    """The person's word decides; the time-out does what the guard says."""
    world = await started()
    bad = world.commit("1.1.0", error=1.0, with_guard=guard(mode=Mode.ASK, ask_timeout_s=50.0))
    await world.run(30)
    release = await world.release()
    assert release.phase is Phase.ASKING
    assert await world.share(bad.id) == 0
    assert not world.history.reverts
    await world.run(60)
    assert (await world.release()).phase is Phase.ROLLED_BACK
    assert len(world.history.reverts) == 1


async def test_a_person_overrules_a_question():
    """`promote` while asked sends all traffic and bakes."""
    world = await started()
    bad = world.commit("1.1.0", error=0.2, with_guard=guard(mode=Mode.ASK))
    await world.run(40)
    assert (await world.release()).phase is Phase.ASKING
    world.error[bad.id] = 0.0
    await say(world, Verb.PROMOTE)
    await world.run(30)
    assert (await world.release()).phase is Phase.PROMOTED


async def test_blue_green_switches_at_once_and_back_as_fast():
    """Preview, all traffic, harm in the bake, back."""
    world = await started()
    good = world.commit("1.1.0", with_guard=guard(strategy=BlueGreen(hold_s=3.0)))
    await world.run(4)
    plan = await world.router.observe("orders")
    assert plan is not None
    assert plan.preview == good.id
    await world.run(6)
    assert await world.share(good.id) == 100
    await world.run(30)
    assert (await world.release()).phase is Phase.PROMOTED
    bad = world.commit("1.2.0", error=0.5, with_guard=guard(strategy=BlueGreen(hold_s=1.0)))
    await world.run(60)
    assert (await world.release()).phase is Phase.ROLLED_BACK
    assert await world.share(good.id) == 100
    assert await world.share(bad.id) == 0


async def test_a_b_by_header_pins_a_group():
    """The split stays with stable; the pin carries the group."""
    world = await started()
    new = world.commit("1.1.0", with_guard=guard(strategy=ABTest(header=("x-group", "b"))))
    await world.run(4)
    plan = await world.router.observe("orders")
    assert plan is not None
    assert plan.split.percent(new.id) == 0
    assert plan.pins[0].header == ("x-group", "b")


async def test_mirror_comes_before_any_user():
    """Copies first; no user is on the candidate meanwhile."""
    world = await started()
    new = world.commit("1.1.0", with_guard=guard(mirror=MirrorFirst(percent=10, min_requests=50)))
    await world.run(3)
    plan = await world.router.observe("orders")
    assert plan is not None
    assert plan.mirror is not None
    assert plan.mirror.version == new.id
    assert plan.split.percent(new.id) == 0


async def test_a_new_commit_supersedes_a_release_under_way():
    """The newer version is released against the same stable one."""
    world = await started()
    world.commit("1.1.0")
    await world.run(4)
    newer = world.commit("1.2.0")
    await world.run(3)
    release = await world.release()
    assert release.candidate == newer
    assert release.stable == version("1.0.0")
    assert release.name == "orders-2"


async def test_taking_the_commit_back_ends_the_release_without_blame():
    """Git asks for stable again: superseded, not held."""
    world = await started()
    world.commit("1.1.0")
    await world.run(4)
    world.commit("1.0.0")
    await world.run(3)
    assert (await world.release()).phase is Phase.SUPERSEDED
    assert not (await world.progress()).held


async def test_manual_rollback_after_promotion_starts_the_old_version_before_moving_traffic():
    """Capacity first: the target was stopped long ago and gets traffic only once it is ready."""
    world = await started()
    old = version("1.0.0")
    new = world.commit("1.1.0")
    await world.run(120)
    assert (await world.release()).phase is Phase.PROMOTED
    await say(world, Verb.ROLLBACK)
    assert await world.share(new.id) == 100
    await world.run(3)
    assert await world.share(old.id) == 100
    await world.run(3)
    assert (await world.release()).phase is Phase.ROLLED_BACK
    assert len(world.history.reverts) == 1


async def test_rollback_to_a_version_never_proven_good_is_refused():
    """Only proven-good versions are targets, and the refusal lists them."""
    world = await started()
    answer = await say(world, Verb.ROLLBACK, to="7.7.7")
    assert "7.7.7" in answer
    assert not world.replies[-1].accepted


async def test_retry_lifts_the_hold():
    """A person may give a held version another chance."""
    world = await started()
    bad = world.commit("1.1.0", error=1.0)
    await world.run(60)
    world.commit("1.1.0", error=0.0)
    await world.run(5)
    assert await world.share(bad.id) == 0
    await say(world, Verb.RETRY)
    assert world.replies[-1].accepted
    await world.run(100)
    assert (await world.release()).phase is Phase.PROMOTED


async def test_pause_holds_the_step_but_not_the_judge():
    """A paused release does not go forward; harm still takes it back."""
    world = await started()
    bad = world.commit("1.1.0")
    await world.run(4)
    await say(world, Verb.PAUSE)
    await world.run(60)
    assert (await world.release()).phase is Phase.EXPOSED
    world.error[bad.id] = 1.0
    await world.run(60)
    assert (await world.release()).phase is Phase.ROLLED_BACK


async def test_abort_leaves_git_alone():
    """`abort` takes traffic back and holds the version; the commit stays."""
    world = await started()
    new = world.commit("1.1.0")
    await world.run(4)
    await say(world, Verb.ABORT)
    await world.run(4)
    assert (await world.release()).phase is Phase.ROLLED_BACK
    assert not world.history.reverts
    assert await world.share(new.id) == 0


async def test_every_decision_replays_from_the_journal():
    """Recomputing a release gives the recorded decisions, bit for bit; tampering is found."""
    world = await started()
    world.commit("1.1.0", error=0.1)
    await world.run(60)
    entries = await world.store.entries(release="orders-1")
    report = replay("orders-1", entries)
    assert report.matches
    assert report.passes > 5
    chosen = [e.seq for e in entries if e.decision][3]
    tampered = [
        dataclasses.replace(e, decision=dataclasses.replace(e.decision, reason="other")) if e.seq == chosen else e
        for e in entries
    ]
    assert not replay("orders-1", tampered).matches


async def test_without_a_key_a_bad_version_is_condemned_by_exposures():
    """Withdrawn, looked at again with a few requests, and condemned against placebo arms."""
    world = await started(rate_per_s=200)
    settings = JudgeSettings(latency_quantiles=())
    bad = world.commit("1.1.0", error=1.0, with_guard=guard(judge=settings, shield=Shield(enabled=False)))
    await world.run(90, tick_s=0.2)
    release = await world.release()
    assert release.phase is Phase.ROLLED_BACK
    assert release.withdrawals >= 2
    assert world.hurt <= 20
    assert await world.share(bad.id) == 0


async def test_harm_in_the_bake_is_looked_at_again_with_a_small_share():
    """After a suspicion at all traffic, nobody sends all traffic to the version again before it has shown itself."""
    world = await started(rate_per_s=200)
    late = world.commit("1.1.0", with_guard=guard(bake_s=60.0))
    await world.run(1)
    while (await world.release()).phase is not Phase.BAKING:
        await world.run(1)
    world.error[late.id] = 0.3
    before = len(world.router.applied)
    await world.run(60, tick_s=0.2)
    assert (await world.release()).phase is Phase.ROLLED_BACK
    shares = [plan.split.percent(late.id) for plan in world.router.applied[before:]]
    assert max(shares[1:], default=0) <= 10


async def test_blind_time_does_not_count_as_bake():
    """A bake is time in which harm would have been seen."""
    world = await started()
    world.commit("1.1.0", with_guard=guard(bake_s=30.0))
    await world.run(1)
    while (await world.release()).phase is not Phase.BAKING:
        await world.run(1)
    world.signals.blind_since_s = world.clock.now()
    for _ in range(60):
        world.clock.sleep(1)
        await world.look()
    assert (await world.release()).phase is Phase.BAKING
    world.signals.blind_since_s = None
    await world.run(40)
    assert (await world.release()).phase is Phase.PROMOTED
