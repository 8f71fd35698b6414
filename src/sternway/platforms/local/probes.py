"""Runs one Kubernetes probe once: HTTP, TCP or a command. Used by health, with one HTTP session for all replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp

from sternway.domain.versions import Probe
from sternway.platforms.local.launch import Launch
from sternway.platforms.local.network import ADDRESS, accepts
from sternway.platforms.local.process import MARK, Process

_BODY_BYTES = 10_240


class Prober:
    """Asks processes how they are. Every HTTP probe is a connection of its own, as the kubelet's are."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the HTTP session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def check(self, probe: Probe, port: int, launch: Callable[[], Awaitable[Launch]]) -> str | None:
        """None when the probe passes, otherwise a sentence why not. `launch`: whose surroundings a command gets."""
        if probe.http_path is not None:
            return await self._http(probe.http_path, port, probe.timeout_s)
        if probe.exec_command:
            return await _exec(probe, await launch())
        return await accepts(port, probe.timeout_s)

    async def _http(self, path: str, port: int, timeout_s: float) -> str | None:
        """200 to 399 passes. A redirect counts as an answer and is not followed."""
        if self._session is None:
            # A kept connection would starve a server with one thread; a cookie would make probes differ.
            connector = aiohttp.TCPConnector(force_close=True, limit=0, happy_eyeballs_delay=None)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": "sternway-probe"},
            )
        url = f"http://{ADDRESS}:{port}/{path.removeprefix('/')}"
        what = f"GET {path} on port {port}"
        try:
            timeout = aiohttp.ClientTimeout(total=timeout_s)
            async with self._session.get(url, allow_redirects=False, timeout=timeout) as response:
                await response.content.read(_BODY_BYTES)
                if 200 <= response.status < 400:
                    return None
                return f"{what} answered {response.status}"
        except TimeoutError:
            return f"{what} was not answered in {timeout_s:g} s"
        except (aiohttp.ClientError, OSError) as exc:
            return f"{what} failed: {exc or type(exc).__name__}"


async def _exec(probe: Probe, launch: Launch) -> str | None:
    what = f"command `{' '.join(probe.exec_command)}`"
    env = {name: value for name, value in launch.env.items() if name != MARK}  # it is not the replica itself
    try:
        process = Process.spawn(probe.exec_command, env=env, cwd=launch.working_dir)
    except OSError as exc:
        return f"{what} could not be started: {exc.strerror}"
    try:
        await asyncio.wait({process.exited}, timeout=probe.timeout_s)
        if not process.exited.done():
            return f"{what} did not end in {probe.timeout_s:g} s"
        ended = process.exited.result()
        return None if ended.status == 0 else f"{what} {ended}"
    finally:
        process.kill()
