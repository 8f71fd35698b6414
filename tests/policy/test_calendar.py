"""When a freeze holds: by the clocks of its zone, on the days too when these change."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from sternway.domain.policies import Policy, Window
from sternway.policy import bars, frozen, frozen_until, governs, known_zone

MINUTES = 24 * 60
WEEKEND = Window(zone="Europe/Berlin", weekly=((4 * MINUTES + 16 * 60, 7 * MINUTES + 8 * 60),))
NIGHTS = Window(zone="Europe/Berlin", weekly=tuple((day * MINUTES + 120, day * MINUTES + 180) for day in range(7)))


def at(text: str) -> float:
    """`2026-03-29T01:59+01:00` as seconds."""
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-11-27T15:59+01:00", False),
        ("2026-11-27T16:00+01:00", True),
        ("2026-11-30T07:59+01:00", True),
        ("2026-11-30T08:00+01:00", False),
        ("2026-07-06T07:59+02:00", True),
        ("2026-07-06T08:00+02:00", False),
    ],
)
def test_a_weekend_ends_on_monday_by_the_clock_on_the_wall(moment: str, holds: bool):
    """A span may run into the next week; summer and winter it is 16:00 and 08:00 there."""
    assert bool(frozen((WEEKEND,), at(moment))) is holds


@pytest.mark.parametrize(
    ("moment", "ends"),
    [
        ("2026-03-28T12:00+01:00", "2026-03-30T08:00+02:00"),
        ("2026-10-24T12:00+02:00", "2026-10-26T08:00+01:00"),
    ],
)
def test_a_weekend_with_a_change_of_the_clocks_ends_at_its_local_time(moment: str, ends: str):
    """It is an hour shorter or longer, and ends at 08:00 all the same."""
    assert frozen_until((WEEKEND,), at(moment)) == at(ends)


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-10-25T01:59+02:00", False),
        ("2026-10-25T02:00+02:00", True),
        ("2026-10-25T02:30+01:00", True),
        ("2026-10-25T03:00+01:00", False),
    ],
)
def test_an_hour_that_the_clock_shows_twice_is_frozen_twice(moment: str, holds: bool):
    """02:00 to 03:00 begins at its first showing and ends after the second."""
    assert bool(frozen((NIGHTS,), at(moment))) is holds


def test_a_freeze_in_the_hour_that_is_leapt_over_is_not_lost():
    """02:00 to 03:00 does not exist on that night; the freeze stands around the leap and ends."""
    assert frozen((NIGHTS,), at("2026-03-29T01:59+01:00"))
    assert not frozen((NIGHTS,), at("2026-03-29T04:00+02:00"))


def test_a_window_once_holds_from_its_first_to_before_its_last_moment():
    """Local times of the zone, whatever the machine's own zone is."""
    window = Window(zone="America/New_York", once=("2026-12-18T18:00", "2027-01-04T08:00"))
    assert not frozen((window,), at("2026-12-18T17:59:59-05:00"))
    assert frozen((window,), at("2026-12-18T18:00-05:00"))
    assert not frozen((window,), at("2027-01-04T08:00-05:00"))
    assert frozen_until((window,), at("2026-12-24T00:00-05:00")) == at("2027-01-04T08:00-05:00")


def test_windows_that_touch_are_one_freeze():
    """People are told when they can release again, not when one of the windows ends."""
    night = Window(zone="UTC", once=("2026-12-01T00:00", "2026-12-02T00:00"))
    day = Window(zone="UTC", once=("2026-12-02T00:00", "2026-12-03T12:00"))
    assert frozen_until((night, day), at("2026-12-01T05:00+00:00")) == at("2026-12-03T12:00+00:00")


def test_a_freeze_without_end_has_no_end():
    """Every day of the week: nothing that could be named is given."""
    always = Window(zone="UTC", weekly=((0, 7 * MINUTES),))
    assert frozen_until((always,), at("2026-12-01T05:00+00:00")) is None


def test_the_sentence_names_policy_and_end_in_its_own_zone():
    """What people read has the weekday, the local time and the zone."""
    found = bars((Policy(name="weekend", freeze=(WEEKEND,)),), "orders", None, at("2026-11-28T12:00+01:00"))
    assert [bar.sentence for bar in found] == ["frozen until Mon 2026-11-30 08:00 CET by policy weekend"]


def test_zones_are_known_by_their_names():
    """A folder of the database, a made-up name and a path are no zones."""
    assert known_zone("Europe/Berlin")
    assert not known_zone("Europe")
    assert not known_zone("Europe/Atlantis")
    assert not known_zone("../etc/passwd")
    assert str(ZoneInfo("UTC")) == "UTC"


@pytest.mark.parametrize(
    ("policy", "service", "holds"),
    [
        (Policy(name="a"), "orders", True),
        (Policy(name="a", services=("ord*",)), "orders.shop", True),
        (Policy(name="a", services=("*.shop",)), "orders.shop", True),
        (Policy(name="a", services=("*.shop",)), "orders.bank", False),
        (Policy(name="a", namespace="shop"), "orders.shop", True),
        (Policy(name="a", namespace="shop"), "orders.shop2", False),
        (Policy(name="a", excepted=("status",)), "status.shop", False),
        (Policy(name="a", services=("orders",)), "orders-db", False),
    ],
)
def test_a_policy_is_about_the_services_that_it_names(policy: Policy, service: str, holds: bool):
    """By name or pattern, with or without the namespace, within its own namespace."""
    assert governs(policy, service) is holds
