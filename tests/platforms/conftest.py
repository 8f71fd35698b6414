"""Fixtures: a world and a started platform in it."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from local_world import World, alive

from sternway.platforms.local import LocalPlatform


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Give a world in a fresh folder; whatever its replicas left running is killed by its recorded pid."""
    flags = tmp_path / "flags"
    flags.mkdir()
    world = World(state_dir=tmp_path / "state", flags=flags)
    yield world
    for platform in world.platforms:
        await platform.close(stop=False)
    for path in (tmp_path / "state" / "replicas").glob("*.json"):
        found = re.search(r'"pid":\s*(\d+)', path.read_text())
        pid = int(found[1]) if found else None
        if pid and alive(pid) and os.getpgid(pid) == pid:
            os.killpg(pid, 9)


@pytest.fixture
async def platform(world: World) -> AsyncIterator[LocalPlatform]:
    """Give a started platform, stopped with all its replicas at the end."""
    platform = world.platform()
    await platform.start()
    yield platform
    await platform.close(stop=True)
