"""`sternway operator`: Sternway in a cluster. Called by `cli.app`; the parts are wired in `sternway.cluster`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from sternway.cli.checking import monitoring_in
from sternway.cli.session import Code
from sternway.clock import SystemClock
from sternway.cluster import ClusterSternway, Settings
from sternway.domain.monitoring import Monitoring
from sternway.kubernetes.access import find_access
from sternway.kubernetes.client import Client
from sternway.kubernetes.leader import Leader
from sternway.operator.memory import settle
from sternway.web.listeners import Listeners, Part
from sternway.web.operator_metrics import OperatorMetrics
from sternway.web.webhook import AlertWebhook

LOOKED_AT_AFTER_S = 60.0
"""By then each of a thousand services was looked at, and what is remembered of it stays."""

OLD_AFTER_S = 300.0
"""The API says something at least once a minute on each watch; what is older than this is not known any more."""


class Health:
    """Answers the kubelet's probes; see `listeners.Part`."""

    name = "probes"

    def __init__(self, sternway: ClusterSternway, listen: str) -> None:
        self._sternway = sternway
        self._listen = listen

    def listen(self) -> str | None:
        """See Part."""
        return self._listen

    def routes(self) -> list[web.RouteDef]:
        """See Part."""
        return [web.get("/healthz", self._alive), web.get("/readyz", self._ready)]

    async def _alive(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        """Ready is who knows the cluster: also the replica that stands by."""
        if not self._sternway.synced:
            return web.Response(text="the cluster is still being read\n", status=503)
        return web.Response(text="ok\n")


def operator(
    *,
    namespaces: Sequence[str],
    listen: str,
    state: Path,
    lease: str,
    context: str,
    monitoring: Path | None,
    git: Path | None,
    **told: Any,
) -> Code:
    """Run until SIGTERM. told: other settings, by the names that `cluster.Settings` has."""
    said = monitoring_in(monitoring) if monitoring is not None else Monitoring()
    settings = Settings(state=state, namespaces=tuple(namespaces), monitoring=said, git=git, own=lease, **told)
    return asyncio.run(_run(settings, listen=listen, lease=lease, context=context))


async def _run(settings: Settings, *, listen: str, lease: str, context: str) -> Code:
    clock = SystemClock()
    ended = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, ended.set)
    async with Client(find_access(context=context)) as api:
        sternway = ClusterSternway(settings, api, urgent=api.urgent(), clock=clock)
        webhook = AlertWebhook(sternway.alertmanager, where=lambda: settings.monitoring.webhook)
        also = {listen, settings.monitoring.metrics or listen}
        metrics = (OperatorMetrics(sternway, api.requests, listen=address) for address in sorted(also))
        parts: list[Part] = [Health(sternway, listen), webhook, *metrics]
        listening = asyncio.create_task(Listeners(parts, tell=_say).run(), name="listen")
        working = asyncio.create_task(_work(sternway, lease=lease, api=api, clock=clock), name="work")
        await asyncio.wait({listening, working, asyncio.create_task(ended.wait())}, return_when=asyncio.FIRST_COMPLETED)
        failed = next((task for task in (listening, working) if task.done() and task.exception()), None)
        for task in (working, listening):
            task.cancel()
        await asyncio.gather(working, listening, return_exceptions=True)
        await sternway.close()
        if failed is not None:
            raise failed.exception() or RuntimeError
    return Code.OK


async def _work(sternway: ClusterSternway, *, lease: str, api: Client, clock: SystemClock) -> None:
    await sternway.start()
    settle()
    _say("cluster", "is known")
    if not lease:
        await _lead(sternway)
    identity = f"{socket.gethostname()}_{uuid.uuid4()}"
    leader = Leader(api, namespace=lease, name="sternway", identity=identity, clock=clock)

    async def lead() -> None:
        _say("leader", identity)
        try:
            await _lead(sternway)
        finally:
            await sternway.stand_by()

    await leader.lead(lead)


async def _lead(sternway: ClusterSternway) -> None:
    await sternway.lead()
    await asyncio.sleep(LOOKED_AT_AFTER_S)
    settle()
    await asyncio.Event().wait()


def _say(about: str, text: str) -> None:
    if text:
        with contextlib.suppress(OSError):
            print(f"{about}: {text}", file=sys.stderr, flush=True)


def default_state() -> str:
    """Where the journal is kept outside of a cluster."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return str(Path(base) / "sternway")
