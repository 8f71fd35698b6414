"""Which pod of a DaemonSet goes next: what there is, what is wanted and where requests are led, and the pods that are deleted."""

from __future__ import annotations

import pytest

from sternway.domain.platform import WorkloadRun
from sternway.domain.versions import Workload
from sternway.kubernetes.api import Object
from sternway.kubernetes.resources import DAEMON_SETS
from sternway.platforms.kubernetes.batches import HASH, Batch
from sternway.platforms.kubernetes.replacing import Led, replacing_of
from sternway.platforms.kubernetes.scene import Scene, Seat
from sternway.platforms.kubernetes.writes import Remove

OLD, NEW, THIRD = "old", "new", "third"
AT_REST = ("orders-stable",)
SHARED = ("orders-stable", "orders-candidate")


def _template(revision: str) -> Object:
    return {"spec": {"containers": [{"name": "orders", "image": revision}]}}


def _pod(name: str, mark: str) -> Object:
    """+ ready, - not ready, ~ going."""
    going = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if mark == "~" else {}
    ready = {"type": "Ready", "status": "False" if mark == "-" else "True"}
    return {"metadata": {"name": name, "namespace": "shop", "uid": name, **going}, "status": {"conditions": [ready]}}


def _batch(revision: str, marks: str) -> Batch:
    pods = [(mark, _pod(f"{revision}{mark}{number}", mark)) for number, mark in enumerate(marks)]
    return Batch(
        hash=revision,
        template=_template(revision),
        version=revision,
        pods=tuple(pod for mark, pod in pods if mark != "~"),
        leaving=tuple(pod for mark, pod in pods if mark == "~"),
    )


def _service(revision: str) -> Object:
    return {"metadata": {"name": "orders", "namespace": "shop"}, "spec": {"selector": {HASH: revision}}}


def _scene(there: dict[str, str], newest: str, nodes: int) -> Scene:
    user: Object = {
        "kind": "DaemonSet",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
        "spec": {"template": _template(newest), "updateStrategy": {"type": "OnDelete"}},
        "status": {"desiredNumberScheduled": nodes},
    }
    return Scene(
        key="orders.shop",
        namespace="shop",
        name="orders",
        deployment="orders",
        kind=DAEMON_SETS,
        batches=tuple(_batch(revision, marks) for revision, marks in there.items()),
        service=_service(OLD),
        user=Seat(deployment=user),
        stable_service=_service(OLD),
        candidate_service=_service(NEW),
        revisions={},
        config={},
        copies={},
        held=lambda _: None,
        pod=newest,
    )


@pytest.mark.parametrize(
    ("there", "newest", "wanted", "led", "deleted"),
    [
        pytest.param({OLD: "+++", NEW: ""}, NEW, {OLD: 2, NEW: 1}, AT_REST, "+", id="a release takes one"),
        pytest.param(
            {OLD: "-++", NEW: ""}, NEW, {OLD: 2, NEW: 1}, AT_REST, "+", id="of those on whose nodes all is well"
        ),
        pytest.param({OLD: "++", NEW: "+"}, NEW, {OLD: 2, NEW: 1}, SHARED, "", id="and no more than its share needs"),
        pytest.param({OLD: "+++", NEW: "+"}, NEW, {OLD: 2, NEW: 1}, SHARED, "", id="though a node has joined"),
        pytest.param({OLD: "++", NEW: "-"}, NEW, {OLD: 1, NEW: 2}, SHARED, "", id="the next when that one is ready"),
        pytest.param({OLD: "++", NEW: "~"}, NEW, {OLD: 1, NEW: 2}, SHARED, "", id="not while one is going"),
        pytest.param({OLD: "++", NEW: ""}, NEW, {OLD: 1, NEW: 2}, SHARED, "", id="not while one has not come back"),
        pytest.param({OLD: "+", NEW: "++"}, NEW, {NEW: 3}, SHARED, "", id="not the last that users reach"),
        pytest.param({OLD: "++", NEW: "+"}, NEW, {OLD: 3}, AT_REST, "", id="none that would come back as what it is"),
        pytest.param({OLD: "+", NEW: "++"}, OLD, {OLD: 3}, AT_REST, "+", id="one by one once the template is restored"),
        pytest.param({OLD: "-", NEW: "++"}, OLD, {OLD: 3}, AT_REST, "+", id="though a pod of stable is down"),
        pytest.param({OLD: "-", NEW: "++"}, OLD, {OLD: 3}, SHARED, "", id="not while users are still led there"),
        pytest.param(
            {OLD: "+", NEW: "-+~"}, OLD, {OLD: 3}, AT_REST, "-", id="first what is not ready, whatever is going"
        ),
        pytest.param({OLD: "+", NEW: "--"}, OLD, {OLD: 3}, SHARED, "--", id="all of that at once"),
        pytest.param(
            {OLD: "+", NEW: "--", THIRD: ""}, THIRD, {OLD: 1, THIRD: 1}, AT_REST, "-", id="as many as are wanted"
        ),
    ],
)
def test_the_next_pod(
    there: dict[str, str], newest: str, wanted: dict[str, int], led: tuple[str, ...], deleted: str
) -> None:
    """In marks of the pods that go; of one version, never of the one that is wanted more of."""
    found = _next(there, newest, wanted, led)
    assert "".join(name.strip("oldnewthir0123456789") for name in found) == deleted
    assert not any(name.startswith(newest) for name in found)


def test_what_nothing_leads_to_is_taken_before_what_users_reach() -> None:
    """A version that another one has replaced in the middle makes room for it."""
    assert _next({OLD: "++", NEW: "+", THIRD: ""}, THIRD, {OLD: 1, THIRD: 1}, AT_REST) == ["new+0"]


def _next(there: dict[str, str], newest: str, wanted: dict[str, int], led: tuple[str, ...]) -> list[str]:
    nodes = max(3, sum(len(marks) for marks in there.values()))
    scene = _scene(there, newest, nodes)
    runs = [WorkloadRun(workload=Workload(image=one, pod=one), replicas=count) for one, count in wanted.items()]
    writes = replacing_of(scene).moved(scene, runs, Led(scene, led, quiet=True))
    return [write.name for write in writes if isinstance(write, Remove)]
