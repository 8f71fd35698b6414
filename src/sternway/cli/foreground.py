"""The platform in the foreground: starts it with its API, tells what happens, stops it. Called by `cli.running`.

Printing happens on a thread of its own: a terminal that was stopped with Ctrl-S must not hold a rollback up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from sternway.bootstrap import Settings, Sternway
from sternway.cli import render
from sternway.cli.events import events
from sternway.cli.session import Code, console
from sternway.cli.words import duration
from sternway.control.status import PlatformStatus
from sternway.web.api import Api
from sternway.web.listeners import Listeners
from sternway.web.own_metrics import OwnMetrics
from sternway.web.watch import watch
from sternway.web.webhook import AlertWebhook

_TELL_AT_LEAST_EVERY_S = 30.0


class Foreground:
    """One run of `sternway up`."""

    def __init__(self, settings: Settings) -> None:
        self._out = console()
        self._sternway = Sternway(settings, say=self._say)
        self._api = Api(self._sternway, stop=self._stop)
        self._keep = False
        self._signals = 0

    def run(self) -> Code:
        """Run until somebody asks for the end. Raises what the start raises."""
        return asyncio.run(self._run())

    async def _run(self) -> Code:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)
        ended = asyncio.create_task(self._sternway.wait())
        starting = asyncio.create_task(self._sternway.start())
        await asyncio.wait({starting, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await self._sternway.close(stop=True)
            return Code.INTERRUPTED
        await starting
        await self._api.start(self._sternway.paths.api_socket)
        listening = asyncio.create_task(self._listeners().run(), name="listen for webhooks and scrapes")
        telling = asyncio.create_task(self._tell(began_s))
        telling.add_done_callback(self._told)
        await ended
        self._say("stopping; press Ctrl-C again to stop at once")
        for task in (telling, listening):
            task.cancel()
        await asyncio.gather(telling, listening, return_exceptions=True)
        await self._api.close()
        await self._sternway.close(stop=not self._keep)
        return Code.OK

    async def _tell(self, began_s: float) -> None:
        before: PlatformStatus | None = None
        all_ready = False
        async for now in watch(self._sternway, at_least_every_s=_TELL_AT_LEAST_EVERY_S):
            lines = [render.event(happened) for happened in events(before, now)]
            if now.ready and not all_ready:
                all_ready = True
                took = duration(asyncio.get_running_loop().time() - began_s)
                lines.append(render.plain(f"everything is ready after {took}; Ctrl-C stops it"))
            before = now
            for line in lines:
                await asyncio.to_thread(self._out.print, line, soft_wrap=True)

    def _told(self, task: asyncio.Task[None]) -> None:
        """Say that printing has failed, if that is possible; the platform goes on all the same."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            with contextlib.suppress(OSError):
                self._say(f"no more events are shown ({error!r}); `sternway status --watch` shows them")

    def _listeners(self) -> Listeners:
        platform = self._sternway
        webhook = AlertWebhook(platform.alertmanager, where=platform.webhook)
        metrics = OwnMetrics(platform, self._api.figures, where=platform.metrics_address)
        return Listeners((webhook, metrics), tell=platform.trouble)

    def _say(self, text: str) -> None:
        self._out.print(text, soft_wrap=True)

    def _stop(self, keep: bool) -> None:  # noqa: FBT001  the API's callback
        self._keep = keep
        self._sternway.stop()

    def _signalled(self) -> None:
        self._signals += 1
        if self._signals == 1:
            self._sternway.stop()
            return
        self._say("stopped at once; what runs is left running, and the next `sternway up` takes it over")
        os._exit(Code.INTERRUPTED)
