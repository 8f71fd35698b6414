"""What people are to be told, worked out from where a service stands: each cause, its words, and its end."""

import dataclasses

import pytest
from world import MEASURED, World, guard

from sternway.domain.guards import Canary, CanaryStep, Guard, Mode, Then
from sternway.domain.metrics import Alert, AlertRule, OnAlert
from sternway.domain.monitoring import AlertsOut
from sternway.domain.notices import ALERT_NAMES, SEVERITIES, Failing, Notice, What
from sternway.domain.platform import WorkloadState
from sternway.domain.releases import Phase, Verb
from sternway.engine import wording
from sternway.engine.alerting import FAILING_AFTER_S, notices, of_platform

LONG = Canary(steps=(CanaryStep(percent=20, min_requests=100_000),))


async def started() -> World:
    """A world in which 1.0.0 serves."""
    world = World()
    world.commit("1.0.0")
    await world.run(30)
    return world


def keyless(**changes: object) -> Guard:
    """A guard without a cluster key: errors only suspect at first."""
    return guard(judge=dataclasses.replace(guard().judge, cluster_key=None), **changes)


async def told(world: World, *failing: Failing, workloads: tuple[WorkloadState, ...] = (), later_s: float = 0.0):
    """Everything that is to be told now."""
    progress, now_s = await world.progress(), world.clock.now() + later_s
    return notices(progress, workloads, failing, now_s=now_s, rolled_back_s=3600.0)


async def only(world: World, what: What, **more) -> Notice:
    """The one thing that is to be told."""
    (found,) = await told(world, **more)
    assert found.what is what
    return found


async def test_nothing_is_told_of_a_service_at_rest():
    """A version serves, nothing is under way: silence."""
    assert await told(await started()) == ()


async def test_a_rollback_is_told_with_evidence_and_with_what_was_done_in_git():
    """Which answers decided, the commit that takes it back, what is held, and what a person does now."""
    world = await started()
    new = world.commit("1.1.0", error=1.0)
    release = await world.until(Phase.ROLLED_BACK)
    found = await only(world, What.ROLLED_BACK)
    assert (found.service, found.release, found.version) == ("orders", "orders-1", new.id)
    assert found.summary == f"orders: {new.id} was rolled back to {release.stable.id}"
    assert release.judgement.sentence in found.seen
    assert "Git: commit revert-or takes it back" in found.done
    assert f"{new.id} is held" in found.done
    assert "commit a new version" in found.todo
    assert found.since_s == release.decided_s


async def test_a_rollback_is_over_after_a_while_and_when_the_next_release_begins():
    """It stands for an hour, or until somebody has done something about it."""
    world = await started()
    world.commit("1.1.0", error=1.0)
    await world.until(Phase.ROLLED_BACK)
    assert await told(world, later_s=3590.0)
    assert await told(world, later_s=3610.0) == ()
    world.commit("1.2.0")
    await world.until(Phase.STARTING)
    assert await told(world) == ()


async def test_a_rollback_whose_revert_cannot_be_pushed_says_so_and_its_message_does_not_wait_for_ever():
    """Traffic is away, Git is down: the alert stands at once, a message waits half a minute for the commit."""
    world = await started()
    world.history.down = True
    world.commit("1.1.0", error=1.0)
    release = await world.until(Phase.ROLLING_BACK)
    found = await only(world, What.ROLLED_BACK)
    assert "is being rolled back" in found.summary
    assert "the revert in Git is still to be pushed" in found.done
    assert found.tell_from_s == release.entered_s + 30
    world.history.down = False
    await world.until(Phase.ROLLED_BACK)
    settled = await only(world, What.ROLLED_BACK)
    assert (settled.key, settled.tell_from_s) == (found.key, 0.0)


async def test_each_withdrawal_is_an_event_of_its_own():
    """Suspected, looked at again, suspected again: two events, of which each is told once."""
    world = await started()
    world.commit("1.1.0", error=0.3, with_guard=keyless(withdraw_s=5.0))
    await world.until(Phase.WITHDRAWN)
    first = await only(world, What.WITHDRAWN)
    await world.until(Phase.EXPOSED)
    assert await told(world) == ()
    await world.until(Phase.WITHDRAWN)
    second = await only(world, What.WITHDRAWN)
    assert (first.key, second.key) == ("withdrawn orders-1 #1", "withdrawn orders-1 #2")


async def test_a_release_that_asks_says_how_it_is_answered():
    """The three commands, and what happens without an answer."""
    world = await started()
    world.commit("1.1.0", error=1.0, with_guard=guard(mode=Mode.ASK, ask_then=Then.HOLD))
    await world.until(Phase.ASKING)
    found = await only(world, What.HELD)
    for words in ("sternway rollback orders", "sternway resume orders", "sternway promote orders", "it stays so"):
        assert words in found.todo


async def test_a_release_that_an_alert_holds_is_told():
    """Nothing is proven against it, and it goes no further."""
    world = await started()
    rule = AlertRule(match=(("alertname", "Deep"),), then=OnAlert.HOLD)
    new = world.commit("1.1.0", with_guard=guard(judge=dataclasses.replace(MEASURED, alerts=(rule,)), strategy=LONG))
    await world.until(Phase.EXPOSED)
    labels = (("alertname", "Deep"), ("version", new.id))
    world.signals.alerts = (Alert(id="a", labels=labels, since_s=world.clock.now()),)
    await world.run(3)
    found = await only(world, What.HELD)
    assert "Deep" in found.seen
    world.signals.alerts = ()
    await world.run(3)
    assert await told(world) == ()


async def test_a_held_version_that_git_still_asks_for_is_told():
    """An aborted version stays in Git: nobody would notice that nothing happens."""
    world = await started()
    new = world.commit("1.1.0", with_guard=guard(strategy=LONG))
    await world.until(Phase.EXPOSED)
    await world.say(Verb.ABORT)
    await world.until(Phase.ROLLED_BACK)
    await world.run(2)
    found = {one.what: one for one in await told(world)}
    assert set(found) == {What.ROLLED_BACK, What.HELD}
    assert found[What.HELD].version == new.id
    assert "sternway retry orders" in found[What.HELD].todo


async def test_blindness_is_told_when_it_lasts_and_says_what_follows():
    """Ten seconds; then what is missing, and what the Guard says happens in the end."""
    world = await started()
    world.commit("1.1.0", with_guard=guard(strategy=LONG, blind_s=60.0, blind_then=Then.ROLLBACK))
    await world.until(Phase.EXPOSED)
    world.signals.blind_since_s = world.clock.now()
    await world.run(8)
    assert await told(world) == ()
    await world.run(4)
    found = await only(world, What.BLIND)
    assert "after 60 s it is rolled back" in found.done
    world.signals.blind_since_s = None
    await world.run(2)
    assert await told(world) == ()


async def test_trouble_of_both_versions_is_told_as_nobodys_release():
    """Stable breaches the absolute objective too: an alert says that the release is not to blame."""
    world = await started()
    world.commit("1.1.0", with_guard=guard(strategy=LONG))
    await world.until(Phase.EXPOSED)
    await world.run(2)
    release = await world.release()
    judged = dataclasses.replace(release.judgement, common_trouble="both fail 9 % of their requests")
    progress = dataclasses.replace(await world.progress(), release=dataclasses.replace(release, judgement=judged))
    (found,) = notices(progress, (), (), now_s=world.clock.now(), rolled_back_s=1.0)
    assert found.what is What.SHARED
    assert found.seen == "both fail 9 % of their requests"


async def test_what_fails_is_told_when_trying_again_has_not_helped():
    """A revert that cannot be pushed belongs to its release, a stable version that cannot run to its service."""
    world = await started()
    now_s = world.clock.now()
    failing = Failing(about="orders", message="the proxy said no", hint="see its log", since_s=now_s - FAILING_AFTER_S)
    (found,) = await told(world, failing)
    assert (found.key, found.seen, found.todo) == ("failed orders orders", "the proxy said no", "see its log")
    assert await told(world, dataclasses.replace(failing, since_s=now_s - 1)) == ()
    world.commit("1.1.0", with_guard=guard(strategy=LONG))
    await world.until(Phase.EXPOSED)
    revert = dataclasses.replace(failing, about="revert orders-1", since_s=0.0)
    (found,) = await told(world, revert)
    assert (found.release, found.summary) == ("orders-1", "Sternway cannot do what it should: the revert of orders-1")
    stable = (await world.progress()).stable
    state = WorkloadState(
        workload_id=stable.workload.id, image="orders:1.0.0", desired=2, ready=1, failure="it crashes"
    )
    found = await only(world, What.FAILED, workloads=(state,))
    assert found.seen == "it crashes; 1 of 2 replicas are ready"


def test_what_fails_and_is_no_services_is_told_of_the_platform():
    """The journal, the branch: no service's name, no empty label."""
    (found,) = of_platform([Failing(about="journal", message="the disk is full", since_s=0.0)], now_s=100.0)
    labels = dict(wording.alert(found, AlertsOut(), since_s=0.0, ends_s=1.0).labels)
    assert labels == {"alertname": "SternwayActionFailed", "severity": "critical", "about": "journal"}


@pytest.mark.parametrize("what", [what for what in What if what is not What.PROMOTED])
def test_everything_but_a_promotion_is_an_alert_of_ours(what):
    """Each has a name that begins as those do which judge no release, and a severity."""
    assert ALERT_NAMES[what].startswith("Sternway")
    assert SEVERITIES[what] in ("info", "warning", "critical")


async def test_an_alert_has_few_labels_and_a_link_and_a_message_says_all():
    """Labels are bounded whatever the evidence says; a link is filled in; the settings' labels are on both."""
    world = await started()
    world.commit("1.1.0", error=1.0)
    await world.until(Phase.ROLLED_BACK)
    found = dataclasses.replace(await only(world, What.ROLLED_BACK), seen="x" * 10_000)
    settings = AlertsOut(link_url="https://a.example/$(service)/$(release)", labels=(("cluster", "eu-1"),))
    alert = wording.alert(found, settings, since_s=0.0, ends_s=9.0)
    assert [name for name, _ in alert.labels] == ["alertname", "cluster", "release", "service", "severity", "version"]
    assert alert.link == "https://a.example/orders/orders-1"
    assert len(dict(alert.annotations)["description"]) < 4 * wording.LONGEST
    message = wording.message(found, settings, since_s=1_700_000_000.0)
    assert message.body.splitlines()[:2] == [
        "Where: service orders, release orders-1, cluster eu-1",
        "Since: 2023-11-14 22:13:20 UTC",
    ]
    assert message.body.splitlines()[-1] == "More: https://a.example/orders/orders-1"


async def test_a_promotion_is_told_as_good_news():
    """For those who want to know; no alert."""
    world = await started()
    new = world.commit("1.1.0")
    await world.until(Phase.PROMOTED)
    found = await only(world, What.PROMOTED)
    assert found.version == new.id
    assert wording.message(found, AlertsOut(), since_s=0.0).severity == "good"
