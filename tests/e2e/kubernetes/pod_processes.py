"""Plays the kubelet: each pod of a namespace is a process of this machine, ready when its probe says so.

A pod has an address of its own in 127.0.0.0/8, so each may listen on the port that its container names; where that port is
taken on every address of this machine, on another one: `place` knows. A process is started as number 1 of its pod, which
is why the service of the docs does not heed SIGTERM: it serves until its time of grace is over.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from sternway.kubernetes.api import Api, Object, name_of
from sternway.kubernetes.resources import CONFIG_MAPS, PODS
from sternway.testing.kubernetes import FakeKubernetes

GRACE_S = 2.0
"""In place of the 30 s of Kubernetes."""
LOOK_EVERY_S = 0.05
NOBODY_ELSE_S = 30.0
"""So long another kubelet is given to speak of a pod first: the stand-in of a cluster for tests does it once, and late.

Spoken of before, a pod that has users would be said not to be ready, for a moment.
"""
_NEW_NAMESPACE = "import signal, socketserver\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsocketserver.TCPServer.request_queue_size = 128\n"
"""What a pod has of its own: it is process 1, and a queue of connections as long as Linux has it by default elsewhere."""
_numbers = itertools.count(random.SystemRandom().randrange(1 << 20))


@dataclass
class Process:
    """One pod's process."""

    pod: Object
    address: str
    ports: dict[int, int]
    child: subprocess.Popen[bytes]
    since_s: float
    ready: bool = False
    restarts: int = 0
    end_s: float | None = None


@dataclass
class Kubelet:
    """See the module. program: a Python program with `("", PORT)` where it listens. images: what each image was built with."""

    api: Api
    namespace: str
    program: str
    images: Mapping[str, Mapping[str, str]]
    folder: Path
    running: dict[str, Process] = field(default_factory=dict)

    async def run(self) -> None:
        """Go on until cancelled; then every process ends."""
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session:
                while True:
                    await self._look(session)
                    await asyncio.sleep(LOOK_EVERY_S)
        finally:
            for process in self.running.values():
                process.child.kill()
                process.child.wait()

    def place(self, pod: Object, port: int) -> tuple[str, int] | None:
        """Where a pod's port is reached; None before its process was started."""
        process = self.running.get(pod["metadata"]["uid"])
        return (process.address, process.ports[port]) if process else None

    async def _look(self, session: aiohttp.ClientSession) -> None:
        found = {one["metadata"]["uid"]: one for one in (await self.api.list(PODS, namespace=self.namespace)).items}
        for uid, pod in found.items():
            if uid not in self.running and not pod["metadata"].get("deletionTimestamp"):
                self.running[uid] = await self._start(pod)
        await asyncio.gather(*(self._tend(uid, found.get(uid), session) for uid in tuple(self.running)))

    async def _tend(self, uid: str, pod: Object | None, session: aiohttp.ClientSession) -> None:
        process = self.running[uid]
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            await self._end(uid, process, pod)
            return
        if process.child.poll() is not None:
            again = await self._start(pod)
            again.restarts = process.restarts + 1
            self.running[uid] = process = again
        process.ready = await _answers(process, session)
        unheard = not (pod.get("status") or {}).get("podIP")
        if unheard and not isinstance(self.api, FakeKubernetes) and _now() < process.since_s + NOBODY_ELSE_S:
            return
        status = _status(pod, process)
        if not _shows(pod, process):
            await self.api.patch(
                PODS,
                name_of(pod),
                {"status": status},
                namespace=self.namespace,
                subresource="status",
                manager="kubelet",
            )

    async def _end(self, uid: str, process: Process, pod: Object | None) -> None:
        if process.end_s is None:
            process.child.send_signal(signal.SIGTERM)
            process.end_s = _now() + GRACE_S
        if process.child.poll() is None and _now() < process.end_s:
            return
        process.child.kill()
        process.child.wait()
        if pod is not None and isinstance(self.api, FakeKubernetes):
            self.api.store.delete(PODS, name_of(pod), self.namespace, now=True)
        if pod is None:
            del self.running[uid]

    async def _start(self, pod: Object) -> Process:
        (container,) = pod["spec"]["containers"]
        image = container["image"].rpartition("/")[2]
        number = next(_numbers)
        address = f"127.{1 + (number >> 14) % 250}.{1 + (number >> 7) % 127}.{1 + number % 127}"
        ports = {one["containerPort"]: _free(address) for one in container["ports"]}
        text = self.program
        for port, real in ports.items():
            assert f'("", {port})' in text, "the program must say where it listens"
            text = text.replace(f'("", {port})', f'("{address}", {real})')
        environment = {"PATH": os.environ["PATH"], **self.images[image], **await self._environment(container)}
        log = (self.folder / f"{name_of(pod)}.log").open("ab")
        child = subprocess.Popen(  # noqa: ASYNC220  a fork takes a millisecond
            [sys.executable, "-S", "-c", _NEW_NAMESPACE + text],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        return Process(pod=pod, address=address, ports=ports, child=child, since_s=_now())

    async def _environment(self, container: Object) -> dict[str, str]:
        found = {one["name"]: one["value"] for one in container.get("env") or () if "value" in one}
        for one in container.get("envFrom") or ():
            held = await self.api.get(CONFIG_MAPS, one["configMapRef"]["name"], self.namespace)
            assert held is not None, f"there is no ConfigMap {one['configMapRef']['name']}"
            found = {**held["data"], **found}
        return found


async def _answers(process: Process, session: aiohttp.ClientSession) -> bool:
    probe = process.pod["spec"]["containers"][0]["readinessProbe"]["httpGet"]
    url = f"http://{process.address}:{process.ports[probe['port']]}{probe['path']}"
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return process.ready  # one failure of a busy machine is none: failureThreshold is 3 by default


def _status(pod: Object, process: Process) -> Object:
    ready = "True" if process.ready else "False"
    container = pod["spec"]["containers"][0]
    one = {"name": container["name"], "image": container["image"], "imageID": "", "ready": process.ready}
    said = {"PodScheduled": "True", "Initialized": "True", "ContainersReady": ready, "Ready": ready}
    return {
        "phase": "Running",
        "podIP": process.address,
        "podIPs": [{"ip": process.address}],
        "conditions": [{"type": kind, "status": value} for kind, value in said.items()],
        "containerStatuses": [{**one, "restartCount": process.restarts, "state": {"running": {}}}],
    }


def _shows(pod: Object, process: Process) -> bool:
    status = pod.get("status") or {}
    restarts = sum(one["restartCount"] for one in status.get("containerStatuses") or ())
    return (status.get("podIP"), is_ready(pod), restarts) == (process.address, process.ready, process.restarts)


def is_ready(pod: Object) -> bool:
    """Whether a pod takes requests."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _free(address: str) -> int:
    with socket.socket() as one:
        one.bind((address, 0))
        return int(one.getsockname()[1])


def _now() -> float:
    return asyncio.get_running_loop().time()
