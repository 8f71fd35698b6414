"""The commands against a running platform (real API, engine and shell; fakes at the ports)."""

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from running_platform import DEPLOYMENT, RunningPlatform, Served
from typer.testing import CliRunner, Result

from sternway.cli.app import app
from sternway.control.status import PlatformStatus
from sternway.domain.releases import Phase
from sternway.web.faults import TookTooLong
from sternway.web.watch import watch

Run = Callable[..., Result]


def test_status_shows_services_in_a_table(served: Served, sternway: Run):
    """Service, versions and phase, as the proxies have it."""
    served.call(served.platform.commit("1.1.0"))
    served.call(served.platform.run(4))
    result = sternway("status")
    assert result.exit_code == 0
    head, row = result.output.splitlines()[:2]
    assert head.split() == ["service", "stable", "candidate", "phase", "split", "requests", "hurt", "judgement"]
    assert "orders" in row
    assert "step 1 of 2: 5 requests/s" in row
    assert "5 %" in row


def test_the_platform_is_found_from_a_folder_below(served: Served, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """As git finds its repository; and through the variable."""
    below = folder / "deploy" / "orders"
    below.mkdir(parents=True)
    assert CliRunner().invoke(app, ["-C", str(below), "status"]).exit_code == 0
    monkeypatch.setenv("STERNWAY_DIR", str(below))
    assert CliRunner().invoke(app, ["status"]).exit_code == 0


@pytest.mark.parametrize(
    "command",
    [("status",), ("status", "orders"), ("history", "orders"), ("services",), ("release", "show", "orders-1")],
    ids=" ".join,
)
def test_every_reading_command_gives_json(served: Served, sternway: Run, command: tuple[str, ...]):
    """Exactly one JSON value, nothing around it."""
    served.call(served.platform.commit("1.2.0", bad=0.5))
    served.call(served.platform.until(Phase.ROLLED_BACK))
    result = sternway(*command, "--output", "json")
    assert result.exit_code == 0
    assert "orders" in json.dumps(json.loads(result.stdout))
    assert sternway(*command).exit_code == 0


def test_history_and_release_show_tell_a_rollback(served: Served, sternway: Run):
    """The morning after: what changed, was seen, decided, done, and what comes next."""
    served.call(served.platform.commit("1.2.0", bad=0.5))
    served.call(served.platform.until(Phase.ROLLED_BACK))
    assert "rolled back" in sternway("history", "orders").output
    page = sternway("release", "show", "orders-1").output
    for heading in ("Changed", "Seen", "Decided", "Hurt", "Done", "Next", "Evidence", "Timeline"):
        assert f"\n{heading}" in page
    words = " ".join(page.split())
    assert "by Ada <ada@example.org>" in words
    assert "image shop/orders:1.0.0 -> shop/orders:1.2.0" in words.replace("Image", "image")
    assert "reverted by commit fffffffff" in words
    assert "sternway retry orders" in words


def test_a_conflicting_revert_is_told_with_its_branch_and_remedy(served: Served, sternway: Run):
    """Nobody has to guess why Git still asks for the bad version."""
    served.platform.conflict("others changed orders.yaml; merge it by hand")
    served.call(served.platform.commit("1.2.0", bad=0.5))
    served.call(served.platform.until(Phase.ROLLED_BACK))
    words = " ".join(sternway("release", "show", "orders-1").output.split())
    assert "branch sternway/rollback-orders-1" in words
    assert "merge it by hand" in words
    assert "Merge or drop the branch" in words


def test_a_command_prints_the_engines_answer(served: Served, sternway: Run):
    """Accepted: its message and 0."""
    served.call(served.platform.commit("1.1.0"))
    served.call(served.platform.run(4))
    result = sternway("pause", "orders", "--reason", "lunch")
    assert result.exit_code == 0
    assert result.output == "orders-1 is paused at 5 %; harm still takes it back\n"


@pytest.mark.parametrize("verb", ["promote", "pause", "resume", "abort", "retry", "rollback"])
def test_a_refused_command_says_why_and_ends_with_1(served: Served, sternway: Run, verb: str):
    """At rest there is nothing to promote, pause, resume or abort, nothing held, and nothing older that was good."""
    result = sternway(verb, "orders")
    assert result.exit_code == 1
    assert result.stderr.startswith("sternway: refused: ")
    assert len(result.stderr) > 40
    answer = sternway(verb, "orders", "-o", "json")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["accepted"] is False


def test_a_manual_rollback_goes_to_the_version_that_was_named(served: Served, sternway: Run):
    """By its tag; one that was never proven good is refused with those that were."""
    served.call(served.platform.commit("1.1.0"))
    served.call(served.platform.until(Phase.PROMOTED))
    refused = sternway("rollback", "orders", "--to", "0.1.0")
    assert refused.exit_code == 1
    assert "1.0.0-" in refused.stderr
    result = sternway("rollback", "orders", "--to", "1.0.0", "--reason", "wrong prices")
    assert result.exit_code == 0
    assert "traffic goes back to 1.0.0-" in result.output


def test_set_image_commits(served: Served, sternway: Run):
    """The file's comments stay, and the message is what was said."""
    result = sternway("set", "image", "deployment/orders", "orders=shop/orders:1.1.0", "-m", "Faster")
    assert result.exit_code == 0
    assert result.output.startswith("committed 222222222: Faster (orders.yaml)")
    head = served.call(served.platform.history.head())
    assert dict(head.files)["orders.yaml"] == DEPLOYMENT.replace("orders:1.0.0", "orders:1.1.0")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("orders", "orders=a:1"), "write deployment/NAME"),
        (("statefulset/orders", "orders=a:1"), "write deployment/NAME"),
        (("deployment/orders", "a:1"), "write CONTAINER=IMAGE"),
        (("deployment/orders", "orders="), "write CONTAINER=IMAGE"),
        (("deployment/shop", "orders=a:1"), "Deployments: orders"),
        (("deployment/orders", "order=shop/orders:2"), "did you mean orders?"),
        (("deployment/orders", "orders=shop/orders:1.0.0"), "asks for shop/orders:1.0.0 already"),
        (("deployment/orders", "orders=elsewhere:1"), "images.yaml"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_an_image_that_cannot_be_set_is_refused_with_the_fix(
    served: Served, sternway: Run, arguments: tuple[str, str], said: str
):
    """Nothing is committed."""
    result = sternway("set", "image", *arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert len(served.platform.history.snapshots) == 1


def test_logs_are_plain_lines(served: Served, sternway: Run):
    """Each with its replica, so that they can be searched."""
    assert sternway("logs", "orders", "--lines", "1").output == "orders-a | bad: 500\norders-b | started\n"
    assert sternway("logs", "orders", "--replica", "orders-b").output == "orders-b | started\n"
    lines = [json.loads(line) for line in sternway("logs", "orders", "-n", "1", "-o", "json").output.splitlines()]
    assert lines[0] == {"replica": "orders-a", "line": "bad: 500"}


def test_replay_says_that_every_decision_matches(served: Served, sternway: Run):
    """And ends with 0."""
    served.call(served.platform.commit("1.2.0", bad=0.5))
    served.call(served.platform.until(Phase.ROLLED_BACK))
    result = sternway("replay", "orders-1")
    assert result.exit_code == 0
    assert "every decision as recorded" in result.output
    found = json.loads(sternway("replay", "orders-1", "--output", "json").stdout)
    assert found["matches"] is True
    assert found["mismatches"] == []


def test_replay_finds_a_journal_that_was_changed(served: Served, sternway: Run):
    """A decision that does not follow from what was seen is shown, and the command ends with 1."""
    served.call(served.platform.commit("1.2.0", bad=0.5))
    served.call(served.platform.until(Phase.ROLLED_BACK))
    lines = served.platform.journal.lines
    index = next(i for i, x in enumerate(lines) if x.entry.decision and x.entry.decision.phase is Phase.WITHDRAWN)
    entry = lines[index].entry
    assert entry.decision is not None
    forged = replace(entry, decision=replace(entry.decision, reason="because"))
    lines[index] = replace(lines[index], entry=forged)
    result = sternway("replay", "orders-1")
    assert result.exit_code == 1
    assert "1 of " in result.output
    assert "because" in result.output


def test_a_release_that_the_journal_does_not_hold_cannot_be_replayed(served: Served, sternway: Run):
    """Refused, and it is not said to have been there once."""
    result = sternway("replay", "orders-9")
    assert result.exit_code == 1
    assert "the journal holds no release orders-9" in result.stderr
    assert "sternway history" in result.stderr


def test_watching_through_a_pipe_prints_a_line_for_each_thing_that_happens(
    served: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """The table once, then what changes, and it ends when the platform does."""
    results = []
    sent: list[str] = []

    async def watched(services: RunningPlatform) -> AsyncIterator[PlatformStatus]:
        async for found in watch(services):
            yield found
            release = found.services[0].release
            sent.append(release.phase if release else "none")

    async def until(*phases: str) -> None:
        async with asyncio.timeout(60):
            while not {*phases} & {*sent}:
                await asyncio.sleep(0.01)

    monkeypatch.setattr("sternway.web.api.watch", watched)
    watching = threading.Thread(
        target=lambda: results.append(CliRunner().invoke(app, ["-C", str(folder), "status", "--watch"]))
    )
    watching.start()

    async def happen() -> None:
        await until("none")
        await served.platform.commit("1.2.0", bad=0.5)
        await served.platform.run(3)
        await until("exposed", "withdrawn")
        await served.platform.until(Phase.ROLLED_BACK)
        await until("rolled-back")
        await served.api.close()

    served.call(happen())
    watching.join(60)
    (result,) = results
    words = " ".join(result.output.split())
    assert result.output.startswith("service")
    assert "git: commit 222222222: Orders 1.2.0" in words
    assert "orders-1: withdrawn" in words or "orders-1: step 1 of 2" in words
    assert "orders-1: rolled back; " in words


def test_no_platform_ends_with_3_and_the_way_out(folder: Path, sternway: Run):
    """Never started, or not running any more."""
    result = sternway("status")
    assert result.exit_code == 3
    assert "sternway up DIR" in result.stderr
    (folder / ".sternway").mkdir()
    for command in (("status",), ("promote", "orders"), ("down",), ("logs", "orders"), ("status", "--watch")):
        assert sternway(*command).exit_code == 3


def test_an_unknown_service_ends_with_1_and_the_names_that_there_are(served: Served, sternway: Run):
    """The same for every command that names one."""
    for command in (("status", "shop"), ("history", "shop"), ("promote", "shop"), ("logs", "shop")):
        result = sternway(*command)
        assert result.exit_code == 1
        assert "services: orders" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("promote",), ("status", "--colour"), ("explode",), ("logs", "a", "-n", "-1"), ("status", "-o", "xml")],
)
def test_what_cannot_be_understood_ends_with_2(sternway: Run, arguments: tuple[str, ...]):
    """Usage errors are no problems of the platform."""
    assert sternway(*arguments).exit_code == 2


def test_what_takes_too_long_ends_with_4(served: Served, sternway: Run, monkeypatch: pytest.MonkeyPatch):
    """A platform that is asked to stop and does not is told so, with a hint."""
    monkeypatch.setattr("sternway.cli.running.STOPPED_WITHIN_S", 0.2)
    result = sternway("down", "--keep")
    assert result.exit_code == 4
    assert "still stopping" in result.stderr
    assert "terminationGracePeriodSeconds" in result.stderr
    assert served.asked_to_stop == [True]
    assert TookTooLong("x").retry_in_s > 0


def test_a_second_platform_for_a_folder_is_refused(served: Served, folder: Path, sternway: Run):
    """Before anything is started."""
    result = sternway("up", str(folder))
    assert result.exit_code == 1
    assert "already" in result.stderr
    assert "sternway down" in result.stderr


def test_up_in_a_folder_that_is_not_there_makes_nothing(folder: Path, sternway: Run):
    """A mistyped name leaves no folder behind."""
    result = sternway("up", str(folder / "shpo"))
    assert result.exit_code == 1
    assert "there is no such folder" in result.stderr
    assert list(folder.iterdir()) == []


def test_the_report_tells_the_four_keys_and_how_they_are_computed(served: Served, sternway: Run):
    """A row for the service with each key, and a line for each on what it is."""
    served.call(served.platform.commit("1.1.0"))
    served.call(served.platform.until(Phase.PROMOTED))
    served.call(served.platform.commit("1.2.0", bad=0.5))
    served.call(served.platform.until(Phase.ROLLED_BACK))
    result = sternway("report")
    assert result.exit_code == 0
    head, row = result.output.splitlines()[2:4]
    assert [word for word in ("promoted", "a day", "lead time", "changes failed", "restore", "detect") if word in head]
    assert "1 of 2 (50 %)" in row
    for key in ("deployment frequency", "lead time for changes", "change failure rate", "time to restore service"):
        assert re.search(rf"^{key}  +\S", result.output, re.MULTILINE)
    found = json.loads(sternway("report", "--service", "orders", "--output", "json").stdout)
    assert (found["total"]["promoted"], found["total"]["failed"], found["known"]) == (1, 1, 2)
    assert found["total"]["lead_s"] > 0
    assert found["total"]["restore_s"] >= found["total"]["detect_s"] > 0


def test_the_report_says_when_there_is_nothing_to_report(served: Served, sternway: Run):
    """No release ever, or none in that time: a sentence and no table of noughts."""
    assert "the journal holds no release yet" in sternway("report").output
    served.call(served.platform.commit("1.2.0", bad=0.5))
    served.call(served.platform.until(Phase.ROLLED_BACK))
    served.call(served.platform.run(120))
    result = sternway("report", "--since", "1m")
    assert result.exit_code == 0
    assert "no release has ended since" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--since", "yesterday"), "--since: 'yesterday' is no duration (write for example"),
        (("--since", "400d"), "longer than a year"),
        (("--service", "nobody"), "services: orders"),
    ],
    ids=["no-duration", "too-long", "no-service"],
)
def test_a_report_that_was_asked_for_wrongly_says_what_to_write(
    served: Served, sternway: Run, words: tuple[str, ...], said: str
):
    """The option, what is wrong with it, and the fix."""
    result = sternway("report", *words)
    assert result.exit_code == 1
    assert said in " ".join(result.stderr.split())


def test_a_rollback_is_called_a_false_alarm(served: Served, sternway: Run):
    """By its release; it is in the report then. What Sternway did not roll back is refused, with what it was."""
    served.call(served.platform.commit("1.2.0", bad=0.5))
    served.call(served.platform.until(Phase.ROLLED_BACK))
    served.call(served.platform.commit("1.3.0"))
    served.call(served.platform.until(Phase.PROMOTED))
    result = sternway("release", "false-alarm", "orders-1", "--reason", "the database was down")
    assert (result.exit_code, result.output) == (0, "orders-1 is counted as a false alarm\n")
    assert json.loads(sternway("report", "-o", "json").stdout)["total"]["false_alarms"] == 1
    again = sternway("release", "false-alarm", "orders-1")
    assert (again.exit_code, "already" in again.stderr) == (1, True)
    promoted = sternway("release", "false-alarm", "orders-2")
    assert (promoted.exit_code, "orders-2 is no rollback by Sternway: promoted" in promoted.stderr) == (1, True)
    unknown = sternway("release", "false-alarm", "orders-9")
    assert (unknown.exit_code, "holds no release orders-9" in unknown.stderr) == (1, True)
    nameless = sternway("release", "false-alarm", "fraud")
    assert (nameless.exit_code, "there is no service fraud" in nameless.stderr) == (1, True)


def test_ones_own_rollback_is_no_false_alarm_of_sternways(served: Served, sternway: Run):
    """The rate that is promised is that of the judge."""
    served.call(served.platform.commit("1.1.0"))
    served.call(served.platform.run(4))
    assert sternway("abort", "orders").exit_code == 0
    served.call(served.platform.until(Phase.ROLLED_BACK))
    result = sternway("release", "false-alarm", "orders-1")
    assert (result.exit_code, "rolled back by a person" in result.stderr) == (1, True)


def test_an_address_for_metrics_that_is_none_is_refused_before_anything_starts(tmp_path: Path):
    """With the option's name and an example."""
    result = CliRunner().invoke(app, ["up", str(tmp_path), "--metrics", "9464"])
    assert result.exit_code == 1
    assert "--metrics: '9464' is no address to listen on (write for example `127.0.0.1:9095`)" in result.stderr
    assert not (tmp_path / ".sternway").exists()


@pytest.mark.parametrize("option", ["--prometheus", "--alertmanager"])
def test_a_place_that_is_no_address_is_refused_before_anything_starts(tmp_path: Path, option: str):
    """A mistyped `start` is not taken for the name of a server."""
    result = CliRunner().invoke(app, ["up", str(tmp_path), option, "strat"])
    assert result.exit_code == 1
    assert f"{option}: 'strat' is no address of an HTTP server" in result.stderr
    assert not (tmp_path / ".sternway").exists()


@pytest.mark.parametrize("detached", [(), ("--detach",)], ids=["foreground", "detached"])
def test_a_state_folder_that_cannot_be_made_is_told_with_the_way_out(tmp_path: Path, detached: tuple[str, ...]):
    """A file stands in its way, or the disk takes nothing: no traceback, and nothing is started."""
    (tmp_path / "taken").write_text("a file")
    result = CliRunner().invoke(app, ["up", str(tmp_path), "--state", str(tmp_path / "taken"), *detached])
    assert result.exit_code == 1
    assert f"{tmp_path / 'taken' / '.sternway'} cannot be written: Not a directory" in result.stderr
    assert "--state" in result.stderr
