"""The client over HTTP: what refusals become, what is asked again, and who goes first."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from sternway.errors import SternwayError
from sternway.kubernetes.access import Access
from sternway.kubernetes.answers import Asked, error_of
from sternway.kubernetes.api import Change
from sternway.kubernetes.client import Client
from sternway.kubernetes.credentials import Fixed, TokenFile
from sternway.kubernetes.errors import Conflict, Denied, Gone, Invalid, Unreachable
from sternway.kubernetes.rate import Rate
from sternway.kubernetes.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, SECRETS

PATCHED = Asked(verb="patch", resource=DEPLOYMENTS, namespace="shop", name="orders", subresource="scale")


def _status(message: str, **details: object) -> str:
    return json.dumps({"kind": "Status", "message": message, "details": details})


REFUSALS: dict[int, tuple[type[SternwayError], float]] = {
    400: (Invalid, 0),
    401: (Denied, 0),
    403: (Denied, 0),
    404: (Invalid, 0),
    409: (Conflict, 0.1),
    410: (Gone, 1),
    413: (Invalid, 0),
    422: (Invalid, 0),
    429: (Unreachable, 7),
    500: (Unreachable, 7),
    503: (Unreachable, 7),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_each_refusal_says_what_to_do_next(code: int) -> None:
    """Stop, read again, list again, or try again when the server says."""
    kind, wait_s = REFUSALS[code]
    error = error_of(code, _status("no"), PATCHED, retry_after="7")
    assert type(error) is kind
    assert error.message == "patch deployments/scale orders in shop: no"
    assert getattr(error, "retry_in_s", 0) == wait_s


def test_a_missing_right_is_named_as_a_role_writes_it() -> None:
    """The verb, the resource with its part, the group and the namespace."""
    error = error_of(403, _status('User "x" cannot patch resource "deployments/scale"'), PATCHED)
    rule = 'a Role in namespace shop must allow it: apiGroups: ["apps"], resources: ["deployments/scale"], verbs: ["patch"]'
    assert error.hint == rule
    everywhere = error_of(403, _status("you cannot list"), Asked(verb="list", resource=NAMESPACES))
    assert "a ClusterRole" in everywhere.hint


def test_a_refusal_that_is_no_missing_right_asks_for_no_role() -> None:
    """A quota, or a namespace that goes: 403 as well."""
    assert error_of(403, _status("exceeded quota: pods"), PATCHED).hint == ""


def test_a_secrets_value_is_in_no_error() -> None:
    """What the server quotes of it is left out; the field is named."""
    causes = [
        {"field": "data[key]", "message": 'Invalid value: "s3cret": bad'},
        {"field": "data", "message": "Forbidden: immutable"},
    ]
    text = _status('Secret "a" is invalid: data[key]: Invalid value: "s3cret"', causes=causes)
    error = error_of(422, text, Asked(verb="create", resource=SECRETS, namespace="shop"))
    assert "s3cret" not in str(error)
    assert "data[key]: Invalid value; data: Forbidden: immutable" in error.message


@pytest.mark.parametrize("asked_s", ["soon", "", "100000", "-3"])
def test_an_odd_retry_after_is_borne(asked_s: str) -> None:
    """Never for ever, never at once."""
    error = error_of(503, "<html>bad gateway</html>", PATCHED, retry_after=asked_s)
    assert isinstance(error, Unreachable)
    assert 0 < error.retry_in_s <= 60


Handler = Callable[[web.Request], web.StreamResponse]


@asynccontextmanager
async def _served(handler: Handler, credentials: Fixed | TokenFile | None = None) -> AsyncIterator[Client]:
    """Give a client of a server that answers as the handler says."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with Client(Access(server=f"http://{host}:{port}", credentials=credentials or Fixed())) as client:
            yield client
    finally:
        await runner.cleanup()


async def test_credentials_are_renewed_once(tmp_path: Path) -> None:
    """401: the token is read again and the request sent again; refused twice it is Denied."""
    token = tmp_path / "token"
    token.write_text("old")
    seen: list[str] = []

    def handler(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        good = seen[-1] == "Bearer new"
        return web.json_response({"metadata": {"name": "a"}} if good else {}, status=200 if good else 401)

    async with _served(handler, TokenFile(token)) as client:
        with pytest.raises(Denied, match="renew"):
            await client.get(CONFIG_MAPS, "a", "shop")
        token.write_text("new")
        assert await client.get(CONFIG_MAPS, "a", "shop") == {"metadata": {"name": "a"}}
    assert seen == ["Bearer old", "Bearer old", "Bearer old", "Bearer new"]


async def test_a_server_that_is_gone_is_unreachable() -> None:
    """The error names the address."""
    async with _served(lambda _: web.Response()) as client:
        address = client._line._access.server
    with pytest.raises(Unreachable, match=address):
        await client.get(CONFIG_MAPS, "a", "shop")
    await client.close()


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b"\xff\xfe", b"", b"[]", b"null"])
async def test_what_answers_without_an_object_is_unreachable(body: bytes) -> None:
    """A proxy's page with 200: whoever follows a kind tries again."""
    async with _served(lambda _: web.Response(body=body)) as client:
        with pytest.raises(Unreachable, match=r"list configmaps in shop: .*something else than"):
            await client.list(CONFIG_MAPS, namespace="shop")
        with pytest.raises(Unreachable, match=r"get configmaps a in shop: .*something else than"):
            await client.get(CONFIG_MAPS, "a", "shop")


@pytest.mark.parametrize("line", ["<html>", "[]", "{}", '{"type": "SIGHTED", "object": {}}'])
async def test_what_is_no_event_ends_the_watch(line: str) -> None:
    """The watch begins again where it was."""
    async with _served(lambda _: web.Response(text=f"{line}\n")) as client:
        with pytest.raises(Unreachable, match=r"watch configmaps in shop: .*something else than"):
            await anext(client.watch(CONFIG_MAPS, since="1", namespace="shop"))


async def test_a_long_event_arrives_whole() -> None:
    """A line of a megabyte, and an error in the stream, which is a 410."""
    big = {"metadata": {"name": "a", "resourceVersion": "7"}, "data": {"a": "x" * 1_000_000}}
    lines = [{"type": "ADDED", "object": big}, {"type": "ERROR", "object": {"code": 410, "message": "too old"}}]
    text = "\n".join(map(json.dumps, lines)) + "\n"
    async with _served(lambda _: web.Response(text=text)) as client:
        watch = client.watch(CONFIG_MAPS, since="1", namespace="shop")
        told = await anext(watch)
        assert (told.change, told.object) == (Change.ADDED, big)
        with pytest.raises(Gone, match="too old"):
            await anext(watch)


async def test_a_writer_needs_a_namespace() -> None:
    """Said here, not asked of the server."""
    async with _served(lambda _: web.Response(status=500)) as client:
        with pytest.raises(Invalid, match="a namespace is needed"):
            await client.create(CONFIG_MAPS, {"metadata": {"name": "a"}})


async def test_a_burst_is_let_through_and_what_is_urgent_does_not_queue() -> None:
    """The bucket is empty and the clock stands still: others wait, the fast path goes on for another burst."""
    rate = Rate(per_s=1, burst=3, now=lambda: 0.0)
    for _ in range(3):
        await rate.take()
    queued = asyncio.create_task(rate.take())
    for _ in range(3):
        await rate.take(urgent=True)
    assert not queued.done()
    urgent = asyncio.create_task(rate.take(urgent=True))
    await asyncio.sleep(0)
    assert not urgent.done()
    for task in (queued, urgent):
        task.cancel()


async def test_a_throttling_server_holds_the_queue_alone() -> None:
    """429: what is not urgent waits as long as the server said."""
    now = [0.0]
    rate = Rate(per_s=100, burst=10, now=lambda: now[0])
    rate.hold(2)
    waiting = asyncio.create_task(rate.take())
    async with asyncio.timeout(30):
        for _ in range(10):
            await rate.take(urgent=True)
        assert not waiting.done()
        now[0] = 2.1
        await waiting
