"""The condition `Sighted` of a Guard: whether a release can be judged by its requests, and what to do where it cannot."""

from dataclasses import replace

import pytest
from test_views import RELEASE

from sternway.control.status import ReleaseView
from sternway.operator.evidence import Evidence, sighted

LOGGED = Evidence(heard=True, listens=True)
MEASURED = Evidence(metrics=True, counts=True, prometheus=True)
NOTHING = Evidence()
UNCOUNTED = replace(RELEASE, uncounted="nothing tells of its requests, so it goes on by time alone")
LATER_S = RELEASE.entered_s + 61


@pytest.mark.parametrize(
    ("evidence", "release", "expected"),
    [
        (LOGGED, None, (True, "AccessLog")),
        (MEASURED, None, (True, "Metrics")),
        (replace(MEASURED, prometheus=False), None, (False, "NoPrometheus")),
        (replace(MEASURED, prometheus=False, listens=True), None, (None, "NotHeardYet")),
        (replace(MEASURED, counts=False), None, (False, "NothingCounts")),
        (NOTHING, None, (False, "NothingCounts")),
        (replace(NOTHING, listens=True), None, (None, "NotHeardYet")),
        (replace(NOTHING, listens=True), RELEASE, (None, "NotHeardYet")),
        (replace(NOTHING, listens=True), UNCOUNTED, (False, "NothingCounts")),
        (MEASURED, replace(RELEASE, blind_s=11.0), (False, "Blind")),
        (MEASURED, replace(RELEASE, blind_s=1.0), (True, "Metrics")),
    ],
)
def test_it_tells_what_there_is_to_judge_by(
    evidence: Evidence, release: ReleaseView | None, expected: tuple[bool | None, str]
):
    """Unknown where a log is listened to that may come with the first request; after a minute of traffic it does not."""
    found = sighted(evidence, release, LATER_S)
    assert (found.holds, found.reason) == expected
    assert found.message


def test_it_says_what_to_do_and_what_happens_till_then():
    """In the condition's message."""
    assert sighted(NOTHING, None, 0.0).message == (
        "no access log is listened to, and no metric counts its requests: a release is judged by crashes and alerts alone, "
        "and where it waits for requests, it waits for a person; have the proxies send their access log, or state a ratio in "
        "the Guard's metrics"
    )
    assert sighted(NOTHING, UNCOUNTED, LATER_S).message.startswith(
        "nothing tells of its requests, so it goes on by time"
    )
    blind = replace(RELEASE, blind_s=30.0, blind_to="refused: Prometheus is gone")
    assert sighted(MEASURED, blind, 0.0).message == "not seen: refused: Prometheus is gone; the split holds"


@pytest.mark.parametrize(
    ("evidence", "words"),
    [(LOGGED, "access log"), (MEASURED, "metrics"), (NOTHING, "none"), (replace(LOGGED, metrics=True), "access log")],
)
def test_the_status_names_it(evidence: Evidence, words: str):
    """`status.evidence`."""
    assert str(evidence) == words
