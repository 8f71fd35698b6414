"""The platform's own Prometheus and Alertmanager, through the real command: what they see, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from whole_world import Repository, Shell, loaded

LONG = {"canary": {"steps": [{"percent": 50, "minRequests": 100_000}]}}
FOLLOWED = [{"match": {"alertname": "OrdersRefused"}, "onAlert": "rollback"}]


def rules(expression: str, *, alert: str = "OrdersRefused") -> dict[str, Any]:
    """Make a file of rules with one alert."""
    return {"groups": [{"name": "shop", "rules": [{"alert": alert, "expr": expression}]}]}


REFUSED = rules("sum by (service, version) (rate(orders_refused_total[3s])) > 0")


@pytest.fixture
def shop(repository: Repository) -> Repository:
    """Give a service that is scraped, a Guard that heeds an alert, and the rule that raises it."""
    repository.write("shop", "1", alerts=FOLLOWED, strategy=LONG)
    path = repository.folder / "shop.yaml"
    deployment, guard = yaml.safe_load_all(path.read_text())
    deployment["spec"]["template"]["metadata"]["annotations"] = {"prometheus.io/scrape": "true"}
    path.write_text(yaml.safe_dump_all([deployment, guard], sort_keys=False))
    (repository.folder / "prometheus-rules").mkdir()
    write_rules(repository, REFUSED)
    repository.commit()
    return repository


@pytest.fixture
def watched(shell: Shell) -> Shell:
    """Give a shell that finds both programs."""
    for variable, name in (("STERNWAY_PROMETHEUS", "prometheus"), ("STERNWAY_ALERTMANAGER", "prometheus-alertmanager")):
        program = shutil.which(name)
        assert program, f"{name} is needed: scripts/setup.sh dev installs it"
        shell._variables[variable] = program
    return shell


def write_rules(repository: Repository, value: dict[str, Any]) -> None:
    """Write the file of rules."""
    (repository.folder / "prometheus-rules" / "shop.yaml").write_text(yaml.safe_dump(value))


def urls(shell: Shell) -> dict[str, str]:
    """Read where each system is, out of the status."""
    return {one["name"]: one["url"] for one in shell.status().get("monitoring", [])}


def ask(shell: Shell, system: str, path: str, **query: str) -> Any:
    """Ask a system; nothing when it does not answer."""
    place = urls(shell).get(system)
    try:
        with urllib.request.urlopen(f"{place}{path}?{urllib.parse.urlencode(query)}", timeout=30) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def value(shell: Shell, query: str) -> float | None:
    """Ask Prometheus for one value."""
    found = ask(shell, "Prometheus", "/api/v1/query", query=query)
    result = found["data"]["result"] if found else []
    return float(result[0]["value"][1]) if result else None


def pid(shell: Shell, name: str) -> int:
    """Read a program's process out of its record, once it has one."""
    file = shell.folder / ".sternway" / "monitoring" / f"{name}.json"
    found: list[int] = []

    def recorded() -> bool:
        known = json.loads(file.read_text())["pid"] if file.exists() else None
        found.extend([known] if known and psutil.pid_exists(known) else [])
        return bool(found)

    shell.until(recorded, f"{name} runs")
    return found[0]


def phase(shell: Shell) -> str:
    """Read where the service's release stands."""
    release = shell.service("shop")["release"]
    return release["phase"] if release else ""


async def to_thread(call: Any, *arguments: Any) -> Any:
    """Call what blocks beside the load."""
    return await asyncio.to_thread(call, *arguments)


async def test_an_alert_that_only_our_own_alertmanager_saw_takes_the_release_back(shop: Repository, watched: Shell):
    """Every answer is 200; the rule in the repository fires on a metric of the service; nothing is left after `down`."""
    await to_thread(watched.up)
    address = watched.service("shop")["address"]
    async with loaded(f"http://{address}", rate_per_s=60):
        shop.release("shop", "poor2")
        await to_thread(watched.until, lambda: phase(watched) == "rolled-back", "the release is taken back")
        release = watched.service("shop")["release"]
        labels = 'service="shop",version="1",role="stable",job="services"'
        await to_thread(watched.until, lambda: value(watched, f"orders_total{{{labels}}}"), "the figures have labels")
        await to_thread(watched.until, lambda: value(watched, 'up{job="envoy"}') == 1, "Envoy is scraped")
    assert "the alert OrdersRefused fires" in release["reason"]
    assert release["hurt"] == 0
    token = shop.folder / ".sternway" / "monitoring" / "webhook-token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text() not in watched.ok("status", "--output", "json")
    assert set(urls(watched)) == {"Prometheus", "Alertmanager", "Envoy"}
    watched.ok("down")
    assert watched.leftovers() == []


async def test_killed_in_the_middle_of_a_release_what_runs_is_taken_over_and_what_died_is_started(
    shop: Repository, watched: Shell
):
    """Sternway and Prometheus get SIGKILL: Alertmanager keeps its process, and the release ends as it would have."""
    first = await to_thread(watched.up)
    alertmanager, prometheus = (
        await to_thread(pid, watched, "alertmanager"),
        await to_thread(pid, watched, "prometheus"),
    )
    address = watched.service("shop")["address"]
    async with loaded(f"http://{address}", rate_per_s=60):
        shop.release("shop", "fine2")
        await to_thread(watched.until, lambda: phase(watched) == "exposed", "the candidate has traffic")
        first.kill()
        first.wait(timeout=60)
        os.kill(prometheus, signal.SIGKILL)
        await to_thread(watched.up)
        await to_thread(watched.until, lambda: value(watched, 'up{job="envoy"}') == 1, "Prometheus works again")
        assert await to_thread(pid, watched, "alertmanager") == alertmanager
        assert await to_thread(pid, watched, "prometheus") != prometheus
        shop.release("shop", "poor3")
        await to_thread(watched.until, lambda: phase(watched) == "rolled-back", "the release is taken back")
    watched.ok("down")
    assert watched.leftovers() == []


async def test_a_prometheus_that_dies_is_started_again_and_fails_no_release(shop: Repository, watched: Shell):
    """SIGKILL to both programs in the middle of a release: they come back, and the release stands where it stood."""
    await to_thread(watched.up)
    address = watched.service("shop")["address"]
    async with loaded(f"http://{address}", rate_per_s=60):
        shop.release("shop", "fine2")
        await to_thread(watched.until, lambda: phase(watched) == "exposed", "the candidate has traffic")
        before = [await to_thread(pid, watched, name) for name in ("prometheus", "alertmanager")]
        for one in before:
            os.kill(one, signal.SIGKILL)

        def again() -> bool:
            now = [pid(watched, name) for name in ("prometheus", "alertmanager")]
            return not set(now) & set(before) and value(watched, 'up{job="envoy"}') == 1

        await to_thread(watched.until, again, "both are there again")
        assert phase(watched) == "exposed"


def test_without_our_own_nothing_is_started_and_what_was_kept_is_ended(shop: Repository, watched: Shell):
    """`down --keep` leaves both running; `up --prometheus off` has no use for them."""
    watched.up()
    before = [pid(watched, "prometheus"), pid(watched, "alertmanager")]
    watched.ok("down", "--keep")
    assert all(psutil.pid_exists(one) for one in before)
    watched.up(".", "--prometheus", "off")
    watched.until(lambda: not any(psutil.pid_exists(one) for one in before), "both have ended")
    assert set(urls(watched)) == {"Envoy"}


def test_a_program_that_shall_be_started_and_is_not_there_is_an_error(shop: Repository, shell: Shell):
    """`--prometheus start` says what is missing and how to mend it; nothing runs."""
    done = shell.sternway("up", ".", "--prometheus", "start")
    assert done.returncode == 1
    assert "Prometheus is not found on this machine" in done.stderr
    assert "STERNWAY_PROMETHEUS" in done.stderr
    assert shell.leftovers() == []


def test_new_rules_are_read_at_once_and_bad_ones_are_refused(shop: Repository, watched: Shell):
    """A commit with rules that promtool refuses is not in force, and the same Prometheus goes on with the last ones."""
    watched.up()
    running = pid(watched, "prometheus")

    def alerts() -> list[str]:
        found = ask(watched, "Prometheus", "/api/v1/rules")
        return [rule["name"] for group in found["data"]["groups"] for rule in group["rules"]] if found else []

    watched.until(lambda: alerts() == ["OrdersRefused"], "the rules are in force")
    write_rules(shop, rules("up == 0", alert="SomethingIsDown"))
    shop.commit("Other rules")
    watched.until(lambda: alerts() == ["SomethingIsDown"], "the new rules are in force")
    write_rules(shop, rules("sum(rate(", alert="Broken"))
    shop.commit("Broken rules")
    watched.until(lambda: watched.status().get("problems"), "the commit is refused")
    (problem,) = watched.status()["problems"]
    assert problem.startswith("prometheus-rules/shop.yaml:")
    assert "could not parse expression" in problem
    assert alerts() == ["SomethingIsDown"]
    assert pid(watched, "prometheus") == running
    checked = watched.sternway("check", ".")
    assert checked.returncode == 1
    assert "could not parse expression" in checked.stderr


def test_the_programs_keep_to_loopback_and_to_their_folder(shop: Repository, watched: Shell):
    """Each listens on 127.0.0.1 alone; what they keep is bounded and stands in `.sternway/monitoring/`."""
    watched.up()
    for name in ("prometheus", "alertmanager"):
        process = psutil.Process(pid(watched, name))

        def addresses(process: psutil.Process = process) -> set[str]:
            return {one.laddr.ip for one in process.net_connections() if one.status == psutil.CONN_LISTEN}

        watched.until(addresses, f"{name} listens")
        assert addresses() == {"127.0.0.1"}
        assert Path(process.cwd()) == shop.folder / ".sternway" / "monitoring"
    assert "--storage.tsdb.retention.size=256MB" in psutil.Process(pid(watched, "prometheus")).cmdline()
