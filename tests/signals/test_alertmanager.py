"""Alertmanager as a signal source: webhooks in any order and number, the API's word over them, and whom alerts concern."""

import asyncio
import itertools
import random
from datetime import UTC, datetime

import pytest
from aiohttp import web

from sternway.clock import SystemClock
from sternway.domain.catalogue import Edge, Figures, ReplicaTraffic, VersionTraffic
from sternway.domain.metrics import AlertRule, MetricQuestion
from sternway.domain.monitoring import Endpoint
from sternway.domain.notices import ALERT_NAMES
from sternway.domain.tallies import Question
from sternway.manifests.builtin_metrics import SOURCES
from sternway.monitoring.objectives import Promised, group
from sternway.monitoring.own import OWN_ALERTS
from sternway.signals.alertmanager import Alertmanager
from sternway.signals.attribution import Mesh, paths_to
from sternway.testing.fakes import FakeClock

ANY = (AlertRule(match=(("alertname", "*"),)),)
T0 = 1_700_000_000.0


def at(seconds):
    """Write a time as Alertmanager does."""
    return datetime.fromtimestamp(T0 + seconds, UTC).isoformat().replace("+00:00", "Z")


def alert(status="firing", starts=0.0, fingerprint="f1", **labels):
    """Write one alert of a webhook."""
    labels = {"alertname": "Refused", **labels}
    return {"status": status, "labels": labels, "startsAt": at(starts), "fingerprint": fingerprint}


def edge(caller, callee):
    """One service calls another."""
    return Edge(caller=caller, callee=callee, figures=Figures(), last_s=T0)


MESH = Mesh(
    services=lambda: ("web", "orders", "stock", "mail"),
    edges=lambda: (edge("", "web"), edge("web", "orders"), edge("orders", "stock")),
    traffic=lambda: (
        VersionTraffic(
            service="orders",
            version="2-bbbbbb",
            figures=Figures(),
            replicas=(ReplicaTraffic(replica="127.0.0.1:20001", figures=Figures()),),
        ),
    ),
)


def hooked(clock=None):
    """Give a source that webhooks alone tell; nothing is asked."""
    source = Alertmanager(clock=clock or FakeClock(T0), where=lambda: None, mesh=MESH, listens=lambda: True)
    source._wanted["orders"] = MetricQuestion(alerts=ANY)
    return source


async def firing(source, service="orders"):
    """Tell which alerts concern a service now."""
    return (await source.read(service)).alerts


async def test_the_same_webhook_five_times_is_one_alert():
    """Alertmanager repeats itself, and may send twice after a failure."""
    source = hooked()
    assert [source.take([alert()]) for _ in range(5)] == [1, 0, 0, 0, 0]
    assert len(await firing(source)) == 1


async def test_resolved_before_firing_is_over():
    """The news came in the wrong order: an alert that has ended does not begin."""
    source = hooked()
    source.take([alert("resolved")])
    assert source.take([alert()]) == 0
    assert await firing(source) == ()


async def test_an_old_webhook_sent_again_does_not_revive_what_was_resolved():
    """A replay of the first firing, after it was resolved; only a later start is a new alert."""
    source = hooked(FakeClock(T0 + 100))
    first = alert(starts=0)
    source.take([first])
    source.take([alert("resolved", starts=0)])
    assert source.take([first]) == 0
    assert source.take([alert(starts=50)]) == 1
    assert source.take([first]) == 0
    assert len(await firing(source)) == 1


async def test_any_order_and_any_repetition_end_in_the_same_state():
    """Three episodes of two alerts, told in 200 orders with repetitions: what fires in the end is the same."""
    news = [
        alert(status, starts, fingerprint)
        for fingerprint, last in (("f1", "firing"), ("f2", "resolved"))
        for starts, status in ((0, "firing"), (0, "resolved"), (10, "firing"), (10, "resolved"), (20, "firing"))
    ]
    news.append(alert("resolved", 20, "f2"))
    rng = random.Random(4)
    for _ in range(200):
        told = [*news, *rng.choices(news, k=5)]
        rng.shuffle(told)
        source = hooked(FakeClock(T0 + 100))
        for one in told:
            source.take([one])
        assert [one.id for one in await firing(source)] == ["f1"]


async def test_a_thousand_alerts_leave_those_that_a_rule_wants():
    """The Guard names one; the others are not carried around."""
    source = hooked()
    source._wanted["orders"] = MetricQuestion(alerts=(AlertRule(match=(("alertname", "A7"),)),))
    source.take([alert(fingerprint=str(n), alertname=f"A{n}") for n in range(1000)])
    assert [one.name for one in await firing(source)] == ["A7"]


@pytest.mark.parametrize("body", [[{}], [{"labels": []}], [{"labels": {}, "startsAt": "soon"}], ["?"], 7])
def test_what_is_no_alert_is_refused(body):
    """The receiver answers 400 to these."""
    with pytest.raises((ValueError, LookupError, TypeError, AttributeError)):
        hooked().take(body)


CONCERNS = [
    ({"service": "orders"}, True, ()),
    ({"envoy_cluster_name": "orders|2-bbbbbb"}, True, ()),
    ({"job": "default/orders"}, True, ()),
    ({"deployment": "orders-stable"}, True, ()),
    ({"service": "web"}, True, ("web", "orders")),
    ({"service": "stock"}, True, ("orders", "stock")),
    ({"service": "mail"}, False, ()),
    ({"team": "shop"}, True, ()),
]


@pytest.mark.parametrize(("labels", "concerned", "via"), CONCERNS)
async def test_an_alert_concerns_whom_its_labels_name_and_who_hangs_together_with_them(labels, concerned, via):
    """Named, calling or called; a service that has nothing to do with it is left alone; without a name the rule decides."""
    source = hooked()
    source.take([alert(**labels)])
    found = await firing(source)
    assert bool(found) is concerned
    assert [one.via for one in found] == ([via] if concerned else [])


@pytest.mark.parametrize("name", sorted({*ALERT_NAMES.values(), *(one.name for one in OWN_ALERTS)}))
async def test_an_alert_of_our_own_that_comes_back_judges_nobody(name):
    """It names the service, the release and the very version, and the rule takes any alert; a user's beside it counts."""
    source = hooked()
    source.take([alert(alertname=name, service="orders", version="2-bbbbbb", release="orders-2")])
    assert await firing(source) == ()
    source.take([alert(fingerprint="f2", service="orders", version="2-bbbbbb")])
    assert [one.name for one in await firing(source)] == ["Refused"]


async def test_an_alert_on_an_objective_concerns_its_service_and_its_callers():
    """What the rules from Guards raise is attributed by their own labels."""
    written = Promised(
        service="orders",
        source=SOURCES["envoy"],
        labels="",
        availability_percent=99.9,
        latency_ms=((0.99, 500.0),),
    )
    raised = [rule for rule in group(written)["rules"] if "alert" in rule]
    source = hooked()
    source._wanted |= dict.fromkeys(("web", "mail"), source._wanted["orders"])
    source.take([alert(fingerprint=str(n), alertname=one["alert"], **one["labels"]) for n, one in enumerate(raised)])
    assert len(await firing(source)) == len(raised) == 8
    assert {one.via for one in await firing(source, "web")} == {("web", "orders")}
    assert await firing(source, "mail") == ()


async def test_an_address_names_a_version():
    """`instance` is a replica's address, which the access log knows."""
    source = hooked()
    source.take([alert(instance="127.0.0.1:20001")])
    assert [one.version for one in await firing(source)] == ["2-bbbbbb"]


def test_ways_lead_over_several_services_and_end_in_a_ring():
    """Web -> orders -> stock -> web: everybody is both above and below, and it ends."""
    ring = [edge("web", "orders"), edge("orders", "stock"), edge("stock", "web")]
    assert set(paths_to("orders", ring)) == {"web", "stock"}
    far = [edge(a, b) for a, b in itertools.pairwise("abcde")]
    assert paths_to("e", far)["a"] == tuple("abcde")
    assert paths_to("a", far)["e"] == tuple("abcde")


class Api:
    """An Alertmanager whose answers the test writes."""

    def __init__(self):
        self.alerts = []
        self.status = 200
        self.asked = 0

    async def answer(self, _):
        """GET /api/v2/alerts."""
        self.asked += 1
        return web.json_response(self.alerts, status=self.status)

    def fires(self, state="active", **more):
        """Write an alert as the API shows it."""
        self.alerts = [{**alert(**more), "status": {"state": state}}]


async def test_the_api_has_the_last_word(monkeypatch):
    """A webhook counts until the API has answered; what the API silences, inhibits or does not know does not fire."""
    monkeypatch.setattr("sternway.signals.alertmanager.POLL_S", 0.05)
    api = Api()
    app = web.Application()
    app.router.add_get("/api/v2/alerts", api.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    source = Alertmanager(clock=SystemClock(), where=lambda: Endpoint(url=url), mesh=MESH)

    async def until(condition):
        async with asyncio.timeout(20):
            while not condition(await source.read("orders")):
                await asyncio.sleep(0.01)

    try:
        question = MetricQuestion(alerts=ANY)
        source.ask("orders", Question(stable="v1", candidate="v2", metrics=question))
        await until(lambda reading: not reading.unseen)
        source.take([alert()])
        assert len(await firing(source)) == 1
        await until(lambda reading: not reading.alerts)  # the API does not know it: over, or never was
        api.fires()
        await until(lambda reading: reading.alerts)
        for state in ("suppressed", "unprocessed"):
            api.fires(state)
            await until(lambda reading: not reading.alerts)
            api.fires()
            await until(lambda reading: reading.alerts)
        api.status = 500
        await until(lambda reading: reading.unseen)
        reading = await source.read("orders")
        assert "answered 500" in reading.unseen[0].why
        assert len(reading.alerts) == 1  # what fired still does, as far as anybody knows
        source.ask("orders", None)
        assert source._task is None
    finally:
        await source.close()
        await runner.cleanup()


async def test_what_was_not_there_a_moment_ago_has_begun_since_whatever_its_clock_says():
    """Alertmanager's clock is an hour late: the alert began between two answers of its API, not an hour ago."""
    clock = FakeClock(T0 + 3600)
    source = hooked(clock)
    source._asked_s = T0 + 3590
    source.take([alert(starts=0)])
    assert [one.since_s for one in await firing(source)] == [T0 + 3590]


async def test_without_anything_configured_the_guard_is_blind_to_alerts():
    """Rules but no Alertmanager and no webhook: nothing can be seen, and it says where to state it."""
    source = Alertmanager(clock=SystemClock(), where=lambda: None, mesh=MESH)
    source.ask("orders", Question(stable="v1", metrics=MetricQuestion(alerts=ANY)))
    async with asyncio.timeout(20):
        while "configured" not in (await source.read("orders")).unseen[0].why:
            await asyncio.sleep(0.01)
    await source.close()
