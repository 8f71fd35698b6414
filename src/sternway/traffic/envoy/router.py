"""The traffic router of one machine: plans in, Envoy's acknowledged configuration out. READ THIS FIRST.

Implements `ports.TrafficRouter`; made by `sternway.bootstrap`. `apply` works in three steps, in an order that
loses no request:
  1. prepare: clusters, endpoints and inner listeners that the plan needs and Envoy lacks, until they are active;
  2. route: the service's routes, until they are acknowledged: now the plan is in force;
  3. tidy: the shield's budget; what nobody needs any more goes after `linger_s`, for requests under way.
A plan that only shares traffic otherwise, or takes something away, needs step 2 alone: one push.

A service's routes are put to two uses: `service/X` for its own port, and a virtual host in `mesh`, which all
outgoing listeners share. Routes that Envoy has not seen in this form go to `service/X` first, so that what
Envoy refuses never reaches `mesh`, where it would stand in the way of other services.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sternway.domain.traffic import Can, Endpoint, TrafficPlan
from sternway.errors import NotApplied
from sternway.traffic.envoy import clusters, messages, names, routes
from sternway.traffic.envoy.ads import AdsServer, Rejected, Ticket
from sternway.traffic.envoy.doors import Doors
from sternway.traffic.envoy.messages import Kind
from sternway.traffic.envoy.process import EnvoyProcess

_APPLY_S = 5.0
_RESUME_S = 5.0
_WARMING = "/config_dump?resource=dynamic_warming_clusters&mask=cluster.name"
_WARMING_LOOK_S = 0.005


@dataclass(slots=True, kw_only=True)
class _Told:
    """A plan that Envoy has been told: its virtual host in `mesh`, and what to wait for."""

    plan: TrafficPlan
    host: Any = None
    ticket: Ticket = field(default_factory=Ticket)


class EnvoyRouter:
    """See the module. `servicers` are served on the same socket as the configuration (the access log)."""

    capabilities: frozenset[Can] = frozenset(Can)

    def __init__(
        self,
        *,
        state_dir: Path,
        run_dir: Path,
        servicers: Sequence[Callable[[Any], None]] = (),
        concurrency: int = 1,
        linger_s: float = 10.0,
    ) -> None:
        self.process = EnvoyProcess(state_dir=state_dir, run_dir=run_dir, concurrency=concurrency)
        self._ads = AdsServer(self.process.control, servicers)
        self._doors = Doors(state_dir, self._ads, self.process.admin)
        self._linger_s = linger_s
        self._endpoints: dict[str, tuple[Endpoint, ...]] = {}
        self._current: dict[str, _Told] = {}
        self._told: dict[str, list[_Told]] = {}
        self._coming: dict[str, TrafficPlan] = {}
        self._awaited: set[str] = set()
        self._held = True
        self._timers: dict[str, asyncio.TimerHandle] = {}

    async def start(self, *, resume: Collection[str] = ()) -> None:
        """Serve the configuration, and start Envoy or take over the running one.

        resume: services whose plans will be applied now. Until they are, or five seconds have passed, a running
        Envoy keeps everything that it has of services that have not been applied yet.
        """
        self.process.prepare()
        self._doors.open()
        self._awaited = set(resume)
        await self._ads.start()
        await self.process.start()
        if self._awaited:
            self._after(_RESUME_S, "", self._end_hold)
        else:
            self._end_hold()

    async def close(self, *, stop: bool) -> None:
        """Stop serving; Envoy goes on as it is, or ends too."""
        for timer in self._timers.values():
            timer.cancel()
        await self._ads.stop()
        await self.process.close(stop=stop)

    @property
    def connected(self) -> bool:
        """Tell whether Envoy is connected, so that plans can be applied and the access log is told."""
        return self._ads.connected

    @property
    def trouble(self) -> str:
        """Why Envoy is not connected, when it has ended or could not be started, for `status`; else ''."""
        return "" if self.connected else self.process.failure or ""

    @property
    def rejections(self) -> Mapping[str, str]:
        """Resources that Envoy refused and its words, for `status`."""
        return self._ads.rejections

    async def apply(self, plan: TrafficPlan) -> None:
        """See ports.TrafficRouter. Within five seconds, else NotApplied. Refused: a port that is taken."""
        deadline = asyncio.get_running_loop().time() + _APPLY_S
        service = plan.service.name
        if plan.service.port is None:  # without an address nobody can call it
            self._current[service] = _Told(plan=plan)
            self._told[service] = [self._current[service]]
        else:
            await self._apply(plan, deadline)
        self._awaited.discard(service)
        if self._held and not self._awaited:
            self._end_hold()
            await self._ads.settled(self._current[service].ticket, deadline)

    async def observe(self, service: str) -> TrafficPlan | None:
        """See ports.TrafficRouter. None while Envoy is not connected, or has acknowledged no plan."""
        for told in reversed(self._told.get(service, [])):
            if self._ads.in_force(told.ticket):
                return told.plan
        return None

    async def release(self, service: str) -> None:
        """See ports.TrafficRouter."""
        deadline = asyncio.get_running_loop().time() + _APPLY_S
        self._current.pop(service, None)
        self._told.pop(service, None)
        ticket = self._put_mesh() + self._doors.close(service)
        await self._ads.settled(ticket, deadline)
        self._tidy(service)
        self._awaited.discard(service)
        if self._held and not self._awaited:
            self._end_hold()

    def set_endpoints(self, workload_id: str, endpoints: Sequence[Endpoint]) -> None:
        """Tell Envoy at once where a workload's replicas are. Unhealthy ones get no new request."""
        ended = bool(self._endpoints.get(workload_id)) and not endpoints
        self._endpoints[workload_id] = tuple(endpoints)
        changed = {workload_id: self._assignment(workload_id)}
        # A plan on its way too: its clusters may be there already, and what changes now stands in no later step of it.
        for plan in (*(told.plan for told in self._current.values()), *self._coming.values()):
            changed |= self._shield_assignment(plan, workload_id)
        self._ads.put(Kind.ENDPOINTS, changed)
        if ended:
            self._forget_workloads()

    def set_logged_headers(self, headers: Collection[str]) -> None:
        """Request headers that the access log shall carry, besides the request's id; they are only ever added."""
        self._doors.log_headers(headers)

    def environment(self, caller: str) -> dict[str, str]:
        """Variables by which a service's processes reach others through Envoy, under the caller's own name.

        The `..._SERVICE_HOST` and `..._SERVICE_PORT` of Kubernetes lead to the services' own ports, for
        programs that heed no proxy; such requests have no caller.
        """
        return self._doors.environment(caller)

    def address(self, service: str) -> str | None:
        """Where callers from outside the mesh reach a service; None before its first plan."""
        return self._doors.address(names.inbound(service))

    def statistics_address(self) -> str | None:
        """Where `/stats/prometheus` gives Envoy's figures; None before the start."""
        return self._doors.address(names.STATISTICS)

    def preview_address(self, service: str) -> str | None:
        """Where the previewed version is reached; None when no plan has had a preview."""
        return self._doors.address(names.preview(service))

    def answered_itself(self, service: str, version: str, replica: str, duration_ms: float) -> bool:
        """Whether a shielded version gave the answer, within its own time-out, although stable was asked as well.

        False where it cannot be told: versions that share a workload share their replicas.
        """
        told = self._current.get(service)
        found = next((v for v in told.plan.versions if v.id == version), None) if told else None
        if told is None or found is None:
            return False
        if any(v.workload.id == found.workload.id for v in told.plan.versions if v.id != version):
            return False
        limits = (found.policy.timeout_ms, *(rule.timeout_ms for rule in found.policy.rules))
        endpoints = self._endpoints.get(found.workload.id, ())
        in_time = all(duration_ms <= limit_ms for limit_ms in limits if limit_ms)
        return in_time and any(f"{e.address}:{e.port}" == replica for e in endpoints)

    def caller_of_port(self) -> Mapping[int, str]:
        """Who speaks to a listener: the service whose processes use it, "" for callers outside the mesh."""
        return self._doors.caller_of_port()

    async def _apply(self, plan: TrafficPlan, deadline: float) -> None:
        before = self._current.get(plan.service.name)
        self._doors.claim(plan)
        undo: list[tuple[Kind, str, Any]] = []
        self._coming[plan.service.name] = plan
        try:
            if before is None or not _takes_away_only(before.plan, plan):
                await self._prepare(plan, undo, deadline)
                await self._route_first(plan, undo, deadline)
            await self._route(plan, before, undo, deadline)
        except Rejected:
            for kind, name, packed in reversed(undo):
                self._ads.put(kind, {name: packed})
            raise
        finally:
            del self._coming[plan.service.name]
        self._put_budget(plan)
        self._after(self._linger_s, plan.service.name, lambda: self._tidy(plan.service.name))

    def _put(self, undo: list[tuple[Kind, str, Any]], kind: Kind, changes: Mapping[str, Any]) -> Ticket:
        undo += [(kind, name, self._ads.get(kind, name)) for name in changes]
        return self._ads.put(kind, changes)

    async def _prepare(self, plan: TrafficPlan, undo: list[tuple[Kind, str, Any]], deadline: float) -> None:
        wanted = self._clusters(plan)
        needed = {name: wanted[name] for name in self._ads.differing(Kind.CLUSTER, wanted)}
        inner = {name: messages.routes(name, [host]) for name, host in _inner_routes(plan).items()}
        ticket = self._put(undo, Kind.CLUSTER, needed) + self._put_endpoints(plan, again=bool(needed))
        ticket += self._put(undo, Kind.ROUTES, inner) + self._put(undo, Kind.LISTENER, self._doors.inner(plan))
        await self._ads.settled(ticket, deadline)
        while needed and await self._warming() & needed.keys():
            if asyncio.get_running_loop().time() > deadline:
                hint = "Their replicas do not pass the health checks of the mesh policy, or do not answer them."
                raise NotApplied(f"clusters of {plan.service.name} do not become active", hint=hint)
            await asyncio.sleep(_WARMING_LOOK_S)

    async def _warming(self) -> set[str]:
        """List clusters that Envoy has taken and does not use yet: endpoints or health checks are awaited."""
        configs = (await self.process.ask(_WARMING)).get("configs", [])
        return {config.get("cluster", {}).get("name", "") for config in configs}

    async def _route_first(self, plan: TrafficPlan, undo: list[tuple[Kind, str, Any]], deadline: float) -> None:
        """Routes in a form that is new to Envoy, where they can hurt nobody else; and the service's listener."""
        ticket = self._put(undo, Kind.ROUTES, _own_routes(plan, _host(plan)))
        ticket += self._put(undo, Kind.LISTENER, self._doors.inbound(plan))
        await self._ads.settled(ticket, deadline)

    async def _route(
        self, plan: TrafficPlan, before: _Told | None, undo: list[tuple[Kind, str, Any]], deadline: float
    ) -> None:
        service = plan.service.name
        told = _Told(plan=plan, host=_host(plan))
        own = _own_routes(plan, told.host)
        undo += [(Kind.ROUTES, name, self._ads.get(Kind.ROUTES, name)) for name in own]
        self._current[service] = told
        told.ticket = self._in_use(self._ads.put(Kind.ROUTES, own | self._mesh()))
        self._told.setdefault(service, []).append(told)
        try:
            await self._ads.settled(told.ticket, deadline)
        except Rejected:
            self._told[service].remove(told)
            if before is None:
                del self._current[service]
            else:
                self._current[service] = before
            self._put_mesh()
            raise
        kept = self._told[service]
        del kept[: kept.index(told)]

    def _put_budget(self, plan: TrafficPlan) -> None:
        """Send the one cluster that another split can change, the shield's: its budget goes with the weight.

        Not waited for: the traffic has moved already, and Envoy acknowledges no cluster while another one, of
        any service, waits for its first health checks.
        """
        if plan.shield is None or clusters.shielded_percent(plan, plan.shield) == 0:
            return
        cluster = clusters.shield_cluster(plan, plan.shield)
        changed = {cluster["name"]: messages.message(Kind.CLUSTER, cluster)}
        if self._ads.differing(Kind.CLUSTER, changed):
            self._ads.put(Kind.CLUSTER, changed)
            self._ads.put(Kind.ENDPOINTS, self._shield_assignment(plan), again=changed)

    def _tidy(self, service: str) -> None:
        """Take away what no plan of the service needs any more; not while one is on its way, whose parts came first."""
        if service in self._coming:
            self._after(self._linger_s, service, lambda: self._tidy(service))
            return
        told = self._current.get(service)
        wanted: set[str] = set()
        if told is not None and told.plan.service.port is not None:
            wanted = {*clusters.clusters(told.plan), *_inner_routes(told.plan), names.inbound(service)}
            wanted.add(names.routes(service))
        mine = (f"{service}|", f"fault/{service}|")
        exact = {names.preview(service), names.mirror(service), names.routes(service)}
        for kind in (Kind.LISTENER, Kind.ROUTES, Kind.CLUSTER, Kind.ENDPOINTS):
            stale = [n for n in self._ads.names(kind) if (n.startswith(mine) or n in exact) and n not in wanted]
            self._ads.put(kind, dict.fromkeys(stale))
        self._forget_workloads()

    def _forget_workloads(self) -> None:
        """Workloads that have no endpoints and that no cluster speaks of."""
        plans = [*(told.plan for told in self._current.values()), *self._coming.values()]
        used = {version.workload.id for plan in plans for version in plan.versions}
        gone = [name for name, endpoints in self._endpoints.items() if not endpoints and name not in used]
        for name in gone:
            del self._endpoints[name]
        self._ads.put(Kind.ENDPOINTS, dict.fromkeys(gone))

    def _clusters(self, plan: TrafficPlan) -> dict[str, Any]:
        found = clusters.clusters(plan)
        return {name: messages.message(Kind.CLUSTER, resource) for name, resource in found.items()}

    def _assignment(self, workload: str) -> Any:
        return messages.message(Kind.ENDPOINTS, clusters.assignment(workload, self._endpoints[workload]))

    def _shield_assignment(self, plan: TrafficPlan, workload: str | None = None) -> dict[str, Any]:
        """State the shield's endpoints, when they depend on the workload and the shielded version's are known."""
        name = clusters.shield_endpoints_name(plan)
        if name is None or plan.shield is None:
            return {}
        first, then = (clusters.by_id(plan, v).workload.id for v in (plan.shield.version, plan.shield.by))
        if first not in self._endpoints or workload not in (None, first, then):
            return {}
        return {name: messages.message(Kind.ENDPOINTS, clusters.shield_assignment(plan, self._endpoints))}

    def _put_endpoints(self, plan: TrafficPlan, *, again: bool = True) -> Ticket:
        """Send endpoints: a cluster that is new waits for them, even if Envoy has had them (`again`)."""
        workloads = {version.workload.id for version in plan.versions}
        shield = clusters.shield_endpoints_name(plan)
        found = {workload: self._assignment(workload) for workload in sorted(workloads & self._endpoints.keys())}
        everything = sorted(workloads | ({shield} if shield else set()))
        return self._ads.put(Kind.ENDPOINTS, found | self._shield_assignment(plan), again=everything if again else ())

    def _mesh(self) -> dict[str, Any]:
        """All services by their names; nothing while not all of them are known."""
        if self._held:
            return {}
        hosts = [told.host for _, told in sorted(self._current.items()) if told.host is not None]
        return {names.MESH: messages.routes(names.MESH, [*hosts, _no_service()])}

    def _put_mesh(self) -> Ticket:
        return self._in_use(self._ads.put(Kind.ROUTES, self._mesh()))

    def _in_use(self, ticket: Ticket) -> Ticket:
        """Without the routes that no listener has asked for: nobody would acknowledge them."""
        if self._doors.outbound_exists:
            return ticket
        return Ticket(wanted=tuple(wanted for wanted in ticket.wanted if wanted[1] != names.MESH))

    def _end_hold(self) -> None:
        """All services are known, or have had their time."""
        self._held = False
        self._awaited.clear()
        ticket = self._put_mesh()
        for told in self._current.values():
            told.ticket += ticket
        self._ads.sweep()

    def _after(self, seconds: float, what: str, call: Callable[[], None]) -> None:
        if (timer := self._timers.get(what)) is not None:
            timer.cancel()
        self._timers[what] = asyncio.get_running_loop().call_later(seconds, call)


@functools.cache
def _no_service() -> Any:
    unknown = routes.no_service()
    return messages.virtual_host(unknown["name"], unknown["domains"], unknown["routes"])


def _host(plan: TrafficPlan) -> Any:
    return messages.virtual_host(plan.service.name, routes.domains(plan.service), routes.service_routes(plan))


def _own_routes(plan: TrafficPlan, host: Any) -> dict[str, Any]:
    name = names.routes(plan.service.name)
    return {name: messages.routes(name, [messages.under(host, ["*"])])}


def _inner_routes(plan: TrafficPlan) -> dict[str, Any]:
    """Routes of the preview, and of listeners inside Envoy."""
    found, service = {}, plan.service.name
    if plan.preview is not None:
        found[names.preview(service)] = routes.version_routes(clusters.by_id(plan, plan.preview), names.PREVIEW)
    if plan.mirror is not None:
        version = clusters.by_id(plan, plan.mirror.version)
        found[names.mirror(service)] = routes.version_routes(version, names.MIRROR)
    for version in plan.versions:
        if version.policy.fault is not None:
            found[names.fault(version)] = routes.fault_routes(version)
    return {name: messages.virtual_host(name, ["*"], entries) for name, entries in found.items()}


def _takes_away_only(before: TrafficPlan, plan: TrafficPlan) -> bool:
    """Whether Envoy has everything that the plan needs, because the plan before it needed it too."""
    return (
        plan.service == before.service
        and set(plan.versions) <= set(before.versions)
        and set(plan.pins) <= set(before.pins)
        and plan.mirror in (None, before.mirror)
        and plan.shield in (None, before.shield)
        and plan.preview in (None, before.preview)
    )
