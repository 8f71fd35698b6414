"""The example of the documentation, as its user lives it: the real command line, Git, Envoy and processes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
import yaml
from whole_world import Shell, cleaned, loaded

from free_ports import free_port

EXAMPLE = Path(__file__).parents[2] / "examples" / "my-service"
STEPS = [{"requestsPerSecond": 5, "minRequests": 100}, {"percent": 50, "minRequests": 100}]
QUICKER = {
    "strategy": {"canary": {"steps": STEPS}},
    "bake": {"for": "2s"},
    "withdraw": {"for": "500ms"},
    "judge": {"clusterKey": {"header": "x-user"}, "warmUp": "0s"},
}


@pytest.fixture
def shell(folder: Path):
    """Give a shell in a copy of the example, on a port that is free, with a guard that is in a hurry."""
    home = folder / "my-service"
    shutil.copytree(EXAMPLE, home)
    deployment = home / "deployment.yaml"
    deployment.write_text(
        "# Ask Ada before you change this.\n" + deployment.read_text().replace("8080", str(free_port()))
    )
    guard = home / "guard.yaml"
    said = yaml.safe_load(guard.read_text())
    said["spec"] |= QUICKER
    guard.write_text(yaml.safe_dump(said, sort_keys=False))
    made = Shell(home)
    git(made, "init", "--quiet", "--initial-branch=main")
    git(made, "config", "user.name", "Ada")
    git(made, "config", "user.email", "ada@example.org")
    git(made, "config", "commit.gpgSign", "false")
    git(made, "add", ".")
    git(made, "commit", "--quiet", "--message", "my-service 1.0.0")
    with cleaned(made):
        yield made


def git(shell: Shell, *arguments: str) -> str:
    """Run git as the user."""
    done = subprocess.run(["git", *arguments], cwd=shell.folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def outcome(shell: Shell, name: str) -> str:
    """Read how a release ended, or that it is under way."""
    release = shell.service("my-service")["release"]
    return str(release["outcome"]) if release and release["name"] == name else "none"


async def answers(address: str) -> str:
    """Ask once; gives the version."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}/") as answer:
        return str((await answer.json())["version"])


async def test_a_bad_release_of_the_example_is_taken_back_and_everything_can_be_read(shell: Shell):
    """Check, up, a bad release by `set image`, what can be read of it, a manual rollback to the fallback, down."""
    checked = await asyncio.to_thread(shell.ok, "check", ".")
    assert "my-service" in checked
    started = await asyncio.to_thread(shell.ok, "up", ".", "--detach")
    address = shell.service("my-service")["address"]
    assert f"http://{address}" in started
    assert await answers(address) == "1.0.0"

    async with loaded(f"http://{address}", rate_per_s=80) as load:
        await asyncio.sleep(1)
        before = (shell.folder / "deployment.yaml").read_text()
        await asyncio.to_thread(shell.ok, "set", "image", "deployment/my-service", "my-service=my-service:1.1.0")
        assert git(shell, "show", "HEAD:deployment.yaml") + "\n" == before.replace(
            "my-service:1.0.0", "my-service:1.1.0"
        )
        bad = git(shell, "rev-parse", "HEAD")
        await asyncio.to_thread(
            shell.until, lambda: outcome(shell, "my-service-1") == "rolled back", "1.1.0 is rolled back"
        )
        await asyncio.to_thread(_reads_of_a_rollback, shell, before, bad)
        assert load.failed == 0, "the shield answered all of it"
        assert await answers(address) == "1.0.0"

        said = await asyncio.to_thread(shell.ok, "rollback", "my-service", "--to", "0.9.9", "--reason", "a drill")
        assert "0.9.9" in said
        await asyncio.to_thread(shell.until, lambda: outcome(shell, "my-service-2") == "rolled back", "0.9.9 serves")
        assert {await answers(address) for _ in range(20)} == {"0.9.9"}
        assert load.failed == 0
    shown = await asyncio.to_thread(shell.ok, "release", "show", "my-service-2")
    assert "a drill" in shown
    assert "my-service:0.9.9" in shown

    assert "stopped" in await asyncio.to_thread(shell.ok, "down")
    assert shell.leftovers() == []
    assert (await asyncio.to_thread(shell.sternway, "status")).returncode == 3


def _reads_of_a_rollback(shell: Shell, before: str, bad: str) -> None:
    """Everything that a person can read after a bad release, in Git and from the command line."""
    assert git(shell, "show", "HEAD:deployment.yaml") + "\n" == before, "comments and layout are as they were"
    assert (shell.folder / "deployment.yaml").read_text() == before, "the work tree has followed"
    body = git(shell, "log", "-1", "--format=%B")
    for trailer in ("Sternway-Release: my-service-1", f"Sternway-Reverts: {bad}", "Sternway-Evidence: "):
        assert trailer in body
    status = shell.read("status")
    assert status["connected"] is True
    (service,) = status["services"]
    assert (service["service"], service["held"]) == ("my-service", [service["release"]["to_version"]])
    assert service["release"]["revert_commit"] == git(shell, "rev-parse", "HEAD")
    history = shell.read("history", "my-service")
    releases = history["releases"] if isinstance(history, dict) else history
    assert [one["name"] for one in releases] == ["my-service-1"]
    page = shell.ok("release", "show", "my-service-1")
    assert "errors" in page
    assert "my-service:1.1.0" in page
    assert "every decision as recorded" in shell.ok("replay", "my-service-1")
    catalogue = shell.read("services")
    (entry,) = catalogue["services"]
    assert {"stable", "fallback"} <= {version["role"] for version in entry["versions"]}
    assert catalogue["calls"][0]["callee"] == "my-service"
    assert "listens on port" in shell.ok("logs", "my-service")
    refused = shell.sternway("promote", "my-service")
    assert refused.returncode == 1
    assert "no release of my-service is under way" in refused.stdout + refused.stderr


def test_the_demo_ends_as_it_should():
    """Seven releases by commit: the healthy one is promoted, each bad one rolled back, one by an alert alone."""
    command = [sys.executable, "-m", "sternway.cli", "demo", "--fast", "--output", "json"]
    with_monitoring = {name: value for name, value in os.environ.items() if not name.startswith("STERNWAY_")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, env=with_monitoring)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert {one["scenario"]: one["outcome"] for one in found["releases"]} == {
        "healthy": "promoted",
        **dict.fromkeys(("errors", "tail", "crash", "alert", "config", "policy"), "rolled back"),
    }
    assert found["skipped"] == []
    for one in found["releases"]:
        assert (one["revertCommit"] is None) == (one["outcome"] == "promoted")
        assert one["reason"]
    crash = next(one for one in found["releases"] if one["scenario"] == "crash")
    assert (crash["requests"], crash["hurt"]) == (0, 0)
    alert = next(one for one in found["releases"] if one["scenario"] == "alert")
    assert "the alert OrdersFallAway fires" in alert["reason"]
    assert alert["hurt"] == 0
    assert 0 < alert["alertSeconds"] <= alert["backSeconds"]
    assert found["visitors"]["failed"] < 0.01 * found["visitors"]["answered"]


def test_the_demo_says_what_it_cannot_show_without_prometheus():
    """Nothing is started for a scenario that needs a program which is not there; the demo says so, and that is no failure."""
    environment = {**os.environ, "STERNWAY_PROMETHEUS": "", "STERNWAY_ALERTMANAGER": ""}
    command = [sys.executable, "-m", "sternway.cli", "demo", "--scenario", "alert"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped: loses orders" in done.stdout
    as_json = subprocess.run(
        [*command, "--output", "json"], capture_output=True, text=True, check=True, env=environment
    )
    found = json.loads(as_json.stdout)
    assert found["releases"] == []
    assert [one["scenario"] for one in found["skipped"]] == ["alert"]
