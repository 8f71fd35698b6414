"""A program beside the replicas: started, started again, taken over, ended; and what Prometheus and Alertmanager are told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from local_world import alive, until

from sternway.domain.mesh import MeshPolicy
from sternway.domain.monitoring import Endpoint as System
from sternway.domain.monitoring import Monitoring, Own, RuleFile, Scrape, Webhook
from sternway.domain.releases import Progress, Retired
from sternway.domain.traffic import Endpoint
from sternway.domain.versions import Version, Workload
from sternway.platforms.local import Around, OwnMonitoring, check_rules, monitoring, monitoring_config
from sternway.platforms.local.program import Program

SERVER = """
import http.server, sys
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.BaseHTTPRequestHandler).serve_forever()
"""


def serve(port: int, *more: str) -> tuple[str, ...]:
    """Command a program that listens on the port."""
    return (sys.executable, "-S", "-c", SERVER, str(port), *more)


@pytest.fixture
async def program(tmp_path: Path) -> AsyncIterator[Callable[..., Program]]:
    """Make a program in the test's folder; all are ended with the test."""
    made: list[Program] = []

    def make(*more: str, command: Callable[[int], tuple[str, ...]] | None = None) -> Program:
        one = Program(
            "server", folder=tmp_path, command=command or (lambda port: serve(port, *more)), changed=lambda: None
        )
        made.append(one)
        return one

    yield make
    for one in made:
        await one.close(stop=True)


async def started(program: Program) -> int:
    """Start a program and wait for its process."""
    await program.prepare()
    program.start()
    await until(lambda: program.pid is not None, "the program runs")
    assert program.pid is not None
    return program.pid


async def test_a_program_that_is_killed_comes_back_on_its_port(program: Callable[..., Program]) -> None:
    """Who knows its address goes on with it; a crash loop is told with its last words."""
    one = program()
    first = await started(one)
    port = one.port
    os.kill(first, signal.SIGKILL)
    await until(lambda: one.pid not in (None, first), "another process runs")
    assert one.port == port
    assert one.trouble == ""


async def test_a_program_is_told_to_reload_once_it_heeds_that(program: Callable[..., Program], tmp_path: Path) -> None:
    """SIGHUP would end a program that has just been started: it comes when the program listens, and once."""
    told = tmp_path / "told"
    code = f"""
import signal, time
time.sleep(0.5)
signal.signal(signal.SIGHUP, lambda *_: open({str(told)!r}, "a").write("reloaded\\n"))
{SERVER}"""
    one = program(command=lambda port: (sys.executable, "-S", "-c", code, str(port)))
    pid = await started(one)
    one.reload()
    one.reload()
    await until(lambda: told.exists() and bool(told.read_text()), "the program is told")
    assert one.pid == pid
    assert told.read_text() == "reloaded\n"


async def test_a_program_that_cannot_run_is_told_and_tried_again_more_and_more_slowly(
    program: Callable[..., Program],
) -> None:
    """Its last words are in the sentence; a program that is not there is told as such."""
    one = program(command=lambda _: (sys.executable, "-S", "-c", "import sys; sys.exit('no room on the disk')"))
    await one.prepare()
    one.start()
    await until(lambda: bool(one.trouble), "the crash loop is told")
    assert one.trouble.startswith("server cannot run: crash loop: exited 3 times with status 1")
    assert "no room on the disk" in one.trouble
    gone = program(command=lambda _: ("/nowhere/server",))
    await gone.prepare()
    gone.start()
    await until(lambda: bool(gone.trouble), "the missing program is told")
    assert gone.trouble == "server could not be started: No such file or directory"


async def test_the_next_sternway_takes_a_program_over_when_it_runs_as_it_should(
    program: Callable[..., Program],
) -> None:
    """Left running it is the same process; with another command line it is ended and started anew."""
    first = program()
    pid = await started(first)
    await first.close(stop=False)
    assert alive(pid)
    second = program()
    assert await started(second) == pid
    assert second.port == first.port
    await second.close(stop=False)
    third = program("--otherwise")
    assert await started(third) != pid
    assert not alive(pid)


async def test_a_program_that_was_started_and_not_recorded_is_found_by_its_mark(
    program: Callable[..., Program], tmp_path: Path
) -> None:
    """Sternway was killed between start and record: the process bears its name, and is taken over."""
    first = program()
    pid = await started(first)
    await first.close(stop=False)
    file = tmp_path / "server.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "pid": None, "create_time": None}))
    assert await started(program()) == pid


async def test_what_is_not_wanted_any_more_is_ended(program: Callable[..., Program], tmp_path: Path) -> None:
    """An earlier Sternway's process goes, and so does its record."""
    first = program()
    pid = await started(first)
    await first.close(stop=False)
    await program().end_left()
    assert not alive(pid)
    assert not (tmp_path / "server.json").exists()


async def test_a_taken_port_is_given_up(program: Callable[..., Program]) -> None:
    """Somebody else listens where it listened before: it takes another port."""
    first = program()
    await started(first)
    await first.close(stop=True)
    thief = await asyncio.start_server(lambda *_: None, "127.0.0.1", first.port)
    second = program()
    second.port = first.port
    await second.prepare()
    second.start()
    await until(lambda: second.pid is not None, "the program runs")
    thief.close()
    assert second.port != first.port


# What they are told ---------------------------------------------------------------------------------------------


def version(tag: str, service: str = "orders", **policy: float) -> Version:
    """Make a version."""
    return Version(
        service=service, workload=Workload(image=f"shop:{tag}", service=service), policy=MeshPolicy(**policy)
    )


def test_each_replica_is_scraped_with_who_it_is() -> None:
    """Service, version, tag, role and pod stand at each target; of two versions that share replicas, one has them."""
    stable, leaving = version("1.0.0"), version("0.9.0")
    progress = Progress(
        service="orders",
        stable=stable,
        retired=(
            Retired(version=leaving, until_s=1.0),
            Retired(version=version("1.0.0", timeout_ms=100.0), until_s=1.0),
        ),
    )
    endpoints = {
        stable.workload.id: (Endpoint(address="127.0.0.1", port=20_001, replica="orders-a"),),
        leaving.workload.id: (Endpoint(address="127.0.0.1", port=20_002, replica="orders-b"),),
    }
    scrapes = [Scrape(service="orders", path="/figures")]
    found = monitoring_config.targets(scrapes, {"orders": progress}, endpoints)
    assert [one["targets"] for one in found] == [["127.0.0.1:20001"], ["127.0.0.1:20002"]]
    assert found[0]["labels"] == {
        "__metrics_path__": "/figures",
        "service": "orders",
        "version": stable.id,
        "tag": "1.0.0",
        "role": "stable",
        "pod": "orders-a",
    }
    assert found[1]["labels"]["role"] == "leaving"


def test_another_alertmanager_is_told_with_its_way_in() -> None:
    """Our Prometheus tells somebody else's Alertmanager of alerts; secrets stay in their files."""
    other = System(
        url="https://am.example:9093/team/", username="ada", password_file="/etc/password", ca_file="/etc/ca.pem"
    )
    config = monitoring_config.prometheus_config(
        targets=Path("/t"), rules=[], envoy=None, metrics="127.0.0.1:1", alertmanager=other
    )
    assert config["alerting"]["alertmanagers"] == [
        {
            "scheme": "https",
            "static_configs": [{"targets": ["am.example:9093"]}],
            "path_prefix": "/team",
            "basic_auth": {"username": "ada", "password_file": "/etc/password"},
            "tls_config": {"ca_file": "/etc/ca.pem", "insecure_skip_verify": False},
        }
    ]
    assert [job["job_name"] for job in config["scrape_configs"]] == ["sternway", "services"]


def make(
    folder: Path, told: Monitoring, rules: Sequence[RuleFile] = ()
) -> tuple[OwnMonitoring, dict[str, str], asyncio.Event]:
    """Make the monitoring of a platform; gives also what it told, and an event after its first look."""
    troubles: dict[str, str] = {}
    looked = asyncio.Event()

    def trouble(about: str, text: str) -> None:
        troubles[about] = text
        if about == "monitoring":
            looked.set()

    async def progress(service: str) -> Progress:
        return Progress(service=service)

    around = Around(
        told=lambda: told,
        scrapes=lambda: (),
        rules=lambda: rules,
        progress=progress,
        envoy=lambda: None,
        trouble=trouble,
    )
    return OwnMonitoring(folder=folder, around=around), troubles, looked


async def looked_at(folder: Path, told: Monitoring, rules: Sequence[RuleFile]) -> dict[str, str]:
    """Let it look once; gives what it told."""
    own, troubles, looked = make(folder, told, rules)
    own.start()
    await asyncio.wait_for(looked.wait(), 60)
    await own.close(stop=True)
    return troubles


@pytest.mark.parametrize(
    ("told", "prometheus", "alertmanager"),
    [
        (Monitoring(), True, True),
        (Monitoring(own_prometheus=Own.OFF), False, False),
        (Monitoring(own_alertmanager=Own.OFF), True, False),
        (Monitoring(prometheus=System(url="http://p")), False, False),
        (Monitoring(alertmanager=System(url="http://a")), True, False),
        (Monitoring(prometheus=System(url="http://p"), own_alertmanager=Own.START), False, True),
    ],
    ids=[
        "nothing is said",
        "off",
        "no Alertmanager",
        "another Prometheus",
        "another Alertmanager",
        "Alertmanager alone",
    ],
)
async def test_our_own_run_where_there_are_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Monitoring, *, prometheus: bool, alertmanager: bool
) -> None:
    """Another one that is named is not doubled, and `off` is heeded; an Alertmanager goes with our own Prometheus."""
    script = tmp_path / "program"
    script.write_text("#!/bin/sh\nexec sleep 600\n")
    script.chmod(0o755)
    monkeypatch.setenv("STERNWAY_PROMETHEUS", str(script))
    monkeypatch.setenv("STERNWAY_ALERTMANAGER", str(script))
    own, troubles, looked = make(tmp_path / "monitoring", told)
    own.start()
    await asyncio.wait_for(looked.wait(), 60)
    found = own.with_own(told)
    await own.close(stop=True)
    assert troubles == {"prometheus": "", "alertmanager": "", "monitoring": ""}
    assert (found.prometheus is not None) == (prometheus or told.prometheus is not None)
    assert (tmp_path / "monitoring" / "prometheus.yml").exists() == prometheus
    assert (tmp_path / "monitoring" / "alertmanager.yml").exists() == alertmanager
    assert (found.webhook is not None) == alertmanager


async def test_what_keeps_alerts_from_being_heard_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules that raise alerts and no Alertmanager; and a program that monitoring.yaml insists on and that is not there."""
    script = tmp_path / "program"
    script.write_text("#!/bin/sh\nexec sleep 600\n")
    script.chmod(0o755)
    monkeypatch.setenv("STERNWAY_PROMETHEUS", str(script))
    monkeypatch.setenv("STERNWAY_ALERTMANAGER", "")
    rules = [RuleFile(path="prometheus-rules/a.yaml", text="groups: [{name: g, rules: [{alert: A, expr: up == 0}]}]")]
    silent, unmet = Monitoring(), Monitoring(own_alertmanager=Own.START)
    found = await looked_at(tmp_path / "a", silent, rules)
    assert found["prometheus"] == ""
    assert "nobody hears of the alerts of your rules" in found["alertmanager"]
    assert (await looked_at(tmp_path / "b", silent, []))["alertmanager"] == ""
    assert "it shall be started, and is not found" in (await looked_at(tmp_path / "c", unmet, rules))["alertmanager"]


async def test_each_set_of_rules_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """Prometheus never reads half of two commits; of old sets the last one alone is kept."""
    own = OwnMonitoring(folder=tmp_path, around=None)  # type: ignore[arg-type]  nothing is asked
    sets = [[RuleFile(path=f"prometheus-rules/{name}.yaml", text=name)] for name in "abc"]
    written = [own._write_rules(rules) for rules in sets]
    assert written[0] != written[1]
    assert written[2][0].read_text() == "c"
    assert written[1][0].exists()
    assert not written[0][0].exists()
    assert own._write_rules(sets[2]) == written[2]


def test_a_missing_program_is_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable means none, whatever is on the PATH; one that names nothing runnable means none too."""
    monkeypatch.setenv("STERNWAY_PROMETHEUS", "")
    monkeypatch.setenv("STERNWAY_ALERTMANAGER", "/nowhere/alertmanager")
    assert monitoring.find().prometheus is None
    assert monitoring.find().alertmanager is None
    monkeypatch.delenv("STERNWAY_PROMETHEUS")
    assert monitoring.find().prometheus is not None, "scripts/setup.sh dev installs it"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(rate(\n", 5, "could not parse expression"),
        ("groups:\n- name: g\n  rulez: []\n", 3, "field rulez not found"),
        ("groups:\n- name: g\n  rules: [{alert: A, expr: up, annotations: {x: '{{ $labels'}}]\n", None, "template"),
    ],
    ids=["an expression", "a field", "a template"],
)
async def test_promtool_says_what_is_wrong_with_rules(text: str, line: int | None, said: str) -> None:
    """The file is named as it stands in Git, with its line where promtool has it; our copy is not named."""
    (problem,) = await check_rules([RuleFile(path="prometheus-rules/shop.yaml", text=text)])
    assert (problem.file, problem.line) == ("prometheus-rules/shop.yaml", line)
    assert said in problem.message
    assert "/tmp" not in problem.message


async def test_good_rules_pass_and_without_promtool_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no promtool the rules are taken as they are."""
    good = RuleFile(path="a.yaml", text="groups: [{name: g, rules: [{record: a:b, expr: sum(up)}]}]\n")
    assert await check_rules([good]) == ()
    monkeypatch.setenv("PATH", "")
    assert await check_rules([RuleFile(path="b.yaml", text="groups: 1")]) == ()


def test_alertmanager_tells_us_at_once_where_we_listen() -> None:
    """A webhook that listens everywhere is reached on loopback; the token stays in its file."""
    config = monitoring_config.alertmanager_config(Webhook(listen="0.0.0.0:9095", token_file="/t"))
    hook = config["receivers"][0]["webhook_configs"][0]
    assert hook["url"] == "http://127.0.0.1:9095/v1/alerts"
    assert hook["http_config"] == {"authorization": {"credentials_file": "/t"}}
