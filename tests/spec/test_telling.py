"""Telling, with fakes: alerts that stand at Alertmanager, messages that come once, and ways out that are shut."""

import asyncio
import dataclasses
import math

import pytest
from world import World, guard

from sternway.control import courier as couriers
from sternway.control.courier import Courier
from sternway.control.keeper import RESEND_S, STANDS_S, Keeper
from sternway.control.telling import Telling
from sternway.domain.monitoring import AlertsOut, Endpoint, Monitoring, Notification
from sternway.domain.notices import Message, Notice, StandingAlert, What
from sternway.domain.releases import Phase
from sternway.errors import NotTold, SignalUnavailable, StoreUnavailable
from sternway.testing import MemoryStore
from sternway.testing.fakes import FakeClock, FakeMessenger, FakeSink

AM = Endpoint(url="http://alertmanager.example")


def standing(name: str, ends_s: float = 0.0, *, said: str = "") -> StandingAlert:
    """Make an alert."""
    return StandingAlert(
        labels=(("alertname", name),), annotations=(("summary", said),), starts_s=1_000_000.0, ends_s=ends_s
    )


class Kept:
    """A keeper, what stands, and what it posted."""

    def __init__(self):
        self.clock, self.sink = FakeClock(), FakeSink()
        self.alerts: dict[str, str] = {}
        self.keeper = Keeper(AM, sink=self.sink, clock=self.clock, standing=self._standing, tell=lambda _: None)

    def _standing(self, ends_s):
        made = [standing(name, ends_s, said=said) for name, said in self.alerts.items()]
        return {one.labels: one for one in made}

    def posted(self):
        """Take what was posted since the last look: alertname -> seconds until it ends."""
        now_s = self.clock.now()
        found = [{one.labels[0][1]: one.ends_s - now_s for one in alerts} for alerts in self.sink.posted]
        self.sink.posted.clear()
        return found


async def test_an_alert_is_posted_when_it_begins_when_it_changes_when_it_is_due_and_when_it_is_over():
    """Level-based: nothing is posted for nothing, and what stands never ends at Alertmanager by itself."""
    kept = Kept()
    await kept.keeper.post()
    assert kept.posted() == []
    kept.alerts["A"] = "one"
    await kept.keeper.post()
    await kept.keeper.post()
    assert kept.posted() == [{"A": STANDS_S}]
    kept.alerts["A"] = "two"
    await kept.keeper.post()
    assert kept.posted() == [{"A": STANDS_S}]
    kept.clock.sleep(RESEND_S)
    await kept.keeper.post()
    assert kept.posted() == [{"A": STANDS_S}]
    assert STANDS_S > 2 * RESEND_S
    del kept.alerts["A"]
    kept.alerts["B"] = "one"
    await kept.keeper.post()
    assert kept.posted() == [{"B": STANDS_S, "A": 0.0}]
    await kept.keeper.post()
    assert kept.posted() == []


async def test_what_ended_while_alertmanager_was_down_is_ended_when_it_is_back():
    """A post that failed changed nothing there: the next one says all, the end included."""
    kept = Kept()
    kept.alerts["A"] = "one"
    await kept.keeper.post()
    kept.posted()
    kept.sink.down = True
    kept.alerts = {"B": "one"}
    with pytest.raises(SignalUnavailable):
        await kept.keeper.post()
    kept.sink.down = False
    await kept.keeper.post()
    assert kept.posted() == [{"B": STANDS_S, "A": 0.0}]


NOTICE = Notice(what=What.ROLLED_BACK, service="orders", release="orders-1", summary="orders: it was rolled back")
FAILED = Notice(what=What.FAILED, service="orders", which="orders", summary="it cannot do what it should")


class Told:
    """A courier over a journal that outlives it."""

    def __init__(self):
        self.clock, self.messenger, self.store = FakeClock(), FakeMessenger(), MemoryStore()
        self.restart()

    def restart(self):
        """Begin anew, with the journal alone."""
        self.courier = Courier(
            "/etc/sternway/slack.url",
            messenger=self.messenger,
            journal=self.store,
            clock=self.clock,
            wording=lambda notice: Message(title=notice.summary, body="", severity="info"),
            tell=lambda _: None,
        )

    async def told(self, *offered):
        """Offer these and let it work; how many messages came."""
        before = len(self.messenger.sent)
        for notice in offered:
            self.courier.offer(notice)
        await self.courier.work()
        return len(self.messenger.sent) - before

    async def notes(self):
        """Read what the journal says of it."""
        return [entry.text for entry in await self.store.entries(kind="note")]


async def test_an_event_is_told_once_however_often_it_is_offered_and_after_a_restart():
    """The note in the journal is what another process knows of it."""
    told = Told()
    assert [await told.told(NOTICE) for _ in range(3)] == [1, 0, 0]
    told.restart()
    assert await told.told(NOTICE) == 0
    assert await told.told(dataclasses.replace(NOTICE, release="orders-2")) == 1
    assert await told.notes() == [
        "slack.url was told of rolled-back orders-1",
        "slack.url was told of rolled-back orders-2",
    ]


async def test_what_nobody_takes_is_tried_again_and_given_up_in_the_end():
    """Six hours; then the journal says that it was given up, and why; the next process does not begin anew."""
    told = Told()
    told.messenger.refuses = True
    with pytest.raises(NotTold):
        await told.told(NOTICE)
    told.clock.sleep(couriers.GIVES_UP_AFTER_S - 1)
    with pytest.raises(NotTold):
        await told.told()
    assert await told.notes() == []
    told.clock.sleep(1)
    assert await told.told() == 0
    given_up = "slack.url could not be told of rolled-back orders-1: Fake did not take the message"
    assert await told.notes() == [given_up]
    told.messenger.refuses = False
    told.restart()
    assert await told.told(NOTICE) == 0
    assert await told.told(dataclasses.replace(NOTICE, release="orders-2")) == 1


async def test_a_message_that_was_not_taken_comes_once_when_the_address_works_again():
    """Refused, refused, taken."""
    told = Told()
    told.messenger.refuses = True
    for _ in range(2):
        with pytest.raises(NotTold):
            await told.told(NOTICE)
    told.messenger.refuses = False
    assert await told.told() == 1
    assert await told.told(NOTICE) == 0


async def test_one_message_that_nobody_takes_does_not_keep_the_others_away():
    """The address chokes on the first: the second is tried before the first is tried again."""
    told = Told()
    second = dataclasses.replace(NOTICE, release="orders-2")
    send = told.messenger.send

    async def chokes(url_file, message):
        if message.title == "poison":
            raise NotTold("too much")
        await send(url_file, message)

    told.messenger.send = chokes
    with pytest.raises(NotTold):
        await told.told(dataclasses.replace(NOTICE, summary="poison"), second)
    with pytest.raises(NotTold):
        await told.told()
    assert [message.title for _, message in told.messenger.sent] == [second.summary]


async def test_what_fails_again_after_it_was_over_is_told_again():
    """A release's events come once; a disk that is full again, a week later, is news."""
    told = Told()
    assert await told.told(FAILED) == 1
    told.clock.sleep(couriers.FORGETS_AFTER_S + 1)
    told.courier.offer(FAILED)  # it stood all the while
    told.courier.forget()
    assert await told.told(FAILED) == 0
    told.clock.sleep(couriers.FORGETS_AFTER_S + 1)
    told.courier.forget()
    assert await told.told(FAILED) == 1
    told.restart()
    assert await told.told(FAILED) == 0


async def test_too_many_messages_push_the_oldest_out_and_the_journal_says_so():
    """The queue is bounded, whatever happens; nothing is dropped in silence."""
    told = Told()
    told.messenger.missing = True
    many = [dataclasses.replace(NOTICE, release=f"orders-{n}") for n in range(couriers.WAITING_AT_MOST + 1)]
    with pytest.raises(NotTold):
        await told.told(*many)
    told.messenger.missing = False
    assert await told.told() == couriers.WAITING_AT_MOST
    assert "slack.url could not be told of rolled-back orders-0: too many messages wait" in await told.notes()


async def test_a_journal_that_cannot_be_written_keeps_no_message_back():
    """The disk is full: people must hear of it. The notes follow when there is room."""
    told = Told()
    record, told.store.record = told.store.record, full
    with pytest.raises(StoreUnavailable):
        await told.told(NOTICE)
    with pytest.raises(StoreUnavailable):
        await told.told(FAILED)
    assert len(told.messenger.sent) == 2
    told.store.record = record
    assert await told.told(NOTICE, FAILED) == 0
    assert len(await told.notes()) == 2


async def full(*_, **__):
    """Play a full disk."""
    raise StoreUnavailable("the journal cannot be written")


class Whole:
    """The whole of telling, over the world of the other tests."""

    def __init__(self, world, **settings):
        self.sink, self.messenger = FakeSink(), FakeMessenger()
        self.settings = Monitoring(**settings)
        self.troubles: dict[str, str] = {}
        self.own: dict[str, str] = {}
        self.world = world
        self.telling = Telling(
            clock=world.clock,
            journal=world.store,
            settings=lambda: self.settings,
            troubles=lambda: {**self.troubles, **{about: text for about, text in self.own.items() if text}},
            sink=self.sink,
            messenger=self.messenger,
            tell=self.own.__setitem__,
        )
        world.reconciler._tell = self.telling.look

    async def round(self):
        """Let everybody work."""
        self.telling.round()
        for _ in range(50):
            await asyncio.sleep(0)

    def names(self):
        """Which alerts the latest post says stand."""
        now_s = self.world.clock.now()
        return sorted(dict(one.labels)["alertname"] for one in self.sink.posted[-1] if one.ends_s > now_s)

    def titles(self):
        """Every message."""
        return [message.title for _, message in self.messenger.sent]


async def started() -> World:
    """A world in which 1.0.0 serves."""
    world = World()
    world.commit("1.0.0")
    await world.run(30)
    return world


async def test_nobody_is_told_when_nobody_is_named():
    """No task runs, and a pass does nothing but leave word."""
    world = await started()
    whole = Whole(world)
    world.commit("1.1.0", error=1.0)
    await world.until(Phase.ROLLED_BACK)
    await whole.round()
    assert (whole.sink.posted, whole.messenger.sent, whole.telling._moved) == ([], [], [])


async def test_whoever_is_named_is_told_and_others_are_not():
    """By event and by service; a file that two rules name gets one message."""
    world = await started()
    rules = (
        Notification(url_file="/a"),
        Notification(url_file="/a", services=("ord*",)),
        Notification(url_file="/b", services=("web",)),
        Notification(url_file="/c", when=(What.PROMOTED,)),
    )
    whole = Whole(world, alertmanager=AM, notifications=rules)
    await whole.round()
    world.commit("1.1.0", error=1.0)
    await world.until(Phase.ROLLED_BACK)
    await whole.round()
    assert whole.names() == ["SternwayRolledBack"]
    assert [file for file, _ in whole.messenger.sent] == ["/a"]
    await whole.telling.close()


async def test_a_withdrawal_between_two_looks_is_told_all_the_same():
    """Each pass leaves word where the service stands; what is over when people are told is told too."""
    world = await started()
    whole = Whole(world, notifications=(Notification(url_file="/a", when=(What.WITHDRAWN,)),))
    await whole.round()
    keyless = dataclasses.replace(guard().judge, cluster_key=None)
    world.commit("1.1.0", error=0.3, with_guard=guard(judge=keyless, withdraw_s=2.0))
    await world.until(Phase.WITHDRAWN)
    await world.until(Phase.EXPOSED)
    await whole.round()
    (title,) = whole.titles()
    assert "is suspected" in title
    await whole.telling.close()


async def test_alerts_are_ended_only_where_they_stand_no_more_and_not_by_a_stop():
    """A process that ends leaves them; the next one, on the same journal, goes on with the same alert."""
    world = await started()
    whole = Whole(world, alertmanager=AM)
    await whole.round()
    world.commit("1.1.0", error=1.0)
    await world.until(Phase.ROLLED_BACK)
    await whole.round()
    before = whole.sink.posted[-1]
    await whole.telling.close()
    assert whole.sink.posted[-1] == before
    again = Whole(world, alertmanager=AM)
    again.telling.look(await world.progress())
    await again.round()
    (alert,) = again.sink.posted[-1]
    assert (alert.labels, alert.starts_s) == (before[0].labels, before[0].starts_s)
    world.commit("1.2.0")
    await world.until(Phase.STARTING)
    await again.round()
    assert again.names() == []
    await again.telling.close()


async def test_one_cause_that_many_services_suffer_is_told_once():
    """A full disk under three services: one alert of the platform, with no service's name."""
    world = await started()
    whole = Whole(world, alertmanager=AM, notifications=(Notification(url_file="/a"),))
    for name in ("orders", "stock", "web"):
        whole.telling.look(dataclasses.replace(await world.progress(), service=name))
    whole.troubles = dict.fromkeys(("orders", "stock", "web"), "the journal cannot be written\n  see the disk")
    whole.troubles["revert orders-7"] = "the Git server does not answer"
    await whole.round()
    world.clock.sleep(40)
    await whole.round()
    alerts = {dict(one.labels)["about"]: dict(one.labels) for one in whole.sink.posted[-1]}
    assert set(alerts) == {"orders and others", "revert orders-7"}
    assert "service" not in alerts["orders and others"]
    assert alerts["revert orders-7"]["service"] == "orders"
    assert len(whole.titles()) == 2
    await whole.telling.close()


async def test_each_way_out_tells_of_the_other_when_it_is_shut_and_not_of_itself():
    """Alertmanager is down: messages say so. An address takes nothing: an alert says so. Neither talks of itself."""
    world = await started()
    whole = Whole(world, alertmanager=AM, notifications=(Notification(url_file="/a"), Notification(url_file="/b")))
    whole.troubles = {"alerts to http://alertmanager.example": "it is down", "notify a": "it takes nothing"}
    await whole.round()
    world.clock.sleep(40)
    await whole.round()
    told = [(file, message.title.partition(": ")[2]) for file, message in whole.messenger.sent]
    down = "alerts to http://alertmanager.example"
    assert sorted(told) == [("/a", down), ("/b", down), ("/b", "notify a")]
    assert [dict(one.labels)["about"] for one in whole.sink.posted[-1]] == ["notify a"]
    await whole.telling.close()


async def test_who_is_taken_out_of_the_manifests_is_told_no_more():
    """A commit that names nobody ends it, and the troubles of telling with it."""
    world = await started()
    whole = Whole(world, alertmanager=AM, notifications=(Notification(url_file="/a"),))
    whole.sink.down = whole.messenger.missing = True
    whole.troubles = {"git": "the Git server does not answer"}
    await whole.round()
    world.clock.sleep(40)
    await whole.round()
    assert whole.own["alerts to http://alertmanager.example"]
    assert whole.own["notify a"]
    whole.settings = Monitoring(alertmanager=AM, alerts=AlertsOut(send=False))
    await whole.round()
    assert not any(whole.own.values())
    assert not whole.telling._keepers
    assert not whole.telling._couriers


def test_a_cluster_of_alertmanagers_is_told_whole():
    """`alerts.to` names every member, in the place of the one that is asked."""
    many = (Endpoint(url="http://a"), Endpoint(url="http://b"))
    assert Monitoring(alertmanager=AM).alerted == (AM,)
    assert Monitoring(alertmanager=AM, alerts=AlertsOut(to=many)).alerted == many
    assert Monitoring(alertmanager=AM, alerts=AlertsOut(to=many, send=False)).alerted == ()
    assert Monitoring().alerted == ()


async def test_a_mistake_in_telling_is_shown_and_does_not_end_it():
    """A bug shows as a trouble; the next round goes on."""
    world = await started()
    whole = Whole(world, alertmanager=AM)
    whole.telling._settings = lambda: math.nan
    task = asyncio.create_task(whole.telling.run())
    async with asyncio.timeout(30):
        while "Traceback" not in whole.own.get("telling", ""):
            await asyncio.sleep(0.01)
    whole.telling._settings = Monitoring
    async with asyncio.timeout(30):
        while whole.own["telling"]:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
