"""The command line as a process of its own: help, exit codes, completion, check, and the page that documents it."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running_platform import DEPLOYMENT, FILES, Served
from typer.testing import CliRunner

from sternway import __version__
from sternway.cli.app import app
from sternway.cli.reference import reference

SOURCE = Path(__file__).parents[2]
COMMANDS = [
    *("up", "down", "status", "history", "services", "logs", "replay", "check", "promote", "pause", "resume", "abort"),
    *("retry", "rollback", "set image", "release show"),
]


def run(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `sternway` for real."""
    environment = {**os.environ, **variables}
    environment.pop("STERNWAY_DIR", None)
    command = [sys.executable, "-m", "sternway.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=100, check=False)


SWALLOWED = """\
import os, signal, sys
class Swallowing:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[0]:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000): pass
            except KeyboardInterrupt:
                pass
sys.meta_path.insert(0, Swallowing())
from sternway.cli import main
main()
"""


@pytest.mark.parametrize(
    ("module", "words"),
    [("sternway.cli.app", "status"), ("sternway.bootstrap", "up ."), ("sternway.demo.run", "demo --help")],
)
def test_ctrl_c_in_the_middle_of_an_import_ends_the_command(tmp_path: Path, module: str, words: str):
    """Also where the code that is imported swallows KeyboardInterrupt: nothing goes on, and there is no traceback."""
    program = SWALLOWED.replace("sys.argv[0]", repr(module))
    done = subprocess.run(
        [sys.executable, "-c", program, *words.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_help_lists_every_command_and_the_exit_codes():
    """A newcomer sees all of it on one page."""
    result = run("--help")
    assert result.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command.split()[0]} " in result.stdout
    assert "3  no platform is running here" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str):
    """The example names the command itself."""
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    _, found, examples = result.output.partition("Examples:")
    assert found
    assert f"sternway {command}" in examples


def test_help_and_version_import_nothing_heavy():
    """What they import is what they cost: no rich, no pydantic, no aiohttp; version not even typer."""
    code = (
        "import sys; sys.argv = ['sternway', {!r}]\n"
        "from sternway.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('rich', 'pydantic', 'aiohttp', 'asyncio', 'sqlalchemy', 'grpc') if m in sys.modules],"
        " 'typer' in sys.modules)"
    )
    for argument, typer_is_there in (("--help", True), ("version", False)):
        result = subprocess.run(
            [sys.executable, "-c", code.format(argument)], capture_output=True, text=True, check=True, timeout=100
        )
        assert result.stdout.splitlines()[-1] == f"[] {typer_is_there}"


def test_version_is_printed():
    """Both ways."""
    for way in ("version", "--version"):
        assert run(way).stdout == f"sternway {__version__}\n"


@pytest.mark.parametrize(("arguments", "code"), [(("status",), 3), (("explode",), 2), (("check", "nowhere"), 1)])
def test_exit_codes_are_those_of_the_page(tmp_path: Path, arguments: tuple[str, ...], code: int):
    """As a process ends, without a traceback."""
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == code
    assert result.stderr
    assert "Traceback" not in result.stderr


def test_output_through_a_pipe_has_no_colours(served: Served, folder: Path):
    """Escape sequences are for terminals."""
    result = run("-C", str(folder), "status")
    assert result.returncode == 0
    assert "orders" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("command", [("status",), ("status", "-o", "json"), ("check", "repository")])
def test_an_output_without_room_is_told_in_a_line(served: Served, folder: Path, command: tuple[str, ...]):
    """No traceback, and no success: what was printed is not whole."""
    write(folder / "repository", dict(FILES))
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sternway.cli", *command],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("the output: cannot be written: No space left on device")


def complete(folder: Path, words: str) -> list[str]:
    """Ask for completion as bash does."""
    variables = {
        "_STERNWAY_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    return run(cwd=folder, **variables).stdout.split()


def test_names_are_completed_from_the_running_platform(served: Served, folder: Path):
    """Services, releases and Deployments."""
    served.call(served.platform.commit("1.1.0"))
    served.call(served.platform.run(2))
    assert complete(folder, "sternway promote or") == ["orders"]
    assert complete(folder, "sternway release show ") == ["orders-1"]
    assert complete(folder, "sternway set image dep") == ["deployment/orders"]


def test_completion_is_silent_where_no_platform_runs(tmp_path: Path):
    """A shell must not show errors in the middle of a line."""
    variables = {"_STERNWAY_COMPLETE": "complete_bash", "COMP_WORDS": "sternway promote ", "COMP_CWORD": "2"}
    (tmp_path / ".sternway").mkdir()
    result = run(cwd=tmp_path, **variables)
    assert (result.stdout.strip(), result.stderr) == ("", "")


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write manifests."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_check_explains_what_would_happen(tmp_path: Path):
    """In plain sentences, from the files as they stand, without a repository."""
    result = CliRunner().invoke(app, ["check", str(write(tmp_path, FILES))])
    assert result.exit_code == 0
    assert "orders" in result.stdout
    assert "at most 5 requests/s" in result.stdout
    found = json.loads(CliRunner().invoke(app, ["check", str(tmp_path), "-o", "json"]).stdout)
    assert found["ok"] is True
    assert found["explanation"] == result.stdout.splitlines()[:-1]  # the last line says how to learn more


def test_check_notes_what_cannot_start_on_this_machine(tmp_path: Path):
    """A program that is not installed, or a folder that is not there: a note, because another machine may have it."""
    images = "images:\n  shop/orders: {command: 'no-such-program --port {port}'}\n"
    write(tmp_path, {**FILES, "images.yaml": images})
    result = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert result.exit_code == 0
    assert "note: orders cannot start on this machine: command not found: no-such-program" in result.stdout
    write(tmp_path, FILES)
    assert "cannot start" not in CliRunner().invoke(app, ["check", str(tmp_path)]).stdout


def test_check_prints_every_problem_with_its_place_and_fix(tmp_path: Path):
    """file:line: field: message (fix); and 1. Git's and Sternway's own folders are not looked at."""
    broken = DEPLOYMENT.replace("replicas: 2", "replcas: 2")
    files = {
        **FILES,
        "deploy/orders.yml": broken,
        "images.yaml": "images: [",
        ".git/x.yaml": "[",
        ".sternway/y.yaml": "[",
    }
    files.pop("orders.yaml")
    result = CliRunner().invoke(app, ["check", str(write(tmp_path, files))])
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert any(line.startswith("deploy/orders.yml:5: spec.replcas: ") and "`replicas`" in line for line in lines)
    assert any(line.startswith("images.yaml:") for line in lines)
    found = json.loads(CliRunner().invoke(app, ["check", str(tmp_path), "--output", "json"]).stdout)
    assert found["ok"] is False
    assert {problem["file"] for problem in found["problems"]} >= {"deploy/orders.yml", "images.yaml"}


@pytest.mark.parametrize(
    ("files", "said"),
    [({}, "holds no *.yaml"), ({"a.yaml": "ä"}, "UTF-8")],
    ids=["an empty folder", "another encoding"],
)
def test_check_says_what_it_cannot_read(tmp_path: Path, files: dict[str, str], said: str):
    """One line, no traceback."""
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    result = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert result.exit_code == 1
    assert said in result.stderr


def test_the_reference_page_is_what_the_commands_say():
    """Write it anew with `python -m sternway.cli.reference > docs/reference/cli.md`."""
    assert (SOURCE / "docs" / "reference" / "cli.md").read_text() == reference()


def test_a_terminal_shows_the_status_live_until_ctrl_c(served: Served, folder: Path):
    """The table is drawn again in place as things change; Ctrl-C ends it with 130 and no traceback."""
    ours, theirs = pty.openpty()
    # Where the tests run in the background of a shell, Ctrl-C is ignored, and every child inherits that.
    heed = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from sternway.cli import main; main()"
    )
    command = (sys.executable, "-c", heed, "-C", str(folder), "status", "--watch")
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        text = read_until(ours, "at rest")
        served.call(served.platform.commit("1.1.0"))
        served.call(served.platform.run(3))
        text += read_until(ours, "step 1 of 2")
        process.send_signal(signal.SIGINT)
        text += read_until(ours, None)
        assert process.wait(60) == 130
    os.close(ours)
    assert "\x1b[" in text
    assert "Traceback" not in text


def read_until(terminal: int, wanted: str | None) -> str:
    """Read what a program writes to its terminal until a text was seen (None: until its end)."""
    text = ""
    while wanted is None or wanted not in text:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, f"{wanted} was not shown in: {text}"
        try:
            data = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
        if not data:
            break
        text += data.decode(errors="replace")
    return text


def test_check_foresees_how_soon_a_fault_is_found(tmp_path: Path):
    """At a stated traffic: requests and time for each size of fault, what is missed, and the blind time; also as JSON."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    result = CliRunner().invoke(app, ["check", str(tmp_path), "--rps", "50"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "how soon a fault is found, at 50 requests/s as stated (errors of stable: 0.1 % assumed)" in result.stdout
    for words in ("0.5 % errors, first step", "total failure, on the way up", "blind time: "):
        assert words in result.stdout
    (found,) = json.loads(CliRunner().invoke(app, ["check", str(tmp_path), "--rps", "50", "-o", "json"]).stdout)[
        "forecasts"
    ]
    assert (found["service"], found["rate_per_s"], found["assumed"]) == ("orders", 50.0, True)
    assert [one["error"] for one in found["faults"]] == [0.005, 0.01, 0.05, 1.0]
    assert found["faults"][3]["ramp"]["withdrawn"] == 1.0
