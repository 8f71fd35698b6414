"""What a mesh counts by itself in place of an access log: how many requests each version answered, and how many badly.

Used where no proxy sends us its log. The counters are read by `prometheus` as the metric `mesh-errors`, which the operator
adds to every Guard (`operator.desired`): they condemn as any ratio does. Here they are also the plain counts from which
the engine knows how much traffic there is, and suspects: a scrape late, where a log is not.

Where the mesh counts nothing that tells versions apart, the Guard's own first ratio (or else latency) says how much traffic
there is, so that a step that waits for requests goes on. It is judged as the Guard states it, and never suspected by.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from sternway.domain.metrics import MESH_ERRORS
from sternway.domain.tallies import Question, Reading, Tally
from sternway.ports import SignalSource

RATE_OVER_S = 60.0


class MeshCounts:
    """Implements ports.SignalSource over what Prometheus reads."""

    def __init__(self, metrics: SignalSource) -> None:
        self._metrics = metrics
        self._asked: dict[str, Question] = {}
        self._lately: dict[str, deque[Tally]] = {}

    async def read(self, service: str) -> Reading:
        """See ports.SignalSource."""
        reading = await self._metrics.read(service)
        asked = self._asked.get(service)
        if asked is None:
            return reading
        by = _counts_by(asked)
        counted = [tally for tally in reading.tallies if tally.criterion == by]
        plain = [replace(tally, criterion="errors") for tally in counted if by == MESH_ERRORS]
        plain += [replace(tally, criterion="hurt") for tally in counted if tally.version == asked.candidate]
        ours = [tally for tally in counted if tally.version == asked.candidate and tally.total]
        unseen = next((one for one in reading.unseen if one.criterion == MESH_ERRORS and not one.role), None)
        return replace(
            reading,
            tallies=(*plain, *reading.tallies),
            rate_per_s=self._rate(service, counted),
            blind_since_s=unseen.since_s if unseen else None,
            first_bad_s=min((tally.end_s for tally in ours if tally.bad), default=None),
            last_candidate_s=max((tally.end_s for tally in ours), default=None),
        )

    def ask(self, service: str, question: Question | None) -> None:
        """See ports.SignalSource."""
        self._metrics.ask(service, question)
        if question is None:
            self._asked.pop(service, None)
            self._lately.pop(service, None)
        else:
            self._asked[service] = question

    def _rate(self, service: str, counted: list[Tally]) -> float | None:
        """Requests per second to all versions over the last minute of counts; None before there were two scrapes."""
        lately = self._lately.setdefault(service, deque())
        lately.extend(counted)
        if not lately:
            return None
        end_s = max(tally.end_s for tally in lately)
        while lately[0].end_s < end_s - RATE_OVER_S:
            lately.popleft()
        spans = {(tally.start_s, tally.end_s) for tally in lately}
        return sum(tally.total for tally in lately) / sum(end - start for start, end in spans)


def _counts_by(asked: Question) -> str:
    """The criterion by which requests are counted."""
    asks = asked.metrics.asks if asked.metrics else ()
    found = [ask.name for kind in ("ratio", "slower") for ask in asks if ask.kind == kind]
    return MESH_ERRORS if MESH_ERRORS in found or not found else found[0]
