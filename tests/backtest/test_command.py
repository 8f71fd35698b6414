"""`sternway backtest` as a person types it: JSON, text, exit codes, Guards in files and folders."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from recordings import answers, steady
from typer.testing import CliRunner, Result

from sternway.cli.app import app

GUARD = """\
apiVersion: sternway.dev/v1alpha1
kind: Guard
metadata:
  name: {name}
spec:
  service: {name}
  strategy:
    canary:
      steps:
      - percent: 10
        minRequests: 100
  withdraw:
    for: 5s
  judge:
    warmUp: 0s
"""
GOLDEN = Path(__file__).parent / "golden" / "releases.out.json"
EXAMPLE = Path(__file__).parents[2] / "examples" / "my-service"
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give the command, in a folder with a recording of three releases and a Guard."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    told = [
        *steady(range(400), bad=lambda _: 0, release="orders-1"),
        *steady(range(400), bad=lambda _: 20, release="orders-2"),
        *steady(range(3), bad=lambda _: 0, release="orders-3"),
    ]
    Path("history.jsonl").write_text("".join(json.dumps(one) + "\n" for one in told))
    Path("guard.yaml").write_text(GUARD.format(name="orders"))

    def typed(*arguments: str, text: str | None = None) -> Result:
        return CliRunner().invoke(app, ["backtest", *arguments], input=text)

    return typed


def test_the_json_has_the_agreed_shape(run: Run):
    """One object a release, the peers below `compare`: compared with what was agreed, byte by byte."""
    result = run("history.jsonl", "--guard", "guard.yaml", "--compare", "flagger,argo,kayenta", "--output", "json")
    assert result.exit_code == 0
    assert result.stdout == GOLDEN.read_text()


def test_without_compare_there_is_no_compare(run: Run):
    """Only what was asked for."""
    found = json.loads(run("history.jsonl", "-g", "guard.yaml", "-o", "json").stdout)
    assert [list(one) for one in found] == [
        ["release", "verdict", "decidedAt", "withdrawals", "hurt", "requests", "reason"]
    ] * 3


def test_the_text_is_a_table_and_a_line_for_each_rule(run: Run):
    """What was condemned, how soon in the median, and what it cost."""
    result = run("history.jsonl", "--guard", "guard.yaml", "--compare", "flagger")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["orders-2", "harmful", "13.0", "s", "2", "60", "harmful", "after", "6", "min", "7200"] in rows
    assert "sternway: 1 of 3 condemned, median after 13.0 s; 1 healthy, 1 undecided; 60 users hurt" in result.stdout
    assert "flagger: 1 of 3 condemned, median after 6 min; 1 healthy, 1 undecided; 7,200 users hurt" in result.stdout


def test_a_bad_line_prints_no_result(run: Run):
    """Exit code 1, the line on standard error, nothing on standard output."""
    with Path("history.jsonl").open("a") as file:
        file.write('{"release": "orders-3", "t": 9, "role": "stable", "status": "ok", "duration_ms": 1}\n')
    for output in ("json", "text"):
        result = run("history.jsonl", "--guard", "guard.yaml", "--output", output)
        assert (result.exit_code, result.stdout) == (1, "")
        assert 'history.jsonl:1607: status: "ok" is no number' in result.stderr


def test_standard_input_and_several_files_are_one_stream(run: Run):
    """`-` is read like a file; a release may go on in the next one."""
    text = Path("history.jsonl").read_text().splitlines(keepends=True)
    Path("first.jsonl").write_text("".join(text[:900]))
    whole = run("history.jsonl", "-g", "guard.yaml", "-o", "json").stdout
    assert run("first.jsonl", "-", "-g", "guard.yaml", "-o", "json", text="".join(text[900:])).stdout == whole
    assert "stdin:1: is no JSON" in run("-", "-g", "guard.yaml", text="nonsense\n").stderr


def test_the_guard_may_stand_in_a_folder_or_among_others(run: Run):
    """A folder's only service needs no name; of several Guards one is chosen; a wrong name is helped."""
    assert run("history.jsonl", "--guard", str(EXAMPLE)).exit_code == 0
    Path("guards.yaml").write_text(GUARD.format(name="orders") + "---\n" + GUARD.format(name="stock"))
    assert run("history.jsonl", "-g", "guards.yaml", "--service", "stock").exit_code == 0
    assert "choose with --service: orders, stock" in run("history.jsonl", "-g", "guards.yaml").stderr
    assert "did you mean `orders`?" in run("history.jsonl", "-g", "guards.yaml", "--service", "order").stderr


@pytest.mark.parametrize(
    ("guard", "said"),
    [
        ("none.yaml", "none.yaml: cannot be read: No such file or directory"),
        ("history.jsonl", "history.jsonl"),
        ("empty.yaml", "empty.yaml: holds no Guard"),
        ("wrong.yaml", "wrong.yaml:5: spec.withdrw: "),
    ],
)
def test_a_guard_that_cannot_be_read_is_refused(run: Run, guard: str, said: str):
    """File, line and field, as everywhere; exit code 1."""
    Path("empty.yaml").write_text("")
    Path("wrong.yaml").write_text(
        "apiVersion: sternway.dev/v1alpha1\nkind: Guard\nmetadata: {name: a}\nspec: {service: a,\n  withdrw: {for: 5s}}\n"
    )
    result = run("history.jsonl", "--guard", guard)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr


def test_a_recording_that_is_not_there_is_refused(run: Run):
    """Exit code 1 for a missing file, 2 for a command line that says too little."""
    result = run("nothing.jsonl", "-g", "guard.yaml")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "nothing.jsonl: cannot be read" in result.stderr
    assert run("history.jsonl").exit_code == 2


def test_an_empty_recording_holds_no_release(run: Run):
    """Nothing in, nothing out."""
    assert run("-", "-g", "guard.yaml", "-o", "json", text="").stdout == "[]\n"
    assert run("-", "-g", "guard.yaml", text="").stdout == "the recording holds no release\n"


def test_thousands_of_outcomes_a_second_are_replayed(run: Run):
    """A recording of 20 releases goes through the command whole: the totals are those of the lines."""
    told = [one for n in range(20) for one in answers(n, release=f"r{n}", for_s=20.0)]
    text = "".join(json.dumps(one) + "\n" for one in told)
    found = json.loads(run("-", "-g", "guard.yaml", "-o", "json", text=text).stdout)
    assert sum(one["requests"] for one in found if not one["withdrawals"]) == sum(
        one["role"] == "candidate" and found[int(one["release"][1:])]["withdrawals"] == 0 for one in told
    )
