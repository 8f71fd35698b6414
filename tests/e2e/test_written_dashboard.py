"""The dashboard on a real Prometheus, with the rules beside it: no panel is empty when everything is exported."""

import asyncio
import itertools
import json
import math
import urllib.parse

from aiohttp import web
from monitoring_world import Prometheus

from free_ports import free_port
from sternway.cli.checking import files_of
from sternway.manifests.load import load
from sternway.monitoring.dashboard import dashboard
from sternway.monitoring.names import OWN
from sternway.monitoring.rules import rules

LABELS = {"service": "shop", "outcome": "promoted", "by": "engine", "phase": "rolling-back", "version": "1.0"}
LABELS["objective"] = "availability"
ENVOY = (
    'envoy_cluster_upstream_rq_xx{envoy_cluster_name="shop|1-aaaaaa",envoy_response_code_class="2"}',
    'envoy_cluster_upstream_rq_xx{envoy_cluster_name="shop|2-bbbbbb|shield",envoy_response_code_class="2"}',
    'envoy_cluster_retry_upstream_rq_xx{envoy_cluster_name="shop|2-bbbbbb|shield",envoy_response_code_class="5"}',
    'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="shop|1-aaaaaa",le="5"}',
    'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="shop|1-aaaaaa",le="+Inf"}',
)


def exported(count: int) -> str:
    """Write every metric down: counters and buckets that grow, gauges that stand at 1."""
    lines = [f"{series} {count}" for series in ENVOY]
    for name, metric in OWN.items():
        labels = ",".join(f'{label}="{LABELS[label]}"' for label in metric.labels)
        if metric.kind == "histogram":
            among = [f'{labels}{"," if labels else ""}le="{le}"' for le in ("0.5", "5", "+Inf")]
            lines += [f"{name}_bucket{{{one}}} {count}" for one in among]
            lines += [f"{name}_sum{{{labels}}} {count}", f"{name}_count{{{labels}}} {count}"]
        else:
            lines.append(f"{name}{{{labels}}} {count if metric.kind == 'counter' else 1}")
    return "\n".join(lines) + "\n"


async def test_no_panel_is_empty_for_want_of_a_right_label(repository, folder):
    """Each query of each panel, as Grafana would ask it, finds a number; so does what the service is chosen from."""
    repository.write("shop", "1", judge={"objectives": {"availability": 99.9}})
    made = rules(load(files_of(repository.folder)))
    counts = itertools.count(1)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=exported(10 * next(counts)), content_type="text/plain")

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    prometheus = Prometheus(folder / "prometheus", rules=made)
    prometheus.scrape({f"127.0.0.1:{port}"})
    await asyncio.to_thread(prometheus.start)
    wanted = {
        f"{panel['title']}: {target['expr']}": target["expr"]
        for panel in dashboard(source="envoy")["panels"]
        for target in panel.get("targets", ())
    }
    try:
        async with asyncio.timeout(120):
            while empty := [what for what, query in wanted.items() if not await found(prometheus, query)]:
                await asyncio.sleep(0.5)
                last = empty
    except TimeoutError:
        raise AssertionError("empty: " + "\n".join(last)) from None
    finally:
        prometheus.kill()
        await runner.cleanup()


async def found(prometheus: Prometheus, query: str) -> bool:
    """Whether a query has a number, its variables filled in as Grafana does."""
    for name, value in (("$__rate_interval", "1m"), ("$__range", "5m"), ("$service", "(shop|other)")):
        query = query.replace(name, value)
    path = "/api/v1/query?" + urllib.parse.urlencode({"query": query})
    answer = await asyncio.to_thread(prometheus.get, path)
    result = json.loads(answer)["data"]["result"] if answer else []
    return bool(result) and all(math.isfinite(float(one["value"][1])) for one in result)
