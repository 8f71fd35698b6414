"""The shield: a safe request that fails on the candidate is answered by stable, and still seen as a failure."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace

import pytest
from mesh_world import between, plan, until, version

from sternway.domain.mesh import CircuitBreaker, Fault, Match, MeshPolicy, OutlierDetection, RouteRule
from sternway.domain.traffic import Endpoint, Pin, ShieldPlan
from sternway.traffic.envoy import clusters

pytestmark = pytest.mark.asyncio(loop_scope="module")

V1, V2 = version("1.0.0"), version("1.1.0")


def shielded(stable=V1, candidate=V2, *, percent=100.0, budget=100.0, **more):
    """Put the candidate at `percent`, with stable standing by."""
    shield = ShieldPlan(version=candidate.id, by=stable.id, budget_percent=budget)
    return plan(stable, candidate, split=between(stable, candidate, percent), shield=shield, **more)


def attempts(entries) -> Counter:
    """(cluster, status, attempts) of log entries."""
    return Counter(
        (
            e.common_properties.upstream_cluster,
            e.response.response_code.value,
            e.common_properties.upstream_request_attempt_count,
        )
        for e in entries
    )


async def test_a_safe_request_that_fails_on_the_candidate_is_answered_by_stable(mesh):
    """Every GET and HEAD and OPTIONS is answered 200 though the candidate fails each one."""
    mesh.place(V1, V2)
    mesh.candidate.status = 500
    address = await mesh.apply(shielded())

    for method in ("GET", "HEAD", "OPTIONS"):
        answers = await mesh.client.many(20, address, method=method)
        assert {status for status, _ in answers} == {200}

    assert len(mesh.candidate.requests) == len(mesh.stable.requests) == 60


async def test_a_rescue_cannot_hide_the_candidates_failure(mesh):
    """The log names the candidate's shield cluster and two attempts for each rescued request, one for the rest."""
    mesh.place(V1, V2)
    address = await mesh.apply(shielded(percent=50))
    await mesh.client.many(100, address)
    good = attempts(await mesh.log.of(100))
    assert {tries for _, _, tries in good} == {1}

    mesh.log.entries.clear()
    mesh.candidate.requests.clear()
    mesh.candidate.status = 503
    await mesh.client.many(100, address)

    found = attempts(await mesh.log.of(100))
    failed = len(mesh.candidate.requests)
    assert found == {(f"orders|{V2.id}|shield", 200, 2): failed, (f"orders|{V1.id}", 200, 1): 100 - failed}


async def test_an_unsafe_request_is_never_repeated(mesh):
    """Each failing POST, PUT, PATCH and DELETE reaches the candidate once and stable never."""
    mesh.place(V1, V2)
    mesh.candidate.status = 500
    address = await mesh.apply(shielded())

    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert await mesh.client.many(10, address, method=method) == {(500, "candidate"): 10}

    assert len(mesh.candidate.requests) == 40
    assert mesh.stable.requests == []
    assert attempts(await mesh.log.of(40)) == {(f"orders|{V2.id}", 500, 1): 40}


async def test_a_hanging_candidate_is_answered_by_stable_within_the_time_out(mesh):
    """With a time-out of 3 s, stable is asked after 1.5 s; the mesh would end what takes longer than 3 s."""
    stable, candidate = (
        version("1.0.0", policy=MeshPolicy(timeout_ms=3000)),
        version("2", policy=MeshPolicy(timeout_ms=3000)),
    )
    mesh.place(stable, candidate)
    mesh.candidate.delay_s = 30
    address = await mesh.apply(shielded(stable, candidate))

    begun = time.monotonic()
    answer = await mesh.client(address)
    took_s = time.monotonic() - begun

    assert answer == (200, "stable")
    assert took_s >= 1.49
    (entry,) = await mesh.log.of(1)
    assert entry.common_properties.upstream_request_attempt_count == 2


async def test_a_candidate_with_a_too_short_time_out_hurts_no_safe_request(mesh):
    """A release of a mesh policy alone (same workload, 30 ms instead of 10 s): the answer takes half a second and is good."""
    stable = version("1.0.0", policy=MeshPolicy(timeout_ms=10_000))
    candidate = version("1.0.0", policy=MeshPolicy(timeout_ms=30))
    mesh.place(stable, candidate)
    mesh.stable.delay_s = 0.5
    address = await mesh.apply(shielded(stable, candidate))

    assert await mesh.client.many(10, address) == {(200, "stable"): 10}
    assert {e.common_properties.upstream_request_attempt_count for e in await mesh.log.of(10)} == {2}
    mesh.log.entries.clear()
    assert {status for status, _ in await mesh.client.many(10, address, method="POST")} == {504}


async def test_a_candidate_without_replicas_is_seen_as_failing(mesh):
    """Stable answers, but never at the first attempt: with no, or with only draining, replicas, or a dead one."""
    mesh.place(V1, V2)
    address = await mesh.apply(shielded())
    dead = Endpoint(address="127.0.0.1", port=1, replica="dead")
    draining = replace(mesh.candidate.endpoint, healthy=False)
    for endpoints in ([], [dead], [draining]):
        mesh.router.set_endpoints(V2.workload.id, [mesh.candidate.endpoint])
        await until(lambda: asked_first(mesh, address, "candidate"))
        mesh.router.set_endpoints(V2.workload.id, endpoints)
        await until(lambda: asked_first(mesh, address, "stable"))
        await mesh.logged()
        mesh.log.entries.clear()
        assert await mesh.client.many(10, address) == {(200, "stable"): 10}
        assert {e.common_properties.upstream_request_attempt_count for e in await mesh.log.of(10)} == {2}


async def test_replicas_that_are_found_while_a_plan_is_on_its_way_are_used(mesh):
    """A start after a power loss: the plan is being applied when the replicas become ready; the candidate answers."""
    stable, candidate = version("2.0.0"), version("2.1.0")
    applying = asyncio.create_task(mesh.apply(shielded(stable, candidate)))
    await asyncio.sleep(0)
    mesh.place(stable, candidate)
    address = await applying

    assert await mesh.client.many(10, address) == {(200, "candidate"): 10}
    moved = asyncio.create_task(mesh.apply(shielded(stable, candidate, budget=50.0, percent=60.0)))
    await asyncio.sleep(0)
    mesh.router.set_endpoints(candidate.workload.id, [])
    await moved
    await until(lambda: asked_first(mesh, address, "stable"))


async def test_a_candidate_answers_though_nothing_is_known_of_the_version_that_stands_by(mesh):
    """Stable has not been ready since the start: its part of the shield is empty, not the whole of it."""
    stable, candidate = version("3.0.0"), version("3.1.0")
    mesh.router.set_endpoints(candidate.workload.id, [mesh.candidate.endpoint])
    address = await mesh.apply(shielded(stable, candidate))

    assert await mesh.client.many(10, address) == {(200, "candidate"): 10}
    mesh.candidate.status = 500
    mesh.router.set_endpoints(stable.workload.id, [mesh.stable.endpoint])
    await until(lambda: asked_first(mesh, address, "stable"))


async def asked_first(mesh, address: str, name: str) -> bool:
    """Whether ten requests in a row are answered well by this replica."""
    return await mesh.client.many(10, address) == {(200, name): 10}


async def test_a_candidate_whose_replicas_are_ejected_is_still_asked_first(mesh):
    """Outlier ejection of the candidate's only replica does not turn its failures into stable's good answers."""
    policy = MeshPolicy(
        outlier_detection=OutlierDetection(
            consecutive_5xx=2, interval_ms=100, base_ejection_ms=60_000, max_ejection_percent=100
        )
    )
    candidate = version("1.1.0", policy=policy)
    mesh.place(V1, candidate)
    mesh.candidate.status = 500
    address = await mesh.apply(shielded(candidate=candidate))

    async def ejected() -> bool:
        return await mesh.client(address, method="POST") == (503, "no healthy upstream")

    await until(ejected)
    await mesh.logged()
    mesh.log.entries.clear()
    assert await mesh.client.many(10, address) == {(200, "stable"): 10}
    assert {e.common_properties.upstream_request_attempt_count for e in await mesh.log.of(10)} == {2}


async def test_rescues_stay_within_their_budget(mesh):
    """With everything failing on the candidate, stable's concurrent rescues are the budget's share of all."""
    limits = MeshPolicy(circuit_breaker=CircuitBreaker(max_retries=1000))
    stable, candidate = version("1.0.0", policy=limits), version("1.1.0", policy=limits)
    mesh.place(stable, candidate)
    mesh.candidate.status, mesh.candidate.delay_s, mesh.stable.delay_s = 500, 0.1, 0.1
    most = {}
    for budget in (20.0, 100.0):
        address = await mesh.apply(shielded(stable, candidate, budget=budget))
        mesh.stable.most_busy = 0
        answers = await mesh.client.many(600, address, at_once=200)
        most[budget] = mesh.stable.most_busy
        if budget == 20.0:
            assert answers[500, "candidate"] > 100  # those that found no budget are answered as they failed
            assert answers[200, "stable"] > 50
        else:
            assert answers == {(200, "stable"): 600}
    assert clusters.RESCUE_FLOOR < most[20.0] <= 0.2 * 200 + 1
    assert most[100.0] > 60


async def test_the_budget_is_a_share_of_the_services_requests_not_of_the_candidates(mesh):
    """Below the budget's weight everything may be rescued; above, as much as the service's share allows."""
    cases = {5.0: 100.0, 20.0: 100.0, 40.0: 50.0, 50.0: 40.0, 100.0: 20.0}
    for percent, expected in cases.items():
        wanted = shielded(percent=percent, budget=20.0)
        assert clusters.rescue_percent(wanted, wanted.shield) == expected
    pinned = shielded(percent=0.0, budget=20.0, pins=(Pin(version=V2.id, header=("x-lab", "1")),))
    assert clusters.rescue_percent(pinned, pinned.shield) == 20.0


async def test_pinned_samples_are_shielded_and_rules_of_one_method_too(mesh):
    """A/B requests are rescued as well; a rule for GET alone is, a rule for POST alone is not."""
    rules = (
        RouteRule(match=Match(path_prefix="/get", method="GET")),
        RouteRule(match=Match(path_prefix="/post", method="POST")),
    )
    candidate = version("1.1.0", policy=MeshPolicy(rules=rules))
    mesh.place(V1, candidate)
    mesh.candidate.status = 500
    pins = (Pin(version=candidate.id, header=("x-lab", "1")),)
    address = await mesh.apply(shielded(candidate=candidate, percent=0, pins=pins))
    lab = {"x-lab": "1"}

    assert await mesh.client(address, "/get", headers=lab) == (200, "stable")
    assert await mesh.client(address, "/other", headers=lab) == (200, "stable")
    assert await mesh.client(address, "/post", headers=lab, method="POST") == (500, "candidate")
    assert mesh.stable.requests[-1][1] == "/other"


async def test_injected_faults_of_the_candidate_are_rescued_and_seen(mesh):
    """Fault injection stands behind the shield: a drill on the candidate hurts no safe request."""
    candidate = version("1.1.0", policy=MeshPolicy(fault=Fault(abort_percent=100, abort_status=503)))
    mesh.place(V1, candidate)
    address = await mesh.apply(shielded(candidate=candidate))

    assert await mesh.client.many(10, address) == {(200, "stable"): 10}
    assert attempts(await mesh.log.of(10)) == {(f"orders|{candidate.id}|shield", 200, 2): 10}


async def test_when_both_versions_fail_the_caller_is_told_so(mesh):
    """There is one rescue and no more: two attempts, and stable's answer."""
    mesh.place(V1, V2)
    mesh.candidate.status, mesh.stable.status = 500, 503
    address = await mesh.apply(shielded())

    assert await mesh.client(address) == (503, "stable")
    assert (len(mesh.candidate.requests), len(mesh.stable.requests)) == (1, 1)
