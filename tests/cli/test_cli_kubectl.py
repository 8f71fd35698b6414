"""`kubectl sternway`: what it prints of the objects that stand in a cluster."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from sternway.cli import cluster_story, elsewhere, kubectl, kubectl_completion
from sternway.cli.app import app
from sternway.cli.session import Code
from sternway.errors import SternwayError
from sternway.kubernetes.access import Access
from sternway.kubernetes.api import Object
from sternway.kubernetes.credentials import Fixed
from sternway.kubernetes.errors import Denied, Unreachable
from sternway.kubernetes.resources import DEPLOYMENTS, GUARDS, RELEASES
from sternway.operator import people
from sternway.operator.asking import asked_of
from sternway.testing.kubernetes import FakeKubernetes
from sternway.web.faults import NotRunning


class Connected(FakeKubernetes):
    """The fake, opened as the client is."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Connected:
    """Give a cluster that the command line finds."""
    api = Connected(namespaces=("shop",))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(
        kubectl, "find_access", lambda **_: Access(server="http://here", credentials=Fixed(), namespace="shop")
    )
    monkeypatch.setattr(kubectl, "Client", lambda _: api)
    return api


def run(*arguments: str) -> Result:
    """Run the plugin in this process."""
    found = CliRunner().invoke(kubectl.app, list(arguments))
    assert found.exit_code == 0, found.output
    return found


def put(api: Connected, kind: Any, name: str, **parts: Any) -> Object:
    """Put an object there, with its status."""
    made = api.store.create(kind, {"metadata": {"name": name, "namespace": "shop"}, **parts})
    status = {"status": parts.get("status", {})}
    return api.store.patch(kind, name, status, namespace="shop", subresource="status") or made


def put_release(api: Connected, name: str, **said: object) -> None:
    """Put a Release of `orders` there, with its status."""
    spec = {"guard": "orders", "service": "orders", "candidate": {"id": "2", "image": "shop:2"}, "stable": {"id": "1"}}
    metadata = {"name": name, "namespace": "shop", "labels": {"sternway.dev/guard": "orders"}}
    api.store.create(RELEASES, {"metadata": metadata, "spec": spec})
    api.store.patch(RELEASES, name, {"status": said}, namespace="shop", subresource="status")


def condition(kind: str, status: str, message: str = "") -> dict[str, str]:
    """A condition as the operator writes it."""
    return {"type": kind, "status": status, "message": message, "reason": "Said"}


def test_status_names_the_evidence_and_warns_where_there_is_none(cluster: Connected):
    """A column, and below the table what to do; a log that may yet come is no warning."""
    blind = (condition("Ready", "True"), condition("Sighted", "False", "nothing counts; state a ratio"))
    perhaps = (condition("Ready", "True"), condition("Sighted", "Unknown", "not heard yet"))
    for name, evidence, conditions in (("orders", "none", blind), ("stock", "access log", perhaps)):
        status = {"phase": "idle", "evidence": evidence, "message": "1 serves", "conditions": list(conditions)}
        put(cluster, GUARDS, name, spec={"service": name}, status=status)
    printed = run("status").output
    assert "EVIDENCE" in printed
    assert [line.split()[3:] for line in printed.splitlines() if line.startswith("shop ")] == [
        ["none", "True", "1", "serves"],
        ["access", "log", "True", "1", "serves"],
    ]
    assert "shop/orders: nothing counts; state a ratio" in printed
    assert "not heard yet" not in printed
    found = json.loads(run("status", "orders", "-o", "json").output)
    assert found[0]["evidence"] == "none"


def test_status_tells_which_gate_a_release_waits_for(cluster: Connected):
    """Of the latest release alone, while it is under way."""
    status = {"phase": "starting", "release": "orders-2", "conditions": []}
    put(cluster, GUARDS, "orders", spec={"service": "orders"}, status=status)
    gate = {"name": "smoke", "point": "before any user", "state": "running", "since": "2026-01-01T00:00:00Z"}
    for number, more in ((1, {}), (2, {"message": "no node takes its pod"})):
        spec = {"guard": "orders", "service": "orders", "candidate": {"id": "2"}, "stable": {"id": "1"}}
        gates = [{**gate, **more}, {**gate, "name": "late", "state": "to come"}]
        metadata = {"name": f"orders-{number}", "namespace": "shop", "labels": {"sternway.dev/guard": "orders"}}
        cluster.store.create(RELEASES, {"metadata": metadata, "spec": spec})
        said = {"status": {"phase": "starting", "gates": gates}}
        cluster.store.patch(RELEASES, f"orders-{number}", said, namespace="shop", subresource="status")
    said = "shop/orders: gate smoke (before any user) running since 2026-01-01T00:00:00Z: no node takes its pod"
    for arguments in (("status",), ("status", "orders")):
        told = [line for line in run(*arguments).output.splitlines() if "gate" in line]
        assert told == [said]
    over = {"status": {"endedAt": "2026-01-01T00:00:00Z"}}
    cluster.store.patch(RELEASES, "orders-2", over, namespace="shop", subresource="status")
    assert "gate" not in run("status").output


ROLLED_BACK = {
    "phase": "rolled-back",
    "message": "errors: 12 of 40 against 1 of 900",
    "requests": 400,
    "hurt": 12,
    "withdrawals": 1,
    "startedAt": "2026-01-01T10:00:00Z",
    "detectedAt": "2026-01-01T10:00:05Z",
    "endedAt": "2026-01-01T10:00:20Z",
    "endedBy": "engine",
    "detectSeconds": 1.5,
    "restoreSeconds": 2.5,
    "blindSeconds": 0.0,
    "undone": "the template is as it was before",
}


def ago(minutes: float) -> str:
    """A time of a status."""
    return (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def delivered(cluster: Connected) -> Connected:
    """Give a cluster with a Guard that has lost its first two Releases, and one from before there were figures."""
    put(cluster, GUARDS, "orders", spec={"service": "orders"}, status={"release": "orders-5", "conditions": []})
    old = {name: value for name, value in ROLLED_BACK.items() if not name.endswith("Seconds") and name != "endedBy"}
    promoted = {
        "phase": "promoted",
        "requests": 600,
        "hurt": 0,
        "withdrawals": 0,
        "endedBy": "engine",
        "blindSeconds": 0,
    }
    put_release(cluster, "orders-3", **{**old, "startedAt": ago(90), "endedAt": ago(80)})
    put_release(cluster, "orders-4", **{**ROLLED_BACK, "startedAt": ago(60), "endedAt": ago(50)})
    put_release(cluster, "orders-5", **promoted, startedAt=ago(40), endedAt=ago(30))
    return cluster


def test_report_is_made_from_releases_and_says_what_it_does_not_know(delivered: Connected):
    """The keys of the journal's report; what was written too early, and what is gone, by name and number."""
    found = json.loads(run("report", "--since", "2h", "-o", "json").output)
    total = found["total"]
    assert (total["promoted"], total["rolled_back"], total["failure_rate_percent"]) == (1, 1, 50.0)
    assert (total["detect_s"], total["restore_s"], total["requests"], total["hurt"]) == (1.5, 2.5, 1000, 12)
    assert [one["service"] for one in found["services"]] == ["orders.shop"]
    assert found["left_out"] == ["orders.shop-3"]
    assert [(one["service"], one["releases"]) for one in found["gone"]] == [("orders.shop", 2)]
    assert found["journal"] == (
        "kubectl exec -n sternway-system deploy/sternway -- sternway -C /var/lib/sternway report --since 2h"
    )
    printed = run("report", "--service", "orders").output
    assert "orders.shop: 2 earlier Releases gone" in printed
    assert "orders.shop-3" in printed
    assert "report --since 30d --service orders.shop" in printed


def test_report_says_nothing_of_what_is_gone_where_all_of_the_time_stands_there(delivered: Connected):
    """What ended before is nobody's concern; and a cluster without a release says so."""
    assert json.loads(run("report", "--since", "1h", "-o", "json").output)["gone"] == []
    for name in ("orders-3", "orders-4", "orders-5"):
        delivered.store.delete(RELEASES, name, "shop")
    assert "the cluster holds no release yet" in run("report").output


def test_a_release_is_told_from_its_status_and_the_journal_is_named(delivered: Connected):
    """In sentences; as JSON it is what stands there. Where Sternway runs is looked up."""
    labels = {"app.kubernetes.io/name": "sternway"}
    selector = {"matchLabels": labels}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    metadata = {"name": "sternway", "namespace": "shop", "labels": labels}
    delivered.store.create(DEPLOYMENTS, {"metadata": metadata, "spec": {"selector": selector, "template": template}})
    printed = " ".join(run("release", "show", "orders-4").output.split())
    for words in (
        "orders-4 was to replace 1 by 2 (shop:2)",
        "withdrawn on suspicion once",
        "1.5 s after harm began",
        "it was taken back by Sternway: errors: 12 of 40 against 1 of 900.",
        "12 of 400 requests to the candidate (3 %) were answered badly.",
        "All traffic was back 2.5 s after harm began. The template is as it was before.",
        "kubectl exec -n shop deploy/sternway -- sternway -C /var/lib/sternway release show orders.shop-4",
    ):
        assert words in printed
    found = json.loads(run("release", "show", "orders-5", "--context", "my shop", "--output", "json").output)
    assert found["journal"].startswith("kubectl exec --context 'my shop' -n shop deploy/sternway -- ")
    assert (found["name"], found["phase"], found["service"]) == ("orders-5", "promoted", "orders")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"phase": "exposed", "weight": 10, "endedAt": None}, "Exposed, 10 % of the traffic"),
        ({"phase": "asking", "endedAt": None}, "`kubectl sternway resume orders -n shop` exposes it again"),
        ({"afterPromotion": True, "endedBy": "person"}, "takes 2 (shop:2) back, after its promotion"),
        ({"falseAlarm": True}, "it is counted as a false alarm"),
        ({"phase": "promoted"}, "`kubectl sternway rollback orders -n shop` takes it back"),
        ({"revision": "0123456789ab"}, "Argo CD or Flux brought it with commit 012345678."),
        ({"blindSeconds": 65.0}, "For 1 min 5 s something was out of sight"),
        (
            {"gates": [{"name": "smoke", "point": "before any user", "state": "passed"}]},
            "smoke (before any user): passed.",
        ),
        ({"requests": 0, "hurt": 0}, "No request of a caller is known to have reached the candidate."),
        ({"reverted": "fedcba9876"}, "Commit fedcba987 takes it back in Git."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_stands_in_a_status_is_told(said: Object, words: str):
    """Each part of it, and nothing that is not there."""
    status = {name: value for name, value in {**ROLLED_BACK, **said}.items() if value is not None}
    spec = {"service": "orders", "candidate": {"id": "2", "image": "shop:2"}, "stable": {"id": "1"}}
    release = {"metadata": {"name": "orders-4", "namespace": "shop"}, "spec": spec, "status": status}
    assert words in " ".join(text for _, text in cluster_story.tell(release, None))


def test_a_version_that_is_held_can_be_tried_again():
    """As long as the Guard says so, of its last release."""
    spec = {"service": "orders", "candidate": {"id": "2"}, "stable": {"id": "1"}}
    release = {"metadata": {"name": "orders-4", "namespace": "shop"}, "spec": spec, "status": ROLLED_BACK}
    held = {"status": {"release": "orders-4", "conditions": [{"type": "Degraded", "reason": "RolledBack"}]}}
    assert "`kubectl sternway retry orders -n shop`" in dict(cluster_story.tell(release, held))["Next"]
    held["status"]["release"] = "orders-5"
    assert "Next" not in dict(cluster_story.tell(release, held))


def test_a_false_alarm_is_said_of_a_rollback_by_sternway(delivered: Connected, monkeypatch: pytest.MonkeyPatch):
    """The command on its Guard names the release as the journal does; of any other release it is refused."""
    write = delivered.patch

    async def write_and_answer(*arguments: Any, **more: Any) -> Object | None:
        written = await write(*arguments, **more)
        asked = asked_of(written or {})
        assert asked is not None
        said = {"id": asked.id, "accepted": True, "message": f"{asked.verb}: {asked.to}"}
        patch = {"status": {"lastCommand": said}}
        return delivered.store.patch(GUARDS, "orders", patch, namespace="shop", subresource="status")

    monkeypatch.setattr(delivered, "patch", write_and_answer)
    assert "false-alarm: orders.shop-4" in run("release", "false-alarm", "orders-4", "-r", "the database").output
    assert "orders-5 is no rollback by Sternway: promoted" in refused("release", "false-alarm", "orders-5")
    person = {"status": {"endedBy": "person"}}
    delivered.store.patch(RELEASES, "orders-4", person, namespace="shop", subresource="status")
    assert "rolled back by a person" in refused("release", "false-alarm", "orders-4")


def refused(*arguments: str) -> str:
    """Run the plugin in this process; it has to fail on purpose. Gives what it says."""
    found = CliRunner().invoke(kubectl.app, list(arguments))
    assert isinstance(found.exception, SternwayError), found.output
    return str(found.exception)


def test_check_says_what_is_wrong_and_how_soon_a_fault_is_found(cluster: Connected):
    """What the model and the operator say of each Guard, and the forecast of `sternway check`; a problem has its code."""
    good = {"conditions": [condition("Ready", "True", "1 serves"), condition("Sighted", "False", "nothing counts")]}
    put(cluster, GUARDS, "orders", spec={"service": "orders"}, status=good)
    found = json.loads(run("check", "orders", "--rps", "50", "-o", "json").output)
    assert found["guards"] == [{"guard": "shop/orders", "problems": [], "notes": ["1 serves", "nothing counts"]}]
    (forecast,) = found["forecasts"]
    assert (forecast["service"], forecast["rate_per_s"]) == ("orders.shop", 50)
    assert all(fault["first_step"] is not None for fault in forecast["faults"] if not fault["tolerated"])
    assert "state the traffic with --rps" in run("check").output
    two = {"service": "stock", "strategy": {"canary": {}, "blueGreen": {}}}
    put(cluster, GUARDS, "stock", spec=two)
    put(cluster, GUARDS, "new", spec={"service": "new"})
    failed = CliRunner().invoke(kubectl.app, ["check", "-o", "json"])
    assert failed.exit_code == Code.PROBLEM
    problems = {one["guard"]: one["problems"] for one in json.loads(failed.output)["guards"]}
    assert problems["shop/orders"] == []
    assert "Guard shop/stock: spec.strategy" in problems["shop/stock"][0]
    assert "has not looked at it" in problems["shop/new"][0]


def test_what_is_not_there_is_said_with_what_to_do(cluster: Connected):
    """No such Guard, no such Release."""
    put(cluster, GUARDS, "orders", spec={"service": "orders"})
    assert "no Guard in namespace shop is for a service order\n" in refused("history", "order")
    assert "there is no Release orders-9 in namespace shop\n  `kubectl sternway history" in refused(
        "release", "show", "orders-9"
    )


@pytest.mark.parametrize("verb", sorted(elsewhere.INSTEAD))
def test_a_verb_of_one_machine_names_what_to_do_instead(verb: str):
    """One sentence, whatever follows the verb."""
    why, instead = elsewhere.INSTEAD[verb]
    assert refused(verb, ".", "--detach", "--help") == f"{why}\n  {instead}"


def test_every_verb_of_the_command_line_is_one_here_or_says_why_not():
    """None is forgotten when a verb is added."""
    ours = set(get_command(kubectl.app).commands)
    assert set(get_command(app).commands) <= ours


def test_the_table_of_the_docs_names_every_verb():
    """Those that are here and those that are not."""
    page = (Path(__file__).parents[2] / "docs/kubernetes/commands.md").read_text()
    table = page.partition("## Verb by verb\n")[2].partition("\n\nTyped after")[0]
    missing = [verb for verb in get_command(app).commands if f"`{verb}" not in table]
    assert missing == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unreachable("no answer"), Code.NOT_RUNNING),
        (people.Unanswered("nobody answers"), Code.TIMED_OUT),
        (Denied("you may not", hint="a Role must allow it"), Code.PROBLEM),
        (NotRunning("not installed"), Code.NOT_RUNNING),
    ],
    ids=["unreachable", "unanswered", "denied", "not installed"],
)
def test_a_script_knows_by_the_code_what_is_wrong(
    error: SternwayError, code: Code, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """And a person by the sentence."""

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(kubectl, "find_access", fail)
    monkeypatch.setattr(sys, "argv", ["kubectl-sternway", "status"])
    with pytest.raises(SystemExit) as left:
        kubectl.main()
    assert left.value.code == code
    assert error.message in capsys.readouterr().err


def test_a_cluster_without_sternway_says_how_it_is_installed(cluster: Connected, monkeypatch: pytest.MonkeyPatch):
    """Whatever the first question was."""
    bare = Connected(kinds=(), namespaces=("shop",))
    bare.store._served.clear()
    monkeypatch.setattr(kubectl, "Client", lambda _: bare)
    for arguments in (("status",), ("report",), ("release", "show", "orders-1"), ("pause", "orders")):
        said = refused(*arguments)
        assert "Sternway is not installed there\n  `sternway install --print" in said


def test_a_kubeconfig_that_is_named_is_the_one_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As kubectl's own option, before KUBECONFIG."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "other"))
    assert str(tmp_path / "mine") in refused("status", "--kubeconfig", str(tmp_path / "mine"))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("ro",), ["rollback"]),
        (("release", ""), ["false-alarm", "show"]),
        (("history", "or"), ["orders"]),
        (("rollback", "-n", "shop", ""), ["orders"]),
        (("release", "show", "orders-4"), ["orders-4"]),
        (("u",), []),
    ],
    ids=" ".join,
)
def test_the_shell_is_offered_verbs_and_names(
    words: tuple[str, ...],
    offered: list[str],
    delivered: Connected,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """By the convention of kubectl: a line each, then what the shell shall do. What is no verb here is not offered."""
    here = Access(server="http://here", credentials=Fixed(), namespace="shop")
    monkeypatch.setattr(kubectl_completion, "find_access", lambda **_: here)
    monkeypatch.setattr(kubectl_completion, "Client", lambda _: delivered)
    monkeypatch.setattr(kubectl_completion, "PATIENCE_S", 60.0)
    for name in ("_KUBECTL_STERNWAY_COMPLETE", "COMP_WORDS", "COMP_CWORD"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-sternway", *words])
    kubectl_completion.main()
    *found, last = capsys.readouterr().out.splitlines()
    assert (sorted(found), last) == (offered, ":4")


def test_completion_keeps_quiet_where_no_cluster_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    """A shell wants names or nothing."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    for name in ("_KUBECTL_STERNWAY_COMPLETE", "COMP_WORDS", "COMP_CWORD"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-sternway", "history", ""])
    kubectl_completion.main()
    assert capsys.readouterr().out.split() == [":4"]
