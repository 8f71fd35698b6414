"""What a report needs to know of releases, out of the Releases of a cluster: as the journal has it, and nothing guessed."""

from dataclasses import replace

import pytest

from measured_release import measured_release
from sternway.control.dora import DAY_S, report
from sternway.control.measures import By, Measured, account
from sternway.control.status import ReleaseView
from sternway.domain.releases import Phase
from sternway.kubernetes.api import Object
from sternway.operator.accounts import accounts, journal_name
from sternway.operator.views import About, release_object

ABOUT = About(name="orders", namespace="shop", uid="u1", generation=3, before={})


def measured(number: int, phase: Phase, **more: object) -> Measured:
    """A release of `orders` that began at its number in days, and took an hour."""
    began_s = number * DAY_S
    own: dict[str, object] = {
        "service": "orders.shop",
        "version": f"v{number}",
        "started_s": began_s,
        "entered_s": began_s + 3600,
        "ended_s": began_s + 3600 if phase.over else None,
        "requests": 100,
    }
    return measured_release(f"orders.shop-{number}", phase, **{**own, **more})


def view(one: Measured) -> ReleaseView:
    """What the operator shows of it."""
    outcomes = {Phase.PROMOTED: "promoted", Phase.ROLLED_BACK: "rolled back", Phase.SUPERSEDED: "superseded"}
    return ReleaseView(
        name=one.name,
        service=one.service,
        from_version="v0",
        from_commit="",
        to_version=one.version,
        to_commit="",
        phase=one.phase.value,
        step="",
        percent=0.0,
        outcome=outcomes.get(one.phase, "under way"),
        reason="",
        strategy="canary",
        mode="automatic",
        started_s=one.started_s,
        entered_s=one.entered_s,
        ended_s=one.ended_s,
        withdrawals=one.withdrawals,
        requests=one.requests,
        hurt=one.hurt,
        detected_s=one.detected_s,
    )


def stands(one: Measured, *, false_alarm: bool = False) -> Object:
    """The Release that the operator writes of it."""
    return release_object(ABOUT, view(one), {}, None, measured=one, false_alarm=false_alarm)


HARM_S = 2 * DAY_S + 60.0
ROLLED_BACK = measured(
    2,
    Phase.ROLLED_BACK,
    harm_s=HARM_S,
    detected_s=HARM_S + 1.25,
    decided_s=HARM_S + 3.0,
    restored_s=HARM_S + 4.5,
    hurt=7,
    withdrawals=2,
    blind_s=1.5,
)
STORY = (
    measured(1, Phase.PROMOTED, committed_s=DAY_S - 600),
    ROLLED_BACK,
    measured(3, Phase.PROMOTED, version="bad"),
    measured(
        4,
        Phase.ROLLED_BACK,
        version="bad",
        of_stable=True,
        by=By.PERSON,
        detected_s=4 * DAY_S,
        restored_s=4 * DAY_S + 2,
    ),
    measured(5, Phase.SUPERSEDED, by=By.PERSON, blind_from_s=5 * DAY_S + 3000),
    measured(6, Phase.EXPOSED),
)


def test_releases_tell_what_the_journal_tells():
    """Every figure comes back as it was, whichever order the objects come in; so the reports are the same."""
    found = accounts(stands(one) for one in reversed(STORY))
    assert found.releases == tuple(account(one) for one in STORY)
    assert (found.left_out, found.gone) == ((), ())
    whole = {"from_s": 0.0, "to_s": 10 * DAY_S}
    assert report(found.releases, **whole) == report(map(account, STORY), **whole)
    total = report(found.releases, **whole).total
    assert total is not None
    assert (total.detect_s, total.lead_s, total.failed, total.changes) == (1.25, 4200.0, 2, 3)


def test_a_release_from_before_the_figures_is_left_out_by_name():
    """What it does not say is not guessed; neither is one that was under way then."""
    old = stands(ROLLED_BACK)
    for name in ("endedBy", "detectSeconds", "restoreSeconds", "blindSeconds"):
        del old["status"][name]
    half = stands(STORY[2])
    del half["status"]["endedBy"]
    found = accounts([stands(STORY[0]), old, half])
    assert [one.name for one in found.releases] == ["orders.shop-1"]
    assert found.left_out == ("orders.shop-2", "orders.shop-3")


def test_releases_that_are_gone_are_counted():
    """By their numbers, of each service; with the moment from which on something is known."""
    other = stands(replace(STORY[0], service="stock.shop", name="stock.shop-1"))
    found = accounts([*(stands(one) for one in STORY[3:]), other])
    (gone,) = found.gone
    assert (gone.service, gone.releases, gone.first_s) == ("orders.shop", 3, 4 * DAY_S)


def test_a_release_that_gave_way_ends_where_the_next_one_begins():
    """Its Release was not written again; the last one may well be under way."""
    found = accounts([stands(measured(1, Phase.EXPOSED)), stands(measured(2, Phase.EXPOSED))])
    first, last = found.releases
    assert (first.phase, first.by, first.ended_s) == (Phase.SUPERSEDED, By.PERSON, 2 * DAY_S)
    assert (last.phase, last.ended_s) == (Phase.EXPOSED, None)


@pytest.mark.parametrize("said", [True, False])
def test_a_false_alarm_is_one_that_a_person_names(said: bool):
    """It stands in the Release's status."""
    (found,) = accounts([stands(ROLLED_BACK, false_alarm=said)]).releases
    assert found.false_alarm is said


def test_a_version_that_was_tried_again_and_promoted_was_a_false_alarm():
    """As in the journal, nobody has to say so."""
    again = measured(3, Phase.PROMOTED, version=ROLLED_BACK.version)
    found = accounts([stands(ROLLED_BACK), stands(again)]).releases
    assert [one.false_alarm for one in found] == [True, False]


def test_a_release_without_a_status_tells_nothing():
    """The operator has made it, and not written its status yet."""
    bare = {key: value for key, value in stands(ROLLED_BACK).items() if key != "status"}
    assert accounts([bare]).releases == ()


def test_what_stands_there_stays_when_nothing_new_is_measured():
    """Figures of an ended release are taken once; a restart forgets none, and no word of a person either."""
    before = stands(ROLLED_BACK, false_alarm=True)
    later = release_object(ABOUT, view(ROLLED_BACK), {}, before)
    assert later["status"]["detectSeconds"] == 1.25
    assert later["status"]["endedBy"] == "engine"
    assert later["status"]["falseAlarm"] is True


def test_the_journal_knows_a_release_by_its_service_and_namespace():
    """`orders-17` in `shop` is `orders.shop-17` there."""
    assert journal_name(stands(ROLLED_BACK)) == "orders.shop-2"
