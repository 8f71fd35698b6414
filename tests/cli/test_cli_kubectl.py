"""`kubectl sternway`: what it prints of the objects that stand in a cluster."""

import json
from typing import Any, Self

import pytest
from typer.testing import CliRunner, Result

from sternway.cli import kubectl
from sternway.kubernetes.access import Access
from sternway.kubernetes.api import Object
from sternway.kubernetes.credentials import Fixed
from sternway.kubernetes.resources import GUARDS, RELEASES
from sternway.testing.kubernetes import FakeKubernetes


class Connected(FakeKubernetes):
    """The fake, opened as the client is."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Connected:
    """Give a cluster that the command line finds."""
    api = Connected(namespaces=("shop",))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(
        kubectl, "find_access", lambda **_: Access(server="http://here", credentials=Fixed(), namespace="shop")
    )
    monkeypatch.setattr(kubectl, "Client", lambda _: api)
    return api


def run(*arguments: str) -> Result:
    """Run the plugin in this process."""
    found = CliRunner().invoke(kubectl.app, list(arguments))
    assert found.exit_code == 0, found.output
    return found


def put(api: Connected, kind: Any, name: str, **parts: Any) -> Object:
    """Put an object there, with its status."""
    made = api.store.create(kind, {"metadata": {"name": name, "namespace": "shop"}, **parts})
    status = {"status": parts.get("status", {})}
    return api.store.patch(kind, name, status, namespace="shop", subresource="status") or made


def condition(kind: str, status: str, message: str = "") -> dict[str, str]:
    """A condition as the operator writes it."""
    return {"type": kind, "status": status, "message": message, "reason": "Said"}


def test_status_names_the_evidence_and_warns_where_there_is_none(cluster: Connected):
    """A column, and below the table what to do; a log that may yet come is no warning."""
    blind = (condition("Ready", "True"), condition("Sighted", "False", "nothing counts; state a ratio"))
    perhaps = (condition("Ready", "True"), condition("Sighted", "Unknown", "not heard yet"))
    for name, evidence, conditions in (("orders", "none", blind), ("stock", "access log", perhaps)):
        status = {"phase": "idle", "evidence": evidence, "message": "1 serves", "conditions": list(conditions)}
        put(cluster, GUARDS, name, spec={"service": name}, status=status)
    printed = run("status").output
    assert "EVIDENCE" in printed
    assert [line.split()[3:] for line in printed.splitlines() if line.startswith("shop ")] == [
        ["none", "True", "1", "serves"],
        ["access", "log", "True", "1", "serves"],
    ]
    assert "shop/orders: nothing counts; state a ratio" in printed
    assert "not heard yet" not in printed
    found = json.loads(run("status", "orders", "-o", "json").output)
    assert found[0]["evidence"] == "none"


def test_status_tells_which_gate_a_release_waits_for(cluster: Connected):
    """Of the latest release alone, while it is under way."""
    status = {"phase": "starting", "release": "orders-2", "conditions": []}
    put(cluster, GUARDS, "orders", spec={"service": "orders"}, status=status)
    gate = {"name": "smoke", "point": "before any user", "state": "running", "since": "2026-01-01T00:00:00Z"}
    for number, more in ((1, {}), (2, {"message": "no node takes its pod"})):
        spec = {"guard": "orders", "service": "orders", "candidate": {"id": "2"}, "stable": {"id": "1"}}
        gates = [{**gate, **more}, {**gate, "name": "late", "state": "to come"}]
        metadata = {"name": f"orders-{number}", "namespace": "shop", "labels": {"sternway.dev/guard": "orders"}}
        cluster.store.create(RELEASES, {"metadata": metadata, "spec": spec})
        said = {"status": {"phase": "starting", "gates": gates}}
        cluster.store.patch(RELEASES, f"orders-{number}", said, namespace="shop", subresource="status")
    said = "shop/orders: gate smoke (before any user) running since 2026-01-01T00:00:00Z: no node takes its pod"
    for arguments in (("status",), ("status", "orders")):
        told = [line for line in run(*arguments).output.splitlines() if "gate" in line]
        assert told == [said]
    over = {"status": {"endedAt": "2026-01-01T00:00:00Z"}}
    cluster.store.patch(RELEASES, "orders-2", over, namespace="shop", subresource="status")
    assert "gate" not in run("status").output
