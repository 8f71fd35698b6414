"""Fixtures: a running platform over fakes, and its API."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from running_platform import RunningPlatform

from sternway.web.api import Api
from sternway.web.client import Client


@pytest.fixture
async def platform() -> AsyncIterator[RunningPlatform]:
    """Give a platform on which orders 1.0.0 serves."""
    running = RunningPlatform()
    await running.start()
    yield running
    await running.close()


@pytest.fixture
async def api(platform: RunningPlatform, tmp_path: Path) -> AsyncIterator[Path]:
    """Give the socket of its API. What it is asked at the end stands in `platform.keep`."""

    def stop(keep: bool) -> None:
        platform.keep = keep

    server = Api(platform, stop=stop)
    socket = tmp_path / "api.sock"
    await server.start(socket)
    yield socket
    await server.close()


@pytest.fixture
async def client(api: Path) -> AsyncIterator[Client]:
    """Give a client of the API."""
    async with Client(api) as found:
        yield found
