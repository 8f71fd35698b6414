"""The listeners of the mesh and their ports: who comes in where. Called by the router.

A door is a listener on loopback: `inbound/X` for callers from outside, `outbound/X` as the proxy of X's own
processes, `preview/X` for a person's look at one version, `statistics` for Prometheus. Outgoing doors are remembered and opened at start,
because processes that outlive Sternway hold their addresses.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sternway.domain.traffic import TrafficPlan
from sternway.traffic.envoy import clusters, listeners, messages, names, routes
from sternway.traffic.envoy.ads import AdsServer, Ticket
from sternway.traffic.envoy.messages import Kind
from sternway.traffic.envoy.ports import Ports

_LOOPBACK = "localhost,127.0.0.1,::1"


class Doors:
    """See the module. `open` comes first."""

    def __init__(self, state_dir: Path, ads: AdsServer, admin: Path) -> None:
        self._state_dir = state_dir
        self._admin = admin
        self._ads = ads
        self._ports = Ports(state_dir / "ports.json")
        self._headers_file = state_dir / "logged_headers.json"
        self._headers: tuple[str, ...] = ()
        self._plans: dict[str, TrafficPlan] = {}

    def open(self) -> None:
        """Read what is remembered and open the outgoing doors."""
        self._state_dir.mkdir(parents=True, exist_ok=True)
        self._ports.load()
        if self._headers_file.exists():
            self._headers = tuple(json.loads(self._headers_file.read_text()))
        self._put_outbound()
        self._put_statistics()

    @property
    def outbound_exists(self) -> bool:
        """Tell whether any process speaks through the mesh."""
        return any(name.startswith("outbound/") for name, _ in self._ports.items())

    def claim(self, plan: TrafficPlan) -> None:
        """Give the service its ports. Raises Refused when its own is taken."""
        self._ports.for_service(plan.service)
        if plan.preview is not None:
            self._ports.choose(names.preview(plan.service.name))

    def inbound(self, plan: TrafficPlan) -> dict[str, Any]:
        """Make the service's own door."""
        name = names.inbound(plan.service.name)
        self._plans[plan.service.name] = plan
        return {name: self._tcp(name, names.routes(plan.service.name))}

    def inner(self, plan: TrafficPlan) -> dict[str, Any]:
        """Make the preview's door, and listeners inside Envoy."""
        self._plans[plan.service.name] = plan
        found, service = {}, plan.service.name
        if plan.preview is not None:
            found[names.preview(service)] = self._tcp(names.preview(service), names.preview(service))
        if plan.mirror is not None:
            mirror = listeners.mirror_listener(service, self._headers)
            found[names.mirror(service)] = messages.message(Kind.LISTENER, mirror)
        for version in plan.versions:
            if version.policy.fault is not None:
                fault = listeners.fault_listener(names.fault(version), version.policy.fault)
                found[names.fault(version)] = messages.message(Kind.LISTENER, fault)
        return found

    def close(self, service: str) -> Ticket:
        """Close every door of a service and forget its ports."""
        self._plans.pop(service, None)
        gone = [names.inbound(service), names.outbound(service), names.preview(service)]
        self._ports.forget(*gone)
        return self._ads.put(Kind.LISTENER, dict.fromkeys(gone))

    def log_headers(self, headers: Collection[str]) -> None:
        """Add to the request headers that the access log carries."""
        wanted = tuple(sorted({*self._headers, *(header.lower() for header in headers)}))
        if wanted == self._headers:
            return
        self._headers = wanted
        self._headers_file.write_text(json.dumps(wanted))
        self._put_outbound()
        for plan in self._plans.values():
            open_now = {**self.inbound(plan), **self.inner(plan)}
            known = {name: door for name, door in open_now.items() if self._ads.get(Kind.LISTENER, name) is not None}
            self._ads.put(Kind.LISTENER, known)

    def environment(self, caller: str) -> dict[str, str]:
        """See EnvoyRouter.environment."""
        proxy = f"http://127.0.0.1:{self._ports.choose(names.outbound(caller))}"
        self._put_outbound()
        found = {"http_proxy": proxy, "HTTP_PROXY": proxy, "no_proxy": _LOOPBACK, "NO_PROXY": _LOOPBACK}
        for listener, port in self._ports.items():
            kind, _, service = listener.partition("/")
            if kind == "inbound":
                prefix = service.upper().replace("-", "_").replace(".", "_")
                found |= {f"{prefix}_SERVICE_HOST": "127.0.0.1", f"{prefix}_SERVICE_PORT": str(port)}
        return found

    def address(self, listener: str) -> str | None:
        """Tell where a door is."""
        port = self._ports.get(listener)
        return None if port is None else f"127.0.0.1:{port}"

    def caller_of_port(self) -> Mapping[int, str]:
        """See EnvoyRouter.caller_of_port."""
        callers = {}
        for listener, port in self._ports.items():
            kind, _, service = listener.partition("/")
            callers[port] = service if kind == "outbound" else ""
        return MappingProxyType(callers)

    def _put_outbound(self) -> None:
        doors = [name for name, _ in self._ports.items() if name.startswith("outbound/")]
        self._ads.put(Kind.LISTENER, {name: self._tcp(name, names.MESH) for name in doors})

    def _put_statistics(self) -> None:
        """Open the way to Envoy's figures, and to nothing else of its admin interface."""
        name = names.STATISTICS
        host = messages.virtual_host(name, ["*"], [routes.statistics_route()])
        self._ads.put(Kind.CLUSTER, {name: messages.message(Kind.CLUSTER, clusters.statistics(str(self._admin)))})
        self._ads.put(Kind.ROUTES, {name: messages.routes(name, [host])})
        listener = listeners.statistics_listener(self._ports.choose(name))
        self._ads.put(Kind.LISTENER, {name: messages.message(Kind.LISTENER, listener)})

    def _tcp(self, name: str, routes: str) -> Any:
        port = self._ports.choose(name)
        return messages.message(Kind.LISTENER, listeners.tcp_listener(name, port, routes, self._headers))
