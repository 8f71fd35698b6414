"""Messages through the real Apprise to a web server and a mail server of this machine; no secret of an address comes out."""

import asyncio
import email
import email.policy
import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, AuthResult

from free_ports import free_port
from sternway.domain.notices import Message
from sternway.errors import NotTold
from sternway.notify.apprise import AppriseMessenger

pytestmark = [
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS"),  # so are the servers of this test
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated"),  # Apprise's
]
SECRET = "s3cr3tmarker"
MESSAGE = Message(title="orders: 2 was rolled back to 1", body="Seen: it fails.\nNext: mend it.", severity="warning")


class Inbox(BaseHTTPRequestHandler):
    """Takes messages; `server.status` is what it answers."""

    def do_POST(self):
        """Take one."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.messages.append(json.loads(body))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(f"no, {SECRET}".encode())

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def inbox() -> Iterator[ThreadingHTTPServer]:
    """Give a web server that takes messages."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Inbox)
    server.messages, server.status = [], 200
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Mail:
    """Takes mail from who knows the password."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  so aiosmtpd calls it
        """Take one."""
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 taken"

    def enter(self, server, session, envelope, mechanism, data):
        """Ask for the password."""
        return AuthResult(success=data.login == b"ada" and data.password == SECRET.encode(), handled=False)


@pytest.fixture
async def mail() -> AsyncIterator[tuple[Mail, int]]:
    """Give a mail server, and its port."""
    taken = Mail()
    said = {"authenticator": taken.enter, "auth_required": True, "auth_require_tls": False}
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(taken, **said), "127.0.0.1", 0)
    yield taken, server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
def messenger() -> AppriseMessenger:
    """Give what tells people."""
    return AppriseMessenger()


def written(folder: Path, text: str) -> str:
    """Write an address into its file."""
    file = folder / "who.url"
    file.write_text(text)
    return str(file)


async def test_a_web_server_gets_the_message(messenger, inbox, tmp_path):
    """Title, body and kind, as Apprise's JSON; comments in the file do not count."""
    file = written(tmp_path, f"# the team\njson://127.0.0.1:{inbox.server_port}/{SECRET}\n")
    assert await messenger.check(file) == "JSON"
    assert inbox.messages == []
    await messenger.send(file, MESSAGE)
    (taken,) = inbox.messages
    assert (taken["title"], taken["message"], taken["type"]) == (MESSAGE.title, MESSAGE.body, "warning")


async def test_a_mail_server_gets_the_message(messenger, mail, tmp_path):
    """Logged in with the password of the file; subject and plain text can be read at night."""
    taken, port = mail
    file = written(tmp_path, f"mailto://ada:{SECRET}@127.0.0.1:{port}?from=sternway@shop.example&to=ada@shop.example")
    await messenger.send(file, MESSAGE)
    (got,) = taken.mails
    assert got["Subject"] == MESSAGE.title
    assert got["To"] == "ada@shop.example"
    assert "Next: mend it." in got.get_body(("plain",)).get_content()


BROKEN = [
    ("json://ada:{s}@127.0.0.1:{web}/{s}?+x={s}", "JSON did not take the message: it answered 500"),
    ("json://ada:{s}@127.0.0.1:{closed}/{s}?+x={s}", "JSON did not take the message: it could not be reached"),
    ("tgram://{s}", "who.url holds no address that Apprise understands"),
    ("mailto://ada:{s}x@127.0.0.1:{mail}?from=a@b.example&to=a@b.example", "E-Mail did not take the message"),
    ("nosuch://{s}", "who.url holds no address that Apprise understands"),
    ("{s}", "who.url holds no address that Apprise understands"),
    ("json://{s}\njson://{s}", "who.url holds 2 addresses"),
    ("", "who.url holds 0 addresses"),
]


@pytest.mark.parametrize(("text", "said"), BROKEN)
async def test_no_secret_comes_out_whatever_goes_wrong(messenger, inbox, mail, tmp_path, caplog, capfd, text, said):
    """Not in the error, nor in what it was raised from, nor in any log at any level, nor on the terminal."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("apprise").setLevel(logging.DEBUG)
    inbox.status = 500
    places = {"s": SECRET, "web": inbox.server_port, "closed": free_port(), "mail": mail[1]}
    file = written(tmp_path, text.format(**places))
    with pytest.raises(NotTold) as found:
        await messenger.send(file, MESSAGE)
    assert said in found.value.message
    assert found.value.__cause__ is None
    assert found.value.__suppress_context__ or found.value.__context__ is None
    out = capfd.readouterr()
    assert not any(SECRET in words for words in (str(found.value), repr(found.value), caplog.text, out.out, out.err))


async def test_a_file_that_is_not_there_or_is_no_text_is_named(messenger, tmp_path):
    """The error names the file, and not what stands in it."""
    with pytest.raises(NotTold, match=r"who\.url is not there"):
        await messenger.check(str(tmp_path / "who.url"))
    (tmp_path / "who.url").write_bytes(b"json://\xff" + SECRET.encode())
    with pytest.raises(NotTold, match="not written in UTF-8") as found:
        await messenger.check(str(tmp_path / "who.url"))
    assert SECRET not in str(found.value)


async def test_a_server_that_says_nothing_holds_nobody_else_up(messenger, inbox, tmp_path):
    """Three addresses hang; a fourth is told meanwhile."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hangs = tmp_path / "hangs.url"
        hangs.write_text(f"json://127.0.0.1:{silent.getsockname()[1]}/?rto=50&cto=50")
        waiting = [asyncio.create_task(messenger.send(str(hangs), MESSAGE)) for _ in range(3)]
        await asyncio.sleep(0)
        await messenger.send(written(tmp_path, f"json://127.0.0.1:{inbox.server_port}/"), MESSAGE)
        assert len(inbox.messages) == 1
        assert not any(task.done() for task in waiting)
    found = await asyncio.gather(*waiting, return_exceptions=True)  # their connections are gone
    assert all(isinstance(one, NotTold) for one in found)


def run(code: str) -> str:
    """Run some code in a Python of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_address_that_hangs_does_not_hold_up_the_end_of_the_process(tmp_path):
    """Nobody answers for a minute: a process that stops telling ends all the same, at once."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        file = written(tmp_path, f"json://127.0.0.1:{silent.getsockname()[1]}/?rto=900&cto=900")
        code = f"""
import asyncio
from sternway.domain.notices import Message
from sternway.notify.apprise import AppriseMessenger
async def main():
    message = Message(title="a", body="b", severity="info")
    task = asyncio.create_task(AppriseMessenger().send({file!r}, message))
    await asyncio.get_running_loop().sock_accept(silent)
    task.cancel()
    print((await asyncio.gather(task, return_exceptions=True))[0].__class__.__name__)
import socket
silent = socket.socket(fileno={silent.fileno()})
silent.setblocking(False)
asyncio.run(main())
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, pass_fds=[silent.fileno()]
        )
    assert done.stdout.strip() == "CancelledError", done.stderr


def test_nobody_pays_for_apprise_who_names_no_address():
    """A platform is wired without loading it, or requests below it."""
    code = "import sys, sternway.bootstrap; print([m for m in ('apprise', 'requests', 'urllib3') if m in sys.modules])"
    assert run(code) == "[]"


def test_without_apprise_the_error_says_how_to_install_it(tmp_path):
    """It is an extra: a base install says what is missing."""
    file = written(tmp_path, "json://127.0.0.1")
    code = f"""
import asyncio, sys
sys.modules["apprise"] = None
from sternway.errors import NotTold
from sternway.notify.apprise import AppriseMessenger
async def main():
    try:
        await AppriseMessenger().check({file!r})
    except NotTold as trouble:
        print(trouble)
asyncio.run(main())
"""
    assert "pip install 'sternway[notify]'" in run(code)
