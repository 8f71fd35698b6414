"""Tells people at one address, each event once. Used by `control.telling`, a task for each address.

At least once: an event counts as told when its message was taken, and a note in the journal says so, also to the next process.
What is not taken is tried again, ever more slowly, and given up in the end; the journal says that too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from sternway.clock import Clock
from sternway.control.persisting import persist
from sternway.domain.notices import Message, Notice
from sternway.errors import NotTold, StoreUnavailable
from sternway.ports import Entry, Journal, Messenger

SHORTEST_WAIT_S, LONGEST_WAIT_S = 2.0, 300.0
GIVES_UP_AFTER_S = 6 * 3600.0
FORGETS_AFTER_S = 600.0
"""What is no release's, and has been over for so long, is told again when it comes back."""
TOLD_FOR_S = 86_400.0
"""After a restart, what is no release's and was told within this time is not told again."""
WAITING_AT_MOST, REMEMBERED = 200, 10_000


class Courier:
    """One address. wording: makes the message; tell: is told what is in the way, "" when nothing is."""

    def __init__(
        self,
        url_file: str,
        *,
        messenger: Messenger,
        journal: Journal,
        clock: Clock,
        wording: Callable[[Notice], Message],
        tell: Callable[[str], None],
    ) -> None:
        self.name = Path(url_file).name
        self._url_file = url_file
        self._messenger = messenger
        self._journal = journal
        self._clock = clock
        self._wording = wording
        self._tell = tell
        self._waiting: OrderedDict[str, tuple[Notice, float]] = OrderedDict()
        self._done: OrderedDict[str, tuple[Notice, float]] = OrderedDict()
        self._before: dict[str, dict[str, float]] = {}
        self._unwritten: list[Entry] = []
        self._checked = False
        self._news = asyncio.Event()

    def offer(self, notice: Notice) -> None:
        """Tell of this unless it was told. The words are those of the last offer."""
        now_s = self._clock.now()
        if notice.key in self._done:
            self._done[notice.key] = (notice, now_s)
            return
        _, since_s = self._waiting.get(notice.key, (notice, now_s))
        self._waiting[notice.key] = (notice, since_s)
        if len(self._waiting) > WAITING_AT_MOST:
            _, (lost, _) = self._waiting.popitem(last=False)
            self._end(lost, f"{self._lost(lost)}: too many messages wait")
        self._news.set()

    def forget(self) -> None:
        """Forget what was told and is over, so that it is told again if it comes back. A release's events come once."""
        now_s = self._clock.now()
        for key, (notice, stood_s) in list(self._done.items()):
            if not notice.release and now_s - stood_s > FORGETS_AFTER_S:
                del self._done[key]
                self._before.get(notice.service, {}).pop(self._told(notice), None)
        while len(self._done) > REMEMBERED:
            self._done.popitem(last=False)

    async def run(self) -> None:
        """Until cancelled; what waits then is told by the next process."""
        waits_s = (SHORTEST_WAIT_S, LONGEST_WAIT_S)
        await persist(self.work, news=self._news, tell=self._tell, waits_s=waits_s)

    async def work(self) -> None:
        """Tell all that waits; a journal that cannot be written delays only its notes. Raises Temporary: try again later."""
        if not self._checked:
            await self._messenger.check(self._url_file)
            self._checked = True
        while self._waiting:
            key, (notice, since_s) = next(iter(self._waiting.items()))
            if not await self._was_told(notice):
                await self._send(notice, since_s)
            self._waiting.pop(key, None)
            self._done[key] = (notice, self._clock.now())
            with contextlib.suppress(StoreUnavailable):
                await self._write()
        await self._write()

    async def _send(self, notice: Notice, since_s: float) -> None:
        try:
            await self._messenger.send(self._url_file, self._wording(notice))
        except NotTold as trouble:
            if self._clock.now() - since_s < GIVES_UP_AFTER_S:
                self._waiting.move_to_end(notice.key)  # one that nobody takes must not keep the others away
                raise
            self._note(notice, f"{self._lost(notice)}: {trouble.message}")
        else:
            self._note(notice, self._told(notice))

    async def _was_told(self, notice: Notice) -> bool:
        """Whether an earlier process told it, or gave up."""
        if notice.service not in self._before:
            try:
                notes = await self._journal.entries(service=notice.service, kind="note")
            except StoreUnavailable:
                return False  # twice is better than never
            self._before[notice.service] = {entry.text: entry.at_s for entry in notes}
        before = self._before[notice.service]
        told_s = before.get(self._told(notice))
        given_up = any(text.startswith(f"{self._lost(notice)}:") for text in before)
        recent = told_s is not None and (bool(notice.release) or self._clock.now() - told_s < TOLD_FOR_S)
        return recent or (given_up and bool(notice.release))

    def _end(self, notice: Notice, text: str) -> None:
        self._done[notice.key] = (notice, self._clock.now())
        self._note(notice, text)

    def _note(self, notice: Notice, text: str) -> None:
        now_s = self._clock.now()
        entry = Entry(service=notice.service, release=notice.release or None, kind="note", at_s=now_s, text=text)
        self._unwritten = [*self._unwritten[-REMEMBERED:], entry]

    async def _write(self) -> None:
        """Make the notes durable, all that wait for it."""
        lines = tuple(self._unwritten)
        if lines:
            await self._journal.record(lines)
            del self._unwritten[: len(lines)]

    def _told(self, notice: Notice) -> str:
        return f"{self.name} was told of {notice.key}"

    def _lost(self, notice: Notice) -> str:
        return f"{self.name} could not be told of {notice.key}"
