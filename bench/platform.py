"""The whole product in a process of its own: `sternway up` on a Git repository, and releases by committing to it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from bench.manifests import GOOD
from sternway.cli import quick
from sternway.demo.origin import Origin
from sternway.paths import Paths

READY_S = 60.0
RELEASE_S = 240.0
STOP_S = 30.0
LOOK_EVERY_S = 0.2


class Platform:
    """A running `sternway up`. Made by `running`. began_s: when it was started, by the monotonic clock."""

    def __init__(self, origin: Origin, process: asyncio.subprocess.Process, folder: Path, *, began_s: float) -> None:
        self.began_s = began_s
        self.process = psutil.Process(process.pid)
        self.home = folder
        self._origin = origin
        self._running = process
        self._git = asyncio.Lock()
        self._tags: dict[str, str] = {}

    async def status(self) -> dict[str, Any]:
        """What `sternway status` shows; empty while nobody answers."""
        if self._running.returncode is not None:
            tail = await asyncio.to_thread((self.home / "up.log").read_text)
            msg = f"`sternway up` has ended with {self._running.returncode}:\n{tail[-2000:]}"
            raise RuntimeError(msg)
        try:
            found: dict[str, Any] = await asyncio.to_thread(quick.get, Paths.of(self.home).api_socket, "/v1/status")
        except (OSError, ValueError):
            return {}
        return found if "services" in found else {}

    async def service(self, name: str) -> dict[str, Any]:
        """One service's part of the status."""
        found = await self.status()
        return next((one for one in found.get("services", []) if one["service"] == name), {})

    async def address(self, name: str) -> str:
        """Where a service is reached."""
        return str((await self.service(name))["address"])

    async def ready(self) -> None:
        """Wait until every service is."""

        def everything(found: dict[str, Any]) -> bool:
            return bool(found) and found["connected"] and all(one["ready"] for one in found["services"])

        await self.until(everything, READY_S)

    async def until(self, true: Callable[[dict[str, Any]], bool], within_s: float) -> dict[str, Any]:
        """Wait for a status. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not true(found := await self.status()):  # noqa: ASYNC110 - another process tells nothing by itself
                await asyncio.sleep(LOOK_EVERY_S)
        return found

    async def commit(self, name: str, tag: str) -> None:
        """Release a version by committing it."""
        async with self._git:
            now = self._tags.get(name, GOOD)
            await self._origin.change(f"{name}.yaml", f"bench/{name}:{now}", f"bench/{name}:{tag}", f"{name}: {tag}")

    async def release(self, name: str, tag: str) -> dict[str, Any]:
        """Release a version and wait for the end; returns the release as `sternway release show` has it."""
        found = await self.until(bool, READY_S)  # on a busy machine a look may go without an answer
        before = next(one for one in found["services"] if one["service"] == name).get("release") or {}
        await self.commit(name, tag)
        async with asyncio.timeout(RELEASE_S):
            while True:
                release: dict[str, Any] = (await self.service(name)).get("release") or {}
                if release.get("name") != before.get("name") and release.get("outcome", "under way") != "under way":
                    break
                await asyncio.sleep(LOOK_EVERY_S)
        if release["outcome"] == "promoted":
            self._tags[name] = tag
        return release


@contextlib.asynccontextmanager
async def running(files: Mapping[str, str] | None = None) -> AsyncIterator[Platform]:
    """Start the product on a fresh repository with these files (None: the shop's); end everything afterwards."""
    with TemporaryDirectory(prefix="sternway-bench-") as name:
        folder = Path(name)
        origin = await _repository(folder, files)
        home = folder / "home"
        home.mkdir()
        began_s = time.monotonic()
        process = await launch(origin.url, home)
        try:
            yield Platform(origin, process, home, began_s=began_s)
        finally:
            await end(process)


async def _repository(folder: Path, files: Mapping[str, str] | None) -> Origin:
    origin = Origin(folder)
    if files is None:
        await origin.create()
        return origin
    manifests = folder / "manifests"
    manifests.mkdir()
    for path, text in files.items():
        (manifests / path).write_text(text)
    await origin.create(manifests)
    return origin


async def launch(url: str, home: Path) -> asyncio.subprocess.Process:
    """Start `sternway up`; its output goes to `up.log`."""
    with (home / "up.log").open("wb") as out:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sternway.cli", "up", url, "--state", str(home), stdout=out, stderr=out
        )


async def end(process: asyncio.subprocess.Process) -> None:
    """Stop the product as a person would; what it leaves within the time is a failure of the bench."""
    if process.returncode is not None:
        return
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    _, left = await asyncio.to_thread(psutil.wait_procs, children, timeout=2.0)
    named = [words for child in left if (words := _kill(child))]
    if named:
        msg = f"`sternway up` left processes behind: {named}"
        raise RuntimeError(msg)


def _kill(process: psutil.Process) -> str:
    """End what was left behind and say what it was; empty for one that is gone and only waits for its parent."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        words = " ".join(process.cmdline())
        process.kill()
    except psutil.NoSuchProcess:
        return ""
    return words


async def cpu_percent(*processes: psutil.Process, for_s: float) -> list[float]:
    """What each process uses of one core, over a while."""

    def used() -> list[float]:
        return [times.user + times.system for times in (one.cpu_times() for one in processes)]

    before, since_s = used(), time.monotonic()
    await asyncio.sleep(for_s)
    took_s = time.monotonic() - since_s
    return [100.0 * (b - a) / took_s for a, b in zip(before, used(), strict=True)]
