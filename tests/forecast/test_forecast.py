"""What is foreseen of a Guard is held against the engine itself, and against what must be so."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest
from world import World, guard

from sternway.domain.guards import ABTest, BlueGreen, Canary, CanaryStep, Guard, JudgeSettings, Shield
from sternway.domain.releases import Phase
from sternway.domain.tallies import ClusterKey
from sternway.forecast import Known, advise, forecast, words
from sternway.forecast.detection import FAULTS, RUNS, Fault, on_the_way_up

KEY = ClusterKey(header="x-user")
STEPS = Canary(
    steps=(CanaryStep(requests_per_second=5, min_requests=500), CanaryStep(percent=20, min_requests=500)),
)
FIXED = Canary(
    steps=(
        CanaryStep(requests_per_second=5, min_requests=100),
        CanaryStep(percent=10, min_requests=200),
        CanaryStep(percent=50, min_requests=200),
    )
)
RATE_PER_S = 100.0
RELEASES = 40


def fault(guarded: Guard, error: float, rate_per_s: float = RATE_PER_S) -> Fault:
    """Foresee one fault."""
    made = forecast(guarded, Known(rate_per_s=rate_per_s))
    return next(one for one in made.faults if one.error == error)


async def _live(guarded: Guard, seed: int, error: float) -> tuple[int, int, float]:
    """Release a bad version for real, in simulated time: its requests until withdrawn, until condemned, and how long."""
    world = World(rate_per_s=RATE_PER_S, seed=seed)
    world.commit("1.0.0", with_guard=guarded)
    await world.run(3)
    world.commit("1.1.0", error=error, with_guard=guarded)
    exposed = await world.until(Phase.EXPOSED)
    withdrawn = None
    for _ in range(4000):
        await world.run(0.5, tick_s=0.5)
        release = await world.release()
        if withdrawn is None and release.detected_s is not None:
            withdrawn = release.requests
        if release.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
            assert withdrawn is not None
            return withdrawn, release.requests, world.clock.now() - exposed.entered_s
    raise AssertionError(f"release {seed} was never condemned")


@pytest.mark.parametrize("key", [KEY, None], ids=["with a key", "without a key"])
async def test_the_forecast_agrees_with_the_engine_itself(key: ClusterKey | None):
    """5 % errors against 0.1 %: medians of requests until withdrawn and condemned, and of the time, within a third.

    The engine runs whole, with its shell, on simulated users, and looks every half second.
    """
    guarded = guard(strategy=STEPS, judge=JudgeSettings(cluster_key=key), withdraw_s=5.0)
    live = [await _live(guarded, seed, 0.05) for seed in range(100, 100 + RELEASES)]
    found = fault(guarded, 0.05).ramp
    assert found is not None
    assert found.withdrawn == found.condemned == 1.0
    foreseen = (found.requests, found.condemned_requests, found.condemned_seconds)
    for ours, theirs in zip(foreseen, zip(*live, strict=True), strict=True):
        assert ours == pytest.approx(median(theirs), rel=1 / 3)


def test_the_larger_the_fault_the_sooner_it_is_found():
    """Requests until the withdrawal fall from 0.5 % to total failure, in the first step and on the way up."""
    for judge in (JudgeSettings(cluster_key=KEY), JudgeSettings()):
        made = forecast(Guard(service="orders", judge=judge), Known(rate_per_s=50))
        for way in ("first_step", "ramp"):
            requests = [getattr(one, way).requests for one in made.faults]
            assert requests == sorted(requests, reverse=True)
            assert requests[-1] < 15


def test_without_a_key_it_takes_longer_to_condemn_and_not_to_withdraw():
    """Rounds are as quick to suspect as the key is, and need exposure after exposure to be sure."""
    keyed = fault(Guard(service="orders", judge=JudgeSettings(cluster_key=KEY)), 0.05).ramp
    keyless = fault(Guard(service="orders"), 0.05).ramp
    assert keyed is not None
    assert keyless is not None
    assert keyless.seconds == pytest.approx(keyed.seconds, rel=0.6)
    assert keyless.condemned_seconds > 1.5 * keyed.condemned_seconds


def test_the_shield_spares_safe_requests_within_its_budget():
    """At a share of a few per cent the budget of 20 % covers all; a shield that is down covers none."""
    with_it = fault(Guard(service="orders", strategy=FIXED), 1.0).first_step
    without = fault(Guard(service="orders", strategy=FIXED, shield=Shield(enabled=False)), 1.0).first_step
    assert with_it is not None
    assert without is not None
    assert with_it.hurt_shielded == 0.0
    assert without.hurt_shielded == pytest.approx(without.hurt)
    assert with_it.hurt == without.hurt


def test_what_is_missed_is_told_with_a_change_that_was_tried():
    """Short steps without a key promote 1 % errors; the proposed number of requests finds them, as simulated again."""
    guarded = Guard(service="orders", strategy=FIXED)
    made = forecast(guarded, Known(rate_per_s=50))
    told = {one.fault: one for one in advise(guarded, made)}
    one = told[0.01]
    assert one.field == "spec.strategy.canary.steps[0].minRequests"
    first = replace(FIXED.steps[0], min_requests=int(one.value))
    changed = replace(guarded, service="", strategy=Canary(steps=(first, *FIXED.steps[1:])))
    found = on_the_way_up(changed, 50, made.error, 0.01)
    assert found.withdrawn == one.after > one.before
    assert f"steps[0].minRequests: {one.value}" in words(one)
    assert f"of {RUNS} simulated releases" in words(one)
    assert 1.0 not in told


def test_a_guard_that_finds_everything_gets_no_advice():
    """The default with a key at plenty of traffic."""
    guarded = Guard(service="orders", judge=JudgeSettings(cluster_key=KEY))
    assert advise(guarded, forecast(guarded, Known(rate_per_s=200))) == ()


def test_a_fault_within_the_margins_is_none():
    """Stable fails 1 % itself: 0.5 % and 1 % are no faults, 5 % is one."""
    made = forecast(Guard(service="orders"), Known(rate_per_s=50, error=0.01))
    assert [one.tolerated for one in made.faults] == [True, True, False, False]
    assert [one.error for one in made.faults] == list(FAULTS)
    assert not made.assumed


def test_a_whole_switch_is_foreseen_too():
    """Blue-green has no steps: total failure is withdrawn within a second or two and condemned by looking again."""
    one = fault(Guard(service="orders", strategy=BlueGreen()), 1.0, 20.0)
    assert one.first_step is None
    assert one.ramp is not None
    assert one.ramp.seconds < 2.0
    assert one.ramp.condemned == 1.0


@pytest.mark.parametrize(
    ("guarded", "rate_per_s", "said"),
    [
        (Guard(service="orders", strategy=ABTest(header=("x-beta", "1"))), 50.0, "A/B"),
        (Guard(service="orders"), 0.0, "without requests"),
    ],
    ids=["an A/B test", "no traffic"],
)
def test_what_nobody_can_know_is_said(guarded: Guard, rate_per_s: float, said: str):
    """No number is made up."""
    made = forecast(guarded, Known(rate_per_s=rate_per_s))
    assert said in made.unknown
    assert made.faults == ()
    assert advise(guarded, made) == ()


def test_the_same_guard_and_traffic_give_the_same_forecast():
    """Seeded: two people who run `check` talk about the same numbers, whatever the service is called."""
    one = forecast(Guard(service="orders"), Known(rate_per_s=33.0))
    other = forecast(Guard(service="carts"), Known(rate_per_s=33.0))
    assert replace(one, service="carts") == other


def test_the_blind_time_is_the_guards():
    """How long nobody looks, how long blindness is borne, and what follows."""
    blind = forecast(Guard(service="orders", blind_s=42.0, withdraw_s=7.0), Known(rate_per_s=0.0)).blind
    assert (blind.borne_s, blind.away_s) == (42.0, 7.0)
    assert 0.0 < blind.reacts_s < blind.looks_s
