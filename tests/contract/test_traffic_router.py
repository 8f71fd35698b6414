"""What every TrafficRouter keeps: what was acknowledged is observed, what was refused changes nothing."""

from __future__ import annotations

import pytest
from contract_world import Routed, version

from sternway.domain.traffic import Split, TrafficPlan
from sternway.domain.versions import Service, Version
from sternway.errors import NotApplied

ORDERS, STOCK = "orders.shop", "stock.shop"
STABLE, CANDIDATE = version("1.0.0", ORDERS), version("1.1.0", ORDERS)


def plan(*versions: Version, percent: float = 0.0) -> TrafficPlan:
    """All to the first version, but for `percent` to the last."""
    split = Split.between(versions[0].id, versions[-1].id, percent) if percent else Split.all_to(versions[0].id)
    return TrafficPlan(service=Service(name=versions[0].service, port=80), versions=versions, split=split)


async def test_nothing_is_observed_of_a_service_without_a_plan(routed: Routed):
    """Unknown is None, never a guess."""
    assert await routed.router.observe(ORDERS) is None


async def test_an_applied_plan_is_observed_as_it_was_stated(routed: Routed):
    """When apply returns, the proxies hold exactly this plan, and the next one replaces all of it."""
    for wanted in (plan(STABLE), plan(STABLE, CANDIDATE, percent=12.5), plan(CANDIDATE)):
        await routed.router.apply(wanted)
        assert await routed.router.observe(ORDERS) == wanted


async def test_applying_a_plan_again_changes_nothing(routed: Routed):
    """A pass may be repeated after a crash."""
    wanted = plan(STABLE, CANDIDATE, percent=30)
    await routed.router.apply(wanted)
    await routed.router.apply(wanted)
    assert await routed.router.observe(ORDERS) == wanted


async def test_a_refused_plan_leaves_the_old_one_in_force(routed: Routed):
    """NotApplied says so, with a time to try again; the next good plan is taken."""
    good = plan(STABLE)
    await routed.router.apply(good)
    with pytest.raises(NotApplied) as refused:
        await routed.router.apply(routed.refusing(plan(CANDIDATE)))
    assert refused.value.retry_in_s > 0
    assert await routed.router.observe(ORDERS) == good
    await routed.router.apply(plan(CANDIDATE))
    assert await routed.router.observe(ORDERS) == plan(CANDIDATE)


async def test_a_released_service_is_gone_and_the_others_stay(routed: Routed):
    """Releasing twice, or what was never there, does no harm."""
    stock = version("1.0.0", STOCK)
    await routed.router.apply(plan(STABLE))
    await routed.router.apply(plan(stock))
    await routed.router.release(ORDERS)
    await routed.router.release(ORDERS)
    await routed.router.release("nobody")
    assert await routed.router.observe(ORDERS) is None
    assert await routed.router.observe(STOCK) == plan(stock)


async def test_what_a_router_can_do_is_said_as_data(routed: Routed):
    """Admission refuses by it, so it is there before anything is applied."""
    assert routed.router.capabilities
