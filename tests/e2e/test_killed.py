"""Sternway itself is killed, or started at a bad moment: services and Envoy go on, and the next start finishes the work."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from whole_world import Repository, Shell, loaded


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a platform's process, and that alone."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=60)


async def test_killed_at_rest_nobody_notices_and_everything_is_adopted(repository: Repository, shell: Shell):
    """No request is lost while Sternway is away, and the next start takes over the same processes and the same Envoy."""
    repository.write("orders", "1.0.0", replicas=2)
    repository.commit()
    first = await asyncio.to_thread(shell.up)
    before = await asyncio.to_thread(shell.processes)
    envoy = (repository.folder / ".sternway" / "envoy" / "envoy.pid.json").read_text()
    address = (await asyncio.to_thread(shell.service, "orders"))["address"]

    async with loaded(f"http://{address}", rate_per_s=60) as load:
        await asyncio.to_thread(shell.until, lambda: load.answered > 30, "callers are answered")
        kill(first)
        before_s = load.answered
        await asyncio.to_thread(shell.until, lambda: load.answered > before_s + 90, "they are while Sternway is away")
        await asyncio.to_thread(shell.up)
        after = await asyncio.to_thread(shell.processes)
        await asyncio.sleep(0.5)
    assert load.failed == 0
    assert after == before
    assert len(after) == 2
    assert (repository.folder / ".sternway" / "envoy" / "envoy.pid.json").read_text() == envoy


async def test_killed_in_the_middle_of_a_rollback_while_git_is_away(repository: Repository, shell: Shell):
    """Traffic stays with stable, over the kill and a start without Git; when Git is back the revert is pushed."""
    repository.write("orders", "1.0.0")
    repository.commit()
    source = shell.over_ssh(repository.with_origin())
    origin = repository.origin
    assert origin is not None
    away = origin.with_suffix(".away")
    first = await asyncio.to_thread(shell.up, source)
    address = (await asyncio.to_thread(shell.service, "orders"))["address"]

    def rolling_back() -> bool:
        found = shell.service("orders")
        return bool(found["release"]) and found["release"]["phase"] == "rolling-back"

    async with loaded(f"http://{address}", rate_per_s=60) as load:
        bad = repository.release("orders", "bad-late-2.0.0")
        await asyncio.to_thread(shell.until, lambda: shell.service("orders")["release"], "the release has begun")
        origin.rename(away)
        await asyncio.to_thread(shell.until, rolling_back, "the release is being rolled back")
        kill(first)
        await asyncio.sleep(0.5)
        again = await asyncio.to_thread(shell.up, source)
        shown = await asyncio.to_thread(shell.service, "orders")
        assert shown["release"]["phase"] == "rolling-back"
        assert {v["role"]: v["percent"] for v in shown["versions"]} == {"stable": 100.0, "candidate": 0.0}
        about = {
            trouble["about"]: trouble["message"] for trouble in (await asyncio.to_thread(shell.status))["troubles"]
        }
        assert "did not answer" in about["git"]

        def the_revert_waits() -> bool:
            found = shell.service("orders")["troubles"]
            return any(trouble["about"].startswith("revert orders-") for trouble in found)

        await asyncio.to_thread(shell.until, the_revert_waits, "the status says that the revert waits")
        away.rename(origin)

        def rolled_back() -> bool:
            return shell.service("orders")["release"]["phase"] == "rolled-back"

        await asyncio.to_thread(shell.until, rolled_back, "the rollback is done")
    assert again.poll() is None
    assert load.failed == 0, "the shield answered for the bad version"
    assert not [a for a in load.answers if a.version == "bad-late-2.0.0"]
    repository.git("pull", "--quiet", "origin", "main")
    assert repository.image("orders") == "app:1.0.0"
    assert repository.git("rev-parse", "HEAD~1") == bad
    assert repository.git("log", "--format=%s").count("Roll orders back") == 1
    assert "every decision as recorded" in await asyncio.to_thread(shell.ok, "replay", shown["release"]["name"])


async def test_killed_while_a_candidate_takes_traffic_it_goes_on_with_the_release(repository: Repository, shell: Shell):
    """The split is as it was when Sternway comes back, the candidate's replicas are its own, and it is promoted."""
    step = {"percent": 30, "minRequests": 250}  # it is killed long before that
    repository.write("orders", "1.0.0", strategy={"canary": {"steps": [step]}})
    repository.commit()
    first = await asyncio.to_thread(shell.up)
    address = (await asyncio.to_thread(shell.service, "orders"))["address"]
    async with loaded(f"http://{address}", rate_per_s=60) as load:
        repository.release("orders", "2.0.0")

        def exposed() -> bool:
            found = shell.service("orders")["release"]
            return bool(found) and found["phase"] == "exposed" and found["requests"] > 10

        await asyncio.to_thread(shell.until, exposed, "the candidate takes traffic")
        before = await asyncio.to_thread(shell.processes)
        kill(first)
        seen = len(load.answers)
        await asyncio.to_thread(shell.until, lambda: len(load.answers) > seen + 250, "callers go on")
        await asyncio.to_thread(shell.up)
        meanwhile = list(load.answers)[seen:]
        after = await asyncio.to_thread(shell.processes)
        shown = await asyncio.to_thread(shell.service, "orders")

        def promoted() -> bool:
            return shell.service("orders")["release"]["phase"] == "promoted"

        await asyncio.to_thread(shell.until, promoted, "the release is promoted")
    assert after == before
    assert shown["release"]["withdrawals"] == 0
    share = sum(a.version == "2.0.0" for a in meanwhile) / len(meanwhile)
    assert 0.15 < share < 0.45
    assert load.failed == 0
    assert "every decision as recorded" in await asyncio.to_thread(shell.ok, "replay", "orders-1")


@pytest.mark.parametrize("shield", [True, False], ids=["shielded", "unshielded"])
async def test_after_a_power_loss_in_the_middle_of_a_release_it_goes_on(
    repository: Repository, shell: Shell, *, shield: bool
):
    """Sternway, Envoy and every replica are gone at once; the next start brings all of them back and ends the release.

    Callers never stop: from the first answer on none fails, and the candidate is blamed for none of it.
    """
    step = {"percent": 30, "minRequests": 100}
    repository.write("orders", "1.0.0", strategy={"canary": {"steps": [step]}}, shield={"enabled": shield})
    repository.commit()
    first = await asyncio.to_thread(shell.up)
    address = (await asyncio.to_thread(shell.service, "orders"))["address"]
    async with loaded(f"http://{address}", rate_per_s=40):
        repository.release("orders", "2.0.0")

        def exposed() -> bool:
            found = shell.service("orders")["release"]
            return bool(found) and found["phase"] == "exposed"

        await asyncio.to_thread(shell.until, exposed, "the candidate takes traffic")
    for line in shell.leftovers():
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid(line)).kill()
    first.wait(timeout=60)
    shell.until(lambda: shell.leftovers() == [], "nothing runs any more")

    async with loaded(f"http://{address}", rate_per_s=60) as load:
        await asyncio.to_thread(shell.up)

        def promoted() -> bool:
            return shell.service("orders")["release"]["phase"] == "promoted"

        await asyncio.to_thread(shell.until, promoted, "the release is promoted")
    assert (await asyncio.to_thread(shell.service, "orders"))["address"] == address
    back_s = min(answer.at_s for answer in load.answers if not answer.failed)
    assert [answer for answer in load.failures if answer.at_s > back_s] == []
    page = await asyncio.to_thread(shell.read, "release", "show", "orders-1")
    assert page["release"]["hurt"] == 0
    assert "every decision as recorded" in await asyncio.to_thread(shell.ok, "replay", "orders-1")


def test_started_at_a_commit_that_is_not_valid_it_goes_on_with_the_last_valid_one(repository: Repository, shell: Shell):
    """What was in force is, its processes are adopted, the mistake is shown, and a mended commit is taken up."""
    repository.write("orders", "1.0.0")
    repository.write("stock", "1.0.0")
    repository.commit()
    first = shell.up()
    before = shell.processes()
    kill(first)
    path = repository.folder / "orders.yaml"
    good = path.read_text()
    path.write_text(good.replace("replicas: 1", "replcas: 1"))
    repository.commit("A slip of the pen")
    shell.up()
    assert shell.processes() == before
    assert "replicas" in shell.status()["problems"][0]
    assert shell.service("orders")["stable"].startswith("1.0.0")
    path.write_text(good.replace("replicas: 1", "replicas: 2"))
    repository.commit("Mended")
    shell.until(
        lambda: shell.status().get("problems") == [] and len(shell.processes()) == 3, "two replicas of orders run"
    )
    assert before.items() <= shell.processes().items()


def test_a_service_removed_from_git_while_sternway_was_away_is_stopped(repository: Repository, shell: Shell):
    """Nothing runs on for a service that nobody names any more; the other one keeps its process."""
    repository.write("orders", "1.0.0")
    repository.write("stock", "1.0.0")
    repository.commit()
    first = shell.up()
    before = shell.processes()
    kill(first)
    (repository.folder / "stock.yaml").unlink()
    repository.commit("No stock any more")
    shell.up()
    shell.until(
        lambda: not any("--tag" in line and pid(line) != orders(before) for line in shell.leftovers()), "stock ends"
    )
    assert list(shell.processes().items()) == [item for item in before.items() if item[0].startswith("orders")]
    assert [one["service"] for one in shell.status()["services"]] == ["orders"]


def test_without_its_journal_what_runs_unwanted_is_stopped_too(repository: Repository, shell: Shell):
    """The journal was deleted and a service removed while nobody looked: its process does not run for ever."""
    repository.write("orders", "1.0.0")
    repository.write("stock", "1.0.0")
    repository.commit()
    first = shell.up()
    before = shell.processes()
    kill(first)
    for file in (repository.folder / ".sternway").glob("journal.db*"):
        file.unlink()
    (repository.folder / "stock.yaml").unlink()
    repository.commit("No stock any more")
    shell.up()
    shell.until(
        lambda: not any("--tag" in line and pid(line) != orders(before) for line in shell.leftovers()), "stock ends"
    )
    assert shell.processes().items() <= before.items()


def pid(line: str) -> int:
    """Read the process id of a line of `leftovers`."""
    return int(line.split(maxsplit=1)[0])


def orders(processes: dict[str, int]) -> int:
    """Find the only process of orders."""
    return next(number for name, number in processes.items() if name.startswith("orders"))


def test_a_second_sternway_on_the_same_folder_is_refused_and_the_first_goes_on(repository: Repository, shell: Shell):
    """By the command line when it answers, and by the lock when it does not answer yet; the first is named."""
    repository.write("orders", "1.0.0")
    repository.commit()
    first = shell.up()
    before = shell.processes()
    second = shell.sternway("up", ".", "--detach")
    assert second.returncode == 1
    assert "is running" in second.stderr
    # One that did not see the first one's socket still meets its lock.
    code = (
        "import asyncio, pathlib; from sternway.bootstrap import Settings, Sternway; "
        f"asyncio.run(Sternway(Settings(source='.', home=pathlib.Path({str(repository.folder)!r}))).start())"
    )
    third = subprocess.run(
        [sys.executable, "-c", code], cwd=repository.folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert f"another Sternway (process {first.pid})" in third.stderr
    assert first.poll() is None
    assert shell.processes() == before
    assert shell.service("orders")["ready"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        ("nothing", "there is no such folder"),
        ("folder", "git init"),
        ("empty", "no commit yet"),
        ("detached", "detached HEAD"),
        ("unreachable", "did not answer"),
        ("unmounted", "there is no such folder"),
    ],
)
def test_a_repository_that_cannot_be_followed_is_refused_with_what_to_do(folder: Path, make: str, said: str):
    """A person is told at once, with an exit code, and nothing is left behind or running."""
    shell = Shell(folder)
    source = folder / "shop"
    if make == "folder":
        source.mkdir()
    elif make in ("empty", "detached"):
        repository = Repository(source)
        if make == "detached":
            repository.commit()
            repository.git("switch", "--quiet", "--detach")
    addresses = {"unreachable": "http://127.0.0.1:1/shop.git", "unmounted": f"file://{source}"}
    address = addresses.get(make, str(source))
    done = shell.sternway("up", address, "--detach", "--state", str(folder / "state"))
    assert done.returncode == 1
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert shell.leftovers() == []


def test_a_first_commit_that_is_not_valid_starts_nothing(repository: Repository, shell: Shell):
    """Without any record there is nothing to go on with: every problem is printed, and nothing runs."""
    repository.write("orders", "1.0.0")
    path = repository.folder / "orders.yaml"
    path.write_text(path.read_text().replace("replicas: 1", "replcas: 1").replace("bake:", "bakes:"))
    repository.commit()
    done = shell.sternway("up", ".", "--detach")
    assert done.returncode == 1
    assert "replicas" in done.stdout + done.stderr
    assert "bake" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert shell.leftovers() == []
