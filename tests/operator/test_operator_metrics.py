"""What the operator exports of itself: of releases when it leads, of the API always, as docs/observability.md says."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp
from aiohttp import web
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from sternway.cluster import ClusterSternway, Settings
from sternway.kubernetes.resources import GUARDS
from sternway.testing.kubernetes import FakeKubernetes
from sternway.web.operator_metrics import OperatorMetrics

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"
REQUESTS = {("patch", "guards", "409"): 3}
OPEN = {"Accept": "application/openmetrics-text;version=1.0.0"}
Exported = dict[str, tuple[str, frozenset[str]]]


async def scraped(sternway: ClusterSternway) -> tuple[str, Exported]:
    """Scrape over a real port: the text, and each family's kind and labels."""
    app = web.Application()
    app.add_routes(OperatorMetrics(sternway, REQUESTS, listen="").routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url, headers=OPEN) as found:
            assert found.status == 200
            text = await found.text()
    finally:
        await runner.cleanup()
    exported = {}
    for family in text_string_to_metric_families(text):
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = frozenset(label for sample in family.samples for label in sample.labels) - {"le"}
        exported[family.name + suffix] = (family.type, labels)
    return text, exported


async def test_a_leader_shows_services_and_how_it_gets_on_with_the_api(tmp_path: Path):
    """Everything that the page names is there, with its labels, and one that stands by has no series of services."""
    api = FakeKubernetes(namespaces=("shop",))
    guard = {"metadata": {"name": "orders", "namespace": "shop"}, "spec": {"service": "orders"}}
    await api.create(GUARDS, guard)
    sternway = ClusterSternway(Settings(state=tmp_path), api)
    try:
        await sternway.start()
        standing, _ = await scraped(sternway)
        await sternway.lead()
        leading, exported = await scraped(sternway)
    finally:
        await sternway.close()
    assert "sternway_kubernetes_leader 0.0" in standing
    assert 'service="orders.shop"' not in standing
    assert "sternway_kubernetes_leader 1.0" in leading
    assert 'sternway_withdrawals_total{service="orders.shop"} 0.0' in leading
    assert 'sternway_kubernetes_requests_total{code="409",resource="guards",verb="patch"} 3.0' in leading
    assert 'sternway_kubernetes_watches_total{resource="guards"} 1.0' in leading
    rows = re.findall(r"^\| `(sternway_kubernetes_\w+)(?:\{([\w, ]*)\})?` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
    told = {name: (kind, frozenset(labels.split(", ")) if labels else frozenset()) for name, labels, kind in rows}
    assert told == {name: one for name, one in exported.items() if name.startswith("sternway_kubernetes_")}
