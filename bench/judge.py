"""What the parts of the hot path take: one judgement, one access-log entry, one record, one whole pass.

Each figure is the median of several rounds, in microseconds of one core. Nothing is promised of them; they say where
the time goes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from envoy.service.accesslog.v3 import als_pb2

from bench.passes import CANDIDATE, STABLE, Passes, a_pass, a_reading
from bench.results import Result
from sternway.clock import SystemClock
from sternway.domain.guards import JudgeSettings
from sternway.domain.tallies import ClusterKey, Question, Reading
from sternway.judgement import begin, judge, question
from sternway.signals.envoy_access_log import EnvoyAccessLog
from sternway.signals.naming import OwnNames
from sternway.store import SqlStore

STABLE_MS = ((0.5, 10.0), (0.9, 30.0), (0.99, 80.0))


def run(quick: bool) -> list[Result]:  # noqa: FBT001 - the form of every bench
    """Time every part."""
    times = 200 if quick else 2000
    return [
        *_judge(times),
        *_access_log(times),
        *asyncio.run(_records(times // 4)),
        *asyncio.run(_passes(times // 4)),
    ]


def _row(name: str, seconds: float) -> Result:
    return Result(name=name, value=round(seconds * 1e6, 1), unit="us")


def _time(work: Callable[[], object], times: int) -> float:
    """Median of five rounds, seconds a call."""

    def round_s() -> float:
        began_s = time.perf_counter()
        for _ in range(times):
            work()
        return (time.perf_counter() - began_s) / times

    return median(round_s() for _ in range(5))


def _judge(times: int) -> list[Result]:
    keyed = JudgeSettings(cluster_key=ClusterKey(header="x-user"))
    rows = []
    for name, settings in (("with a key", keyed), ("without a key, nine arms", JudgeSettings())):
        evidence = begin(settings, stable=STABLE.id, candidate=CANDIDATE.id, stable_ms=STABLE_MS)
        asked = question(settings, evidence, candidate_percent=10.0)
        seen, now_s = a_reading(asked), 1_000_000.0
        for second in range(30):
            evidence, _ = judge(settings, evidence, seen, now_s=now_s + second)
        busy = partial(judge, settings, evidence, seen, now_s=now_s + 31)
        quiet = partial(judge, settings, evidence, Reading(), now_s=now_s + 31)
        rows.append(_row(f"judge() {name}, three latency quantiles", _time(busy, times)))
        rows.append(_row(f"judge() {name}, nothing read", _time(quiet, times)))
    return rows


def _access_log(times: int) -> list[Result]:
    rows = []
    for name, asked in (
        ("with a key", Question(stable="v1", candidate="v2", cluster_key=ClusterKey(header="x-user"))),
        ("nine arms", Question(stable="v1", candidate="v2", arms=9, arm_share=1 / 9)),
    ):
        log = EnvoyAccessLog(SystemClock(), OwnNames(lambda _: ""), lambda _: None)
        log.ask("orders", asked)
        for entries in (1, 20):
            seconds = _time(partial(_take, log, _message(entries)), times)
            rows.append(_row(f"access log, an entry of a message of {entries}, {name}", seconds / entries))
            asyncio.run(log.read("orders"))
    return rows


def _take(log: EnvoyAccessLog, text: bytes) -> None:
    """As gRPC does: parse, then hand over."""
    log.take(als_pb2.StreamAccessLogsMessage.FromString(text))


def _message(entries: int) -> bytes:
    message = als_pb2.StreamAccessLogsMessage()
    for number in range(entries):
        entry = message.http_logs.log_entry.add()
        common = entry.common_properties
        version = "v2" if number % 10 == 9 else "v1"
        common.route_name = f"split|orders|{version}"
        common.upstream_cluster = f"orders|{version}"
        common.start_time.FromNanoseconds(time.time_ns() - 10_000_000)
        common.duration.FromNanoseconds(4_000_000 + number)
        common.downstream_local_address.socket_address.port_value = 20_001
        common.upstream_remote_address.socket_address.address = "127.0.0.1"
        common.upstream_remote_address.socket_address.port_value = 30_000
        common.upstream_request_attempt_count = 1
        entry.request.request_id = f"6f1c2d3e-0000-4000-8000-{number:012}"
        entry.request.request_headers["x-user"] = f"u{number}"
        entry.response.response_code.value = 200
    return bytes(message.SerializeToString())


async def _records(times: int) -> list[Result]:
    rows = []
    with TemporaryDirectory(prefix="sternway-bench-") as folder:
        store = SqlStore(Path(folder) / "journal.db")
        await store.open()
        try:
            entry = await a_pass()
            for sync in (False, True):
                took = []
                for number in range(times):
                    began_s = time.perf_counter()
                    await store.record((replace(entry, at_s=entry.at_s + number),), sync=sync)
                    took.append(time.perf_counter() - began_s)
                rows.append(_row(f"record() of a pass, {'synced to disk' if sync else 'not synced'}", median(took)))
        finally:
            await store.close()
    return rows


async def _passes(times: int) -> list[Result]:
    passes = Passes()
    await passes.expose()
    took = []
    for _ in range(times):
        passes.serve()
        began_s = time.perf_counter()
        await passes.reconcile()
        took.append(time.perf_counter() - began_s)
    return [_row("a whole pass of a release under way, over fakes", median(took))]
