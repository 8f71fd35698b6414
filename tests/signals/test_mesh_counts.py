"""A mesh's counters stand in for an access log."""

from collections.abc import Iterable

import pytest

from sternway.domain.metrics import MESH_ERRORS, MetricAsk, MetricQuestion, Unseen
from sternway.domain.tallies import Question, Reading, Tally
from sternway.signals.mesh_counts import MeshCounts

ASKED = Question(stable="1", candidate="2")


class Scripted:
    """What Prometheus would give, reading by reading."""

    def __init__(self, readings: Iterable[Reading]) -> None:
        self.readings = iter(readings)
        self.asked: list[Question | None] = []

    async def read(self, _: str) -> Reading:
        """The next one."""
        return next(self.readings)

    def ask(self, _: str, question: Question | None) -> None:
        """Remember what was asked."""
        self.asked.append(question)


def counted(version: str, start_s: float, total: int, bad: int = 0) -> Tally:
    """Five seconds of a version's counters."""
    return Tally(version=version, criterion=MESH_ERRORS, start_s=start_s, end_s=start_s + 5, total=total, bad=bad)


async def read(*readings: Reading, asked: Question = ASKED) -> list[Reading]:
    """What comes of these readings."""
    source = MeshCounts(Scripted(readings))
    source.ask("orders.shop", asked)
    return [await source.read("orders.shop") for _ in readings]


async def test_counts_are_errors_and_stay_a_metric():
    """The counts are there twice: as plain errors of both versions, and as the metric that condemns."""
    (found,) = await read(Reading(tallies=(counted("1", 10, 95, 1), counted("2", 10, 5, 2))))
    by = {(t.version, t.criterion): (t.total, t.bad) for t in found.tallies}
    assert by == {
        ("1", "errors"): (95, 1),
        ("2", "errors"): (5, 2),
        ("2", "hurt"): (5, 2),
        ("1", MESH_ERRORS): (95, 1),
        ("2", MESH_ERRORS): (5, 2),
    }
    assert (found.first_bad_s, found.last_candidate_s) == (15, 15)


async def test_the_rate_is_that_of_the_last_minute():
    """Requests of both versions over the time that they were counted in; what is old is forgotten."""
    busy = [Reading(tallies=(counted("1", at, 450), counted("2", at, 50))) for at in range(0, 60, 5)]
    quiet = [Reading(tallies=(counted("1", at, 5),)) for at in range(60, 180, 5)]
    found = await read(*busy, *quiet)
    assert found[0].rate_per_s == pytest.approx(100.0)
    assert found[11].rate_per_s == pytest.approx(100.0)
    assert found[-1].rate_per_s == pytest.approx(1.0)


async def test_without_counts_the_rate_is_unknown():
    """One scrape tells no rate."""
    (found,) = await read(Reading())
    assert found.rate_per_s is None
    assert not found.tallies


@pytest.mark.parametrize(("role", "blind"), [("", 7.0), ("candidate", None)])
async def test_blind_is_who_sees_neither_version(role: str, blind: float | None):
    """A candidate that nobody has asked yet has no series: that is no blindness of everything."""
    unseen = Unseen(criterion=MESH_ERRORS, since_s=7.0, why="no series", role=role)
    (found,) = await read(Reading(unseen=(unseen,)))
    assert found.blind_since_s == blind


async def test_nothing_is_added_for_a_service_that_nobody_asks_about():
    """After the question is taken back the counts are what Prometheus gives."""
    scripted = Scripted([Reading(tallies=(counted("1", 0, 5),))])
    source = MeshCounts(scripted)
    source.ask("orders.shop", ASKED)
    source.ask("orders.shop", None)
    assert (await source.read("orders.shop")).tallies == (counted("1", 0, 5),)
    assert scripted.asked == [ASKED, None]


def ask(name: str, kind: str) -> MetricAsk:
    """A metric of the Guard's."""
    return MetricAsk(name=name, kind=kind, interval_s=5, stable=("x",), candidate=("y",))


async def test_without_counts_of_the_mesh_the_first_ratio_of_the_guard_tells_how_much_traffic_there_is():
    """A step that waits for requests goes on; the ratio is judged as it is stated, and as nothing else."""
    asks = (ask("depth", "versus"), ask("slow", "slower"), ask("failed", "ratio"), ask("refused", "ratio"))
    asked = Question(stable="1", candidate="2", metrics=MetricQuestion(stable="1", candidate="2", asks=asks))
    tallies = tuple(
        Tally(version=version, criterion=name, start_s=10, end_s=15, total=total, bad=1)
        for name, of in (("failed", {"1": 45, "2": 5}), ("refused", {"1": 900, "2": 100}))
        for version, total in of.items()
    )
    (found,) = await read(Reading(tallies=tallies), asked=asked)
    assert [tally for tally in found.tallies if tally not in tallies] == [
        Tally(version="2", criterion="hurt", start_s=10, end_s=15, total=5, bad=1)
    ]
    assert found.rate_per_s == pytest.approx(10.0)
