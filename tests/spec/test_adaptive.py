"""Exposure that rises as fast as the evidence allows: the default strategy."""

import pytest
from world import World, guard, version

from sternway.domain.guards import DEFAULT_STEPS, Canary, JudgeSettings, Objectives, Shield, adaptive_steps
from sternway.domain.releases import Phase
from sternway.domain.traffic import Split
from sternway.engine.exposure import percent_of_steps

ADAPTIVE = guard(strategy=Canary(), judge=JudgeSettings(latency_quantiles=()), bake_s=5.0)


async def _released(rate_per_s: float, **fields: object) -> World:
    world = World(rate_per_s=rate_per_s, **fields)  # type: ignore[arg-type]
    world.commit("1.0.0", with_guard=ADAPTIVE)
    await world.run(30)
    return world


async def _share_in_step_two(world: World, *, within_s: int = 120) -> float:
    for _ in range(within_s):
        await world.run(1)
        if (await world.release()).index == 1:
            return (await world.release()).percent
    raise AssertionError(await world.release())


@pytest.mark.parametrize(("rate_per_s", "percent"), [(20, 25.0), (200, 10.0), (2000, 10.0), (20_000, 1.5)])
async def test_while_it_is_learned_the_share_follows_traffic_and_what_may_still_be_wrong(
    rate_per_s: float, percent: float
):
    """At least five requests a second, at most a third; where a tenth could hurt too many users before a withdrawal, less."""
    world = await _released(rate_per_s)
    world.commit("1.1.0", with_guard=ADAPTIVE)
    assert await _share_in_step_two(world) == pytest.approx(percent, rel=0.3)


async def test_a_healthy_version_is_promoted_as_soon_as_that_is_sure():
    """200 requests a second: some minutes, and the reason says how sure it is."""
    world = await _released(200)
    world.commit("1.1.0", with_guard=ADAPTIVE)
    reasons = []
    for _ in range(400):
        await world.run(1)
        reasons.append((await world.release()).reason)
        if (await world.release()).phase is Phase.BAKING:
            break
    assert any("surely at most 10 points" in reason for reason in reasons)
    assert any("surely at most 0.1 points above 3 times the old error rate" in reason for reason in reasons)
    assert (await world.release()).phase is Phase.BAKING


async def test_four_times_the_errors_are_found_before_half_of_the_traffic_is_at_stake():
    """0.5 % against 0.1 % at 200 requests a second: suspected in the second step, at a tenth of the traffic."""
    world = await _released(200, seed=4)
    bad = world.commit("1.1.0", error=0.005, with_guard=ADAPTIVE)
    release = await world.until(Phase.WITHDRAWN, within_s=600)
    assert (release.candidate, release.index) == (bad, 1)


async def test_without_enough_traffic_it_goes_on_when_its_time_is_up_and_says_what_is_not_known():
    """Two requests a second do not tell 0.1 points; after `within` it is promoted all the same."""
    steps = adaptive_steps(within_s=60.0)
    patient = guard(strategy=Canary(steps=steps), judge=JudgeSettings(latency_quantiles=()), bake_s=5.0)
    world = await _released(2)
    world.commit("1.1.0", with_guard=patient)
    for _ in range(400):
        await world.run(1)
        if (await world.release()).index == 2:
            break
    assert "cannot be ruled out yet" in (await world.release()).reason


async def test_common_trouble_holds_the_step():
    """While both versions miss the objective, nothing is learned of the candidate alone, and nothing rises."""
    troubled = guard(
        strategy=Canary(),
        judge=JudgeSettings(latency_quantiles=(), objectives=Objectives(availability_percent=99.0)),
        shield=Shield(enabled=False),
    )
    world = World(rate_per_s=200)
    world.commit("1.0.0", with_guard=troubled)
    await world.run(30)
    world.commit("1.1.0", error=0.2, with_guard=troubled)
    world.error[version("1.0.0").id] = 0.2
    await world.run(150)
    release = await world.release()
    assert (release.phase, release.index) == (Phase.EXPOSED, 0)
    assert release.judgement is not None
    assert release.judgement.common_trouble


def test_the_default_strategy_is_the_adaptive_one():
    """Without a setting a release rises by evidence."""
    assert guard(strategy=Canary()).strategy == Canary(steps=adaptive_steps())
    assert adaptive_steps() == DEFAULT_STEPS


@pytest.mark.parametrize("rate_per_s", [300.0, 60_000.0, 150_000.0, 1_000_000.0, 4_900_000.0])
def test_a_cap_in_requests_per_second_holds_at_any_traffic(rate_per_s: float):
    """Five requests a second of five million too: the share that proxies take is within a sixth of what was asked for."""
    percent = percent_of_steps(DEFAULT_STEPS[:1], rate_per_s, 0.0, 1.0, most=10.0)
    taken = Split.between("old", "new", percent).percent("new") / 100.0 * rate_per_s
    assert taken == pytest.approx(5.0, rel=1 / 6)


def test_beyond_any_traffic_a_candidate_gets_one_request_in_a_million():
    """A share is never rounded to nothing."""
    percent = percent_of_steps(DEFAULT_STEPS[:1], 1e9, 0.0, 1.0, most=10.0)
    assert Split.between("old", "new", percent).shares == (("new", 1), ("old", 999_999))
