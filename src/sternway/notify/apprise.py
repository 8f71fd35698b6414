"""Tells people through Apprise: Slack, Teams, mail, a webhook, … Used by `sternway.control.courier` and `sternway notify`.

Apprise is an extra, and is imported when the first message needs it, on a thread of its own. What it and the libraries below
it write to their logs may hold the address, so nobody is given it: of a failure only its kind and its status are told on.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from sternway.domain.notices import Message
from sternway.errors import NotTold

T = TypeVar("T")

AT_ONCE = 4
WITHIN_S = 60.0
_KINDS = {"critical": "failure", "warning": "warning", "good": "success", "info": "info"}
_STATUS = re.compile(r"\berror=(\d{3})\b")
_LOUD = ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib")


class AppriseMessenger:
    """Implements ports.Messenger."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)

    async def check(self, url_file: str) -> str:
        """See ports.Messenger."""
        return await self._run(lambda: _kind(_service(url_file)))

    async def send(self, url_file: str, message: Message) -> None:
        """See ports.Messenger."""
        await self._run(lambda: _send(url_file, message))

    async def _run(self, work: Callable[[], T]) -> T:
        """Do some work on a thread that nothing waits for: an address that hangs must not hold up the end of the process."""
        try:
            async with self._room, asyncio.timeout(WITHIN_S):
                return await asyncio.wrap_future(_on_a_thread(work))
        except TimeoutError:
            raise NotTold(f"no answer within {WITHIN_S:g} s") from None


def _on_a_thread(work: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def run() -> None:
        try:
            found = work()
        except BaseException as exc:  # noqa: BLE001  whoever waits for it gets it
            future.set_exception(exc)
        else:
            future.set_result(found)

    future.set_running_or_notify_cancel()  # from now on it is not cancelled, only not waited for
    threading.Thread(target=run, name="notify", daemon=True).start()
    return future


class _Ear(logging.Handler):
    """Hears what is said on this thread, and passes nothing on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        texts: list[str] | None = getattr(self.heard, "texts", None)
        if texts is not None:
            texts.append(record.getMessage())


_EAR = _Ear()
_IMPORT = threading.Lock()


def _library() -> Any:
    with _IMPORT:
        try:
            import apprise  # noqa: PLC0415  a quarter of a second and 24 MB, for those who are told alone
        except ModuleNotFoundError as missing:
            hint = "pip install 'sternway[notify]'"
            raise NotTold(f"notifications need Apprise, which is not installed ({missing.name})", hint=hint) from None
        for name in _LOUD:
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [_EAR], False
            logger.setLevel(logging.WARNING)
    return apprise


def _service(url_file: str) -> Any:
    """Make what sends to the address that the file holds. Raises NotTold, which names the file alone."""
    try:
        text = Path(url_file).expanduser().read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotTold(f"{url_file} is not there", hint="it holds the address of who is told") from None
    except UnicodeDecodeError:  # its message would show what stands in the file
        raise NotTold(f"{url_file} is not written in UTF-8") from None
    except OSError as exc:
        raise NotTold(f"{url_file} cannot be read: {exc.strerror}") from None
    urls = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(urls) != 1:
        raise NotTold(f"{url_file} holds {len(urls)} addresses", hint="write one address into each file")
    apprise = _library()
    asset = apprise.AppriseAsset(app_id="Sternway", app_desc="Sternway", app_url="", image_url_mask="")
    try:
        service = apprise.Apprise.instantiate(urls[0], asset=asset)
    except Exception:  # noqa: BLE001  whatever it is, it may show the address
        service = None
    if service is None:
        raise NotTold(
            f"{url_file} holds no address that Apprise understands",
            hint="its pages list them: slack://…, mailto://…, msteams://…, json://…",
        )
    return service


def _send(url_file: str, message: Message) -> None:
    service = _service(url_file)
    apprise = _library()
    _EAR.heard.texts = []
    try:
        taken = service.notify(
            title=message.title,
            body=message.body,
            notify_type=apprise.NotifyType(_KINDS[message.severity]),
            body_format=apprise.NotifyFormat.TEXT,
        )
    except Exception as exc:  # noqa: BLE001  its text and its traceback may show the address
        raise NotTold(f"{_kind(service)} did not take the message: {type(exc).__name__}") from None
    finally:
        texts, _EAR.heard.texts = _EAR.heard.texts, None
    if not taken:
        raise NotTold(f"{_kind(service)} did not take the message: {_why(texts)}")


def _kind(service: Any) -> str:
    return str(service.service_name)


def _why(texts: list[str]) -> str:
    """Say what can be said of a failure: a status, or that nobody was reached."""
    statuses = [found[1] for text in texts for found in _STATUS.finditer(text)]
    if statuses:
        return f"it answered {statuses[-1]}"
    if any("onnection" in text for text in texts):
        return "it could not be reached, or refused"
    return "it did not say why"
