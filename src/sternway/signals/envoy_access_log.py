"""Envoy's access-log stream as a signal source: each finished request becomes an Outcome within milliseconds.

The composition roots serve it: on one machine beside Envoy's configuration, in a cluster on a port of its own. Who was asked is
read out of an entry by an `Attribution` (`naming`). An entry that names no version at all (an unknown host, for instance) is
nobody's fault and not counted.

What it cannot see: a request that still hangs. It is seen when it ends, at the latest at its time-out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio
from envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc

from sternway.clock import Clock
from sternway.domain.catalogue import Edge, VersionTraffic
from sternway.domain.tallies import ClusterKey, Question, Reading
from sternway.signals.counting import MIRROR, PREVIEW, Counter, Outcome
from sternway.signals.hearing import Hearing, Teller
from sternway.signals.naming import Attribution, Named, Sent

COALESCE_S = 0.01
"""Wakes of one service are at least this far apart: Envoy sends its log in batches of the same length."""

STALE_S = 10.0
"""An entry older than this was not delayed: Envoy's clock and ours disagree, and ours is right."""


class EnvoyAccessLog:
    """Implements ports.SignalSource and Envoy's access log service.

    attribution: whom an entry is about.
    wake: called with a service's name when its candidate has failed a request: at once, then every 10 ms at most.
    heard: called with a service's name when the first proxy tells of it, and when the last that did has gone.
    connected: whether Envoy is connected in any other way. It opens the stream of logs with its first entry, so
        without this an idle Envoy looks like a lost one. answered_itself: (service, version, replica, duration_ms) ->
        whether a shielded version answered although the stable one had been asked as well. wall: the clock that Envoy stamps its entries with.
    """

    def __init__(
        self,
        clock: Clock,
        attribution: Attribution,
        wake: Callable[[str], None],
        *,
        heard: Callable[[str], None] = lambda _: None,
        connected: Callable[[], bool] = lambda: False,
        answered_itself: Callable[[str, str, str, float], bool] = lambda *_: False,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._attribution = attribution
        self._wake = wake
        self._heard = heard
        self._connected = connected
        self._answered_itself = answered_itself
        self._wall = wall
        self._counters: dict[str, Counter] = {}
        self._hearing = Hearing()
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
        if question is not None:
            self._hearing.only(service, (question.stable, question.candidate or ""))

    def forget(self, service: str) -> None:
        """Drop everything known of a service that is no more."""
        self._counters.pop(service, None)
        self._hearing.forget(service)

    def spoken_of(self, service: str) -> frozenset[str]:
        """The versions of a service that a proxy which is connected has told of: of them the log tells all that there is."""
        return self._hearing.versions(service)

    def lost_s(self, service: str) -> float | None:
        """When the last proxy that had told of a service went; None when one is there, or none ever was."""
        return self._hearing.lost_s(service)

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
        teller = Teller()
        try:
            async for message in messages:
                self.take(message, teller)
        finally:
            self._streams -= 1
            lost = self._hearing.gone(teller, self._clock.now())
            self._look()
            for service in lost:
                self._heard(service)
        return als_pb2.StreamAccessLogsResponse()

    def take(self, message: als_pb2.StreamAccessLogsMessage, teller: Teller | None = None) -> None:
        """Count one message's entries. teller: the stream that it came by."""
        now_s = self._clock.now()
        ahead_s = now_s - self._wall()
        failing: dict[str, None] = {}
        told: dict[tuple[str, str], None] = {}
        if teller is not None and message.HasField("identifier"):
            teller.proxy = message.identifier.node.id
        proxy = teller.proxy if teller is not None else ""
        self._callers.clear()
        for entry in message.http_logs.log_entry:
            sent = _sent(entry, proxy)
            named = self._attribution.named(sent)
            if named is None:
                continue
            told[named.service, named.version] = None
            counter = self._counter(named.service)
            if counter.add(self._outcome(entry, sent, named, counter.cluster_key, now_s, ahead_s)):
                failing[named.service] = None
        if teller is not None:
            for service, version in told:
                if self._hearing.told(teller, service, version):
                    self._heard(service)
        for service in failing:
            self._call(service)

    def _outcome(
        self, entry: Any, sent: Sent, named: Named, cluster_key: ClusterKey | None, now_s: float, ahead_s: float
    ) -> Outcome:
        common, response = entry.common_properties, entry.response
        status = response.response_code.value
        flags = common.response_flags
        duration, start = common.duration, common.start_time
        duration_ms = duration.seconds * 1e3 + duration.nanos / 1e6
        at_s = start.seconds + start.nanos / 1e9 + duration_ms / 1e3 + ahead_s
        attempts = 1 if named.mixed else common.upstream_request_attempt_count
        replica = sent.replica
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
            caller=self._caller(sent) if named.route not in (MIRROR, PREVIEW) else None,
            replica=replica,
            key=_key(entry.request.request_headers, cluster_key) if cluster_key else None,
            request_id=entry.request.request_id,
        )

    def _caller(self, sent: Sent) -> str | None:
        """Ask once a message: listeners come and go, though not while one is read."""
        try:
            return self._callers[sent.port]
        except KeyError:
            caller = self._callers[sent.port] = self._attribution.caller(sent)
            return caller

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


def _sent(entry: Any, proxy: str) -> Sent:
    common = entry.common_properties
    address = common.upstream_remote_address.socket_address
    tunnelled: str = common.upstream_remote_address.envoy_internal_address.endpoint_id
    return Sent(
        proxy,
        common.downstream_local_address.socket_address.port_value,
        entry.request.authority,
        common.route_name,
        common.upstream_cluster,
        f"{address.address}:{address.port_value}" if address.port_value else tunnelled or None,
    )


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
