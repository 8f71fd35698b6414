"""The access log of a real Envoy, with the names of Istio and of Envoy Gateway, is what a release in a cluster is judged by."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest
from proxied_world import SPACE, AsEnvoyGateway, AsIstio, Dialect, shop

GUARD = {
    "service": "orders",
    "strategy": {"canary": {"steps": [{"percent": 20, "minRequests": 50}, {"percent": 50, "minRequests": 50}]}},
    "bake": {"for": "1s"},
    "keep": "0s",
    "withdraw": {"for": "1s"},
    "judge": {"warmUp": "0s", "clusterKey": {"header": "x-user"}},
}
MESHES = [pytest.param(AsIstio, id="istio"), pytest.param(AsEnvoyGateway, id="envoy-gateway")]


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize(("fault", "how"), [({"bad": 0.5}, "500"), ({"deaf": True}, "503")], ids=["errors", "deaf"])
async def test_without_any_prometheus_a_bad_release_is_withdrawn_by_the_log(
    mesh: Callable[[], Dialect], fault: dict[str, Any], how: str
) -> None:
    """`set image` to a version that fails, or takes no connection: the routes lead away from it, and it is rolled back."""
    async with shop(mesh(), GUARD) as (here, sternway):
        here.image("orders:2", **fault)
        async with asyncio.timeout(90):
            while here.first_bad_s is None or here.back_s is None:
                await asyncio.sleep(0.02)
        took_ms = (here.back_s - here.first_bad_s) * 1000
        sys.stdout.write(f"from the first bad answer to the split written: {took_ms:.0f} ms\n")  # pytest -rP shows it
        await here.until(phase="idle", release="orders-1")
        status = here.release()["status"]
        assert status["phase"] == "rolled-back"
        assert status["hurt"] > 0
        progress = await sternway.reconciler.progress(f"orders.{SPACE}")
        assert progress.release is not None
        answers = [one for one in progress.release.bad_answers if one.criterion == "errors"]
        assert {(one.how, one.caller, one.replica[:4]) for one in answers} == {(how, "", "127.")}
        judged = progress.release.judgement
        assert judged is not None
        by_key = [one for one in judged.criteria if one.unit == "cluster"]
        assert any(one.candidate_bad for one in by_key), "the users' key was read out of the log"


@pytest.mark.parametrize("mesh", MESHES)
async def test_without_any_prometheus_a_good_release_is_promoted(mesh: Callable[[], Dialect]) -> None:
    """The log alone counts the requests that each step waits for; nothing is missed, so nothing is blind."""
    async with shop(mesh(), GUARD) as (here, _):
        here.image("orders:2")
        await here.until(phase="idle", release="orders-1")
        assert here.release()["status"]["phase"] == "promoted"
        assert set(here.answers) == {200}


async def test_the_guard_says_whether_the_log_is_heard_and_a_new_leader_hears_it_again() -> None:
    """Envoy opens its stream to whoever leads now; a release that began under the one before is judged by what is told after."""
    patient = {**GUARD, "strategy": {"canary": {"steps": [{"percent": 20, "minRequests": 100_000}]}}}
    async with shop(AsIstio(), patient) as (here, sternway):
        await here.until(evidence="access log")
        here.image("orders:2", bad=0.01)
        await here.until(phase="exposed")
        await sternway.stand_by()
        here.bad["registry/orders:2"] = 0.5
        await sternway.lead()
        await here.until(phase="idle", release="orders-1", evidence="access log")
        assert here.release()["status"]["phase"] == "rolled-back"
