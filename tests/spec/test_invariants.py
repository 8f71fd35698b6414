"""The invariants of the design under arbitrary histories, with the process dying between any two effects.

Which test holds which invariant is listed in docs/concepts/invariants.md; the numbers here are the ones used there.
"""

import asyncio
from dataclasses import replace

from hypothesis import HealthCheck, note, settings
from hypothesis import Phase as Step
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from policy_pass import APPROVED, FINISHES, FROZEN, LONG_BAKES, SHOWN_FIRST, checked_step
from world import MEASURED, World, guard, version

from sternway.control import reconcile
from sternway.control.replay import replay
from sternway.domain.guards import ABTest, BlueGreen, MirrorFirst, Mode, Then
from sternway.domain.metrics import Alert, Unseen
from sternway.domain.policies import Policy
from sternway.domain.releases import Decision, Observation, Phase, Progress, Verb
from sternway.domain.traffic import TrafficPlan
from sternway.domain.versions import Version
from sternway.engine.exposure import reachable, ready
from sternway.engine.step import step
from sternway.ports import Entry

TAGS = ("1.1.0", "1.2.0", "1.3.0")
BAD = "1.2.0"
BROKEN = "1.3.0"
FALLBACK = version("0.9.9")
GUARDS = {
    "canary": guard(),
    "keyless": guard(judge=replace(guard().judge, cluster_key=None)),
    "blue-green": guard(strategy=BlueGreen(hold_s=1.0)),
    "mirror": guard(mirror=MirrorFirst(percent=20.0, min_requests=30)),
    "A/B": guard(strategy=ABTest(header=("x-group", "b"), min_requests=50)),
    "ask": guard(mode=Mode.ASK, ask_timeout_s=30.0),
    "ask in blue-green": guard(mode=Mode.ASK, ask_timeout_s=30.0, strategy=BlueGreen(hold_s=3.0)),
    "blind": guard(blind_s=5.0, blind_then=Then.ROLLBACK),
    "blind, promote": guard(blind_s=5.0, blind_then=Then.PROMOTE),
    "measured": guard(judge=MEASURED, blind_s=5.0, blind_then=Then.ROLLBACK),
    "measured, hold": guard(judge=MEASURED),
}


class Service(RuleBasedStateMachine):
    """One service, its users, its Git, and everything that can go wrong around it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.taken_back: set[str] = set()
        self.answered: set[int] = set()
        self.asked = 0
        self.read = 0

    def run(self, work):
        """Let the world do something."""
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        """Every release replays bit for bit (8), and what is calm converges (1, 2, 7)."""
        self.calm()
        for number in range(1, self.run(self.world.progress()).releases + 1):
            name = f"orders-{number}"
            assert replay(name, self.run(self.world.store.entries(release=name))).matches
        self.run(self.world.outbox.close())
        self.loop.close()
        reconcile.step = step  # type: ignore[attr-defined]  # as it was

    @initialize(seed=st.integers(0, 1000), rate=st.sampled_from([2.0, 20.0, 200.0]))
    def begin(self, seed: int, rate: float) -> None:
        """1.0.0 serves."""
        self.world = World(seed=seed, rate_per_s=rate)
        self.expect_recorded_plans()
        reconcile.step = checked_step  # type: ignore[attr-defined]  # each pass is taken without policies too
        self.world.error[version(BAD).id] = 0.5
        self.world.commit("1.0.0")
        self.run(self.world.run(10))

    @rule(
        tag=st.sampled_from(("1.0.0", *TAGS)),
        kind=st.sampled_from(sorted(GUARDS)),
        timeout_ms=st.sampled_from([15_000, 15_000, 500]),
        fallback=st.sampled_from([None, FALLBACK]),
        replicas=st.integers(1, 3),
        seconds=st.sampled_from([0, 2, 8, 30]),
    )
    def push(self, tag: str, kind: str, timeout_ms: int, fallback: Version | None, replicas: int, seconds: int) -> None:
        """Somebody commits a version, or a policy, guard, fallback or number of replicas."""
        if tag == BROKEN:
            self.world.platform.broken["orders:1.3.0"] = "exited 3 times"
        pushed = version(tag)
        pushed = replace(
            pushed, policy=replace(pushed.policy, timeout_ms=timeout_ms), id="", commit=f"c-{tag}-{timeout_ms}"
        )
        if tag == BAD:
            self.world.error[pushed.id] = 0.5
        self.world.push(
            pushed, guard=GUARDS[kind], fallback=fallback, fallback_replicas=2 if fallback else 0, replicas=replicas
        )
        self.run(self.world.run(seconds))

    @rule(seconds=st.integers(1, 3))
    def delete_the_service_for_a_while(self, seconds: int) -> None:
        """Somebody removes the manifests and brings them back."""
        before, self.world.git.now = self.world.git.now, None
        self.run(self.world.run(seconds))
        self.world.git.now = before

    @rule(seconds=st.integers(1, 40), tick=st.sampled_from([0.1, 1.0]))
    def pass_time(self, seconds: int, tick: float) -> None:
        """Users call, Sternway looks."""
        self.run(self.world.run(seconds * tick, tick_s=tick))

    @rule(calls=st.integers(0, 12), seconds=st.integers(1, 10))
    def crash_soon(self, calls: int, seconds: int) -> None:
        """The process dies at one of the next calls of a port."""
        self.world.crash_in = calls
        self.run(self.world.run(seconds))
        self.world.crash_in = None

    @rule()
    def restart(self) -> None:
        """The process is killed while nothing happens."""
        self.run(self.world.restart())

    @rule(
        verb=st.sampled_from(list(Verb)),
        to=st.sampled_from([None, None, "1.0.0", "1.1.0", "9.9.9"]),
        seconds=st.sampled_from([0, 2, 8]),
    )
    def command(self, verb: Verb, to: str | None, seconds: int) -> None:
        """A person says something."""
        self.run(self.world.store.add("orders", verb.value, "ada", self.world.clock.now(), to, ""))
        self.asked += 1
        self.run(self.world.run(seconds))
        if verb is Verb.RETRY:
            self.taken_back.clear()

    @rule(down=st.booleans())
    def git(self, down: bool) -> None:
        """The Git server goes or comes back."""
        self.world.history.down = down

    @rule(refusals=st.sampled_from([0, 1, 3, 15]), seconds=st.sampled_from([0, 2, 12]))
    def proxies_refuse(self, refusals: int, seconds: int) -> None:
        """The next plans are not acknowledged."""
        self.world.router.refuse = refusals
        self.run(self.world.run(seconds))

    @rule(blind=st.booleans())
    def lose_the_access_log(self, blind: bool) -> None:
        """Nothing can be seen, or everything again."""
        self.world.signals.blind_since_s = self.world.clock.now() if blind else None

    @rule(gone=st.booleans())
    def lose_prometheus(self, gone: bool) -> None:
        """Metrics are missing, or there again."""
        since_s = self.world.clock.now()
        self.world.signals.unseen = (Unseen(criterion="refused", since_s=since_s, why="gone"),) if gone else ()

    @rule(fires=st.booleans(), named=st.booleans())
    def an_alert(self, fires: bool, named: bool) -> None:
        """An alert begins to fire, or falls silent; it may name the version that is bad."""
        labels = (("alertname", "Refused"), *((("version", BAD),) if named else ()))
        since_s = self.world.clock.now()
        self.world.signals.alerts = (Alert(id="a", labels=labels, since_s=since_s),) if fires else ()

    @rule(
        tag=st.sampled_from(("0.9.9", "1.0.0", "1.1.0", BAD)),
        ready=st.sampled_from([0, 0, 1, 3]),
        seconds=st.sampled_from([0, 2, 8]),
    )
    def versions_lose_replicas(self, tag: str, ready: int, seconds: int) -> None:
        """Replicas become unready, or ready again."""
        self.world.platform.ready_at_most[f"orders:{tag}"] = ready
        self.run(self.world.run(seconds))

    @rule(rules=st.sampled_from([(), (FROZEN,), (FINISHES,), (APPROVED, SHOWN_FIRST), (FROZEN, LONG_BAKES)]))
    def the_platform_rules(self, rules: tuple[Policy, ...]) -> None:
        """Policies come and go: freezes, approvals, requirements. See `checked_step`: they never touch a way back (1)."""
        self.world.git.rules = rules

    def lines(self) -> list[Entry]:
        """The passes that were recorded since this was asked last."""
        entries = [line.entry for line in self.world.store.lines[self.read :]]
        self.read = len(self.world.store.lines)
        return [entry for entry in entries if entry.decision is not None and entry.observation is not None]

    @invariant()
    def every_pass_decides_what_can_be_done(self) -> None:
        """(2) Traffic goes to nobody without a ready replica while somebody trusted has one; (8) no pass spins."""
        if not hasattr(self, "world"):
            return
        for entry in self.lines():
            seen, decision = entry.observation, entry.decision
            assert seen is not None
            assert decision is not None
            assert decision.look_at_s is None or decision.look_at_s > seen.now_s
            assert not {reply.command for reply in decision.replies} & self.answered
            self.answered |= {reply.command for reply in decision.replies}
            if decision.traffic is not None:
                self.check_capacity(decision.traffic, seen, decision)

    def check_capacity(self, plan: TrafficPlan, seen: Observation, decision: Decision) -> None:
        """See every_pass_decides_what_can_be_done."""
        trusted = {decision.question.stable} if decision.question else set()
        if decision.phase in (Phase.EXPOSED, Phase.BAKING) and decision.question:
            trusted.add(decision.question.candidate or "")
        known = {v.id: v for v in (*plan.versions, FALLBACK)}
        if seen.wanted and seen.wanted.fallback:
            trusted.add(FALLBACK.id)
        running = {run.workload.id for run in decision.workloads}
        takes = {id_ for id_, v in known.items() if id_ in trusted and ready(seen, v)}
        for id_ in plan.split.versions:
            assert ready(seen, known[id_]) or not takes, note(f"{id_} has no replica, {takes} have: {plan.split}")
            waited_for = decision.question is None or decision.phase is None or id_ == decision.question.stable
            assert ready(seen, known[id_]) or waited_for, note(f"{id_} has no replica: {plan.split}")
            assert known[id_].workload.id in running

    @invariant()
    def no_workload_is_stopped_that_has_traffic(self) -> None:
        """(2) What the proxies send users to, the platform runs."""
        if not hasattr(self, "world"):
            return
        plan = self.run(self.world.router.observe("orders"))
        if plan is None:
            return
        runs = {state.workload_id for state in self.run(self.world.platform.describe("orders"))}
        for v in plan.versions:
            assert plan.split.percent(v.id) == 0 or v.workload.id in runs, note(f"{v.id} was stopped: {plan.split}")

    def expect_recorded_plans(self) -> None:
        """(7) Record, then act: what the proxies are given is the latest decision in the journal.

        On start it is that decision without what nobody can answer yet.
        """
        apply = self.world.router.apply

        async def checked(plan: TrafficPlan) -> None:
            latest = await self.world.store.latest("orders")
            assert latest is not None
            assert latest.decision is not None
            recorded = latest.decision.traffic
            if recorded != plan and recorded is not None and latest.decision.question is not None:
                workloads = await self.world.platform.describe("orders")
                recorded = reachable(recorded, latest.decision.question.stable, workloads)
            assert recorded == plan, note(f"applied, but not recorded: {plan.split}")
            await apply(plan)

        self.world.router.apply = checked  # type: ignore[method-assign]  # the same, with a look before it

    @invariant()
    def what_was_taken_back_gets_no_traffic(self) -> None:
        """(4, 7) A rollback that reached the mesh is never undone, and the version is held.

        One that was deleted and comes back alone serves all the same: nothing else is known.
        """
        if not hasattr(self, "world"):
            return
        progress = self.run(self.world.progress())
        release = progress.release
        self.taken_back -= set(progress.pardoned)
        plan = self.run(self.world.router.observe("orders"))
        if plan is None:
            return
        if release and release.phase is Phase.ROLLED_BACK and release.candidate.id in progress.held:
            self.taken_back.add(release.candidate.id)
        for id_ in self.taken_back - {self.alone(progress)}:
            assert not plan.reaches(id_), note(f"{id_} was taken back and has traffic: {plan.split}")

    @invariant()
    def only_proven_versions_are_stable(self) -> None:
        """(4) What serves as stable was promoted, or was there first."""
        if not hasattr(self, "world"):
            return
        progress = self.run(self.world.progress())
        if progress.stable and progress.stable.id != FALLBACK.id:
            assert progress.stable.id in {v.id for v in progress.good}
            if self.alone(progress) != progress.stable.id:
                assert progress.stable.id not in set(progress.held) - set(progress.pardoned)

    def alone(self, progress: Progress) -> str | None:
        """The version that serves because nothing better is known, held or not."""
        better = len(progress.good) > 1 or (self.world.git.now is not None and self.world.git.now.fallback)
        return None if better or progress.stable is None else progress.stable.id

    def calm(self) -> None:
        """All faults end; a bad release must be gone, traffic whole, Git reverted."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.crash_in, world.router.refuse, world.history.down, world.signals.blind_since_s = None, 0, False, None
        world.platform.ready_at_most.clear()
        world.signals.unseen, world.signals.alerts = (), ()
        world.git.rules = ()
        self.run(world.restart())
        self.run(world.run(60))
        self.run(world.run(500, tick_s=5.0))
        progress = self.run(world.progress())
        plan = self.run(world.router.observe("orders"))
        assert progress.stable is not None
        assert plan is not None
        self.every_pass_decides_what_can_be_done()
        assert self.answered == set(range(1, self.asked + 1))
        assert not progress.marks
        release = progress.release
        runs = {state.workload_id: state.ready for state in self.run(world.platform.describe("orders"))}
        if release and release.phase.over and runs[progress.stable.workload.id]:
            assert plan.split.percent(progress.stable.id) == 100
        if release and release.phase is Phase.ROLLED_BACK and release.revert:
            assert release.reverted is not None
        under_way = release is not None and not release.phase.over
        paused = under_way and (release.paused or release.phase is Phase.STARTING)
        if under_way and not paused and world.rate_per_s >= 20:
            assert release.candidate.id != version(BAD).id, note(f"{release.phase} {release.reason}")


TestService = Service.TestCase
TestService.settings = settings(
    max_examples=60,
    stateful_step_count=20,
    deadline=None,
    phases=(Step.explicit, Step.reuse, Step.generate),
    suppress_health_check=list(HealthCheck),
)
