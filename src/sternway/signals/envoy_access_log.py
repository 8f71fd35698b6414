"""Envoy's access-log stream as a signal source: each finished request becomes an Outcome within milliseconds.

`sternway.bootstrap` registers it on the gRPC server that also serves Envoy's configuration. The names in the log are
a contract with the Envoy router: route `KIND|SERVICE|VERSION` (kind: split, pin, preview, mirror; more parts may
follow) or KIND alone, and cluster `SERVICE|VERSION` or `SERVICE|VERSION|shield`. The route says to whom the request
was sent, the cluster who answered it. A route named KIND alone is read by its cluster, which says less:

- Envoy logs no cluster when a version has no healthy replica, so the cluster alone loses these failures.
- Of an aggregate cluster Envoy logs the member that answered, so the cluster alone would blame stable for a rescue.

Behind a cluster named `…|shield`, two attempts mean that stable answered. An entry that names no version at all (an
unknown host, for instance) is nobody's fault and not counted.

What it cannot see: a request that still hangs. It is seen when it ends, at the latest at its time-out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import grpc.aio
from envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc

from sternway.clock import Clock
from sternway.domain.catalogue import Edge, VersionTraffic
from sternway.domain.tallies import ClusterKey, Question, Reading
from sternway.signals.counting import MIRROR, PREVIEW, Counter, Outcome

COALESCE_S = 0.01
"""Wakes of one service are at least this far apart: Envoy sends its log in batches of the same length."""

STALE_S = 10.0
"""An entry older than this was not delayed: Envoy's clock and ours disagree, and ours is right."""

_NAMES_KEPT = 10_000


class _Named(NamedTuple):
    """What a route's and a cluster's names say together."""

    service: str
    version: str
    route: str
    rescued: bool
    aggregate: bool


def _read_names(route: str, cluster: str) -> _Named | None:
    """Split the names of a route and of the cluster that answered; None when they name no version."""
    kind, *sent = route.split("|")
    answered = cluster.split("|") if cluster else []
    if len(sent) < 2 and (len(answered) == 2 or answered[2:] == ["shield"]):
        sent = answered
    if len(sent) < 2:
        return None
    return _Named(
        service=sent[0],
        version=sent[1],
        route=kind,
        rescued=len(answered) >= 2 and answered[1] != sent[1],
        aggregate=answered[2:] == ["shield"],
    )


class EnvoyAccessLog:
    """Implements ports.SignalSource and Envoy's access log service.

    caller_of: the service that owns an outbound listener's port, "" for an inbound one, None for any other.
    wake: called with a service's name when its candidate has failed a request: at once, then every 10 ms at most.
    connected: whether Envoy is connected in any other way. It opens the stream of logs with its first entry, so
        without this an idle Envoy looks like a lost one. answered_itself: (service, version, replica, duration_ms) ->
        whether a shielded version answered although the stable one had been asked as well. wall: the clock that Envoy stamps its entries with.
    """

    def __init__(
        self,
        clock: Clock,
        caller_of: Callable[[int], str | None],
        wake: Callable[[str], None],
        *,
        connected: Callable[[], bool] = lambda: False,
        answered_itself: Callable[[str, str, str, float], bool] = lambda *_: False,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._caller_of = caller_of
        self._wake = wake
        self._connected = connected
        self._answered_itself = answered_itself
        self._wall = wall
        self._counters: dict[str, Counter] = {}
        self._names: dict[tuple[str, str], _Named | None] = {}
        self._callers: dict[int, str | None] = {}
        self._streams = 0
        self._blind_since_s: float | None = clock.now()
        self._woken: dict[str, bool] = {}

    def register(self, server: grpc.aio.Server) -> None:
        """Serve Envoy's access log service on a gRPC server that has not started yet."""
        als_pb2_grpc.add_AccessLogServiceServicer_to_server(self, server)

    async def read(self, service: str) -> Reading:
        """See ports.SignalSource."""
        self._look()
        return self._counter(service).read(self._clock.now())

    def ask(self, service: str, question: Question | None) -> None:
        """See ports.SignalSource."""
        self._counter(service).ask(self._clock.now(), question)

    def forget(self, service: str) -> None:
        """Drop everything known of a service that is no more."""
        self._counters.pop(service, None)

    def logged_headers(self) -> tuple[str, ...]:
        """Request headers that Envoy must log so that the questions in force can be answered."""
        keys = (counter.question.cluster_key for counter in self._counters.values() if counter.question)
        return tuple(sorted({"cookie" if key.cookie else (key.header or "").lower() for key in keys if key} - {""}))

    def edges(self) -> tuple[Edge, ...]:
        """Who calls whom, over all services."""
        now_s = self._clock.now()
        return tuple(edge for _, counter in sorted(self._counters.items()) for edge in counter.edges(now_s))

    def traffic(self) -> tuple[VersionTraffic, ...]:
        """How every version and replica does, over all services."""
        now_s = self._clock.now()
        return tuple(version for _, counter in sorted(self._counters.items()) for version in counter.traffic(now_s))

    async def StreamAccessLogs(  # noqa: N802 - the name is Envoy's
        self,
        messages: AsyncIterator[als_pb2.StreamAccessLogsMessage],
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> als_pb2.StreamAccessLogsResponse:
        """Take what one of Envoy's workers logs, until Envoy goes."""
        self._streams += 1
        self._look()
        try:
            async for message in messages:
                self.take(message)
        finally:
            self._streams -= 1
            self._look()
        return als_pb2.StreamAccessLogsResponse()

    def take(self, message: als_pb2.StreamAccessLogsMessage) -> None:
        """Count one message's entries."""
        now_s = self._clock.now()
        ahead_s = now_s - self._wall()
        failing: dict[str, None] = {}
        self._callers.clear()
        for entry in message.http_logs.log_entry:
            named = self._named(entry.common_properties.route_name, entry.common_properties.upstream_cluster)
            if named is None:
                continue
            counter = self._counter(named.service)
            if counter.add(self._outcome(entry, named, counter.cluster_key, now_s, ahead_s)):
                failing[named.service] = None
        for service in failing:
            self._call(service)

    def _outcome(
        self, entry: Any, named: _Named, cluster_key: ClusterKey | None, now_s: float, ahead_s: float
    ) -> Outcome:
        common, response = entry.common_properties, entry.response
        status = response.response_code.value
        flags = common.response_flags
        duration, start = common.duration, common.start_time
        duration_ms = duration.seconds * 1e3 + duration.nanos / 1e6
        at_s = start.seconds + start.nanos / 1e9 + duration_ms / 1e3 + ahead_s
        attempts = common.upstream_request_attempt_count
        port = common.downstream_local_address.socket_address.port_value
        address = common.upstream_remote_address.socket_address
        replica = f"{address.address}:{address.port_value}" if address.port_value else None
        rescued = named.rescued or (named.aggregate and attempts >= 2)
        if rescued and replica and self._answered_itself(named.service, named.version, replica, duration_ms):
            rescued, attempts = False, 1  # slow, so that stable was asked as well, but it answered by itself
        return Outcome(
            service=named.service,
            version=named.version,
            at_s=at_s if now_s - STALE_S <= at_s <= now_s else now_s,
            duration_ms=duration_ms,
            status=status,
            attempts=attempts,
            route=named.route,
            rescued=rescued,
            client_gone=status == 0,
            broken_off=0 < status < 500
            and status != 101
            and (
                flags.upstream_connection_termination
                or flags.upstream_remote_reset
                or flags.upstream_request_timeout
                or flags.upstream_protocol_error
            ),
            grpc_status=_grpc_status(response),
            caller=self._caller(port) if port and named.route not in (MIRROR, PREVIEW) else None,
            replica=replica,
            key=_key(entry.request.request_headers, cluster_key) if cluster_key else None,
            request_id=entry.request.request_id,
        )

    def _caller(self, port: int) -> str | None:
        """Ask once a message: listeners come and go, though not while one is read."""
        try:
            return self._callers[port]
        except KeyError:
            caller = self._callers[port] = self._caller_of(port)
            return caller

    def _named(self, route: str, cluster: str) -> _Named | None:
        """Read each pair of names once."""
        try:
            return self._names[route, cluster]
        except KeyError:
            if len(self._names) >= _NAMES_KEPT:
                self._names.clear()
            named = self._names[route, cluster] = _read_names(route, cluster)
            return named

    def _counter(self, service: str) -> Counter:
        counter = self._counters.get(service)
        if counter is None:
            counter = self._counters[service] = Counter(service)
            if self._blind_since_s is not None:
                counter.blind(self._blind_since_s)
        return counter

    def _look(self) -> None:
        """Find out whether Envoy can be heard, and tell every counter when that has changed."""
        sighted = self._streams > 0 or self._connected()
        if sighted == (self._blind_since_s is None):
            return
        now_s = self._clock.now()
        self._blind_since_s = None if sighted else now_s
        for counter in self._counters.values():
            if sighted:
                counter.sighted(now_s)
            else:
                counter.blind(now_s)

    def _call(self, service: str) -> None:
        """Wake now, or once the last wake is 10 ms ago: never more often, and never with the last failure unseen."""
        if service in self._woken:
            self._woken[service] = True
            return
        self._woken[service] = False
        asyncio.get_running_loop().call_later(COALESCE_S, self._rested, service)
        self._wake(service)

    def _rested(self, service: str) -> None:
        if self._woken.pop(service):
            self._call(service)


def _grpc_status(response: Any) -> int | None:
    """Read the status of a gRPC answer, which stands in its trailers, or in its headers when there is nothing else."""
    if not response.response_trailers and not response.response_headers:
        return None
    text = response.response_trailers.get("grpc-status") or response.response_headers.get("grpc-status")
    return int(text) if text and text.isdecimal() else None


def _key(headers: Any, key: ClusterKey) -> str | None:
    """Find the cluster key's value among the logged request headers."""
    if key.header:
        return headers.get(key.header.lower()) or None
    for pair in headers.get("cookie", "").split(";"):
        name, _, value = pair.partition("=")
        if name.strip() == key.cookie:
            return value.strip() or None
    return None
