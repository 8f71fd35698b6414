"""The API of a Kubernetes cluster over HTTP. Made by the composition root; everything else sees `Api`.

async with Client(find_access()) as client:
    await client.get(DEPLOYMENTS, "orders", "shop")
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp

from sternway import __version__
from sternway.kubernetes.access import Access
from sternway.kubernetes.answers import Asked, error_of
from sternway.kubernetes.api import MANAGER, Change, Listed, Object, Patch, Resource, Told, name_of, namespace_of
from sternway.kubernetes.credentials import Certificate
from sternway.kubernetes.errors import Conflict, Invalid, Unreachable
from sternway.kubernetes.rate import Rate

_ANSWER_S = 30.0
_CONNECT_S = 10.0
_WATCH_S = (240, 300)
"""How long a watch is asked to last; differs, so that not all end at once."""
_SILENCE_S = 120.0
"""A watch that says nothing for so long, not even a bookmark (one a minute), is taken for dead."""
_JSON = "application/json"


class Client:
    """Implements `Api`. `urgent()`: the same, for what must not queue behind other requests."""

    def __init__(self, access: Access, *, rate: Rate | None = None) -> None:
        self._line = _Line(access, rate or Rate())
        self._urgent = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def requests(self) -> Mapping[tuple[str, str, str], int]:
        """How often each (verb, kinds, HTTP status) was; status `none`: no answer came."""
        return self._line.requests

    async def close(self) -> None:
        """Hang up."""
        await self._line.close()

    def urgent(self) -> Client:
        """Give the same client for the fast path: what it asks goes before the others."""
        other = object.__new__(type(self))
        other._line, other._urgent = self._line, True
        return other

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """See Api."""
        asked = Asked(verb="get", resource=resource, namespace=namespace, name=name)
        return await self._ask("GET", asked, absent_is_none=True)

    async def list(
        self, resource: Resource, *, namespace: str = "", labels: str = "", fields: str = "", page: int = 500
    ) -> Listed:
        """See Api."""
        asked = Asked(verb="list", resource=resource, namespace=namespace)
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(page)}
        items: list[Object] = []
        whole = {"apiVersion": resource.api_version, "kind": resource.kind}
        while True:
            found = await self._ask("GET", asked, query=query)
            assert found is not None
            items += [{**whole, **item} for item in found.get("items") or ()]
            if not (further := found["metadata"].get("continue")):
                return Listed(items=tuple(items), resource_version=found["metadata"]["resourceVersion"])
            query["continue"] = further

    async def watch(
        self, resource: Resource, *, since: str, namespace: str = "", labels: str = "", fields: str = ""
    ) -> AsyncIterator[Told]:
        """See Api."""
        asked = Asked(verb="watch", resource=resource, namespace=namespace)
        query = {
            "watch": "true",
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(random.randint(*_WATCH_S)),  # noqa: S311 # jitter
            "labelSelector": labels,
            "fieldSelector": fields,
        }
        silence = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
        async with self._line.answer("GET", asked, query=query, limits=silence, urgent=self._urgent) as response:
            async for line in _lines(response.content):
                yield _told(line, asked)

    async def create(self, resource: Resource, obj: Object) -> Object:
        """See Api."""
        name = obj["metadata"].get("name", "")
        asked = Asked(verb="create", resource=resource, namespace=namespace_of(obj), name=name)
        made = await self._ask("POST", asked, body=_whole(resource, obj), query={"fieldManager": MANAGER}, named=False)
        assert made is not None
        return made

    async def replace(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """See Api."""
        asked = Asked(
            verb="update",
            resource=resource,
            namespace=namespace_of(obj),
            name=name_of(obj),
            subresource=subresource,
        )
        body = obj if subresource == "scale" else _whole(resource, obj)
        put = await self._ask("PUT", asked, body=body, query={"fieldManager": MANAGER}, absent_is_none=True)
        if put is None:
            raise Conflict(f"{asked}: it is not there", hint="read it again: it was deleted")
        return put

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        namespace: str = "",
        how: Patch = Patch.MERGE,
        subresource: str = "",
        manager: str = MANAGER,
        force: bool = False,
    ) -> Object | None:
        """See Api."""
        asked = Asked(
            verb="patch",
            resource=resource,
            namespace=namespace,
            name=name,
            subresource=subresource,
            tests=how is Patch.JSON and any(isinstance(one, Mapping) and one.get("op") == "test" for one in patch),
        )
        query = {"fieldManager": manager}
        applies = how is Patch.APPLY
        body: object = patch
        if applies:
            if not isinstance(patch, Mapping):
                raise Invalid("apply: an object is needed")
            query["force"] = "true" if force else "false"
            metadata = {**patch.get("metadata", {}), "name": name, **({"namespace": namespace} if namespace else {})}
            body = _whole(resource, {**patch, "metadata": metadata})
        return await self._ask(
            "PATCH",
            asked,
            body=body,
            content=how.value,
            query=query,
            absent_is_none=not applies or bool(subresource),
        )

    async def delete(self, resource: Resource, name: str, namespace: str = "", *, uid: str = "") -> None:
        """See Api."""
        asked = Asked(verb="delete", resource=resource, namespace=namespace, name=name)
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        only = {"preconditions": {"uid": uid}} if uid else {}
        try:
            await self._ask("DELETE", asked, body={**options, **only}, absent_is_none=True)
        except Conflict:
            if not uid:
                raise

    async def serves(self, resource: Resource) -> bool:
        """See Api."""
        asked = Asked(verb="discover", resource=resource)
        try:
            async with self._line.answer("GET", asked, path=resource.path, urgent=self._urgent) as response:
                found = await response.json()
        except Invalid:
            return False
        return any(one["name"] == resource.plural for one in found["resources"])

    async def _ask(
        self,
        method: str,
        asked: Asked,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content: str = _JSON,
        absent_is_none: bool = False,
        named: bool = True,
    ) -> Object | None:
        one = asked.resource.namespaced and not asked.namespace and method != "GET"
        if one or (asked.verb == "get" and asked.resource.namespaced != bool(asked.namespace)):
            raise Invalid(f"{asked}: {'a' if asked.resource.namespaced else 'no'} namespace is needed")
        path = _path(asked, named=named)
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        try:
            async with self._line.answer(
                method, asked, path=path, query=query, data=data, content=content, urgent=self._urgent
            ) as response:
                return _object(await response.read(), asked)
        except _NotThere as exc:
            if absent_is_none:
                return None
            raise Invalid(exc.message, hint=exc.hint) from exc


class _NotThere(Invalid):
    """404."""


class _Line:
    """The connections to one server; all clients of it share them, and its rate."""

    def __init__(self, access: Access, rate: Rate) -> None:
        self._access, self._rate = access, rate
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self._session: aiohttp.ClientSession | None = None
        self._tls: tuple[Certificate | None, ssl.SSLContext] | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def answer(
        self,
        method: str,
        asked: Asked,
        *,
        path: str = "",
        query: Mapping[str, str] | None = None,
        data: bytes | None = None,
        content: str = _JSON,
        limits: aiohttp.ClientTimeout | None = None,
        urgent: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give the answer to a request. Raises the kinds of `errors` for what is none."""
        await self._rate.take(urgent=urgent)
        try:
            response = await self._counted(
                asked,
                method,
                self._access.server + (path or _path(asked)),
                params={key: value for key, value in (query or {}).items() if value},
                data=data,
                headers={"Content-Type": content} if data is not None else {},
                timeout=limits or aiohttp.ClientTimeout(total=_ANSWER_S, sock_connect=_CONNECT_S),
            )
            async with response:
                if response.status >= 400:
                    await self._refuse(response, asked)
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            raise Unreachable(
                f"{asked}: {self._access.server}: {exc or type(exc).__name__}",
                hint="the API server does not answer: is the cluster up, and the address right?",
            ) from exc

    async def _counted(self, asked: Asked, method: str, url: str, **more: Any) -> aiohttp.ClientResponse:
        status = "none"
        try:
            response = await self._send(method, url, **more)
            status = str(response.status)
            return response
        finally:
            self.requests[asked.verb, asked.resource.plural, status] += 1

    async def _send(self, method: str, url: str, *, headers: dict[str, str], **more: Any) -> aiohttp.ClientResponse:
        """Send it, and once more with renewed credentials when these are not accepted."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=256, keepalive_timeout=60)
            agent = {"User-Agent": f"sternway/{__version__}", "Accept": _JSON}
            self._session = aiohttp.ClientSession(connector=connector, headers=agent)
        response: aiohttp.ClientResponse | None = None
        for renew in (False, True):
            proof = await self._access.credentials.prove(renew=renew)
            if self._tls is None or self._tls[0] != proof.certificate:
                self._tls = proof.certificate, self._access.tls(proof.certificate)
            response = await self._session.request(
                method,
                url,
                headers={**headers, **({"Authorization": proof.authorization} if proof.authorization else {})},
                ssl=self._tls[1],
                server_hostname=self._access.server_name or None,
                proxy=self._access.proxy or None,
                allow_redirects=False,
                **more,
            )
            if response.status != 401 or renew:
                break
            response.release()
        assert response is not None
        return response

    async def _refuse(self, response: aiohttp.ClientResponse, asked: Asked) -> None:
        text = await response.text(errors="replace")
        error = error_of(response.status, text, asked, retry_after=response.headers.get("Retry-After", ""))
        if response.status == 429 and isinstance(error, Unreachable):
            self._rate.hold(error.retry_in_s)
        if response.status == 404:
            raise _NotThere(error.message, hint=error.hint)
        raise error


def _path(asked: Asked, *, named: bool = True) -> str:
    resource = asked.resource
    place = f"/namespaces/{asked.namespace}" if asked.namespace else ""
    one = f"/{asked.name}" if asked.name and named else ""
    part = f"/{asked.subresource}" if asked.subresource else ""
    return f"{resource.path}{place}/{resource.plural}{one}{part}"


def _whole(resource: Resource, obj: Mapping[str, Any]) -> Object:
    return {"apiVersion": resource.api_version, "kind": resource.kind, **obj}


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Give whole lines, however long."""
    rest: list[bytes] = []
    async for chunk in content.iter_any():
        first, *others = chunk.split(b"\n")
        rest.append(first)
        for other in others:
            yield b"".join(rest)
            rest = [other]
        await asyncio.sleep(0)


def _told(line: bytes, asked: Asked) -> Told:
    event = _object(line, asked)
    kind, obj = str(event.get("type")), event.get("object")
    if not isinstance(obj, dict) or kind not in {"ERROR", *Change}:
        raise _no_object(asked)
    if kind == "ERROR":
        raise error_of(int(obj.get("code") or 500), json.dumps(obj), asked)
    return Told(change=Change(kind), object=obj)


def _object(text: bytes, asked: Asked) -> Object:
    try:
        found = json.loads(text)
    except ValueError as exc:
        raise _no_object(asked) from exc
    if not isinstance(found, dict):
        raise _no_object(asked)
    return found


def _no_object(asked: Asked) -> Unreachable:
    """A proxy in between, say, answered with a page of its own."""
    return Unreachable(f"{asked}: it was answered with something else than an object of the API")
