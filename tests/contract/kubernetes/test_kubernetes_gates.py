"""Gates as Jobs, on the fake and on a real API: made once, told how they ended, stopped when nobody waits for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cluster_world import World
from platform_world import Mirror

from sternway.clock import SystemClock
from sternway.domain.gates import GateRun
from sternway.domain.guards import Gate
from sternway.domain.mesh import MeshPolicy
from sternway.domain.versions import Service, Version, Workload
from sternway.errors import Refused
from sternway.kubernetes.api import Object, name_of
from sternway.kubernetes.client import Client
from sternway.kubernetes.resources import JOBS
from sternway.platforms.kubernetes.gates import KubernetesGates

TEMPLATE = {
    "metadata": {"labels": {"app": "smoke"}},
    "spec": {"containers": [{"name": "smoke", "image": "registry/smoke:1", "env": [{"name": "A", "value": "b"}]}]},
}


class Shop:
    """The gates of the service `orders`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.key = f"orders.{world.namespace}"
        self.mirror = Mirror(world)
        self.mirror.kinds = (JOBS,)
        self.gates = self.made()

    def made(self) -> KubernetesGates:
        """As a new process would have them."""
        return KubernetesGates(api=self.world.api, reader=self.mirror, clock=SystemClock(), owner=lambda _: None)

    def gate_run(self, number: int = 17, tag: str = "2", **changes: object) -> GateRun:
        """The gate `smoke` of a release."""
        stated = Gate(name="smoke", job=json.dumps(TEMPLATE), timeout_s=90.5)
        versions = [
            Version(service=self.key, workload=Workload(image=f"orders:{one}"), policy=MeshPolicy(), commit=one)
            for one in (tag, "1")
        ]
        return GateRun(
            release=f"{self.key}-{number}",
            gate=replace(stated, **changes),  # type: ignore[arg-type]
            candidate=versions[0],
            stable=versions[1],
            service=Service(name=self.key, port=80, namespace=self.world.namespace),
        )

    async def run(self, *runs: GateRun) -> None:
        """A pass, as the store sees the cluster after it."""
        await self.mirror.refresh()
        await self.gates.run(self.key, runs)
        await self.gates.converge(self.key)
        await self.mirror.refresh()

    async def jobs(self) -> list[Object]:
        """Those that are not being deleted."""
        listed = await self.world.api.list(JOBS, namespace=self.world.namespace)
        return [one for one in listed.items if not one["metadata"].get("deletionTimestamp")]

    async def end(self, name: str, kind: str, reason: str = "", message: str = "") -> None:
        """The Job controller says how a Job ended."""
        if isinstance(self.world.api, Client):  # a real API's own controller writes once, over whatever stands there
            await self.world.until(JOBS, name, lambda job: bool(((job or {}).get("status") or {}).get("active")))
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # of long ago, it may be cleared away at once
        before = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[kind]
        said = {"status": "True", "reason": reason, "message": message, "lastTransitionTime": at, "lastProbeTime": at}
        ended: Object = {"startTime": at, "conditions": [{"type": one, **said} for one in (before, kind)]}
        ended |= {"completionTime": at, "succeeded": 1} if kind == "Complete" else {}
        namespace = self.world.namespace
        stands = 0
        while stands < (
            5 if isinstance(self.world.api, Client) else 1
        ):  # until its controller has seen it, and lets it be
            if not stands:
                await self.world.api.patch(JOBS, name, {"status": ended}, namespace=namespace, subresource="status")
            found = await self.world.api.get(JOBS, name, namespace)
            said_now = ((found or {}).get("status") or {}).get("conditions") or ()
            stands = stands + 1 if any(one["type"] == kind for one in said_now) else 0
            await asyncio.sleep(0.1)
        await self.mirror.refresh()


@pytest.fixture
async def shop(world: World) -> AsyncIterator[Shop]:
    """Give a service's gates."""
    found = Shop(world)
    yield found
    await found.gates.close()


async def test_a_gate_is_a_job_that_knows_the_release(shop: Shop) -> None:
    """It is made once, with a deadline, tried once, and with all of the release in its environment."""
    await shop.run(shop.gate_run())
    await shop.run(shop.gate_run())
    await shop.gates.close()
    shop.gates = shop.made()
    await shop.run(shop.gate_run())
    (job,) = await shop.jobs()
    assert name_of(job) == "orders-17-smoke"
    spec = job["spec"]
    assert (spec["activeDeadlineSeconds"], spec["backoffLimit"]) == (91, 0)
    assert spec.get("ttlSecondsAfterFinished", 86_400) == 86_400  # before Kubernetes 1.23 it is left out
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["template"]["metadata"]["labels"]["app"] == "smoke"
    (container,) = spec["template"]["spec"]["containers"]
    assert {one["name"]: one["value"] for one in container["env"]} == {
        "A": "b",
        "STERNWAY_SERVICE": "orders",
        "STERNWAY_NAMESPACE": shop.world.namespace,
        "STERNWAY_RELEASE": f"{shop.key}-17",
        "STERNWAY_VERSION": shop.gate_run().candidate.id,
        "STERNWAY_IMAGE": "orders:2",
        "STERNWAY_STABLE": shop.gate_run().stable.id,
        "STERNWAY_URL": f"http://orders-candidate.{shop.world.namespace}:80",
    }
    assert await shop.gates.outcomes(shop.key) == ()


async def test_how_a_job_ended_is_how_the_gate_ended(shop: Shop) -> None:
    """A success; a failure with the Job's own words and the way to its log."""
    await shop.run(shop.gate_run(), shop.gate_run(name="load"))
    await shop.end("orders-17-smoke", "Complete")
    await shop.end("orders-17-load", "Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    found = {one.gate: one for one in await shop.gates.outcomes(shop.key)}
    assert found["smoke"].passed
    assert not found["load"].passed
    assert found["load"].why == (
        "DeadlineExceeded: Job was active longer than specified deadline; "
        f"`kubectl logs -n {shop.world.namespace} job/orders-17-load` shows why"
    )


async def test_a_job_that_nobody_waits_for_is_stopped(shop: Shop) -> None:
    """One that ended is kept for its log."""
    await shop.run(shop.gate_run(), shop.gate_run(name="load"))
    await shop.end("orders-17-smoke", "Complete")
    await shop.run()
    assert [name_of(one) for one in await shop.jobs()] == ["orders-17-smoke"]


async def test_the_answer_to_another_release_is_none(shop: Shop) -> None:
    """A journal that was lost counts from one again: a Job of that name that was made for another version is made anew."""
    await shop.run(shop.gate_run(1, "2"))
    await shop.end("orders-1-smoke", "Complete")
    await shop.gates.close()
    shop.gates = shop.made()
    await shop.run(shop.gate_run(1, "3"))
    assert await shop.gates.outcomes(shop.key) == ()
    await shop.world.until(JOBS, "orders-1-smoke", lambda job: job is None)
    await shop.run(shop.gate_run(1, "3"))
    (job,) = await shop.jobs()
    assert "orders:3" in str(job["spec"]["template"])


async def test_what_the_cluster_does_not_take_is_a_failure_with_its_words(shop: Shop) -> None:
    """Waiting would not mend it."""
    template = {"spec": {**TEMPLATE["spec"], "restartPolicy": "Always"}}
    if shop.world.namespace == "ours":
        pytest.skip("the fake API takes any pod template")
    await shop.run(shop.gate_run(job=json.dumps(template)))
    (outcome,) = await shop.gates.outcomes(shop.key)
    assert not outcome.passed
    assert "the cluster does not take its Job" in outcome.why
    assert "restartPolicy" in outcome.why


async def test_a_job_of_somebody_else_is_left_alone(shop: Shop) -> None:
    """Its name is needed: a person has to say what shall be."""
    stranger = {"metadata": {"name": "orders-17-smoke", "namespace": shop.world.namespace}}
    template = {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
    await shop.world.api.create(JOBS, {**stranger, "spec": {"template": template}})
    with pytest.raises(Refused, match=r"Job orders-17-smoke in namespace .* is not Sternway's"):
        await shop.run(shop.gate_run())
    await shop.run()
    assert len(await shop.jobs()) == 1
