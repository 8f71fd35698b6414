"""A service under release over the fakes: the real engine and shell, no process and no proxy. Used by `judge`."""

from __future__ import annotations

from dataclasses import dataclass, field

from sternway.control.act import Actor
from sternway.control.observe import Observer
from sternway.control.outbox import Outbox
from sternway.control.reconcile import Reconciler
from sternway.domain.guards import Canary, CanaryStep, Guard, JudgeSettings
from sternway.domain.mesh import MeshPolicy
from sternway.domain.policies import Policy
from sternway.domain.releases import Phase, Wanted
from sternway.domain.tallies import ClusterKey, Question, Reading, Tally, Unit
from sternway.domain.versions import Service, Version, Workload
from sternway.ports import Entry
from sternway.testing.fakes import FakeClock, FakeHistory, FakePlatform, FakeRouter, FakeSignals
from sternway.testing.store import MemoryStore


def _version(tag: str) -> Version:
    workload = Workload(image=f"shop/orders:{tag}", port=8080)
    return Version(service="orders", workload=workload, policy=MeshPolicy(), commit=tag)


STABLE, CANDIDATE = _version("1.0.0"), _version("1.1.0")
GUARD = Guard(
    service="orders",
    strategy=Canary(steps=(CanaryStep(percent=10, min_requests=10_000_000),)),
    judge=JudgeSettings(cluster_key=ClusterKey(header="x-user")),
)
STABLE_MS = ((0.5, 10.0), (0.9, 30.0), (0.99, 80.0))


def a_reading(asked: Question, *, end_s: float = 1_000_000.0) -> Reading:
    """What a second of 200 requests looks like, healthy on both sides."""
    tallies = []

    def add(criterion: str, unit: Unit = Unit.REQUEST, arm: int | None = None) -> None:
        for version, total, bad in ((asked.stable, 180, 1), (asked.candidate or "", 20, 0)):
            if arm is None or version == asked.stable:
                count = (20, 0) if arm is not None else (total, bad)
                tallies.append(
                    Tally(
                        version=version,
                        criterion=criterion,
                        unit=unit,
                        arm=arm,
                        start_s=end_s - 1.0,
                        end_s=end_s,
                        total=count[0],
                        bad=count[1],
                    )
                )

    add("errors")
    add("hurt")
    if asked.cluster_key:
        add("errors", Unit.CLUSTER)
    for threshold in asked.latency:
        add(threshold.criterion)
    for arm in range(asked.arms):
        add("errors", arm=arm)
    return Reading(tallies=tuple(tallies), rate_per_s=200.0, stable_ms=STABLE_MS)


@dataclass
class _Git:
    """What Git asks for: sternway.ports.Desired."""

    now: Wanted

    def wanted(self, _service: str) -> Wanted | None:
        """See ports.Desired."""
        return self.now

    def policies(self, _service: str) -> tuple[Policy, ...]:
        """See ports.Desired."""
        return ()

    def bad(self, _service: str) -> tuple[str, ...]:
        """See ports.Desired."""
        return ()

    async def last_good(self, _service: str) -> Version | None:
        """See ports.Desired."""
        return None


def _wanted(version: Version) -> Wanted:
    service = Service(name="orders", port=80)
    return Wanted(service=service, version=version, replicas=2, guard=GUARD, commit=version.commit)


@dataclass
class Passes:
    """A reconciler over fakes, and the seconds that it lives through."""

    clock: FakeClock = field(default_factory=FakeClock)
    journal: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        self._git = _Git(now=_wanted(STABLE))
        self._signals = FakeSignals()
        platform, router = FakePlatform(clock=self.clock), FakeRouter()
        outbox = Outbox(history=FakeHistory(), wake=lambda _: None)
        self._reconciler = Reconciler(
            observer=Observer(
                clock=self.clock,
                desired=self._git,
                platform=platform,
                router=router,
                signals=self._signals,
                commands=self.journal,
                outbox=outbox,
            ),
            actor=Actor(platform=platform, router=router, signals=self._signals, outbox=outbox),
            journal=self.journal,
            clock=self.clock,
            answer=lambda _: None,
        )

    async def expose(self) -> None:
        """Start stable, release the candidate, go on until it has its share, and well into it."""
        for version in (STABLE, CANDIDATE):
            self._git.now = _wanted(version)
            for _ in range(20):
                self.serve()
                await self.reconcile()
        release = (await self._reconciler.progress("orders")).release
        if release is None or release.phase is not Phase.EXPOSED:
            msg = "the candidate is not exposed"
            raise RuntimeError(msg)

    def serve(self) -> None:
        """A second of traffic, as the question in force counts it."""
        self.clock.sleep(1.0)
        asked = self._signals.questions.get("orders")
        if asked is not None and asked.candidate:
            self._signals.readings["orders"] = a_reading(asked, end_s=self.clock.now())

    async def reconcile(self) -> None:
        """One pass."""
        await self._reconciler.reconcile("orders")


async def a_pass() -> Entry:
    """Give the journal's line of a pass in the middle of a release."""
    passes = Passes()
    await passes.expose()
    entry = await passes.journal.latest("orders")
    if entry is None or entry.observation is None:
        msg = "no pass was recorded"
        raise RuntimeError(msg)
    return entry
