"""Policies keep the ways forward up, in simulated time, and never a way back."""

import pytest
from policy_pass import APPROVED, FINISHES, FROZEN, LONG_BAKES, SHOWN_FIRST, checked_step
from world import World, guard

from sternway.control.replay import replay
from sternway.domain.guards import BlueGreen, Mode, Then
from sternway.domain.policies import Policy, Window
from sternway.domain.releases import Phase, Verb


@pytest.fixture(autouse=True)
def _a_way_back_is_never_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pass of each test here is taken once more without policies: where that takes traffic away, so does this."""
    monkeypatch.setattr("sternway.control.reconcile.step", checked_step)


async def started(*rules: Policy) -> World:
    """A world in which 1.0.0 serves, and these rules hold."""
    world = World()
    world.git.rules = rules
    world.commit("1.0.0")
    await world.run(10)
    return world


async def test_the_first_version_is_adopted_in_a_freeze():
    """What runs already is no release."""
    world = await started(FROZEN)
    assert (await world.progress()).stable is not None


async def test_nothing_starts_in_a_freeze_and_it_goes_on_by_itself_afterwards():
    """A new version waits, with the policy's name; when the freeze ends nobody has to do anything."""
    world = await started(FROZEN)
    new = world.commit("1.1.0")
    await world.run(20)
    progress = await world.progress()
    assert progress.release is None
    assert "frozen until further notice by policy year-end" in progress.waits
    assert "sternway override orders" in progress.waits
    assert new.id in progress.waits
    world.git.rules = ()
    await world.until(Phase.PROMOTED)
    assert not (await world.progress()).waits


async def test_a_freeze_ends_at_its_time():
    """The pass is due when the window ends, not at some later look."""
    world = await started()
    until_s = world.clock.now() + 120.0
    minute = int(until_s // 60 + 3 * 24 * 60) % (7 * 24 * 60)  # 1 January 1970 was a Thursday
    world.git.rules = (Policy(name="short", freeze=(Window(zone="UTC", weekly=((minute - 60, minute),)),)),)
    world.commit("1.1.0")
    await world.look()
    decision = world.reconciler.decision("orders")
    assert decision is not None
    assert decision.look_at_s is not None
    await world.run(121)
    assert (await world.progress()).releases == 1


async def test_a_freeze_holds_a_release_under_way_at_its_share():
    """It neither rises nor is promoted; when the freeze ends it goes on."""
    world = await started()
    new = world.commit("1.1.0")
    await world.until(Phase.EXPOSED)
    share = await world.share(new.id)
    world.git.rules = (FROZEN,)
    await world.run(60)
    release = await world.release()
    assert (release.phase, release.index) == (Phase.EXPOSED, 0)
    assert await world.share(new.id) <= share
    assert "frozen" in release.waits
    assert "waits: frozen" in world.reconciler.decision("orders").reason
    world.git.rules = ()
    await world.until(Phase.PROMOTED)


async def test_a_release_under_way_finishes_where_the_freeze_says_so():
    """`underWay: finish` keeps new releases from starting and nothing else."""
    world = await started()
    world.commit("1.1.0")
    await world.until(Phase.EXPOSED)
    world.git.rules = (FINISHES,)
    await world.until(Phase.PROMOTED)
    world.commit("1.2.0")
    await world.run(10)
    assert (await world.release()).name == "orders-1"


@pytest.mark.parametrize("rules", [(FROZEN,), (FINISHES,), (APPROVED, SHOWN_FIRST), (FROZEN, LONG_BAKES)])
async def test_harm_is_taken_back_under_every_policy(rules: tuple[Policy, ...]):
    """Invariant 1: the traffic goes, the version is held, Git is reverted."""
    world = await started()
    bad = world.commit("1.1.0")
    await world.until(Phase.EXPOSED)
    world.git.rules = rules
    world.error[bad.id] = 0.8
    release = await world.until(Phase.ROLLED_BACK)
    assert await world.share(bad.id) == 0
    assert release.reverted is not None


async def test_people_take_back_in_a_freeze():
    """Abort and rollback know no policy; a rollback to a good version without a release neither."""
    world = await started()
    new = world.commit("1.1.0")
    await world.until(Phase.EXPOSED)
    world.git.rules = (FROZEN, APPROVED)
    assert (await world.say(Verb.ABORT)).accepted
    assert await world.share(new.id) == 0
    world.git.rules = ()
    world.commit("1.2.0")
    await world.until(Phase.PROMOTED)
    world.git.rules = (FROZEN, APPROVED)
    assert (await world.say(Verb.ROLLBACK)).accepted
    await world.until(Phase.ROLLED_BACK)
    assert (await world.progress()).stable.workload.tag == "1.0.0"


async def test_a_return_to_a_proven_version_by_git_passes_every_policy():
    """Who reverts a commit in a freeze rolls back, by the way that teams know best."""
    world = await started()
    world.commit("1.1.0")
    await world.until(Phase.PROMOTED)
    world.git.rules = (FROZEN, APPROVED, SHOWN_FIRST, LONG_BAKES)
    world.commit("1.0.0")
    await world.until(Phase.BAKING)
    await world.until(Phase.PROMOTED)
    assert (await world.progress()).stable.workload.tag == "1.0.0"


async def test_a_person_overrides_a_freeze_for_one_version_with_a_reason():
    """The word is recorded with the name and the reason; the next version is frozen as before."""
    world = await started(FROZEN)
    world.commit("1.1.0")
    await world.run(5)
    assert "--reason" in (await world.say(Verb.OVERRIDE)).message
    assert (await world.say(Verb.OVERRIDE, reason="the shop is down")).accepted
    release = await world.until(Phase.PROMOTED)
    first = (await world.store.entries(release=release.name))[0]
    assert first.decision is not None
    assert "freeze overridden by ada: the shop is down" in first.decision.reason
    world.commit("1.2.0")
    await world.run(10)
    assert (await world.progress()).releases == 1


async def test_a_freeze_holds_against_a_promotion_until_it_is_overridden():
    """`promote` in a freeze is refused and says what to say instead."""
    world = await started()
    new = world.commit("1.1.0")
    await world.until(Phase.EXPOSED)
    world.git.rules = (FROZEN,)
    reply = await world.say(Verb.PROMOTE)
    assert not reply.accepted
    assert "sternway override orders" in reply.message
    await world.say(Verb.OVERRIDE, reason="agreed with ops")
    assert (await world.say(Verb.PROMOTE)).accepted
    await world.run(1)
    assert await world.share(new.id) == 95


async def test_a_release_waits_for_its_approval_before_promotion():
    """At its last step it stays, however good it looks, until a person approves; who did stands in the reason."""
    world = await started(APPROVED)
    world.commit("1.1.0")
    await world.until(Phase.EXPOSED)
    await world.run(60)
    release = await world.release()
    assert (release.phase, release.index) == (Phase.EXPOSED, 1)
    assert "policy two-eyes asks for a person's approval before it is promoted" in release.waits
    assert (await world.say(Verb.APPROVE)).accepted
    release = await world.until(Phase.BAKING)
    assert "approved by ada" in release.reason
    await world.until(Phase.PROMOTED)


async def test_who_promotes_has_approved():
    """One word is enough."""
    world = await started(APPROVED)
    world.commit("1.1.0")
    await world.until(Phase.EXPOSED)
    assert (await world.say(Verb.PROMOTE)).accepted
    await world.until(Phase.PROMOTED)


async def test_a_candidate_waits_for_its_approval_before_it_gets_users():
    """It starts, is ready, and nobody reaches it; waiting blames nobody, however long."""
    world = await started(SHOWN_FIRST)
    new = world.commit("1.1.0")
    await world.run(120)
    assert (await world.release()).phase is Phase.STARTING
    assert await world.share(new.id) == 0
    await world.say(Verb.APPROVE)
    await world.until(Phase.PROMOTED)


async def test_a_blue_green_release_is_approved_at_its_preview():
    """What has a preview is looked at there before it gets users."""
    world = await started(SHOWN_FIRST)
    new = world.commit("1.1.0", with_guard=guard(strategy=BlueGreen(hold_s=1.0)))
    await world.run(60)
    assert (await world.release()).phase is Phase.PREVIEW
    assert await world.share(new.id) == 0
    await world.say(Verb.APPROVE)
    await world.until(Phase.PROMOTED)


async def test_a_guard_that_breaks_a_policy_starts_no_release():
    """A policy that came later: nothing new starts under such a Guard, and its field is named."""
    world = await started(LONG_BAKES)
    world.commit("1.1.0")
    await world.run(10)
    progress = await world.progress()
    assert progress.release is None
    assert "spec.bake.for" in progress.waits
    world.commit("1.2.0", with_guard=guard(bake_s=3600.0))
    await world.until(Phase.BAKING)


async def test_consent_is_asked_for_only_where_a_policy_asks():
    """A word that nobody needs is refused, as is a second one."""
    world = await started()
    assert "no version" in (await world.say(Verb.APPROVE)).message
    world.commit("1.1.0")
    await world.until(Phase.EXPOSED)
    assert "asks for an approval" in (await world.say(Verb.APPROVE)).message
    assert "freezes it now" in (await world.say(Verb.OVERRIDE, reason="so")).message
    world.git.rules = (APPROVED,)
    assert (await world.say(Verb.APPROVE)).accepted
    assert "approved by ada" in (await world.say(Verb.APPROVE)).message


async def test_patience_that_ends_in_a_promotion_waits_for_the_freeze():
    """`ask` and `blind` with `then: promote` are ways forward."""
    world = await started()
    asks = guard(mode=Mode.ASK, ask_timeout_s=10.0, ask_then=Then.PROMOTE)
    new = world.commit("1.1.0", error=0.8, with_guard=asks)
    await world.until(Phase.ASKING)
    world.git.rules = (FROZEN,)
    await world.run(30)
    assert (await world.release()).phase is Phase.ASKING
    assert await world.share(new.id) == 0


async def test_a_release_that_policies_kept_up_replays_bit_for_bit():
    """What policies said is part of the observation (invariant 8): no calendar is asked again."""
    world = await started()
    world.commit("1.1.0")
    await world.until(Phase.EXPOSED)
    world.git.rules = (FROZEN, APPROVED)
    await world.run(20)
    await world.say(Verb.OVERRIDE, reason="so")
    await world.run(60)
    world.git.rules = (APPROVED,)
    await world.say(Verb.APPROVE)
    await world.until(Phase.PROMOTED)
    assert replay("orders-1", await world.store.entries(release="orders-1")).matches
