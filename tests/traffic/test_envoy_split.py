"""How traffic is shared between versions."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest
from mesh_world import Load, between, kind, plan, until, version

from sternway.domain.mesh import Match, MeshPolicy, RouteRule
from sternway.domain.traffic import Pin

pytestmark = pytest.mark.asyncio(loop_scope="module")

V1, V2 = version("1.0.0"), version("1.1.0")


@pytest.mark.parametrize("percent", [0, 5, 50, 100])
async def test_a_version_answers_its_share_of_requests(mesh, percent):
    """Observed shares lie within five standard deviations of the split; 0 and 100 % are exact."""
    mesh.place(V1, V2)
    address = await mesh.apply(plan(V1, V2, split=between(V1, V2, percent)))

    answers = await mesh.client.many(1000, address)

    expected, deviation = 10 * percent, math.sqrt(1000 * percent / 100 * (1 - percent / 100))
    assert abs(answers[200, "candidate"] - expected) <= 5 * deviation
    assert answers.total() == answers[200, "candidate"] + answers[200, "stable"]


async def test_a_versions_share_holds_over_all_its_rules(mesh):
    """With rules on both versions, each path is shared as the split says: one request has one version."""
    rules = (RouteRule(match=Match(path_prefix="/a"), timeout_ms=900), RouteRule(match=Match(path_prefix="/b")))
    stable = version("1.0.0", policy=MeshPolicy(rules=rules[:1]))
    candidate = version("1.1.0", policy=MeshPolicy(rules=rules))
    mesh.place(stable, candidate)
    address = await mesh.apply(plan(stable, candidate, split=between(stable, candidate, 30)))

    for path in ("/a/x", "/b/x", "/c"):
        answers = await mesh.client.many(600, address, path)
        assert abs(answers[200, "candidate"] - 180) <= 5 * math.sqrt(600 * 0.3 * 0.7), path
        assert answers.total() == 600 == answers[200, "candidate"] + answers[200, "stable"]


async def test_a_switch_under_load_loses_no_request_and_is_exact_after_its_acknowledgement(mesh):
    """Twenty switches to and fro at 300 requests/s: no bad answer; none by the version that was left."""
    mesh.place(V1, V2)
    address = await mesh.apply(plan(V1, V2))
    async with Load(mesh.client, address, rate=300) as load:
        for turn in range(20):
            target, name = ((V2, "candidate"), (V1, "stable"))[turn % 2]
            await mesh.router.apply(plan(V1, V2, split=between(V1, V2, 100 if target is V2 else 0)))
            switched_s = asyncio.get_running_loop().time()
            start = len(load.answers)
            await until(lambda: any(sent_s > switched_s for sent_s, _, _ in load.answers[start:]))  # noqa: B023
            await asyncio.sleep(0.03)
            assert {body for sent_s, _, body in load.answers[start:] if sent_s > switched_s} == {name}
    assert load.failures == []


async def test_a_switch_between_versions_whose_clusters_come_and_go_loses_no_request(mesh):
    """Each plan holds only the version that it uses: clusters are added before and removed after."""
    mesh.place(V1, V2)
    address = await mesh.apply(plan(V1))
    async with Load(mesh.client, address, rate=300) as load:
        for _ in range(4):
            await mesh.router.apply(plan(V1, V2, split=between(V1, V2, 50)))
            await asyncio.sleep(0.05)
            await mesh.router.apply(plan(V2))
            await asyncio.sleep(0.4)  # longer than unused clusters linger
            await mesh.router.apply(plan(V2, V1, split=between(V2, V1, 50)))
            await mesh.router.apply(plan(V1))
            await asyncio.sleep(0.05)
    assert load.failures == []
    assert {body for _, _, body in load.answers} == {"stable", "candidate"}


async def test_a_header_or_cookie_pins_a_request_to_a_version(mesh):
    """A/B: exactly the requests with the header or the cookie go to the candidate."""
    mesh.place(V1, V2)
    pins = (Pin(version=V2.id, header=("x-lab", "1")), Pin(version=V2.id, cookie=("lab", "b.1"), sample=False))
    address = await mesh.apply(plan(V1, V2, pins=pins))

    async def answer(**headers):
        return (await mesh.client(address, headers=headers))[1]

    assert await answer() == "stable"
    assert await answer(**{"x-lab": "1"}) == "candidate"
    assert await answer(**{"x-lab": "11"}) == "stable"
    assert await answer(cookie="lab=b.1") == "candidate"
    assert await answer(cookie="a=2; lab=b.1; c=3") == "candidate"
    assert await answer(cookie="slab=b.1") == "stable"
    assert await answer(cookie="lab=bx1") == "stable"
    names = [kind(e) for e in await mesh.log.of(7)]
    assert names == ["split", "pin", "split", "preview", "preview", "split", "split"]


async def test_the_preview_address_leads_to_the_previewed_version_alone(mesh):
    """Whatever the split says, a person sees the candidate there, and the log says preview."""
    mesh.place(V1, V2)
    await mesh.apply(plan(V1, V2, preview=V2.id))

    answers = await mesh.client.many(20, mesh.router.preview_address("orders"))

    assert answers == {(200, "candidate"): 20}
    assert {kind(e) for e in await mesh.log.of(20)} == {"preview"}


async def test_three_versions_share_as_the_split_says(mesh):
    """The bounds of ordered entries add up for more than two versions (two share a workload here)."""
    third = version("1.1.0", policy=MeshPolicy(timeout_ms=1234))
    mesh.place(V1, V2)
    shares = ((V1.id, 500_000), (V2.id, 200_000), (third.id, 300_000))
    address = await mesh.apply(plan(V1, V2, third, split=replace(between(V1, V2, 0), shares=shares)))

    await mesh.client.many(1000, address)

    counts = {v.id: 0 for v in (V1, V2, third)}
    for entry in await mesh.log.of(1000):
        counts[entry.common_properties.upstream_cluster.split("|")[1]] += 1
    for version_id, ppm in shares:
        assert abs(counts[version_id] - ppm / 1000) <= 5 * math.sqrt(250), counts


async def test_a_version_without_replicas_is_named_in_the_log_all_the_same(mesh):
    """Envoy names no cluster when it has nobody to ask; the route's name tells whose failure it is."""
    mesh.place(V1, V2)
    mesh.router.set_endpoints(V2.workload.id, ())
    address = await mesh.apply(plan(V1, V2, split=between(V1, V2, 100)))

    assert (await mesh.client(address, method="POST"))[0] == 503
    (entry,) = await mesh.log.of(1)
    assert entry.common_properties.route_name == f"split|orders|{V2.id}"


async def test_a_slow_answer_of_the_candidate_itself_is_told_from_a_rescue(mesh):
    """Past half of the time-out stable is asked as well; when the candidate answers first, it has not failed."""
    mesh.place(V1, V2)
    replica = f"127.0.0.1:{mesh.candidate.port}"
    await mesh.apply(plan(V1, V2, split=between(V1, V2, 100)))

    answered = mesh.router.answered_itself
    assert answered("orders", V2.id, replica, 10.0)
    assert not answered("orders", V2.id, "127.0.0.1:1", 10.0)
    assert not answered("orders", V2.id, replica, V2.policy.timeout_ms + 1.0)
    assert not answered("orders", "9.9.9", replica, 10.0)
    assert not answered("nobody", V2.id, replica, 10.0)


async def test_tidying_up_after_the_last_plan_spares_the_parts_of_the_coming_one(mesh, monkeypatch):
    """The clusters of a plan are there before its routes; a timer that fires in between must not take them away."""
    mesh.place(V1, V2)
    await mesh.apply(plan(V1))
    route_first = mesh.router._route_first

    async def tidy_then_route(*arguments):
        mesh.router._tidy("orders")
        await asyncio.sleep(0.05)
        await route_first(*arguments)

    monkeypatch.setattr(mesh.router, "_route_first", tidy_then_route)
    address = await mesh.apply(plan(V1, V2, split=between(V1, V2, 100)))

    assert await mesh.client.many(20, address) == {(200, "candidate"): 20}
