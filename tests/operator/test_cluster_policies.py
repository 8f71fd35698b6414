"""Which Policies of a cluster hold for a service, and what their status says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sternway.kubernetes.api import Object, Resource
from sternway.kubernetes.resources import POLICIES
from sternway.operator.policies import ClusterPolicies

FRIDAY_S = datetime.fromisoformat("2026-11-27T18:00+00:00").timestamp()
WEEKEND = [{"from": "fri 16:00", "to": "mon 08:00"}]


class Shelf:
    """A Reader of Policies."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}

    def put(self, namespace: str, name: str, generation: int = 1, **spec: Any) -> Object:
        """Put a Policy there."""
        metadata = {"name": name, "namespace": namespace, "uid": name, "generation": generation}
        made = {"apiVersion": POLICIES.api_version, "kind": POLICIES.kind, "metadata": metadata, "spec": spec}
        self.objects[namespace, name] = made
        return made

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """See Reader."""
        return self.objects.get((namespace, name))

    def all(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        """See Reader."""
        return [one for (space, _), one in self.objects.items() if namespace in ("", space)]

    def owned(self, resource: Resource, uid: str) -> Sequence[Object]:
        """See Reader."""
        return ()


def names(policies: ClusterPolicies, service: str) -> list[str]:
    """Which policies hold for a service."""
    return [one.name for one in policies.of(service)]


def test_a_policy_holds_in_its_namespace_and_the_platforms_own_everywhere():
    """A team can bind itself, and nobody else; who may write into Sternway's namespace binds all."""
    shelf = Shelf()
    shelf.put("shop", "team", freeze=WEEKEND)
    shelf.put("sternway-system", "platform", freeze=WEEKEND, services=["*.shop", "orders"])
    policies = ClusterPolicies(reader=shelf, own="sternway-system")
    assert names(policies, "orders.shop") == ["team", "platform"]
    assert names(policies, "orders.bank") == ["platform"]
    assert names(policies, "web.bank") == []
    assert names(ClusterPolicies(reader=shelf), "orders.bank") == []


def test_a_policy_that_cannot_be_read_changes_nothing():
    """What it last said stays in force, and its status names field and fix."""
    shelf = Shelf()
    shelf.put("shop", "team", freeze=WEEKEND)
    policies = ClusterPolicies(reader=shelf)
    assert names(policies, "orders.shop") == ["team"]
    broken = shelf.put("shop", "team", generation=2, freeze=[{**WEEKEND[0], "timeZone": "Moon"}])
    assert names(policies, "orders.shop") == ["team"]
    status = policies.status(broken, ["orders.shop"], FRIDAY_S)
    ready = status["conditions"][0]
    assert (ready["status"], ready["reason"]) == ("False", "Invalid")
    assert "spec.freeze[0].timeZone" in ready["message"]
    assert "Europe/Berlin" in ready["message"]
    assert status["frozen"] is True


def test_the_status_tells_whether_it_is_frozen_and_until_when():
    """For `kubectl get policies`; without a freeze there is no end."""
    shelf = Shelf()
    policies = ClusterPolicies(reader=shelf)
    weekend = shelf.put("shop", "weekend", freeze=WEEKEND)
    status = policies.status(weekend, ["orders.shop", "web.shop", "orders.bank"], FRIDAY_S)
    assert (status["governs"], status["frozen"], status["frozenUntil"]) == (2, True, "2026-11-30T08:00:00Z")
    assert status["conditions"][0]["message"] == "it governs 2 services"
    open_again = policies.status(weekend, [], FRIDAY_S + 4 * 86_400)
    assert open_again["frozen"] is False
    assert "frozenUntil" not in open_again


def test_what_has_not_changed_is_not_written_again():
    """The status of a moment later is the same to the letter."""
    shelf = Shelf()
    policies = ClusterPolicies(reader=shelf)
    weekend = shelf.put("shop", "weekend", freeze=WEEKEND)
    first = policies.status(weekend, ["orders.shop"], FRIDAY_S)
    assert policies.status({**weekend, "status": first}, ["orders.shop"], FRIDAY_S + 60) == first
