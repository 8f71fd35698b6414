"""Gates as Jobs, on the fake and on a real API: made once, told how they ended, stopped when nobody waits for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cluster_world import WAIT_S, World
from platform_world import AheadOfTime, Mirror

from sternway.domain.gates import GateOutcome, GateRun
from sternway.domain.guards import Gate
from sternway.domain.mesh import MeshPolicy
from sternway.domain.versions import Service, Version, Workload
from sternway.errors import Refused
from sternway.kubernetes.api import Object, Resource, name_of
from sternway.kubernetes.client import Client
from sternway.kubernetes.errors import Denied
from sternway.kubernetes.resources import EVENTS, JOBS, PODS
from sternway.platforms.kubernetes.gates import KubernetesGates
from sternway.testing.kubernetes import FakeKubernetes, Fault

QUOTAS = Resource(group="", version="v1", plural="resourcequotas", kind="ResourceQuota")
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
        self.mirror.kinds = (JOBS, PODS)
        self.clock = AheadOfTime()
        self.gates = self.made()

    def made(self) -> KubernetesGates:
        """As a new process would have them."""
        return KubernetesGates(api=self.world.api, reader=self.mirror, clock=self.clock, owner=lambda _: None)

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

    async def pod(self, name: str, **status: object) -> None:
        """The kubelet, or the scheduler, says how the pod of a Job is."""
        await self.mirror.refresh()
        job = self.mirror.get(JOBS, name, self.world.namespace)
        assert job is not None
        if not isinstance(self.world.api, Client) and not self.mirror.owned(PODS, job["metadata"]["uid"]):
            owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"]}
            metadata = {"name": f"{name}-x", "namespace": self.world.namespace}
            made = {"metadata": {**metadata, "ownerReferences": [owner | {"controller": True}]}}
            await self.world.api.create(PODS, {**made, "spec": job["spec"]["template"]["spec"]})
        async with asyncio.timeout(WAIT_S):
            while not (pods := self._spoken_of(job)):
                await asyncio.sleep(0.1)
                await self.mirror.refresh()
        await self.world.api.patch(
            PODS, name_of(pods[0]), {"status": status}, namespace=self.world.namespace, subresource="status"
        )

    def _spoken_of(self, job: Object) -> list[Object]:
        """The pods of a Job; of a real API, once its own kubelet has said what it has to say, which it does once."""
        pods = self.mirror.owned(PODS, job["metadata"]["uid"])
        return [one for one in pods if not isinstance(self.world.api, Client) or (one.get("status") or {}).get("podIP")]

    async def later(self, seconds: float, *runs: GateRun) -> tuple[GateOutcome, ...]:
        """Time passes, and there is another pass."""
        self.clock.ahead_s += seconds
        await self.run(*runs)
        return await self.gates.outcomes(self.key)

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


def waiting(reason: str) -> dict[str, object]:
    """What the kubelet says of a container that does not start."""
    said = {"reason": reason, "message": "manifest unknown"}
    one = {"name": "smoke", "image": "registry/smoke:1", "imageID": "", "ready": False, "restartCount": 0}
    return {"phase": "Pending", "containerStatuses": [{**one, "state": {"waiting": said}}]}


async def test_an_image_that_cannot_be_pulled_is_told_at_once_and_fails_the_gate_soon(shop: Shop) -> None:
    """With the kubelet's words, after half a minute; while the pull is tried again that goes on counting."""
    run = shop.gate_run()
    await shop.run(run)
    await shop.pod("orders-17-smoke", **waiting("ErrImagePull"))
    assert await shop.later(0, run) == ()
    said = "the image registry/smoke:1 cannot be pulled (ErrImagePull): manifest unknown"
    assert shop.gates.standstills(shop.key) == {"smoke": said}
    await shop.pod("orders-17-smoke", **waiting("ImagePullBackOff"))
    assert await shop.later(20, run) == ()
    (outcome,) = await shop.later(11, run)
    assert not outcome.passed
    assert outcome.why == f"{said.replace('ErrImagePull', 'ImagePullBackOff')} (for 30 s)"
    await shop.run()
    assert await shop.jobs() == []
    assert shop.gates.standstills(shop.key) == {}


async def test_a_pod_that_starts_after_all_is_waited_for(shop: Shop) -> None:
    """A registry may be away for a moment."""
    run = shop.gate_run()
    await shop.run(run)
    await shop.pod("orders-17-smoke", **waiting("ImagePullBackOff"))
    await shop.later(0, run)
    await shop.pod("orders-17-smoke", phase="Running", containerStatuses=[])
    assert await shop.later(31, run) == ()
    assert shop.gates.standstills(shop.key) == {}


async def test_a_pod_that_no_node_takes_fails_the_gate_after_two_minutes(shop: Shop) -> None:
    """A new node takes a while; a gate with less time than that fails with the scheduler's words, not without any."""
    run, brief = shop.gate_run(timeout_s=600.0), shop.gate_run(name="brief", timeout_s=60.0)
    await shop.run(run, brief)
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: no memory"}
    for name in ("orders-17-smoke", "orders-17-brief"):
        await shop.pod(name, phase="Pending", conditions=[refused])
    assert await shop.later(0, run, brief) == ()
    said = "its pod cannot be scheduled: 0/3 nodes: no memory"
    assert shop.gates.standstills(shop.key) == {"smoke": said, "brief": said}
    (outcome,) = await shop.later(61, run, brief)
    assert (outcome.gate, outcome.why) == ("brief", f"{said} (for 60 s)")
    (outcome,) = await shop.later(60, run)
    assert (outcome.gate, outcome.why) == ("smoke", f"{said} (for 120 s)")


async def test_a_deadline_that_passes_says_what_the_pod_waited_for(shop: Shop) -> None:
    """The Job's own deadline may come first: nobody looks for a log that does not exist."""
    run = shop.gate_run()
    await shop.run(run)
    await shop.pod("orders-17-smoke", **waiting("CreateContainerConfigError"))
    await shop.later(0, run)
    await shop.end("orders-17-smoke", "Failed", "DeadlineExceeded", "too long")
    (outcome,) = await shop.gates.outcomes(shop.key)
    assert outcome.why == (
        "DeadlineExceeded: too long; container smoke cannot be started (CreateContainerConfigError): manifest unknown"
    )


async def test_a_pod_that_may_not_be_made_is_told_in_the_servers_words(shop: Shop) -> None:
    """The Job itself does not say so, its events do; one that says nothing may rest, and is not failed for it."""
    run = shop.gate_run(timeout_s=600.0)
    real = isinstance(shop.world.api, Client)
    if real:
        quota = {"metadata": {"name": "none", "namespace": shop.world.namespace}, "spec": {"hard": {"pods": "0"}}}
        await shop.world.api.create(QUOTAS, quota)
    await shop.run(run)
    assert await shop.later(200, run) == ()
    (job,) = await shop.jobs()
    if not real:
        metadata = {"name": "e1", "namespace": shop.world.namespace}
        about = {"name": "orders-17-smoke", "uid": job["metadata"]["uid"], "kind": "Job"}
        said = {"reason": "FailedCreate", "message": "pods are forbidden: exceeded quota: none"}
        await shop.world.api.create(EVENTS, {"metadata": metadata, "involvedObject": about, **said})
    async with asyncio.timeout(WAIT_S):
        while not shop.gates.standstills(shop.key):
            await shop.later(11, run)
            await asyncio.sleep(0.1)
    assert shop.gates.standstills(shop.key)["smoke"].startswith("its pod cannot be made: ")
    assert "exceeded quota: none" in shop.gates.standstills(shop.key)["smoke"]
    (outcome,) = await shop.later(121, run)
    assert "exceeded quota: none" in outcome.why


async def test_a_job_that_may_not_be_made_fails_the_gate_in_the_servers_words(shop: Shop) -> None:
    """A right or a quota is missing: it is tried on, and shown, for two minutes."""
    run = shop.gate_run(timeout_s=600.0)
    fake = shop.world.api
    if not isinstance(fake, FakeKubernetes):
        pytest.skip("whoever runs the tests may make Jobs")
    fake.faults.append(Fault(verb="create", resource=JOBS, error=lambda: Denied("may not create jobs"), times=None))
    for _ in range(2):
        with pytest.raises(Denied):
            await shop.later(0, run)
    assert shop.gates.standstills(shop.key) == {"smoke": "its Job may not be made: may not create jobs"}
    with pytest.raises(Denied):
        await shop.later(121, run)
    (outcome,) = await shop.gates.outcomes(shop.key)
    assert outcome.why == "its Job may not be made: may not create jobs (for 120 s)"
    fake.faults.clear()
    assert await shop.later(1, run) == ()
    assert len(await shop.jobs()) == 1


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
