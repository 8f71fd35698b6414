"""What `sternway prometheus` writes, on a real Prometheus: the rules on the platform's own Envoy, and relabelled pods."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import aiohttp
import yaml
from aiohttp import web
from monitoring_world import Prometheus

from free_ports import free_port
from sternway.cli.checking import files_of
from sternway.manifests.load import load
from sternway.monitoring.rules import rules
from sternway.monitoring.scraping import on_kubernetes

JUDGED = {"objectives": {"availability": 99.9, "latency": {"p99": "500ms"}}, "clusterKey": {"header": "x-user"}}


@contextlib.asynccontextmanager
async def statistics(platform) -> AsyncIterator[str]:
    """Serve Envoy's statistics on a port, for they stand on a socket; gives the address."""
    socket = platform.sternway.router.process.admin

    async def answer(_: web.Request) -> web.Response:
        connector = aiohttp.UnixConnector(path=str(socket))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get("http://envoy/stats/prometheus") as found,
        ):
            return web.Response(text=await found.text(), content_type="text/plain")

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    address = f"127.0.0.1:{free_port()}"
    await web.TCPSite(runner, *address.split(":")).start()
    try:
        yield address
    finally:
        await runner.cleanup()


async def test_the_rules_find_what_the_platforms_own_envoy_counts(repository, folder, started):
    """Requests, errors and durations are recorded under each service's name; only who breaks its objective is told of."""
    for service, tag in (("shop", "1"), ("tills", "bad1")):
        repository.write(service, tag, judge=JUDGED)
    repository.commit()
    platform = await started()
    made = rules(load(files_of(repository.folder)))
    for rule in (rule for group in made["groups"] for rule in group["rules"]):
        rule.pop("for", None)  # nobody has two minutes
    prometheus = Prometheus(folder / "prometheus", rules=made)
    prometheus.start()
    try:
        async with statistics(platform) as address, platform.load("shop"), platform.load("tills"):
            prometheus.scrape({address})

            async def recorded(query: str, low: float, high: float = 1e9) -> bool:
                found = await asyncio.to_thread(prometheus.value, query)
                return found is not None and low <= found <= high

            for service in ("shop", "tills"):
                requests = f'service:sternway_slo_requests:rate5m{{service="{service}"}}'
                await platform.until(lambda asked=requests: recorded(asked, 1), "requests are recorded")
            await platform.until(lambda: recorded(ERRORS % "tills", 1, 1), "every answer is an error")
            await platform.until(lambda: recorded(ERRORS % "shop", 0, 0), "none is 0, not nothing")
            await platform.until(lambda: recorded(P99 % "shop", 0.01), "durations are recorded")
            await platform.until(lambda: recorded(BURNS % "tills", 1), "the alert fires")
            assert prometheus.value(BURNS % "shop") is None
    finally:
        prometheus.kill()


POD = {
    "__address__": "10.0.0.1:8080",
    "__meta_kubernetes_pod_ip": "10.0.0.1",
    "__meta_kubernetes_namespace": "default",
    "__meta_kubernetes_pod_annotation_prometheus_io_scrape": "true",
    "__meta_kubernetes_pod_annotation_prometheus_io_port": "9102",
    "__meta_kubernetes_pod_annotation_prometheus_io_path": "/figures",
}


async def test_pods_are_relabelled_as_their_services(repository, folder):
    """Pods as Kubernetes describes them, through the relabelling: whose they are, where they are scraped, who is left out."""
    repository.write("shop", "1")
    repository.write("shop-admin", "1")
    pods = ("shop-7d9f", "shop-stable-7d9f", "shop-admin-7d9f", "else-7d9f", "silent")
    found = []
    for number, owner in enumerate(pods):
        labels = POD | {"__meta_kubernetes_pod_controller_name": owner, "__meta_kubernetes_pod_name": f"{owner}-x"}
        labels["__meta_kubernetes_pod_ip"] = f"10.0.0.{number}"
        if owner == "silent":
            labels |= {"__meta_kubernetes_pod_controller_name": "shop-7d9f"}
            del labels["__meta_kubernetes_pod_annotation_prometheus_io_scrape"]
        found.append({"targets": [f"10.0.0.{number}:8080"], "labels": labels})
    prometheus = Prometheus(folder / "prometheus")
    (prometheus.folder / "pods.json").write_text(json.dumps(found))
    config = on_kubernetes(load(files_of(repository.folder)), sternway="127.0.0.1:9464")
    job = config["scrape_configs"][1]
    del job[
        "kubernetes_sd_configs"
    ]  # Debian builds Prometheus without Kubernetes; a file describes the pods as it would
    job["file_sd_configs"] = [{"files": [str(prometheus.folder / "pods.json")]}]
    (prometheus.folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    prometheus.start()
    try:
        async with asyncio.timeout(60):
            while len(seen := await asyncio.to_thread(targets, prometheus)) < 3:
                await asyncio.sleep(0.2)
    finally:
        prometheus.kill()
    assert {one["labels"]["workload"]: one["labels"]["service"] for one in seen} == {
        "shop": "shop",
        "shop-stable": "shop",
        "shop-admin": "shop-admin",
    }
    assert {one["scrapeUrl"] for one in seen} == {f"http://10.0.0.{number}:9102/figures" for number in range(3)}


def targets(prometheus: Prometheus) -> list[dict]:
    """What the job `services` scrapes."""
    found = json.loads(prometheus.get("/api/v1/targets?state=active") or b'{"data": {"activeTargets": []}}')
    return [one for one in found["data"]["activeTargets"] if one["labels"]["job"] == "services"]


ERRORS = 'service:sternway_slo_errors:ratio_rate5m{service="%s"}'
P99 = 'histogram_quantile(0.99, service_le:sternway_slo_duration:rate5m{service="%s"})'
BURNS = 'ALERTS{alertname="ErrorBudgetBurn",service="%s",severity="page",alertstate="firing"}'
