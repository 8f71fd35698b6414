"""A real Envoy, programmed as a mesh's control plane would from the routes of a namespace, and its counters for Prometheus.

As in a real cluster, the proxy learns of a change later than the API server; changes that come close together arrive in one
push, in which endpoints go before routes. Between the two a route may lead to pods that are gone from the endpoints.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from mesh_translation import Config, Json, Seen
from pod_processes import Kubelet, is_ready

from free_ports import free_port
from sternway.kubernetes.api import Api, Object, Resource
from sternway.kubernetes.resources import PODS, SERVICES
from sternway.traffic.envoy.ads import AdsServer
from sternway.traffic.envoy.messages import Kind, message, routes, virtual_host
from sternway.traffic.envoy.process import EnvoyProcess

QUIET_S = 0.1
"""A push waits until nothing has changed for so long: istiod's PILOT_DEBOUNCE_AFTER."""
BETWEEN_S = 0.1
"""From the endpoints of a push to its routes."""
_TYPE = "type.googleapis.com/envoy.extensions.filters"
_ADS = {"ads": {}, "resource_api_version": "V3"}
_LOG = "accesslog"
_CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"


@dataclass
class DataPlane:
    """See the module. translate: of `mesh_translation`. kind, policies: of the routes, and of what is said beside them.

    log_to: the port at which somebody hears the access log; 0 for none.
    """

    api: Api
    namespace: str
    kubelet: Kubelet
    translate: Callable[[Seen], Config]
    kind: Resource
    policies: Resource | None
    folder: Path
    log_to: int = 0
    port: int = 0
    told: Config = field(default_factory=Config)
    pushes: int = 0

    @property
    def address(self) -> str:
        """Where users call."""
        return f"127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Envoy runs."""
        self.port = free_port()
        self.envoy = EnvoyProcess(state_dir=self.folder / "envoy", run_dir=self.folder / "run")
        self.envoy.prepare()
        self.ads = AdsServer(self.envoy.control)
        await self.ads.start()
        await self.envoy.start()
        try:
            if self.log_to:
                await self._put(Kind.CLUSTER, {_LOG: message(Kind.CLUSTER, _log_cluster(self.log_to))}, wait=False)
            listener = _listener(self.port, [_access_log()] if self.log_to else [])
            await self._put(Kind.LISTENER, {"users": message(Kind.LISTENER, listener)}, wait=False)
            yield
        finally:
            await self.envoy.close(stop=True)
            await self.ads.stop()

    async def run(self) -> None:
        """Follow the objects until cancelled."""
        while True:
            wanted = await self._look()
            if wanted != self.told:
                await asyncio.sleep(QUIET_S)
                while wanted != (later := await self._look()):
                    wanted = later
                    await asyncio.sleep(QUIET_S)
                await self._push(wanted)
            await asyncio.sleep(0.05)

    async def is_told(self) -> bool:
        """Whether Envoy has all that the objects say."""
        return await self._look() == self.told

    async def _look(self) -> Config:
        seen = Seen(
            namespace=self.namespace,
            services=await self._list(SERVICES),
            pods=[
                one for one in await self._list(PODS) if is_ready(one) and "deletionTimestamp" not in one["metadata"]
            ],
            places=self.kubelet.place,
            routes=await self._list(self.kind),
            policies=await self._list(self.policies) if self.policies else (),
        )
        return self.translate(seen)

    async def _list(self, kind: Resource) -> list[Object]:
        return list((await self.api.list(kind, namespace=self.namespace)).items)

    async def _push(self, wanted: Config) -> None:
        for name, conditions in wanted.conditions.items():
            if conditions != self.told.conditions.get(name):
                await self._say(name, conditions)
        gone = dict.fromkeys(self.told.clusters.keys() - wanted.clusters.keys())
        ends = {name: message(Kind.ENDPOINTS, one) for name, one in wanted.endpoints.items()}
        clusters = {name: message(Kind.CLUSTER, one) for name, one in wanted.clusters.items()}
        await self._put(Kind.ENDPOINTS, {**ends, **dict.fromkeys(gone, None)}, wait=False)
        await self._put(Kind.CLUSTER, clusters)
        await asyncio.sleep(BETWEEN_S)
        hosts = [virtual_host(name, domains, rules) for name, (domains, rules) in sorted(wanted.hosts.items())]
        await self._put(Kind.ROUTES, {"routes": routes("routes", hosts)})
        await self._put(Kind.CLUSTER, gone)
        self.told = wanted
        self.pushes += 1

    async def _put(self, kind: Kind, found: dict[str, Any], *, wait: bool = True) -> None:
        ticket = self.ads.put(kind, found)
        if wait:
            await self.ads.settled(ticket, asyncio.get_running_loop().time() + 30)

    async def _say(self, name: str, conditions: list[Json]) -> None:
        """Write a route's status, as Envoy Gateway does when it has translated it: before any proxy has it."""
        route = await self.api.get(self.kind, name, self.namespace)
        if route is None:
            return
        at = "2026-01-01T00:00:00Z"
        full = [{"message": "", **one, "lastTransitionTime": at} for one in conditions]
        parents = [
            {"parentRef": ref, "controllerName": _CONTROLLER, "conditions": full} for ref in route["spec"]["parentRefs"]
        ]
        await self.api.patch(
            self.kind, name, {"status": {"parents": parents}}, namespace=self.namespace, subresource="status"
        )


def _log_cluster(port: int) -> Json:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    http2 = {"@type": f"type.googleapis.com/{options}", "explicit_http_config": {"http2_protocol_options": {}}}
    place = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        "name": _LOG,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {options: http2},
        "load_assignment": {
            "cluster_name": _LOG,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": place}}]}],
        },
    }


def _access_log() -> Json:
    config = {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        "common_config": {
            "log_name": "users",
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": _LOG}},
            "buffer_flush_interval": "0.1s",
        },
    }
    return {"name": "envoy.access_loggers.http_grpc", "typed_config": config}


def _listener(port: int, access_log: list[Json]) -> Json:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPE}.http.router.v3.Router"},
    }
    manager = {
        "@type": f"{_TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "users",
        "rds": {"route_config_name": "routes", "config_source": _ADS},
        "http_filters": [router],
        "access_log": access_log,
    }
    return {
        "name": "users",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


class IstioCounters:
    """Serves Envoy's own counters under Istio's names: what grew in a cluster is of the Deployment behind it.

    In a mesh the proxies of the pods that are called count; here the proxy of the callers does, which is the only one.
    """

    _REQUESTS = re.compile(
        r'envoy_cluster_upstream_rq\{envoy_response_code="(?P<code>\d+)",envoy_cluster_name="(?P<cluster>[^"]+)"\} (?P<n>\d+)'
    )
    _TIMES = re.compile(
        r'envoy_cluster_upstream_rq_time_bucket\{envoy_cluster_name="(?P<cluster>[^"]+)",le="(?P<le>[^"]+)"\} (?P<n>\d+)'
    )

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._seen: dict[str, int] = {}
        self._sums: dict[str, int] = defaultdict(int)
        self._of: dict[str, str] = {}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Listen. Gives host:port."""
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        connector = aiohttp.UnixConnector(path=str(self._plane.envoy.admin))
        async with aiohttp.ClientSession(connector=connector) as self._admin:
            try:
                yield f"127.0.0.1:{runner.addresses[0][1]}"
            finally:
                await runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        try:
            async with self._admin.get("http://envoy/stats/prometheus?usedonly") as found:
                text = await found.text()
        except aiohttp.ClientError as exc:
            return web.Response(status=503, text=str(exc))
        for line in text.splitlines():
            if (told := self._REQUESTS.match(line)) is not None:
                self._grow(told, "istio_requests_total", f'response_code="{told["code"]}"')
            elif (told := self._TIMES.match(line)) is not None:
                self._grow(told, "istio_request_duration_milliseconds_bucket", f'le="{told["le"]}"')
        return web.Response(text="".join(f"{name} {value}\n" for name, value in sorted(self._sums.items())))

    def _grow(self, told: re.Match[str], name: str, label: str) -> None:
        workloads = self._plane.told.workloads.get(told["cluster"], set())
        if len(workloads) == 1:
            (self._of[told["cluster"]],) = workloads
        workload = self._of.get(told["cluster"])
        if workload is None:
            return
        before = self._seen.get(told[0].rpartition(" ")[0], 0)
        self._seen[told[0].rpartition(" ")[0]] = int(told["n"])
        labels = f'reporter="destination",destination_workload_namespace="{self._plane.namespace}"'
        series = f'{name}{{{labels},destination_workload="{workload}",{label}}}'
        self._sums[series] += int(told["n"]) - before
