"""What docs/kubernetes/access-log.md tells people to apply fits what is installed, and a real API server takes it."""

from __future__ import annotations

import asyncio
import os
import re
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from cluster_world import WAIT_S, World

from sternway.errors import SternwayError
from sternway.kubernetes.api import Object, Patch, Resource, name_of
from sternway.kubernetes.resources import CUSTOM_RESOURCE_DEFINITIONS
from sternway.operator.install import ACCESS_LOG, Installation, installation

PAGE = Path(__file__).parents[3] / "docs" / "kubernetes" / "access-log.md"
TELEMETRIES = Resource(group="telemetry.istio.io", version="v1", plural="telemetries", kind="Telemetry")
GRANTS = Resource(group="gateway.networking.k8s.io", version="v1beta1", plural="referencegrants", kind="ReferenceGrant")


def settings(kind: str) -> Object:
    """One of the page's objects."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    every = [one for block in blocks for one in yaml.safe_load_all(block)]
    return next(deepcopy(one) for one in every if one["kind"] == kind)


def test_both_meshes_are_led_to_the_port_that_is_installed() -> None:
    """Service, namespace and port are those that `sternway install` writes, and the network lets the proxies in."""
    made = {one["kind"]: one for one in installation(Installation())}
    service = made["Service"]["metadata"]
    (port,) = [one for one in made["Service"]["spec"]["ports"] if one["name"].startswith("grpc-")]
    (provider,) = settings("IstioOperator")["spec"]["meshConfig"]["extensionProviders"]
    told = provider["envoyHttpAls"]
    assert told["service"] == f"{service['name']}.{service['namespace']}.svc.cluster.local"
    assert told["port"] == port["port"] == ACCESS_LOG
    (sink,) = settings("EnvoyProxy")["spec"]["telemetry"]["accessLog"]["settings"][0]["sinks"]
    (ref,) = sink["als"]["backendRefs"]
    assert (ref["name"], ref["namespace"], ref["port"]) == (service["name"], service["namespace"], port["port"])
    (container,) = made["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert {"name": port["targetPort"], "containerPort": ACCESS_LOG, "protocol": "TCP"} in container["ports"]
    assert container["args"][container["args"].index("--access-log") + 1] == f"0.0.0.0:{ACCESS_LOG}"
    open_ports = [one["port"] for rule in made["NetworkPolicy"]["spec"]["ingress"] for one in rule["ports"]]
    assert ACCESS_LOG in open_ports


def test_what_is_named_in_one_place_is_there_in_the_other() -> None:
    """The Telemetry's provider, the grant's Service, the class's parameters."""
    (provider,) = settings("IstioOperator")["spec"]["meshConfig"]["extensionProviders"]
    assert settings("Telemetry")["spec"]["accessLogging"][0]["providers"] == [{"name": provider["name"]}]
    proxy, grant = settings("EnvoyProxy"), settings("ReferenceGrant")
    group = proxy["apiVersion"].partition("/")[0]
    named = {"group": group, "kind": "EnvoyProxy", "namespace": proxy["metadata"]["namespace"]}
    assert grant["spec"]["from"] == [named]
    assert settings("GatewayClass")["spec"]["parametersRef"] == {**named, "name": proxy["metadata"]["name"]}


@pytest.mark.kubernetes
@pytest.mark.parametrize("kind", [TELEMETRIES, GRANTS], ids=lambda one: one.kind)
async def test_a_real_api_server_takes_the_settings_and_keeps_every_field(real: World, kind: Resource) -> None:
    """By the published definitions: an unknown field would be dropped, a wrong value refused."""
    await _have(real, kind)
    wanted = settings(kind.kind)
    wanted["metadata"]["namespace"] = real.namespace
    made = await real.api.create(kind, wanted)
    assert made["spec"] == wanted["spec"]


async def _have(real: World, kind: Resource) -> None:
    """Have the API serve a kind; skip where it does not and no definition is at hand."""
    folder = os.environ.get("STERNWAY_TEST_CRDS")
    if not await real.api.serves(kind):
        if not folder:
            pytest.skip(f"the cluster does not serve {kind.plural} in {kind.api_version}")
        found = _definition(Path(folder), f"{kind.plural}.{kind.group}")
        await real.api.patch(CUSTOM_RESOURCE_DEFINITIONS, name_of(found), found, how=Patch.APPLY, force=True)
    async with asyncio.timeout(3 * WAIT_S):
        while not await _answers(real, kind):
            await asyncio.sleep(0.2)


async def _answers(real: World, kind: Resource) -> bool:
    try:
        await real.api.list(kind, namespace=real.namespace)
    except SternwayError:  # whatever it says while the group comes up
        return False
    return True


def _definition(folder: Path, name: str) -> Object:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    texts = (path.read_text() for path in sorted(folder.rglob("*.yaml")))
    every = (one for text in texts if f"name: {name}" in text for one in yaml.load_all(text, Loader=loader) if one)
    return next(one for one in every if name_of(one) == name)
