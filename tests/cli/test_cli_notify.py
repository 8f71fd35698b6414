"""`sternway notify`: who is told, whether each address works, and nothing of an address on the terminal."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from sternway.cli.app import app

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # Apprise's
SECRET = "s3cr3tmarker"


class Server(BaseHTTPRequestHandler):
    """Takes messages."""

    def do_POST(self):
        """Take one."""
        self.server.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """Give a server that takes messages."""
    made = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    made.taken = []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def notify(folder: Path, *arguments: str) -> Result:
    """Run the command on a folder."""
    return CliRunner().invoke(app, ["notify", str(folder), *arguments])


def written(folder: Path, server: ThreadingHTTPServer | None = None, **more: object) -> None:
    """Write who is told: a web server that takes messages, and an address that is not there."""
    port = server.server_port if server else 9
    (folder / "web.url").write_text(f"json://ada:{SECRET}@127.0.0.1:{port}/{SECRET}")
    told = [{"urlFile": "web.url", "when": ["rolled-back"], "services": ["orders*"]}, {"urlFile": "web.url"}]
    (folder / "monitoring.yaml").write_text(yaml.safe_dump({"notifications": told, **more}))


def test_it_shows_who_is_told_of_what_and_sends_nothing(tmp_path, server):
    """Each address by its file and its kind; each rule; where alerts are kept."""
    written(tmp_path, server, alertmanager="http://127.0.0.1:9093")
    shown = notify(tmp_path)
    assert shown.exit_code == 0
    assert shown.output.splitlines() == [
        "alerts are kept at http://127.0.0.1:9093",
        "web.url: JSON: its address can be read",
        "  rolled-back of orders*",
        "  rolled-back, held, blind, failed, shared of *",
    ]
    assert server.taken == []


def test_a_test_message_goes_to_each_address_once(tmp_path, server):
    """One file that two rules name gets one message, which says what it is."""
    written(tmp_path, server)
    shown = notify(tmp_path, "--test")
    assert shown.exit_code == 0
    assert "web.url: JSON: a test message was sent" in shown.output
    (taken,) = server.taken
    assert taken["title"] == "a test message of Sternway"


def test_what_does_not_work_is_said_and_the_exit_code_is_1(tmp_path, server):
    """The others are tried all the same; as JSON, each with its hint."""
    more = [{"urlFile": "web.url"}, {"urlFile": "gone.url"}]
    written(tmp_path, server, notifications=more)
    shown = notify(tmp_path, "--test", "--output", "json")
    assert shown.exit_code == 1
    found = json.loads(shown.output)
    assert [one["ok"] for one in found["notifications"]] == [True, False]
    assert "gone.url is not there" in found["notifications"][1]["found"]
    assert (found["ok"], found["sent"]) == (False, True)
    assert len(server.taken) == 1
    assert SECRET not in shown.output


def test_an_alertmanager_is_asked_whether_it_takes_alerts_and_gets_none(tmp_path, server):
    """Its path and its way in are tried by an empty post, which wakes nobody; one that is not there is said."""
    written(tmp_path, notifications=[], alertmanager=f"http://127.0.0.1:{server.server_port}")
    shown = notify(tmp_path, "--test")
    assert shown.exit_code == 0
    assert shown.output.strip() == f"http://127.0.0.1:{server.server_port}: Alertmanager takes alerts"
    assert server.taken == [[]]
    written(tmp_path, notifications=[], alertmanager="http://127.0.0.1:9")
    shown = notify(tmp_path, "--test", "--output", "json")
    assert shown.exit_code == 1
    assert "cannot be asked" in json.loads(shown.output)["alerts"][0]["found"]


def test_nothing_of_an_address_is_shown_when_it_fails(tmp_path):
    """Nobody listens there: the kind and the reason are told, the address is not."""
    written(tmp_path)
    shown = notify(tmp_path, "--test")
    assert shown.exit_code == 1
    assert "JSON did not take the message: it could not be reached" in shown.output
    assert SECRET not in shown.output


def test_nobody_is_told_where_nobody_is_named(tmp_path):
    """It says what to write where."""
    (tmp_path / "monitoring.yaml").write_text("{}")
    shown = notify(tmp_path)
    assert shown.exit_code == 0
    assert "nobody is told: monitoring.yaml names no `alertmanager` and no `notifications`" in shown.output
