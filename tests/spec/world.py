"""A small world for the property tests: real engine and shell, fakes at the ports, simulated users, crashes on request."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sternway.control.act import Actor
from sternway.control.observe import Observer
from sternway.control.outbox import Outbox
from sternway.control.reconcile import Reconciler
from sternway.domain.guards import Canary, CanaryStep, Guard, JudgeSettings
from sternway.domain.mesh import MeshPolicy
from sternway.domain.metrics import AlertRule, Limits, Metric, OnAlert, Ratio, Sample
from sternway.domain.policies import Policy
from sternway.domain.releases import Phase, Progress, Release, Reply, Revert, Verb, Wanted
from sternway.domain.tallies import ClusterKey, Question, Reading, Tally, Unit
from sternway.domain.traffic import TrafficPlan
from sternway.domain.versions import Service, Version, Workload
from sternway.errors import Temporary
from sternway.ports import Entry
from sternway.testing.fakes import FakeClock, FakeGates, FakeHistory, FakePlatform, FakeRouter, FakeSignals, Tap, no_tap
from sternway.testing.store import MemoryStore

SERVICE = Service(name="orders", port=8080)
PINNED_PERCENT = 20.0
"""How many requests carry the header or cookie of an A/B test."""


class Crash(BaseException):
    """The process dies here: nothing after this point happens."""


def version(tag: str) -> Version:
    """A version that runs `orders:TAG`, seen at a commit named after it."""
    return Version(
        service="orders", workload=Workload(image=f"orders:{tag}", port=8080), policy=MeshPolicy(), commit=f"c-{tag}"
    )


def guard(**changes: object) -> Guard:
    """A quick guard with a cluster key."""
    fields: dict[str, object] = {
        "service": "orders",
        "strategy": Canary(
            steps=(CanaryStep(requests_per_second=5, min_requests=30), CanaryStep(percent=20, min_requests=60)),
        ),
        "judge": JudgeSettings(cluster_key=ClusterKey(header="x-user"), latency_quantiles=()),
        "bake_s": 20.0,
        "keep_s": 5.0,
        "withdraw_s": 5.0,
        "progress_deadline_s": 30.0,
    }
    return Guard(**{**fields, **changes})  # type: ignore[arg-type]


MEASURED = replace(
    JudgeSettings(cluster_key=ClusterKey(header="x-user"), latency_quantiles=()),
    metrics=(
        Metric(name="refused", interval_s=1.0, ratio=Ratio(bad='bad{v="$(version)"}', total='all{v="$(version)"}')),
        Metric(name="depth", interval_s=1.0, limits=Limits(query='depth{v="$(version)"}', max=20.0, fail_max=50.0)),
    ),
    alerts=(AlertRule(match=(("alertname", "Refused"),), then=OnAlert.ROLLBACK),),
)
"""A judge with two metrics, `refused` and `depth`, and an alert."""


class Store(MemoryStore):
    """A journal beside whose writes the process may die."""

    tap: Tap = staticmethod(no_tap)

    async def record(self, entries: Sequence[Entry], *, sync: bool = False) -> None:
        """See ports.Journal."""
        self.tap("journal.record before")
        await super().record(entries, sync=sync)
        self.tap("journal.record after")


class Signals(FakeSignals):
    """Readings that are gone when the process dies after it took them."""

    tap: Tap = staticmethod(no_tap)

    async def read(self, service: str) -> Reading:
        """See ports.SignalSource."""
        reading = await super().read(service)
        self.tap("signals.read after")
        return reading


@dataclass
class Git:
    """What Git asks for, as the follower would say it."""

    history: FakeHistory
    now: Wanted | None = None
    rules: tuple[Policy, ...] = ()

    def policies(self, service: str) -> tuple[Policy, ...]:
        """See GitFollower."""
        return self.rules

    def wanted(self, service: str) -> Wanted | None:
        """See GitFollower."""
        return self.now

    def bad(self, service: str) -> tuple[str, ...]:
        """See GitFollower."""
        last = {mark.version: mark.verdict for mark in self.history.marks}
        return tuple(sorted(v for v, verdict in last.items() if verdict == "bad"))

    async def last_good(self, service: str) -> Version | None:
        """See GitFollower."""
        return None


@dataclass
class World:
    """One service under Sternway, and its users."""

    rate_per_s: float = 100.0
    base_error: float = 0.001
    seed: int = 0
    error: dict[str, float] = field(default_factory=dict)
    refused: dict[str, float] = field(default_factory=dict)
    depth: dict[str, float] = field(default_factory=dict)
    store: Store = field(default_factory=Store)
    clock: FakeClock = field(default_factory=FakeClock)
    crash_in: int | None = None
    replies: list[Reply] = field(default_factory=list)
    hurt: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.taps = 0
        self.platform = FakePlatform(clock=self.clock, tap=self._tap)
        self.router = FakeRouter(tap=self._tap)
        self.signals = Signals()
        self.signals.tap = self.store.tap = self._tap
        self.gates = FakeGates(tap=self._tap)
        self.history = FakeHistory(tap=self._tap, on_revert=self._reverted)
        self.git = Git(history=self.history)
        self._live = True
        self.wanted_before: dict[str, Wanted] = {}
        self.boot()

    def boot(self) -> None:
        """A new process: everything in memory is gone, the store, Git, proxies and replicas are not."""
        self.outbox = Outbox(history=self.history, wake=lambda _: None)
        self.reconciler = Reconciler(
            observer=Observer(
                clock=self.clock,
                desired=self.git,
                platform=self.platform,
                router=self.router,
                signals=self.signals,
                commands=self.store,
                outbox=self.outbox,
                gates=self.gates,
            ),
            actor=Actor(
                platform=self.platform,
                router=self.router,
                signals=self.signals,
                outbox=self.outbox,
                gates=self.gates,
            ),
            journal=self.store,
            clock=self.clock,
            answer=self.replies.append,
        )

    def _tap(self, _: str) -> None:
        self.taps += 1
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in < 0:
                self.crash_in = None
                raise Crash

    def commit(self, tag: str, *, error: float | None = None, with_guard: Guard | None = None) -> Version:
        """Somebody pushes a version."""
        pushed = version(tag)
        if error is not None:
            self.error[pushed.id] = error
        return self.push(pushed, guard=with_guard or guard())

    def push(self, pushed: Version, **changes: object) -> Version:
        """Somebody pushes a version, with whatever else Git says then."""
        wanted = Wanted(
            service=SERVICE,
            version=pushed,
            replicas=2,
            guard=guard(),
            commit=pushed.commit,
            documents=(("orders.yaml", "Deployment", "orders"),),
        )
        self.git.now = replace(wanted, **changes)  # type: ignore[arg-type]  # the names are fields of Wanted
        self.wanted_before[pushed.commit] = self.git.now
        return pushed

    def _reverted(self, revert: Revert) -> str:
        """The revert lands: Git asks for the restored version from now on, unless somebody pushed in between."""
        if self.git.now is not None and self.git.now.commit == revert.bad:
            self.git.now = self.wanted_before[revert.restore]
        return f"revert-{revert.release}"

    async def serve(self, seconds: float) -> None:
        """Users call the service for a while, by the split that the proxies hold; then Sternway looks."""
        self.clock.sleep(seconds)
        plan = await self.router.observe("orders")
        question = self.signals.questions.get("orders")
        if plan is not None and question is not None:
            self.signals.readings["orders"] = self._reading(plan, question, seconds)

    async def look(self) -> None:
        """One pass; a crash anywhere in it is a new process that converges first."""
        try:
            with contextlib.suppress(Temporary):
                await self.reconciler.reconcile("orders")
            await self._git_work()
        except Crash:
            await self.restart()

    async def restart(self) -> None:
        """The process is gone and comes back."""
        await self.outbox.close()
        self.boot()
        try:
            await self.reconciler.converge("orders")
        except Temporary:
            return
        except Crash:
            await self.restart()

    async def until(self, phase: Phase, within_s: int = 200) -> Release:
        """Let users and passes alternate until the release stands there."""
        for _ in range(within_s):
            await self.run(1)
            release = (await self.progress()).release
            if release is not None and release.phase is phase:
                return release
        msg = f"never {phase}: {(await self.release()).phase}: {(await self.release()).reason}"
        raise AssertionError(msg)

    async def say(self, verb: Verb, to: str | None = None, reason: str = "") -> Reply:
        """A person speaks; the answer."""
        await self.store.add("orders", verb.value, "ada", self.clock.now(), to, reason)
        await self.look()
        return self.replies[-1]

    async def run(self, seconds: float, tick_s: float = 1.0) -> None:
        """Alternate users and passes."""
        passed = 0.0
        while passed < seconds:
            await self.serve(tick_s)
            await self.look()
            passed += tick_s

    async def _git_work(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        for task in list(self.outbox._tasks.values()):
            if task.done() and isinstance(task.exception(), Crash):
                raise Crash

    def _reading(self, plan: TrafficPlan, question: Question, seconds: float) -> Reading:
        tallies, first_bad = [], None
        now = self.clock.now()
        span = {"start_s": now - seconds, "end_s": now}
        shares = {id_: plan.split.percent(id_) for id_ in plan.split.versions}
        if plan.mirror is not None:
            shares.setdefault(plan.mirror.version, plan.mirror.percent)
        shares |= {pin.version: PINNED_PERCENT for pin in plan.pins}
        for id_, percent in shares.items():
            total = self._binomial(int(self.rate_per_s * seconds), percent / 100)
            bad = self._binomial(total, self.error.get(id_, self.base_error))
            if not total or id_ not in (question.stable, question.candidate):
                continue
            shielded = plan.shield is not None and plan.shield.version == id_
            hurt = 0 if shielded else bad
            self.hurt += hurt if id_ == question.candidate else 0
            tallies.append(Tally(version=id_, criterion="errors", total=total, bad=bad, **span))
            tallies.append(Tally(version=id_, criterion="hurt", total=total, bad=hurt, **span))
            if question.cluster_key:
                tallies.append(Tally(version=id_, criterion="errors", total=total, bad=bad, unit=Unit.CLUSTER, **span))
            if id_ == question.stable:
                tallies += self._arms(id_, total, bad, question, span)
            elif bad:
                first_bad = now
        tallies += self._refusals(plan, question, seconds, span)
        return Reading(
            tallies=tuple(tallies),
            rate_per_s=self.rate_per_s,
            first_bad_s=first_bad,
            samples=self._samples(question, now),
        )

    def _refusals(self, plan: TrafficPlan, question: Question, seconds: float, span: dict[str, float]) -> list[Tally]:
        """Count what the metric `refused` counts, for both versions."""
        if question.metrics is None or self.signals.unseen:
            return []
        totals = {
            id_: int(self.rate_per_s * seconds * plan.split.percent(id_) / 100)
            for id_ in (question.metrics.stable, question.metrics.candidate)
        }
        return [
            Tally(
                version=id_,
                criterion="refused",
                total=total,
                bad=self._binomial(total, self.refused.get(id_, 0.01)),
                **span,
            )
            for id_, total in totals.items()
            if total
        ]

    def _samples(self, question: Question, now_s: float) -> tuple[Sample, ...]:
        """Measure what the metric `depth` does."""
        asked = question.metrics
        if asked is None:
            return ()
        gone = bool(self.signals.unseen)
        values = [None if gone else self.depth.get(id_, 5.0) for id_ in (asked.candidate, asked.stable)]
        return (Sample(criterion="depth", at_s=now_s, candidate=values[0], stable=values[1]),)

    def _arms(self, id_: str, total: int, bad: int, question: Question, span: dict[str, float]) -> list[Tally]:
        arms, left, left_bad = [], total, bad
        for arm in range(question.arms):
            n = min(left, self._binomial(total, question.arm_share))
            b = min(n, left_bad, self._binomial(bad, question.arm_share))
            left, left_bad = left - n, left_bad - b
            if n:
                arms.append(Tally(version=id_, criterion="errors", total=n, bad=b, arm=arm, **span))
        return arms

    def _binomial(self, n: int, p: float) -> int:
        return sum(self.random.random() < p for _ in range(n))

    async def progress(self) -> Progress:
        """Where the service stands by the journal."""
        return await self.store.progress("orders") or Progress(service="orders")

    async def release(self) -> Release:
        """The latest release."""
        release = (await self.progress()).release
        assert release is not None
        return release

    async def share(self, id_: str) -> float:
        """The share of a version by the proxies, 0..100."""
        plan = await self.router.observe("orders")
        return plan.split.percent(id_) if plan else 0.0
