"""Gates as commands of this machine: their environment, their end, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from local_world import alive

from sternway.domain.gates import GateOutcome, GateRun
from sternway.domain.guards import Gate
from sternway.domain.mesh import MeshPolicy
from sternway.domain.versions import Service, Version, Workload
from sternway.platforms.local import LocalGates

WAIT_S = 30.0


def version(tag: str) -> Version:
    """A version of orders."""
    return Version(service="orders", workload=Workload(image=f"orders:{tag}"), policy=MeshPolicy(), commit=tag)


def gate_run(command: str, *, name: str = "smoke", timeout_s: float = 60.0) -> GateRun:
    """A gate of release 7."""
    return GateRun(
        release="orders-7",
        gate=Gate(name=name, command=command, timeout_s=timeout_s),
        candidate=version("2"),
        stable=version("1"),
        service=Service(name="orders", port=80),
    )


@dataclass
class Runner:
    """Gates in a folder of their own."""

    gates: LocalGates
    folder: Path
    woken: asyncio.Event

    async def ended(self, *runs: GateRun) -> dict[str, GateOutcome]:
        """Run these until all have ended."""
        async with asyncio.timeout(WAIT_S):
            await self.gates.run("orders", runs)
            while len(found := await self.gates.outcomes("orders")) < len(runs):
                self.woken.clear()
                await self.woken.wait()
        return {one.gate: one for one in found}

    async def pid(self, name: str) -> int:
        """The process that wrote its number into a file."""
        file = self.folder / name
        async with asyncio.timeout(WAIT_S):
            while not file.exists() or not file.read_text().strip():
                await asyncio.sleep(0.02)
        return int(file.read_text())


def made(tmp_path: Path) -> Runner:
    """As a new Sternway has them."""
    woken = asyncio.Event()
    gates = LocalGates(
        folder=tmp_path, logs=tmp_path / "logs", url=lambda _: "127.0.0.1:4711", wake=lambda _: woken.set()
    )
    return Runner(gates, tmp_path, woken)


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[Runner]:
    """Give gates that are stopped at the end."""
    found = made(tmp_path)
    yield found
    await found.gates.close()


async def test_a_gate_knows_the_release_and_passes_by_its_exit_status(runner: Runner) -> None:
    """Its environment names the candidate and where it answers; it runs in the folder of the manifests."""
    script = "import os; print(os.getcwd(), *(f'{k}={v}' for k, v in sorted(os.environ.items()) if 'STERNWAY_' in k))"
    found = await runner.ended(gate_run(f'{{python}} -S -c "{script}"'))
    assert found["smoke"] == GateOutcome(release="orders-7", gate="smoke", passed=True)
    said = (runner.folder / "logs" / "orders" / "gate-7-smoke.log").read_text()
    for part in (
        str(runner.folder),
        "STERNWAY_RELEASE=orders-7",
        "STERNWAY_IMAGE=orders:2",
        f"STERNWAY_VERSION={version('2').id}",
        f"STERNWAY_STABLE={version('1').id}",
        "STERNWAY_URL=http://127.0.0.1:4711",
    ):
        assert part in said


async def test_why_a_gate_failed_is_told(runner: Runner) -> None:
    """The exit status with the last line of its output; a command that is not there; one that takes too long."""
    found = await runner.ended(
        gate_run("sh -c 'echo 2 of 9 checks failed; exit 3'"),
        gate_run("no-such-program", name="absent"),
        gate_run("sleep 600", name="slow", timeout_s=0.1),
    )
    assert not any(one.passed for one in found.values())
    assert found["smoke"].why == (
        "it exited with status 3; 2 of 9 checks failed; `sternway logs orders --replica gate-7-smoke` shows its output"
    )
    assert found["absent"].why == "its command cannot be started: No such file or directory"
    assert found["slow"].why.startswith("it was not over within 0.1 s; ")


async def test_a_gate_that_nobody_waits_for_is_stopped(runner: Runner) -> None:
    """With everything that it started; it has no outcome."""
    run = gate_run("sh -c 'echo $$ > one; sleep 600'")
    await runner.gates.run("orders", [run])
    pid = await runner.pid("one")
    await runner.gates.run("orders", ())
    await runner.gates.close()
    assert not alive(pid)
    assert await runner.gates.outcomes("orders") == ()


async def test_what_a_crash_left_running_is_stopped_and_run_anew(tmp_path: Path) -> None:
    """Two of one gate never run at the same time."""
    mark = "orders-gate-7-smoke"
    script = "import os, time; open('left', 'w').write(str(os.getpid())); time.sleep(600)"
    left = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-c", script, cwd=tmp_path, env={"STERNWAY_REPLICA": mark}, start_new_session=True
    )
    runner = made(tmp_path)
    await runner.pid("left")
    found = await runner.ended(gate_run("true"))
    assert found["smoke"].passed
    assert await asyncio.wait_for(left.wait(), WAIT_S) != 0
    await runner.gates.close()
