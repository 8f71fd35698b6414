"""Several signal sources as one: the access log, and what monitoring adds. Wired by `sternway.bootstrap`.

The log says alone how many requests there were and whether everything is blind: it sees every request. What monitoring
cannot see is a matter of single criteria, and stands in `Reading.unseen`.
"""

from __future__ import annotations

from dataclasses import replace

from sternway.domain.tallies import Question, Reading
from sternway.ports import SignalSource


class Together:
    """Implements ports.SignalSource. The first source is the log."""

    def __init__(self, log: SignalSource, *others: SignalSource) -> None:
        self._log = log
        self._others = others

    async def read(self, service: str) -> Reading:
        """See ports.SignalSource."""
        reading = await self._log.read(service)
        for other in self._others:
            more = await other.read(service)
            reading = replace(
                reading,
                tallies=reading.tallies + more.tallies,
                samples=reading.samples + more.samples,
                unseen=reading.unseen + more.unseen,
                alerts=reading.alerts + more.alerts,
            )
        return reading

    def ask(self, service: str, question: Question | None) -> None:
        """See ports.SignalSource."""
        for source in (self._log, *self._others):
            source.ask(service, question)
