"""The invariants of the design under arbitrary histories, with the process dying between any two effects.

Which test holds which invariant is listed in docs/concepts/invariants.md; the numbers here are the ones used there.
"""

import asyncio

from hypothesis import HealthCheck, note, settings
from hypothesis import Phase as Step
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from world import World, guard, version

from sternway.control.replay import replay
from sternway.domain.guards import BlueGreen, Mode, Then
from sternway.domain.releases import Phase, Verb

TAGS = ("1.1.0", "1.2.0", "1.3.0")
BAD = "1.2.0"
BROKEN = "1.3.0"


class Service(RuleBasedStateMachine):
    """One service, its users, its Git, and everything that can go wrong around it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.taken_back: set[str] = set()
        self.applied = 0

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

    @initialize(seed=st.integers(0, 1000), rate=st.sampled_from([2.0, 20.0, 200.0]))
    def begin(self, seed: int, rate: float) -> None:
        """1.0.0 serves."""
        self.world = World(seed=seed, rate_per_s=rate)
        self.world.error[version(BAD).id] = 0.5
        self.world.commit("1.0.0")
        self.run(self.world.run(10))

    @rule(tag=st.sampled_from(("1.0.0", *TAGS)), kind=st.sampled_from(["canary", "blue-green", "ask", "blind"]))
    def push(self, tag: str, kind: str) -> None:
        """Somebody commits."""
        guards = {
            "canary": guard(),
            "blue-green": guard(strategy=BlueGreen(hold_s=1.0)),
            "ask": guard(mode=Mode.ASK, ask_timeout_s=30.0),
            "blind": guard(blind_s=5.0, blind_then=Then.ROLLBACK),
        }
        if tag == BROKEN:
            self.world.platform.broken["orders:1.3.0"] = "exited 3 times"
        self.world.commit(tag, with_guard=guards[kind])

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

    @rule(verb=st.sampled_from(list(Verb)), to=st.sampled_from([None, "1.0.0", "1.1.0", "9.9.9"]))
    def command(self, verb: Verb, to: str | None) -> None:
        """A person says something."""
        self.run(self.world.store.add("orders", verb.value, "ada", self.world.clock.now(), to, ""))
        if verb is Verb.RETRY:
            self.taken_back.clear()

    @rule(down=st.booleans())
    def git(self, down: bool) -> None:
        """The Git server goes or comes back."""
        self.world.history.down = down

    @rule(refusals=st.integers(0, 3))
    def proxies_refuse(self, refusals: int) -> None:
        """The next plans are not acknowledged."""
        self.world.router.refuse = refusals

    @rule(blind=st.booleans())
    def lose_the_access_log(self, blind: bool) -> None:
        """Nothing can be seen, or everything again."""
        self.world.signals.blind_since_s = self.world.clock.now() if blind else None

    @rule(ready=st.sampled_from([0, 1, 2]))
    def stable_loses_replicas(self, ready: int) -> None:
        """Replicas of 1.0.0 become unready."""
        self.world.platform.ready_at_most["orders:1.0.0"] = ready

    @invariant()
    def every_plan_was_recorded_before_it_was_applied(self) -> None:
        """(7) Record, then act."""
        if not hasattr(self, "world"):
            return
        recorded = [line.entry.decision.traffic for line in self.world.store.lines if line.entry.decision]
        for plan in self.world.router.applied[self.applied :]:
            assert plan in recorded
        self.applied = len(self.world.router.applied)

    @invariant()
    def what_was_taken_back_gets_no_traffic(self) -> None:
        """(4, 7) A rollback that reached the mesh is never undone, and the version is held."""
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
        for id_ in self.taken_back:
            assert plan.split.percent(id_) == 0, note(f"{id_} was taken back and has traffic: {plan.split}")

    @invariant()
    def only_proven_versions_are_stable(self) -> None:
        """(4) What serves as stable was promoted, or was there first."""
        if not hasattr(self, "world"):
            return
        progress = self.run(self.world.progress())
        if progress.stable:
            assert progress.stable.id in {v.id for v in progress.good}

    def calm(self) -> None:
        """All faults end; a bad release must be gone, traffic whole, Git reverted."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.crash_in, world.router.refuse, world.history.down, world.signals.blind_since_s = None, 0, False, None
        world.platform.ready_at_most.clear()
        self.run(world.restart())
        self.run(world.run(400))
        progress = self.run(world.progress())
        plan = self.run(world.router.observe("orders"))
        assert progress.stable is not None
        assert plan is not None
        release = progress.release
        if release and release.phase.over:
            assert plan.split.percent(progress.stable.id) == 100
        if release and release.phase is Phase.ROLLED_BACK and release.revert:
            assert release.reverted is not None
        under_way = release is not None and not release.phase.over
        paused = under_way and (release.paused or release.phase is Phase.STARTING)
        if under_way and not paused and world.rate_per_s >= 20:
            assert release.candidate.id != version(BAD).id, note(f"{release.phase} {release.reason}")


TestService = Service.TestCase
TestService.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    phases=(Step.explicit, Step.reuse, Step.generate),
    suppress_health_check=list(HealthCheck),
)
