"""Views made from where things stand: every phase and strategy in words, every figure from its field."""

from dataclasses import replace

import pytest

from sternway import judgement
from sternway.control.status import Facts, release_view, service_status, troubles
from sternway.domain.gates import GateOutcome
from sternway.domain.guards import ABTest, BlueGreen, Canary, CanaryStep, Gate, Guard, MirrorFirst, Mode, Then
from sternway.domain.judgements import Judgement, Verdict
from sternway.domain.mesh import MeshPolicy, Retries, RouteRule
from sternway.domain.platform import WorkloadState
from sternway.domain.releases import Phase, Progress, Release, Retired, Reverted, Wanted
from sternway.domain.traffic import Split, TrafficPlan
from sternway.domain.versions import ConfigFile, EnvVar, Probe, SecretKey, Service, Version, Workload
from sternway.web.release_page import differences

NOW_S = 1_700_000_000.0
RISING = (CanaryStep(requests_per_second=5), CanaryStep(percent=10))
OLD = Version(service="orders", workload=Workload(image="orders:1.0.0", port=80), policy=MeshPolicy(), commit="a" * 40)
NEW = replace(OLD, workload=replace(OLD.workload, image="orders:1.1.0"), commit="b" * 40, id="")


def release(**changes: object) -> Release:
    """Give a release under way."""
    guard = changes.pop("guard", Guard(service="orders"))
    assert isinstance(guard, Guard)
    begun = Release(
        name="orders-1",
        candidate=NEW,
        stable=OLD,
        guard=guard,
        documents=(),
        phase=Phase.EXPOSED,
        started_s=NOW_S - 100,
        entered_s=NOW_S - 10,
        step_s=NOW_S - 10,
        evidence=judgement.begin(guard.judge, stable=OLD.id, candidate=NEW.id, stable_ms=()),
    )
    return replace(begun, **changes)  # type: ignore[arg-type]


def facts(progress: Progress, **changes: object) -> Facts:
    """Give what is known of a service."""
    return replace(
        Facts(service="orders", progress=progress, wanted=None, workloads=(), traffic=None, now_s=NOW_S),
        **changes,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({}, "1 of 3: 5 requests/s"),
        ({"index": 1, "percent": 10.0}, "2 of 3: as much as the evidence allows (10 %)"),
        ({"guard": Guard(service="orders", strategy=ABTest(header=("x-beta", "1")))}, "requests with header x-beta=1"),
        ({"guard": Guard(service="orders", strategy=ABTest(cookie=("beta", "1")))}, "requests with cookie beta=1"),
        ({"percent": 10.0, "guard": Guard(service="orders", strategy=BlueGreen())}, "a share of 10 %"),
        (
            {"phase": Phase.MIRRORING, "guard": Guard(service="orders", mirror=MirrorFirst(percent=25))},
            "copies of 25 % of the requests",
        ),
        ({"phase": Phase.PREVIEW, "guard": Guard(service="orders", strategy=BlueGreen())}, "preview address only"),
        (
            {"index": 1, "percent": 25.0, "guard": Guard(service="orders", strategy=Canary(steps=RISING))},
            "2 of 2: 10 % (25 % kept from the step before)",
        ),
        ({"phase": Phase.BAKING, "percent": 95.0}, "95 %, bake of 300 s"),
        ({"phase": Phase.WITHDRAWN}, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_step_is_told_in_the_words_of_its_strategy(changes: dict[str, object], step: str):
    """Where it stands, and how much that exposes."""
    assert release_view(release(**changes), NOW_S).step == step


@pytest.mark.parametrize(
    ("guard", "words"),
    [
        (Guard(service="orders"), "canary: 5 requests/s, as much as the evidence allows, 50 %"),
        (Guard(service="orders", strategy=BlueGreen()), "blue-green"),
        (Guard(service="orders", strategy=BlueGreen(), mirror=MirrorFirst()), "blue-green, mirrored first"),
        (Guard(service="orders", strategy=ABTest(header=("a", "b"))), "A/B: header a=b"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_strategy_is_told_in_words(guard: Guard, words: str):
    """With its steps, or its group."""
    assert release_view(release(guard=guard), NOW_S).strategy == words


def test_times_are_counted_from_the_right_moment():
    """Detect from the first bad (or slow) answer, switch from the last decision and never below zero."""
    times = {"first_bad_s": 10.0, "first_slow_s": 9.0, "detected_s": 10.5, "decided_s": 12.0, "last_candidate_s": 12.02}
    seen = release_view(release(**times), NOW_S)
    assert seen.detect_s == pytest.approx(0.5)
    assert seen.switch_s == pytest.approx(0.02)
    judged = Judgement(verdict=Verdict.HARMFUL, sentence="slow", criterion="latency-p99")
    assert release_view(release(**times, judgement=judged), NOW_S).detect_s == pytest.approx(1.5)
    early = release_view(release(first_bad_s=None, decided_s=10.5, last_candidate_s=10.4), NOW_S)
    assert early.detect_s is None
    assert early.switch_s == 0.0


def test_every_gate_of_a_release_is_told():
    """In the order of the Guard: how it stands, since when, and why it does not get on."""
    names = ("smoke", "load", "slow", "backup", "late")
    guard = Guard(service="orders", gates=tuple(Gate(name=name, command="x", before_step=2) for name in names))
    ended = (
        GateOutcome(release="orders-1", gate="smoke", passed=True, at_s=NOW_S - 9),
        GateOutcome(release="orders-1", gate="load", passed=False, why="2 of 9 failed", at_s=NOW_S - 8),
        GateOutcome(release="orders-1", gate="backup", passed=True, why="passed over by ada"),
    )
    now = release(guard=guard, gates=ended, gates_running=("slow",), gated_s=NOW_S - 5)
    found = service_status(facts(Progress(service="orders", release=now), gates={"slow": "no node", "smoke": "past"}))
    assert found.release is not None
    told = [(one.name, one.state, one.since_s, one.message) for one in found.release.gates]
    assert told == [
        ("smoke", "passed", NOW_S - 9, ""),
        ("load", "failed", NOW_S - 8, "2 of 9 failed"),
        ("slow", "running", NOW_S - 5, "no node"),
        ("backup", "passed over", None, "passed over by ada"),
        ("late", "to come", None, ""),
    ]
    assert {one.point for one in found.release.gates} == {"before step 2"}
    over = release_view(release(guard=guard, phase=Phase.ROLLED_BACK), NOW_S)
    assert [one.state for one in over.gates] == ["not run"] * 5


def test_what_a_release_waits_for_is_told_in_seconds_that_are_left():
    """A withdrawal, a question to a person, a bake; and none of them in another phase."""
    withdrawn = release_view(release(phase=Phase.WITHDRAWN), NOW_S)
    assert (withdrawn.looks_again_in_s, withdrawn.answers_within_s, withdrawn.bake_percent) == (20.0, None, None)
    asking = release_view(release(phase=Phase.ASKING, guard=Guard(service="orders", mode=Mode.ASK)), NOW_S)
    assert (asking.looks_again_in_s, asking.answers_within_s, asking.mode) == (None, 1790.0, "ask")
    assert asking.unanswered == "rollback"
    kept = Guard(service="orders", mode=Mode.ASK, ask_then=Then.HOLD)
    assert release_view(release(phase=Phase.ASKING, guard=kept), NOW_S).unanswered == "hold"
    baking = release_view(release(phase=Phase.BAKING, baked_s=75.0), NOW_S)
    assert baking.bake_percent == 25.0
    back = release_view(release(phase=Phase.WITHDRAWN, returns_to=Phase.BAKING, baked_s=75.0), NOW_S)
    assert back.bake_percent == 25.0
    over = release_view(release(phase=Phase.PROMOTED, baked_s=300.0), NOW_S)
    assert over.bake_percent is None


def test_a_preview_that_waits_for_a_person_says_so():
    """With a manual switch, and in the preview alone."""
    by_hand = Guard(service="orders", strategy=BlueGreen(automatic_switch=False))
    by_itself = Guard(service="orders", strategy=BlueGreen())
    assert release_view(release(phase=Phase.PREVIEW, guard=by_hand), NOW_S).awaits_promote
    assert not release_view(release(phase=Phase.PREVIEW, guard=by_itself), NOW_S).awaits_promote
    assert not release_view(release(phase=Phase.BAKING, guard=by_hand), NOW_S).awaits_promote


def test_blindness_is_told_while_the_release_is_under_way():
    """Since when nothing could be seen; afterwards it does not matter."""
    assert release_view(release(blind_since_s=NOW_S - 7), NOW_S).blind_s == 7.0
    assert release_view(release(blind_since_s=NOW_S - 7, phase=Phase.PROMOTED), NOW_S).blind_s is None


@pytest.mark.parametrize(
    ("phase", "outcome"),
    [
        (Phase.PROMOTED, "promoted"),
        (Phase.ROLLED_BACK, "rolled back"),
        (Phase.SUPERSEDED, "superseded"),
        (Phase.ROLLING_BACK, "under way"),
        (Phase.STARTING, "under way"),
    ],
)
def test_an_outcome_is_one_of_four(phase: Phase, outcome: str):
    """In plain words."""
    assert release_view(release(phase=phase), NOW_S).outcome == outcome


def test_a_share_is_shown_only_where_the_candidate_has_one():
    """A withdrawn candidate keeps its step's percentage in mind; it does not get it."""
    assert release_view(release(percent=10.0), NOW_S).percent == 10.0
    assert release_view(release(percent=10.0, phase=Phase.WITHDRAWN), NOW_S).percent == 0.0


def test_what_became_of_the_revert_is_shown():
    """Commit, branch and message."""
    done = Reverted(release="orders-1", commit="c" * 40, branch="x", message="conflict")
    view = release_view(release(phase=Phase.ROLLED_BACK, reverted=done), NOW_S)
    assert (view.revert_commit, view.revert_branch, view.revert_message) == ("c" * 40, "x", "conflict")


def test_every_version_is_shown_with_its_role_share_and_replicas():
    """Stable, candidate, fallback and what is leaving; each once."""
    third = replace(OLD, workload=replace(OLD.workload, image="orders:0.9.9"), id="")
    service = Service(name="orders", port=80)
    guard = Guard(service="orders", implicit=True)
    wanted = Wanted(service=service, version=NEW, replicas=2, guard=guard, commit="b" * 40, fallback=third)
    plan = TrafficPlan(service=service, versions=(OLD, NEW), split=Split.between(OLD.id, NEW.id, 10))
    progress = Progress(
        service="orders", stable=OLD, release=release(), retired=(Retired(version=third, until_s=NOW_S + 1),)
    )
    state = WorkloadState(workload_id=OLD.workload.id, image="orders:1.0.0", desired=2, ready=1, failure="no port")
    status = service_status(facts(progress, wanted=wanted, traffic=plan, workloads=(state,)))
    shown = [(v.id, v.role, v.percent, v.ready, v.desired, v.failure) for v in status.versions]
    assert shown == [
        (OLD.id, "stable", 90.0, 1, 2, "no port"),
        (NEW.id, "candidate", 10.0, 0, 0, None),
        (third.id, "fallback", 0.0, 0, 0, None),
    ]
    assert not status.ready
    assert status.implicit_guard
    assert status.wanted == NEW.id


def test_a_service_of_which_nothing_is_known_yet_is_shown_as_that():
    """Before the first pass."""
    status = service_status(facts(Progress(service="orders")))
    assert (status.stable, status.wanted, status.release, status.ready, status.versions) == (
        None,
        None,
        None,
        False,
        (),
    )


def test_differences_name_everything_that_makes_another_version():
    """Image, environment, files, probes and mesh policy; long values are cut."""
    old = replace(
        OLD,
        workload=replace(
            OLD.workload,
            env=(EnvVar(name="URL", value="http://stock"), EnvVar(name="GONE", value="1")),
            files=(ConfigFile(path="/etc/a", content="1"), ConfigFile(path="/etc/b", content="1")),
        ),
        id="",
    )
    new = replace(
        old,
        workload=replace(
            old.workload,
            image="orders:1.1.0",
            readiness=Probe(http_path="/"),
            env=(EnvVar(name="URL", value="x" * 100), EnvVar(name="NEW", value="1")),
            files=(ConfigFile(path="/etc/a", content="2"), ConfigFile(path="/etc/c", content="1")),
        ),
        policy=MeshPolicy(timeout_ms=30, retries=Retries(attempts=2)),
        id="",
    )
    found = differences(old, new)
    assert found[:8] == (
        "image orders:1.0.0 -> orders:1.1.0",
        "readiness changed",
        "environment GONE removed",
        "environment NEW added",
        f"environment URL http://stock -> {'x' * 57}...",
        "file /etc/a changed",
        "file /etc/b removed",
        "file /etc/c added",
    )
    assert "mesh policy timeout_ms 15000 -> 30" in found
    assert any(line.startswith("mesh policy retries ") for line in found)
    routed = replace(old, policy=replace(old.policy, rules=(RouteRule(timeout_ms=30),)), id="")
    assert differences(old, routed) == ("the rules of its routes changed",)
    assert differences(old, old) == ()


def test_differences_never_show_a_secret():
    """Only that it changed, even when a plain value becomes one."""
    secret = EnvVar(name="TOKEN", secret=SecretKey(name="s", key="k", digest="d1"))
    other = replace(secret, secret=SecretKey(name="s", key="k", digest="d2"))
    plain = EnvVar(name="TOKEN", value="hunter2")
    for before, after in ((secret, other), (plain, secret), (secret, plain)):
        old = replace(OLD, workload=replace(OLD.workload, env=(before,)), id="")
        new = replace(OLD, workload=replace(OLD.workload, env=(after,)), id="")
        assert differences(old, new) == ("environment TOKEN changed",)


def test_troubles_are_told_in_the_order_of_their_names():
    """Message and hint apart."""
    found = troubles({"web": "a\n  b", "orders": "c"})
    assert [(t.about, t.message, t.hint) for t in found] == [("orders", "c", ""), ("web", "a", "b")]
