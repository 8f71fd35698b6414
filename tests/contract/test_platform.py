"""What every Platform keeps: exactly the stated workloads run, and it says how they do."""

from __future__ import annotations

from contract_world import Running

from sternway.domain.platform import WorkloadRun, WorkloadState
from sternway.domain.versions import Workload


def run(workload: Workload, replicas: int = 1) -> WorkloadRun:
    """Ask for replicas."""
    return WorkloadRun(workload=workload, replicas=replicas)


async def seen(running: Running) -> dict[str, tuple[int, int]]:
    """Describe orders: image -> (desired, ready)."""
    return {one.image: (one.desired, one.ready) for one in await running.platform.describe("orders")}


async def reaches(running: Running, wanted: dict[str, tuple[int, int]]) -> None:
    """Wait until that, and only that, is described."""

    async def so() -> bool:
        return await seen(running) == wanted

    await running.until(so, f"orders is {wanted}")


async def test_nothing_runs_for_a_service_that_nobody_asked_for(running: Running):
    """An unknown service is an empty answer."""
    assert await running.platform.describe("orders") == ()


async def test_what_was_asked_for_is_described_at_once_and_ready_later(running: Running):
    """Apply does not wait: the first answer may be not ready, the last one is."""
    await running.platform.apply("orders", [run(running.good("1.0.0"), 2)])
    (first,) = await running.platform.describe("orders")
    assert (first.image, first.desired) == ("good:1.0.0", 2)
    assert first.workload_id == running.good("1.0.0").id
    await reaches(running, {"good:1.0.0": (2, 2)})


async def test_asking_again_changes_nothing(running: Running):
    """No replica is started anew when the same is asked for."""

    def essence(states: tuple[WorkloadState, ...]) -> list[object]:
        return [(s.workload_id, s.ready, s.restarts, [(r.name, r.pid) for r in s.replicas]) for s in states]

    wanted = [run(running.good("1.0.0"), 2)]
    await running.platform.apply("orders", wanted)
    await reaches(running, {"good:1.0.0": (2, 2)})
    before = essence(await running.platform.describe("orders"))
    await running.platform.apply("orders", wanted)
    assert essence(await running.platform.describe("orders")) == before


async def test_exactly_what_is_asked_for_runs(running: Running):
    """Scaled, joined by another, replaced, and stopped: each statement is the whole truth."""
    old, new = running.good("1.0.0"), running.good("1.1.0")
    await running.platform.apply("orders", [run(old)])
    await reaches(running, {"good:1.0.0": (1, 1)})
    await running.platform.apply("orders", [run(old, 2), run(new)])
    await reaches(running, {"good:1.0.0": (2, 2), "good:1.1.0": (1, 1)})
    await running.platform.apply("orders", [run(new)])
    await reaches(running, {"good:1.1.0": (1, 1)})
    await running.platform.apply("orders", [])
    await reaches(running, {})


async def test_services_do_not_touch_each_other(running: Running):
    """Stopping one leaves the other as it is."""
    await running.platform.apply("orders", [run(running.good("1.0.0"))])
    await running.platform.apply("stock", [run(running.good("1.0.0"))])
    await reaches(running, {"good:1.0.0": (1, 1)})
    await running.platform.apply("stock", [])
    assert await seen(running) == {"good:1.0.0": (1, 1)}


async def test_a_workload_that_cannot_run_says_why_and_the_others_run(running: Running):
    """A failure is a sentence on that workload, never an exception."""
    await running.platform.apply("orders", [run(running.good("1.0.0")), run(running.broken("1.0.0"))])

    async def told() -> bool:
        return any(one.failure for one in await running.platform.describe("orders"))

    await running.until(told, "the failure is told")
    await reaches(running, {"good:1.0.0": (1, 1), "broken:1.0.0": (1, 0)})
    failures = {one.image: one.failure for one in await running.platform.describe("orders")}
    assert failures["good:1.0.0"] is None
    assert failures["broken:1.0.0"]
