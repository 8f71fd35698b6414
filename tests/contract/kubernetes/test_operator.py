"""The whole story in a cluster: adoption, a good release, a bad one, a person's word, a restart, and the way out."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cluster_world import World
from operator_world import Cluster, Patient, cluster

from sternway.control.dora import report as make_report
from sternway.domain.releases import Verb
from sternway.errors import Refused
from sternway.kubernetes.api import Object
from sternway.kubernetes.errors import Denied
from sternway.kubernetes.resources import DEPLOYMENTS, EVENTS, GUARDS, JOBS, PODS, SERVICES
from sternway.operator.accounts import accounts
from sternway.operator.people import command, false_alarm
from sternway.testing.kubernetes import FakeKubernetes, Fault
from sternway.traffic.kubernetes.istio import VIRTUAL_SERVICES


@pytest.fixture
async def shop(world: World, tmp_path: Path) -> AsyncIterator[tuple[Cluster, str]]:
    """Give a cluster with the service, and its Prometheus."""
    async with cluster(world, tmp_path / "state") as found:
        yield found


@pytest.fixture
async def patient(world: World, tmp_path: Path) -> AsyncIterator[tuple[Cluster, str]]:
    """Give one whose release stays exposed until somebody or something ends it."""
    async with cluster(world, tmp_path / "state", Patient) as found:
        yield found


async def test_a_bad_release_is_taken_back(shop: tuple[Cluster, str]) -> None:
    """`kubectl set image` of a version that fails: traffic back at the twin, the Deployment as it was, all of it told."""
    here, address = shop
    async with here.operated(address):
        status = await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")
        assert status["stable"]["image"] == "registry/orders:1"
        here.users.bad["orders"] = 0.5
        await here.image("orders:2")
        await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-1")
        await here.settled("orders:1")
        assert here.shares()["orders-stable"] == 1.0
        assert await here.image_of("orders-stable") == "orders:1"
        assert (await here.deployment())["spec"]["replicas"] == 0
        (release, *_) = await here.releases()
        assert release["status"]["phase"] == "rolled-back"
        assert release["status"]["hurt"] > 0
        assert release["spec"]["candidate"]["image"] == "registry/orders:2"
        report = await _read(here, "report", "--output", "json")
        assert (report["total"]["rolled_back"], report["total"]["failure_rate_percent"]) == (1, 100.0)
        assert report["total"]["restore_s"] > 0
        told = accounts(await here.releases())
        shared = make_report(told.releases, from_s=report["from_s"], to_s=report["to_s"]).total
        assert shared is not None
        assert (told.left_out, told.gone) == ((), ())
        of_both = [
            (name, pytest.approx(value, abs=0.001)) for name, value in report["total"].items() if name != "service"
        ]
        assert [(name, getattr(shared, name)) for name, _ in of_both] == of_both
        reply = await false_alarm(here.world.api, here.world.namespace, "orders-1", by="ada", patience_s=60)
        assert reply.accepted, reply.message
        await here.until_release("orders-1", lambda said: said.get("falseAlarm") is True)
        (wrong,) = accounts(await here.releases()).releases
        assert wrong.false_alarm
        story = await _read(here, "release", "show", f"{here.key}-1", "--output", "json")
        assert story["release"]["hurt"] == release["status"]["hurt"]


async def _read(here: Cluster, *arguments: str) -> Any:
    """What a command finds in the journal of the operator, which goes on writing it; as by `kubectl exec`."""
    command = [sys.executable, "-m", "sternway.cli", "-C", str(here.state), *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(out)


async def test_a_good_release_is_promoted_into_the_twin(shop: tuple[Cluster, str]) -> None:
    """A version without harm carries all traffic, then the twin runs it, and the user's Deployment rests."""
    here, address = shop
    async with here.operated(address):
        await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")
        await here.image("orders:2")
        await here.until(lambda s: (s.get("stable") or {}).get("image") == "registry/orders:2" and s["phase"] == "idle")
        await here.settled("orders:2")
        await here.until(lambda s: s["conditions"][0]["status"] == "True")
        assert await here.image_of("orders-stable") == "orders:2"
        assert here.shares()["orders-stable"] == 1.0
        (release, *_) = await here.releases()
        assert release["status"]["phase"] == "promoted"


async def test_a_person_takes_a_release_back_and_a_restart_forgets_nothing(patient: tuple[Cluster, str]) -> None:
    """The word on the Guard is obeyed and answered; a new process finds the version held."""
    here, address = patient
    async with here.operated(address):
        await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")
        await here.image("orders:2")
        await here.until(lambda s: s.get("phase") == "exposed")
        reply = await command(
            here.world.api, here.world.namespace, "orders", Verb.ROLLBACK, by="ada", reason="no", patience_s=60
        )
        assert reply.accepted, reply.message
        await here.until(lambda s: s["phase"] == "idle")
        again = await command(here.world.api, here.world.namespace, "orders", Verb.PAUSE, by="ada", patience_s=60)
        assert not again.accepted
        with pytest.raises(Refused, match="no Guard in namespace"):
            await command(here.world.api, here.world.namespace, "order", Verb.PAUSE, by="ada")
        assert here.shares()["orders-stable"] == 1.0
    await here.image("orders:2")
    async with here.operated(address):
        status = await here.until(lambda s: s["conditions"][2]["reason"] == "RolledBack")
        assert status["phase"] == "idle"
        assert await here.image_of("orders-stable") == "orders:1"
        assert len(await here.releases()) == 1


async def test_when_the_guard_goes_everything_is_as_it_was(shop: tuple[Cluster, str]) -> None:
    """The user's pods serve again, by the user's own Service; nothing of ours is left."""
    here, address = shop
    async with here.operated(address):
        await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")
        await here.world.api.delete(GUARDS, "orders", here.world.namespace)
        async with asyncio.timeout(60):
            while await here.world.api.get(GUARDS, "orders", here.world.namespace) is not None:
                await asyncio.sleep(0.1)
        service = await here.world.api.get(SERVICES, "orders", here.world.namespace)
        assert service is not None
        assert service["spec"]["selector"] == {"app": "orders"}
        assert (await here.deployment())["spec"]["replicas"] == 3
        names = {
            one["metadata"]["name"]
            for one in (await here.world.api.list(SERVICES, namespace=here.world.namespace)).items
        }
        assert not {"orders-stable", "orders-candidate"} & names
        assert not (await here.world.api.list(VIRTUAL_SERVICES, namespace=here.world.namespace)).items


async def test_a_rollback_is_kept_up_by_nothing_on_the_guard(tmp_path: Path) -> None:
    """Nobody may patch Guards any more: nothing is shown, no command is answered, and the traffic goes back all the same."""
    world = World(api=FakeKubernetes(namespaces=("ours",)), namespace="ours")
    async with cluster(world, tmp_path / "state", Patient) as (here, address), here.operated(address):
        await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")
        fake = here.world.api
        assert isinstance(fake, FakeKubernetes)
        await here.image("orders:2")
        await here.until(lambda s: s.get("phase") == "exposed")
        fake.store.patch(GUARDS, "orders", {"metadata": {"finalizers": None}}, namespace="ours", manager="somebody")
        fake.faults.append(
            Fault(verb="patch", resource=GUARDS, error=lambda: Denied("may not patch guards"), times=10**9)
        )
        here.users.bad["orders"] = 0.5
        async with asyncio.timeout(60):
            while here.shares()["orders-stable"] < 1.0 or await here.image_of() != "orders:1":
                await asyncio.sleep(0.1)
        fake.faults.clear()


async def test_a_status_that_somebody_else_wrote_is_put_right(tmp_path: Path) -> None:
    """Nothing is decided by it, and people are told the truth again."""
    world = World(api=FakeKubernetes(namespaces=("ours",)), namespace="ours")
    async with cluster(world, tmp_path / "state") as (here, address), here.operated(address):
        await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")
        fake = here.world.api
        assert isinstance(fake, FakeKubernetes)
        for phase in ("exposed", "baking"):
            fake.store.patch(
                GUARDS,
                "orders",
                {"status": {"phase": phase}},
                namespace="ours",
                subresource="status",
                manager="somebody",
            )
            await here.until(lambda s: s["phase"] == "idle")


async def test_a_change_of_a_service_of_ours_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is about the service that it was made for, and not about one of its own name."""
    world = World(api=FakeKubernetes(namespaces=("ours",)), namespace="ours")
    async with cluster(world, tmp_path / "state") as (here, address), here.operated(address) as sternway:
        await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")
        woken: list[str] = []
        monkeypatch.setattr(sternway.queue, "wake", woken.append)
        noted = {"metadata": {"annotations": {"example.org/note": "by somebody"}}}
        await here.world.api.patch(SERVICES, "orders-stable", noted, namespace="ours", manager="somebody")
        async with asyncio.timeout(30):
            while not woken:
                await asyncio.sleep(0.05)
        assert set(woken) == {here.key}


async def test_a_guard_says_which_mesh_shares_its_traffic_out(tmp_path: Path) -> None:
    """Its word counts for more than the operator's; a mesh that is not here is a problem, and changes nothing."""
    world = World(api=FakeKubernetes(namespaces=("ours",)), namespace="ours")
    async with cluster(world, tmp_path / "state") as (here, address), here.operated(address):
        await here.until(lambda s: s.get("mesh") == "istio")
        for said, mesh in (("service", "service"), ("contour", "istio")):
            await here.world.api.patch(GUARDS, "orders", {"spec": {"mesh": said}}, namespace="ours", manager="kubectl")
            status = await here.until(lambda s, mesh=mesh: s.get("mesh") == mesh)  # type: ignore[misc]
        message = status["conditions"][0]["message"]
        assert "this cluster has no mesh contour (there is: ingress-nginx, istio, service)" in message


async def test_an_edit_during_the_adoption_is_the_first_release(tmp_path: Path) -> None:
    """It waits for the twin, which runs what served when the Guard appeared; then it is judged, and taken back as any other."""
    world = World(api=FakeKubernetes(namespaces=("ours",)), namespace="ours")
    async with cluster(world, tmp_path / "state") as (here, address):
        fake = here.world.api
        assert isinstance(fake, FakeKubernetes)
        await here.world.until(DEPLOYMENTS, "orders", lambda one: bool(one and _ready(one) == 3))
        here.still = True
        async with here.operated(address):
            await here.world.until(DEPLOYMENTS, "orders", lambda one: bool(one and one["spec"].get("paused")))
            here.users.bad["orders"] = 0.5
            await here.image("orders:2")
            await here.until(lambda s: "a change now waits until it is" in s["conditions"][0]["message"])
            here.still = False
            await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-1")
            await here.settled("orders:1")
            (release,) = await here.releases()
            assert release["status"]["phase"] == "rolled-back"
            spec = release["spec"]
            assert (spec["stable"]["image"], spec["candidate"]["image"]) == ("registry/orders:1", "registry/orders:2")
            assert _begun(fake, "orders:2") > _led_away(fake)


def _ready(deployment: Object) -> int:
    return int((deployment.get("status") or {}).get("readyReplicas") or 0)


def _begun(fake: FakeKubernetes, image: str) -> int:
    """When the first pod with an image was made, by the numbers that the API gives changes."""
    pods = [entry.object for entry in fake.store.history[PODS.group, PODS.plural]]
    found = [pod for pod in pods if pod["spec"]["containers"][0]["image"].endswith(image)]
    return min(int(pod["metadata"]["resourceVersion"]) for pod in found)


def _led_away(fake: FakeKubernetes) -> int:
    """When the user's own Service was pointed at the twin."""
    services = [entry.object for entry in fake.store.history[SERVICES.group, SERVICES.plural]]
    found = [one for one in services if one["metadata"]["name"] == "orders" and "app" not in one["spec"]["selector"]]
    return min(int(one["metadata"]["resourceVersion"]) for one in found)


async def test_a_guard_that_nothing_counts_for_says_what_to_do(tmp_path: Path) -> None:
    """No log, no metric, a mesh that counts nothing: a condition and Events, at rest and again for a release, which waits."""
    world = World(api=FakeKubernetes(namespaces=("ours",)), namespace="ours")
    async with cluster(world, tmp_path / "state") as (here, address), here.operated(address):
        spec = {"mesh": "service", "metrics": None}
        await here.world.api.patch(GUARDS, "orders", {"spec": spec}, namespace="ours", manager="kubectl")
        status = await here.until(lambda s: s.get("evidence") == "none" and s["conditions"][0]["status"] == "True")
        sighted = status["conditions"][3]
        assert (sighted["type"], sighted["status"], sighted["reason"]) == ("Sighted", "False", "NothingCounts")
        await here.image("orders:2")
        await here.until(lambda s: "100 of them are waited for" in s["message"])
        (release, *_) = await here.releases()
        assert "it stays here until a person promotes it" in release["status"]["message"]
        events = (await here.world.api.list(EVENTS, namespace="ours")).items
        told = [one["message"] for one in events if one["reason"] == "NothingCounts"]
        assert told == [sighted["message"]] * 2
        assert {one["type"] for one in events if one["reason"] == "NothingCounts"} == {"Warning"}


async def test_a_gate_takes_a_release_back_before_anybody_has_met_it(shop: tuple[Cluster, str]) -> None:
    """The Job runs while the candidate has no traffic; its failure is the release's end, and everything is as it was."""
    here, address = shop
    template = {"spec": {"containers": [{"name": "smoke", "image": "registry/smoke:1"}]}}
    gates = [{"name": "smoke", "job": {"template": template}}]
    async with here.operated(address):
        await here.until(lambda s: "stable" in s and s["conditions"][0]["status"] == "True")
        await here.world.api.patch(GUARDS, "orders", {"spec": {"gates": gates}}, namespace=here.world.namespace)
        await here.image("orders:2")
        await here.until(lambda s: "waiting for gate smoke" in s.get("message", ""))
        job = await here.world.until(JOBS, "orders-1-smoke", lambda job: job is not None)
        assert job is not None
        assert job["metadata"]["ownerReferences"][0]["name"] == "orders"
        assert here.shares()["orders-stable"] == 1.0
        (running,) = (await here.releases())[0]["status"]["gates"]
        assert (running["name"], running["point"], running["state"]) == ("smoke", "before any user", "running")
        assert running["since"]
        await _fail(here, job)
        await here.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-1")
        await here.settled("orders:1")
        (release, *_) = await here.releases()
        assert release["status"]["phase"] == "rolled-back"
        assert "gate smoke failed: BackoffLimitExceeded" in release["status"]["message"]
        (ended,) = release["status"]["gates"]
        assert ended["state"] == "failed"
        assert "BackoffLimitExceeded" in ended["message"]
        assert ended["since"] >= running["since"]


async def _fail(here: Cluster, job: Object) -> None:
    """The Job controller gives up."""
    at = "2026-01-01T00:00:00Z"
    said = {"status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": at, "lastProbeTime": at}
    conditions = [{"type": one, **said} for one in ("FailureTarget", "Failed")]
    status = {"status": {"startTime": at, "conditions": conditions}}
    await here.world.api.patch(
        JOBS, job["metadata"]["name"], status, namespace=here.world.namespace, subresource="status"
    )
