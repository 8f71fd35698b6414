"""What `kubectl get guards,releases` shows."""

from dataclasses import replace

import pytest

from sternway.control.gating import GateView
from sternway.control.status import ReleaseView, ServiceStatus, Trouble, VersionView
from sternway.errors import Problem
from sternway.kubernetes.api import Object
from sternway.operator.evidence import Evidence
from sternway.operator.views import About, Twin, guard_status, release_object, resource_name

ABOUT = About(name="orders", namespace="shop", uid="u1", generation=3, before={})
SEEN = Evidence(heard=True)
STABLE = VersionView(id="1-aaa", role="stable", image="shop/orders:1", commit="", percent=90.0, ready=3, desired=3)
CANDIDATE = VersionView(
    id="2-bbb", role="candidate", image="shop/orders:2", commit="", percent=10.0, ready=3, desired=3
)
RELEASE = ReleaseView(
    name="orders.shop-4",
    service="orders.shop",
    from_version="1-aaa",
    from_commit="",
    to_version="2-bbb",
    to_commit="",
    phase="exposed",
    step="1 of 3: 10 %",
    percent=10.0,
    outcome="under way",
    reason="exposed to 10 %",
    strategy="canary",
    mode="automatic",
    started_s=1_000.0,
    entered_s=1_010.0,
)
SHOWN = ServiceStatus(
    service="orders.shop",
    address=None,
    preview=None,
    stable="1-aaa",
    wanted="2-bbb",
    versions=(STABLE, CANDIDATE),
    release=RELEASE,
    rate_per_s=20.0,
    ready=True,
    reason="exposed to 10 %",
)


def status(shown: ServiceStatus | None, problems: tuple[Problem, ...] = (), about: About = ABOUT, now_s: float = 2_000):
    """A Guard's status."""
    return guard_status(about, shown, problems, mesh="istio", evidence=SEEN, answer=None, now_s=now_s)


def condition(found: Object, kind: str) -> tuple[str, str]:
    """(status, reason) of a condition."""
    (one,) = (one for one in found["conditions"] if one["type"] == kind)
    return one["status"], one["reason"]


def test_a_release_under_way_is_told():
    """Phase, versions and the share that the proxies show."""
    found = status(SHOWN)
    assert found["phase"] == "exposed"
    assert found["candidate"] == {"id": "2-bbb", "image": "shop/orders:2"}
    assert found["weight"] == 10.0
    assert found["release"] == "orders-4"
    assert condition(found, "Progressing") == ("True", "Exposed")
    assert condition(found, "Degraded") == ("False", "AsWanted")
    assert condition(found, "Ready") == ("True", "InForce")


def test_a_guard_that_is_wrong_says_where():
    """The mistake stands in the condition, with its field and its fix."""
    problem = Problem(file="Guard orders", field="spec.strategy", message="two strategies", fix="keep one")
    found = status(None, (problem,))
    assert condition(found, "Ready") == ("False", "Invalid")
    assert "spec.strategy: two strategies (keep one)" in found["conditions"][0]["message"]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (None, ("Unknown", "Starting")),
        (replace(SHOWN, troubles=(Trouble(about="orders", message="no route"),)), ("False", "InTheWay")),
        (replace(SHOWN, ready=False), ("False", "StableNotReady")),
    ],
    ids=["not looked at", "trouble", "stable not ready"],
)
def test_ready_tells_what_is_missing(shown: ServiceStatus | None, expected: tuple[str, str]):
    """Ready is True only for a service that serves as it should."""
    assert condition(status(shown), "Ready") == expected


def test_ready_waits_for_the_twin():
    """Until the twin serves, a change would roll out unguarded: that is not ready. During a release the twin is there."""
    rest = replace(SHOWN, release=None)
    found = guard_status(ABOUT, rest, (), mesh="istio", evidence=SEEN, twin=Twin.MISSING, answer=None, now_s=2_000)
    assert condition(found, "Ready") == ("False", "TwinNotReady")
    assert found["conditions"][0]["message"].endswith("a change now rolls out unguarded")
    found = guard_status(ABOUT, rest, (), mesh="istio", evidence=SEEN, twin=Twin.AWAITED, answer=None, now_s=2_000)
    assert condition(found, "Ready") == ("False", "TwinNotReady")
    assert found["conditions"][0]["message"].endswith("a change now waits until it is, and is then released")
    found = guard_status(ABOUT, SHOWN, (), mesh="istio", evidence=SEEN, twin=Twin.MISSING, answer=None, now_s=2_000)
    assert condition(found, "Ready") == ("True", "InForce")


def test_a_version_that_was_taken_back_degrades_the_guard_while_it_is_wanted():
    """The hold is seen at a glance, with the reason of the rollback."""
    over = replace(RELEASE, phase="rolled-back", outcome="rolled back", reason="5 % errors", ended_s=1_100.0)
    found = status(replace(SHOWN, release=over, held=("2-bbb",), versions=(STABLE,)))
    assert found["phase"] == "idle"
    assert condition(found, "Degraded") == ("True", "RolledBack")
    assert "5 % errors" in next(one for one in found["conditions"] if one["type"] == "Degraded")["message"]


def test_a_condition_keeps_its_time_until_it_changes():
    """Its lastTransitionTime is when the status changed, not when it was written."""
    first = status(SHOWN, now_s=2_000)
    later = status(SHOWN, about=replace(ABOUT, before=first), now_s=3_000)
    assert later == first
    changed = status(replace(SHOWN, ready=False), about=replace(ABOUT, before=first), now_s=3_000)
    times = {one["type"]: one["lastTransitionTime"] for one in changed["conditions"]}
    assert times["Ready"] == "1970-01-01T00:50:00Z"
    assert times["Progressing"] == "1970-01-01T00:33:20Z"


def test_a_release_is_an_object_of_its_guard():
    """It has the Guard as its owner, lies in its namespace, and says how it went."""
    over = replace(
        RELEASE, phase="promoted", outcome="promoted", reason="no harm", ended_s=1_100.0, hurt=2, requests=900
    )
    found = release_object(ABOUT, over, {"1-aaa": "shop/orders:1", "2-bbb": "shop/orders:2"}, None)
    assert found["metadata"]["name"] == "orders-4"
    assert found["metadata"]["ownerReferences"][0]["uid"] == "u1"
    assert found["spec"]["service"] == "orders"
    assert found["spec"]["candidate"] == {"id": "2-bbb", "image": "shop/orders:2"}
    assert found["status"]["endedAt"] == "1970-01-01T00:18:20Z"
    assert (found["status"]["requests"], found["status"]["hurt"]) == (900, 2)
    assert condition(found["status"], "Succeeded") == ("True", "Promoted")


def test_the_gates_of_a_release_stand_in_its_status():
    """With a time, and with what keeps one from getting on; nothing where there are none."""
    smoke = GateView(
        name="smoke", point="before any user", state="running", since_s=0.0, message="no node takes its pod"
    )
    found = release_object(
        ABOUT, replace(RELEASE, gates=(smoke, replace(smoke, name="b", since_s=None, message=""))), {}, None
    )
    whole = {"name": "smoke", "point": "before any user", "state": "running"}
    assert found["status"]["gates"] == [
        {**whole, "since": "1970-01-01T00:00:00Z", "message": "no node takes its pod"},
        {**whole, "name": "b"},
    ]
    assert "gates" not in release_object(ABOUT, RELEASE, {}, None)["status"]


def test_a_release_that_nothing_counts_says_so():
    """Beside its reason, in its own object."""
    uncounted = replace(RELEASE, uncounted="nothing tells of its requests, so it goes on by time alone")
    found = release_object(ABOUT, uncounted, {}, None)
    assert found["status"]["message"] == f"exposed to 10 %; {uncounted.uncounted}"


@pytest.mark.parametrize(("release", "name"), [("orders.shop-4", "orders-4"), ("my-service.a-b-12", "my-service-12")])
def test_a_release_is_named_within_its_namespace(release: str, name: str):
    """The namespace is the object's own."""
    assert resource_name(release) == name
