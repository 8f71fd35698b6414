"""The API over a real unix socket, before the real engine and shell with fakes at the ports."""

import asyncio
import json
import os
import socket as sockets
import stat
import time
from pathlib import Path

import pytest
from running_platform import DEPLOYMENT, FILES, RunningPlatform
from sample_views import CATALOGUE, PAGE, STATUS

from sternway.control.replay import replay
from sternway.control.status import CatalogueView, PlatformStatus, ReleaseView
from sternway.domain.releases import Phase
from sternway.errors import InvalidInput, Refused, SternwayError
from sternway.ports import Entry
from sternway.web.api import Api
from sternway.web.client import Client
from sternway.web.faults import NotFound, NotRunning, TookTooLong, error_from
from sternway.web.release_page import ReleasePage
from sternway.web.wire import error_json, from_json, to_json


async def status_of(client: Client) -> PlatformStatus:
    """Give the status as a view."""
    return from_json(PlatformStatus, await client.get("status"))


async def page_of(client: Client, release: str) -> ReleasePage:
    """Give a release's page as a view."""
    return from_json(ReleasePage, await client.get("releases", release))


async def test_only_the_owner_may_use_the_socket(api: Path):
    """Nobody else can read or write it."""
    assert stat.S_IMODE(os.stat(api).st_mode) == 0o600  # noqa: PTH116  one call in a test


async def test_a_socket_left_by_a_killed_process_is_replaced(platform: RunningPlatform, tmp_path: Path):
    """A dead socket file is no obstacle to the next start."""
    dead = tmp_path / "api.sock"
    with sockets.socket(sockets.AF_UNIX) as left:
        left.bind(str(dead))
    server = Api(platform, stop=lambda _: None)
    await server.start(dead)
    async with Client(dead) as client:
        assert (await status_of(client)).services
    await server.close()


async def test_a_socket_name_that_is_too_long_is_refused_with_a_way_out(platform: RunningPlatform, tmp_path: Path):
    """The operating system's limit is told before it strikes."""
    with pytest.raises(Refused, match="too long") as refused:
        await Api(platform, stop=lambda _: None).start(tmp_path / ("x" * 120))
    assert "XDG_RUNTIME_DIR" in refused.value.hint


async def test_status_shows_what_serves(client: Client):
    """At rest: the stable version, its replicas, its address, and no release."""
    status = await status_of(client)
    (orders,) = status.services
    assert status.connected
    assert status.ready
    assert (status.commit, status.subject) == ("1" * 40, "Begin")
    assert orders.release is None
    assert orders.address == "127.0.0.1:8006"
    assert orders.stable == orders.wanted
    assert [(v.role, v.percent, v.ready, v.desired) for v in orders.versions] == [("stable", 100.0, 2, 2)]


async def test_status_shows_a_release_under_way(platform: RunningPlatform, client: Client):
    """The step in words, the candidate's share as the proxies hold it, and the judge's numbers."""
    await platform.commit("1.1.0")
    await platform.run(4)
    (orders,) = (await status_of(client)).services
    assert orders.release is not None
    assert orders.release.phase == "exposed"
    assert orders.release.step == "1 of 2: 5 requests/s"
    assert orders.release.outcome == "under way"
    assert {v.role: v.percent for v in orders.versions} == {"stable": 95.0, "candidate": 5.0}
    assert orders.release.requests > 0
    assert {c.name for c in orders.release.criteria} >= {"errors"}


async def test_status_of_one_service_shows_that_one_alone(client: Client):
    """A name that nobody has is told together with the names that there are."""
    assert len(from_json(PlatformStatus, await client.get("status", service="orders")).services) == 1
    with pytest.raises(NotFound, match="no service shop") as missing:
        await client.get("status", service="shop")
    assert missing.value.hint == "services: orders"


async def test_a_withdrawn_candidate_says_when_it_is_looked_at_again(platform: RunningPlatform, client: Client):
    """Seconds that are left, not seconds in all."""
    await platform.commit("1.2.0", bad=0.5)
    await platform.until(Phase.WITHDRAWN)
    await platform.run(2)
    (orders,) = (await status_of(client)).services
    assert orders.release is not None
    assert orders.release.phase == "withdrawn"
    assert orders.release.looks_again_in_s == pytest.approx(3.0)
    assert orders.release.withdrawals == 1


async def test_what_cannot_be_read_in_git_is_shown_while_the_old_state_serves(
    platform: RunningPlatform, client: Client
):
    """A broken commit is a problem with its place; the services stay as they are."""
    await platform.history.commit({"orders.yaml": DEPLOYMENT.replace("replicas: 2", "replcas: 2")}, "Oops")
    await platform.git.follow()
    status = await status_of(client)
    assert any("orders.yaml:5" in problem and "replicas" in problem for problem in status.problems)
    assert status.services[0].ready


async def test_troubles_are_shown_with_their_hints_where_they_belong(platform: RunningPlatform, client: Client):
    """A service's trouble stands at the service, another part's at the platform, a bug as one line."""
    platform.queue.troubles["orders"] = "the proxies said no\n  look at the log"
    platform.queue.troubles["git"] = "Traceback (most recent call last):\n  File x\nKeyError: 'a'\n"
    status = await status_of(client)
    (trouble,) = status.services[0].troubles
    assert (trouble.message, trouble.hint) == ("the proxies said no", "look at the log")
    (other,) = status.troubles
    assert other.message == "unexpected: KeyError: 'a'"


async def test_history_lists_releases_latest_first_with_their_outcomes(platform: RunningPlatform, client: Client):
    """Promoted, rolled back and superseded ones, each with its figures."""
    await platform.commit("1.1.0")
    await platform.until(Phase.PROMOTED)
    await platform.commit("1.2.0", bad=0.5)
    await platform.until(Phase.ROLLED_BACK)
    await platform.commit("1.3.0")
    await platform.run(4)
    await platform.commit("1.4.0")
    await platform.run(2)
    views = from_json(tuple[ReleaseView, ...], await client.get("services", "orders", "history"))
    assert [(v.name, v.outcome) for v in views] == [
        ("orders-4", "under way"),
        ("orders-3", "superseded"),
        ("orders-2", "rolled back"),
        ("orders-1", "promoted"),
    ]
    later = views[0]
    why = f"commit {later.to_commit[:9]} asks for {later.to_version} instead"
    assert views[1].reason == why, "whatever became of the later one since"
    page = from_json(ReleasePage, await client.get("releases", "orders-3"))
    assert page.timeline[-1].text == f"superseded: {why}"
    assert page.timeline[-1].at_s == views[1].ended_s
    assert views[2].revert_commit == "f" * 40
    assert views[2].hurt > 0
    assert views[2].detect_s is not None
    assert views[2].detect_s > 0


async def test_the_journal_survives_in_the_history_after_a_restart(platform: RunningPlatform, client: Client):
    """A new process knows its releases from the journal alone."""
    await platform.commit("1.1.0")
    await platform.until(Phase.PROMOTED)
    platform.reconciler._progress.clear()
    platform.reconciler._decisions.clear()
    views = from_json(tuple[ReleaseView, ...], await client.get("services", "orders", "history"))
    assert [v.outcome for v in views] == ["promoted"]


async def test_a_release_page_tells_what_changed_and_what_happened_when(platform: RunningPlatform, client: Client):
    """The commit with its author, the difference in words, and a timeline in the order of time."""
    await platform.commit("1.2.0", bad=0.5)
    await platform.until(Phase.ROLLED_BACK)
    page = await page_of(client, "orders-1")
    assert page.change.author == "Ada <ada@example.org>"
    assert page.change.subject == "Orders 1.2.0"
    assert page.change.differences == ("image shop/orders:1.0.0 -> shop/orders:1.2.0",)
    assert page.held
    assert page.latest
    times = [moment.at_s for moment in page.timeline]
    assert times == sorted(times)
    kinds = [moment.kind for moment in page.timeline]
    assert {"decision", "applied", "seen", "ledger", "git"} <= set(kinds)
    first_bad = next(m.at_s for m in page.timeline if m.kind == "seen")
    assert first_bad < next(m.at_s for m in page.timeline if m.text.startswith("withdrawn"))


async def test_a_timeline_holds_no_line_for_a_pass_that_only_looked(platform: RunningPlatform, client: Client):
    """A long bake is not a long page."""
    await platform.commit("1.1.0")
    await platform.until(Phase.PROMOTED)
    await platform.run(30)
    page = await page_of(client, "orders-1")
    assert len(await platform.journal.entries(release="orders-1")) > 30
    assert len(page.timeline) < 16


async def test_a_release_page_does_without_git_when_git_is_down(platform: RunningPlatform, client: Client):
    """The page says so and shows everything else."""
    await platform.commit("1.1.0")
    await platform.run(3)

    async def at(_: str):
        platform.history._answer()

    platform.history.at = at
    platform.history.down = True
    page = await page_of(client, "orders-1")
    assert page.change.unread == "the Git server does not answer"
    assert page.change.differences


async def test_a_release_that_nobody_knows_is_not_found(client: Client):
    """The answer says where to look."""
    with pytest.raises(NotFound, match="no release orders-9") as missing:
        await client.get("releases", "orders-9")
    assert "history" in missing.value.hint


async def test_a_command_is_answered_by_the_engine(platform: RunningPlatform, client: Client):
    """It is obeyed, and its reason stands in the release's timeline."""
    await platform.commit("1.1.0")
    await platform.run(4)
    body = {"verb": "pause", "by": "ada", "reason": "lunch"}
    reply = json.loads(await client.post("services", "orders", "commands", json_body=body))
    assert reply["accepted"]
    assert "paused" in reply["message"]
    (orders,) = (await status_of(client)).services
    assert orders.release is not None
    assert orders.release.paused
    people = [m.text for m in (await page_of(client, "orders-1")).timeline if m.kind == "person"]
    assert people == [f"ada asked to pause (lunch): {reply['message']}"]


async def test_a_refused_command_is_an_answer_with_status_409(api: Path):
    """The engine's reason comes through unchanged."""
    status, body = await raw(api, "POST", "/v1/services/orders/commands", '{"verb": "promote", "by": "ada"}')
    assert status == 409
    assert json.loads(body) == {"command": 1, "accepted": False, "message": "no release of orders is under way"}


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/services/orders/commands", '{"verb": "explode"}', 422, "verb"),
        ("/v1/services/orders/commands", '{"verb": "pause", "colour": 1}', 422, "colour"),
        ("/v1/services/orders/commands", "{", 422, "Invalid JSON"),
        ("/v1/services/shop/commands", '{"verb": "pause"}', 404, "no service shop"),
        ("/v1/nothing", "{}", 404, "Not Found"),
        ("/v1/status", "{}", 405, "Method Not Allowed"),
        ("/v1/images", "{}", 422, "workload"),
    ],
)
async def test_a_request_that_makes_no_sense_is_told_why(api: Path, path: str, body: str, status: int, said: str):
    """Always JSON with an error, never a bare page."""
    got, text = await raw(api, "POST", path, body)
    found = json.loads(text)
    assert got == status
    assert said in text
    assert found["error"]


async def test_lines_that_are_no_number_are_a_mistake_of_the_request(client: Client):
    """A wrong query is told like a wrong body."""
    with pytest.raises(InvalidInput, match="lines"):
        await anext(client.lines("logs", "orders", lines="many"))


async def test_an_image_is_committed_and_nothing_else_in_the_file_changes(platform: RunningPlatform, client: Client):
    """The comment behind the image stays; the release begins with the next look at Git."""
    body = {"workload": "orders", "container": "orders", "image": "shop/orders:1.1.0"}
    found = json.loads(await client.post("images", json_body=body))
    head = await platform.history.head()
    assert head.commit == found["commit"]
    assert dict(head.files)["orders.yaml"] == DEPLOYMENT.replace("orders:1.0.0", "orders:1.1.0")
    assert head.subject == "Set the image of orders to shop/orders:1.1.0"


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ({"workload": "order", "container": "orders", "image": "a:1"}, NotFound, "Deployments: orders"),
        ({"workload": "orders", "container": "order", "image": "a:1"}, InvalidInput, "container"),
        ({"workload": "orders", "container": "orders", "image": "shop/orders:1.0.0"}, Refused, "already"),
        ({"workload": "orders", "container": "orders", "image": "elsewhere:1"}, InvalidInput, "images.yaml"),
    ],
)
async def test_an_image_that_could_not_be_released_is_not_committed(
    platform: RunningPlatform, client: Client, body: dict[str, str], kind: type[SternwayError], said: str
):
    """Refused with what is wrong; Git stays as it is."""
    with pytest.raises(kind) as refused:
        await client.post("images", json_body=body)
    assert said in str(refused.value)
    assert len(platform.history.snapshots) == 1


async def test_a_deployment_that_stands_in_two_files_is_not_guessed_at(platform: RunningPlatform, client: Client):
    """Both places are named."""
    await platform.history.commit({**FILES, "copy.yaml": DEPLOYMENT}, "Twice")
    with pytest.raises(InvalidInput) as refused:
        await client.post("images", json_body={"workload": "orders", "container": "orders", "image": "a:1"})
    assert {problem.file for problem in refused.value.problems} == {"orders.yaml", "copy.yaml"}


async def test_a_journal_that_went_over_the_wire_replays_bit_for_bit(platform: RunningPlatform, client: Client):
    """Every entry is equal on the other side, and so is every recomputed decision."""
    await platform.commit("1.2.0", bad=0.5)
    await platform.until(Phase.ROLLED_BACK)
    entries = [from_json(Entry, line) async for line in client.lines("releases", "orders-1", "journal")]
    assert tuple(entries) == await platform.journal.entries(release="orders-1")
    found = replay("orders-1", entries)
    assert found.matches
    assert found.passes > 5


async def test_logs_are_streamed_and_followed(platform: RunningPlatform, client: Client):
    """The last lines at once, what comes later when it comes."""
    lines = client.lines("logs", "orders", lines=1, follow="true")
    first = [json.loads(await anext(lines)) for _ in range(2)]
    assert first == [{"replica": "orders-a", "line": "bad: 500"}, {"replica": "orders-b", "line": "started"}]
    platform.platform.more.set()
    async with asyncio.timeout(30):
        assert json.loads(await anext(lines)) == {"replica": "orders-a", "line": "one more"}
    await lines.aclose()


async def test_logs_of_an_unknown_replica_are_refused_before_the_stream_begins(api: Path):
    """A status that a script can test, and the names that there are."""
    status, text = await raw(api, "GET", "/v1/logs/orders?replica=zz")
    assert status == 409
    assert "orders-a, orders-b" in json.loads(text)["hint"]


async def test_watching_gives_a_line_when_something_changed_and_rests_otherwise(
    platform: RunningPlatform, client: Client
):
    """The status at once; a commit and its release within a moment; no line while nothing happens."""
    lines = client.lines("watch")
    first = from_json(PlatformStatus, await anext(lines))
    assert first.services[0].release is None
    pending = asyncio.ensure_future(anext(lines))
    await asyncio.sleep(0.5)
    assert not pending.done()
    await platform.commit("1.1.0")
    await platform.run(2)
    async with asyncio.timeout(30):
        second = from_json(PlatformStatus, await pending)
    assert second.services[0].release is not None
    await lines.aclose()


async def test_watching_gives_at_most_five_lines_a_second(platform: RunningPlatform, client: Client):
    """However much happens."""
    await platform.commit("1.1.0")
    lines = client.lines("watch")
    await anext(lines)
    got = 0

    async def count() -> None:
        nonlocal got
        async for _ in lines:
            got += 1

    counting = asyncio.create_task(count())
    began_s = time.monotonic()
    while time.monotonic() - began_s < 1 or got < 2:
        await platform.run(1)
        await asyncio.sleep(0.02)
    counting.cancel()
    assert got <= 5 * (time.monotonic() - began_s) + 3


async def test_the_end_of_the_server_ends_its_streams_at_once(
    platform: RunningPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Nobody who watches or follows holds up a stop, however patient the server is."""
    monkeypatch.setattr("sternway.web.api.STREAMS_END_WITHIN_S", 3600.0)
    server = Api(platform, stop=lambda _: None)
    socket = tmp_path / "a.sock"
    await server.start(socket)
    async with Client(socket) as client:
        watching, following = client.lines("watch"), client.lines("logs", "orders", follow="1")
        await anext(watching)
        await anext(following)
        async with asyncio.timeout(30):
            await server.close()


async def test_stopping_is_answered_before_it_happens(platform: RunningPlatform, client: Client):
    """The answer names the process whose end is to be waited for."""
    found = json.loads(await client.post("stop", json_body={"keep": True}))
    assert found["pid"] > 0
    async with asyncio.timeout(30):
        while platform.keep is None:
            await asyncio.sleep(0.01)
    assert platform.keep is True


async def test_the_catalogue_shows_replicas_with_their_traffic_and_who_calls_whom(client: Client):
    """The address joins what the platform runs and what the mesh saw."""
    found = from_json(CatalogueView, await client.get("services"))
    (orders,) = found.services
    (replica,) = orders.replicas
    assert (replica.phase, replica.address, replica.rate_per_s) == ("ready", "127.0.0.1:41001", 10.0)
    assert [(call.caller, call.callee, call.bad) for call in found.calls] == [("", "orders", 3)]


async def test_a_bug_in_a_view_is_told_and_stops_nothing(platform: RunningPlatform, client: Client):
    """The next request is answered as ever."""
    address, platform.router.address = platform.router.address, None
    with pytest.raises(SternwayError, match="unexpected TypeError"):
        await client.get("status")
    platform.router.address = address
    assert (await status_of(client)).services


async def test_nobody_there_is_not_running(tmp_path: Path):
    """A missing socket and a dead one are the same to a caller, with the way out."""
    with sockets.socket(sockets.AF_UNIX) as left:
        left.bind(str(tmp_path / "dead.sock"))
    for name in ("none.sock", "dead.sock"):
        async with Client(tmp_path / name) as client:
            with pytest.raises(NotRunning, match="no platform is running") as missing:
                await client.get("status")
        assert "sternway up" in missing.value.hint


async def test_a_platform_that_does_not_answer_takes_too_long(tmp_path: Path):
    """A client's patience ends with an error of its own."""
    path = tmp_path / "mute.sock"

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        writer.close()

    async with await asyncio.start_unix_server(mute, path), Client(path, patience_s=0.2) as client:
        with pytest.raises(TookTooLong, match=r"0\.2 s"):
            await client.get("status")


@pytest.mark.parametrize(
    ("name", "view"),
    [("status", STATUS), ("release", PAGE), ("services", CATALOGUE)],
    ids=["status", "release", "services"],
)
def test_views_as_json_are_stable(name: str, view: object):
    """Scripts rely on these names: a change here is a change of the API."""
    golden = Path(__file__).parent / f"{name}.golden.json"
    assert json.dumps(json.loads(to_json(view)), indent=2) + "\n" == golden.read_text()
    assert from_json(type(view), golden.read_text()) == view


@pytest.mark.parametrize("error", [InvalidInput(()), NotFound("no", hint="look"), Refused("no")])
def test_errors_come_out_as_they_went_in(error: SternwayError):
    """Kind, message and hint survive the wire."""
    again = error_from(json.loads(json.dumps(error_json(error))))
    assert (type(again), again.message, again.hint) == (type(error), error.message, error.hint)
    assert to_json("x") == b'"x"'


async def raw(socket: Path, method: str, path: str, body: str = "") -> tuple[int, str]:
    """One request by hand, as any other program would make it."""
    reader, writer = await asyncio.open_unix_connection(socket)
    head = f"{method} {path} HTTP/1.1\r\nHost: sternway\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write((head + body).encode())
    answer = (await reader.read()).decode()
    writer.close()
    status, _, text = answer.partition("\r\n\r\n")
    return int(status.split()[1]), text
