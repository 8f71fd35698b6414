"""Which version is reached where, when the user's Deployment was edited and its pods have not followed yet."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from sternway.kubernetes.api import Object
from sternway.kubernetes.template import workload_of
from sternway.platforms.kubernetes.plan import backends_of
from sternway.platforms.kubernetes.scene import Scene, Seat


def template(image: str) -> dict[str, Any]:
    """What pods are made from."""
    return {"metadata": {"labels": {"app": "orders"}}, "spec": {"containers": [{"name": "orders", "image": image}]}}


def scene(runs: str, says: str, replicas: int = 3) -> Scene:
    """No twin: the user's Deployment says one image, and its pods, if it has some, run another, unmarked."""
    sets: tuple[Object, ...] = (
        {"metadata": {"name": "rs", "uid": "rs"}, "spec": {"replicas": replicas, "template": template(runs)}},
    )
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "orders"}}, "template": template(says)}
    deployment = {"metadata": {"name": "orders", "namespace": "shop", "uid": "d"}, "spec": spec}
    service = {"metadata": {"name": "orders", "namespace": "shop"}, "spec": {"selector": {"app": "orders"}}}
    return Scene(
        key="orders.shop",
        namespace="shop",
        name="orders",
        deployment="orders",
        service=service,
        user=Seat(deployment=deepcopy(deployment), sets=sets),
        revisions={},
        config={},
        copies={},
        held=lambda _: None,
        pod="f00",
    )


@pytest.mark.parametrize(
    ("found", "reached"),
    [
        pytest.param(scene("orders:1", "orders:1"), True, id="its pods run what it says"),
        pytest.param(scene("orders:2", "orders:1"), False, id="its pods run what was taken back"),
        pytest.param(scene("orders:2", "orders:1", replicas=0), True, id="it has no pods yet"),
    ],
)
def test_nobody_is_led_to_pods_that_run_another_template(found: Scene, *, reached: bool) -> None:
    """A Deployment that is paused, or slow, keeps the pods of the version before: they are not what it says by now."""
    workload = workload_of(template("orders:1"), "f00", service="orders.shop", deployment="orders")
    backends = backends_of(found)
    assert backends is not None
    assert (backends.of(workload.id) is not None) is reached
