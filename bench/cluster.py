"""A cluster in a process of its own for the bench `operator`: an API server, controllers, and a Prometheus, over HTTP.

    python -m bench.cluster --guards 1000 --namespaces 1

Prints its port, then answers until its standard input is closed. Objects are kept by the fake of the tests, which passes the
suite of the real API. `/bench/log?since=N`: the requests so far; `/bench/release`: new images for some services.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import web

from sternway.errors import SternwayError
from sternway.kubernetes import resources
from sternway.kubernetes.api import Change, Object, Patch, Resource, key_of, name_of, namespace_of
from sternway.kubernetes.errors import Conflict, Gone
from sternway.kubernetes.ours import named
from sternway.kubernetes.resources import DEPLOYMENTS, GUARDS, PODS, REPLICA_SETS, SERVICES
from sternway.platforms.kubernetes import followers
from sternway.testing.kubernetes import FakeKubernetes
from sternway.traffic.kubernetes.istio import DESTINATION_RULES, VIRTUAL_SERVICES
from sternway.traffic.kubernetes.registry import kinds

MESH = (VIRTUAL_SERVICES, DESTINATION_RULES)
KNOWN = {
    (one.group, one.version, one.plural): one
    for one in (
        *(one for one in vars(resources).values() if isinstance(one, Resource)),
        *(one for several in followers.KINDS for one in several),
        *kinds(),
    )
}
REPLICAS = 2
PER_S = 200.0
"""Requests to each service; the route in force says who answers them."""
_PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?(?:/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?)?"
)
_STEP: Object = {"percent": 10, "minRequests": 1_000_000_000}
GUARD: Object = {"strategy": {"canary": {"steps": [_STEP]}}, "judge": {"warmUp": "0s"}}


class Server:
    """The API over HTTP, as `kubernetes.client` asks it."""

    def __init__(self, fake: FakeKubernetes) -> None:
        self.fake = fake
        self.log: list[tuple[float, str, str, str, str]] = []
        """(at, verb, plural, namespace/name, subresource) of each request."""
        self._pages: dict[str, tuple[Object, ...]] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        parts = _PATH.fullmatch(request.path)
        group, version = (parts["group"] or "", parts["version"] or parts["core"]) if parts else ("", "")
        if parts is not None and parts["plural"] is None:
            return self._discover(group, version)
        resource = KNOWN.get((group, version, parts["plural"])) if parts else None
        if parts is None or resource is None:
            return _status(404, "no such address")
        namespace, name, sub = parts["namespace"] or "", parts["name"] or "", parts["sub"] or ""
        verb = "watch" if request.query.get("watch") else request.method.lower()
        self.log.append((time.time(), verb, resource.plural, f"{namespace}/{name}", sub))
        try:
            if verb == "watch":
                return await self._watch(request, resource, namespace)
            if verb == "get" and not name:
                return await self._list(request, resource, namespace)
            done = await self._do(request, resource, namespace, name, sub)
        except SternwayError as error:
            code = 409 if isinstance(error, Conflict) else 410 if isinstance(error, Gone) else 422
            return _status(code, error.message)
        return web.json_response(done) if done is not None else _status(404, f"{resource.plural} {name!r} not found")

    def _discover(self, group: str, version: str) -> web.Response:
        self.log.append((time.time(), "discover", f"{group}/{version}", "", ""))
        served = [one for one in KNOWN.values() if (one.group, one.version) == (group, version)]
        names = [{"name": one.plural} for one in served if self.fake.store.serves(one)]
        return web.json_response({"resources": names}) if names else _status(404, "no such group")

    async def _do(self, request: web.Request, resource: Resource, namespace: str, name: str, sub: str) -> Object | None:
        store = self.fake.store
        body = await request.json() if request.can_read_body else {}
        match request.method:
            case "GET":
                return store.get(resource, name, namespace)
            case "POST":
                return store.create(resource, body)
            case "PUT":
                return store.replace(resource, body, subresource=sub)
            case "PATCH":
                how = Patch(request.content_type)
                force = request.query.get("force") == "true"
                return store.patch(resource, name, body, namespace=namespace, how=how, subresource=sub, force=force)
            case _:
                store.delete(resource, name, namespace, uid=(body.get("preconditions") or {}).get("uid", ""))
                return {"kind": "Status", "status": "Success"}

    async def _list(self, request: web.Request, resource: Resource, namespace: str) -> web.Response:
        query = request.query
        token, limit = query.get("continue", ""), int(query.get("limit", 0)) or 10**9
        if token:
            version, _, number = token.partition(":")
            at, items = int(number), self._pages[f"{version} {resource.plural}"]
        else:
            version, at = str(self.fake.store.version), 0
            labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
            items = self.fake.store.select(resource, namespace=namespace, labels=labels, fields=fields)
            self._pages[f"{version} {resource.plural}"] = items
        further = {"continue": f"{version}:{at + limit}"} if at + limit < len(items) else {}
        if not further:
            self._pages.pop(f"{version} {resource.plural}", None)
        return web.json_response({"metadata": {"resourceVersion": version, **further}, "items": items[at : at + limit]})

    async def _watch(self, request: web.Request, resource: Resource, namespace: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        query = request.query
        told = self.fake.watch(
            resource,
            since=query["resourceVersion"],
            namespace=namespace,
            labels=query.get("labelSelector", ""),
            fields=query.get("fieldSelector", ""),
        )
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(float(query.get("timeoutSeconds", 300))):
                async for one in told:
                    line = json.dumps({"type": one.change.value, "object": one.object})
                    await response.write(line.encode() + b"\n")
        return response


@dataclass
class Controllers:
    """Those of Deployments and ReplicaSets, and the kubelet: pods are ready as soon as they are made."""

    fake: FakeKubernetes
    at: int = 0
    sets: dict[tuple[str, str], dict[str, list[str]]] = field(default_factory=dict)
    """Deployment -> ReplicaSet -> pods."""

    async def run(self) -> None:
        """Follow the Deployments for ever."""
        history = self.fake.store.history[DEPLOYMENTS.group, DEPLOYMENTS.plural]
        while True:
            fresh = {key_of(one.object) for one in history[self.at :] if one.change in (Change.ADDED, Change.MODIFIED)}
            self.at = len(history)
            for namespace, name in fresh:
                self._roll(namespace, name)
                await asyncio.sleep(0)
            await asyncio.sleep(0.05)

    def _roll(self, namespace: str, name: str) -> None:
        store = self.fake.store
        deployment = store.get(DEPLOYMENTS, name, namespace)
        if deployment is None:
            return
        spec, known = deployment["spec"], self.sets.setdefault((namespace, name), {})
        mark = hashlib.sha256(json.dumps(spec["template"], sort_keys=True).encode()).hexdigest()[:9]
        current = f"{name}-{mark}"
        if current not in known and not spec.get("paused"):
            store.create(REPLICA_SETS, _set_of(deployment, current, mark, len(known) + 1))
            known[current] = []
        elif current not in known:
            current = next(reversed(known), "")
        for one in known:
            self._fill(namespace, one, known[one], int(spec.get("replicas", 1)) if one == current else 0)
        ready = sum(map(len, known.values()))
        status = {"observedGeneration": deployment["metadata"]["generation"], "readyReplicas": ready}
        if deployment.get("status") != status:
            store.patch(DEPLOYMENTS, name, {"status": status}, namespace=namespace, subresource="status")

    def _fill(self, namespace: str, name: str, pods: list[str], replicas: int) -> None:
        store = self.fake.store
        made = store.get(REPLICA_SETS, name, namespace)
        assert made is not None
        for gone in pods[replicas:]:
            store.delete(PODS, gone, namespace, now=True)
        del pods[replicas:]
        while len(pods) < replicas:
            pod = f"{name}-{store.word(5)}"
            template = made["spec"]["template"]
            metadata = {"name": pod, "namespace": namespace, "labels": template["metadata"]["labels"]}
            store.create(PODS, {"metadata": metadata | _owned_by(made), "spec": template["spec"]})
            container = {"name": template["spec"]["containers"][0]["name"], "restartCount": 0}
            ready = {"type": "Ready", "status": "True"}
            running = {"phase": "Running", "conditions": [ready], "containerStatuses": [container]}
            store.patch(PODS, pod, {"status": running}, namespace=namespace, subresource="status")
            pods.append(pod)
        if made["spec"]["replicas"] != replicas:
            store.patch(REPLICA_SETS, name, {"spec": {"replicas": replicas}}, namespace=namespace)
        status: Object = {"replicas": replicas, "readyReplicas": replicas}
        if made.get("status") != status:
            store.patch(REPLICA_SETS, name, {"status": status}, namespace=namespace, subresource="status")


@dataclass
class Counters:
    """What Istio's proxies would have counted: requests are shared as the VirtualService says. bad: how often `:bad` fails."""

    fake: FakeKubernetes
    bad: float = 0.5
    counted: dict[tuple[str, str], list[tuple[float, float, float]]] = field(default_factory=dict)
    """(namespace, workload) -> (at, requests, errors)."""

    def series(self, query: str) -> list[Object]:
        """Answer a selector with a range."""
        workload, space = (_label(query, f"destination_workload{part}") for part in ("", "_namespace"))
        samples = self._scraped(space, workload)
        name = "istio_request_duration_milliseconds_bucket" if "bucket" in query else "istio_requests_total"
        column = 2 if 'response_code=~"5..|0"' in query else 1
        edges: list[dict[str, str]] = [{"le": "25"}, {"le": "+Inf"}] if "bucket" in query else [{}]
        return [
            {"metric": {"__name__": name, **more}, "values": [[one[0], str(int(one[column]))] for one in samples]}
            for more in edges
        ]

    def _scraped(self, namespace: str, workload: str) -> list[tuple[float, float, float]]:
        now = time.time()
        samples = self.counted.setdefault((namespace, workload), [(now - 1.0, 0.0, 0.0)])
        at, total, bad = samples[-1]
        if now - at >= 0.1:
            share, fails = self._share(namespace, workload)
            more = PER_S * share * (now - at)
            samples.append((now, total + more, bad + (more * self.bad if fails else 0.0)))
            del samples[:-20]
        return samples

    def _share(self, namespace: str, workload: str) -> tuple[float, bool]:
        service = workload.removesuffix("-stable")
        deployment = self.fake.store.get(DEPLOYMENTS, workload, namespace)
        image = deployment["spec"]["template"]["spec"]["containers"][0]["image"] if deployment else ""
        route = self.fake.store.get(VIRTUAL_SERVICES, service, namespace)
        shares = route["spec"]["http"][-1]["route"] if route else ()
        host = named(service, "stable" if workload.endswith("-stable") else "candidate")
        found = sum(one.get("weight", 100) for one in shares if one["destination"]["host"].partition(".")[0] == host)
        return found / 100, image.endswith(":bad")


def seed(fake: FakeKubernetes, guards: int, namespaces: int) -> None:
    """Put the users' objects there: for each service a Deployment, a Service, a VirtualService and a Guard."""
    for number in range(guards):
        name, namespace = f"service-{number:04}", f"shop-{number % namespaces:03}"
        labels = {"app": name}
        container = {
            "name": name,
            "image": f"registry/{name}:1",
            "ports": [{"containerPort": 8080}],
            "envFrom": [{"configMapRef": {"name": name}}],
        }
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {"replicas": REPLICAS, "selector": {"matchLabels": labels}, "template": template}
        ports = [{"name": "http", "port": 80, "targetPort": 8080}]
        route = {"hosts": [name], "http": [{"route": [{"destination": {"host": name}}]}]}
        for resource, body in (
            (resources.CONFIG_MAPS, {"data": {"greeting": "hello"}}),
            (DEPLOYMENTS, {"spec": spec}),
            (SERVICES, {"spec": {"selector": labels, "ports": ports}}),
            (VIRTUAL_SERVICES, {"spec": route}),
            (GUARDS, {"spec": {"service": name, **GUARD}}),
        ):
            fake.store.create(resource, {"metadata": {"name": name, "namespace": namespace}, **body}, manager="kubectl")


def release(fake: FakeKubernetes, first: int, count: int, tag: str) -> None:
    """Give services another image: so many, from the first on."""
    users = [one for one in fake.store.select(DEPLOYMENTS) if not name_of(one).endswith("-stable")]
    for one in sorted(users, key=name_of)[first : first + count]:
        image = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": f"{name_of(one)}:{tag}"}
        space = namespace_of(one)
        fake.store.patch(DEPLOYMENTS, name_of(one), [image], namespace=space, how=Patch.JSON, manager="kubectl")


def application(server: Server, counters: Counters) -> web.Application:
    """Everything that is served."""

    async def query(request: web.Request) -> web.Response:
        asked, now = str((await request.post())["query"]), time.time()
        scalar = {"resultType": "scalar", "result": [now, str(now)]}
        found = scalar if asked == "time()" else {"resultType": "matrix", "result": counters.series(asked)}
        return web.json_response({"status": "success", "data": found})

    async def log(request: web.Request) -> web.Response:
        return web.json_response(server.log[int(request.query["since"]) :])

    async def start(request: web.Request) -> web.Response:
        release(server.fake, int(request.query["first"]), int(request.query["count"]), request.query["tag"])
        return web.json_response({})

    app = web.Application(client_max_size=2**24)
    app.router.add_post("/api/v1/query", query)
    app.router.add_get("/bench/log", log)
    app.router.add_post("/bench/release", start)
    app.router.add_route("*", "/{path:.*}", server.answer)
    return app


async def serve(guards: int, namespaces: int) -> None:
    """Answer until standard input is closed."""
    fake = FakeKubernetes(kinds=MESH, namespaces=[f"shop-{number:03}" for number in range(namespaces)])
    seed(fake, guards, namespaces)
    runner = web.AppRunner(application(Server(fake), Counters(fake)), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    tasks = [asyncio.create_task(Controllers(fake).run()), asyncio.create_task(_bookmarks(fake))]
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await asyncio.wait([*tasks, asyncio.create_task(reader.read())], return_when=asyncio.FIRST_COMPLETED)
    failed = [task.exception() for task in tasks if task.done()]
    await runner.cleanup()
    if failed:
        raise failed[0] or RuntimeError


async def _bookmarks(fake: FakeKubernetes) -> None:
    while True:
        await asyncio.sleep(60)
        fake.bookmark()


def _set_of(deployment: Object, name: str, mark: str, number: int) -> Object:
    template = json.loads(json.dumps(deployment["spec"]["template"]))
    template["metadata"]["labels"] = {**template["metadata"].get("labels", {}), "pod-template-hash": mark}
    metadata = {
        "name": name,
        "namespace": namespace_of(deployment),
        "labels": template["metadata"]["labels"],
        "annotations": {"deployment.kubernetes.io/revision": str(number)},
    }
    selector = {"matchLabels": {**deployment["spec"]["selector"]["matchLabels"], "pod-template-hash": mark}}
    spec = {"replicas": 0, "selector": selector, "template": template}
    return {"metadata": metadata | _owned_by(deployment), "spec": spec}


def _owned_by(owner: Object) -> Object:
    said = {"apiVersion": "apps/v1", "kind": owner["kind"], "name": name_of(owner), "uid": owner["metadata"]["uid"]}
    return {"ownerReferences": [said | {"controller": True}]}


def _label(query: str, label: str) -> str:
    found = re.search(rf'[{{,]{label}="([^"]*)"', query)
    return found[1] if found else ""


def _status(code: int, message: str) -> web.Response:
    said = {"kind": "Status", "status": "Failure", "code": code, "message": message}
    return web.json_response(said, status=code)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench.cluster")
    parser.add_argument("--guards", type=int, default=1000)
    parser.add_argument("--namespaces", type=int, default=1)
    options = parser.parse_args()
    asyncio.run(serve(options.guards, options.namespaces))
