"""A cluster's two witnesses of the same requests: the access log of its proxies, and what its mesh counts. Wired by `sternway.cluster`.

The log is asked first, version by version. While a connected proxy has told of a version, its outcomes are the evidence, and the mesh's
count of the same requests is not counted a second time as plain `errors`. The ratios `mesh-errors` and `mesh-latency` go on as
criteria of their own, each with its own share of the judge's budget, so that counting there what the log counts too condemns
nobody the sooner by chance; they see callers whose proxies send no log. But nothing is missed when they fail to come.

When no proxy is left that told of the service, the counts are the evidence again. With neither, the service is blind, since the
last of the two was lost. Where no proxy ever told of it, everything is as with the counts alone; without these it is no
blindness, which passes, but uncounted: nobody has set anything up that counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from sternway.domain.metrics import MESH_ERRORS, MESH_LATENCY, Unseen
from sternway.domain.tallies import Question, Reading, Tally
from sternway.ports import SignalSource

OVERLAP_S = 30.0
"""What is counted so soon after the log was lost may hold requests that the log has told of: a scrape is that late."""
_PLAIN = ("errors", "hurt")
_MESHS = (MESH_ERRORS, MESH_LATENCY)


class Log(SignalSource, Protocol):
    """An access log that knows of whom it speaks."""

    def spoken_of(self, service: str) -> frozenset[str]:
        """The versions that a connected proxy has told of."""
        ...

    def lost_s(self, service: str) -> float | None:
        """When the last proxy that had told of a service went; None when one is there, or none ever was."""
        ...


class LogOrCounts:
    """Implements ports.SignalSource. counts: of the mesh, see `mesh_counts`."""

    def __init__(self, log: Log, counts: SignalSource) -> None:
        self._log = log
        self._counts = counts
        self._asked: dict[str, Question] = {}

    async def read(self, service: str) -> Reading:
        """See ports.SignalSource."""
        told, counted = await self._log.read(service), await self._counts.read(service)
        heard, lost_s = self._log.spoken_of(service), self._log.lost_s(service)
        question = self._asked.get(service)
        candidate = question.candidate if question else None
        first_bad_s, last_candidate_s = [told.first_bad_s], [told.last_candidate_s]
        if candidate not in heard:
            first_bad_s.append(counted.first_bad_s)
            last_candidate_s.append(counted.last_candidate_s)
        both = replace(
            counted,
            tallies=told.tallies + tuple(_beside(counted.tallies, heard, lost_s)),
            first_bad_s=min(_known(first_bad_s), default=None),
            last_candidate_s=max(_known(last_candidate_s), default=None),
            bad_answers=told.bad_answers,
        )
        if heard:
            unseen = tuple(one for one in both.unseen if one.criterion not in _MESHS)
            return replace(
                both, unseen=unseen, blind_since_s=None, rate_per_s=told.rate_per_s, stable_ms=told.stable_ms
            )
        if lost_s is None:
            return replace(both, uncounted=_uncounted(question))
        unseen = tuple(_not_before(one, lost_s) for one in both.unseen)
        return replace(both, unseen=unseen, blind_since_s=_blind_since(counted, question, lost_s))

    def ask(self, service: str, question: Question | None) -> None:
        """See ports.SignalSource."""
        self._log.ask(service, question)
        self._counts.ask(service, question)
        if question is None:
            self._asked.pop(service, None)
        else:
            self._asked[service] = question


def _beside(tallies: Iterable[Tally], heard: frozenset[str], lost_s: float | None) -> Iterable[Tally]:
    """What the mesh has counted, without what the log has told already."""
    for tally in tallies:
        by_log = tally.version in heard or (lost_s is not None and tally.start_s < lost_s + OVERLAP_S)
        if tally.criterion not in _PLAIN or not by_log:
            yield tally


def _blind_since(counted: Reading, question: Question | None, lost_s: float) -> float | None:
    """The log is lost. The counts see on, where the mesh has any."""
    asked = question.metrics.asks if question and question.metrics else ()
    if any(ask.name == MESH_ERRORS for ask in asked):
        return max(counted.blind_since_s, lost_s) if counted.blind_since_s is not None else None
    return lost_s


def _uncounted(question: Question | None) -> bool:
    """No proxy ever told of the service: whether no metric counts its requests either."""
    if question is None or question.candidate is None:
        return False
    return not any(ask.counts_requests for ask in (question.metrics.asks if question.metrics else ()))


def _not_before(unseen: Unseen, lost_s: float) -> Unseen:
    """Until then the log stood in for what the mesh counts."""
    if unseen.criterion not in _MESHS:
        return unseen
    return replace(unseen, since_s=max(unseen.since_s, lost_s))


def _known(times_s: list[float | None]) -> list[float]:
    return [one for one in times_s if one is not None]
