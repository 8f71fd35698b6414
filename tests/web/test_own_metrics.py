"""What Sternway exports of itself, over a real port: both formats, what promtool says of it, what it never shows."""

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as plain
from running_platform import FILES, RunningPlatform

from free_ports import free_port
from sternway.domain.monitoring import Webhook
from sternway.domain.releases import Phase, Verb
from sternway.errors import StoreUnavailable
from sternway.ports import Entry
from sternway.web.figures import Figures
from sternway.web.listeners import Listeners
from sternway.web.own_metrics import OwnMetrics
from sternway.web.webhook import AlertWebhook

OPEN = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PAGE = Path(__file__).parents[2] / "docs" / "observability.md"
GUARDED = {
    **FILES,
    "guards.yaml": FILES["guards.yaml"].replace(
        "judge: {", "judge: {objectives: {availability: 99.9, latency: {p99: 500ms}}, "
    ),
}


class Door:
    """Sternway's own metrics on a port, and what is told of troubles."""

    def __init__(self, platform: RunningPlatform) -> None:
        self.platform = platform
        self.address: str | None = f"127.0.0.1:{free_port()}"
        self.hook: str | None = None
        self.told: dict[str, str] = {}
        metrics = OwnMetrics(platform, Figures(platform), where=lambda: self.address)
        webhook = AlertWebhook(
            None,  # type: ignore[arg-type]  # nothing gets there
            where=lambda: Webhook(listen=self.hook, token_file="/nowhere") if self.hook else None,
        )
        self.listeners = Listeners((webhook, metrics), tell=self.told.__setitem__)

    async def get(self, path: str = "/metrics", *, accept: str = "", method: str = "GET") -> tuple[int, str, str]:
        """Ask; gives status, content type and text."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"http://{self.address}{path}", headers={"Accept": accept}) as answer,
        ):
            return answer.status, answer.headers.get("Content-Type", ""), await answer.text()

    async def values(self) -> dict[tuple[str, ...], float]:
        """Scrape: (name, label values in the order of the labels' names) -> value."""
        _, _, text = await self.get(accept=OPEN)
        found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {(one.name, *(one.labels[name] for name in sorted(one.labels))): one.value for one in found}


@pytest.fixture
async def door(platform: RunningPlatform) -> AsyncIterator[Door]:
    """Give the metrics of the platform, served."""
    made = Door(platform)
    task = asyncio.create_task(made.listeners.run())
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        while "metrics" not in made.told:
            await asyncio.sleep(0.01)
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_both_formats_are_spoken_and_say_the_same(door: Door):
    """Who accepts OpenMetrics gets it, with its end; everybody else gets Prometheus's own text."""
    status, kind, text = await door.get(accept=OPEN)
    assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
    assert text.endswith("# EOF\n")
    opened = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    status, kind, text = await door.get()
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    assert {sample.name for family in plain(text) for sample in family.samples} == opened


async def test_promtool_finds_nothing_to_say(door: Door):
    """Names, units and helps are as Prometheus's own linter wants them."""
    promtool = shutil.which("promtool")
    assert promtool, "promtool comes with Prometheus: scripts/setup.sh dev installs it"
    _, _, text = await door.get()
    pipe = asyncio.subprocess.PIPE
    checking = await asyncio.create_subprocess_exec(promtool, "check", "metrics", stdin=pipe, stdout=pipe, stderr=pipe)
    said = await checking.communicate(text.encode())
    assert (checking.returncode, said) == (0, (b"", b""))


async def test_every_count_begins_at_nought(door: Door):
    """The first rollback is an increase: a series that is born with 1 is none."""
    found = await door.values()
    ends = {key[1:3]: value for key, value in found.items() if key[0] == "sternway_releases_total"}
    by_whom = ("engine promoted", "person promoted", "engine rolled-back", "person rolled-back", "person superseded")
    assert ends == {tuple(end.split()): 0.0 for end in by_whom}
    for name in ("time_to_detect_seconds_count", "time_to_restore_seconds_count", "time_to_revert_seconds_count"):
        assert found[f"sternway_{name}", "orders"] == 0.0
    for name in ("requests_hurt", "candidate_requests", "requests_rescued", "false_alarms", "withdrawals"):
        assert found[f"sternway_{name}_total", "orders"] == 0.0


async def test_a_release_is_seen_under_way_and_counted_when_it_has_ended(door: Door):
    """Its phase and share while it lasts, what it cost already then, its outcome and times afterwards."""
    await door.platform.commit("1.2.0", bad=0.02)
    await door.platform.until(Phase.EXPOSED)
    await door.platform.run(2)
    found = await door.values()
    assert found["sternway_release_phase", "exposed", "orders"] == 1.0
    assert sum(value for key, value in found.items() if key[0] == "sternway_release_phase") == 1.0
    assert found["sternway_candidate_weight_percent", "orders"] == 5.0
    assert found["sternway_candidate_requests_total", "orders"] > 0
    door.platform.bad_share["1.2.0"] = 1.0
    await door.platform.until(Phase.ROLLED_BACK)
    found = await door.values()
    assert found["sternway_release_phase", "none", "orders"] == 1.0
    assert found["sternway_candidate_weight_percent", "orders"] == 0.0
    assert found["sternway_releases_total", "engine", "rolled-back", "orders"] == 1.0
    release = (await door.platform.reconciler.progress("orders")).release
    assert release is not None
    assert found["sternway_requests_hurt_total", "orders"] == release.hurt > 0
    assert found["sternway_time_to_detect_seconds_count", "orders"] == 1.0
    assert found["sternway_time_to_detect_seconds_sum", "orders"] == release.detected_s - release.first_bad_s
    assert found["sternway_judge_duration_seconds_count",] > 0
    assert found["sternway_act_duration_seconds_count",] > 0
    assert found["sternway_reconcile_duration_seconds_count",] > 0


async def test_what_does_not_work_is_counted_where_it_belongs(door: Door):
    """A service's own troubles under its name, the others under none."""
    door.platform.queue.troubles["orders"] = "the port is taken"
    door.platform.queue.troubles["git"] = "the server does not answer"
    door.platform.history.read_at_s = 1_700_000_000.5
    found = await door.values()
    assert (found["sternway_trouble", "orders"], found["sternway_trouble", ""]) == (1.0, 1.0)
    assert found["sternway_git_last_read_timestamp_seconds",] == 1_700_000_000.5


async def test_nothing_unbounded_and_nothing_secret_is_a_label(door: Door):
    """Labels are services and fixed words: no version, commit, person, reason or address."""
    await door.platform.commit("1.2.0", bad=0.9)
    await door.platform.until(Phase.ROLLED_BACK)
    marker = "s3cret-reason"
    submitted = asyncio.create_task(door.platform.commands.submit("orders", Verb.RETRY, by="ada-s3cret", reason=marker))
    await door.platform.run(2)
    await submitted
    door.platform.queue.troubles["orders"] = marker
    _, _, text = await door.get(accept=OPEN)
    assert not [word for word in ("s3cret", "1.2.0", "1.0.0", "shop/orders", "1" * 7) if word in text]
    names = set(re.findall(r'[{,](\w+)="', text))
    assert names == {"service", "outcome", "by", "phase", "le", "version"}
    assert re.findall(r'version="[^"]*"', text) == re.findall(r'(?<=build_info\{)version="[^"]*"', text)


async def test_stated_objectives_are_exported():
    """So that rules need not repeat what a Guard says: availability as a ratio, latency in seconds."""
    platform = RunningPlatform(GUARDED)
    await platform.start()
    door = Door(platform)
    await door.listeners.follow()
    found = await door.values()
    assert found["sternway_guard_objective", "availability", "orders"] == pytest.approx(0.999)
    assert found["sternway_guard_objective", "latency-p99", "orders"] == 0.5
    door.address = None
    await door.listeners.follow()
    await platform.close()


async def test_a_journal_that_cannot_be_read_fails_the_scrape(door: Door, monkeypatch: pytest.MonkeyPatch):
    """Totals without some releases would look like a reset; a scrape that fails is seen as `up` 0."""

    async def gone(**_: object) -> tuple[()]:
        raise StoreUnavailable("the journal is locked")

    monkeypatch.setattr(door.platform.journal, "milestones", gone)
    status, _, text = await door.get()
    assert (status, text) == (503, "the journal is locked\n")


async def test_a_scrape_reads_only_what_is_new(door: Door, monkeypatch: pytest.MonkeyPatch):
    """However many releases the journal holds, a line of it is read once in the life of a process."""
    platform = door.platform

    async def bad_release(tag: str) -> None:
        await platform.commit(tag, bad=0.5)
        await platform.run(2)
        await platform.until(Phase.ROLLED_BACK)

    for tag in ("1.1.0", "1.2.0", "1.3.0"):
        await bad_release(tag)
    read: list[int] = []
    milestones = platform.journal.milestones

    async def counted(**which: int) -> tuple[Entry, ...]:
        lines = await milestones(**which)
        read.extend(line.seq for line in lines)
        return lines

    monkeypatch.setattr(platform.journal, "milestones", counted)
    await door.values()
    first = len(read)
    assert first > 10
    await door.values()
    assert len(read) == first
    await bad_release("1.4.0")
    found = await door.values()
    assert found["sternway_releases_total", "engine", "rolled-back", "orders"] == 4.0
    assert len(read) > first
    assert len(read) == len(set(read))


async def test_nothing_else_is_served_there(door: Door):
    """The API stays on its socket, and nobody can change anything here."""
    assert (await door.get("/v1/status"))[0] == 404
    assert (await door.get("/v1/alerts", method="POST"))[0] == 404
    assert (await door.get(method="POST"))[0] == 405


async def test_both_parts_may_share_an_address_and_each_may_go(door: Door):
    """One server for both while both are wanted there; the one that stays is served on."""
    door.hook = door.address
    await door.listeners.follow()
    assert (await door.get())[0] == 200
    assert (await door.get("/v1/alerts", method="POST"))[0] == 503
    door.hook = None
    await door.listeners.follow()
    assert (await door.get())[0] == 200
    assert (await door.get("/v1/alerts", method="POST"))[0] == 404


async def test_an_address_that_is_taken_is_a_trouble_until_it_is_free(door: Door):
    """It is said, and tried again; another address in monitoring.yaml is followed, and the old one closed."""
    old = str(door.address)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        door.address = f"127.0.0.1:{taken.getsockname()[1]}"
        await door.listeners.follow()
        assert door.told["metrics"].startswith(f"{door.address} cannot be listened on: ")
    await door.listeners.follow()
    assert door.told["metrics"] == ""
    assert (await door.get())[0] == 200
    door.address = old
    await door.listeners.follow()
    assert (await door.get())[0] == 200


async def test_the_page_names_every_metric_with_its_kind_and_labels(door: Door):
    """What docs/observability.md says is exported is what is exported."""
    door.platform.history.read_at_s = 1.0
    _, _, text = await door.get(accept=OPEN)
    exported = {}
    for family in text_string_to_metric_families(text):
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        exported[family.name + suffix] = (family.type if family.type != "info" else "gauge", labels)
    exported["sternway_guard_objective"] = ("gauge", {"service", "objective"})
    rows = re.findall(r"^\| `(sternway_\w+)(?:\{([\w, ]*)\})?` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
    told = {name: (kind, {label for label in labels.split(", ") if label}) for name, labels, kind in rows}
    told = {name: one for name, one in told.items() if not name.startswith("sternway_kubernetes_")}  # the operator's
    assert told == exported
