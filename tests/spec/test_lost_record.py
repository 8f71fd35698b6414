"""The journal is lost while a release is under way: what Git's ledger calls good, and still runs, is trusted before what is new."""

from dataclasses import dataclass

from world import Git, Store, World

from sternway.domain.releases import Phase
from sternway.domain.versions import Version


@dataclass
class Proven(Git):
    """A ledger that calls one version good."""

    good: Version | None = None

    async def last_good(self, service: str) -> Version | None:
        """See ports.Desired."""
        return self.good


async def released(world: World) -> Version:
    """1.0.0 serves and is in the ledger; 1.1.0, which fails, has its first users. Then the journal is lost."""
    git = world.git = Proven(history=world.history)
    world.boot()
    git.good = world.commit("1.0.0")
    await world.run(30)
    bad = world.commit("1.1.0", error=0.3)
    await world.until(Phase.EXPOSED)
    await world.outbox.close()
    world.store = Store()
    world.boot()
    return bad


async def test_the_release_begins_anew_and_is_judged():
    """1.1.0 is not adopted because it is what Git says: 1.0.0 takes all traffic, and 1.1.0 is taken back in the end."""
    world = World()
    bad = await released(world)
    await world.look()
    assert await world.share(bad.id) == 0
    assert (await world.progress()).stable == world.git.good
    await world.until(Phase.ROLLED_BACK)


async def test_what_is_good_and_does_not_run_is_not_waited_for():
    """Nothing but the wanted version runs: it serves, as the first version ever seen does."""
    world = World()
    bad = await released(world)
    world.platform.unready.add("orders:1.0.0")
    await world.look()
    stable = (await world.progress()).stable
    assert stable is not None
    assert stable.id == bad.id
