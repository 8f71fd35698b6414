"""Objects of the API: what a write gives, and who may not overwrite whom."""

from __future__ import annotations

import pytest
from cluster_world import World

from sternway.kubernetes.api import Patch, Resource
from sternway.kubernetes.errors import Conflict, Invalid
from sternway.kubernetes.resources import CONFIG_MAPS, DEPLOYMENTS, LEASES, PODS, SECRETS, SERVICES

ABSENT = Resource(group="absent.example", version="v1", plural="things", kind="Thing")


async def test_a_new_object_has_an_identity(world: World) -> None:
    """Created: uid, resourceVersion and time of birth are the server's, and get gives the same."""
    made = await world.api.create(CONFIG_MAPS, world.config(data={"a": "1"}))
    assert {"uid", "resourceVersion", "creationTimestamp"} <= made["metadata"].keys()
    assert made["kind"] == "ConfigMap"
    assert await world.api.get(CONFIG_MAPS, "settings", world.namespace) == made


async def test_a_name_is_taken_once(world: World) -> None:
    """A second object of the name is a Conflict."""
    await world.api.create(CONFIG_MAPS, world.config())
    with pytest.raises(Conflict, match="settings"):
        await world.api.create(CONFIG_MAPS, world.config())


async def test_a_name_can_be_asked_for(world: World) -> None:
    """`generateName` is completed by the server, differently each time."""
    one = {"metadata": {"generateName": "event-", "namespace": world.namespace}}
    names = {(await world.api.create(CONFIG_MAPS, one))["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("event-") for name in names)


async def test_what_is_not_there_is_none(world: World) -> None:
    """Get and patch of an absent object give None; deleting it does nothing."""
    assert await world.api.get(CONFIG_MAPS, "settings", world.namespace) is None
    assert await world.api.patch(CONFIG_MAPS, "settings", {"data": {}}, namespace=world.namespace) is None
    await world.api.delete(CONFIG_MAPS, "settings", world.namespace)


async def test_a_kind_that_is_not_served_is_told(world: World) -> None:
    """`serves` tells; get gives None; a list says what is missing."""
    assert not await world.api.serves(ABSENT)
    assert await world.api.serves(DEPLOYMENTS)
    assert await world.api.get(ABSENT, "one", world.namespace) is None
    with pytest.raises(Invalid, match=r"things.*absent\.example"):
        await world.api.list(ABSENT, namespace=world.namespace)


async def test_a_wrong_name_is_invalid(world: World) -> None:
    """The error names the field."""
    with pytest.raises(Invalid, match=r"metadata\.name"):
        await world.api.create(CONFIG_MAPS, world.config("Not_A_Name"))


async def test_an_object_needs_its_namespace(world: World) -> None:
    """Where there is no such namespace the error names it."""
    with pytest.raises(Invalid, match="nowhere-at-all"):
        await world.api.create(CONFIG_MAPS, {"metadata": {"name": "one", "namespace": "nowhere-at-all"}})


async def test_a_stale_copy_overwrites_nothing(world: World) -> None:
    """Replace and merge patch with an old resourceVersion are Conflicts; the newer data stay."""
    old = await world.api.create(CONFIG_MAPS, world.config(data={"a": "1"}))
    await world.api.patch(CONFIG_MAPS, "settings", {"data": {"a": "2"}}, namespace=world.namespace)
    with pytest.raises(Conflict):
        await world.api.replace(CONFIG_MAPS, {**old, "data": {"a": "3"}})
    stale = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"a": "3"}}
    with pytest.raises(Conflict):
        await world.api.patch(CONFIG_MAPS, "settings", stale, namespace=world.namespace)
    now = await world.api.get(CONFIG_MAPS, "settings", world.namespace)
    assert now is not None
    assert now["data"] == {"a": "2"}


async def test_replacing_what_was_deleted_is_a_conflict(world: World) -> None:
    """Who replaces has read; what is gone since then is to be read again."""
    old = await world.api.create(CONFIG_MAPS, world.config())
    await world.api.delete(CONFIG_MAPS, "settings", world.namespace)
    with pytest.raises(Conflict):
        await world.api.replace(CONFIG_MAPS, old)


async def test_a_lease_is_replaced_only_over_a_stated_version(world: World) -> None:
    """Without a resourceVersion it is Invalid: nobody takes a lease over by accident."""
    made = await world.api.create(LEASES, world.config("leader", spec={"holderIdentity": "a"}))
    del made["metadata"]["resourceVersion"]
    with pytest.raises(Invalid, match="resourceVersion"):
        await world.api.replace(LEASES, made)


async def test_a_write_that_changes_nothing_is_no_change(world: World) -> None:
    """The resourceVersion stays, so that no watch is woken."""
    made = await world.api.create(CONFIG_MAPS, world.config(data={"a": "1"}))
    again = await world.api.patch(CONFIG_MAPS, "settings", {"data": {"a": "1"}}, namespace=world.namespace)
    assert again is not None
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_generation_counts_what_is_wished(world: World) -> None:
    """A change of the spec or, for Deployments, of annotations counts; a label and a status do not."""

    async def generation(patch: dict[str, object], subresource: str = "") -> int:
        seen = await world.api.patch(DEPLOYMENTS, "orders", patch, namespace=world.namespace, subresource=subresource)
        assert seen is not None
        return int(seen["metadata"]["generation"])

    made = await world.api.create(DEPLOYMENTS, world.deployment(paused=True))
    assert made["metadata"]["generation"] == 1
    assert await generation({"metadata": {"labels": {"team": "a"}}}) == 1
    assert await generation({"spec": {"minReadySeconds": 3}}) == 2
    assert await generation({"metadata": {"annotations": {"note": "a"}}}) == 3
    assert await generation({"status": {"replicas": 0}}, "status") == 3


async def test_merge_patch_removes_by_null_and_replaces_lists(world: World) -> None:
    """RFC 7386."""
    await world.api.create(CONFIG_MAPS, world.config(data={"a": "1", "b": "2"}))
    seen = await world.api.patch(CONFIG_MAPS, "settings", {"data": {"a": None, "c": "3"}}, namespace=world.namespace)
    assert seen is not None
    assert seen["data"] == {"b": "2", "c": "3"}


async def test_json_patch_changes_only_what_it_tested(world: World) -> None:
    """A `test` that holds lets the rest through; one that does not is a Conflict and changes nothing."""
    await world.api.create(CONFIG_MAPS, world.config(data={"a": "1"}))

    async def write(seen: str, new: str) -> object:
        operations = [
            {"op": "test", "path": "/data/a", "value": seen},
            {"op": "replace", "path": "/data/a", "value": new},
        ]
        return await world.api.patch(CONFIG_MAPS, "settings", operations, namespace=world.namespace, how=Patch.JSON)

    await write("1", "2")
    with pytest.raises(Conflict):
        await write("1", "3")
    now = await world.api.get(CONFIG_MAPS, "settings", world.namespace)
    assert now is not None
    assert now["data"] == {"a": "2"}


async def test_json_patch_of_a_path_that_is_not_there_is_invalid(world: World) -> None:
    """What can never succeed is not to be tried again."""
    await world.api.create(CONFIG_MAPS, world.config())
    operations = [{"op": "remove", "path": "/data/a"}]
    with pytest.raises(Invalid):
        await world.api.patch(CONFIG_MAPS, "settings", operations, namespace=world.namespace, how=Patch.JSON)


async def test_status_is_written_apart(world: World) -> None:
    """A status in a plain write is ignored, and a spec in a write of the status is."""
    made = await world.api.create(DEPLOYMENTS, {**world.deployment(paused=True), "status": {"replicas": 7}})
    assert made.get("status", {}).get("replicas", 0) == 0
    await world.api.patch(DEPLOYMENTS, "orders", {"status": {"observedGeneration": 9}}, namespace=world.namespace)
    both = {"spec": {"minReadySeconds": 9}, "status": {"collisionCount": 5}}
    seen = await world.api.patch(DEPLOYMENTS, "orders", both, namespace=world.namespace, subresource="status")
    assert seen is not None
    assert seen["status"]["collisionCount"] == 5
    assert seen["status"].get("observedGeneration") != 9
    assert seen["spec"].get("minReadySeconds", 0) == 0


async def test_scale_changes_replicas_alone(world: World) -> None:
    """/scale gives a Scale, and the Deployment has the replicas."""
    await world.api.create(DEPLOYMENTS, world.deployment(paused=True))
    scale = await world.api.patch(
        DEPLOYMENTS, "orders", {"spec": {"replicas": 3}}, namespace=world.namespace, subresource="scale"
    )
    assert scale is not None
    assert scale["kind"] == "Scale"
    assert scale["spec"] == {"replicas": 3}
    now = await world.api.get(DEPLOYMENTS, "orders", world.namespace)
    assert now is not None
    assert now["spec"]["replicas"] == 3


async def test_what_is_immutable_stays(world: World) -> None:
    """Data of an immutable ConfigMap or Secret and a Deployment's selector; the error names the field."""
    await world.api.create(CONFIG_MAPS, world.config(data={"a": "1"}, immutable=True))
    await world.api.create(SECRETS, world.config(stringData={"a": "1"}, immutable=True))
    await world.api.create(DEPLOYMENTS, world.deployment())
    for resource in (CONFIG_MAPS, SECRETS):
        with pytest.raises(Invalid, match="immutable"):
            await world.api.patch(resource, "settings", {"data": {"a": "Mg=="}}, namespace=world.namespace)
    moved = {"spec": {"selector": {"matchLabels": {"app": "other"}}}}
    with pytest.raises(Invalid, match=r"selector"):
        await world.api.patch(DEPLOYMENTS, "orders", moved, namespace=world.namespace)


async def test_defaults_are_filled_in(world: World) -> None:
    """A Service has an address and protocols; a Secret's strings are encoded; a Deployment has a replica."""
    service = await world.api.create(SERVICES, world.config("orders", spec={"ports": [{"port": 80}]}))
    assert service["spec"]["clusterIP"]
    assert service["spec"]["ports"][0]["protocol"] == "TCP"
    secret = await world.api.create(SECRETS, world.config(stringData={"key": "value"}))
    assert secret["data"] == {"key": "dmFsdWU="}
    assert secret["type"] == "Opaque"
    wished = world.deployment(paused=True)
    del wished["spec"]["replicas"]
    assert (await world.api.create(DEPLOYMENTS, wished))["spec"]["replicas"] == 1


async def test_a_finalizer_holds_an_object_until_it_is_taken_away(world: World) -> None:
    """Deleted: marked, still there; without the finalizer: gone."""
    await world.api.create(CONFIG_MAPS, world.config(metadata={"finalizers": ["sternway.dev/hold"]}))
    await world.api.delete(CONFIG_MAPS, "settings", world.namespace)
    held = await world.api.get(CONFIG_MAPS, "settings", world.namespace)
    assert held is not None
    assert held["metadata"]["deletionTimestamp"]
    await world.api.patch(CONFIG_MAPS, "settings", {"metadata": {"finalizers": None}}, namespace=world.namespace)
    assert await world.api.get(CONFIG_MAPS, "settings", world.namespace) is None


async def test_only_the_very_object_is_deleted(world: World) -> None:
    """With the uid of another object of the name nothing happens."""
    first = await world.api.create(CONFIG_MAPS, world.config())
    await world.api.delete(CONFIG_MAPS, "settings", world.namespace, uid=first["metadata"]["uid"])
    second = await world.api.create(CONFIG_MAPS, world.config())
    await world.api.delete(CONFIG_MAPS, "settings", world.namespace, uid=first["metadata"]["uid"])
    assert await world.api.get(CONFIG_MAPS, "settings", world.namespace) == second


async def test_what_an_object_owns_goes_with_it(world: World) -> None:
    """Owner references: the dependents are collected, others stay."""
    owner = await world.api.create(CONFIG_MAPS, world.config("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    await world.api.create(CONFIG_MAPS, world.config("owned", metadata={"ownerReferences": [reference]}))
    await world.api.create(CONFIG_MAPS, world.config("other"))
    await world.api.delete(CONFIG_MAPS, "owner", world.namespace)
    await world.until(CONFIG_MAPS, "owned", lambda found: found is None)
    assert await world.api.get(CONFIG_MAPS, "other", world.namespace) is not None


async def test_a_pod_that_runs_nowhere_is_gone_at_once(world: World) -> None:
    """No kubelet has to end it."""
    containers = [{"name": "a", "image": "registry/never-ready:1"}]
    spec = {"containers": containers, "schedulerName": "none", "automountServiceAccountToken": False}
    pod = world.config("one", spec=spec)
    await world.api.create(PODS, pod)
    await world.api.delete(PODS, "one", world.namespace)
    await world.until(PODS, "one", lambda found: found is None)
