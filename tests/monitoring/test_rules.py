"""The rules that are written from Guards: promtool accepts them, and each alert fires when it must and only then."""

import json
import re
from pathlib import Path

import pytest
import yaml
from shop_rules import OBJECTIVES, catalogue, promtool, service

from sternway.manifests.builtin_metrics import SOURCES
from sternway.monitoring.objectives import BURNS
from sternway.monitoring.own import OWN_ALERTS
from sternway.monitoring.rules import as_resource, rules, without_objective

ROOT = Path(__file__).parents[2]
SHOP = catalogue(shop=service("shop", **OBJECTIVES))
ANSWERS = 'envoy_cluster_upstream_rq_xx{envoy_cluster_name="shop|%s",envoy_response_code_class="%d"}'
BUCKETS = 'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="shop|1-aaaaaa",le="%s"}'
UP = {'sternway_build_info{version="1"}': "1x5000"}
"""Sternway runs."""


def told(tmp_path, made, series, at, alerts, *, every="10m"):
    """Ask promtool whether exactly these (alertname, labels) fire then; series: name -> values, a minute apart.

    every: how often the rules are evaluated; days of them take long.
    """
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(made))
    expected = [
        {"labels": "{" + ", ".join(f'{k}="{v}"' for k, v in {"alertname": name, **labels}.items()) + "}", "value": 1}
        for name, labels in alerts
    ]
    asked = "count by (alertname, service, objective, window, phase) (ALERTS{alertstate='firing'})"
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": every,
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [{"expr": asked, "eval_time": at, "exp_samples": expected}],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    return promtool("test", "rules", "test.yaml", cwd=tmp_path)


def burns(*windows, objective="availability", alert="ErrorBudgetBurn"):
    """Name the alerts on a budget over these windows."""
    return [(alert, {"service": "shop", "objective": objective, "window": window}) for window in windows]


def failing(share, minutes=4600, good=600):
    """Give answers of which a share are errors, all the time."""
    return {
        ANSWERS % ("1-aaaaaa", 2): f"0+{good * (1 - share)}x{minutes}",
        ANSWERS % ("1-aaaaaa", 5): f"0+{good * share}x{minutes}",
    } | UP


RATES = [
    (0.0009, ()),
    (0.0012, ("3d",)),
    (0.0035, ("1d", "3d")),
    (0.0065, ("6h", "1d", "3d")),
    (0.0150, ("1h", "6h", "1d", "3d")),
]


@pytest.mark.parametrize(("share", "windows"), RATES)
def test_each_burn_rate_has_its_alerts(tmp_path, share, windows):
    """An objective of 99.9 %: 0.9 times the budget is nothing, and 1.2, 3.5, 6.5 and 15 times ring one bell more each."""
    done = told(tmp_path, rules(SHOP), failing(share), "4500m", burns(*windows))
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_alert_ends_soon_after_the_errors_and_not_after_its_long_window(tmp_path):
    """Three hours of failures, over for ten minutes: the last hour was still bad, the last five minutes were not."""
    series = failing(0.5, minutes=0) | {
        ANSWERS % ("1-aaaaaa", 2): "0+600x120 72000+300x180 126000+600x60",
        ANSWERS % ("1-aaaaaa", 5): "0+0x120 0+300x180 54000+0x60",
    }
    during = told(tmp_path, rules(SHOP), series, "300m", burns("1h", "6h", "1d", "3d"))
    assert during.returncode == 0, during.stdout + during.stderr
    after = told(tmp_path, rules(SHOP), series, "310m", burns("6h", "1d", "3d"))
    assert after.returncode == 0, after.stdout + after.stderr


def test_a_service_without_traffic_and_one_without_errors_ring_no_bell(tmp_path):
    """No answers at all, and a counter of errors that has not been born: nothing fires."""
    assert told(tmp_path, rules(SHOP), UP, "300m", []).returncode == 0
    series = {ANSWERS % ("1-aaaaaa", 2): "0+60x400"} | UP
    assert told(tmp_path, rules(SHOP), series, "300m", []).returncode == 0


def test_errors_count_whichever_version_gave_them_and_copies_do_not(tmp_path):
    """The candidate's errors, also behind the shield, are the service's; copies of requests and other services' are not."""
    good = {ANSWERS % ("1-aaaaaa", 2): "0+600x400"} | UP
    for cluster, alerts in (
        ("2-bbbbbb", burns("1h", "6h", "1d", "3d")),
        ("2-bbbbbb|shield", burns("1h", "6h", "1d", "3d")),
        ("mirror", []),
        ("2-bbbbbb|local", []),
    ):
        done = told(tmp_path, rules(SHOP), good | {ANSWERS % (cluster, 5): "0+60x400"}, "300m", alerts)
        assert done.returncode == 0, f"{cluster}: {done.stdout}{done.stderr}"
    other = 'envoy_cluster_upstream_rq_xx{envoy_cluster_name="workshop|1-a",envoy_response_code_class="5"}'
    assert told(tmp_path, rules(SHOP), good | {other: "0+60x400"}, "300m", []).returncode == 0


@pytest.mark.parametrize(("share", "windows"), [(0.009, ()), (0.02, ("3d",)), (0.2, ("1h", "6h", "1d", "3d"))])
def test_slow_answers_use_up_the_budget_of_a_latency(tmp_path, share, windows):
    """99 % within 500 ms are promised: 0.9 % above it are allowed, 2 % for days and 20 % at once are told of."""
    series = {
        BUCKETS % "250": f"0+{600 * (1 - share)}x4600",
        BUCKETS % "500": f"0+{600 * (1 - share)}x4600",
        BUCKETS % "1000": "0+600x4600",
        BUCKETS % "+Inf": "0+600x4600",
    } | UP
    alerts = burns(*windows, objective="latency-p99", alert="LatencyBudgetBurn")
    done = told(tmp_path, rules(SHOP), series, "4500m", alerts)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_lenient_objective_still_tells_of_a_total_failure(tmp_path):
    """90 % are promised: 14.4 times the budget is more than everything, so half-way to everything is enough."""
    lenient = catalogue(shop=service("shop", judge={"objectives": {"availability": 90}}))
    done = told(tmp_path, rules(lenient), failing(0.99), "400m", burns("1h", "6h", "1d", "3d"))
    assert done.returncode == 0, done.stdout + done.stderr
    done = told(tmp_path, rules(lenient), failing(0.08), "4500m", [])
    assert done.returncode == 0, done.stdout + done.stderr


RELEASES = 'sternway_releases_total{service="shop",outcome="rolled-back",by="engine"}'
OTHER_RELEASES = 'sternway_releases_total{service="shop",outcome="promoted",by="engine"}'
PHASE = 'sternway_release_phase{service="shop",phase="%s"}'
OF_SHOP = {"service": "shop"}
DURATIONS = 'sternway_reconcile_duration_seconds_count{instance="a"}'
QUEUE = 'sternway_queue_depth{instance="a"}'
LOUD = [
    ("SternwayTookBack", {RELEASES: "3x30 4x30"}, "35m", OF_SHOP),
    ("SternwayTookBack", {RELEASES: "_x30 1x30"}, "35m", OF_SHOP),
    ("SternwayRollbackUnfinished", {PHASE % "rolling-back": "1x60"}, "15m", OF_SHOP | {"phase": "rolling-back"}),
    ("SternwayAsks", {PHASE % "asking": "1x60"}, "15m", OF_SHOP | {"phase": "asking"}),
    ("SternwayHeldLong", {PHASE % "exposed": "1x400"}, "370m", OF_SHOP | {"phase": "exposed"}),
    ("SternwayBlindLong", {'sternway_blind{service="shop"}': "1x60"}, "10m", OF_SHOP),
    ("SternwayInTrouble", {'sternway_trouble{service="shop"}': "2x60"}, "15m", OF_SHOP),
    ("SternwayQueueStuck", {QUEUE: "2x60", DURATIONS: "7x60"}, "15m", {}),
    ("SternwayReadsNoGit", {"sternway_git_last_read_timestamp_seconds": "0x60"}, "20m", {}),
    ("SternwayDown", {"sternway_build_info": "1x10 _x60"}, "20m", {}),
]


@pytest.mark.parametrize(("alert", "series", "at", "labels"), LOUD, ids=lambda value: str(value)[:40])
def test_an_alert_on_sternway_fires_when_it_must(tmp_path, alert, series, at, labels):
    """What Sternway's own metrics tell is told, and nothing else beside it."""
    alive = {} if alert == "SternwayDown" else UP
    done = told(tmp_path, rules(SHOP), alive | series, at, [(alert, labels)], every="1m")
    assert done.returncode == 0, done.stdout + done.stderr


QUIET = [
    ("an old rollback", {RELEASES: "3x400"}, "370m"),
    ("a promotion", {OTHER_RELEASES: "3x30 4x30"}, "35m"),
    ("a rollback that is done in time", {PHASE % "rolling-back": "1x5 0x60"}, "15m"),
    ("a question that was answered", {PHASE % "asking": "1x5 0x60"}, "15m"),
    ("an hour's release", {PHASE % "exposed": "1x60 0x400"}, "370m"),
    ("a release that is over", {PHASE % "promoted": "1x400", PHASE % "rolled-back": "1x400"}, "370m"),
    ("a moment's blindness", {'sternway_blind{service="shop"}': "1x3 0x60"}, "10m"),
    ("a trouble that is over", {'sternway_trouble{service="shop"}': "2x5 0x60"}, "15m"),
    ("much work that is done", {QUEUE: "2x60", DURATIONS: "0+5x60"}, "15m"),
    ("nothing to do", {QUEUE: "0x60", DURATIONS: "7x60"}, "15m"),
    ("Git that is read", {"sternway_git_last_read_timestamp_seconds": "0+60x60"}, "20m"),
    ("a restart", {"sternway_build_info": "1x10 _ 1x60"}, "12m"),
]


@pytest.mark.parametrize(("series", "at"), [case[1:] for case in QUIET], ids=[case[0] for case in QUIET])
def test_no_alert_on_sternway_fires_without_need(tmp_path, series, at):
    """What is as it should be, or is over, rings no bell."""
    alive = {} if "sternway_build_info" in series else UP
    done = told(tmp_path, rules(SHOP), alive | series, at, [], every="1m")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rollback_before_prometheus_began_is_no_news(tmp_path):
    """An empty database meets a Sternway with a past: its first scrape holds old rollbacks."""
    series = {RELEASES: "_x5 9x60", 'sternway_build_info{version="1"}': "_x5 1x60"}
    for at in ("8m", "25m"):
        done = told(tmp_path, rules(SHOP), series, at, [], every="1m")
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_on_sternway_has_a_test_that_makes_it_fire():
    """A new alert without one is missed here; and each is named as what is about Sternway."""
    assert {alert.name for alert in OWN_ALERTS} == {case[0] for case in LOUD}
    assert all(alert.name.startswith("Sternway") for alert in OWN_ALERTS)


@pytest.mark.parametrize("source", SOURCES)
def test_promtool_accepts_the_rules_of_every_source(tmp_path, source):
    """Whoever counts the answers: the file is right, and so is the PrometheusRule's content."""
    made = rules(SHOP, source=source)
    resource = as_resource(made, name="shop", namespace="monitoring", labels={"release": "prometheus"})
    assert (resource["kind"], resource["spec"]) == ("PrometheusRule", made)
    assert resource["metadata"]["labels"]["release"] == "prometheus"
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(resource["spec"]))
    done = promtool("check", "rules", "rules.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert SOURCES[source].requests in json.dumps(made)


def test_no_promise_no_alert_unless_the_command_states_one():
    """A Guard without objectives is recorded alone; a service that the mesh does not reach is not even that."""
    made = catalogue(plain=service("plain"), worker=service("worker", port=None), shop=service("shop", **OBJECTIVES))
    names = [group["name"] for group in rules(made)["groups"]]
    assert names == ["sternway-plain", "sternway-shop", "sternway"]
    assert not [rule for rule in rules(made)["groups"][0]["rules"] if "alert" in rule]
    assert without_objective(made) == ("plain",)
    stated = rules(made, availability_percent=99)
    limits = [rule["expr"] for rule in stated["groups"][0]["rules"] if "alert" in rule]
    assert "> 0.144 " in limits[0]
    assert "> 0.0144 " in json.dumps(stated)  # the shop keeps its own 99.9 %


def test_the_source_is_what_the_guard_names_first():
    """A Guard that judges by Istio's metrics has its objectives counted there too; the command may say otherwise."""
    meshed = catalogue(shop=service("shop", metrics=[{"name": "mesh", "builtIn": "istio-errors"}], **OBJECTIVES))
    recorded = rules(meshed)["groups"][0]["rules"][0]["expr"]
    assert 'destination_workload=~"shop(-stable)?"' in recorded
    assert "envoy_cluster" in rules(meshed, source="envoy")["groups"][0]["rules"][0]["expr"]


def test_the_page_of_objectives_tells_every_alert():
    """Names, severities and windows of docs/slo.md are those of the rules."""
    page = (ROOT / "docs" / "slo.md").read_text()
    for alert in OWN_ALERTS:
        assert re.search(rf"^\| `{alert.name}` \| .* \| `{alert.severity}` \|$", page, re.MULTILINE), alert.name
    rows = re.findall(r"^\|.*\| ([^|]+) \| ([^|]+) \| (\d+) min \| `(\w+)` \|$", page, re.MULTILINE)
    short = [(*(re.sub(r" (m|h|d)\w*", r"\1", span) for span in row[:2]), f"{row[2]}m", row[3]) for row in rows]
    assert short == [(burn.long, burn.short, burn.hold, burn.severity) for burn in BURNS]
