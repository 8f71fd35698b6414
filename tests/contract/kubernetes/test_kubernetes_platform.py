"""Workloads in a cluster, from the adoption of a service until its Guard is gone."""

from __future__ import annotations

import asyncio

import pytest
from cluster_world import WAIT_S, World
from platform_world import Shop

from sternway.domain.platform import WorkloadRun
from sternway.domain.versions import Workload
from sternway.errors import PlatformUnavailable, Refused
from sternway.kubernetes.api import name_of
from sternway.kubernetes.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, DEPLOYMENTS, PODS, REPLICA_SETS, SERVICES

TWIN = {"sternway.dev/twin": "orders"}


@pytest.fixture
def shop(world: World) -> Shop:
    """Give a shop whose service is not there yet."""
    return Shop(world)


async def test_no_pod_of_the_users_is_touched_before_the_twin_is_ready(shop: Shop) -> None:
    """Adoption: until all of the twin's pods are ready, the user's pods and Service are as they were."""
    first = await shop.open()
    shop.traffic = (first,)
    while _ready_in_the_twin(shop) < 3:
        assert shop.replicas() == 3
        assert shop.service()["spec"]["selector"] == {"app": "orders"}
        await shop.run(first)
        await shop.look()
    await shop.until(lambda: shop.replicas() == 0, first)
    assert shop.service()["spec"]["selector"] == TWIN
    assert shop.carrying == {"orders-stable"}
    assert shop.user()["metadata"]["annotations"]["sternway.dev/replicas"] == "3"


def _ready_in_the_twin(shop: Shop) -> int:
    """By its ReplicaSets, which know it first."""
    sets = (
        shop.mirror.owned(REPLICA_SETS, shop.twin()["metadata"]["uid"]) if shop.names(DEPLOYMENTS) > {"orders"} else ()
    )
    return sum(int((one.get("status") or {}).get("readyReplicas") or 0) for one in sets)


async def test_an_edit_during_the_adoption_waits_for_the_twin(shop: Shop) -> None:
    """The twin runs what served when the Guard appeared; no pod of the edit runs before users are led to the twin."""
    first = await shop.open()
    shop.traffic = (first,)
    await shop.until(lambda: shop.user()["spec"].get("paused"), first)
    assert shop.service()["spec"]["selector"] == {"app": "orders"}
    second = await shop.image("orders:2")
    await shop.until(lambda: shop.service()["spec"]["selector"] == TWIN, first)
    assert (shop.ready(second), shop.up(first)) == (0, 3)
    assert shop.user()["spec"]["replicas"] == 3
    await shop.until(lambda: "sternway.dev/adopting" not in shop.user()["metadata"].get("annotations", {}), first)
    await shop.until(lambda: shop.up(second) == 3, first, second)
    assert shop.ready(first) >= 3
    assert shop.carrying == {"orders-stable"}
    shop.traffic = (first, second)
    await shop.look()
    assert shop.carrying == {"orders-stable", "orders-candidate"}


async def test_a_rollout_under_way_when_the_guard_appears_is_finished(shop: Shop) -> None:
    """It is the user's own: it is not stopped half-way, and what it brings is adopted."""
    first = await shop.open()
    async with asyncio.timeout(WAIT_S):
        while shop.ready(first) < 3:
            await shop.look()
            await asyncio.sleep(0.01)
    second = await shop.image("orders:2")
    shop.traffic = (second,)
    await shop.run(second)
    assert not shop.user()["spec"].get("paused")
    await shop.until(lambda: shop.replicas() == 0 and shop.ready(second) == 3, second)
    assert not shop.user()["spec"].get("paused")


async def test_a_guard_that_goes_during_the_adoption_lets_the_edit_roll(shop: Shop) -> None:
    """Nobody holds anything up any more, and nothing of ours is left."""
    first = await shop.open()
    shop.traffic = (first,)
    await shop.until(lambda: shop.user()["spec"].get("paused"), first)
    second = await shop.image("orders:2")
    await _released(shop, second)
    await shop.until(lambda: shop.user()["spec"].get("paused"), second)  # a Guard again: it begins anew
    await _released(shop, second)


async def test_the_users_pods_stay_while_routes_reach_them(shop: Shop) -> None:
    """A twin that is ready does not take the user's pods down as long as requests may still reach them."""
    first = await shop.open()
    await shop.until(lambda: shop.service()["spec"]["selector"] == TWIN, first)  # nobody says where requests go
    await shop.steps(10, first)
    assert shop.replicas() == 3


async def test_pods_that_nothing_leads_to_any_more_stay_until_every_proxy_knows_it(shop: Shop) -> None:
    """A route is written at once and learned by each proxy when it is: until then the pods behind the old one serve on."""
    shop.platform = shop.new_platform(linger_s=1000.0)
    await shop.platform.start()
    first = await shop.open()
    shop.traffic = (first,)
    await shop.until(lambda: shop.carrying == {"orders-stable"} and shop.service()["spec"]["selector"] == TWIN, first)
    await shop.steps(10, first)
    assert shop.replicas() == 3
    again_s = shop.platform.again_s(shop.key)
    assert again_s is not None
    assert 900 < again_s - shop.clock.now() <= 1000
    shop.clock.ahead_s += 1000.0
    await shop.until(lambda: shop.replicas() == 0, first)
    await shop.run(first)
    assert shop.platform.again_s(shop.key) is None


async def test_what_was_taken_back_rests_without_starting_the_good_version_once_more(shop: Shop) -> None:
    """The template is given back while the bad version's pods still run: they go, and no pod of the good one is made there."""
    first = await shop.adopted()
    second = await shop.image("orders:2")
    shop.traffic = (first, second)
    await shop.until(lambda: shop.up(second) == 3 and shop.user()["spec"].get("paused"), first, second)
    sets = shop.names(REPLICA_SETS)
    shop.traffic = (first,)
    await shop.look()
    await shop.platform.restore(shop.key, bad=second.pod, good=first.pod)
    await shop.until(lambda: shop.replicas() == 0, first)
    await shop.steps(6, first)
    new = [one for one in shop.mirror.all(REPLICA_SETS, shop.world.namespace) if name_of(one) not in sets]
    assert all((one["spec"]["replicas"], one["metadata"]["generation"]) == (0, 1) for one in new), "some were scaled up"


async def test_at_rest_nothing_is_written(shop: Shop) -> None:
    """Level-based and idempotent: a service at rest costs no write."""
    first = await shop.adopted()
    await shop.steps(6, first)
    versions = [one["metadata"]["resourceVersion"] for one in (shop.user(), shop.twin(), shop.service())]
    generations = shop.twin()["metadata"]["generation"]
    await shop.steps(6, first)
    assert [one["metadata"]["resourceVersion"] for one in (shop.user(), shop.twin(), shop.service())] == versions
    assert shop.twin()["metadata"]["generation"] == generations


async def test_the_candidate_runs_in_the_users_deployment(shop: Shop) -> None:
    """A changed template is scaled up to what was wished; the twin keeps serving with all its pods; each is counted alone."""
    first = await shop.adopted()
    second = await shop.image("orders:2")
    await shop.until(lambda: shop.up(second) == 3, first, second)
    states = [shop.states[one.id] for one in (first, second)]
    assert [(state.image, state.desired, state.ready) for state in states] == [
        ("registry/orders:1", 3, 3),
        ("registry/orders:2", 3, 3),
    ]
    backends = shop.platform.backends(shop.key)
    assert backends is not None
    places = [backends.of(one.id) for one in (first, second)]
    assert [place.service for place in places if place] == ["orders-stable", "orders-candidate"]


async def test_our_services_reach_the_pods_of_one_version_each(shop: Shop) -> None:
    """The candidate's Service selects no pod of the twin, nor the other way round."""
    first = await shop.adopted()
    second = await shop.image("orders:2")
    await shop.until(lambda: shop.up(second) == 3, first, second)
    for name, image in (("orders-stable", "registry/orders:1"), ("orders-candidate", "registry/orders:2")):
        selector = (await shop.world.api.get(SERVICES, name, shop.world.namespace) or {})["spec"]["selector"]
        labels = ",".join(f"{key}={value}" for key, value in selector.items())
        pods = (await shop.world.api.list(PODS, namespace=shop.world.namespace, labels=labels)).items
        alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        assert {pod["spec"]["containers"][0]["image"] for pod in alive} == {image}


async def test_an_edit_under_traffic_waits(shop: Shop) -> None:
    """Pods that users reach are not replaced by a version that nobody has judged; they are as soon as nobody reaches them."""
    first = await shop.adopted()
    second = await shop.image("orders:2")
    await shop.until(lambda: shop.up(second) == 3 and shop.user()["spec"].get("paused"), first, second)
    shop.traffic = (first, second)
    third = await shop.image("orders:3")
    await shop.steps(10, first, second, third)
    assert (shop.ready(second), shop.ready(third)) == (3, 0)
    shop.traffic = (first,)
    await shop.until(lambda: shop.up(third) == 3, first, third)


async def test_the_twin_takes_a_promoted_version_over(shop: Shop) -> None:
    """While the old version is wanted the twin keeps it; then it rolls, and takes the traffic when all its pods are ready."""
    first = await shop.adopted()
    second = await shop.image("orders:2")
    await shop.until(lambda: shop.up(second) == 3 and shop.user()["spec"].get("paused"), first, second)
    shop.traffic = (second,)
    await shop.steps(6, second, first)
    assert shop.ready(first) == 3
    seen: list[int] = []

    def at_rest() -> bool:
        seen.append(shop.ready(second))
        assert seen[-1] >= 3
        return shop.replicas() == 0

    await shop.until(at_rest, second)
    assert shop.carrying == {"orders-stable"}
    assert shop.twin()["spec"]["template"]["spec"]["containers"][0]["image"] == "registry/orders:2"


async def test_a_change_of_configuration_alone_is_a_version(shop: Shop) -> None:
    """A ConfigMap that changes starts pods of the new configuration beside the twin, whose pods read a copy of the old."""
    first = await shop.adopted()
    namespace = shop.world.namespace
    await shop.world.api.patch(CONFIG_MAPS, "settings", {"data": {"colour": "red"}}, namespace=namespace)
    second = await shop.asked()
    assert second.id != first.id
    await shop.until(lambda: shop.replicas() == 3, first, second)
    source = shop.twin()["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    copied = await shop.world.api.get(CONFIG_MAPS, source, namespace)
    assert copied is not None
    assert (copied["data"], copied["immutable"]) == ({"colour": "blue"}, True)


async def test_a_rollback_restores_template_and_configuration(shop: Shop) -> None:
    """After a rollback both are as they were; done again, nothing happens."""
    first = await shop.adopted()
    namespace = shop.world.namespace
    await shop.world.api.patch(CONFIG_MAPS, "settings", {"data": {"colour": "red", "new": "1"}}, namespace=namespace)
    second = await shop.image("orders:2")
    await shop.until(lambda: shop.up(second) == 3, first, second)
    await shop.until(lambda: shop.replicas() == 0, first)
    said = await shop.restored(bad=second, good=first)
    assert said == "Deployment orders, ConfigMap settings restored"
    assert (await shop.asked()).id == first.id
    assert (await shop.world.api.get(CONFIG_MAPS, "settings", namespace) or {})["data"] == {"colour": "blue"}
    assert await shop.restored(bad=second, good=first) == "everything is as it was"


async def test_what_somebody_changed_since_is_left(shop: Shop) -> None:
    """A rollback takes back its own version's change and nobody else's."""
    first = await shop.adopted()
    second = await shop.image("orders:2")
    await shop.until(lambda: shop.up(second) == 3, first, second)
    third = await shop.image("orders:3")
    said = await shop.restored(bad=second, good=first)
    assert said == "left as it is: Deployment orders, which was changed since"
    assert (await shop.asked()).id == third.id


async def test_a_version_that_nothing_runs_any_more_comes_back_in_the_twin(shop: Shop) -> None:
    """A late rollback: the twin rolls back to the kept template while its pods serve."""
    first = await shop.adopted()
    second = await shop.image("orders:2")
    await shop.until(lambda: shop.up(second) == 3, first, second)
    shop.traffic = (second,)
    await shop.until(lambda: shop.replicas() == 0, second)
    await shop.until(lambda: shop.up(first) == 3, first, second)
    await shop.restored(bad=second, good=first)
    assert (await shop.asked()).id == first.id


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("orders:pull-error", "the image registry/orders:pull-error cannot be pulled"),
        ("orders:crash-loop", "container orders crashes again and again"),
    ],
)
async def test_a_version_that_cannot_run_says_why(shop: Shop, image: str, said: str) -> None:
    """Its failure is a sentence; the twin is untouched."""
    first = await shop.adopted()
    broken = await shop.image(image)
    await shop.until(lambda: (state := shop.states.get(broken.id)) and state.failure, first, broken)
    assert (shop.states[broken.id].failure or "").startswith(said)
    assert shop.ready(first) == 3
    await shop.until(lambda: shop.replicas() == 0, first)


async def test_a_version_that_nobody_kept_is_named(shop: Shop) -> None:
    """What the cluster has no template of cannot run: the error says of which."""
    first = await shop.adopted()
    lost = Workload(image="registry/orders:0", pod="0123456789ab", service=shop.key)
    await shop.look()
    with pytest.raises(PlatformUnavailable, match=r"no pod template of registry/orders:0 \(0123456789ab\)"):
        await shop.platform.apply(shop.key, [WorkloadRun(workload=lost, replicas=3)])
    assert shop.ready(first) == 3


async def test_nobody_elses_objects_are_overwritten(shop: Shop) -> None:
    """A Deployment of the user's that is called as the twin would be is left alone, and the error names it."""
    first = await shop.open()
    await shop.world.api.create(DEPLOYMENTS, shop.world.deployment("orders-stable"))
    await shop.look()
    with pytest.raises(Refused, match="Deployment orders-stable"):
        await shop.platform.apply(shop.key, [WorkloadRun(workload=first, replicas=3)])


async def test_what_a_gitops_tool_puts_back_is_not_fought_over(shop: Shop) -> None:
    """Argo CD owns the user's replicas: its pods stay, without traffic, and are written to no more than once."""
    first = await shop.open()
    shop.traffic = (first,)
    await shop.synced({"replicas": 3})
    await shop.until(lambda: shop.carrying == {"orders-stable"}, first)
    await shop.steps(10, first)
    assert shop.replicas() == 3


async def test_a_tool_that_brings_the_good_version_back_gets_no_traffic_for_it(shop: Shop) -> None:
    """Git's revert is synced into pods that run: until they are known, and after, the twin has all traffic."""
    first = await shop.open()
    shop.traffic = (first,)
    await shop.synced({"replicas": 3})
    await shop.until(lambda: shop.carrying == {"orders-stable"}, first)
    second = await shop.image("orders:2")
    shop.traffic = (first, second)
    await shop.until(lambda: shop.user()["spec"].get("paused"), first, second)
    third = await shop.image("orders:3")
    shop.traffic = (first,)
    await shop.until(lambda: shop.up(third) == 3, first, third)  # rolled and marked, as it had waited
    await shop.until(lambda: not shop.user()["spec"].get("paused"), first)  # taken back: its pods stay, without traffic
    await shop.image("orders:1")
    seen: set[str] = set()

    def rolled() -> bool:
        seen.update(shop.carrying)
        return shop.ready(first) == 6

    await shop.until(rolled, first)
    await shop.steps(5, first)
    assert seen | shop.carrying == {"orders-stable"}


async def test_when_the_guard_goes_everything_is_given_back(shop: Shop) -> None:
    """The user's pods first, then the user's Service, then the twin; in the end nothing of ours is left."""
    first = await shop.adopted()
    done = False
    while not done:
        await shop.look()
        shop.carrying = set()
        if "orders-stable" not in shop.names(DEPLOYMENTS):
            assert shop.service()["spec"]["selector"] == {"app": "orders"}
        if shop.service()["spec"]["selector"] == {"app": "orders"}:
            assert shop.ready(first) >= 3
        done = await shop.platform.release(shop.key)
    assert shop.names(DEPLOYMENTS) == {"orders"}
    assert not shop.names(CONTROLLER_REVISIONS)
    assert "sternway.dev/replicas" not in shop.user()["metadata"].get("annotations", {})
    assert shop.replicas() == 3


async def _released(shop: Shop, runs: Workload) -> None:
    """The Guard goes in the middle of the adoption."""
    shop.traffic = ()
    async with asyncio.timeout(WAIT_S):
        while not await shop.platform.release(shop.key) or shop.ready(runs) < 3:
            await shop.look()
            await asyncio.sleep(0.01)
    assert not shop.user()["spec"].get("paused")
    assert not [key for key in shop.user()["metadata"].get("annotations") or {} if key.startswith("sternway.dev/")]
