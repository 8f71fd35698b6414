"""`sternway replay` without a running platform."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sternway.domain.guards import Guard
from sternway.domain.mesh import MeshPolicy
from sternway.domain.releases import Observation, Progress, Wanted
from sternway.domain.versions import Service, Version, Workload
from sternway.engine.step import step
from sternway.paths import Paths
from sternway.ports import Entry
from sternway.store import SqlStore


def version(tag: str) -> Version:
    """A version of orders."""
    return Version(service="orders", workload=Workload(image=f"orders:{tag}", port=80), policy=MeshPolicy(), commit=tag)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose platform has stopped; its journal holds the first pass of orders-1."""
    paths = Paths.of(tmp_path)
    paths.make()
    before = Progress(service="orders", stable=version("1"), good=(version("1"),))
    wanted = Wanted(
        service=Service(name="orders", port=80),
        version=version("2"),
        replicas=1,
        guard=Guard(service="orders"),
        commit="2",
    )
    seen = Observation(now_s=1.0, wanted=wanted)
    after = step(before, seen)
    entry = Entry(
        service="orders",
        release="orders-1",
        kind="pass",
        at_s=1.0,
        before=before,
        observation=seen,
        decision=after.decision,
        progress=after.progress,
    )

    async def record() -> None:
        store = SqlStore(paths.database)
        await store.open()
        await store.record((entry,))
        await store.close()

    asyncio.run(record())
    return tmp_path


def replay(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Type the command."""
    command = [sys.executable, "-m", "sternway.cli", "-C", str(folder), "replay", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_a_release_is_replayed_from_the_journal_of_a_stopped_platform(folder: Path):
    """The record suffices: no proxy, no process, no network."""
    done = replay(folder, "orders-1", "--output", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["matches"] is True


def test_a_release_that_the_journal_does_not_hold_is_refused(folder: Path):
    """The answer says how to find one."""
    done = replay(folder, "orders-9")
    assert done.returncode == 1
    assert "sternway history" in done.stderr


def test_where_no_platform_ever_was_the_answer_says_so(tmp_path: Path):
    """The same as for every command that needs one."""
    done = replay(tmp_path, "orders-1")
    assert done.returncode == 3
    assert "sternway up" in done.stderr


def test_the_evidence_of_a_stopped_platforms_release_is_plotted(folder: Path):
    """The story needs the platform, the course of the evidence only its journal."""
    picture = folder / "orders-1.svg"
    command = [
        sys.executable,
        "-m",
        "sternway.cli",
        "-C",
        str(folder),
        "release",
        "show",
        "orders-1",
        "--plot",
        str(picture),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "orders-1: evidence over time" in picture.read_text()
