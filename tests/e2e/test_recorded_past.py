"""`sternway prometheus record` over a real Prometheus that remembers two releases: what it writes, and what backtest says of it."""

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from monitoring_world import Prometheus
from typer.testing import CliRunner, Result

from sternway.cli.app import app

SCRAPE_S = 15
BEGAN_S = 1_790_000_000
CANDIDATE_FROM, LONG = 40, 240
"""Scrapes: stable alone, then both; 10 minutes and 50."""
BAD = {"orders": 0.001, "payments": 0.001, "orders-canary": 0.05, "payments-canary": 0.001}
PER_SCRAPE = {"orders": 900, "payments": 900, "orders-canary": 100, "payments-canary": 100}
GUARD = """\
apiVersion: sternway.dev/v1alpha1
kind: Guard
metadata: {name: orders}
spec:
  service: orders
  strategy: {canary: {steps: [{percent: 10, minRequests: 1000}]}}
  judge: {warmUp: 0s}
  metrics:
  - name: refused
    interval: 5s
    ratio:
      bad: istio_requests_total{destination_workload="$(workload)",response_code="500"}
      total: istio_requests_total{destination_workload="$(workload)"}
"""


class Counters:
    """What each workload has counted since its start, scrape by scrape. A workload that is started again begins at 0."""

    def __init__(self, workload: str) -> None:
        self.rng = random.Random(workload)
        self.workload = workload
        self.total = self.bad = self.slow = 0
        self.grown = [0, 0, 0]

    def serve(self, *, counted: bool) -> None:
        """Answer for one interval."""
        number = PER_SCRAPE[self.workload]
        bad = sum(self.rng.random() < BAD[self.workload] for _ in range(number))
        slow = sum(self.rng.random() < 0.01 for _ in range(number))
        self.total, self.bad, self.slow = self.total + number, self.bad + bad, self.slow + slow
        if counted:
            self.grown = [self.grown[0] + number, self.grown[1] + bad, self.grown[2] + slow]

    def lines(self, name: str, at_s: int) -> Iterator[str]:
        """Give the samples of one family in OpenMetrics's format."""
        about = f'reporter="destination",destination_workload_namespace="shop",destination_workload="{self.workload}"'
        if name == "istio_requests_total":
            yield f'{name}{{{about},response_code="200"}} {self.total - self.bad} {at_s}'
            yield f'{name}{{{about},response_code="500"}} {self.bad} {at_s}'
            return
        for edge, value in (("25.0", self.total - self.slow), ("100.0", self.total), ("+Inf", self.total)):
            yield f'{name}_bucket{{{about},le="{edge}"}} {value} {at_s}'


def _series(line: str) -> str:
    """Keep a series' samples together, in their order."""
    return line.partition("}")[0]


@pytest.fixture(scope="module")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, dict[str, list[int]]]]:
    """Give a Prometheus that scraped two releases long ago, and what each version answered in the range that is recorded."""
    folder = tmp_path_factory.mktemp("past")
    workloads = {name: Counters(name) for name in PER_SCRAPE}
    families: dict[str, list[str]] = {"istio_requests_total": [], "istio_request_duration_milliseconds": []}
    for scrape in range(LONG):
        for name, one in workloads.items():
            if name.endswith("-canary") and scrape < CANDIDATE_FROM:
                continue
            if name == "orders" and scrape == 100:
                one.total = one.bad = one.slow = 0
            one.serve(counted=scrape > 4)
            for family, lines in families.items():
                lines.extend(one.lines(family, BEGAN_S + scrape * SCRAPE_S))
    text = [
        f"# TYPE istio_requests counter\n{chr(10).join(sorted(families['istio_requests_total'], key=_series))}\n",
        "# TYPE istio_request_duration_milliseconds histogram\n",
        "\n".join(sorted(families["istio_request_duration_milliseconds"], key=_series)),
        "\n# EOF\n",
    ]
    (folder / "past.om").write_text("".join(text))
    told = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(folder / "past.om"), str(folder / "data")]
    done = subprocess.run(told, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    made = Prometheus(folder)
    made.more = ("--storage.tsdb.retention.time=100y",)
    made.start()
    yield made, {name: one.grown for name, one in workloads.items()}
    made.kill()


def run(*arguments: str, text: str | None = None) -> Result:
    """Type a command."""
    return CliRunner().invoke(app, arguments, input=text)


def recorded(result: Result) -> list[dict[str, Any]]:
    """What a recording says."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def sums(lines: list[dict[str, Any]], role: str, criterion: str) -> tuple[int, int]:
    """How many answers, and how many bad ones, a recording tells of."""
    mine = [one for one in lines if (one["role"], one["criterion"]) == (role, criterion)]
    return sum(one["total"] for one in mine), sum(one["bad"] for one in mine)


@pytest.fixture
def past(remembered: tuple[Prometheus, dict[str, list[int]]], tmp_path: Path) -> tuple[str, ...]:
    """Give the options that name the Guard, Prometheus and the range."""
    (tmp_path / "guard.yaml").write_text(GUARD)
    first, last = BEGAN_S + 4 * SCRAPE_S, BEGAN_S + (LONG - 1) * SCRAPE_S
    return (
        *("--guard", str(tmp_path / "guard.yaml"), "--prometheus", remembered[0].url),
        *("--from", str(first), "--to", str(last)),
    )


ABOUT = ("--stable", "workload=orders", "--candidate", "workload=orders-canary")


def test_every_answer_of_the_range_is_counted_once(remembered, past):
    """Over a counter that begins anew at 0, and from the first scrape of a version that was not there before."""
    lines = recorded(run("prometheus", "record", *past, *ABOUT))
    grown = remembered[1]
    assert sums(lines, "stable", "errors") == tuple(grown["orders"][:2])
    first = PER_SCRAPE["orders-canary"]  # nobody knows how old a target's counters are when it is scraped first
    total, bad = sums(lines, "candidate", "errors")
    assert total == grown["orders-canary"][0] - first
    assert 0 <= grown["orders-canary"][1] - bad <= first
    assert sums(lines, "candidate", "refused") == (total, bad)
    assert [one["t"] for one in lines] == sorted(one["t"] for one in lines)


def test_what_a_mesh_counts_by_itself_needs_no_metric_of_the_guard(remembered, past):
    """`--mesh istio` gives errors and latency; slow is beyond the bucket that holds stable's p99."""
    lines = recorded(run("prometheus", "record", *past, *ABOUT, "--mesh", "istio", "-n", "shop"))
    grown = remembered[1]["orders"]
    total, slow = sums(lines, "stable", "latency-p99")
    assert 0.9 * grown[0] < total <= grown[0]
    assert slow < 0.02 * total


def test_a_recording_is_what_backtest_reads(remembered, past, tmp_path):
    """Of two releases in a file, the one with fifty times the errors is condemned, the other is not."""
    rows = [
        {
            "release": f"{name}-1",
            "from": BEGAN_S + 4 * SCRAPE_S,
            "to": BEGAN_S + (LONG - 1) * SCRAPE_S,
            "stable": {"workload": name},
            "candidate": {"workload": f"{name}-canary"},
        }
        for name in ("orders", "payments")
    ]
    (tmp_path / "releases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    kept = tmp_path / "history.jsonl"
    options = (*past[:4], "--releases", str(tmp_path / "releases.jsonl"), "--output-file", str(kept))
    assert run("prometheus", "record", *options).exit_code == 0
    result = run("backtest", str(kept), *past[:2], "--compare", "flagger", "--output", "json")
    assert result.exit_code == 0, result.output
    told = {one["release"]: one["verdict"] for one in json.loads(result.stdout)}
    assert told == {"orders-1": "harmful", "payments-1": "healthy"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--from", "2026-11-20T10:00", *ABOUT), "has no zone"),
        (("--from", "never", *ABOUT), "is no time"),
        (("--to", "1000", *ABOUT), "ends before it begins"),
        (("--mesh", "istoi", *ABOUT), "nobody knows by which names"),
        (("--errors", "refusd", *ABOUT), "no metric refusd"),
        (("--stable", "workload=nobody", "--candidate", "workload=none"), "nothing was recorded"),
    ],
)
def test_what_cannot_be_recorded_is_said(past, more, said):
    """With the option or the release, and a fix; no recording is written."""
    result = run("prometheus", "record", *past, *more)
    text = f"{result.output} {result.exception}"
    assert result.exit_code == 1
    assert said in text
    assert '"release"' not in result.stdout
