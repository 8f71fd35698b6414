"""A StatefulSet under Sternway, from its adoption until its Guard is gone: versions side by side within it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cluster_world import World
from in_place_world import COUNT, StatefulShop

from sternway.domain.platform import WorkloadRun
from sternway.domain.versions import Workload
from sternway.errors import PlatformUnavailable, Refused
from sternway.kubernetes.api import is_ready
from sternway.kubernetes.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, PODS, SERVICES, STATEFUL_SETS
from sternway.platforms.kubernetes.replacing import REST
from sternway.testing.kubernetes import FakeKubernetes


@pytest.fixture
def shop(world: World) -> StatefulShop:
    """Give a shop whose service is not there yet."""
    return StatefulShop(world)


async def test_the_adoption_touches_no_pod(shop: StatefulShop) -> None:
    """The partition rises above every pod, two Services select the revision that runs, and every pod is the one that it was."""
    first = await shop.open()
    before = shop.uids()
    shop.traffic = (first,)
    await shop.share({first: COUNT}, lambda: shop.carrying == {"orders-stable"} and shop.revision("orders"))
    assert shop.uids() == before
    assert shop.partition() == REST
    assert shop.revision("orders") == shop.revision("orders-stable") == shop.user()["status"]["currentRevision"]
    backends = shop.platform.backends(shop.key)
    assert backends is not None
    assert (backends.stable and backends.stable.replicas, backends.candidate) == (COUNT, None)


async def test_a_rollout_under_way_is_not_cut_off(shop: StatefulShop) -> None:
    """While pods still differ nothing is held and nothing is shared out; once the rollout is over it is."""
    await shop.open(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    second = await shop.image("orders:2")
    for _ in range(30):
        await shop.step({second: COUNT})
    assert (shop.partition(), shop.revision("orders")) == (2, "")
    change = {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}
    await shop.world.api.patch(STATEFUL_SETS, "orders", change, namespace=shop.world.namespace, manager="kubectl")
    shop.traffic = (second,)
    await shop.share({second: COUNT}, lambda: shop.revision("orders") != "")
    assert shop.images() == ["orders:2"] * COUNT
    assert shop.partition() == REST


async def test_a_changed_template_touches_no_pod(shop: StatefulShop) -> None:
    """Until a release begins; and then one pod runs it, which our other Service alone selects."""
    first = await shop.adopted()
    before = shop.uids()
    second = await shop.image("orders:2")
    for _ in range(30):
        await shop.step({first: COUNT})
    assert shop.uids() == before
    await shop.share({first: 2, second: 1}, lambda: shop.all_ready("orders:1", "orders:1", "orders:2"))
    await shop.share({first: 2, second: 1}, lambda: shop.partition() == REST)
    for name, images in (("orders-stable", {"orders:1"}), ("orders-candidate", {"orders:2"}), ("orders", {"orders:1"})):
        assert await _selected(shop, name) == images


async def test_an_edit_under_traffic_waits(shop: StatefulShop) -> None:
    """A further edit takes none of the pods that users reach."""
    first = await shop.adopted()
    second = await shop.image("orders:2")
    await shop.share({first: 2, second: 1}, lambda: shop.up(second) == 1 and shop.partition() == REST)
    shop.traffic = (first, second)
    await shop.look()
    before = shop.uids()
    await shop.image("orders:3")
    for _ in range(30):
        await shop.step({first: 2, second: 1})
    assert shop.uids() == before
    assert shop.up(second) == 1


async def test_a_bad_version_is_taken_back(shop: StatefulShop) -> None:
    """Its pods come back as what they were, the template too, and no other pod is touched."""
    first = await shop.adopted()
    left = shop.uids()[:2]
    second = await shop.image("orders:2")
    await shop.share({first: 2, second: 1}, lambda: shop.up(second) == 1 and shop.up(first) == 2)
    shop.traffic = (first, second)
    await shop.look()
    assert shop.carrying == {"orders-stable", "orders-candidate"}
    for _ in range(20):
        await shop.step({first: COUNT})
    assert shop.up(second) == 1, "the last pod that users reach was taken"
    shop.traffic = (first,)
    await shop.share({first: COUNT}, lambda: shop.all_ready("orders:1", "orders:1", "orders:1"))
    assert shop.uids()[:2] == left
    assert await shop.restored(bad=second, good=first) == "StatefulSet orders restored"
    assert (await shop.asked()).id == first.id
    before = shop.uids()
    await shop.share(
        {first: COUNT}, lambda: shop.user()["status"]["updateRevision"] == shop.user()["status"]["currentRevision"]
    )
    for _ in range(30):
        await shop.step({first: COUNT})
    assert shop.uids() == before


@pytest.mark.parametrize("image", ["orders:never-ready", "orders:pull-error"])
async def test_a_pod_that_never_becomes_ready_blocks_no_rollback(shop: StatefulShop, image: str) -> None:
    """A StatefulSet waits for such a pod for ever: it alone is deleted."""
    first = await shop.adopted()
    left = shop.uids()[:2]
    broken = await shop.image(image)
    await shop.share({first: 2, broken: 1}, lambda: shop.images() == ["orders:1", "orders:1", image])
    if image != "orders:never-ready":
        await shop.share({first: 2, broken: 1}, lambda: shop.states[broken.id].failure)
    await shop.share({first: COUNT}, lambda: shop.all_ready("orders:1", "orders:1", "orders:1"))
    assert shop.uids()[:2] == left


async def test_a_good_version_is_promoted(shop: StatefulShop) -> None:
    """Pod after pod, never two at once; the last one goes when nothing leads to it; then all is as at rest."""
    first = await shop.adopted()
    second = await shop.image("orders:2")
    await shop.share({first: 2, second: 1}, lambda: shop.up(second) == 1 and shop.up(first) == 2)
    shop.traffic = (first, second)
    await shop.share({first: 1, second: 2}, lambda: shop.up(second) == 2 and shop.up(first) == 1)
    assert shop.images() == ["orders:1", "orders:2", "orders:2"]
    for _ in range(20):
        await shop.step({second: COUNT})
    assert shop.up(first) == 1, "the last pod that users reach was taken"
    shop.traffic = (second,)
    fewest = []

    def over() -> bool:
        fewest.append(shop.up(second))
        return shop.all_ready(*["orders:2"] * COUNT) and shop.carrying == {"orders-stable"}

    await shop.share({second: COUNT}, over)
    assert min(fewest) >= 2
    await shop.share(
        {second: COUNT}, lambda: shop.user()["status"]["currentRevision"] == shop.revision("orders-stable")
    )
    await shop.share({second: COUNT}, lambda: shop.partition() == REST)
    assert shop.revision("orders") == shop.revision("orders-stable")
    assert shop.user()["metadata"]["annotations"].keys() >= {"sternway.dev/update-strategy"}
    assert await _selected(shop, "orders") == {"orders:2"}


async def test_a_version_that_nothing_runs_any_more_comes_back(shop: StatefulShop) -> None:
    """A late rollback: once the template is put back, the pods follow one by one, and the traffic with them."""
    await shop.comes_back()


async def test_configuration_alone_is_a_version(shop: StatefulShop) -> None:
    """To its controller the template has not changed; it is marked, and one pod runs it. Both are given back."""
    first = await shop.adopted()
    namespace = shop.world.namespace
    await shop.world.api.patch(CONFIG_MAPS, "settings", {"data": {"colour": "red"}}, namespace=namespace)
    second = await shop.asked()
    assert second.id != first.id
    await shop.share({first: 2, second: 1}, lambda: shop.up(second) == 1 and shop.up(first) == 2)
    shop.traffic = (first,)
    assert await shop.restored(bad=second, good=first) == "ConfigMap settings restored"
    await shop.share({first: COUNT}, lambda: shop.up(first) == COUNT and shop.up(second) == 0)
    assert (await shop.asked()).id == first.id


async def test_an_autoscaler_brings_no_pod_of_the_candidate(shop: StatefulShop) -> None:
    """Scaled while a release is under way, a StatefulSet grows by pods of the proven version."""
    first = await shop.adopted()
    second = await shop.image("orders:2")
    await shop.share({first: 2, second: 1}, lambda: shop.up(second) == 1 and shop.partition() == REST)
    await shop.world.api.patch(STATEFUL_SETS, "orders", {"spec": {"replicas": 5}}, namespace=shop.world.namespace)
    await shop.share({first: 4, second: 1}, lambda: shop.up(first) == 4 and shop.up(second) == 1)
    assert shop.images() == ["orders:1", "orders:1", "orders:2", "orders:1", "orders:1"]


async def test_when_the_guard_goes_all_is_given_back(shop: StatefulShop) -> None:
    """The user's own update strategy and selector, and no pod is touched; nothing of ours is left."""
    await shop.open(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
    first = await shop.asked()
    shop.traffic = (first,)
    await shop.share({first: COUNT}, lambda: shop.carrying == {"orders-stable"} and shop.revision("orders"))
    before = shop.uids()
    shop.traffic = ()
    done = False
    while not done:
        await shop.look()
        done = await shop.platform.release(shop.key)
    await shop.look()
    assert shop.partition() == 1
    assert shop.uids() == before
    assert shop.service()["spec"]["selector"] == {"app": "orders"}
    assert not {"orders-stable", "orders-candidate"} & shop.names(SERVICES)
    assert "sternway.dev/update-strategy" not in shop.user()["metadata"].get("annotations", {})
    ours = shop.mirror.all(CONTROLLER_REVISIONS, shop.world.namespace)
    assert all("sternway.dev/service" not in one["metadata"].get("labels", {}) for one in ours)


async def test_a_partition_that_a_tool_keeps_is_refused(shop: StatefulShop) -> None:
    """Argo CD would put it back and roll every pod out at once: the sentence names the field and the fix."""
    first = await shop.adopted()
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": REST}}
    await shop.synced({"updateStrategy": strategy})
    with pytest.raises(Refused, match=r"StatefulSet orders has its spec\.updateStrategy kept by argocd"):
        await shop.step({first: COUNT})


async def test_a_version_that_nobody_has_kept_is_named_here_too(shop: StatefulShop) -> None:
    """What no revision holds the template of cannot come back."""
    first = await shop.adopted()
    lost = Workload(image="registry/orders:0", pod="0123456789ab", service=shop.key)
    await shop.look()
    with pytest.raises(PlatformUnavailable, match=r"no pod template of registry/orders:0 \(0123456789ab\)"):
        await shop.platform.apply(shop.key, [WorkloadRun(workload=lost, replicas=COUNT)])
    assert shop.images() == ["orders:1"] * COUNT
    assert first.pod != lost.pod


@pytest.fixture
def played() -> StatefulShop:
    """Give a shop in the fake alone."""
    return StatefulShop(World(api=FakeKubernetes(namespaces=("ours",)), namespace="ours"))


async def test_a_start_at_any_moment_goes_on(played: StatefulShop) -> None:
    """Sternway is started anew before each step of a release, and all pods follow all the same, never two at once."""
    first = await played.adopted()
    second = await played.image("orders:2")

    async def until(shares: dict[Workload, int], holds: Callable[[], object]) -> None:
        for _ in range(100):
            played.platform = played.new_platform(linger_s=0.0)
            await played.platform.start()
            await played.step(shares)
            assert sum(map(is_ready, played.pods())) >= COUNT - 1
            if holds():
                return
        pytest.fail(f"{played.images()}, {played.carrying}")

    await until({first: 2, second: 1}, lambda: played.up(second) == 1)
    played.traffic = (first, second)
    await until({first: 1, second: 2}, lambda: played.up(second) == 2)
    played.traffic = (second,)
    await until({second: COUNT}, lambda: played.all_ready(*["orders:2"] * COUNT))
    await until({second: COUNT}, lambda: played.partition() == REST and played.carrying == {"orders-stable"})


async def test_stable_is_reached_once_every_proxy_knows_whom_its_service_selects(played: StatefulShop) -> None:
    """A Service that is new, or selects another revision, leads nowhere for a while; a start forgets nothing of it."""
    played.platform = played.new_platform(linger_s=1000.0)
    first = await played.open()
    played.traffic = (first,)
    for _ in range(20):
        await played.step({first: COUNT})
    assert played.revision("orders-stable") == played.user()["status"]["currentRevision"]
    backends = played.platform.backends(played.key)
    assert backends is not None
    assert backends.stable is None
    again_s = played.platform.again_s(played.key)
    assert again_s is not None
    played.clock.ahead_s += 1000.0
    await played.share({first: COUNT}, lambda: played.carrying == {"orders-stable"})
    played.platform = played.new_platform(linger_s=1000.0)
    await played.step({first: COUNT})
    assert played.carrying == {"orders-stable"}


async def test_two_bad_versions_are_taken_back_at_once(played: StatefulShop) -> None:
    """What never became ready of one goes whatever waits of the other."""
    first = await played.adopted()
    second = await played.image("orders:2")
    await played.share({first: 2, second: 1}, lambda: played.up(second) == 1 and played.partition() == REST)
    broken = await played.image("orders:never-ready")
    await played.share({first: 1, second: 1, broken: 1}, lambda: "orders:never-ready" in played.images())
    await played.share({first: COUNT}, lambda: played.all_ready(*["orders:1"] * COUNT))


async def _selected(shop: StatefulShop, service: str) -> set[str]:
    """The images of the pods that a Service selects."""
    found = await shop.world.api.get(SERVICES, service, shop.world.namespace)
    assert found is not None
    labels = ",".join(f"{key}={value}" for key, value in found["spec"]["selector"].items())
    pods = (await shop.world.api.list(PODS, namespace=shop.world.namespace, labels=labels)).items
    return {str(pod["spec"]["containers"][0]["image"]).removeprefix("registry/") for pod in pods}
