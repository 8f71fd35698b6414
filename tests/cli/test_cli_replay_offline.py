"""What can be read of a platform that is not running: its journal says what was, replay, history and stories."""

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
    return sternway(folder, "replay", *words)


def sternway(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Type a command."""
    command = [sys.executable, "-m", "sternway.cli", "-C", str(folder), *words]
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


def test_releases_are_listed_and_told_from_the_journal(folder: Path):
    """As the platform would, with a word on where it comes from; of the commit, what the journal knows."""
    listed = sternway(folder, "history", "orders", "--output", "json")
    assert listed.returncode == 0, listed.stderr
    assert [one["name"] for one in json.loads(listed.stdout)] == ["orders-1"]
    assert "what its journal says" in listed.stderr
    told = sternway(folder, "release", "show", "orders-1")
    assert told.returncode == 0, told.stderr
    assert "orders-1" in told.stdout
    assert "Traceback" not in told.stdout + told.stderr


def test_what_the_journal_does_not_know_is_refused_with_what_it_knows(folder: Path):
    """The same words as a running platform has."""
    unknown = sternway(folder, "history", "shop")
    assert unknown.returncode == 1
    assert "services: orders" in unknown.stderr
    missing = sternway(folder, "release", "show", "orders-9")
    assert missing.returncode == 1
    assert "the journal holds no release orders-9" in missing.stderr


def test_the_status_says_since_when_nothing_was_written(folder: Path):
    """A status is of now, so there is none; what can be read is named."""
    done = sternway(folder, "status")
    assert done.returncode == 3
    assert "the platform is not running; the last entry of its journal is from" in done.stderr
    assert "sternway history SERVICE" in done.stderr


def test_the_logs_of_a_stopped_platform_are_named(folder: Path):
    """Where they stand, for a service that has some."""
    logs = folder / ".sternway" / "logs" / "orders"
    logs.mkdir(parents=True)
    found = sternway(folder, "logs", "orders")
    assert (found.returncode, str(logs.resolve()) in found.stderr) == (3, True)
    assert "logs" not in sternway(folder, "logs", "fraud").stderr


def test_the_report_is_made_from_the_journal(folder: Path):
    """Releases that a stopped platform has left are reported; one that has not ended is known, and none of them."""
    done = sternway(folder, "report", "--output", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["known"], found["total"]) == (1, None)
    assert "what its journal says" in done.stderr


def test_a_platforms_own_journal_goes_before_one_beside_it(folder: Path):
    """A state folder of the operator is known by its journal; a folder of manifests may hold a file of that name."""
    (folder / "journal.db").write_text("no journal at all")
    done = sternway(folder, "history", "orders", "--output", "json")
    assert done.returncode == 0, done.stderr
    assert [one["name"] for one in json.loads(done.stdout)] == ["orders-1"]
