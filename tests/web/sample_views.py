"""Views made by hand, every field filled: for tests of what is printed and of the JSON that scripts rely on."""

from sternway.control.gating import GateView
from sternway.control.status import (
    CallView,
    CatalogueView,
    MonitoringView,
    PlatformStatus,
    ReleaseView,
    ReplicaView,
    ServiceEntry,
    ServiceStatus,
    Trouble,
    VersionView,
)
from sternway.domain.judgements import Criterion, Otherwise
from sternway.domain.tallies import BadAnswers
from sternway.web.release_page import Change, Moment, ReleasePage

AT_S = 1_700_000_000.0

ROLLED_BACK = ReleaseView(
    name="orders-7",
    service="orders",
    from_version="1.0.0-aaaaaa",
    from_commit="a" * 40,
    to_version="1.2.0-bbbbbb",
    to_commit="b" * 40,
    phase="rolled-back",
    step="",
    percent=0.0,
    outcome="rolled back",
    reason="18 of 40 answers were errors",
    strategy="canary: 5 requests/s, 20 %",
    mode="automatic",
    started_s=AT_S,
    entered_s=AT_S + 3.5,
    ended_s=AT_S + 4.0,
    verdict="harmful",
    judgement="18 of 40 answers of 1.2.0-bbbbbb were errors, against 1 of 900 of 1.0.0-aaaaaa",
    criteria=(
        Criterion(
            name="errors",
            unit="request",
            candidate_total=40,
            candidate_bad=18,
            stable_total=900,
            stable_bad=1,
            e_value=4.8e13,
            needed=200.0,
        ),
    ),
    rounds=(2, 2),
    decided_by="18 bad answers within 0.6 s: 18 x 500; 18 by 127.0.0.1:41001; 18 to web",
    bad_answers=(
        BadAnswers(
            criterion="errors",
            how="500",
            replica="127.0.0.1:41001",
            caller="web",
            count=18,
            first_s=AT_S + 2.9,
            last_s=AT_S + 3.5,
        ),
    ),
    otherwise=Otherwise(
        sentence="with 2 bad answers fewer, or 31 more good ones, at the last look it would not have been condemned then",
        fewer_bad=2,
        more_good=31,
    ),
    withdrawals=2,
    gates=(
        GateView(name="smoke", point="before any user", state="passed", since_s=AT_S + 1.0),
        GateView(name="backup", point="before all traffic", state="not run", message="nobody asked"),
    ),
    requests=40,
    hurt=3,
    first_bad_s=AT_S + 2.9,
    detected_s=AT_S + 3.5,
    decided_s=AT_S + 3.5,
    detect_s=0.6,
    switch_s=0.012,
    reverts=True,
    revert_commit="c" * 40,
)
ORDERS = ServiceStatus(
    service="orders",
    address="127.0.0.1:8080",
    preview=None,
    stable="1.0.0-aaaaaa",
    wanted="1.0.0-aaaaaa",
    versions=(
        VersionView(
            id="1.0.0-aaaaaa",
            role="stable",
            image="shop/orders:1.0.0",
            commit="a" * 40,
            percent=100.0,
            ready=2,
            desired=2,
        ),
        VersionView(
            id="1.2.0-bbbbbb",
            role="leaving",
            image="shop/orders:1.2.0",
            commit="b" * 40,
            ready=1,
            desired=2,
            restarts=3,
            failure="exited 3 times with status 1",
        ),
    ),
    release=ROLLED_BACK,
    rate_per_s=100.0,
    ready=True,
    reason="1.0.0-aaaaaa serves",
    note="1.2.0-bbbbbb is held",
    held=("1.2.0-bbbbbb",),
    implicit_guard=True,
    troubles=(Trouble(about="marks orders", message="the Git server does not answer", hint="check the network"),),
)
STATUS = PlatformStatus(
    at_s=AT_S + 5.0,
    commit="c" * 40,
    subject="Roll orders back from 1.2.0 to 1.0.0",
    connected=True,
    services=(ORDERS,),
    problems=("orders.yaml:5: spec.replcas: unknown field (did you mean `replicas`?)",),
    notices=("web.yaml:1: Ingress is not used here",),
    troubles=(Trouble(about="git", message="the Git server does not answer", hint="check the network"),),
    monitoring=(MonitoringView(name="Prometheus", url="http://127.0.0.1:21833", own=True),),
)
PAGE = ReleasePage(
    release=ROLLED_BACK,
    change=Change(
        commit="b" * 40,
        author="Ada <ada@example.org>",
        subject="Faster orders",
        at_s=AT_S - 60,
        differences=("image shop/orders:1.0.0 -> shop/orders:1.2.0", "environment CACHE 'off' -> 'on'"),
    ),
    timeline=(
        Moment(at_s=AT_S, kind="decision", text="starting: commit bbbbbbbbb asks for 1.2.0-bbbbbb"),
        Moment(at_s=AT_S + 2.9, kind="seen", text="the candidate's first bad answer"),
        Moment(at_s=AT_S + 3.5, kind="failed", text="the proxy said no", times=2),
    ),
    stable_now="1.0.0-aaaaaa",
    held=True,
    latest=True,
)
CATALOGUE = CatalogueView(
    services=(
        ServiceEntry(
            service="orders",
            namespace="default",
            port=8080,
            address="127.0.0.1:8080",
            preview=None,
            versions=ORDERS.versions,
            replicas=(
                ReplicaView(
                    name="orders-a",
                    version="1.0.0-aaaaaa",
                    phase="ready",
                    address="127.0.0.1:41001",
                    pid=4242,
                    restarts=0,
                    cpu_percent=3.0,
                    memory_bytes=21_000_000,
                    rate_per_s=50.0,
                    p99_ms=31.0,
                ),
            ),
        ),
    ),
    calls=(
        CallView(
            caller="web",
            callee="orders",
            rate_per_s=100.0,
            requests=3000,
            bad=3,
            p50_ms=4.0,
            p99_ms=31.0,
            last_s=AT_S,
        ),
    ),
)
