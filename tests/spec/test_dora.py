"""DORA's four keys, computed from measured releases made by hand."""

import re
from dataclasses import replace
from pathlib import Path

from measured_release import measured_release
from sternway.control.dora import DAY_S, HOW, Delivery, report
from sternway.control.measures import Account, By, account
from sternway.domain.releases import Phase

NOW_S = 100 * DAY_S


def ended(name: str, phase: Phase, ago_days: float, **more: object) -> Account:
    """Make a release that ended so many days ago; it took an hour."""
    ended_s = NOW_S - ago_days * DAY_S
    own: dict[str, object] = {
        "service": name.rpartition("-")[0],
        "started_s": ended_s - 3600,
        "entered_s": ended_s,
        "ended_s": ended_s,
    }
    return account(measured_release(name, phase, **{**own, **more}))


def total(*releases: Account, days: float = 30) -> Delivery:
    """Report on all of them."""
    found = report(releases, from_s=NOW_S - days * DAY_S, to_s=NOW_S).total
    assert found is not None
    return found


def test_promotions_are_divided_by_the_days_that_are_looked_at():
    """Three in ten days, and what ended before or has not ended is none of them."""
    found = total(
        *(ended(f"orders-{n}", Phase.PROMOTED, n) for n in (1, 2, 3, 11)),
        ended("orders-4", Phase.EXPOSED, 0, ended_s=None),
        days=10,
    )
    assert (found.promoted, found.promoted_per_day) == (3, 0.3)


def test_the_lead_time_is_from_the_commit_to_the_promotion():
    """The median; one whose commit's time is not known does not count."""
    leads = [600.0, 900.0, 100_000.0]
    promoted = [
        ended(f"orders-{n}", Phase.PROMOTED, 1, committed_s=NOW_S - DAY_S - lead) for n, lead in enumerate(leads)
    ]
    assert total(*promoted, ended("orders-9", Phase.PROMOTED, 1)).lead_s == 900.0
    assert total(ended("orders-9", Phase.PROMOTED, 1)).lead_s is None


def test_a_change_failed_if_it_was_rolled_back_or_taken_back_later():
    """A promoted version that a person took back is one failed change, not two; who gave way is none."""
    found = total(
        ended("orders-1", Phase.PROMOTED, 9),
        ended("orders-2", Phase.ROLLED_BACK, 8),
        ended("orders-3", Phase.PROMOTED, 7, version="bad"),
        ended("orders-4", Phase.ROLLED_BACK, 6, version="bad", of_stable=True, by=By.PERSON),
        ended("orders-5", Phase.SUPERSEDED, 5),
        ended("orders-6", Phase.PROMOTED, 4, version="bad"),
    )
    assert (found.changes, found.failed, found.failure_rate_percent) == (4, 2, 50.0)
    assert (found.rolled_back, found.superseded) == (2, 1)


def test_times_of_rollbacks_are_medians_from_the_first_bad_answer():
    """What a person took back after its promotion is timed from the command, and detected by nobody here."""
    harm_s = NOW_S - DAY_S
    found = total(
        ended("orders-1", Phase.ROLLED_BACK, 1, harm_s=harm_s, detected_s=harm_s + 1, restored_s=harm_s + 2),
        ended("orders-2", Phase.ROLLED_BACK, 1, harm_s=harm_s, detected_s=harm_s + 3, restored_s=harm_s + 10),
        ended("orders-3", Phase.ROLLED_BACK, 1, detected_s=harm_s, restored_s=harm_s + 4, of_stable=True),
        ended("orders-4", Phase.PROMOTED, 1, harm_s=harm_s, detected_s=harm_s + 500),
    )
    assert (found.detect_s, found.restore_s) == (2.0, 4.0)


def test_services_are_told_apart_and_summed_up():
    """A row for each that a release ended of, in their order, and one for all."""
    releases = [
        ended("stock-1", Phase.ROLLED_BACK, 1, requests=100, hurt=3, false_alarm=True, withdrawals=2, blind_s=5.0),
        ended("orders-1", Phase.PROMOTED, 1, requests=900, hurt=1, blind_from_s=NOW_S - DAY_S - 60),
        ended("old-1", Phase.PROMOTED, 50),
    ]
    found = report(releases, from_s=NOW_S - 30 * DAY_S, to_s=NOW_S)
    assert [one.service for one in found.services] == ["orders", "stock"]
    assert found.total is not None
    assert (found.total.requests, found.total.hurt, found.total.false_alarms) == (1000, 4, 1)
    assert (found.total.withdrawals, found.total.blind_s, found.known) == (2, 65.0, 3)
    one = report(releases, from_s=NOW_S - 30 * DAY_S, to_s=NOW_S, service="stock")
    assert (one.total, one.known) == (replace(one.services[0], service="all"), 1)


def test_where_nothing_ended_there_is_no_total():
    """Nought of nothing would look like a figure."""
    found = report([ended("orders-1", Phase.PROMOTED, 50)], from_s=NOW_S - DAY_S, to_s=NOW_S)
    assert (found.total, found.services, found.known) == (None, (), 1)


def test_the_page_computes_every_figure_as_the_report_says():
    """The lines under the report are those of docs/observability.md, in their order."""
    page = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()
    table = page.partition("| | how it is computed |\n|---|---|\n")[2].partition("\n\n")[0]
    assert tuple(re.findall(r"^\| (.+?) \| (.+?) \|$", table, re.MULTILINE)) == HOW
