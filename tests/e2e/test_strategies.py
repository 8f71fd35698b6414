"""Every strategy, the shield and people's commands, each once on real processes, a real Envoy and a real repository."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from whole_world import CLUSTER, READS, Platform, Repository

from sternway.demo.load import Ask
from sternway.domain.releases import Phase, Verb

pytestmark = pytest.mark.asyncio(loop_scope="module")

WRITES = (Ask(path="/things/{n}", share=80), Ask(method="POST", path="/things", share=20, body="{}"))
SMOKE = """
import os, sys, urllib.request
answer = urllib.request.urlopen(os.environ["STERNWAY_URL"] + "/things/1").headers["x-version"]
print(os.environ["STERNWAY_IMAGE"], "is answered by", answer)
sys.exit(answer == "3.0.0" or not os.environ["STERNWAY_VERSION"].startswith(answer))
"""
"""A smoke test of the candidate: version 3.0.0 does not pass it, nor does any answer of another version."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform():
    """One platform for all tests here; each has a service of its own."""
    folder = Path(tempfile.mkdtemp(prefix="sw-e2e-"))
    repository = Repository(folder / "shop")
    step = {"percent": 30, "minRequests": 30}
    repository.write("colours", "1.0.0", strategy={"blueGreen": {"switch": "manual"}}, bake={"for": "2s"})
    group = {"header": {"name": "x-group", "value": "beta"}, "minRequests": 40}
    repository.write("groups", "1.0.0", strategy={"ab": group})
    repository.write("copies", "1.0.0", mirror={"percent": 50, "minRequests": 2000})
    repository.write("asking", "1.0.0", mode="ask", strategy={"canary": {"steps": [step]}})
    smoke = f"{{python}} -S -c '{SMOKE}'"
    repository.write("gated", "1.0.0", gates=[{"name": "smoke", "command": smoke, "timeout": "60s"}])
    repository.write("manual", "1.0.0")
    long = {"percent": 30, "minRequests": 90}  # there is time to say that it shall be paused
    repository.write("paused", "1.0.0", strategy={"canary": {"steps": [long, {"percent": 60, "minRequests": 30}]}})
    repository.write("shielded", "1.0.0", shield={"budget": 50})
    repository.write("twin", "1.0.0", judge=CLUSTER)
    repository.commit("Everything as it stands")
    made = Platform(repository)
    try:
        await made.start()
        yield made
    finally:
        await made.sternway.close(stop=True)
        shutil.rmtree(folder, ignore_errors=True)


async def versions(url: str, count: int = 40, **headers: str) -> Counter[str]:
    """Ask so many times; tells which version answered how often."""
    found: Counter[str] = Counter()
    async with aiohttp.ClientSession(
        headers={key.replace("_", "-"): value for key, value in headers.items()}
    ) as session:
        for _ in range(count):
            async with session.get(f"{url}/things/1") as answer:
                found[answer.headers.get("x-version", str(answer.status))] += 1
    return found


async def test_equal_services_are_served_by_their_own_replicas(platform: Platform):
    """Two services that run the same image do not share processes, so one's release never moves the other."""
    one, other = [await platform.sternway.platform.describe(name) for name in ("twin", "manual")]
    assert one[0].workload_id != other[0].workload_id
    assert {r.pid for r in one[0].replicas}.isdisjoint(r.pid for r in other[0].replicas)


async def test_blue_green_shows_a_preview_switches_at_once_and_goes_back_at_once(platform: Platform):
    """The preview is reached at its own address; the switch moves all traffic; a bad colour is taken back in the bake."""
    platform.repository.release("colours", "2.0.0")
    first = await platform.reaches("colours", Phase.PREVIEW)
    preview = f"http://{platform.sternway.router.preview_address('colours')}"
    assert await versions(preview) == {"2.0.0": 40}
    assert await versions(platform.url("colours")) == {"1.0.0": 40}

    async with platform.load("colours") as load:
        assert (await platform.say(Verb.PROMOTE, "colours")).accepted
        await platform.reaches("colours", Phase.BAKING, Phase.PROMOTED)  # a bake is short
        assert await versions(platform.url("colours")) == {"2.0.0": 40}
        first = await platform.over("colours")
        assert first.phase is Phase.PROMOTED

        platform.repository.release("colours", "bad")
        await platform.reaches("colours", Phase.PREVIEW, after=first.name)
        await platform.say(Verb.PROMOTE, "colours")
        second = await platform.over("colours", after=first.name)
    assert second.phase is Phase.ROLLED_BACK
    assert second.withdrawals >= 1
    assert load.failed == 0, "the shield answered by the old colour"
    assert await versions(platform.url("colours")) == {"2.0.0": 40}


async def test_an_a_b_test_gives_the_candidate_to_its_group_alone(platform: Platform):
    """Requests with the header reach the candidate, all others stable; enough good answers promote it."""
    platform.repository.release("groups", "2.0.0")
    await platform.reaches("groups", Phase.EXPOSED)
    url = platform.url("groups")
    assert await versions(url, 20) == {"1.0.0": 20}
    assert await versions(url, 20, x_group="beta") == {"2.0.0": 20}
    assert await versions(url, 20, x_group="alpha") == {"1.0.0": 20}
    assert await versions(url, 30, x_group="beta") == {"2.0.0": 30}
    assert (await platform.over("groups")).phase is Phase.PROMOTED
    assert await versions(url) == {"2.0.0": 40}


async def test_mirroring_condemns_a_bad_version_before_any_user_has_met_it(platform: Platform):
    """The candidate sees copies only, its failures count, and no caller ever gets an answer of it."""
    async with platform.load("copies", rate_per_s=80, asks=WRITES) as load:
        platform.repository.release("copies", "bad-2.0.0")
        release = await platform.over("copies")
    assert release.phase is Phase.ROLLED_BACK
    assert load.failed == 0
    assert {answer.version for answer in load.answers} == {"1.0.0"}
    counted = platform.repository.counted()
    assert any(line.startswith("bad-2.0.0 GET") for line in counted)
    assert not any(line.startswith("bad-2.0.0 POST") for line in counted), "an unsafe request must not be copied"
    assert platform.repository.image("copies") == "app:1.0.0"


async def test_a_gate_asks_the_candidate_before_any_user_does(platform: Platform):
    """A command reaches the candidate at its preview address. It passes one version, and the next is taken back unmet."""
    platform.repository.release("gated", "2.0.0")
    async with platform.load("gated"):
        first = await platform.over("gated")
    assert first.phase is Phase.PROMOTED, first.reason
    assert [(one.gate, one.passed) for one in first.gates] == [("smoke", True)]
    platform.repository.release("gated", "3.0.0")
    second = await platform.over("gated", after=first.name)
    assert second.phase is Phase.ROLLED_BACK
    assert second.requests == 0
    assert second.reason == (
        "gate smoke failed: it exited with status 1; app:3.0.0 is answered by 3.0.0; "
        "`sternway logs gated --replica gate-2-smoke` shows its output"
    )
    assert platform.repository.image("gated") == "app:2.0.0"
    assert await versions(platform.url("gated")) == {"2.0.0": 40}


async def test_mode_ask_takes_traffic_away_and_waits_for_a_person(platform: Platform):
    """Nothing is reverted until somebody says so; their answer ends it, with their name in Git."""
    async with platform.load("asking") as load:
        commit = platform.repository.release("asking", "bad-2.0.0")
        await platform.reaches("asking", Phase.ASKING)
        await asyncio.sleep(0.5)
        assert platform.repository.git("rev-parse", "HEAD") == commit, "nothing was written to Git"
        assert await versions(platform.url("asking")) == {"1.0.0": 40}
        reply = await platform.say(Verb.ROLLBACK, "asking", reason="I saw the errors")
        assert reply.accepted
        release = await platform.over("asking")
    assert release.phase is Phase.ROLLED_BACK
    assert release.reason == "rolled back by ada: I saw the errors"
    assert platform.repository.image("asking") == "app:1.0.0"
    assert f"Sternway-Release: {release.name}" in platform.repository.git("log", "--format=%B")
    assert load.failed == 0


async def test_a_person_takes_a_promoted_version_back(platform: Platform):
    """After promotion the last version proven good is still a command away; Git follows."""
    async with platform.load("manual") as load:
        platform.repository.release("manual", "2.0.0")
        first = await platform.over("manual")
        assert first.phase is Phase.PROMOTED
        refused = await platform.say(Verb.ROLLBACK, "manual", to="0.1.0")
        assert not refused.accepted
        assert "proven good besides" in refused.message
        await asyncio.sleep(1.5)  # the old replicas are stopped by now: they have to be started again first
        assert (await platform.say(Verb.ROLLBACK, "manual", to="1.0.0", reason="wrong prices")).accepted
        second = await platform.over("manual", after=first.name)
        assert second.phase is Phase.ROLLED_BACK
        assert await versions(platform.url("manual")) == {"1.0.0": 40}
    assert load.failed == 0
    assert platform.repository.image("manual") == "app:1.0.0"
    assert (await platform.replayed(second.name)).matches


async def test_a_paused_release_stays_at_its_step_until_it_is_resumed(platform: Platform):
    """More than enough good answers move nothing while it is paused."""
    async with platform.load("paused") as load:
        platform.repository.release("paused", "2.0.0")
        await platform.reaches("paused", Phase.EXPOSED)
        assert (await platform.say(Verb.PAUSE, "paused")).accepted

        async def enough() -> bool:
            release = await platform.last("paused")
            return release is not None and release.step_requests > 110

        await platform.until(enough, "the candidate has answered more than its step needs")
        held = await platform.last("paused")
        assert held is not None
        assert (held.phase, held.index, held.paused) == (Phase.EXPOSED, 0, True)
        assert (await platform.say(Verb.RESUME, "paused")).accepted
        assert (await platform.over("paused")).phase is Phase.PROMOTED
    assert load.failed == 0


async def test_the_shield_answers_safe_requests_and_never_repeats_an_unsafe_one(platform: Platform):
    """A candidate that fails everything: no read fails, every write arrives once, and it is condemned all the same."""
    url, ended = platform.url("shielded"), asyncio.Event()
    statuses: dict[int, int] = {}

    async def write(session: aiohttp.ClientSession) -> None:
        number = 0
        while not ended.is_set():
            number += 1
            async with session.post(f"{url}/write/{number}", data=b"{}", headers={"x-user": f"w{number}"}) as answer:
                statuses[number] = answer.status
            await asyncio.sleep(0.03)

    async with platform.load("shielded", asks=READS) as load, aiohttp.ClientSession() as session:
        writing = asyncio.create_task(write(session))
        platform.repository.release("shielded", "bad-2.0.0")
        release = await platform.over("shielded")
        ended.set()
        await writing

    assert release.phase is Phase.ROLLED_BACK
    assert load.failed == 0, [vars(one) if hasattr(one, "__dict__") else one for one in load.failures]
    counted = platform.repository.counted()
    by_path: Counter[str] = Counter()
    for line, times in counted.items():
        tag, method, path = line.split(" ")
        if method == "POST" and path.startswith("/write/"):
            by_path[path] += times
            assert (statuses[int(path.rpartition("/")[2])] == 500) == tag.startswith("bad")
    assert len(by_path) == len(statuses)
    assert set(by_path.values()) == {1}
    assert any(line.startswith("bad-2.0.0 GET /things") for line in counted), "reads were tried on the candidate"
    hurt = sum(status == 500 for status in statuses.values())
    assert hurt - 2 <= release.hurt <= hurt, "one under way at the decision may be heard of after the end"
