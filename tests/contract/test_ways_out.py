"""What every AlertSink and Messenger keeps, and their fakes: taken, or a known error that holds nothing of the address."""

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sternway.domain.monitoring import Endpoint
from sternway.domain.notices import Message, StandingAlert
from sternway.errors import NotTold, SignalUnavailable
from sternway.notify.alertmanager import AlertmanagerSink
from sternway.notify.apprise import AppriseMessenger
from sternway.ports import AlertSink, Messenger
from sternway.testing.fakes import FakeMessenger, FakeSink

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # Apprise's
MESSAGE = Message(title="orders: rolled back", body="Next: mend it.", severity="critical")
ALERT = StandingAlert(labels=(("alertname", "SternwayHeld"),), annotations=(), starts_s=1.0, ends_s=2.0)


class Server(BaseHTTPRequestHandler):
    """Takes what is posted while `server.takes`."""

    def do_POST(self):
        """Take one."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.takes:
            self.server.taken.append(body)
        self.send_response(200 if self.server.takes else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """Give a server that takes things."""
    made = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    made.takes, made.taken = True, []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@dataclass
class Way:
    """A way out, where it leads, how many things were taken there, and how to shut it."""

    out: AlertSink | Messenger
    to: str
    taken: Callable[[], int]
    shut: Callable[[], None]


@pytest.fixture(params=["apprise", "fake"])
async def messages(request: pytest.FixtureRequest, server, tmp_path: Path) -> AsyncIterator[Way]:
    """Give a messenger of each kind."""
    file = tmp_path / "who.url"
    file.write_text(f"json://127.0.0.1:{server.server_port}/")
    if request.param == "fake":
        fake = FakeMessenger()
        yield Way(fake, str(file), lambda: len(fake.sent), lambda: setattr(fake, "refuses", True))
        return
    real = AppriseMessenger()
    yield Way(real, str(file), lambda: len(server.taken), lambda: setattr(server, "takes", False))


@pytest.fixture(params=["alertmanager", "fake"])
async def alerts(request: pytest.FixtureRequest, server) -> AsyncIterator[Way]:
    """Give a sink of each kind."""
    url = f"http://127.0.0.1:{server.server_port}"
    if request.param == "fake":
        fake = FakeSink()
        yield Way(fake, url, lambda: len(fake.posted), lambda: setattr(fake, "down", True))
        return
    real = AlertmanagerSink()
    yield Way(real, url, lambda: len(server.taken), lambda: setattr(server, "takes", False))
    await real.close()


async def test_a_message_is_taken_or_it_is_said_that_it_was_not(messages: Way):
    """`check` sends nothing; `send` returns once it was taken; an address that takes nothing is NotTold."""
    assert await messages.out.check(messages.to)
    assert messages.taken() == 0
    await messages.out.send(messages.to, MESSAGE)
    assert messages.taken() == 1
    messages.shut()
    with pytest.raises(NotTold):
        await messages.out.send(messages.to, MESSAGE)
    assert messages.taken() == 1


async def test_alerts_are_taken_or_it_is_said_that_they_were_not(alerts: Way):
    """A sink that is down is SignalUnavailable, and works again by itself."""
    to = Endpoint(url=alerts.to)
    await alerts.out.post(to, [ALERT])
    assert alerts.taken() == 1
    alerts.shut()
    with pytest.raises(SignalUnavailable):
        await alerts.out.post(to, [ALERT])
    assert alerts.taken() == 1
