"""Releases with metrics and alerts: what is missing holds, what is seen still counts, and a person may overrule."""

import pytest
from world import MEASURED, World, guard

from sternway.domain.guards import Canary, CanaryStep, Then
from sternway.domain.metrics import Alert, Unseen
from sternway.domain.releases import Phase, Verb

LONG = Canary(steps=(CanaryStep(percent=20, min_requests=100_000),))


async def started(**more) -> World:
    """Begin a world in which 1.0.0 serves."""
    world = World(**more)
    world.commit("1.0.0")
    await world.run(5)
    return world


def missing(world: World, role: str = "") -> tuple[Unseen, ...]:
    """Say that the metric has been missing since now."""
    return (Unseen(criterion="refused", since_s=world.clock.now(), why="Prometheus is gone", role=role),)


async def test_a_version_that_refuses_orders_with_200_is_taken_back():
    """No error in any answer; the ratio condemns it, Git is reverted, and the reason names the metric."""
    world = await started()
    new = world.commit("1.1.0", with_guard=guard(judge=MEASURED))
    world.refused[new.id] = 0.9
    await world.until(Phase.ROLLED_BACK)
    release = await world.release()
    assert release.judgement.criterion == "refused"
    assert release.withdrawals >= 1
    assert len(world.history.reverts) == 1


async def test_a_metric_that_is_missing_holds_the_split_and_says_which():
    """Errors are seen all the while, so the release is not blind to everything; still no step is passed without it."""
    world = await started()
    new = world.commit("1.1.0", with_guard=guard(judge=MEASURED))
    await world.until(Phase.EXPOSED)
    world.signals.unseen = missing(world)
    await world.run(30)
    release = await world.release()
    assert (release.phase, release.index) == (Phase.EXPOSED, 0)
    assert world.reconciler.decision("orders").reason == "blind to refused: Prometheus is gone; the split holds"
    assert await world.share(new.id) > 0
    world.signals.unseen = ()
    await world.until(Phase.PROMOTED)


async def test_harm_in_the_log_takes_a_release_back_while_a_metric_is_missing():
    """An alternative signal is used where there is one: blindness to one criterion protects nobody from another."""
    world = await started()
    new = world.commit("1.1.0", with_guard=guard(judge=MEASURED, strategy=LONG))
    await world.until(Phase.EXPOSED)
    world.signals.unseen = missing(world)
    await world.run(5)
    world.error[new.id] = 1.0
    await world.until(Phase.ROLLED_BACK)
    assert (await world.release()).judgement.criterion == "errors"


@pytest.mark.parametrize(("then", "phase"), [(Then.ROLLBACK, Phase.ROLLED_BACK), (Then.PROMOTE, Phase.PROMOTED)])
async def test_a_metric_that_stays_missing_does_what_the_guard_says(then, phase):
    """blind: bearFor 10s; a rollback for it is no verdict on the version."""
    world = await started()
    world.commit("1.1.0", with_guard=guard(judge=MEASURED, strategy=LONG, blind_s=10.0, blind_then=then, bake_s=0.0))
    await world.until(Phase.EXPOSED)
    world.signals.unseen = missing(world)
    await world.until(phase)
    if phase is Phase.ROLLED_BACK:
        assert world.history.marks[-1].verdict == "unproven"
        assert "Prometheus is gone" in (await world.release()).reason


async def test_a_candidate_without_values_is_missed_only_while_it_has_traffic():
    """Its series are not there before it serves: that is no blindness; once it serves, it is."""
    world = await started()
    world.commit("1.1.0", with_guard=guard(judge=MEASURED, withdraw_s=1000.0))
    world.signals.unseen = missing(world, "candidate")
    await world.until(Phase.EXPOSED)
    await world.run(20)
    release = await world.release()
    assert release.blind_since_s is not None
    assert release.blind_since_s >= release.entered_s
    assert release.index == 0


async def test_inconclusive_measurements_hold_the_release_until_a_person_decides():
    """Neither good nor failed, once too often: it goes neither forward nor back; promote overrules."""
    world = await started()
    new = world.commit("1.1.0", with_guard=guard(judge=MEASURED))
    world.depth[new.id] = 30.0
    await world.run(60)
    release = await world.release()
    assert (release.phase, release.index, release.withdrawals) == (Phase.EXPOSED, 0, 0)
    assert "of depth were inconclusive (0 may be)" in world.reconciler.decision("orders").reason
    assert (await world.say(Verb.PROMOTE)).accepted
    assert (await world.release()).phase is Phase.BAKING


async def test_a_limit_that_fails_takes_it_back_without_a_test():
    """The peers' rule: one failed measurement is more than failureLimit 0."""
    world = await started()
    new = world.commit("1.1.0", with_guard=guard(judge=MEASURED))
    world.depth[new.id] = 51.0
    await world.until(Phase.ROLLED_BACK, within_s=30)
    assert "which must be at most 20; 1 of 1 measurements failed (0 may)" in (await world.release()).reason


async def test_an_alert_takes_a_release_back_in_the_bake():
    """All traffic is on it already: the alert that names it brings the old version back."""
    world = await started()
    new = world.commit("1.1.0", with_guard=guard(judge=MEASURED, bake_s=100.0))
    await world.until(Phase.BAKING)
    alert = Alert(id="a", labels=(("alertname", "Refused"), ("version", "1.1.0")), since_s=world.clock.now())
    world.signals.alerts = (alert,)
    await world.until(Phase.ROLLED_BACK, within_s=30)
    assert await world.share(new.id) == 0
    assert "the alert Refused fires" in (await world.release()).reason


async def test_nothing_is_asked_of_metrics_without_a_release_and_from_its_start_with_one():
    """Counters are read before the candidate serves, so that its first answers count."""
    world = await started()
    assert world.signals.questions["orders"].metrics is None
    new = world.commit("1.1.0", with_guard=guard(judge=MEASURED))
    await world.look()
    asked = world.signals.questions["orders"].metrics
    assert (await world.release()).phase is Phase.STARTING
    assert asked.asks[0].candidate == (f'bad{{v="{new.id}"}}', f'all{{v="{new.id}"}}')
    await world.until(Phase.PROMOTED)
    await world.look()
    assert world.signals.questions["orders"].metrics is None
