"""The access log first, what the mesh counts second: nothing twice, nothing missed, blind only without both."""

from dataclasses import dataclass, field, replace

import pytest

from sternway.domain.metrics import MESH_ERRORS, MESH_LATENCY, MetricAsk, MetricQuestion, Sample, Unseen
from sternway.domain.tallies import Question, Reading, Tally
from sternway.signals.hearing import Hearing, Teller
from sternway.signals.log_or_counts import OVERLAP_S, LogOrCounts

COUNTED = Question(
    stable="1",
    candidate="2",
    metrics=MetricQuestion(
        stable="1",
        candidate="2",
        asks=(MetricAsk(name=MESH_ERRORS, kind="ratio", interval_s=5.0, stable=("a",), candidate=("b",)),),
    ),
)
UNCOUNTED = Question(stable="1", candidate="2")


@dataclass
class Log:
    """Says what it is told to say."""

    reading: Reading = field(default_factory=Reading)
    heard: frozenset = frozenset()
    lost: float | None = None

    async def read(self, _):
        """See SignalSource."""
        return self.reading

    def ask(self, service, question):
        """See SignalSource."""

    def spoken_of(self, _):
        """See Log."""
        return self.heard

    def lost_s(self, _):
        """See Log."""
        return self.lost


def tally(version, total, criterion="errors", start_s=100.0):
    """Without bad ones."""
    return Tally(version=version, criterion=criterion, start_s=start_s, end_s=start_s + 5, total=total, bad=0)


MESH = Reading(
    tallies=tuple(tally(version, 7, name) for version in "12" for name in ("errors", "hurt", MESH_ERRORS)),
    samples=(Sample(criterion="cpu", at_s=1.0),),
    rate_per_s=1.0,
    first_bad_s=50.0,
    last_candidate_s=90.0,
)
LOGGED = Reading(
    tallies=(tally("1", 40), tally("2", 10)),
    rate_per_s=20.0,
    stable_ms=((0.5, 3.0),),
    first_bad_s=60.0,
    last_candidate_s=80.0,
    blind_since_s=None,
)


async def read(log, counts, question=COUNTED):
    """One reading of both."""
    source = LogOrCounts(log, Log(reading=counts))
    source.ask("orders.shop", question)
    return await source.read("orders.shop")


def counted(reading):
    """(version, criterion) -> how many, added up."""
    found = {}
    for one in reading.tallies:
        found[one.version, one.criterion] = found.get((one.version, one.criterion), 0) + one.total
    return found


async def test_without_a_log_everything_is_what_the_mesh_counts():
    """A cluster that sends no log is judged as before."""
    blind = Reading(
        tallies=MESH.tallies, blind_since_s=7.0, unseen=(Unseen(criterion=MESH_ERRORS, since_s=7.0, why="x"),)
    )
    for counts in (MESH, blind):
        assert await read(Log(), counts) == counts


async def test_where_nobody_set_anything_up_requests_are_uncounted_which_is_no_blindness():
    """No log, and no metric that counts: a value tells of no request. A log that comes counts; so does a ratio."""
    asks = {kind: replace(COUNTED.metrics.asks[0], name="own", kind=kind) for kind in ("limits", "ratio", "slower")}
    metrics = {kind: replace(COUNTED.metrics, asks=(one,)) for kind, one in asks.items()}
    for question, uncounted in (
        (UNCOUNTED, True),
        (replace(UNCOUNTED, metrics=metrics["limits"]), True),
        (replace(UNCOUNTED, metrics=metrics["ratio"]), False),
        (replace(UNCOUNTED, metrics=metrics["slower"]), False),
        (Question(stable="1"), False),
    ):
        found = await read(Log(), Reading(), question)
        assert (found.uncounted, found.blind_since_s) == (uncounted, None), question
    assert not (await read(Log(LOGGED, heard=frozenset("1")), Reading(), UNCOUNTED)).uncounted
    lost = await read(Log(Reading(), lost=7.0), Reading(), UNCOUNTED)
    assert (lost.uncounted, lost.blind_since_s) == (False, 7.0)


async def test_while_the_log_is_heard_no_request_is_counted_twice():
    """The plain counts are the log's; the mesh's ratio goes on as a criterion of its own."""
    found = await read(Log(LOGGED, heard=frozenset("12")), MESH)
    assert counted(found) == {("1", "errors"): 40, ("2", "errors"): 10, ("1", MESH_ERRORS): 7, ("2", MESH_ERRORS): 7}
    assert (found.rate_per_s, found.stable_ms, found.samples) == (20.0, LOGGED.stable_ms, MESH.samples)
    assert (found.first_bad_s, found.last_candidate_s) == (60.0, 80.0)


async def test_a_version_that_the_log_never_tells_of_is_counted_by_the_mesh():
    """Copies, or callers whose proxies send no log."""
    found = await read(Log(LOGGED, heard=frozenset("1")), MESH)
    assert counted(found)["2", "hurt"] == 7
    assert ("1", "hurt") not in counted(found)
    assert (found.first_bad_s, found.last_candidate_s) == (50.0, 90.0)


async def test_with_the_log_alone_a_release_is_judged():
    """No Prometheus at all: what the mesh would count is not missed. What the Guard asks for beside it is."""
    unseen = tuple(
        Unseen(criterion=name, since_s=3.0, why="no Prometheus") for name in (MESH_ERRORS, MESH_LATENCY, "cpu")
    )
    found = await read(Log(LOGGED, heard=frozenset("12")), Reading(unseen=unseen, blind_since_s=3.0))
    assert found.blind_since_s is None
    assert [one.criterion for one in found.unseen] == ["cpu"]


async def test_when_the_log_is_lost_the_counts_speak_again():
    """Not for what the log has told of already; and what it told last is not lost."""
    early = [tally("2", 5, start_s=200.0 + OVERLAP_S - 1), tally("2", 5, MESH_ERRORS, start_s=200.0)]
    late = tally("2", 3, start_s=200.0 + OVERLAP_S)
    found = await read(Log(LOGGED, lost=200.0), Reading(tallies=(*early, late)))
    assert counted(found) == {("1", "errors"): 40, ("2", "errors"): 13, ("2", MESH_ERRORS): 5}
    assert found.blind_since_s is None


@pytest.mark.parametrize(
    ("question", "counts_blind_s", "blind_s"),
    [(COUNTED, 100.0, 200.0), (COUNTED, 250.0, 250.0), (COUNTED, None, None), (UNCOUNTED, None, 200.0)],
    ids=["the log was lost last", "the counts were lost last", "the counts see", "the mesh counts nothing"],
)
async def test_blind_is_who_has_lost_both(question, counts_blind_s, blind_s):
    """Since the last of the two; also in a mesh that counts nothing by version."""
    unseen = () if counts_blind_s is None else (Unseen(criterion=MESH_ERRORS, since_s=counts_blind_s, why="x"),)
    found = await read(Log(lost=200.0), Reading(blind_since_s=counts_blind_s, unseen=unseen), question)
    assert found.blind_since_s == blind_s
    assert all(one.since_s >= 200.0 for one in found.unseen)


def test_who_told_of_a_version_is_heard_until_the_last_of_them_has_gone():
    """Streams come and go; the time of the loss is kept until somebody tells again."""
    hearing, one, other = Hearing(), Teller(), Teller()
    assert (hearing.versions("a"), hearing.lost_s("a")) == (frozenset(), None)
    assert hearing.told(one, "a", "1")
    assert not hearing.told(other, "a", "2")
    hearing.told(other, "b", "1")
    assert hearing.gone(one, 10.0) == ()
    assert (hearing.versions("a"), hearing.lost_s("a")) == (frozenset("2"), None)
    assert set(hearing.gone(other, 20.0)) == {"a", "b"}
    assert (hearing.versions("a"), hearing.lost_s("a"), hearing.lost_s("b")) == (frozenset(), 20.0, 20.0)
    hearing.told(one, "a", "2")
    assert (hearing.versions("a"), hearing.lost_s("a")) == (frozenset("2"), None)
    hearing.forget("b")
    assert hearing.lost_s("b") is None


def test_versions_of_releases_long_past_do_not_pile_up():
    """The proxy that told of one is still heard."""
    hearing, teller = Hearing(), Teller()
    for version in "123":
        hearing.told(teller, "a", version)
    hearing.only("a", ("3", "4"))
    assert hearing.versions("a") == frozenset("3")
    hearing.only("a", ("5",))
    assert hearing.versions("a") == frozenset("3")
