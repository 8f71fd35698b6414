"""The control plane: a delta ADS server on a unix socket, from which Envoy takes its configuration.

Called by the router: `put` states what a resource shall be and sends it at once, `settled` waits until every
connected Envoy has acknowledged it. A resource's version is a digest of its content, so an Envoy that outlived
the control plane and reconnects is sent only what differs. Each `put` that changes a resource gives it the next
revision; what is in force at an Envoy is the revision that it has acknowledged.

Removals of resources that this server never knew wait for `sweep`: after a restart the configuration is not
complete at once, and an Envoy that serves traffic must not lose what has not been stated yet.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from google.protobuf.any_pb2 import Any as Packed

from sternway.errors import NotApplied
from sternway.traffic.envoy.messages import Kind

_KINDS = {kind.value: kind for kind in Kind}
_WILDCARD = (Kind.CLUSTER, Kind.LISTENER)
_LONGEST_WORDS = 500
_HINT = "Envoy keeps what it had. Correct the manifest that the message speaks of."
_TAKEN = "Address already in use"
_TAKEN_HINT = (
    "Another program on this machine has that port: stop it (`lsof -i` names it), or give the Service another port."
)


class Rejected(NotApplied):
    """Envoy has refused a resource, in its own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What to wait for: these revisions of these resources."""

    wanted: tuple[tuple[Kind, str, int], ...] = ()

    def __add__(self, other: Ticket) -> Ticket:
        return Ticket(wanted=self.wanted + other.wanted)


@dataclass(slots=True, kw_only=True)
class _Resource:
    """A resource as it shall be; `sent` None once it is removed."""

    revision: int
    version: str = ""
    sent: Any = None


@dataclass(slots=True, kw_only=True)
class _Subscription:
    """What one Envoy has asked for, been sent and taken, of one kind."""

    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    brought: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, tuple[int, str]] = field(default_factory=dict)

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names


@dataclass(slots=True, kw_only=True)
class _Stream:
    """One connected Envoy."""

    outbox: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    subscriptions: dict[Kind, _Subscription] = field(default_factory=dict)
    unanswered: dict[str, tuple[Kind, dict[str, int]]] = field(default_factory=dict)
    nonce: int = 0


class AdsServer:
    """See the module. `servicers`: what else is served on the same socket, each registers itself."""

    def __init__(self, socket: Path, servicers: Sequence[Callable[[Any], None]] = ()) -> None:
        self._socket = socket
        self._servicers = servicers
        self._server: Any = None
        self._resources: dict[Kind, dict[str, _Resource]] = {kind: {} for kind in Kind}
        self._revision = 0
        self._streams: list[_Stream] = []
        self._waiting: list[asyncio.Event] = []
        self._swept = False

    async def start(self) -> None:
        """Listen."""
        self._socket.unlink(missing_ok=True)
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", 16 << 20)])
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(self, server)
        for register in self._servicers:
            register(server)
        server.add_insecure_port(f"unix:{self._socket}")
        await server.start()
        self._socket.chmod(0o600)
        self._server = server

    async def stop(self) -> None:
        """Hang up; Envoy goes on with what it has."""
        if self._server is not None:
            for stream in self._streams:
                stream.outbox.put_nowait(None)
            await self._server.stop(0.1)
            self._server = None

    @property
    def connected(self) -> bool:
        """Tell whether an Envoy is connected."""
        return bool(self._streams)

    @property
    def rejections(self) -> dict[str, str]:
        """Resources of which an Envoy refused the present revision, and its words."""
        return {
            name: text
            for stream in self._streams
            for kind, subscription in stream.subscriptions.items()
            for name, (revision, text) in subscription.rejected.items()
            if (held := self._resources[kind].get(name)) is not None and held.revision == revision
        }

    def names(self, kind: Kind) -> tuple[str, ...]:
        """List the resources that are stated."""
        return tuple(name for name, held in self._resources[kind].items() if held.sent is not None)

    def get(self, kind: Kind, name: str) -> Any | None:
        """Return a resource as it was stated, packed; None when it is not."""
        held = self._resources[kind].get(name)
        return None if held is None or held.sent is None else held.sent.resource

    def differing(self, kind: Kind, messages: Mapping[str, Any]) -> set[str]:
        """Tell which are not stated in exactly this form."""
        held = self._resources[kind]
        return {
            name for name, message in messages.items() if name not in held or held[name].version != _pack(message)[1]
        }

    def put(self, kind: Kind, changes: Mapping[str, Any | None], *, again: Collection[str] = ()) -> Ticket:
        """State what resources shall be (None: gone) and send what changed, and `again` even what did not."""
        touched: list[str] = [name for name in again if name not in changes]
        wanted: list[tuple[Kind, str, int]] = []
        for name, message in changes.items():
            if self._hold(kind, name, message) or name in again:
                touched.append(name)
            if name in self._resources[kind]:
                wanted.append((kind, name, self._resources[kind][name].revision))
        if touched:
            for stream in self._streams:
                self._send(stream, kind, touched, absent=kind is Kind.ENDPOINTS)
        return Ticket(wanted=tuple(wanted))

    def sweep(self) -> None:
        """Everything has been stated: from now on an Envoy loses what it brought along and is not known here."""
        self._swept = True
        for stream in self._streams:
            for kind in _WILDCARD:
                if kind in stream.subscriptions:
                    self._send_removals(stream, kind)

    def in_force(self, ticket: Ticket) -> bool:
        """Has every connected Envoy acknowledged all of it? False when none is connected."""
        return bool(self._streams) and not self._missing(ticket)

    async def settled(self, ticket: Ticket, deadline: float) -> None:
        """Wait until it is in force. Raises Rejected, or NotApplied at `deadline` (by the event loop's clock)."""
        changed = asyncio.Event()
        self._waiting.append(changed)
        try:
            async with asyncio.timeout_at(deadline):
                while not self.in_force(ticket):
                    self._raise_rejection(ticket)
                    changed.clear()
                    await changed.wait()
        except TimeoutError as exc:
            missing = ", ".join(self._missing(ticket)) or "anything"
            state = f"has not acknowledged {missing}" if self._streams else "is not connected"
            refused = "".join(f" It refused {name}: {text}." for name, text in self.rejections.items())
            hint = f"It is tried again. `sternway status` tells whether Envoy runs; its log says why not.{refused}"
            raise NotApplied(f"Envoy {state} in time", hint=hint) from exc
        finally:
            self._waiting.remove(changed)

    async def StreamAggregatedResources(self, requests: Any, context: Any) -> None:  # noqa: ARG002, N802 - gRPC's
        """Refuse the older protocol, which our bootstrap does not ask for."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "only the delta protocol is served")

    async def DeltaAggregatedResources(self, requests: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ARG002, N802
        """Serve one Envoy's connection; called by gRPC."""
        stream = _Stream()
        self._streams.append(stream)
        reader = asyncio.create_task(self._read(stream, requests))
        reader.add_done_callback(lambda _: stream.outbox.put_nowait(None))
        try:
            while (response := await stream.outbox.get()) is not None:
                yield response
        finally:
            reader.cancel()
            self._streams.remove(stream)
            self._wake()

    async def _read(self, stream: _Stream, requests: AsyncIterator[Any]) -> None:
        async for request in requests:
            if (kind := _KINDS.get(request.type_url)) is not None:
                self._request(stream, kind, request)
                self._wake()

    def _hold(self, kind: Kind, name: str, message: Any | None) -> bool:
        """Keep a resource; whether it differs from what was kept."""
        held = self._resources[kind].get(name)
        if message is None:
            if held is None or held.sent is None:
                return False
            self._revision += 1
            self._resources[kind][name] = _Resource(revision=self._revision)
            return True
        packed, version = _pack(message)
        if held is not None and held.version == version:
            return False
        self._revision += 1
        sent = discovery_pb2.Resource(name=name, version=version, resource=packed)
        self._resources[kind][name] = _Resource(revision=self._revision, version=version, sent=sent)
        return True

    def _request(self, stream: _Stream, kind: Kind, request: Any) -> None:
        subscription = stream.subscriptions.get(kind)
        first = subscription is None
        if subscription is None:
            subscription = stream.subscriptions[kind] = _Subscription()
            subscription.brought = dict(request.initial_resource_versions)
            subscription.wildcard = kind in _WILDCARD and not request.resource_names_subscribe
        if request.response_nonce:
            self._answered(stream, request)
        asked = list(request.resource_names_subscribe)
        subscription.wildcard |= "*" in asked
        subscription.names.update(asked)
        subscription.names.difference_update(request.resource_names_unsubscribe)
        for name in request.resource_names_unsubscribe:
            subscription.acknowledged.pop(name, None)
            subscription.brought.pop(name, None)
        if first and subscription.wildcard:
            self._send(stream, kind, self._resources[kind], even_empty=not subscription.brought)
            if self._swept:
                self._send_removals(stream, kind)
        elif asked:
            self._send(stream, kind, asked, absent=kind is Kind.ENDPOINTS)

    def _answered(self, stream: _Stream, request: Any) -> None:
        kind, revisions = stream.unanswered.pop(request.response_nonce, (None, {}))
        if kind is None:
            return
        subscription = stream.subscriptions[kind]
        if request.HasField("error_detail"):
            text = _words(request.error_detail.message)
            subscription.rejected |= {name: (revision, text) for name, revision in revisions.items()}
            return
        for name, revision in revisions.items():
            subscription.acknowledged[name] = max(revision, subscription.acknowledged.get(name, 0))
            subscription.rejected.pop(name, None)
            self._forget(kind, name)

    def _forget(self, kind: Kind, name: str) -> None:
        """Drop a removed resource once every Envoy has taken its removal."""
        held = self._resources[kind].get(name)
        if held is None or held.sent is not None:
            return
        subscriptions = [s.subscriptions[kind] for s in self._streams if kind in s.subscriptions]
        if all(s.acknowledged.get(name, 0) >= held.revision for s in subscriptions):
            del self._resources[kind][name]
            for subscription in subscriptions:
                subscription.acknowledged.pop(name, None)

    def _send(
        self,
        stream: _Stream,
        kind: Kind,
        names: Collection[str],
        *,
        even_empty: bool = False,
        absent: bool = False,
    ) -> None:
        """Send resources that this Envoy asked for. `absent`: say so of those that do not exist."""
        subscription = stream.subscriptions.get(kind)
        if subscription is None:
            return
        resources, removed, revisions = [], [], {}
        for name in names:
            held = self._resources[kind].get(name)
            if not subscription.wants(name):
                continue
            if held is None:
                if absent and name not in subscription.brought:
                    removed.append(name)
                continue
            if held.sent is not None and subscription.brought.pop(name, None) == held.version:
                subscription.acknowledged[name] = held.revision
                continue
            revisions[name] = held.revision
            if held.sent is None:
                removed.append(name)
            else:
                resources.append(held.sent)
        if resources or removed or even_empty:
            self._respond(stream, kind, resources, removed, revisions)

    def _send_removals(self, stream: _Stream, kind: Kind) -> None:
        """Take away what the Envoy brought along and nobody stated."""
        brought = stream.subscriptions[kind].brought
        gone = [name for name in brought if name not in self._resources[kind]]
        brought.clear()
        if gone:
            self._respond(stream, kind, [], gone, {})

    def _respond(
        self, stream: _Stream, kind: Kind, resources: list[Any], removed: list[str], revisions: dict[str, int]
    ) -> None:
        stream.nonce += 1
        nonce = str(stream.nonce)
        stream.unanswered[nonce] = (kind, revisions)
        response = discovery_pb2.DeltaDiscoveryResponse(
            system_version_info=str(self._revision),
            type_url=kind.value,
            nonce=nonce,
            resources=resources,
            removed_resources=removed,
        )
        stream.outbox.put_nowait(response)

    def _missing(self, ticket: Ticket) -> list[str]:
        return [
            name
            for kind, name, revision in ticket.wanted
            if name in self._resources[kind]
            and any(
                kind not in s.subscriptions or s.subscriptions[kind].acknowledged.get(name, 0) < revision
                for s in self._streams
            )
        ]

    def _raise_rejection(self, ticket: Ticket) -> None:
        for kind, name, revision in ticket.wanted:
            for stream in self._streams:
                subscription = stream.subscriptions.get(kind)
                refused, text = subscription.rejected.get(name, (0, "")) if subscription else (0, "")
                if refused == revision:
                    raise Rejected(f"Envoy refused {name}: {text}", hint=_TAKEN_HINT if _TAKEN in text else _HINT)

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()


def _words(text: str) -> str:
    """Keep what Envoy has to say, without the dump of the whole resource that it may put before it."""
    return " ".join(text.rpartition("\n: ")[2].split())[:_LONGEST_WORDS]


def _pack(message: Any) -> tuple[Any, str]:
    """Put a message inside an `Any`, and tell the digest of its content."""
    packed = message if isinstance(message, Packed) else Packed()
    if packed is not message:
        packed.Pack(message, deterministic=True)
    return packed, hashlib.blake2b(packed.value, digest_size=8).hexdigest()
