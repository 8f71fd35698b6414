"""An operator that looks after some namespaces follows the Policies of its own as well."""

from __future__ import annotations

from sternway.kubernetes.resources import CONFIG_MAPS, POLICIES
from sternway.operator.policies import ClusterPolicies
from sternway.operator.stores import Stores
from sternway.testing.fakes import FakeClock
from sternway.testing.kubernetes import FakeKubernetes


async def test_policies_of_the_own_namespace_are_followed_beside_those_looked_after():
    """Of every other kind, and of every other namespace, nothing is read."""
    api = FakeKubernetes(namespaces=("shop", "bank", "sternway-system"))
    for namespace in ("shop", "bank", "sternway-system"):
        metadata = {"name": namespace, "namespace": namespace}
        await api.create(POLICIES, {"metadata": metadata, "spec": {"approve": {"before": "exposure"}}})
        await api.create(CONFIG_MAPS, {"metadata": metadata})
    stores = Stores(
        api,
        clock=FakeClock(),
        changed=lambda *_: None,
        about=lambda _: (),
        namespaces=("shop",),
        beside={POLICIES: "sternway-system"},
    )
    await stores.start((POLICIES, CONFIG_MAPS))
    try:
        assert {one["metadata"]["name"] for one in stores.all(POLICIES)} == {"shop", "sternway-system"}
        assert {one["metadata"]["name"] for one in stores.all(CONFIG_MAPS)} == {"shop"}
        assert stores.get(POLICIES, "sternway-system", "sternway-system") is not None
    finally:
        await stores.close()


async def test_a_policy_written_for_the_fake_is_read_as_from_the_api():
    """The kind and version that the API fills in are those that the model asks for."""
    api = FakeKubernetes(namespaces=("shop",))
    metadata = {"name": "two-eyes", "namespace": "shop"}
    await api.create(POLICIES, {"metadata": metadata, "spec": {"approve": {"before": "exposure"}}})
    stores = Stores(api, clock=FakeClock(), changed=lambda *_: None, about=lambda _: ())
    await stores.start((POLICIES,))
    try:
        assert [one.name for one in ClusterPolicies(reader=stores).of("orders.shop")] == ["two-eyes"]
    finally:
        await stores.close()
