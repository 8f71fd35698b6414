"""Alerts as criteria: whom they blame, when, and what follows."""

from dataclasses import replace

import pytest
from judge_traffic import CANDIDATE, KEYLESS, STABLE, start

from sternway.domain.judgements import Verdict
from sternway.domain.metrics import Alert, AlertRule, OnAlert, Unseen
from sternway.domain.tallies import Reading
from sternway.judgement import begin_exposure, judge

T0 = 1_000_000.0
U, S, H = Verdict.UNDECIDED, Verdict.SUSPECT, Verdict.HARMFUL


def alert(since_s=T0 + 1, **labels):
    """Write an alert that fires."""
    return Alert(id="a", labels=tuple(sorted({"alertname": "Refused", **labels}.items())), since_s=since_s)


class Judged:
    """One release, looked at as often as the test likes."""

    def __init__(self, then):
        self.settings = replace(KEYLESS, alerts=(AlertRule(match=(("alertname", "Refused"),), then=then),))
        self.now_s = T0
        self.evidence, _ = judge(self.settings, start(self.settings), Reading(), now_s=T0)

    def see(self, *alerts, exposed=True, **more):
        """Look once, two seconds later."""
        self.now_s += 2
        reading = Reading(alerts=alerts, **more)
        self.evidence, judged = judge(self.settings, self.evidence, reading, now_s=self.now_s, exposed=exposed)
        return judged

    def expose_again(self):
        """Give the candidate traffic again."""
        self.evidence = begin_exposure(self.evidence)
        self.see()


TAG, OTHER = CANDIDATE.rpartition("-")[0], STABLE.rpartition("-")[0]
NAMED = [
    (
        "its id in any label",
        {"envoy_cluster_name": f"orders|{CANDIDATE}".replace(".", "_")},
        {OnAlert.ROLLBACK: H, OnAlert.WITHDRAW: S, OnAlert.HOLD: U},
    ),
    ("its tag as a version", {"version": TAG}, {OnAlert.ROLLBACK: H, OnAlert.WITHDRAW: S, OnAlert.HOLD: U}),
    ("its tag as something else", {"build": TAG}, {OnAlert.ROLLBACK: S, OnAlert.WITHDRAW: S, OnAlert.HOLD: U}),
    ("nobody", {}, {OnAlert.ROLLBACK: S, OnAlert.WITHDRAW: S, OnAlert.HOLD: U}),
    ("stable", {"version": OTHER}, {OnAlert.ROLLBACK: U, OnAlert.WITHDRAW: U, OnAlert.HOLD: U}),
]


@pytest.mark.parametrize("then", OnAlert)
@pytest.mark.parametrize(("labels", "verdicts"), [row[1:] for row in NAMED], ids=[row[0] for row in NAMED])
def test_what_an_alert_does_depends_on_whom_it_names_and_what_the_guard_says(labels, verdicts, then):
    """Named by its labels, the candidate is condemned or withdrawn as the Guard says; by time alone it is withdrawn at most."""
    judged = Judged(then).see(alert(**labels))
    assert judged.verdict is verdicts[then]
    assert bool(judged.hold) is (labels.get("version") != OTHER)


def test_a_replicas_address_is_a_name():
    """The signal says whose replica it is."""
    assert Judged(OnAlert.ROLLBACK).see(replace(alert(), version=CANDIDATE)).verdict is H
    assert Judged(OnAlert.ROLLBACK).see(replace(alert(), version=STABLE)).verdict is U


def test_an_alert_that_stable_has_too_blames_nobody():
    """The same alert fires for both versions: common trouble."""
    both = (alert(version=TAG), replace(alert(version=OTHER), id="b"))
    assert Judged(OnAlert.ROLLBACK).see(*both).verdict is U


def test_what_fired_before_the_candidate_came_is_not_its_doing():
    """By time alone, it must have begun with the exposure."""
    judged = Judged(OnAlert.ROLLBACK).see(alert(since_s=T0 - 60))
    assert (judged.verdict, judged.hold) == (U, "")


def test_an_alert_that_falls_silent_and_begins_again_condemns():
    """Withdrawn, silent, exposed, fires again: that is as good as a name."""
    release = Judged(OnAlert.ROLLBACK)
    assert release.see(alert()).verdict is S
    assert release.see(exposed=False).hold == ""
    release.expose_again()
    judged = release.see(alert(since_s=release.now_s))
    assert judged.verdict is H
    assert "in 2 exposures" in judged.sentence


def test_an_alert_that_goes_on_without_the_candidate_keeps_it_withdrawn_but_does_not_condemn():
    """It has not fallen silent, so that nothing is proven by it; nobody is tried while it fires."""
    release = Judged(OnAlert.ROLLBACK)
    first = alert()
    release.see(first)
    for _ in range(5):
        judged = release.see(first, exposed=False)
        assert judged.hold
        assert judged.verdict is not H


def test_an_alert_of_another_rule_or_of_none_does_nothing():
    """Only what the Guard names counts."""
    other = Alert(id="x", labels=(("alertname", "DiskFull"), ("version", TAG)), since_s=T0 + 1)
    assert Judged(OnAlert.ROLLBACK).see(other).verdict is U


def test_while_alertmanager_is_away_what_fired_still_does():
    """Blindness is no resolution."""
    release = Judged(OnAlert.HOLD)
    assert release.see(alert()).hold
    assert release.see(unseen=(Unseen(criterion="alerts", since_s=T0, why="gone"),)).hold
    assert not release.see().hold
