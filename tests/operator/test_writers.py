"""What is written of a release into its Release, and into those before it."""

from collections.abc import Sequence

import pytest
from test_accounts import ROLLED_BACK, STORY, view

from sternway.control.measures import Measured
from sternway.control.status import ServiceStatus
from sternway.kubernetes.api import Object, Resource, name_of
from sternway.kubernetes.reading import of_guard
from sternway.kubernetes.resources import GUARDS, RELEASES
from sternway.operator.accounts import accounts
from sternway.operator.writers import Shown, Writer
from sternway.testing.kubernetes import FakeKubernetes


class Live:
    """A reader that sees the cluster as it stands."""

    def __init__(self, api: FakeKubernetes) -> None:
        self.api = api

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """See Reader."""
        return self.api.store.get(resource, name, namespace)

    def find(self, resource: Resource, index: object, word: str, namespace: str) -> Sequence[Object]:
        """See Reader."""
        assert index is of_guard
        return self.api.store.select(resource, namespace=namespace)


@pytest.fixture
def api() -> FakeKubernetes:
    """Give a cluster with a Guard."""
    made = FakeKubernetes(namespaces=("shop",))
    made.store.create(GUARDS, {"metadata": {"name": "orders", "namespace": "shop"}, "spec": {"service": "orders"}})
    return made


async def write(writer: Writer, api: FakeKubernetes, one: Measured, **more: object) -> None:
    """Show a release as the last one of its service."""
    status = ServiceStatus(
        service="orders.shop",
        address=None,
        preview=None,
        stable="v0",
        wanted=None,
        versions=(),
        release=view(one),
        rate_per_s=None,
        ready=True,
    )
    guard = api.store.get(GUARDS, "orders", "shop")
    assert guard is not None
    await writer.write(guard, Shown(status=status, **more), 1_000.0)  # type: ignore[arg-type]


def written(api: FakeKubernetes, name: str) -> Object:
    """The status of a Release."""
    found = api.store.get(RELEASES, name, "shop")
    assert found is not None
    return found["status"]


async def test_figures_of_an_ended_release_are_written_once_and_stay(api: FakeKubernetes):
    """They are known from then on, also to a process that has measured nothing."""
    guard = api.store.get(GUARDS, "orders", "shop") or {}
    writer = Writer(api=api, reader=Live(api))  # type: ignore[arg-type]
    assert not writer.told(guard, ROLLED_BACK.name)
    await write(writer, api, ROLLED_BACK, measured=ROLLED_BACK)
    before = written(api, "orders-2")
    assert (before["detectSeconds"], before["restoreSeconds"], before["endedBy"]) == (1.25, 4.5, "engine")
    assert writer.told(guard, ROLLED_BACK.name)
    await write(Writer(api=api, reader=Live(api)), api, ROLLED_BACK)  # type: ignore[arg-type]
    assert written(api, "orders-2") == before


async def test_what_a_person_says_of_an_earlier_release_stands_on_it(api: FakeKubernetes):
    """Beside its figures; and of one that is gone there is nothing to write."""
    writer = Writer(api=api, reader=Live(api))  # type: ignore[arg-type]
    await write(writer, api, ROLLED_BACK, measured=ROLLED_BACK)
    await write(writer, api, STORY[2], measured=STORY[2], false_alarms=("orders.shop-1", "orders.shop-2"))
    assert written(api, "orders-2")["falseAlarm"] is True
    assert "falseAlarm" not in written(api, "orders-3")
    told = accounts(api.store.select(RELEASES, namespace="shop"))
    assert [(one.name, one.false_alarm) for one in told.releases] == [("orders.shop-2", True), ("orders.shop-3", False)]
    assert sorted(map(name_of, api.store.select(RELEASES, namespace="shop"))) == ["orders-2", "orders-3"]
