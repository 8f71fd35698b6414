"""A DaemonSet under Sternway, from its adoption until its Guard is gone: versions side by side within it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from cluster_world import WAIT_S, World
from controllers import NODES
from in_place_world import COUNT, DaemonShop

from sternway.domain.versions import Workload
from sternway.kubernetes.api import Object, is_ready, name_of
from sternway.kubernetes.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, DAEMON_SETS, PODS, SERVICES
from sternway.testing.kubernetes import FakeKubernetes


@pytest.fixture
def shop(world: World) -> DaemonShop:
    """Give a shop whose service is not there yet."""
    return DaemonShop(world)


@pytest.fixture
def played() -> DaemonShop:
    """Give a shop in the fake alone, on three nodes."""
    return DaemonShop(World(api=FakeKubernetes(namespaces=("ours",)), namespace="ours"))


# On as many nodes as there are -----------------------------------------------------------------------------------


async def test_its_controller_names_revisions_by_a_label(shop: DaemonShop) -> None:
    """What all else rests on: pods carry the label of their revision, and a template that was there is its revision again."""
    await shop.open(updateStrategy={"type": "OnDelete"})
    first, pod = shop.newest(), shop.pods()[0]
    assert _hash(first) == _hash(pod) != name_of(first)
    assert first["data"]["spec"]["template"] == shop.user()["spec"]["template"] | {"$patch": "replace"}
    before = shop.uids()
    await shop.image("orders:2")
    await _seen(shop, lambda: _hash(shop.newest()) != _hash(first))
    assert shop.uids() == before
    await shop.world.api.delete(PODS, name_of(pod), shop.world.namespace)
    await _seen(shop, lambda: shop.running("orders:2") and len(shop.pods()) == len(before))
    assert {_hash(one) for one in shop.pods() if str(one["metadata"]["uid"]) in shop.running("orders:2")} == {
        _hash(shop.newest())
    }
    await shop.image("orders:1")
    await _seen(shop, lambda: name_of(shop.newest()) == name_of(first))
    assert int(shop.newest()["revision"]) == 3


async def test_the_adoption_of_a_daemon_set_touches_no_pod(shop: DaemonShop) -> None:
    """It replaces none by itself from then on, two Services select the revision that runs, and every pod is the one that it was."""
    first = await shop.open()
    before, count = shop.uids(), shop.count()
    shop.traffic = (first,)
    await shop.share({first: count}, lambda: shop.carrying == {"orders-stable"} and shop.revision("orders"))
    assert shop.uids() == before
    assert shop.strategy() == {"type": "OnDelete"}
    assert shop.revision("orders") == shop.revision("orders-stable") == _hash(shop.newest())
    backends = shop.platform.backends(shop.key)
    assert backends is not None
    assert (backends.stable and backends.stable.replicas, backends.candidate) == (count, None)


async def test_what_comes_back_as_an_edit_goes_back_with_the_template(shop: DaemonShop) -> None:
    """An edit touches no pod; one that is lost comes back as it, without traffic, until the template is restored to the letter."""
    first = await shop.adopted()
    count, revision, before = shop.count(), shop.newest(), set(shop.uids())
    second = await shop.image("orders:2")
    for _ in range(20):
        await shop.step({first: count})
    assert set(shop.uids()) == before
    lost = shop.pods()[0]
    await shop.world.api.delete(PODS, name_of(lost), shop.world.namespace)
    await shop.share({first: count}, lambda: shop.up(second) == 1)
    for _ in range(20):
        await shop.step({first: count})
    assert shop.up(second) == 1, "it would come back as what it is"
    assert shop.revision("orders") == shop.revision("orders-stable") == _hash(revision)
    kept = f"orders-{second.pod}"
    await shop.share({first: count - 1, second: 1}, lambda: kept in shop.names(CONTROLLER_REVISIONS))
    assert await shop.restored(bad=second, good=first) == "DaemonSet orders restored"
    await shop.share({first: count}, lambda: shop.up(first) == count and not shop.running("orders:2"))
    assert name_of(shop.newest()) == name_of(revision)
    assert len(before & set(shop.uids())) == count - 1


async def test_when_the_guard_goes_a_daemon_set_is_the_users_again(shop: DaemonShop) -> None:
    """With the update strategy that the user wrote, to the letter; no pod is touched, and nothing of ours is left."""
    own = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "30%"}}
    await shop.open(updateStrategy=own)
    wrote = shop.strategy()
    first = await shop.asked()
    shop.traffic = (first,)
    await shop.share({first: shop.count()}, lambda: shop.carrying == {"orders-stable"} and shop.revision("orders"))
    assert shop.strategy() == {"type": "OnDelete"}
    before = shop.uids()
    shop.traffic = ()
    async with asyncio.timeout(WAIT_S):
        while not await shop.platform.release(shop.key):
            await shop.look()
    await shop.look()
    assert shop.strategy() == wrote
    assert shop.uids() == before
    assert shop.service()["spec"]["selector"] == {"app": "orders"}
    assert not {"orders-stable", "orders-candidate"} & shop.names(SERVICES)
    assert "sternway.dev/update-strategy" not in shop.user()["metadata"].get("annotations", {})
    ours = shop.mirror.all(CONTROLLER_REVISIONS, shop.world.namespace)
    assert all("sternway.dev/service" not in one["metadata"].get("labels", {}) for one in ours)


# On three nodes --------------------------------------------------------------------------------------------------


async def test_a_release_takes_one_pod_after_the_other(played: DaemonShop) -> None:
    """Never two at once; the last one goes when nothing leads to it; then all is as at rest."""
    first = await played.adopted()
    second = await played.image("orders:2")
    fewest: list[int] = []

    def counted(holds: Callable[[], object]) -> Callable[[], object]:
        def seen() -> object:
            fewest.append(sum(map(is_ready, played.pods())))
            return holds()

        return seen

    await played.share({first: 2, second: 1}, counted(lambda: played.up(second) == 1))
    for _ in range(20):
        await played.step({first: 2, second: 1})
    assert (played.up(first), played.up(second)) == (2, 1)
    played.traffic = (first, second)
    await played.share({first: 1, second: 2}, counted(lambda: played.up(second) == 2))
    for _ in range(20):
        await played.step({second: COUNT})
    assert played.up(first) == 1, "the last pod that users reach was taken"
    played.traffic = (second,)
    await played.share({second: COUNT}, counted(lambda: played.all_ready(*["orders:2"] * COUNT)))
    await played.share({second: COUNT}, lambda: played.carrying == {"orders-stable"})
    assert min(fewest) >= COUNT - 1
    assert played.revision("orders") == played.revision("orders-stable") == _hash(played.newest())


async def test_a_bad_version_waits_for_its_template_without_traffic(played: DaemonShop) -> None:
    """The split first; then the template; then its pods, one by one; no other pod is touched."""
    first = await played.adopted()
    second = await played.image("orders:2")
    played.traffic = (first, second)
    await played.share({first: 1, second: 2}, lambda: played.up(second) == 2 and played.up(first) == 1)
    left = played.running("orders:1")
    played.traffic = (first,)
    for _ in range(20):
        await played.step({first: COUNT})
    assert (played.carrying, played.up(second)) == ({"orders-stable"}, 2)
    assert await played.restored(bad=second, good=first) == "DaemonSet orders restored"
    most: list[int] = []

    def back() -> bool:
        most.append(COUNT - len([pod for pod in played.pods() if is_ready(pod)]))
        return played.all_ready(*["orders:1"] * COUNT)

    await played.share({first: COUNT}, back)
    assert max(most) == 1
    assert left <= set(played.uids())


async def test_a_version_that_no_node_runs_any_more_comes_back(played: DaemonShop) -> None:
    """A late rollback: once the template is put back, the pods follow one by one, and the traffic with them."""
    await played.comes_back()


async def test_pods_that_never_become_ready_go_first(played: DaemonShop) -> None:
    """Whatever else there is of what was taken back; of the proven version none is."""
    first = await played.adopted()
    second = await played.image("orders:2")
    await played.share({first: 2, second: 1}, lambda: played.up(second) == 1)
    broken = await played.image("orders:never-ready")
    await played.share({first: 2, broken: 1}, lambda: "orders:never-ready" in played.images())
    assert played.up(first) == 2, "a pod that served was taken, and one that nobody needs was there"
    left = played.running("orders:1")
    assert await played.restored(bad=broken, good=first) == "DaemonSet orders restored"
    await played.share({first: COUNT}, lambda: played.all_ready(*["orders:1"] * COUNT))
    assert left <= set(played.uids())


async def test_an_edit_in_the_middle_takes_no_pod_under_traffic(played: DaemonShop) -> None:
    """What comes back as it is without traffic; neither of the two versions that users reach loses a pod."""
    first = await played.adopted()
    second = await played.image("orders:2")
    await played.share({first: 2, second: 1}, lambda: played.up(second) == 1)
    played.traffic = (first, second)
    await played.look()
    before = played.uids()
    await played.image("orders:3")
    for _ in range(20):
        await played.step({first: 2, second: 1})
    assert (played.uids(), played.up(second)) == (before, 1)


async def test_a_node_that_joins_brings_the_candidate_no_traffic_of_its_own(played: DaemonShop) -> None:
    """Its pod is of the newest template, and is one more of those that have the candidate's share; it goes back with them."""
    first = await played.adopted()
    second = await played.image("orders:2")
    await played.share({first: 2, second: 1}, lambda: played.up(second) == 1)
    played.traffic = (first, second)
    await played.look()
    left = played.running("orders:1")
    played.join("node-late")
    await played.share({first: 3, second: 1}, lambda: played.up(second) == 2)
    for _ in range(20):
        await played.step({first: 3, second: 1})
    assert played.running("orders:1") == left
    assert played.revision("orders-candidate") == _hash(played.newest()) != played.revision("orders")
    played.traffic = (first,)
    assert await played.restored(bad=second, good=first) == "DaemonSet orders restored"
    await played.share({first: 4}, lambda: played.all_ready(*["orders:1"] * 4))
    assert left <= set(played.uids())


async def test_a_node_that_goes_holds_nothing_up(played: DaemonShop) -> None:
    """Its pod goes with it; what is left is shared out, and comes back, as before."""
    first = await played.adopted()
    second = await played.image("orders:2")
    await played.share({first: 2, second: 1}, lambda: played.up(second) == 1)
    (gone,) = (pod for pod in played.pods() if pod["metadata"]["uid"] in played.running("orders:2"))
    api = played.world.api
    assert isinstance(api, FakeKubernetes)
    api.store.delete(NODES, gone["spec"]["nodeName"])
    await played.share({first: 1, second: 1}, lambda: played.up(second) == 1 and played.up(first) == 1)
    played.traffic = (first,)
    await played.restored(bad=second, good=first)
    await played.share({first: 2}, lambda: played.all_ready("orders:1", "orders:1"))


async def test_a_start_between_any_two_steps_is_finished(played: DaemonShop) -> None:
    """Sternway is started anew before each step of a release and of a rollback; never are two pods away at once."""
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
    played.traffic = (first,)
    await until({first: COUNT}, lambda: played.carrying == {"orders-stable"})
    await played.restored(bad=second, good=first)
    await until({first: COUNT}, lambda: played.all_ready(*["orders:1"] * COUNT))


async def test_configuration_alone_is_a_version_of_a_daemon_set(played: DaemonShop) -> None:
    """Its template is marked, and one pod runs it; when both are given back the mark goes, too, and pods come back as the others."""
    first = await played.adopted()
    revision = played.revision("orders-stable")
    namespace = played.world.namespace
    await played.world.api.patch(CONFIG_MAPS, "settings", {"data": {"colour": "red"}}, namespace=namespace)
    second = await played.asked()
    await played.share({first: 2, second: 1}, lambda: played.up(second) == 1 and played.up(first) == 2)
    assert await played.restored(bad=second, good=first) == "ConfigMap settings restored"
    await played.share({first: COUNT}, lambda: played.up(first) == COUNT and played.up(second) == 0)
    assert {_hash(pod) for pod in played.pods()} == {revision}
    assert (await played.asked()).id == first.id


async def test_a_rollout_restart_is_taken_out_of_the_template(played: DaemonShop) -> None:
    """It is no release, and a pod that comes back by itself would be of another revision, without traffic."""
    first = await played.adopted()
    revision, before = played.newest(), played.uids()
    mark = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    change = {"spec": {"template": {"metadata": {"annotations": mark}}}}
    await played.world.api.patch(DAEMON_SETS, "orders", change, namespace=played.world.namespace, manager="kubectl")
    await _seen(played, lambda: name_of(played.newest()) != name_of(revision))
    await played.share({first: COUNT}, lambda: name_of(played.newest()) == name_of(revision))
    assert played.uids() == before


async def test_where_git_keeps_the_template_pods_go_back_when_git_does(played: DaemonShop) -> None:
    """Until then they are without traffic, and are what they are: one that is deleted would only come back as it."""
    first = await played.adopted()
    template = played.user()["spec"]["template"]
    await _applied_by_git(played, template)
    second_template: Object = {**template, "spec": {**template["spec"]}}
    container = {**template["spec"]["containers"][0], "image": "registry/orders:2"}
    second_template["spec"]["containers"] = [container]
    await _applied_by_git(played, second_template)
    second = await played.asked()
    played.traffic = (first, second)
    await played.share({first: 1, second: 2}, lambda: played.up(second) == 2 and played.up(first) == 1)
    played.traffic = (first,)
    said = await played.restored(bad=second, good=first)
    assert said == "left as it is: DaemonSet orders, which argocd-controller keeps as Git says: revert it in Git"
    before = played.uids()
    for _ in range(20):
        await played.step({first: COUNT})
    assert (played.uids(), played.carrying) == (before, {"orders-stable"})
    await _applied_by_git(played, template)
    await played.share({first: COUNT}, lambda: played.all_ready(*["orders:1"] * COUNT))


async def test_a_strategy_that_comes_back_is_held_again(played: DaemonShop) -> None:
    """`helm upgrade` may write it; what the user wrote first is still what is given back."""
    first = await played.adopted()
    kept = played.user()["metadata"]["annotations"]["sternway.dev/update-strategy"]
    change: Object = {"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}}}
    await played.world.api.patch(DAEMON_SETS, "orders", change, namespace=played.world.namespace, manager="helm")
    await played.share({first: COUNT}, lambda: played.strategy() == {"type": "OnDelete"})
    assert played.user()["metadata"]["annotations"]["sternway.dev/update-strategy"] == kept


def _hash(obj: Object) -> str:
    return str(obj["metadata"]["labels"]["controller-revision-hash"])


async def _seen(shop: DaemonShop, holds: Callable[[], Any]) -> None:
    """Wait for the controller, and do nothing."""
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0 if isinstance(shop.world.api, FakeKubernetes) else 0.05)
            await shop.look()


async def _applied_by_git(shop: DaemonShop, template: Object) -> None:
    await shop.synced({"template": template})
    await shop.look()
